"""The network that comes with the package, and what is usual of recordings of known signals."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from modsnr import files
from modsnr.classifier.limits import Limits
from modsnr.model import JointNet, load, read_tensors, write_tensors

FOLDER = Path(__file__).parents[1] / "weights"
WEIGHTS, LIMITS = "receiver.safetensors", "limits.safetensors"


class Classifier(NamedTuple):
    """A network for received frames, and the limits of what it may name."""

    net: JointNet
    limits: Limits

    @property
    def classes(self) -> list[str]:
        """The modulations that it knows."""
        return self.net.settings["classes"]


@lru_cache(maxsize=1)
def packaged() -> Classifier:
    """Return the network that comes with the package, on the CPU, and its limits."""
    return Classifier(load(FOLDER / WEIGHTS), read_limits(FOLDER / LIMITS))


def ship(weights: Path, limits: Path) -> None:
    """Put a run's weights and limits into the package, in place of those that it has."""
    FOLDER.mkdir(exist_ok=True)
    for source, name in ((weights, WEIGHTS), (limits, LIMITS)):
        files.write(FOLDER / name, source.read_bytes())


def read_limits(path: Path) -> Limits:
    """Return limits from their file; raises InputError if it cannot be read."""
    tensors, _ = read_tensors(path, problem=f"{path} cannot be read: install modsnr again")
    return Limits(**{name: tensor.numpy() for name, tensor in tensors.items()})


def measured() -> dict[str, Any]:
    """Return what was measured with the limits of the package: channel -> outcome -> share."""
    _, header = read_tensors(FOLDER / LIMITS, problem=f"{FOLDER / LIMITS} cannot be read")
    return json.loads(header["measured"])


def write_limits(limits: Limits, path: Path, shares: dict[str, Any]) -> None:
    """Write limits to a file, with the shares of outcomes that were measured with them."""
    tensors = {name: torch.from_numpy(values) for name, values in vars(limits).items()}
    write_tensors(tensors, path, {"measured": json.dumps(shares)})
