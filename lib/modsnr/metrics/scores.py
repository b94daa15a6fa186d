"""Joint accuracy and its kin, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from modsnr import InputError
from modsnr.metrics.answers import Answers, check_estimates
from modsnr.metrics.intervals import interval, mean_interval

SNR_BANDS_DB = {"low": (-20, -2), "middle": (0, 14), "high": (16, 30)}  # the study's


def confusion(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """Return counts int64 [true class, predicted class].

    Raises InputError for labels that are not 0..classes-1; they would be counted as other pairs.
    """
    pairs = np.asarray([truth, prediction], np.int64)
    if ((pairs < 0) | (pairs >= classes)).any():
        raise InputError(
            f"Labels must lie in 0..{classes - 1}; they lie in {pairs.min()}..{pairs.max()}."
        )
    counts = np.bincount(pairs[0] * classes + pairs[1], minlength=classes**2)
    return counts.reshape(classes, classes)


def confusion_pair(answers: Answers) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``confusion`` of the modulations and that of the SNRs, snapped to the grid."""
    return (
        confusion(answers.modulation, answers.predicted_modulation, len(answers.classes)),
        confusion(answers.true_bin(), answers.predicted_bin(), len(answers.grid_db)),
    )


def f1_per_class(matrix: np.ndarray) -> np.ndarray:
    """Return F1 [..., class] of matrices [..., true, predicted]; 0 for an absent class."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    return 2 * hits / np.maximum(matrix.sum(-1) + matrix.sum(-2), 1)


def macro_f1(matrix: np.ndarray) -> np.ndarray:
    """Return F1 averaged over the classes that occur, [...], of matrices [..., true, predicted]."""
    occurs = (matrix.sum(-1) + matrix.sum(-2)) > 0
    return f1_per_class(matrix).sum(-1) / np.maximum(occurs.sum(-1), 1)


def attraction(matrix: np.ndarray) -> np.ndarray:
    """Return each SNR's share of the predictions over its true share, [..., SNR], of matrices."""
    return matrix.sum(-2) / np.maximum(matrix.sum(-1), 1)


def attractor_index(matrix: np.ndarray) -> np.ndarray:
    """Return the largest ``attraction`` of an SNR, [...]: 1 if none draws more predictions than it
    has frames; the study's "black hole" draws many times its share."""
    return attraction(matrix).max(-1)


def summary(answers: Answers, *, seed: int = 0) -> pd.DataFrame:
    """Return every metric of a set of predictions: metric, part, value, low, high.

    ``part`` is an SNR in dB or a class, as text, and "" for metrics of all frames. joint_accuracy,
    modulation_accuracy, snr_accuracy, and the same as _at_db; snr_accuracy_worst, the least of the
    SNRs; snr_mae_db and snr_rmse_db of the estimate before snapping; modulation_macro_f1,
    snr_macro_f1, and modulation_f1 and snr_f1 of each class; snr_f1_low, _middle, _high (-20..-2,
    0..14, 16..30 dB; no value where the grid has no SNR there); attractor_index, and
    attractor_snr_db. The worst accuracy and the attractor's SNR have no interval.

    Raises InputError for no frames at all, and for estimates that are not numbers.
    """
    check_estimates(answers.predicted_snr_db)
    generator = np.random.default_rng(seed)
    grid = answers.grid_db
    error = answers.predicted_snr_db.astype(np.float64) - answers.snr_db.astype(np.float64)
    of_modulation, of_snr = confusion_pair(answers)
    snrs = [f"{value:g}" for value in grid]
    right = {f"{task}_accuracy": hits for task, hits in answers.outcomes().items()}

    def f1(matrix: np.ndarray, classes: Any) -> Mapping[str, Any]:
        def mean(draws: np.ndarray) -> np.ndarray:
            return f1_per_class(draws)[:, np.atleast_1d(classes)].mean(1)

        return interval(mean, matrix, generator)

    squared = mean_interval(error**2, generator)
    found: dict[tuple[str, str], Mapping[str, Any]] = {
        (metric, ""): mean_interval(hits) for metric, hits in right.items()
    }
    found["snr_mae_db", ""] = mean_interval(np.abs(error), generator)
    found["snr_rmse_db", ""] = {end: squared[end] ** 0.5 for end in ("value", "low", "high")}
    found["modulation_macro_f1", ""] = interval(macro_f1, of_modulation, generator)
    found["snr_macro_f1", ""] = interval(macro_f1, of_snr, generator)
    found["attractor_index", ""] = interval(attractor_index, of_snr, generator, least=1.0)
    found["attractor_snr_db", ""] = {"value": float(grid[attraction(of_snr).argmax()])}
    for row, name in enumerate(answers.classes):
        found["modulation_f1", name] = f1(of_modulation, row)
    for row, name in enumerate(snrs):
        found["snr_f1", name] = f1(of_snr, row)
    for band, (low, high) in SNR_BANDS_DB.items():
        held = np.flatnonzero((grid >= low) & (grid <= high))
        found[f"snr_f1_{band}", ""] = f1(of_snr, held) if len(held) else {}
    for metric, hits in right.items():
        for row in np.unique(answers.true_bin()):
            at_db = hits[answers.true_bin() == row]
            found[f"{metric}_at_db", snrs[row]] = mean_interval(at_db)
    at_snrs = [of["value"] for (metric, _), of in found.items() if metric == "snr_accuracy_at_db"]
    found["snr_accuracy_worst", ""] = {"value": min(at_snrs)}
    return pd.DataFrame(
        [{"metric": metric, "part": part, **of} for (metric, part), of in found.items()],
        columns=["metric", "part", "value", "low", "high"],
    )
