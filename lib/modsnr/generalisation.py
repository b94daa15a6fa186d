"""How networks do on frames of other conditions, and of modulations that they do not know.

Frames have the same labels under each condition. A score is a number a frame, float [frame], the
greater the less like anything known. The level beyond which a frame is called unknown is set on
known frames alone; unknown ones decide on nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from modsnr import InputError
from modsnr.metrics import (
    RESAMPLES,
    TASKS,
    Answers,
    Interval,
    Scope,
    alarm_level,
    difference,
    familiar,
    percentiles,
    share,
)

Given = Mapping[str, Mapping[str, Answers]]  # condition -> network -> its answers


def accuracy_matrix(answers: Given) -> pd.DataFrame:
    """Return a row a task, network and condition: task, model, condition, value, low, high.

    A network that was not tested under a condition has no row there.
    """
    networks = list(dict.fromkeys(name for given in answers.values() for name in given))
    return pd.DataFrame(
        {"task": task, "model": network, "condition": condition}
        | share(given[network].outcomes()[task])
        for task in TASKS
        for network in networks
        for condition, given in answers.items()
        if network in given
    )


def losses(answers: Given, home: str, away: str) -> dict[str, Interval]:
    """Return each network's joint accuracy under ``home`` less that under ``away``.

    The frames are others, but frame by frame their labels are the same, and so they are compared
    in pairs. Networks that were not tested under both are left out.
    """
    tested = [name for name in answers.get(home, {}) if name in answers.get(away, {})]
    return {
        name: difference(answers[home][name].right(), answers[away][name].right())
        for name in tested
    }


def below_ceiling(matrix: pd.DataFrame, ceilings: pd.DataFrame) -> pd.DataFrame:
    """Return how far the joint accuracy of each network lies below its condition's ceiling.

    A row a task (joint), model and condition, with value, low and high; both tables have these
    columns, ``ceilings`` one row a task and condition. Frames of networks and of ceilings are
    drawn apart, so the squares of their intervals add up.
    """
    joint = matrix[matrix.task == "joint"].merge(
        ceilings.drop(columns="model"), on=["task", "condition"], suffixes=("", "_possible")
    )
    value = joint.value_possible - joint.value
    more = np.hypot(joint.high_possible - joint.value_possible, joint.value - joint.low)
    less = np.hypot(joint.value_possible - joint.low_possible, joint.high - joint.value)
    found = joint[["task", "model", "condition"]]
    return found.assign(value=value, low=value - less, high=value + more)


def trust(
    scope: Scope, seen: Mapping[str, Sequence[np.ndarray]], answers: Given, *, level: float = 0.9
) -> pd.DataFrame:
    """Return how often frames of conditions are out of scope, and intervals of the SNR cover it.

    ``seen`` has of each condition features, modulation, SNR and the SNR's deviation in dB, [frame];
    the true SNR is that of any of its ``answers``, if it has some. An interval reaches as many
    deviations either side of the SNR seen as ``level`` needs of a normal distribution.

    A row a condition and measure, with value, low and high: outside and covered, shares of frames,
    covered_inside, that of frames in scope, and the median width_db of their intervals.
    """
    quantile, rows = NormalDist().inv_cdf((1 + level) / 2), []
    for condition, (features, modulation, estimate, deviation) in seen.items():
        inside = scope.beyond(features, modulation, estimate) <= 0
        found: dict[str, Any] = {"outside": share(~inside)}
        for given in [*answers.get(condition, {}).values()][:1]:
            covered = np.abs(estimate - given.snr_db) <= quantile * deviation
            found["covered"] = share(covered)
            if inside.any():
                width = 2 * quantile * float(np.median(deviation[inside]))
                found |= {"covered_inside": share(covered[inside]), "width_db": {"value": width}}
        rows += [{"condition": condition, "measure": name} | of for name, of in found.items()]
    return pd.DataFrame(rows, columns=["condition", "measure", "value", "low", "high"])


class Seen(NamedTuple):
    """What shows of frames: the network's SNR and confidence [frame], features [frame, feature]."""

    snr_db: np.ndarray
    confidence: np.ndarray
    features: np.ndarray


def reject_by_each(
    seen: Mapping[str, Seen],
    modulation: np.ndarray,
    *,
    false_alarm: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return how well two scores ``reject``: one less the confidence, and ``Familiar.novelty``.

    ``seen`` has known frames to "learn" novelty from, whose ``modulation`` is int [frame], known
    frames that set the "threshold", and "known" and "unknown" ones to distinguish.
    """
    learned = familiar(seen["learn"].features, modulation, seen["learn"].snr_db)
    roles = [seen[role] for role in ("threshold", "known", "unknown")]
    scores = {
        "confidence": [1 - frames.confidence for frames in roles],
        "novelty": [learned.novelty(frames.features, frames.snr_db) for frames in roles],
    }
    return pd.concat(
        reject(*given, false_alarm=false_alarm, rng=rng).assign(score=name)
        for name, given in scores.items()
    )


def reject(
    threshold: np.ndarray,
    known: np.ndarray,
    unknown: np.ndarray,
    *,
    false_alarm: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return how a score distinguishes ``unknown`` frames from ``known`` ones.

    A row a measure, with value, low and high: the auc; detected, the share of unknown frames beyond
    the level; false_alarms, that of known frames; and the level itself, which has no interval. A
    new known frame exceeds the level with probability ``false_alarm`` at most, by the scores of
    ``threshold``; how often it does is measured on those of ``known``.

    Raises InputError for scores that are not finite or too few.
    """
    level = alarm_level(threshold, false_alarm)
    found = {
        "auc": auc(unknown, known, rng=rng),
        "detected": share(unknown > level),
        "false_alarms": share(known > level),
        "level": {"value": level},
    }
    return pd.DataFrame([{"measure": name, **of} for name, of in found.items()])


def auc(unknown: np.ndarray, known: np.ndarray, *, rng: np.random.Generator) -> Interval:
    """Return the probability that an unknown frame scores higher than a known one, ties halved.

    That is the area under the receiver operating characteristic. Both kinds of frames are resampled
    apart, 2,000 times, for the 95 % interval. Raises InputError for scores that are not finite.
    """
    both = np.concatenate([unknown, known]).astype(np.float64)
    if bad := int((~np.isfinite(both)).sum()):
        raise InputError(f"{bad} scores are not finite.")
    scores, places = np.unique(both, return_inverse=True)
    kinds = np.split(places, [len(unknown)])

    def area(*kinds: np.ndarray) -> float:  # by counts of each distinct score: ties need no search
        above, below = (np.bincount(kind, minlength=len(scores)) for kind in kinds)
        return float(above @ (below.cumsum() - below / 2) / (above.sum() * below.sum()))

    resampled = [
        area(*(kind[rng.integers(len(kind), size=len(kind))] for kind in kinds))
        for _ in range(RESAMPLES)
    ]
    return percentiles(area(*kinds), np.array(resampled))
