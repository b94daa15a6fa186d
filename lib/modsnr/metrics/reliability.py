"""Whether a confidence is calibrated: the share of right answers equals it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from modsnr import InputError
from modsnr.metrics.intervals import ENDS, RESAMPLES, Interval, basic, share


class Reliability(NamedTuple):
    """How well a confidence is calibrated; ``reliability`` makes it.

    ece: sum over bins of n_b / n times |accuracy - confidence| (Guo et al., ICML 2017); mce: the
    largest such difference of a bin; chance: the ece that is expected, by chance and the bins
    alone, of a perfectly calibrated head (Bröcker and Smith, Weather and Forecasting 22, 2007): an
    ece near it is no sign of miscalibration. bins: a row a bin that holds frames, ascending:
    frames, their mean confidence, and their accuracy as value, low and high.
    """

    ece: Interval
    mce: Interval
    chance: float
    bins: pd.DataFrame


def reliability(
    confidence: np.ndarray,
    right: np.ndarray,
    *,
    bins: int = 15,
    equal: Literal["frames", "width"] = "frames",
    seed: int = 0,
) -> Reliability:
    """Return the reliability diagram of a confidence, and its expected calibration error.

    ``confidence`` is [frame] in 0..1, ``right`` bool [frame]. The bins have equal numbers of
    frames, up to ties, which stay in one bin, or an ``equal`` width in 0..1.

    The noise of resampling enlarges both errors: they have the ``basic`` interval. It begins at 0
    where chance alone would make as large an error in over 2.5 % of cases.

    Raises InputError for no frames, and for confidences that are no number in 0..1.
    """
    given, hits = np.asarray(confidence, np.float64), np.asarray(right, bool)
    if given.ndim != 1 or given.shape != hits.shape or not len(given):
        raise InputError(
            "Confidence and outcome must be [frame], one or more; they are "
            f"{given.shape}, {hits.shape}."
        )
    if outside := int((~((given >= 0) & (given <= 1))).sum()):  # also where it is NaN
        raise InputError(f"{outside} of {len(given)} confidences are no number in 0..1.")
    generator = np.random.default_rng(seed)
    inner = np.arange(1, bins) / bins
    edges = np.quantile(given, inner) if equal == "frames" else inner
    kept, bin_of = np.unique(np.searchsorted(edges, given), return_inverse=True)
    count, gaps = len(kept), hits - given
    resampled = np.array([
        _errors(bin_of[rows], gaps[rows], count)
        for rows in (generator.integers(len(given), size=len(given)) for _ in range(RESAMPLES))
    ])  # fmt: skip
    by_chance = np.array([
        _errors(bin_of, (generator.random(len(given)) < given) - given, count)
        for _ in range(RESAMPLES // 4)
    ])  # fmt: skip
    errors = []
    for column, value in enumerate(_errors(bin_of, gaps, count)):
        errors.append(basic(float(value), resampled[:, column], 0.0, 1.0))
        if value <= np.quantile(by_chance[:, column], ENDS[1]):
            errors[-1]["low"] = 0.0
    table = pd.DataFrame(
        {"frames": int(here.sum()), "confidence": float(given[here].mean()), **share(hits[here])}
        for here in (bin_of == row for row in range(count))
    )
    ece, mce = errors
    return Reliability(ece, mce, float(by_chance[:, 0].mean()), table)


def _errors(bin_of: np.ndarray, gaps: np.ndarray, bins: int) -> tuple[float, float]:
    """Return the expected and the largest calibration error from right - confidence [frame]."""
    sums = np.abs(np.bincount(bin_of, gaps, bins))
    return sums.sum() / len(gaps), (sums / np.maximum(np.bincount(bin_of, minlength=bins), 1)).max()
