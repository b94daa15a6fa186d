"""How far a model's confidences and SNR intervals can be trusted, from the columns of its run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from modsnr.metrics.answers import Answers
from modsnr.metrics.conformal import conformal, coverage, coverage_curve
from modsnr.metrics.reliability import reliability

NEEDED = ("snr_confidence", "snr_mean_db", "validation_snr_db", "validation_snr_mean_db")


class Trust(NamedTuple):
    """Calibration of a model's confidences, and coverage of its SNR intervals; ``trust`` makes it.

    scores has the columns of ``summary``: modulation_ece, _mce and _ece_by_chance, the same of snr
    if its head has a confidence, snr_interval_width_db, and the ``coverage``. points is what
    ``figures.reliability`` draws, a row a bin or level: panel (modulation, snr, intervals), the
    expected confidence or level, the measured share as value, low and high, and note.
    """

    scores: pd.DataFrame
    points: pd.DataFrame
    intervals: pd.DataFrame  # part (all, 0 dB, a class), coverage, coverage_low, _high, width_db
    left_out: str  # a sentence about what the run did not save the columns for, or ""


def trust(
    saved: Mapping[str, np.ndarray],
    *,
    level: float = 0.9,
    bins: int = 15,
    equal: Literal["frames", "width"] = "frames",
    seed: int = 0,
) -> Trust:
    """Return how far to trust a model: the ``reliability`` of its confidences, and SNR intervals.

    ``saved`` are the columns of predictions.npz; older runs did not save ``NEEDED``. The intervals
    are about snr_mean_db, of that ``level``, calibrated on the validation frames. A classifying
    head gets them like a regressing one: its softmax mean is continuous, so that errors have ranks
    without ties, which those of the argmax have not.

    Raises InputError as ``reliability`` and ``conformal`` do.
    """
    answers = Answers.from_predictions(saved)
    heads = {"modulation": (saved["confidence"], answers.modulation_right())}
    lacking = [name for name in NEEDED if name not in saved]
    if not lacking and not np.isnan(saved["snr_confidence"]).all():  # all are, of a regressing head
        heads["snr"] = (saved["snr_confidence"], answers.snr_right())
    numbers: dict[str, Mapping[str, Any]] = {}
    points = []
    for head, given in heads.items():
        found = reliability(*given, bins=bins, equal=equal, seed=seed)
        numbers |= {f"{head}_ece": found.ece, f"{head}_mce": found.mce}
        numbers[f"{head}_ece_by_chance"] = {"value": found.chance}
        drawn = found.bins.drop(columns="frames").rename(columns={"confidence": "expected"})
        points.append(drawn.assign(panel=head, note=f"ECE {found.ece['value']:.3f}"))
    covered, left_out = pd.DataFrame(), ""
    if lacking:
        left_out = (
            f"no SNR confidence and no SNR intervals: its run did not save {', '.join(lacking)}; "
            "train it again to have them."
        )
    else:
        covered, curve = _intervals(answers, saved, level)
        numbers["snr_interval_width_db"] = {"value": covered.width_db[0]}
        points.append(curve)
    rows = [{"metric": metric, "part": "", **of} for metric, of in numbers.items()]
    columns = ["metric", "part", "value", "low", "high"]
    scores = pd.DataFrame(rows + covered.to_dict("records"), columns=columns)
    return Trust(scores, pd.concat(points), _for_people(covered), left_out)


def _intervals(
    answers: Answers, saved: Mapping[str, np.ndarray], level: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the ``coverage`` of the SNR intervals, and the points of their curve."""
    known = (saved["validation_snr_db"], saved["validation_snr_mean_db"])
    ends = conformal(known, saved["snr_mean_db"], answers.grid_db, level=level)
    curve = coverage_curve(known, (answers.snr_db, saved["snr_mean_db"]), answers.grid_db)
    last = curve.iloc[-1]
    note = f"width {last.width_db:.2f} dB at {last.level:g}"
    points = curve.drop(columns="width_db").rename(columns={"level": "expected"})
    return coverage(answers, *ends), points.assign(panel="intervals", note=note)


def _for_people(covered: pd.DataFrame) -> pd.DataFrame:
    if covered.empty:
        return covered
    units = {"snr_interval_coverage": "all", "snr_interval_coverage_at_db": " dB"}
    part = covered.part + covered.metric.map(units).fillna("")
    names = {"value": "coverage", "low": "coverage_low", "high": "coverage_high"}
    return covered.assign(part=part).drop(columns="metric").rename(columns=names)
