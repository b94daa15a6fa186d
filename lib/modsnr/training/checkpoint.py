"""Checkpoints: one safetensors file, its header of text the progress; never a pickle.

A fit goes on from the checkpoint in its own folder, or takes over that of an earlier one.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modsnr import InputError
from modsnr.model import read_tensors, replacing, write_tensors
from modsnr.training.recipe import Recipe

CHECKPOINT, WEIGHTS = "checkpoint.safetensors", "weights.safetensors"


@dataclass
class Progress:
    """What a checkpoint knows besides tensors; ``batch`` counts the batches done of ``epoch``."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    skipped: int = 0
    troubles_in_a_row: int = 0
    first_trouble: str = ""
    first_loss: float = 0.0  # of both tasks, unweighted
    rollbacks: int = 0
    rate_scale: float = 1.0
    best_joint: float = -1.0
    best_epoch: int = -1
    seconds: float = 0.0
    loss_sums: tuple[float, ...] = (0.0, 0.0, 0.0)  # over the epoch's steps that were taken
    taken: int = 0
    ever_taken: int = 0  # by the weights as they are
    micro_batch: int = 0  # frames that memory held at once, where it did not hold a batch
    history: tuple[dict[str, float], ...] = ()


def write_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], progress: Progress, identity: Mapping[str, Any]
) -> None:
    """Write a checkpoint, whole or not at all; ``identity`` is the recipe's and net's settings."""
    header = {
        "progress": json.dumps(asdict(progress)),
        "recipe": json.dumps(identity, sort_keys=True),
    }
    write_tensors(tensors, path, header)


def read_checkpoint(path: Path, identity: Mapping[str, Any]) -> tuple[dict[str, Tensor], Progress]:
    """Return a checkpoint's tensors and progress.

    Raises InputError for a file that is cut or no checkpoint at all, and, naming what differs, for
    one of another recipe or network than ``identity``.
    """
    tensors, header = read_tensors(path, problem=f"{path.name} is damaged or no checkpoint")
    try:
        held = asdict(Recipe()) | json.loads(header["recipe"])  # it may be older than an option
        told = _renewed(json.loads(header["progress"]))
        told |= {name: tuple(told[name]) for name in ("loss_sums", "history")}
        progress = Progress(**told)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path.name} is no checkpoint of a fit: {error!r}") from error
    wanted = json.loads(json.dumps(dict(identity)))  # a tuple and a list are alike
    missing = "nothing"
    differ = [
        f"{name} is {held.get(name, missing)!r} there and {wanted.get(name, missing)!r} here"
        for name in sorted(held | wanted)
        if held.get(name, missing) != wanted.get(name, missing)
    ]
    if differ:
        raise InputError(
            f"The checkpoint in {path.parent.name} was made by another recipe or network: "
            f"{'; '.join(differ)}."
        )
    return tensors, progress


def _renewed(told: dict[str, Any]) -> dict[str, Any]:
    """Return progress as it is told today, of a checkpoint that may be older than that."""
    if "skipped_in_a_row" in told:
        told["troubles_in_a_row"] = told.pop("skipped_in_a_row")
        told["ever_taken"] = told["step"] - told["skipped"]
    return told


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with ``prefix``, by what follows it."""
    return {name[len(prefix) :]: tensors[name] for name in tensors if name.startswith(prefix)}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, weights: list[Tensor], saved: Mapping[str, Tensor]
) -> None:
    """Give the optimizer the state saved of each weight, by the weight's number and its name."""
    for index, weight in enumerate(weights):
        optimizer.state[weight] = {
            # The memory format is part of the sum's order, hence of the bits.
            name: torch.empty_like(weight).copy_(value) if value.ndim else value.to(weight.device)
            for name, value in under(saved, f"{index}.").items()
        }


@contextmanager
def taken_over(earlier: Path | None, folder: Path, identity: Mapping[str, Any]) -> Iterator[None]:
    """Copy the checkpoint and best weights of the fit in folder ``earlier`` to ``folder``.

    Within, the earlier checkpoint is locked: the system drops the lock on any death. A ``folder``
    that has a checkpoint has come further, and keeps it. Raises InputError where there is nothing
    to take over that fits, or another process is doing so.
    """
    if earlier is None:
        yield
        return
    source = earlier / CHECKPOINT
    try:
        lock = os.open(source, os.O_RDONLY)
    except FileNotFoundError as error:
        raise InputError(f"{earlier.name} has no {CHECKPOINT} to go on from.") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"Another process is going on from {earlier.name} already: wait for its end."
            ) from error
        if not (folder / CHECKPOINT).exists():
            _, progress = read_checkpoint(source, identity)
            folder.mkdir(parents=True, exist_ok=True)
            if progress.best_epoch >= 0:
                _copy(earlier / WEIGHTS, folder / WEIGHTS)
            _copy(source, folder / CHECKPOINT)  # last: with it the folder is whole
        yield
    finally:
        os.close(lock)


def _copy(source: Path, target: Path) -> None:
    try:
        size = source.stat().st_size
    except FileNotFoundError as error:
        raise InputError(f"{source.parent.name} lacks its {source.name}: start anew.") from error
    with replacing(target, size) as partial:
        shutil.copyfile(source, partial)
