"""How SNR estimates lie about the truth."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from modsnr.metrics.intervals import LEVEL, Interval, mean_interval
from modsnr.metrics.scores import check_estimates, snap


def calibration(
    snr_db: np.ndarray,
    predicted_snr_db: np.ndarray,
    grid_db: Sequence[float] | np.ndarray,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Return how SNR estimates, before any snapping, lie about the truth: dB [frame] each.

    slope: of the least-squares line of the estimate over the truth, its interval from White's
    standard error (Econometrica 48, 1980), which allows each SNR a spread of its own; bias_db: the
    mean error; within_half_step: the share of frames whose estimate is off by half a step of the
    grid at most. Beyond the grid's ends that is less than snapping forgives. Each is an
    ``Interval``; slope is None where all frames have one SNR. at_db maps each SNR that occurs, as
    text, to the number of its frames, the median_db of their estimates, their bias_db (an
    ``Interval``), low_db and high_db, the 5 % and 95 % quantiles, and from_db and to_db, the ends
    of the half steps. A grid of one SNR has no step: any estimate is within it, and the ends are
    None.

    Raises InputError for no frames at all, and for estimates that are not numbers.
    """
    check_estimates(predicted_snr_db)
    generator = np.random.default_rng(seed)
    grid, truth = np.asarray(grid_db, np.float64), np.asarray(snr_db, np.float64)
    estimate, true_bin = np.asarray(predicted_snr_db, np.float64), snap(snr_db, grid)
    halves = np.diff(grid) / 2 if len(grid) > 1 else np.array([np.inf])
    lowest = grid - np.concatenate([halves[:1], halves])[: len(grid)]
    highest = grid + np.concatenate([halves, halves[-1:]])[: len(grid)]
    at_db = {}
    for row in np.unique(true_bin):
        here = true_bin == row
        low, median, high = np.quantile(estimate[here], [0.05, 0.5, 0.95])
        at_db[f"{grid[row]:g}"] = {
            "frames": int(here.sum()),
            "median_db": float(median),
            "bias_db": mean_interval((estimate - truth)[here], generator),
            "low_db": float(low),
            "high_db": float(high),
            "from_db": float(lowest[row]) if len(grid) > 1 else None,
            "to_db": float(highest[row]) if len(grid) > 1 else None,
        }
    within = (lowest[true_bin] <= estimate) & (estimate <= highest[true_bin])
    return {
        "slope": _slope(truth, estimate) if len(at_db) > 1 else None,
        "bias_db": mean_interval(estimate - truth, generator),
        "within_half_step": mean_interval(within, generator),
        "at_db": at_db,
    }


def _slope(x: np.ndarray, y: np.ndarray) -> Interval:
    x, y = x - x.mean(), y - y.mean()
    slope = float(x @ y / (x @ x))
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * np.linalg.norm(x * (y - slope * x)) / (x @ x)
    return Interval(value=slope, low=float(slope - reach), high=float(slope + reach))
