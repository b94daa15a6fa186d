"""How well a score tells signals that a network does not know from those that it does.

A score is a number a frame, float [frame], the greater the less like anything known. The level
beyond which a frame is called unknown is set on known frames alone; unknown ones decide on nothing.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from modsnr import InputError
from modsnr.metrics import LEVEL, RESAMPLES, Interval, mean_interval


class Rejection(TypedDict):
    """What a score achieves: each an ``Interval`` but for the level."""

    auc: Interval
    detected: Interval  # share of unknown frames beyond the level
    false_alarms: Interval  # share of known frames beyond it
    level: float


def reject(
    threshold: np.ndarray,
    known: np.ndarray,
    unknown: np.ndarray,
    *,
    false_alarm: float,
    rng: np.random.Generator,
) -> Rejection:
    """Return how a score tells ``unknown`` frames from ``known`` ones.

    The level is that which a share ``false_alarm`` of the known frames of ``threshold`` exceeds at
    most; how often it errs is measured on those of ``known``.

    Raises InputError for scores that are not finite or too few.
    """
    if not 0 < false_alarm < 1:
        raise InputError(f"false_alarm must lie between 0 and 1; it is {false_alarm}.")
    if len(threshold) < 1 / false_alarm:
        raise InputError(
            f"{len(threshold)} known frames cannot set a level with a false-alarm rate of "
            f"{false_alarm:g}: at least {int(np.ceil(1 / false_alarm))} are needed."
        )
    of = auc(unknown, known, rng=rng)
    ranked = np.sort(threshold)
    level = float(ranked[int(np.ceil((1 - false_alarm) * len(ranked))) - 1])
    return Rejection(
        auc=of,
        detected=mean_interval(unknown > level, rng),
        false_alarms=mean_interval(known > level, rng),
        level=level,
    )


def auc(unknown: np.ndarray, known: np.ndarray, *, rng: np.random.Generator) -> Interval:
    """Return the probability that an unknown frame scores higher than a known one, ties halved.

    That is the area under the receiver operating characteristic. Both kinds of frames are resampled
    apart, 2,000 times, for the 95 % interval.

    Raises InputError for scores that are not finite, and where there are none of a kind.
    """
    unknown, known = np.asarray(unknown, np.float64), np.asarray(known, np.float64)
    if not len(unknown) or not len(known):
        raise InputError(
            f"Known and unknown frames are needed; there are {len(known)} and {len(unknown)}."
        )
    if bad := int((~np.isfinite(np.concatenate([unknown, known]))).sum()):
        raise InputError(f"{bad} scores are not finite.")
    # By counts of each distinct score, a resample is one multinomial draw for either kind.
    scores, place = np.unique(np.concatenate([unknown, known]), return_inverse=True)
    counts = [
        np.bincount(part, minlength=len(scores))
        for part in (place[: len(unknown)], place[len(unknown) :])
    ]
    draws = [rng.multinomial(count.sum(), count / count.sum(), size=RESAMPLES) for count in counts]
    low, high = np.quantile(_area(*draws), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value=float(_area(*counts)), low=float(low), high=float(high))


def _area(unknown: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the area for counts [..., score], the scores ascending: [...]."""
    below = known.cumsum(-1) - known / 2
    return (unknown * below).sum(-1) / (unknown.sum(-1) * known.sum(-1))
