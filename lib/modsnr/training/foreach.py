"""Copies and norms of many small tensors in a few calls, as torch's own optimizers make them.

A network's statistics and gradients are hundreds of tensors. On a GPU a call takes longer to launch
than to run, so one call takes them all; on a CPU each tensor is done by itself, to the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

foreach: Any = torch  # torch has no public name for these functions


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
