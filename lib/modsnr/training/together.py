"""Many small tensors at once: a GPU is asked a few times, where it would be once a tensor.

A network's statistics and gradients are hundreds of tensors, each done in less time than it takes
to ask for. On a CPU each is done by itself, to the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

foreach: Any = torch  # what torch's optimizers use has no public name


def copy(targets: Iterable[Tensor], sources: Iterable[Tensor]) -> None:
    """Copy each of ``sources`` into its target, of the same shape, type and device."""
    pairs = sorted(zip(targets, sources, strict=True), key=_type)
    for _, alike in groupby(pairs, _type):
        foreach._foreach_copy_(*map(list, zip(*alike, strict=True)))


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of each tensor: [tensor]."""
    return torch.stack(foreach._foreach_norm(list(tensors)))


def _type(pair: tuple[Tensor, Tensor]) -> str:
    return str(pair[0].dtype)
