"""The network that comes with the package, and what is usual of recordings of known signals."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from modsnr.classifier.limits import Limits
from modsnr.model import JointNet, load, read_tensors

FOLDER = Path(__file__).parents[1] / "weights"
WEIGHTS, LIMITS = FOLDER / "receiver.safetensors", FOLDER / "limits.safetensors"


@lru_cache(maxsize=1)
def network() -> JointNet:
    """Return the network, on the CPU, for received frames."""
    return load(WEIGHTS)


@lru_cache(maxsize=1)
def limits() -> Limits:
    """Return the limits of what recordings of known signals look like."""
    tensors, _ = read_tensors(LIMITS, problem=f"{LIMITS} cannot be read: install modsnr again")
    return Limits(**{name: tensor.numpy() for name, tensor in tensors.items()})
