"""How far a model's confidences and SNR intervals can be trusted, from the columns of its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from modsnr.metrics.answers import Answers
from modsnr.metrics.conformal import conformal, coverage, coverage_curve
from modsnr.metrics.reliability import Reliability, reliability
from modsnr.metrics.tables import nested, records, stacked


@dataclass(frozen=True)
class Trust:
    """Calibration of a model's confidences, and coverage of its SNR intervals.

    Whatever its run did not save the columns for is None, and ``left_out`` is a sentence about it;
    otherwise ``left_out`` is "". A regressing head has no confidence, and so no ``snr``.
    """

    modulation: Reliability
    snr: Reliability | None
    intervals: pd.DataFrame | None  # as of coverage
    curve: pd.DataFrame | None  # as of coverage_curve
    left_out: str

    def scores(self) -> pd.DataFrame:
        """Return the main numbers, to stand below those of ``summary``, with the same columns.

        modulation_ece and _mce, and modulation_ece_by_chance, without an interval; the same of snr;
        snr_interval_coverage, _coverage_at_db and _coverage_of_modulation, and
        snr_interval_width_db, without an interval.
        """
        heads = {"modulation": self.modulation, "snr": self.snr}
        rows: list[dict[str, Any]] = []
        for head, found in heads.items():
            if found:
                rows += [
                    {"metric": f"{head}_ece", "part": "", **found.ece},
                    {"metric": f"{head}_mce", "part": "", **found.mce},
                    {"metric": f"{head}_ece_by_chance", "part": "", "value": found.chance},
                ]
        if self.intervals is not None:
            width = self.intervals.width_db[0]
            rows.append({"metric": "snr_interval_width_db", "part": "", "value": width})
            covered = self.intervals.drop(columns=["frames", "width_db"])
            for row in covered.to_dict("records"):
                metric = f"snr_interval_coverage_{row.pop('by')}".rstrip("_")
                rows.append({"metric": metric} | {str(name): row[name] for name in row})
        return pd.DataFrame(rows, columns=["metric", "part", "value", "low", "high"])

    def points(self) -> pd.DataFrame:
        """Return what ``figures.reliability`` draws: a row a bin or level.

        Columns: panel (modulation, snr, intervals), expected (the confidence, or the nominal
        level), the measured share as value, low and high, and ``note``: the ECE, or the width of
        the intervals at the highest level.
        """
        drawn = [
            found.bins.rename(columns={"confidence": "expected"}).assign(
                panel=head, note=f"ECE {found.ece['value']:.3f}"
            )
            for head, found in (("modulation", self.modulation), ("snr", self.snr))
            if found
        ]
        if self.curve is not None:
            last = self.curve.iloc[-1]
            note = f"width {last.width_db:.2f} dB at {last.level:g}"
            drawn.append(
                self.curve.rename(columns={"level": "expected"}).assign(
                    panel="intervals", note=note
                )
            )
        return pd.concat(drawn)[["panel", "expected", "value", "low", "high", "note"]]

    def nested(self) -> dict[str, Any]:
        """Return everything in the layout of metrics.json."""
        heads = {"modulation": self.modulation, "snr": self.snr}
        found: dict[str, Any] = {
            head: of and {**of._asdict(), "bins": records(of.bins, "accuracy")}
            for head, of in heads.items()
        }
        found |= {"intervals": None, "curve": None, "left_out": self.left_out}
        if self.intervals is not None and self.curve is not None:
            parts = nested(self.intervals, "by", "part", name="coverage")
            found["intervals"] = parts.pop("") | parts
            found["curve"] = records(self.curve, "coverage")
        return found | {"numbers": nested(self.scores(), "metric", "part")}


def trust(
    saved: Mapping[str, np.ndarray],
    *,
    level: float = 0.9,
    bins: int = 15,
    equal: Literal["frames", "width"] = "frames",
    seed: int = 0,
) -> Trust:
    """Return how far to trust a model: the ``reliability`` of its confidences, and SNR intervals.

    ``saved`` holds columns [frame] of the test frames, modulation, snr_db, predicted_modulation,
    predicted_snr_db and confidence, with classes and grid_db. Newer runs also saved snr_confidence
    and snr_mean_db, and both snr_db and snr_mean_db of the validation frames, as
    validation_snr_db and validation_snr_mean_db.

    The SNR intervals are about snr_mean_db, of that ``level``, calibrated on the validation frames.
    Both kinds of head get theirs by one scheme, since the softmax mean is an estimate like any
    other, and continuous, so that its errors have ranks without ties, which the argmax's have not.

    Raises InputError as ``reliability`` and ``conformal`` do.
    """
    answers = Answers.from_predictions(saved)

    def diagram(confidence: np.ndarray, right: np.ndarray) -> Reliability:
        return reliability(confidence, right, bins=bins, equal=equal, seed=seed)

    modulation = diagram(saved["confidence"], answers.modulation_right())
    needed = ("snr_confidence", "snr_mean_db", "validation_snr_db", "validation_snr_mean_db")
    if lacking := [name for name in needed if name not in saved]:
        left_out = (
            f"no SNR confidence and no SNR intervals: its run did not save {', '.join(lacking)}; "
            "train it again to have them."
        )
        return Trust(modulation, None, None, None, left_out)
    classifies = not np.isnan(saved["snr_confidence"]).all()
    snr = diagram(saved["snr_confidence"], answers.snr_right()) if classifies else None
    calibration = (saved["validation_snr_db"], saved["validation_snr_mean_db"])
    ends = conformal(*calibration, answers.grid_db, level=level).interval(saved["snr_mean_db"])
    test = (saved["snr_db"], saved["snr_mean_db"])
    curve = coverage_curve(calibration, test, answers.grid_db)
    return Trust(modulation, snr, coverage(answers, *ends), curve, "")


def coverage_table(trusts: Mapping[str, Trust]) -> pd.DataFrame:
    """Return a row a model and part of the frames: all, each SNR, each modulation.

    Columns: model, part, coverage with coverage_low and coverage_high, and width_db. A model
    without intervals has no row.
    """
    tables = {key: of.intervals for key, of in trusts.items() if of.intervals is not None}
    if not tables:
        return pd.DataFrame()
    table = stacked(tables, "model")
    unit = table.by.map({"": "all", "at_db": " dB", "of_modulation": ""})
    names = {"value": "coverage", "low": "coverage_low", "high": "coverage_high"}
    return table.assign(part=table.part + unit).drop(columns=["by", "frames"]).rename(columns=names)
