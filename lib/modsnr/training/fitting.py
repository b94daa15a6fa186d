"""Fit a network to frames, in this process or on several devices."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd
from safetensors.torch import load_file

from modsnr import InputError
from modsnr.model import JointNet, fastest_device
from modsnr.training import distributed
from modsnr.training.checkpoint import WEIGHTS, taken_over
from modsnr.training.learner import Draw, Task
from modsnr.training.logs import mirrored
from modsnr.training.loop import carry_out
from modsnr.training.recipe import Execution, Recipe, precision_of
from modsnr.training.sampling import Labelled

ALONE = Execution()


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

    On several devices the recipe's batch_size counts the frames of all, and ``draw`` needs
    ``settings``: see ``distributed``. Their number changes what is learned by rounding only, but
    for dropout, and on CPUs for batch normalisation; it may differ when a fit continues.

    Raises InputError for data, devices or a checkpoint that do not fit, Diverged when rollbacks do
    not help, and RuntimeError where one of several processes was ended.
    """
    task = Task(net, draw, train, validation, recipe, folder, execution)
    distributed.check(task)
    if len(train.iq) < recipe.batch_size:
        few = f"there are only {len(train.iq)} training frames"
        raise InputError(f"batch_size is {recipe.batch_size}, but {few}.")
    if not len(validation.iq):
        raise InputError("There are no validation frames to choose the best epoch by.")
    with taken_over(resume, folder, task.identity), mirrored(task, earlier=resume) as report:
        # One device needs no other process: the notebook's own trains.
        fit_here = distributed.fit_on_several if execution.ranks > 1 else carry_out
        progress = fit_here(task, report)
    net.load_state_dict(load_file(folder / WEIGHTS))
    net.to(fastest_device()).eval()
    return Fit(
        pd.DataFrame(progress.history),
        folder / WEIGHTS,
        progress.skipped,
        progress.rollbacks,
        progress.first_trouble,
        progress.frames_at_once(recipe, execution.ranks),
        precision_of(recipe.precision),
        str(net.snrs_db.device),
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
