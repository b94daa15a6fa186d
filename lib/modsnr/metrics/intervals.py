"""Statistics with their 95 % intervals over frames.

Shares of frames have Wilson's interval, and paired differences of shares that of Agresti and Min
(2005): where nearly all frames are right, resampling them hardly ever finds a wrong one. Any other
statistic has bootstrap percentiles: frames are resampled 2,000 times, with replacement; a statistic
of a confusion matrix is resampled as the matrix itself, which is multinomial, and so exactly what
resampling its frames would give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from statistics import NormalDist
from typing import Any, Literal, TypedDict

import numpy as np
import pandas as pd

from modsnr import InputError

RESAMPLES = 2000
LEVEL = 0.95
ENDS = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
DEVIATES = NormalDist().inv_cdf(ENDS[1])  # standard deviations to either side


class Interval(TypedDict):
    """A statistic and its 95 % interval."""

    value: float
    low: float
    high: float


def share(right: np.ndarray) -> Interval:
    """Return the share of frames that are right, bool [frame], with Wilson's interval (1927).

    Raises InputError where there are no frames.
    """
    if not len(right):
        raise InputError("There are no frames to take a share of.")
    return share_of(int(np.asarray(right, bool).sum()), len(right))


def share_of(count: int, total: int) -> Interval:
    """Return ``count`` over ``total`` with Wilson's interval (1927)."""
    from scipy.stats import binomtest  # here: it takes half a second

    ends = binomtest(count, total).proportion_ci(LEVEL, method="wilson")
    return Interval(value=count / total, low=float(ends.low), high=float(ends.high))


def difference(first: np.ndarray, second: np.ndarray) -> Interval:
    """Return mean(first) - mean(second) over the same frames, with its paired interval.

    ``first`` and ``second`` are bool [frame]: where each of two models was right.

    Raises InputError where they are not as many.
    """
    if len(first) != len(second):
        raise InputError(
            f"A paired difference needs the same frames; they are {len(first)} and {len(second)}."
        )
    one, other = np.asarray(first, bool), np.asarray(second, bool)
    gained, lost = int((one & ~other).sum()), int((other & ~one).sum())
    # Agresti and Min: half a frame more in each cell of the two by two.
    more, less, count = gained + 0.5, lost + 0.5, len(one) + 2
    middle = (more - less) / count
    reach = DEVIATES * (((more + less) / count - middle**2) / count) ** 0.5
    value = (gained - lost) / len(one)
    return Interval(
        value=value,
        low=min(max(middle - reach, -1.0), value),
        high=max(min(middle + reach, 1.0), value),
    )


def percentiles(value: float, resampled: np.ndarray) -> Interval:
    """Return a statistic with the middle 95 % of its resampled values [resample]."""
    low, high = np.quantile(resampled, ENDS)
    return Interval(value=value, low=float(low), high=float(high))


def basic(value: float, resampled: np.ndarray, least: float, most: float) -> Interval:
    """Return a statistic that resampling inflates, such as a maximum, with its basic interval: as
    far below the value as resamples lie above it, within ``least`` and ``most``, and with the value
    inside."""
    low, high = 2 * value - np.quantile(resampled, ENDS)[::-1]
    return Interval(
        value=value, low=float(np.clip(low, least, value)), high=float(np.clip(high, value, most))
    )


def mean_interval(values: np.ndarray, generator: np.random.Generator | None = None) -> Interval:
    """Return the mean of values [frame] with its bootstrap interval; bool have ``share``'s.

    Raises InputError where values are to be resampled and no ``generator`` is given.
    """
    values = np.asarray(values)
    if values.dtype == bool:
        return share(values)
    if generator is None:
        raise InputError(f"Values of type {values.dtype} need a generator to be resampled by.")
    values = values.astype(np.float64)
    pieces = (
        generator.integers(len(values), size=(50, len(values))) for _ in range(0, RESAMPLES, 50)
    )
    means = np.concatenate([values[rows].mean(1) for rows in pieces])
    return percentiles(float(values.mean()), means)


def interval(
    statistic: Callable[[np.ndarray], np.ndarray],
    counts: np.ndarray,
    generator: np.random.Generator,
    *,
    least: float | None = None,
) -> Interval:
    """Return a statistic of counts [...] with the interval over multinomial resamples of them.

    ``statistic`` maps counts [resample, ...] to values [resample]. One that resampling inflates,
    such as a maximum, gets the ``basic`` interval, from its ``least`` possible value.
    """
    total = int(counts.sum())
    draws = generator.multinomial(total, counts.ravel() / total, size=RESAMPLES)
    value = float(statistic(counts[None])[0])
    resampled = statistic(draws.reshape(RESAMPLES, *counts.shape))
    return percentiles(value, resampled) if least is None else basic(value, resampled, least, inf)


def rates(
    outcomes: np.ndarray, of: np.ndarray, generator: np.random.Generator | None = None
) -> pd.DataFrame:
    """Return the ``mean_interval`` of outcomes [item] over all items, then of each label ``of``:
    label, which is "all" or a label as text, ascending, value, low and high."""
    parts = {"all": np.ones(len(of), bool), **{f"{label}": of == label for label in np.unique(of)}}
    return pd.DataFrame(
        {"label": name, **mean_interval(outcomes[part], generator)} for name, part in parts.items()
    )


def verdict(
    found: Mapping[str, Any], *, above: float = -inf, below: float = inf
) -> Literal["holds", "contradicted", "not decided"]:
    """Return whether the whole interval lies between ``above`` and ``below``, all of it lies
    outside, on one side, or it contains one of the two."""
    if above < found["low"] and found["high"] < below:
        return "holds"
    return "contradicted" if found["high"] < above or found["low"] > below else "not decided"
