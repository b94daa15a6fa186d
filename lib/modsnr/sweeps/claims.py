"""Claims judged by repeated runs: numbers in, an interval and a verdict out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, TypedDict

from modsnr import InputError
from modsnr.metrics import verdict
from modsnr.sweeps.analysis import BESIDE

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95
CLAIM = re.compile(r"\s*(\w+) (\S+) (?:above|within (\d*\.?\d+(?:e-?\d+)?) of) (\S+)\s*")


class Spread(TypedDict):
    """A mean over runs that differ in their seeds, and how they scatter."""

    value: float
    low: float  # of the mean, 95 %
    high: float
    deviation: float  # of one run, sample standard deviation
    runs: int


def students_interval(values: Sequence[float]) -> Spread:
    """Return the mean of values [seed] with Student's 95 % interval, n - 1 degrees of freedom.

    It covers the choice of the seed, not that of the test frames. A single value has an interval
    without ends. Source: Student, Biometrika 6(1), 1908.

    Raises InputError for no value, and for values that are not finite numbers.
    """
    from statistics import fmean, stdev

    from scipy import stats  # here: nothing else needs it, and it takes half a second

    count = len(values)
    if not count or not all(map(isfinite, values)):
        raise InputError(
            f"a mean over seeds needs runs with a finite value; the values are {list(values)}: "
            "settings that are compared need runs with the same seeds"
        )
    mean = fmean(values)
    if count == 1:
        return Spread(value=mean, low=-inf, high=inf, deviation=inf, runs=1)
    deviation = stdev(values)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * deviation / count**0.5
    return Spread(value=mean, low=mean - reach, high=mean + reach, deviation=deviation, runs=count)


def verdicts(claims: Iterable[tuple[str, str, Sequence[float], float, float]]) -> pd.DataFrame:
    """Return a row a claim: of, claim, then the ``Spread`` of its values, above, below, verdict.

    A claim is (of, claim, values [seed], above, below): that the mean of the values lies between
    the two numbers.
    """
    import pandas as pd

    rows = []
    for of, claim, values, above, below in claims:
        spread = students_interval(values)
        judged = {"verdict": verdict(spread, above=above, below=below)}
        rows.append({"of": of, "claim": claim, **spread, "above": above, "below": below} | judged)
    return pd.DataFrame(rows)


def compare(trials: pd.DataFrame, claims: Sequence[str]) -> pd.DataFrame:
    """Return a row a claim: claim, one, other, the ``Spread`` of the differences, verdict.

    ``trials`` is as of ``table``. A claim is "snr_layer bottleneck_64 above standard", that the one
    does better, or "warmup 0.1 within 0.01 of 0", that it does as well. Runs with a value are
    compared in pairs that differ in the claim's choice alone, thus seed by seed; ``one`` and
    ``other`` are the means over these pairs, and the interval covers which pairs there were. Of
    several runs of the same choices the newest counts.

    Raises InputError for a claim in another form, and for one that no two runs are about.
    """
    import pandas as pd

    rows = []
    for text in claims:
        form = CLAIM.fullmatch(text)
        if not form:
            raise InputError(
                f"{text!r} is no claim: write CHOICE ONE above OTHER, or CHOICE ONE within MARGIN "
                'of OTHER, such as "snr_layer bottleneck_64 above standard"'
            )
        choice, one, margin, other = form.groups()
        ends = {"above": -float(margin), "below": float(margin)} if margin else {"above": 0.0}
        pairs = _pairs(trials, choice, one, other)
        spread = students_interval((pairs.one - pairs.other).tolist())
        means = {"one": pairs.one.mean(), "other": pairs.other.mean()}
        rows.append({"claim": text, **means, **spread, "verdict": verdict(spread, **ends)})
    columns = ["claim", "one", "other", *Spread.__annotations__, "verdict"]
    return pd.DataFrame(rows, columns=columns)


def _pairs(trials: pd.DataFrame, choice: str, one: str, other: str) -> pd.DataFrame:
    """Return the values one and other of runs that differ in the choice alone, a row a pair."""
    choices = trials.columns.drop(BESIDE)
    if choice not in choices:
        raise InputError(f"the runs have no choice {choice!r}; they have: {[*choices]}")
    known = trials.dropna(subset=["value"])
    texts = known[choices].map(_text)
    known = texts.assign(value=known.value).drop_duplicates(subset=[*choices], keep="last")
    sides = [known[known[choice] == _text(setting)] for setting in (one, other)]
    fixed = [name for name in choices if name != choice]
    pairs = sides[0].merge(sides[1], on=fixed, suffixes=("_one", "_other"))
    if not len(pairs):
        raise InputError(
            f"no two runs differ in {choice} alone, {one} and {other}: "
            f"{len(sides[0])} and {len(sides[1])} of {len(trials)} have these values"
        )
    return pairs[["value_one", "value_other"]].set_axis(["one", "other"], axis=1)


def _text(value: Any) -> str:
    """Return a parameter's value as text, alike for 0.0001 and 1e-4."""
    try:
        return repr(float(value))
    except (TypeError, ValueError):
        return str(value)
