"""How far a model's own doubts can be trusted: both heads, from what a training run saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from modsnr.metrics.answers import Answers
from modsnr.metrics.conformal import conformal, coverage, coverage_curve
from modsnr.metrics.reliability import reliability


def trust(
    saved: Mapping[str, np.ndarray],
    *,
    level: float = 0.9,
    bins: int = 15,
    equal: Literal["frames", "width"] = "frames",
    seed: int = 0,
) -> dict[str, Any]:
    """Return how often a model is right when it says so, and how far its SNR estimates may err.

    ``saved`` holds columns [frame] of the test frames, modulation, snr_db, predicted_modulation,
    predicted_snr_db and confidence, with classes and grid_db. A model that can be asked more also
    saved snr_confidence and snr_mean_db, and both snr_db and snr_mean_db of the validation frames,
    as validation_snr_db and validation_snr_mean_db.

    modulation and snr: the ``reliability`` of each head's confidence, by ``bins`` and ``equal``;
    snr is None for a regressing head, which has no confidence. intervals: the ``coverage`` of the
    SNR intervals of that ``level`` about snr_mean_db, calibrated on the validation frames; both
    kinds of head get theirs by one scheme, since the softmax mean is an estimate like any other,
    and continuous, so that its errors have ranks without ties, which the argmax's have not. curve:
    their ``coverage_curve``. Both are None where the columns were not saved; left_out then says so
    in a sentence, and is "" else. numbers: the main ones of all that there is, flat, to stand
    beside those of ``summary``: modulation_ece and _mce, snr_ece and _mce, snr_interval_coverage,
    snr_interval_coverage_at_db and _of_modulation (each an ``Interval`` or a map to such),
    modulation_ece_by_chance, snr_ece_by_chance and snr_interval_width_db (numbers).

    Raises InputError as these functions do.
    """
    answers = Answers.from_predictions(saved)

    def diagram(confidence: np.ndarray, outcome: np.ndarray) -> dict[str, Any]:
        return reliability(confidence, outcome, bins=bins, equal=equal, seed=seed)

    found: dict[str, Any] = {
        "modulation": diagram(saved["confidence"], answers.modulation_right()),
        "snr": None,
        "intervals": None,
        "curve": None,
        "left_out": "",
    }
    needed = ("snr_confidence", "snr_mean_db", "validation_snr_db", "validation_snr_mean_db")
    if lacking := [name for name in needed if name not in saved]:
        found["left_out"] = (
            f"no SNR confidence and no SNR intervals: its run did not save {', '.join(lacking)}; "
            "train it again to have them."
        )
        return found | {"numbers": _numbers(found)}
    if not np.isnan(saved["snr_confidence"]).all():
        found["snr"] = diagram(saved["snr_confidence"], answers.snr_right())
    calibration = (saved["validation_snr_db"], saved["validation_snr_mean_db"])
    ends = conformal(*calibration, answers.grid_db, level=level).interval(saved["snr_mean_db"])
    found["intervals"] = coverage(answers, *ends)
    test = (saved["snr_db"], saved["snr_mean_db"])
    found["curve"] = coverage_curve(calibration, test, answers.grid_db)
    return found | {"numbers": _numbers(found)}


def _numbers(found: Mapping[str, Any]) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for head in ("modulation", "snr"):
        if found[head]:
            numbers |= {f"{head}_{error}": found[head][error] for error in ("ece", "mce")}
            numbers[f"{head}_ece_by_chance"] = found[head]["chance"]
    if intervals := found["intervals"]:
        numbers["snr_interval_coverage"] = intervals["coverage"]
        numbers["snr_interval_width_db"] = intervals["width_db"]
        for part in ("at_db", "of_modulation"):
            numbers[f"snr_interval_coverage_{part}"] = {
                name: point["coverage"] for name, point in intervals[part].items()
            }
    return numbers
