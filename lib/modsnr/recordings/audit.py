"""Audits of a file's labels: do the frames have the physics of their class and of their SNR?

``class_order`` tells which of several orders of class names a file follows, ``snr_meaning`` what
its SNR labels mean, ``duplicates`` which of its frames are the same. They believe no label: each
compares what is measured with what the definition of a modulation or of an SNR demands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.signal.windows import dpss

from modsnr import InputError
from modsnr.recordings.physics import (
    EDGE_SYMBOLS,
    FEATURES,
    LOWEST_SNR_DB,
    PERIOD,
    expectations,
    measure,
    snr_db,
)

FEWEST_FRAMES = 8  # a column or label: fewer give no median worth the name
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
        iq = _usable(frames, f"Column {column}", FEWEST_FRAMES, SHORTEST)
        features = {name: _median(values) for name, values in measure(iq).items()}
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


def _usable(iq: np.ndarray, where: str, fewest: int, shortest: int) -> np.ndarray:
    if iq.ndim != 2 or not np.iscomplexobj(iq) or len(iq) < fewest or iq.shape[1] < shortest:
        raise InputError(
            f"{where} needs complex IQ [frame, sample], at least {fewest} frames of {shortest} "
            f"samples; it is {iq.dtype} {iq.shape}."
        )
    power = np.square(np.abs(iq), dtype=np.float64).mean(1)
    bad = ~np.isfinite(power) | (power < np.finfo(np.float32).tiny)
    if bad.any():
        raise InputError(
            f"{where}: {int(bad.sum())} of {len(iq)} frames hold NaN or infinite samples or have "
            f"no power, the first at index {int(bad.argmax())}: leave them out."
        )
    return iq.astype(np.complex128)


def _median(values: np.ndarray) -> tuple[float, float, float]:
    """Return the median, a robust standard deviation and the standard error of the median."""
    median = np.median(values)
    sigma = 1.4826 * np.median(np.abs(values - median))
    return float(median), float(sigma), float(1.2533 * sigma / np.sqrt(len(values)))


@dataclass(frozen=True)
class ClassOrder:
    """Which order of class names a file follows, and how sure that is.

    ``evidence`` is what ``order_evidence`` returned. ``exceptions`` are columns that contradict
    their class though no exchange of two explains it: a peculiarity of the class in this file.
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


def class_order(
    frames_of_column: Mapping[int, np.ndarray], candidates: Mapping[str, Sequence[str]]
) -> ClassOrder:
    """Return which candidate order of class names the label columns follow, decided by physics.

    The arguments are those of ``order_evidence``. An order is accepted if at most a tenth of the
    columns contradict their class, no exchange of two columns explains a contradiction away, and
    classes drawn at random would hardly pass.

    Raises InputError if no candidate or more than one is accepted, if too few columns are present
    or quiet enough, and for input that cannot be used; the message names the columns.
    """
    return decide_order(order_evidence(frames_of_column, candidates))


def decide_order(evidence: pd.DataFrame) -> ClassOrder:
    """Return what ``class_order`` returns, from evidence that is already there to look at."""
    records = evidence.to_dict("records")
    snr_of = {row["column"]: row["snr_db"] for row in records}
    noisy = tuple(column for column, snr in snr_of.items() if snr < LOWEST_SNR_DB)
    judged = [column for column in snr_of if column not in noisy]
    if len(judged) < len(snr_of) / 2:
        raise InputError(
            f"Cannot tell the class order: {len(noisy)} of {len(snr_of)} columns are too noisy, "
            f"under {LOWEST_SNR_DB:g} dB ({np.median([*snr_of.values()]):.1f} dB in the median): "
            "give the frames of the highest SNR."
        )
    fits = _fits(evidence)
    chance = float(np.prod([np.mean([*fits[column].values()]) for column in judged]))
    if chance > CHANCE:
        raise InputError(
            f"Cannot tell the class order: {len(judged)} columns are too few, as classes drawn at "
            f"random would pass with probability {chance:.2g}. Give frames of more columns."
        )
    orders: dict[str, dict[int, str]] = {}
    reasons: dict[tuple[str, int], str] = {}
    for row in records:
        orders.setdefault(row["candidate"], {})[row["column"]] = row["class"]
        if row["agrees"] is False:
            reasons.setdefault((row["candidate"], row["column"]), _reason(row))
    accepted, complaints = {}, []
    for order, class_of in orders.items():
        wrong = [column for column in judged if not fits[column][class_of[column]]]
        exchanged = [
            pair
            for pair in _exchangeable(fits, class_of, judged)
            if not set(pair).isdisjoint(wrong)
        ]
        if exchanged or len(wrong) > EXCEPTIONS * len(judged):
            found = [reasons[order, column] for column in wrong]
            complaints.append(_complaint(order, found, exchanged, len(judged)))
        else:
            accepted[order] = wrong
    if not accepted:
        raise InputError(f"Cannot tell the class order: {'; '.join(complaints)}.")
    if len(accepted) > 1:
        raise InputError(
            f"Cannot tell the class order: {' and '.join(accepted)} agree equally well with the "
            f"{len(judged)} columns given. Give frames of more columns."
        )
    ((order, wrong),) = accepted.items()
    class_of = orders[order]
    verdicts = [row["agrees"] for row in records if row["candidate"] == order]
    return ClassOrder(
        order=order,
        classes=tuple(class_of.values()),
        evidence=evidence,
        exceptions=tuple(reasons[order, column] for column in wrong),
        unchecked=tuple(
            (class_of[i], class_of[j]) for i, j in _exchangeable(fits, class_of, judged)
        ),
        noisy=noisy,
        held=float(np.mean([verdict for verdict in verdicts if verdict is not None])),
        chance=chance,
    )


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
    """Return the evidence for people, a row a column: features, then class and verdict an order."""
    table: dict[int, dict[str, object]] = {}
    for row in evidence.to_dict("records"):
        line = table.setdefault(row["column"], {"SNR (dB)": row["snr_db"]})
        line[row["feature"]] = row["measured"]
    for row in evidence.to_dict("records"):
        line, verdict = table[row["column"]], f"{row['candidate']}: agrees"
        line[row["candidate"]] = row["class"]
        line.setdefault(verdict, row["agrees"])
        if row["agrees"] is not None and line[verdict] is not False:
            line[verdict] = row["agrees"]
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("column")


TAPERS, BANDWIDTH = 5, 4.0  # Slepian sequences and their time-bandwidth product
CARRIER_OFFSET = 0.01  # cycles/sample, the largest expected
PRECISION_DB = 1.5  # a frame's estimate must be better than this for its label to be judged
STEP_DB = 0.5  # a quarter of the usual 2 dB grid: a bias of more is no rounding


@dataclass(frozen=True)
class SnrMeaning:
    """What the SNR labels of a file mean.

    ``verdict`` is "per sample", "Es/N0", "offset" (the labels are off by the constant
    ``offset_db`` = estimate - label, whatever it means), "not calibrated" (the bias depends on the
    label; ``slope`` is dB of estimate a dB of label) or "coloured noise" (the floor outside the
    band is not flat, by ``tilt_db``, so it says nothing about the noise inside). ``sentence`` says
    it in words. ``table`` has a row a label: ``frames``, ``estimate_db`` (median), ``bias_db``,
    ``error_db`` (standard error of the median), ``spread_db`` (robust standard deviation a frame),
    ``bound_db`` (its Cramer-Rao bound with known symbols), ``tilt_db``, ``judged`` and ``reason``.
    """

    verdict: str
    offset_db: float
    slope: float
    tilt_db: float
    sentence: str
    table: pd.DataFrame


def snr_meaning(
    frames_of_label: Mapping[float, np.ndarray],
    samples_per_symbol: int = PERIOD,
    rolloff_max: float = 0.4,
) -> SnrMeaning:
    """Return what SNR labels mean, from the noise floor outside the band of linear digital frames.

    ``frames_of_label`` is label in dB -> complex [frame, sample]. A frame's SNR is signal power
    over noise power per sample, noise white over the sampled band; its floor is the multitaper
    density (Thomson, Proc. IEEE 70(9), 1982) beyond the signal's band, the tapers' bandwidth and
    a carrier offset of 0.01 cycles/sample. A label is judged where theory lets the estimate speak:
    its standard deviation a frame is under 1.5 dB, and the floor at least 20 dB over what the
    signal leaks through the tapers.

    Raises InputError for frames that cannot be used, if no band is left for noise alone, and if
    fewer than three labels, or a span under 6 dB, can be judged.
    """
    rows = []
    for label, frames in sorted(frames_of_label.items()):
        iq = _usable(frames, f"Label {label:g} dB", FEWEST_FRAMES, 64)
        ratio, tilt, ceiling, freedom = _floor_snr(iq, samples_per_symbol, rolloff_max)
        middle = max(float(np.median(ratio)), 1e-6)
        estimates = 10 * np.log10(np.maximum(ratio, 1e-12))
        estimate, spread, error = _median(estimates)
        sigma = 10 / np.log(10) * (1 + middle) / middle / np.sqrt(freedom)
        reason = ""
        if sigma > PRECISION_DB:
            reason = "too little signal"
        elif middle > ceiling / 100:
            reason = "too little noise"
        rows.append(
            {
                "label_db": float(label),
                "frames": len(iq),
                "estimate_db": estimate if estimate > -60 else np.nan,
                "bias_db": estimate - label if estimate > -60 else np.nan,
                "error_db": error,
                "spread_db": spread,
                "bound_db": 10 / np.log(10) * np.sqrt((2 / middle + 1) / iq.shape[1]),
                "tilt_db": tilt,
                "judged": not reason,
                "reason": reason,
            }
        )
    table = pd.DataFrame(rows)
    labels, estimates, biases, errors, tilts = (
        np.array([row[name] for row in rows if row["judged"]])
        for name in ("label_db", "estimate_db", "bias_db", "error_db", "tilt_db")
    )
    if len(labels) < 3 or np.ptp(labels) < 6:
        reasons = ", ".join(f"{row['label_db']:g} dB: {row['reason'] or 'good'}" for row in rows)
        raise InputError(
            f"Cannot tell what the SNR labels mean: three labels over at least 6 dB are needed "
            f"whose frames can be judged; of {len(rows)} given {len(labels)} can ({reasons})."
        )
    offset, tilt = float(np.median(biases)), float(np.median(tilts))
    slope = float(np.polyfit(labels, estimates, 1)[0])
    excess = np.abs(biases - offset) - MARGIN * errors
    symbol_db = float(10 * np.log10(samples_per_symbol))
    where = f"from {labels.min():g} to {labels.max():g} dB"
    if abs(tilt) > STEP_DB:
        verdict = "coloured noise"
        sentence = (
            f"The noise beside the band is {abs(tilt):.1f} dB {'lower' if tilt > 0 else 'higher'} "
            "further out: it is not white, and the SNR in the band cannot be told from it."
        )
    elif excess.max() > STEP_DB:
        verdict = "not calibrated"
        sentence = (
            f"{where} a step of 1 dB of the label is {slope:.2f} dB of SNR per sample; the bias "
            f"runs from {biases.min():.1f} to {biases.max():.1f} dB."
        )
    elif abs(offset) <= STEP_DB:
        verdict = "per sample"
        sentence = f"{where} the label is the SNR per sample, off by {offset:+.2f} dB."
    elif abs(offset + symbol_db) <= STEP_DB:
        verdict = "Es/N0"
        sentence = (
            f"{where} the SNR per sample is the label {offset:+.2f} dB: the label is Es/N0, "
            f"{symbol_db:.2f} dB more at {samples_per_symbol} samples a symbol."
        )
    else:
        verdict = "offset"
        sentence = f"{where} the SNR per sample is the label {offset:+.2f} dB, a constant offset."
    return SnrMeaning(verdict, offset, slope, tilt, sentence[0].upper() + sentence[1:], table)


def _floor_snr(
    iq: np.ndarray, period: int, rolloff_max: float
) -> tuple[np.ndarray, float, float, float]:
    """Return the SNR ratio [frame], the floor's tilt in dB, the ceiling ratio and the freedom.

    The tilt is the floor's inner over its outer half, the ceiling the ratio that the signal's own
    leakage through the tapers would show without noise, the freedom the number of independent
    noise samples in the floor.
    """
    samples = iq.shape[1]
    frequency = np.abs(np.fft.fftfreq(samples))
    edge = (1 + rolloff_max) / 2 / period
    first = edge + BANDWIDTH / samples + CARRIER_OFFSET
    outside = frequency > first
    if outside.mean() < 0.2:
        raise InputError(
            f"No band is left for noise alone at {period} samples a symbol, roll-off up to "
            f"{rolloff_max:g} and {samples} samples a frame."
        )
    tapers = dpss(samples, BANDWIDTH, TAPERS)  # [taper, sample], unit energy
    density = np.zeros(iq.shape)
    for taper in tapers:
        density += np.square(np.abs(np.fft.fft(iq * taper, axis=1))) / TAPERS
    floor = density[:, outside].mean(1)
    power = np.square(np.abs(iq)).mean(1)
    inner = outside & (frequency < (first + 0.5) / 2)
    tilt = density[:, inner].mean() / density[:, outside & ~inner].mean()

    band = (np.abs(np.fft.fftfreq(samples) - CARRIER_OFFSET) < edge) * 1.0
    window = np.square(np.abs(np.fft.fft(tapers, axis=1))).mean(0)
    leak = np.fft.ifft(np.fft.fft(band / band.sum()) * np.fft.fft(window)).real
    weight = np.square(tapers).mean(0)
    freedom = outside.mean() / np.square(weight).sum()
    ceiling = 1 / max(leak[outside].mean(), 1e-12)
    return power / floor - 1, float(10 * np.log10(tilt)), float(ceiling), float(freedom)


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
    halves = np.ascontiguousarray(digests).view(np.uint64)
    # Few rows share even half a digest: only those are worth sorting by the whole.
    order = np.argsort(halves[:, 0])
    first = halves[order, 0]
    same = first[1:] == first[:-1]
    twin = np.zeros(len(order), bool)
    twin[1:] |= same
    twin[:-1] |= same
    rows = np.sort(order[twin])
    rows = rows[np.lexsort((rows, halves[rows, 1], halves[rows, 0]))]
    borders = np.flatnonzero((halves[rows[1:]] != halves[rows[:-1]]).any(1)) + 1
    groups = [group for group in np.split(rows, borders) if len(group) > 1]
    return sorted(groups, key=lambda group: int(group[0]))
