"""How networks do on frames of other conditions, and of modulations that they do not know.

Outcomes are bool [frame], where a network was right, of frames that have the same labels under each
condition. A score is a number a frame, float [frame], the greater the less like anything known. The
level beyond which a frame is called unknown is set on known frames alone; unknown ones decide on
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import numpy as np

from modsnr import InputError
from modsnr.metrics import (
    LEVEL,
    RESAMPLES,
    TASKS,
    Interval,
    alarm_level,
    difference,
    familiar,
    share,
)

if TYPE_CHECKING:
    import pandas as pd

Outcomes = Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]  # condition -> network -> task
Matrix = dict[str, dict[str, dict[str, Interval]]]  # task -> network -> condition


def accuracy_matrix(found: Outcomes) -> Matrix:
    """Return task -> network -> condition -> accuracy with its interval.

    A network that was not asked under a condition lacks it.
    """
    networks = list(dict.fromkeys(name for of_network in found.values() for name in of_network))
    return {
        task: {
            network: {
                condition: share(of_network[network][task])
                for condition, of_network in found.items()
                if network in of_network
            }
            for network in networks
        }
        for task in TASKS
    }


def matrix_table(matrix: Matrix) -> pd.DataFrame:
    """Return a matrix as a row a network and condition, three columns a task."""
    import pandas as pd

    return pd.DataFrame(
        {"model": network, "condition": condition}
        | {
            f"{task}_{end}": matrix[task][network][condition][end]
            for task in matrix
            for end in ("value", "low", "high")
        }
        for network, of_network in matrix[TASKS[0]].items()
        for condition in of_network
    )


def by_network(matrix: Matrix) -> dict[str, dict[str, dict[str, Interval]]]:
    """Return network -> condition -> "joint_accuracy" and its kin -> Interval, of a matrix."""
    return {
        network: {
            condition: {f"{task}_accuracy": matrix[task][network][condition] for task in matrix}
            for condition in of_network
        }
        for network, of_network in matrix[TASKS[0]].items()
    }


def losses(found: Outcomes, home: str, away: str) -> dict[str, Interval]:
    """Return each network's joint accuracy under ``home`` less that under ``away``.

    The frames are others, but frame by frame their labels are the same, and so they are compared
    in pairs. Networks that were not asked under both are left out.
    """
    asked = [name for name in found.get(home, {}) if name in found.get(away, {})]
    return {
        name: difference(found[home][name]["joint"], found[away][name]["joint"]) for name in asked
    }


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
) -> dict[str, Rejection]:
    """Return how well two scores reject: one less the confidence, and ``Familiar.novelty``.

    ``seen`` has known frames to "learn" novelty from, whose ``modulation`` is int [frame], known
    frames that set the "threshold", and "known" and "unknown" ones to be told apart.
    """
    learned = familiar(seen["learn"].features, modulation, seen["learn"].snr_db)
    roles = ("threshold", "known", "unknown")
    scores = {
        "confidence": [1 - seen[role].confidence for role in roles],
        "novelty": [learned.novelty(seen[role].features, seen[role].snr_db) for role in roles],
    }
    return {
        name: reject(*of_roles, false_alarm=false_alarm, rng=rng)
        for name, of_roles in scores.items()
    }


class Rejection(TypedDict):
    """What a score achieves: each an ``Interval`` but for the level."""

    auc: Interval
    detected: Interval  # share of unknown frames beyond the level
    false_alarms: Interval  # share of known frames beyond it
    level: float


def rejection_table(rejections: Mapping[str, Mapping[str, Rejection]]) -> pd.DataFrame:
    """Return modulation left out -> score -> Rejection as a row each."""
    import pandas as pd

    measured = ("auc", "detected", "false_alarms")
    return pd.DataFrame(
        {"left out": left_out, "score": score}
        | {f"{name}_{end}": found[name][end] for name in measured for end in found[name]}
        for left_out, of_score in rejections.items()
        for score, found in of_score.items()
    )


def reject(
    threshold: np.ndarray,
    known: np.ndarray,
    unknown: np.ndarray,
    *,
    false_alarm: float,
    rng: np.random.Generator,
) -> Rejection:
    """Return how a score tells ``unknown`` frames from ``known`` ones.

    The level, one of the scores of ``threshold``, is that which a new known frame exceeds with
    probability ``false_alarm`` at most; how often it errs is measured on those of ``known``.

    Raises InputError for scores that are not finite or too few.
    """
    level = alarm_level(threshold, false_alarm)
    return Rejection(
        auc=auc(unknown, known, rng=rng),
        detected=share(unknown > level),
        false_alarms=share(known > level),
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
    # By counts of each distinct score: ties need no search.
    scores, place = np.unique(np.concatenate([unknown, known]), return_inverse=True)
    kinds = place[: len(unknown)], place[len(unknown) :]
    value = _area(*(np.bincount(kind, minlength=len(scores)) for kind in kinds))
    resampled = [
        _area(
            *(
                np.bincount(kind[rng.integers(len(kind), size=len(kind))], minlength=len(scores))
                for kind in kinds
            )
        )
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value=value, low=float(low), high=float(high))


def _area(unknown: np.ndarray, known: np.ndarray) -> float:
    """Return the area for counts [score] of ascending scores."""
    below = known.cumsum() - known / 2
    return float(unknown @ below / (unknown.sum() * known.sum()))
