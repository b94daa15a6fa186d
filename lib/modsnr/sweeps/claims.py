"""What repeated runs say of a claim: numbers in, an interval and a verdict out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, sqrt
from typing import Literal, TypedDict

from modsnr import InputError

LEVEL = 0.95

Verdict = Literal["holds", "contradicted", "not decided"]


class Spread(TypedDict):
    """A mean over runs that differ in their seeds, and how they scatter."""

    value: float
    low: float  # of the mean, 95 %
    high: float
    deviation: float  # of one run, sample standard deviation
    runs: int


def over_seeds(values: Sequence[float]) -> Spread:
    """Return the mean of values [seed] with Student's 95 % interval, n - 1 degrees of freedom.

    It covers the choice of the seed, not that of the test frames. A single value has an interval
    without ends. Source: Student, Biometrika 6(1), 1908.

    Raises InputError for no value.
    """
    from scipy import stats  # here: nothing else needs it, and it takes half a second

    count = len(values)
    if not count:
        raise InputError("a mean over seeds needs at least one run; there is none")
    mean = sum(values) / count
    if count == 1:
        return Spread(value=mean, low=-inf, high=inf, deviation=inf, runs=1)
    deviation = sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * deviation / sqrt(count)
    return Spread(value=mean, low=mean - reach, high=mean + reach, deviation=deviation, runs=count)


def difference_over_seeds(first: Mapping[int, float], second: Mapping[int, float]) -> Spread:
    """Return ``over_seeds`` of first - second, seed by seed, over the seeds that both have.

    Raises InputError where they share none.
    """
    shared = sorted(set(first) & set(second))
    if not shared:
        raise InputError(
            f"seeds {sorted(first)} and {sorted(second)} have none in common: their runs cannot be "
            "compared in pairs; train both with one seed"
        )
    return over_seeds([first[seed] - second[seed] for seed in shared])


def verdict(found: Mapping[str, float], *, above: float = -inf, below: float = inf) -> Verdict:
    """Return what an interval, ``low`` to ``high``, says of the claim that its mean lies between
    ``above`` and ``below``.

    "holds" if the whole interval lies between them, "contradicted" if all of it lies outside, on
    one side, and "not decided" if it contains one of them.
    """
    if above < found["low"] and found["high"] < below:
        return "holds"
    return "contradicted" if found["high"] < above or found["low"] > below else "not decided"
