"""Claims judged by repeated runs: numbers in, an interval and a verdict out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import inf, isfinite, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from modsnr import InputError
from modsnr.metrics import verdict

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95


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
            judged = verdict(found, above=above, below=below)
            ends = {"above": above, "below": below}
            rows.append({"of": of, "claim": claim, **found, **ends, "verdict": judged})
    return pd.DataFrame(rows)


class Claim(NamedTuple):
    """That a choice does better set to ``one`` than to ``other``, or as well within ``margin``."""

    choice: str
    one: str
    other: str
    margin: float | None

    @classmethod
    def read(cls, text: str) -> Claim:
        """Return the claim of "snr_layer bottleneck_64 above standard", or "warmup 0.1 within
        0.01 of 0".

        Raises InputError for another form.
        """
        found = re.fullmatch(r"(\w+) (\S+) (?:above|within (\S+) of) (\S+)", text.strip())
        if found:
            choice, one, margin, other = found.groups()
            if margin is None:
                return cls(choice, one, other, None)
            with suppress(ValueError):
                if float(margin) > 0:
                    return cls(choice, one, other, float(margin))
        raise InputError(
            f"{text!r} is no claim: write CHOICE ONE above OTHER, or CHOICE ONE within MARGIN of "
            'OTHER, such as "snr_layer bottleneck_64 above standard"'
        )


def compare(trials: pd.DataFrame, claims: Sequence[str]) -> pd.DataFrame:
    """Return a row a claim: claim, one, other, the ``Spread`` of the differences, verdict.

    ``trials`` is as of ``table``, ``claims`` as ``Claim.read`` takes them. Runs with a value are
    compared in pairs that differ in the claim's choice alone, thus seed by seed; ``one`` and
    ``other`` are the means over these pairs, and the interval covers which pairs there were. Of
    several runs of the same choices the newest counts.

    Raises InputError for a claim in another form, and for one that no two runs are about.
    """
    import pandas as pd

    rows = []
    for text in claims:
        claim = Claim.read(text)
        pairs = _pairs(trials, claim)
        found = over_seeds([one - other for one, other in pairs])
        if claim.margin is None:
            judged = verdict(found, above=0)
        else:
            judged = verdict(found, above=-claim.margin, below=claim.margin)
        one, other = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
        rows.append({"claim": text, "one": one, "other": other, **found, "verdict": judged})
    columns = ["claim", "one", "other", *Spread.__annotations__, "verdict"]
    return pd.DataFrame(rows, columns=columns)


def _pairs(trials: pd.DataFrame, claim: Claim) -> list[tuple[float, float]]:
    """Return the values (one, other) of runs that differ in the claim's choice alone."""
    choices = list(trials.columns[5:])
    if claim.choice not in choices:
        raise InputError(f"the runs have no choice {claim.choice!r}; they have: {choices}")
    fixed = [name for name in choices if name != claim.choice]
    settings: list[dict[str, float]] = [{}, {}]
    for row in trials.dropna(subset=["value"]).to_dict("records"):
        for setting, wanted in zip(settings, (claim.one, claim.other), strict=True):
            if _is(row[claim.choice], wanted):
                setting[repr([row[name] for name in fixed])] = row["value"]
    one, other = settings
    if both := [(one[key], other[key]) for key in one if key in other]:
        return both
    raise InputError(
        f"no two runs differ in {claim.choice} alone, {claim.one} and {claim.other}: "
        f"{len(one)} and {len(other)} of {len(trials)} have these values"
    )


def _is(value: Any, text: str) -> bool:
    """Whether a parameter's value is what a text says: 0.0001 is 1e-4."""
    try:
        return float(value) == float(text)
    except (TypeError, ValueError):
        return str(value) == text
