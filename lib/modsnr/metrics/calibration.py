"""How far SNR estimates, before they are snapped to the grid, are from the truth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from modsnr.metrics.answers import Answers, check_estimates
from modsnr.metrics.intervals import DEVIATES, Interval, mean_interval


class Calibration(NamedTuple):
    """What ``calibration`` returns: scores (metric, value, low, high), and a row an SNR."""

    scores: pd.DataFrame
    at_db: pd.DataFrame


def calibration(answers: Answers, *, seed: int = 0) -> Calibration:
    """Return how far SNR estimates are from the truth.

    Scores: slope of the least-squares line of the estimate over the truth, with no value where all
    frames have one SNR; bias_db: the mean error; within_half_step: the share of frames whose
    estimate is off by half a step of the grid at most. Beyond the ends of the grid this is stricter
    than snapping.

    At each SNR that occurs: snr_db; the number of its frames; value, low and high of their mean
    error; the median_db of their estimates, their 5 % and 95 % quantiles, low_db and high_db; and
    from_db and to_db, the ends of the half steps. A grid of one SNR has no step: any estimate is
    within it, and the ends are NaN.

    Raises InputError for no frames at all, and for estimates that are not numbers.
    """
    check_estimates(answers.predicted_snr_db)
    generator = np.random.default_rng(seed)
    grid, true_bin = answers.grid_db, answers.true_bin()
    truth = answers.snr_db.astype(np.float64)
    estimate = answers.predicted_snr_db.astype(np.float64)
    error = estimate - truth
    half = np.diff(grid) / 2 if len(grid) > 1 else np.array([np.inf])
    lowest = grid - np.append(half[0], half)[: len(grid)]
    highest = grid + np.append(half, half[-1])[: len(grid)]
    rows = []
    for row in np.unique(true_bin):
        here = true_bin == row
        low, median, high = np.quantile(estimate[here], [0.05, 0.5, 0.95])
        rows.append(
            {
                "snr_db": grid[row],
                "frames": int(here.sum()),
                "median_db": median,
                **mean_interval(error[here], generator),
                "low_db": low,
                "high_db": high,
                "from_db": lowest[row],
                "to_db": highest[row],
            }
        )
    within = (lowest[true_bin] <= estimate) & (estimate <= highest[true_bin])
    scores = {
        "slope": _slope(truth, estimate) if len(rows) > 1 else {},
        "bias_db": mean_interval(error, generator),
        "within_half_step": mean_interval(within),
    }
    table = pd.DataFrame([{"metric": metric, **found} for metric, found in scores.items()])
    return Calibration(table, pd.DataFrame(rows).replace([-np.inf, np.inf], np.nan))


def _slope(x: np.ndarray, y: np.ndarray) -> Interval:
    """Return the slope of y over x; its standard error is White's (Econometrica 48, 1980), which
    allows each SNR a spread of its own."""
    x, y = x - x.mean(), y - y.mean()
    slope = float(x @ y / (x @ x))
    reach = DEVIATES * np.linalg.norm(x * (y - slope * x)) / (x @ x)
    return Interval(value=slope, low=float(slope - reach), high=float(slope + reach))
