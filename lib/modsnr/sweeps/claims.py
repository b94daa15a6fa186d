"""What repeated runs say of a claim: numbers in, an interval and a verdict out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite, sqrt
from typing import TYPE_CHECKING, Literal, TypedDict

from modsnr import InputError

if TYPE_CHECKING:
    import pandas as pd

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

    Raises InputError for no value, and for values that are not finite numbers.
    """
    from scipy import stats  # here: nothing else needs it, and it takes half a second

    count = len(values)
    if not count or not all(map(isfinite, values)):
        raise InputError(
            f"a mean over seeds needs runs with a finite value; the values are {list(values)}: "
            "settings that are compared need runs with the same seeds"
        )
    mean = float(sum(values) / count)
    if count == 1:
        return Spread(value=mean, low=-inf, high=inf, deviation=inf, runs=1)
    deviation = sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * deviation / sqrt(count)
    return Spread(value=mean, low=mean - reach, high=mean + reach, deviation=deviation, runs=count)


def verdict(found: Spread, *, above: float = -inf, below: float = inf) -> Verdict:
    """Return what an interval says of the claim that its mean lies between
    ``above`` and ``below``.

    "holds" if the whole interval lies between them, "contradicted" if all of it lies outside, on
    one side, and "not decided" if it contains one of them.
    """
    if above < found["low"] and found["high"] < below:
        return "holds"
    return "contradicted" if found["high"] < above or found["low"] > below else "not decided"


def verdicts(
    claims: Mapping[str, Mapping[str, tuple[Sequence[float], float, float]]],
) -> pd.DataFrame:
    """Return a row a claim: of, claim, then the ``Spread`` of its values, above, below, verdict.

    ``claims`` is what they are of -> claim -> (values [seed], above, below): the claim is that the
    values' mean lies between the two.
    """
    import pandas as pd

    rows = []
    for of, its_claims in claims.items():
        for claim, (values, above, below) in its_claims.items():
            found = over_seeds(values)
            said = verdict(found, above=above, below=below)
            ends = {"above": above, "below": below}
            rows.append({"of": of, "claim": claim, **found, **ends, "verdict": said})
    return pd.DataFrame(rows)
