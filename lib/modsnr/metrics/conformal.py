"""An interval about each frame's SNR estimate that covers the truth with a given probability.

Split conformal prediction (Vovk, Gammerman and Shafer 2005; Lei et al., JASA 113, 2018): the errors
of frames that were not trained on, the validation frames, set the width. For frames exchangeable
with those, the interval covers the truth with at least the nominal probability, whatever the
network, and with about 1 / frames more at most where no errors are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from modsnr import InputError
from modsnr.metrics.answers import Answers, check_estimates, snap
from modsnr.metrics.intervals import share

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # of a calibration curve
FEWEST = 50  # frames that a group is calibrated on
ROUNDING = 1e-9  # 0.9 * 10 is 9, or in binary a little more


@dataclass(frozen=True)
class Reach:
    """How far to either side of an SNR estimate the truth lies; ``conformal`` makes it.

    Group g holds the estimates from ``edges_db[g - 1]`` to ``edges_db[g]``, open at both ends.
    """

    level: float
    edges_db: np.ndarray  # float64 [group - 1], ascending
    reach_db: np.ndarray  # float64 [group]
    frames: np.ndarray  # int64 [group], that it was calibrated on

    def interval(self, estimate_db: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and the upper end in dB, float64 [frame] each, about estimates."""
        check_estimates(estimate_db)
        estimate = np.asarray(estimate_db, np.float64)
        reach = self.reach_db[np.searchsorted(self.edges_db, estimate)]
        return estimate - reach, estimate + reach


def conformal(
    snr_db: np.ndarray,
    estimate_db: np.ndarray,
    grid_db: Sequence[float] | np.ndarray,
    *,
    level: float = 0.9,
    fewest: int = FEWEST,
) -> Reach:
    """Return how far intervals must reach to cover the SNR with probability ``level``.

    ``snr_db`` and ``estimate_db`` are dB [frame], of calibration frames: neither trained on nor
    tested with. The score is the absolute error. Frames are grouped by the grid point nearest to
    their estimate (Mondrian: each group keeps the level by itself); from the lowest SNR up, groups
    are joined with the next until they hold ``fewest`` frames and as many as the level needs, what
    is left over with the one before. A group reaches as far as its ceil((n + 1) level)-th least
    error. That groups are joined by their numbers, which are random, leaves the guarantee of each
    joined group an approximation; it is exact where all groups are large enough.

    Raises InputError for a level outside 0..1 and for fewer frames than one group needs.
    """
    if not 0 < level < 1:
        raise InputError(f"A level lies between 0 and 1; it is {level}.")
    if fewest < 1:
        raise InputError(f"A group needs at least one frame; fewest is {fewest}.")
    check_estimates(estimate_db)
    # The largest of n errors covers n / (n + 1), and no reach is known to cover more.
    needed = max(fewest, int(np.ceil(level / (1 - level) - ROUNDING)))
    if len(estimate_db) < needed:
        raise InputError(
            f"{len(estimate_db)} calibration frames are too few: intervals of level {level:g} need "
            f"{needed}. Lower the level, or set more frames aside for validation."
        )
    grid, estimate = np.asarray(grid_db, np.float64), np.asarray(estimate_db, np.float64)
    error, nearest = np.abs(np.asarray(snr_db, np.float64) - estimate), snap(estimate, grid)
    last = []  # the last grid point of each group
    gathered = 0
    for point, frames in enumerate(np.bincount(nearest, minlength=len(grid))):
        gathered += frames
        if gathered >= needed:
            last.append(point)
            gathered = 0
    last[-1] = len(grid) - 1
    group = np.searchsorted(last, nearest)
    reach = [upper_level(error[group == number], level) for number in range(len(last))]
    middles = (grid[1:] + grid[:-1]) / 2
    return Reach(level, middles[last[:-1]], np.array(reach), np.bincount(group))


def upper_level(values: np.ndarray, level: float) -> float:
    """Return the value that a new one exceeds with probability 1 - ``level`` at most.

    ``values`` are [frame], exchangeable with the new one: it is the ceil((n + 1) level)-th least of
    the values. There must be at least level / (1 - level) of them.
    """
    rank = int(np.ceil((len(values) + 1) * level - ROUNDING))
    return float(np.sort(values)[rank - 1])


def coverage(answers: Answers, low_db: np.ndarray, high_db: np.ndarray) -> pd.DataFrame:
    """Return how often intervals cover the true SNR, and how wide they are.

    Columns: ``by`` and part ("" and "" for all frames; at_db and an SNR as text; of_modulation and
    a class), frames, the coverage as value, low and high, and the mean width_db. The 95 % intervals
    are over test frames; that another choice of calibration frames would give another coverage,
    by about sqrt(level (1 - level) / frames of a group) in each group, is not included.

    Raises InputError for no frames at all, and for ends that are not numbers.
    """
    check_estimates(low_db)
    check_estimates(high_db)
    truth, low, high = (np.asarray(v, np.float64) for v in (answers.snr_db, low_db, high_db))
    covered, width = (low <= truth) & (truth <= high), high - low
    parts = {
        "": (np.zeros(len(truth), int), [""]),
        "at_db": (answers.true_bin(), [f"{value:g}" for value in answers.grid_db]),
        "of_modulation": (answers.modulation, answers.classes),
    }
    return pd.DataFrame(
        {"by": by, "part": names[label], "frames": int((labels == label).sum())}
        | share(covered[labels == label])
        | {"width_db": float(width[labels == label].mean())}
        for by, (labels, names) in parts.items()
        for label in np.unique(labels)
    )


def coverage_curve(
    calibration: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    grid_db: Sequence[float] | np.ndarray,
    *,
    levels: Sequence[float] = LEVELS,
    fewest: int = FEWEST,
) -> pd.DataFrame:
    """Return a row a nominal level: level, the measured coverage as value, low and high, width_db.

    ``calibration`` and ``test`` are each (true SNR, estimate), dB [frame]. The intervals are over
    the test frames, width_db is the mean.

    Raises InputError as ``conformal`` does.
    """
    truth, rows = np.asarray(test[0], np.float64), []
    for level in levels:
        low, high = conformal(*calibration, grid_db, level=level, fewest=fewest).interval(test[1])
        covered = share((low <= truth) & (truth <= high))
        rows.append({"level": float(level), **covered, "width_db": float((high - low).mean())})
    return pd.DataFrame(rows)
