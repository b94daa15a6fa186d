"""Which frames an epoch visits, and in which order: a pure function of the recipe and the epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from modsnr.training.recipe import Recipe

# Mirroring the spectrum of any other class's signal gives a signal of the same class.
ONE_SIDED = ("AM-SSB-WC", "AM-SSB-SC")


class Labelled(NamedTuple):
    """``iq`` complex64 [frame, sample], ``modulation`` int64 and ``snr_db`` float32 [frame].

    ``findings`` float32 [frame, finding] are what the receiver found of received frames.
    """

    iq: Tensor
    modulation: Tensor
    snr_db: Tensor
    findings: Tensor | None = None

    @classmethod
    def of(cls, frames: Any) -> Labelled:
        """Return frames whose fields are arrays of these names, without a copy."""
        parts = cls(*(getattr(frames, name) for name in cls._fields))
        return parts.each(torch.from_numpy)

    def each(self, change: Callable[[Any], Tensor]) -> Labelled:
        """Return the parts that there are, each changed."""
        iq, modulation, snr_db = map(change, self[:3])
        findings = None if self.findings is None else change(self.findings)
        return Labelled(iq, modulation, snr_db, findings)


def frame_order(
    modulation: np.ndarray, snr_db: np.ndarray, recipe: Recipe, *, epoch: int
) -> np.ndarray:
    """Return the frames that an epoch visits, in order, as indices int64 [frame].

    ``modulation`` and ``snr_db`` are the labels [frame]. Shuffled: each frame once. Balanced: each
    (modulation, SNR) equally often, the frames of small ones more than once. Curriculum: at first
    only frames of the highest quarter of the SNRs, then of more, of all from half of the epochs on,
    and so in the only one.
    """
    rng = np.random.default_rng([recipe.seed, epoch])
    count = len(modulation)
    if recipe.sampling == "balanced":
        _, cells = np.unique(np.stack([modulation, snr_db]), axis=1, return_inverse=True)
        return _balanced(cells.reshape(-1), rng)
    if recipe.sampling == "curriculum":
        half = recipe.epochs / 2
        share = min(1.0, 0.25 + 0.75 * epoch / half) if half > 0.5 else 1.0
        levels = np.unique(snr_db)[::-1]
        lowest = levels[int(np.ceil(share * len(levels))) - 1]
        return _repeated(np.flatnonzero(snr_db >= lowest), count, rng)
    return rng.permutation(count)


def _balanced(cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return as many indices as there are ``cells`` [frame], each cell as often, or once more."""
    known = np.unique(cells)
    each, more = divmod(len(cells), len(known))
    favoured = set(rng.permutation(known)[:more].tolist())
    rows = [
        _repeated(np.flatnonzero(cells == cell), each + (cell in favoured), rng) for cell in known
    ]
    return rng.permutation(np.concatenate(rows))


def _repeated(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``count`` of ``rows``: shuffled anew each time they have all been taken."""
    times = -(-count // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(times)])[:count]
