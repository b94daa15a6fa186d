"""Which order of class names do the columns of a file follow, and which of its frames are twins?

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


def order_evidence(
    frames_of_column: Mapping[int, np.ndarray], candidates: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Return what was measured in each label column beside what each candidate order expects.

    ``frames_of_column`` is column -> complex [frame, sample], the column's strongest frames at 8
    samples a symbol; ``candidates`` is the name of an order -> class names in column order. A row
    a (column, candidate, feature): ``measured`` (median), ``margin`` (four standard errors of it,
    more for few frames), ``low``, ``high`` (NaN where the class leaves the feature open),
    ``agrees`` (True, False, or None where it is open or the column is too noisy), ``class``,
    ``frames`` and ``snr_db``.

    Raises InputError for frames or candidates that cannot be used.
    """
    if not frames_of_column or not candidates:
        raise InputError("An audit of the class order needs columns with frames, and candidates.")
    for name, classes in candidates.items():
        if len(set(classes)) < len(classes) or max(frames_of_column) >= len(classes):
            raise InputError(
                f"The order {name!r} must name every column once: it has {len(classes)} names, "
                f"{len(set(classes))} of them different, for columns up to {max(frames_of_column)}."
            )
    rows = []
    for column, frames in sorted(frames_of_column.items()):
        iq = usable(frames, f"Column {column}", SHORTEST)
        features = {name: robust_median(values) for name, values in measure(iq).items()}
        snr = snr_db(iq)
        symbols = iq.shape[1] // PERIOD - 2 * EDGE_SYMBOLS
        for candidate, classes in candidates.items():
            wanted = expectations(classes[column], symbols)
            for feature in FEATURES:
                value, _, error = features[feature]
                margin = MARGIN * (1 + 4 / len(iq)) * error  # of few frames it is itself unsure
                low, high = wanted.get(feature, (np.nan, np.nan))
                agrees = low - margin <= value <= high + margin
                rows.append({
                    "column": column, "candidate": candidate, "class": classes[column],
                    "feature": feature, "measured": value, "margin": margin,
                    "low": low, "high": high,
                    "agrees": agrees if feature in wanted and snr >= LOWEST_SNR_DB else None,
                    "snr_db": snr, "frames": len(iq), "symbols": symbols,
                })  # fmt: skip
    return pd.DataFrame(rows).astype({"agrees": object})


@dataclass(frozen=True)
class ClassOrder:
    """Which order of class names a file follows, and how sure that is.

    ``evidence`` is what ``order_evidence`` returned. ``exceptions`` are columns that contradict
    their class though no exchange of two explains it: the class is odd in this file.
    ``unchecked`` are the pairs of classes whose exchange these frames could not have shown, and
    ``noisy`` the columns under the lowest SNR. ``held`` is the share of the expectations that the
    order holds, ``chance`` the probability that classes drawn at random would hold all theirs.
    """

    order: str
    classes: tuple[str, ...]
    evidence: pd.DataFrame
    exceptions: tuple[str, ...]
    unchecked: tuple[tuple[str, str], ...]
    noisy: tuple[int, ...]
    held: float
    chance: float


def class_order(evidence: pd.DataFrame) -> ClassOrder:
    """Return which candidate order of class names the label columns follow, decided by physics.

    ``evidence`` is what ``order_evidence`` returned. An order is accepted if at most a tenth of the
    columns contradict their class, no exchange of two columns explains a contradiction away, and
    classes drawn at random would hardly pass.

    Raises InputError if no candidate or more than one is accepted, and if too few columns are
    present or quiet enough; the message names the columns.
    """
    snr_of = dict(zip(evidence["column"], evidence["snr_db"], strict=True))
    noisy = tuple(column for column, snr in snr_of.items() if snr < LOWEST_SNR_DB)
    judged = [column for column in snr_of if column not in noisy]
    if len(judged) < len(snr_of) / 2:
        raise InputError(
            f"Class order undecided: {len(noisy)} of {len(snr_of)} columns are too noisy, "
            f"under {LOWEST_SNR_DB:g} dB ({np.median([*snr_of.values()]):.1f} dB in the median): "
            "give the frames of the highest SNR."
        )
    fits = _fits(evidence)
    chance = float(np.prod([np.mean([*fits[column].values()]) for column in judged]))
    if chance > CHANCE:
        raise InputError(
            f"Class order undecided: {len(judged)} columns are too few, as classes drawn at "
            f"random would pass with probability {chance:.2g}. Give frames of more columns."
        )
    accepted, complaints = [], []
    for order, rows in evidence.groupby("candidate", sort=False):
        class_of = dict(zip(rows["column"], rows["class"], strict=True))
        wrong = [column for column in judged if not fits[column][class_of[column]]]
        pairs = _exchangeable(fits, class_of, judged)
        exchanged = [pair for pair in pairs if not set(pair).isdisjoint(wrong)]
        contradicted = rows[rows["agrees"].eq(False)].drop_duplicates("column")
        reasons = [_reason(row) for row in contradicted.to_dict("records")]
        if exchanged or len(wrong) > EXCEPTIONS * len(judged):
            complaints.append(_complaint(str(order), reasons, exchanged, len(judged)))
            continue
        found = ClassOrder(
            order=str(order),
            classes=tuple(class_of.values()),
            evidence=evidence,
            exceptions=tuple(reasons),
            unchecked=tuple((class_of[i], class_of[j]) for i, j in pairs),
            noisy=noisy,
            held=float(rows["agrees"].dropna().mean()),
            chance=chance,
        )
        accepted.append(found)
    if not accepted:
        raise InputError(f"Class order undecided: {'; '.join(complaints)}.")
    if len(accepted) > 1:
        raise InputError(
            f"Class order undecided: {' and '.join(found.order for found in accepted)} agree "
            f"equally well with the {len(judged)} columns given. Give frames of more columns."
        )
    return accepted[0]


def _fits(evidence: pd.DataFrame) -> dict[int, dict[str, bool]]:
    """Return column -> class -> whether what was measured in the column could be the class."""
    fits: dict[int, dict[str, bool]] = {}
    names = sorted(set(evidence["class"]))
    for row in evidence.drop_duplicates(["column", "feature"]).to_dict("records"):
        of_column = fits.setdefault(row["column"], dict.fromkeys(names, True))
        for name in names:
            low, high = expectations(name, row["symbols"]).get(row["feature"], (-np.inf, np.inf))
            of_column[name] &= low - row["margin"] <= row["measured"] <= high + row["margin"]
    return fits


def _exchangeable(
    fits: Mapping[int, Mapping[str, bool]], class_of: Mapping[int, str], columns: Sequence[int]
) -> list[tuple[int, int]]:
    """Return the pairs of columns each of which could be the class of the other."""
    return [
        (i, j) for i, j in combinations(columns, 2) if fits[i][class_of[j]] and fits[j][class_of[i]]
    ]


def _reason(row: Mapping[Any, Any]) -> str:
    under = row["measured"] < row["low"]
    return (
        f"column {row['column']} is no {row['class']} ({row['feature']} is {row['measured']:.2f}, "
        f"{'at least' if under else 'at most'} {row['low' if under else 'high']:.2f} is expected)"
    )


def _complaint(
    order: str, reasons: Sequence[str], exchanged: Sequence[tuple[int, int]], judged: int
) -> str:
    more = f" and {len(reasons) - 6} more" if len(reasons) > 6 else ""
    pairs = " or ".join(f"{i} and {j}" for i, j in exchanged[:6])
    # Many contradictions are another order; a few are columns in each other's place.
    hint = f"; columns {pairs} seem exchanged" if len(reasons) <= EXCEPTIONS * judged else ""
    return (
        f"{order} is contradicted by {len(reasons)} of {judged} columns: "
        f"{', '.join(reasons[:6])}{more}{hint}"
    )


def order_table(evidence: pd.DataFrame) -> pd.DataFrame:
    """Return the evidence for people, a row a column: features, then class and verdict an order.

    A verdict is False if any feature contradicts the class, None if all features are open.
    """
    columns = evidence.groupby("column")
    table = evidence.pivot_table("measured", "column", "feature", "first")[[*FEATURES]]
    table.columns.name = None
    table.insert(0, "SNR (dB)", columns["snr_db"].first())
    for order, rows in evidence.groupby("candidate", sort=False):
        of_column = rows.groupby("column")
        table[order] = of_column["class"].first()
        table[f"{order}: agrees"] = of_column["agrees"].agg(
            lambda agrees: None if agrees.isna().all() else bool(agrees.dropna().all())
        )
    return table


def duplicates(digests: np.ndarray) -> list[np.ndarray]:
    """Return the groups of equal rows: ascending int64 row indices, groups by their first row.

    ``digests`` is uint8 [frame, 16], a content hash a frame. ``sum(map(len, groups)) -
    len(groups)`` frames are thus superfluous.

    Raises InputError for an array of another kind.
    """
    if digests.dtype != np.uint8 or digests.ndim != 2 or digests.shape[1] != 16:
        raise InputError(
            f"Digests must be uint8 [frame, 16]; they are {digests.dtype} {digests.shape}."
        )
    halves = pd.DataFrame(np.ascontiguousarray(digests).view(np.uint64))
    rows = np.flatnonzero(halves.duplicated(keep=False))
    groups = halves.iloc[rows].groupby([0, 1], sort=False).indices.values()
    return sorted((rows[places] for places in groups), key=lambda group: int(group[0]))
