"""Recordings that lie in memory: arrays of samples, read as a file's are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from modsnr import InputError
from modsnr.recordings.samples import LARGEST_SAMPLE, Recording

TAKEN = (
    "complex [sample], real [sample], or pairs of I and Q, [sample, 2] or [2, sample], of floats "
    "or signed integers"
)


@dataclass(frozen=True)
class Held(Recording):
    """A recording whose samples, complex64 or float32 [sample], are all held."""

    values: np.ndarray = field(default_factory=lambda: np.empty(0, np.complex64), repr=False)

    def read(self, start: int, count: int) -> np.ndarray:
        """Return samples ``start`` to ``start + count``, complex64 [sample], float32 if real."""
        return self.values[start : start + count]


def held(samples: Any, sample_rate: float = 0.0) -> Held:
    """Return samples, an array or a tensor, as a recording; ``sample_rate`` in Hz, 0: unknown.

    Raises InputError for shapes and types that are none of ``TAKEN``, for fewer than two samples,
    and for NaN, infinite or absurdly large ones.
    """
    given = np.asarray(samples.numpy(force=True) if hasattr(samples, "numpy") else samples)
    values = _complex_or_real(given)
    if len(values) < 2:
        raise InputError(f"An array of shape {given.shape} is no recording: it needs samples.")
    wrong = ~(np.abs(values) <= LARGEST_SAMPLE)
    if wrong.any():
        raise InputError(
            f"The array holds {int(wrong.sum())} samples that are NaN, infinite or beyond "
            f"{LARGEST_SAMPLE:g}, the first at index {int(wrong.argmax())}."
        )
    of = {"kind": "array", "sample_rate": sample_rate or None, "samples": len(values)}
    return Held(Path("the array"), **of, real=not np.iscomplexobj(values), values=values)


def _complex_or_real(given: np.ndarray) -> np.ndarray:
    """Return complex64 or float32 [sample]."""
    taken = given.dtype.kind in "cfi" and given.ndim in (1, 2)
    if taken and given.ndim == 2 and given.dtype.kind == "c":
        taken = 1 in given.shape
    elif taken and given.ndim == 2:
        taken = 2 in given.shape
    if not taken:
        raise InputError(
            f"samples must be {TAKEN}; they are {given.dtype} of shape {given.shape}. Frames of 8 "
            "samples a symbol, complex [frame, sample], go to modsnr.classify_frames."
        )
    if given.dtype.kind == "c":
        return given.astype(np.complex64).ravel()
    if given.ndim == 1:
        return given.astype(np.float32)
    pairs = given if given.shape[1] == 2 else given.T
    return np.ascontiguousarray(pairs, np.float32).view(np.complex64)[:, 0]
