"""An interval about each frame's SNR estimate that covers the truth with a given probability.

Split conformal prediction (Vovk, Gammerman and Shafer 2005; Lei et al., JASA 113, 2018): the errors
of frames that were not trained on, the validation frames, set the width. For frames exchangeable
with those, the interval covers the truth with at least the nominal probability, whatever the
network, and with about 1 / frames more at most where no errors are equal.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from modsnr import InputError
from modsnr.metrics.answers import Answers, check_estimates, snap
from modsnr.metrics.intervals import share

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # of a calibration curve
FEWEST = 50  # frames that a group is calibrated on
ROUNDING = 1e-9  # 0.9 * 10 is 9, or in binary a little more


def conformal(
    known: tuple[np.ndarray, np.ndarray],
    estimate_db: np.ndarray,
    grid_db: np.ndarray,
    *,
    level: float = 0.9,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends in dB, float64 [frame] each, of intervals that cover the SNR with
    probability ``level`` in 0..1, about estimates [frame].

    ``known`` is (true SNR, estimate), dB [frame] each, of frames neither trained on nor tested
    with. They are grouped by the grid point nearest to their estimate (Mondrian: each group keeps
    the level by itself); from the lowest SNR up, groups are joined with the next until they hold
    ``FEWEST`` frames and as many as the level needs, what is left over with the one before. The
    numbers that decide on joining are random, so the guarantee of joined groups is approximate.

    Raises InputError for fewer frames than one group needs, and for estimates that are no numbers.
    """
    grid = np.asarray(grid_db, np.float64)
    truth, known_estimate, estimate = (np.asarray(v, np.float64) for v in (*known, estimate_db))
    check_estimates(known_estimate)
    # The largest of n errors covers n / (n + 1), and no reach is known to cover more.
    needed = max(FEWEST, int(np.ceil(level / (1 - level) - ROUNDING)))
    if len(known_estimate) < needed:
        raise InputError(
            f"{len(known_estimate)} calibration frames are too few: intervals of level {level:g} "
            f"need {needed}. Lower the level, or set more frames aside for validation."
        )
    check_estimates(estimate)
    nearest = snap(known_estimate, grid)
    last, gathered = [], 0  # the last grid point of each group
    for point, frames in enumerate(np.bincount(nearest, minlength=len(grid))):
        gathered += frames
        if gathered >= needed:
            last.append(point)
            gathered = 0
    last[-1] = len(grid) - 1
    error, group = np.abs(truth - known_estimate), np.searchsorted(last, nearest)
    reaches = [upper_level(error[group == number], level) for number in range(len(last))]
    reach = np.array(reaches)[np.searchsorted(last, snap(estimate, grid))]
    return estimate - reach, estimate + reach


def upper_level(values: np.ndarray, level: float) -> float:
    """Return the value that a new one exceeds with probability 1 - ``level`` at most: the
    ceil((n + 1) level)-th least of ``values`` [frame], at least level / (1 - level) of them."""
    rank = int(np.ceil((len(values) + 1) * level - ROUNDING))
    return float(np.sort(values)[rank - 1])


def coverage(answers: Answers, low_db: np.ndarray, high_db: np.ndarray) -> pd.DataFrame:
    """Return how often intervals cover the true SNR, and how wide they are.

    Columns: metric and part (snr_interval_coverage and "" for all frames; the same _at_db and an
    SNR as text; _of_modulation and a class), the coverage as value, low and high, whose 95 % are
    over test frames and not over the choice of calibration frames, and the mean width_db.
    """
    covered = (low_db <= answers.snr_db) & (answers.snr_db <= high_db)
    parts = {
        "": (np.zeros(len(answers), int), [""]),
        "_at_db": (answers.true_bin(), [f"{value:g}" for value in answers.grid_db]),
        "_of_modulation": (answers.modulation, answers.classes),
    }
    return pd.DataFrame(
        {"metric": f"snr_interval_coverage{by}", "part": names[label]}
        | share(covered[labels == label])
        | {"width_db": float((high_db - low_db)[labels == label].mean())}
        for by, (labels, names) in parts.items()
        for label in np.unique(labels)
    )


def coverage_curve(
    known: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], grid_db: np.ndarray
) -> pd.DataFrame:
    """Return a row a nominal level: level, the measured coverage as value, low and high, and the
    mean width_db. ``known`` and ``test`` are each (true SNR, estimate), dB [frame]."""
    rows = []
    for level in LEVELS:
        low, high = conformal(known, test[1], grid_db, level=level)
        covered = share((low <= test[0]) & (test[0] <= high))
        rows.append({"level": level, **covered, "width_db": float((high - low).mean())})
    return pd.DataFrame(rows)
