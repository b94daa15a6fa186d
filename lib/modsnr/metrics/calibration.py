"""How SNR estimates lie about the truth."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np

from modsnr.metrics.answers import Answers, check_estimates
from modsnr.metrics.intervals import LEVEL, Interval, mean_interval


def calibration(answers: Answers, *, seed: int = 0) -> dict[str, Any]:
    """Return how SNR estimates, before any snapping, lie about the truth.

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
    check_estimates(answers.predicted_snr_db)
    generator = np.random.default_rng(seed)
    grid, true_bin = answers.grid_db, answers.true_bin()
    truth = answers.snr_db.astype(np.float64)
    estimate = answers.predicted_snr_db.astype(np.float64)
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
