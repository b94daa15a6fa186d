"""A fit, from frames to weights: Lightning's Trainer is set up, run, and its end is told."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import lightning
import pandas as pd
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from safetensors.torch import load_file

from modsnr import InputError
from modsnr.model import JointNet
from modsnr.training import crew
from modsnr.training.checkpoint import WEIGHTS, taken_over
from modsnr.training.logs import mirrored
from modsnr.training.prediction import Draw
from modsnr.training.recipe import Recipe, precision_of
from modsnr.training.sampling import Labelled
from modsnr.training.task import Task, identity, is_done


class Fit(NamedTuple):
    """What a fit leaves: ``history``, a row an epoch, and ``weights``, of the best epoch."""

    history: pd.DataFrame
    weights: Path
    skipped_steps: int
    rollbacks: int
    trouble: str  # the first step that went wrong and why, or nothing
    micro_batch: int  # frames that a device's memory held at once
    precision: str
    device: str


def fit(
    net: JointNet,
    draw: Draw,
    train: Labelled,
    validation: Labelled,
    recipe: Recipe,
    *,
    folder: Path,
    resume: Path | None = None,
    report: Callable[[dict[str, float]], None] | None = None,
    progress: bool = False,
    devices: int = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
    wandb: str = "",
) -> Fit:
    """Fit ``net`` in place and leave it with the weights of its best validation epoch.

    ``folder`` receives ``weights.safetensors``, ``checkpoint.safetensors`` and, after each epoch,
    ``history.csv``; where it holds a checkpoint of the same recipe, the fit goes on from there and
    on a CPU ends in the same weights as an undisturbed one, bit for bit. ``resume`` is the folder
    of an earlier fit whose checkpoint is taken over; only one process at a time may do so.
    ``report`` is called with each epoch's history row; ``progress`` shows a bar over the steps of
    one device.

    ``devices`` is how many GPUs, or without one how many processes, share each batch, on each of
    ``num_nodes`` machines of a SLURM job; ``strategy`` is how Lightning joins them, auto being ddp.
    The recipe's batch_size counts the frames of all. Their number changes what is learned by
    rounding only, but for dropout, and for batch normalisation on CPUs, where each process
    normalises its part by itself (GPUs do it together). A checkpoint may be gone on from with
    another number of devices. On several ``draw`` must have a name: see ``crew.name_of``.

    ``wandb`` names a Weights & Biases project that is told of each epoch, too: ``logs.mirrored``.

    Raises InputError for data that the recipe cannot use, for devices that are not there, and for
    a checkpoint of another recipe or network, Diverged when rollbacks do not help, and
    RuntimeError where one of several processes was ended.
    """
    crew.check(recipe, devices, num_nodes, strategy)
    if len(train.iq) < recipe.batch_size:
        few = f"there are only {len(train.iq)} training frames"
        raise InputError(f"batch_size is {recipe.batch_size}, but {few}.")
    if not len(validation.iq):
        raise InputError("There are no validation frames to choose the best epoch by.")
    made_by = identity(recipe, net)
    with (
        taken_over(resume, folder, made_by),
        mirrored(wandb, report, folder=folder, earlier=resume, settings=made_by) as tell,
    ):
        if devices * num_nodes > 1:
            ended = crew.fit_on_many(
                net, draw, train, validation, recipe,
                folder=folder, devices=devices, num_nodes=num_nodes, strategy=strategy,
                report=tell,
            )  # fmt: skip
        else:
            task = Task(net, draw, train, validation, recipe, folder, tell)
            if not is_done(task.progress, recipe):
                carry_out(task, bar=progress)
            ended = crew.Ended(task.progress, str(task.used), task.micro_batch)
    net.load_state_dict(load_file(folder / WEIGHTS))
    net.to(ended.device).eval()  # Lightning leaves it on the CPU
    return Fit(
        pd.DataFrame(ended.progress.history),
        folder / WEIGHTS,
        ended.progress.skipped,
        ended.progress.rollbacks,
        ended.progress.first_trouble,
        ended.micro_batch,
        precision_of(recipe.precision),
        ended.device,
    )


def carry_out(task: Task, *, bar: bool = False, **devices: Any) -> None:
    """Have Lightning's Trainer do what is left of a task; ``devices`` say on what."""
    # Lightning advertises at every start, and torch deprecates what Lightning uses of it.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(does not have many workers|LeafSpec).*")
        left = task.recipe.epochs - task.progress.epoch
        trainer = _trainer(task.recipe, left, bar=bar, **devices)
        try:
            trainer.fit(task)
        except SystemExit as error:  # Lightning turns Ctrl-C into an exit
            raise KeyboardInterrupt from error


def print_epoch(row: dict[str, float]) -> None:
    """Print one history row as a line: what a person watches a fit by."""
    print(
        f"epoch {row['epoch']:3.0f}  loss {row['loss']:7.3f}  validation: "
        f"modulation {row['validation_modulation_accuracy']:.3f}  "
        f"SNR {row['validation_snr_accuracy']:.3f}  joint {row['validation_joint_accuracy']:.3f}  "
        f"{row['seconds']:.0f} s",
        flush=True,
    )


def _trainer(
    recipe: Recipe,
    epochs: int,
    *,
    bar: bool,
    devices: int = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
) -> lightning.Trainer:
    gpus, alone = torch.cuda.is_available(), devices * num_nodes == 1
    return lightning.Trainer(
        max_epochs=epochs,
        accelerator="auto" if alone else "cuda" if gpus else "cpu",
        devices=devices,
        num_nodes=num_nodes,
        strategy=strategy,
        sync_batchnorm=gpus and not alone,
        # Within a SLURM job Lightning would take this process for one of srun's.
        plugins=[LightningEnvironment()],
        precision=cast(Any, precision_of(recipe.precision)),
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
