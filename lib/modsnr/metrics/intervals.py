"""Statistics with their 95 % bootstrap intervals, over frames resampled with replacement.

Frames are resampled 2,000 times. A statistic of a confusion matrix is resampled as the matrix
itself, which is multinomial, and so exactly what resampling its frames would give.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

import numpy as np

from modsnr import InputError

RESAMPLES = 2000
LEVEL = 0.95


class Interval(TypedDict):
    """A statistic and its 95 % bootstrap interval (percentiles)."""

    value: float
    low: float
    high: float


def interval(
    statistic: Callable[[np.ndarray], np.ndarray],
    counts: np.ndarray,
    generator: np.random.Generator,
) -> Interval:
    """Return a statistic of counts [...] with the interval over multinomial resamples of them.

    ``statistic`` maps counts [resample, ...] to values [resample].
    """
    total = int(counts.sum())
    draws = generator.multinomial(total, counts.ravel() / total, size=RESAMPLES)
    values = statistic(draws.reshape(RESAMPLES, *counts.shape))
    return _percentiles(float(statistic(counts[None])[0]), values)


def mean_interval(values: np.ndarray, generator: np.random.Generator) -> Interval:
    """Return the mean of values [frame] with its bootstrap interval."""
    values = np.asarray(values, dtype=np.float64)
    if np.isin(values, (-1.0, 0.0, 1.0)).all():  # a few kinds of frames: resample their counts
        kinds = np.array([-1.0, 0.0, 1.0])
        counts = (values[:, None] == kinds).sum(0)
        return interval(lambda draws: draws @ kinds / len(values), counts, generator)
    means = np.concatenate(
        [
            values[generator.integers(len(values), size=(50, len(values)))].mean(1)
            for _ in range(RESAMPLES // 50)
        ]
    )
    return _percentiles(float(values.mean()), means)


def _percentiles(value: float, resampled: np.ndarray) -> Interval:
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value=value, low=float(low), high=float(high))


def difference(first: np.ndarray, second: np.ndarray, *, seed: int = 0) -> Interval:
    """Return mean(first) - mean(second) over the same frames, with its paired interval.

    ``first`` and ``second`` are bool [frame]: where each of two models was right.

    Raises InputError where they are not as many.
    """
    if len(first) != len(second):
        raise InputError(
            f"A paired difference needs the same frames; they are {len(first)} and {len(second)}."
        )
    change = np.asarray(first, np.int64) - np.asarray(second, np.int64)
    return mean_interval(change, np.random.default_rng(seed))


def rates(
    outcomes: np.ndarray, of: np.ndarray, generator: np.random.Generator
) -> dict[str, Interval]:
    """Return the mean of outcomes [item] over all items, then over those of each label ``of``.

    The labels [item] are ascending, as text. An item is what is resampled: a frame, or the share of
    a recording whose frames are not independent.
    """
    parts = {"all": np.ones(len(of), bool), **{f"{label}": of == label for label in np.unique(of)}}
    return {name: mean_interval(outcomes[part], generator) for name, part in parts.items()}
