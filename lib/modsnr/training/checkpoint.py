"""Checkpoints: one safetensors file whose header holds the progress as JSON; never a pickle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import Timeout
from torch import Tensor

from modsnr import InputError, files
from modsnr.model import read_tensors, replacing_file
from modsnr.training.recipe import Recipe

CHECKPOINT, WEIGHTS = "checkpoint.safetensors", "weights.safetensors"
LOCK = ".resume.lock"


@dataclass
class Progress:
    """How far a fit has come; ``batch`` counts the batches done of epoch ``epoch``."""

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
    loss_sums: tuple[float, ...] = (0.0, 0.0, 0.0)  # over the steps taken of this epoch
    taken: int = 0  # steps of this epoch that changed the weights
    ever_taken: int = 0  # steps behind the present weights
    micro_batch: int = 0  # frames that memory held at once; 0: a whole batch
    history: tuple[dict[str, float], ...] = ()

    def as_json(self) -> str:
        """Return the progress as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Progress:
        """Return the progress that ``as_json`` wrote."""
        values = json.loads(text)
        tuples: Any = {name: tuple(values[name]) for name in ("loss_sums", "history")}
        return cls(**values | tuples)

    def count(self, losses: tuple[float, ...]) -> None:
        """Count a step that changed the weights, by its losses: weighted sum and the two tasks'."""
        self.first_loss = self.first_loss or sum(losses[1:])
        self.loss_sums = tuple(a + b for a, b in zip(self.loss_sums, losses, strict=True))
        self.taken += 1
        self.ever_taken += 1

    def is_done(self, recipe: Recipe) -> bool:
        """Return whether every epoch is done, or enough have passed without a better one."""
        waited = self.epoch - 1 - self.best_epoch
        return self.epoch >= recipe.epochs or 0 < recipe.early_stopping <= waited

    def frames_at_once(self, recipe: Recipe, ranks: int) -> int:
        """Return how many frames a device takes at once: a share of what memory held before."""
        return min(self.micro_batch or recipe.batch_size, recipe.batch_size) // ranks


def read_checkpoint(
    folder: Path, identity: Mapping[str, Any]
) -> tuple[dict[str, Tensor], Progress]:
    """Return a checkpoint's tensors and progress.

    Raises InputError for a file that is cut or no checkpoint at all, and, naming what differs, for
    one of another recipe or network than ``identity``.
    """
    tensors, header = read_tensors(
        folder / CHECKPOINT, problem=f"{CHECKPOINT} is damaged or no checkpoint"
    )
    try:
        held = asdict(Recipe()) | json.loads(header["recipe"])  # it may be older than an option
        progress = Progress.from_json(header["progress"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{CHECKPOINT} is no checkpoint of a fit: {error!r}") from error
    wanted = json.loads(json.dumps(dict(identity)))  # a tuple and a list are alike
    missing = "nothing"
    differ = [
        f"{name} is {held.get(name, missing)!r} there and {wanted.get(name, missing)!r} here"
        for name in sorted(held | wanted)
        if held.get(name, missing) != wanted.get(name, missing)
    ]
    if differ:
        raise InputError(
            f"The checkpoint in {folder.name} was made by another recipe or network: "
            f"{'; '.join(differ)}."
        )
    return tensors, progress


def joined(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Tensor]:
    """Return the tensors of all parts, each named after its part: see ``under``."""
    return {
        f"{part}.{name}": torch.as_tensor(value)
        for part, values in parts.items()
        for name, value in values.items()
    }


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with ``prefix``, by the rest of their names."""
    return {name[len(prefix) :]: tensors[name] for name in tensors if name.startswith(prefix)}


@contextmanager
def taken_over(earlier: Path | None, folder: Path, identity: Mapping[str, Any]) -> Iterator[None]:
    """Copy the checkpoint and best weights of the fit in folder ``earlier`` to ``folder``.

    The earlier fit stays locked during the block. A ``folder`` that has a checkpoint has come
    further, and keeps it. Raises InputError where there is no checkpoint that fits, or another
    process continues from it.
    """
    if earlier is None:
        yield
        return
    if not (earlier / CHECKPOINT).exists():
        raise InputError(f"{earlier.name} has no {CHECKPOINT} to continue from.")
    try:
        with files.lock(earlier / LOCK, timeout=0):
            if not (folder / CHECKPOINT).exists():
                _, progress = read_checkpoint(earlier, identity)
                if progress.best_epoch >= 0:
                    _copy(earlier / WEIGHTS, folder / WEIGHTS)
                # Last: with it the folder is whole.
                _copy(earlier / CHECKPOINT, folder / CHECKPOINT)
            yield
    except Timeout as error:
        raise InputError(
            f"Another process already continues from {earlier.name}: wait for its end."
        ) from error


def _copy(source: Path, target: Path) -> None:
    if not source.exists():
        raise InputError(f"{source.parent.name} lacks its {source.name}: start anew.")
    with replacing_file(target, source.stat().st_size) as partial:
        shutil.copyfile(source, partial)
