"""The network that comes with the package, and what is usual of recordings of known signals."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch

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
def shipped() -> Classifier:
    """Return the network that comes with the package, on the CPU, and its limits."""
    return Classifier(load(FOLDER / WEIGHTS), read_limits(FOLDER / LIMITS))


def read_limits(path: Path) -> Limits:
    """Return limits from their file; raises InputError if it cannot be read."""
    tensors, _ = read_tensors(path, problem=f"{path} cannot be read: install modsnr again")
    return Limits(**{name: tensor.numpy() for name, tensor in tensors.items()})


def write_limits(limits: Limits, path: Path) -> None:
    """Write limits to a file."""
    tensors = {name: torch.from_numpy(values) for name, values in vars(limits).items()}
    write_tensors(tensors, path, {"what": "limits of signals known to modsnr.classify"})
