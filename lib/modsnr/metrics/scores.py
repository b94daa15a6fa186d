"""Joint accuracy and its kin.

Labels are int [frame] for the modulation and dB [frame] for the SNR, on an ascending grid. An SNR
estimate counts as right where the grid point nearest to it is the true one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modsnr import InputError
from modsnr.metrics.intervals import interval, mean_interval

SNR_BANDS_DB = {"low": (-20, -2), "middle": (0, 14), "high": (16, 30)}  # the study's


def snap(snr_db: np.ndarray, grid_db: np.ndarray) -> np.ndarray:
    """Return the index of the grid point nearest to each estimate, int64 [frame]; -1 for NaN."""
    middles = (np.asarray(grid_db)[1:] + np.asarray(grid_db)[:-1]) / 2
    return np.where(np.isnan(snr_db), -1, np.searchsorted(middles, snr_db))


def accuracies(
    modulation: np.ndarray,
    snr_db: np.ndarray,
    predicted_modulation: np.ndarray,
    predicted_snr_db: np.ndarray,
    grid_db: np.ndarray,
) -> dict[str, float]:
    """Return joint_accuracy (both right), modulation_accuracy and snr_accuracy."""
    right_modulation, right_snr = right(
        modulation, snr_db, predicted_modulation, predicted_snr_db, grid_db
    )
    return {
        "joint_accuracy": float((right_modulation & right_snr).mean()),
        "modulation_accuracy": float(right_modulation.mean()),
        "snr_accuracy": float(right_snr.mean()),
    }


def right(
    modulation: np.ndarray,
    snr_db: np.ndarray,
    predicted_modulation: np.ndarray,
    predicted_snr_db: np.ndarray,
    grid_db: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return where the modulation is right and where the SNR is, bool [frame] each."""
    return (
        np.asarray(predicted_modulation) == np.asarray(modulation),
        snap(predicted_snr_db, grid_db) == snap(snr_db, grid_db),
    )


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


def confusion_pair(
    modulation: np.ndarray,
    snr_db: np.ndarray,
    predicted_modulation: np.ndarray,
    predicted_snr_db: np.ndarray,
    *,
    classes: int,
    grid_db: Sequence[float] | np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``confusion`` of the modulations and that of the SNRs, snapped to the grid."""
    grid = np.asarray(grid_db, np.float64)
    return (
        confusion(modulation, predicted_modulation, classes),
        confusion(snap(snr_db, grid), snap(predicted_snr_db, grid), len(grid)),
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


def summary(
    modulation: np.ndarray,
    snr_db: np.ndarray,
    predicted_modulation: np.ndarray,
    predicted_snr_db: np.ndarray,
    *,
    classes: Sequence[str],
    grid_db: Sequence[float],
    seed: int = 0,
) -> dict[str, object]:
    """Return every metric of a set of predictions, each an ``Interval`` unless said otherwise.

    joint_accuracy, modulation_accuracy, snr_accuracy; snr_mae_db and snr_rmse_db of the estimate
    before snapping; modulation_macro_f1, snr_macro_f1; snr_f1_low, _middle, _high (-20..-2, 0..14,
    16..30 dB; None where the grid has no SNR there); attractor_index, and attractor_snr_db (a
    number); modulation_f1 (class -> F1) and snr_f1, snr_accuracy_at_db, modulation_accuracy_at_db,
    joint_accuracy_at_db (SNR as text -> Interval).

    Raises InputError for no frames at all, and for estimates that are not numbers.
    """
    check_estimates(predicted_snr_db)
    generator = np.random.default_rng(seed)
    grid = np.asarray(grid_db, dtype=np.float64)
    right_modulation, right_snr = right(
        modulation, snr_db, predicted_modulation, predicted_snr_db, grid
    )
    true_bin = snap(snr_db, grid)
    of_modulation = confusion(modulation, predicted_modulation, len(classes))
    of_snr = confusion(true_bin, snap(predicted_snr_db, grid), len(grid))
    error = np.asarray(predicted_snr_db, np.float64) - np.asarray(snr_db, np.float64)
    squared = mean_interval(error**2, generator)
    outcomes = {
        "joint_accuracy": right_modulation & right_snr,
        "modulation_accuracy": right_modulation,
        "snr_accuracy": right_snr,
    }
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
            for row, name in enumerate(classes)
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


def check_estimates(predicted_snr_db: np.ndarray) -> None:
    if not len(predicted_snr_db):
        raise InputError("There are no frames to summarise.")
    if missing := int(np.isnan(predicted_snr_db).sum()):
        raise InputError(f"{missing} of {len(predicted_snr_db)} SNR estimates are not numbers.")
