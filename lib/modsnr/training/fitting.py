"""Fit a network to frames, in this process or on several devices."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd
from safetensors.torch import load_file

from modsnr import InputError
from modsnr.model import JointNet
from modsnr.training import distributed
from modsnr.training.checkpoint import WEIGHTS, identity, taken_over
from modsnr.training.logs import mirrored
from modsnr.training.loop import carry_out
from modsnr.training.prediction import Draw
from modsnr.training.recipe import ALONE, Execution, Recipe, precision_of
from modsnr.training.sampling import Labelled


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
    folder: Path,
    *,
    resume: Path | None = None,
    execution: Execution = ALONE,
) -> Fit:
    """Fit ``net`` in place and leave it with the weights of its best validation epoch.

    ``folder`` receives ``weights.safetensors``, ``checkpoint.safetensors`` and, after each epoch,
    ``history.csv``; where it holds a checkpoint of the same recipe, the fit continues from there
    and on a CPU ends in the same weights as an undisturbed one, bit for bit. ``resume`` is the
    folder of an earlier fit whose checkpoint is taken over; only one process at a time may do so.

    On several devices the recipe's batch_size counts the frames of all. The number of devices
    changes what is learned by rounding only, but for dropout, and for batch normalisation on CPUs,
    where each process normalises its part by itself (GPUs do it together). A fit may continue on
    another number of devices. On several ``draw`` must have a name: see ``distributed.name_of``.

    Raises InputError for data that the recipe cannot use, for devices that are not there, and for
    a checkpoint of another recipe or network, Diverged when rollbacks do not help, and
    RuntimeError where one of several processes was ended.
    """
    distributed.check(recipe, execution)
    if len(train.iq) < recipe.batch_size:
        few = f"there are only {len(train.iq)} training frames"
        raise InputError(f"batch_size is {recipe.batch_size}, but {few}.")
    if not len(validation.iq):
        raise InputError("There are no validation frames to choose the best epoch by.")
    settings = identity(recipe, net)
    with (
        taken_over(resume, folder, settings),
        mirrored(
            execution.wandb, execution.report, folder=folder, earlier=resume, settings=settings
        ) as report,
    ):
        # One device needs no other process: the notebook's own trains.
        fit_here = distributed.fit_on_several if execution.ranks > 1 else carry_out
        outcome = fit_here(net, draw, train, validation, recipe, folder, execution, report)
    net.load_state_dict(load_file(folder / WEIGHTS))
    net.to(outcome.device).eval()
    return Fit(
        pd.DataFrame(outcome.progress.history),
        folder / WEIGHTS,
        outcome.progress.skipped,
        outcome.progress.rollbacks,
        outcome.progress.first_trouble,
        outcome.micro_batch,
        precision_of(recipe.precision),
        outcome.device,
    )


def print_epoch(row: dict[str, float]) -> None:
    """Print one history row as a line: what a person watches a fit by."""
    print(
        f"epoch {row['epoch']:3.0f}  loss {row['loss']:7.3f}  validation: "
        f"modulation {row['validation_modulation_accuracy']:.3f}  "
        f"SNR {row['validation_snr_accuracy']:.3f}  joint {row['validation_joint_accuracy']:.3f}  "
        f"{row['seconds']:.0f} s",
        flush=True,
    )
