"""Joint accuracy and its kin, each with its interval."""

from __future__ import annotations

import numpy as np

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
    return np.bincount(pairs[0] * classes + pairs[1], minlength=classes**2).reshape(
        classes, classes
    )


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


def attractor_index(matrix: np.ndarray) -> np.ndarray:
    """Return the largest share of predictions on one SNR over its true share, [...].

    1 means no SNR draws more predictions than it has frames; the study's "black hole" is one that
    draws many times its share. ``matrix`` is [..., true SNR, predicted SNR].
    """
    return _attraction(matrix).max(-1)


def _attraction(matrix: np.ndarray) -> np.ndarray:
    return matrix.sum(-2) / np.maximum(matrix.sum(-1), 1)


def summary(answers: Answers, *, seed: int = 0) -> dict[str, object]:
    """Return every metric of a set of predictions, each an ``Interval`` unless said otherwise.

    joint_accuracy, modulation_accuracy, snr_accuracy; snr_mae_db and snr_rmse_db of the estimate
    before snapping; modulation_macro_f1, snr_macro_f1; snr_f1_low, _middle, _high (-20..-2, 0..14,
    16..30 dB; None where the grid has no SNR there); attractor_index, and attractor_snr_db (a
    number); modulation_f1 (class -> F1) and snr_f1, snr_accuracy_at_db, modulation_accuracy_at_db,
    joint_accuracy_at_db (SNR as text -> Interval).

    Raises InputError for no frames at all, and for estimates that are not numbers.
    """
    check_estimates(answers.predicted_snr_db)
    generator = np.random.default_rng(seed)
    grid, true_bin, error = answers.grid_db, answers.true_bin(), answers.error_db()
    of_modulation, of_snr = confusion_pair(answers)
    squared = mean_interval(error**2, generator)
    outcomes = {f"{task}_accuracy": right for task, right in answers.outcomes().items()}
    result: dict[str, object] = {
        name: mean_interval(outcome, generator) for name, outcome in outcomes.items()
    }
    result |= {
        "snr_mae_db": mean_interval(np.abs(error), generator),
        "snr_rmse_db": {name: value**0.5 for name, value in squared.items()},  # type: ignore[operator]
        "modulation_macro_f1": interval(macro_f1, of_modulation, generator),
        "snr_macro_f1": interval(macro_f1, of_snr, generator),
        "attractor_index": interval(attractor_index, of_snr, generator, least=1.0),
        "attractor_snr_db": float(grid[_attraction(of_snr).argmax()]),
        "modulation_f1": {
            name: interval(
                lambda draws, row=row: f1_per_class(draws)[:, row], of_modulation, generator
            )
            for row, name in enumerate(answers.classes)
        },
        "snr_f1": {
            f"{value:g}": interval(
                lambda draws, row=row: f1_per_class(draws)[:, row], of_snr, generator
            )
            for row, value in enumerate(grid)
        },
    }
    for band, (low, high) in SNR_BANDS_DB.items():
        rows = np.flatnonzero((grid >= low) & (grid <= high))
        result[f"snr_f1_{band}"] = (
            interval(
                lambda draws, rows=rows: f1_per_class(draws)[:, rows].mean(1), of_snr, generator
            )
            if len(rows)
            else None
        )
    for name, outcome in outcomes.items():
        result[f"{name}_at_db"] = {
            f"{value:g}": mean_interval(outcome[true_bin == row], generator)
            for row, value in enumerate(grid)
            if (true_bin == row).any()
        }
    return result
