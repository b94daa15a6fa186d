"""Which order of class names do the columns of a file follow?

No label is believed: what is measured in a column is compared with what the definition of a
modulation demands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from modsnr import InputError
from modsnr.recordings.physics import (
    EDGE_SYMBOLS,
    FEATURES,
    LOWEST_SNR_DB,
    PERIOD,
    expectations,
    measure,
    robust_median,
    snr_db,
    usable,
)

SHORTEST = 64 * PERIOD  # samples: below, chance lines reach the height of true ones
MARGIN = 4  # standard errors by which a median may leave the interval that is expected
CHANCE = 1e-3  # that classes drawn at random would pass for an order that is accepted
EXCEPTIONS = 0.1  # of the columns may contradict their class, if no exchange of two explains it


@dataclass(frozen=True)
class ClassOrder:
    """Which order of class names a file follows.

    ``held`` is the share of the expectations that the order holds. ``evidence`` has a row a
    (column, candidate, feature): ``class``, ``measured`` (median), ``margin`` (four standard errors
    of it, more for few frames), ``low`` and ``high`` (NaN where the class leaves the feature open),
    ``agrees`` (True, False, or None where it is open or the column is too noisy) and ``snr_db``.
    """

    order: str
    evidence: pd.DataFrame
    held: float

    @property
    def table(self) -> pd.DataFrame:
        """What was measured in each column, a row a column, a column a feature."""
        rows = self.evidence[self.evidence["candidate"] == self.order]
        wide = rows.pivot_table("measured", ["column", "class", "snr_db"], "feature")
        return wide[[*FEATURES]].reset_index()


def class_order(
    frames_of_column: Mapping[int, np.ndarray], candidates: Mapping[str, Sequence[str]]
) -> ClassOrder:
    """Return which candidate order of class names the label columns follow, decided by physics.

    ``frames_of_column`` is column -> complex [frame, sample], the column's strongest frames at 8
    samples a symbol; ``candidates`` is the name of an order -> class names in column order. An
    order is accepted if at most a tenth of the columns contradict their class, no exchange of two
    columns explains a contradiction away, and classes drawn at random would hardly pass.

    Raises InputError for frames that cannot be used, if no candidate or more than one is accepted,
    and if too few columns are present or quiet enough; the message names the columns.
    """
    names = {classes[column] for classes in candidates.values() for column in frames_of_column}
    compared = _compared(frames_of_column, sorted(names))
    snrs = compared.groupby("column")["snr_db"].first()
    judged = snrs.index[snrs >= LOWEST_SNR_DB]
    if len(judged) < len(snrs) / 2:
        raise InputError(
            f"Class order undecided: {len(snrs) - len(judged)} of {len(snrs)} columns are too "
            f"noisy, under {LOWEST_SNR_DB:g} dB ({snrs.median():.1f} dB in the median)."
        )
    fits = compared.pivot_table("fits", "column", "class", aggfunc="all").loc[judged]
    chance = float(np.prod(fits.mean(axis=1)))
    if chance > CHANCE:
        raise InputError(
            f"Class order undecided: {len(judged)} columns are too few, as classes drawn at "
            f"random would pass with probability {chance:.2g}."
        )
    evidence = pd.concat(
        compared[compared["class"] == compared["column"].map(dict(enumerate(classes)))].assign(
            candidate=name
        )
        for name, classes in candidates.items()
    )
    possible: Any = fits.to_dict("index")
    complaints = {
        order: _complaint(order, classes, possible, evidence[evidence["candidate"] == order])
        for order, classes in candidates.items()
    }
    accepted = [order for order, complaint in complaints.items() if not complaint]
    if not accepted:
        raise InputError(f"Class order undecided: {'; '.join(complaints.values())}.")
    if len(accepted) > 1:
        raise InputError(
            f"Class order undecided: {' and '.join(accepted)} agree equally well with the "
            f"{len(judged)} columns given."
        )
    held = evidence.loc[evidence["candidate"] == accepted[0], "agrees"].dropna().mean()
    return ClassOrder(accepted[0], evidence.drop(columns="fits"), float(held))


def _compared(frames_of_column: Mapping[int, np.ndarray], names: Sequence[str]) -> pd.DataFrame:
    """Return what each column shows beside what each class expects, a row a feature.

    ``fits`` is whether what was measured, or left open, could be the class.
    """
    rows = []
    for column, frames in sorted(frames_of_column.items()):
        iq = usable(frames, f"Column {column}", SHORTEST)
        snr, symbols = snr_db(iq), iq.shape[1] // PERIOD - 2 * EDGE_SYMBOLS
        for feature, values in measure(iq).items():
            median, _, error = robust_median(values)
            margin = MARGIN * (1 + 4 / len(iq)) * error  # of few frames it is itself unsure
            for name in names:
                low, high = expectations(name, symbols).get(feature, (np.nan, np.nan))
                rows.append((column, name, feature, median, margin, low, high, snr))
    table = pd.DataFrame(
        rows,
        columns=["column", "class", "feature", "measured", "margin", "low", "high", "snr_db"],
    )
    within = table["measured"].between(
        table["low"] - table["margin"], table["high"] + table["margin"]
    )
    is_open = table["low"].isna()
    table["fits"] = is_open | within
    unjudged = is_open | (table["snr_db"] < LOWEST_SNR_DB)
    table["agrees"] = within.astype(object).where(~unjudged, None)
    return table


def _complaint(
    order: str,
    classes: Sequence[str],
    possible: Mapping[int, Mapping[str, bool]],
    evidence: pd.DataFrame,
) -> str:
    """Return why an order is not accepted, "" if it is.

    ``possible`` is column -> class -> whether what was measured in the column could be the class.
    """
    wrong = [column for column, fits in possible.items() if not fits[classes[column]]]
    exchanged = [
        f"{i} and {j}"
        for i, j in combinations(possible, 2)
        if (i in wrong or j in wrong) and possible[i][classes[j]] and possible[j][classes[i]]
    ]
    few = len(wrong) <= EXCEPTIONS * len(possible)
    if few and not exchanged:
        return ""
    contradictions = evidence[evidence["agrees"].eq(False)].drop_duplicates("column")
    reasons = [
        f"column {row['column']} is no {row['class']} ({row['feature']} is {row['measured']:.2f}, "
        f"{row['low']:.2f} to {row['high']:.2f} is expected)"
        for row in contradictions.head(6).to_dict("records")
    ]
    # Many contradictions are another order; a few are columns in each other's place.
    hint = f"; columns {' or '.join(exchanged[:6])} seem exchanged" if few else ""
    return (
        f"{order} is contradicted by {len(wrong)} of {len(possible)} columns: "
        f"{', '.join(reasons)}{', ...' * (len(wrong) > len(reasons))}{hint}"
    )
