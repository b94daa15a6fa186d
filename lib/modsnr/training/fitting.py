"""A fit, from frames to weights: Lightning's Trainer is set up, run, and its end is told."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import lightning
import pandas as pd
from safetensors.torch import load_file

from modsnr import InputError
from modsnr.model import JointNet
from modsnr.training.checkpoint import taken_over
from modsnr.training.prediction import Draw
from modsnr.training.recipe import Recipe, precision_of
from modsnr.training.sampling import Labelled
from modsnr.training.task import Diverged, Task, identity


class Fit(NamedTuple):
    """What a fit leaves: ``history``, a row an epoch, and ``weights``, of the best epoch."""

    history: pd.DataFrame
    weights: Path
    skipped_steps: int
    rollbacks: int
    trouble: str  # the first step that went wrong and why, or nothing
    micro_batch: int  # frames that memory held at once
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
    minutes: float = 0.0,
    progress: bool = False,
) -> Fit:
    """Fit ``net`` in place and leave it with the weights of its best validation epoch.

    ``folder`` receives ``weights.safetensors`` and ``checkpoint.safetensors``; where it holds a
    checkpoint of the same recipe, the fit goes on from there and on a CPU ends in the same weights
    as an undisturbed one, bit for bit. ``resume`` is the folder of an earlier fit whose checkpoint
    is taken over; only one process at a time may do so. ``report`` is called with each epoch's
    history row; ``progress`` shows a bar over its steps. After ``minutes``, if any, the fit stops
    with a checkpoint to go on from.

    Raises InputError for data that the recipe cannot use and for a checkpoint of another recipe or
    network, Diverged when rollbacks do not help or not one step could be taken, OutOfTime.
    """
    if len(train.iq) < recipe.batch_size:
        few = f"there are only {len(train.iq)} training frames"
        raise InputError(f"batch_size is {recipe.batch_size}, but {few}.")
    if not len(validation.iq):
        raise InputError("There are no validation frames to choose the best epoch by.")
    until = time.monotonic() + 60 * minutes if minutes else math.inf
    with taken_over(resume, folder, identity(recipe, net)):
        task = Task(net, draw, train, validation, recipe, folder, report, until)
        if task.progress.epoch < recipe.epochs and not task.stops_early():
            _train(task, bar=progress)
    if not task.progress.ever_taken:
        raise Diverged(
            f"Diverged at {task.progress.first_trouble}; so it was at every one of the "
            f"{task.progress.step} steps."
        )
    net.load_state_dict(load_file(task.weights))
    net.to(task.used).eval()  # Lightning leaves it on the CPU
    return Fit(
        pd.DataFrame(task.progress.history),
        task.weights,
        task.progress.skipped,
        task.progress.rollbacks,
        task.progress.first_trouble,
        task.micro_batch,
        precision_of(recipe.precision),
        str(task.used),
    )


def _train(task: Task, *, bar: bool) -> None:
    # Lightning advertises at every start, and torch deprecates what Lightning uses of it.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(does not have many workers|LeafSpec).*")
        trainer = _trainer(task.recipe, task.recipe.epochs - task.progress.epoch, bar=bar)
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


def _trainer(recipe: Recipe, epochs: int, *, bar: bool) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=epochs,
        accelerator="auto",
        devices=1,
        precision=cast(Any, precision_of(recipe.precision)),
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
