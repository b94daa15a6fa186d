"""What known frames look like, how unlike them another frame is, and when that is an alarm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modsnr import InputError
from modsnr.metrics.conformal import upper_level

SNR_PLACES = 4  # at which the covariance of known frames is taken
SHRINKAGE = 0.01  # of their correlations, towards none
FEWEST_OF_A_CLASS = 16
ASTRAY = 0.05  # of a signal's frames


@dataclass(frozen=True)
class Familiar:
    """What the features of known frames look like; ``familiar`` makes it.

    A modulation's features are Gaussian about a mean that is a cubic in the SNR; their covariance
    is common to all modulations, but another around each of a few SNRs.
    """

    lowest_db: float
    highest_db: float
    means: np.ndarray  # float64 [class, coefficient, feature]
    at_db: np.ndarray  # float64 [place]
    whitening: np.ndarray  # float64 [place, feature, feature]

    def novelty(
        self, features: np.ndarray, snr_db: np.ndarray, modulation: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the log of the least Mahalanobis distance to a known class, float64 [frame].

        ``features`` is [frame, feature]; ``snr_db`` [frame] is estimated, as it was for the known
        frames, and is taken into their range (Lee et al., NeurIPS 2018, use no SNR). With an
        estimated ``modulation``, int [frame], the distance is that to its class.
        """
        snr = np.clip(np.asarray(snr_db, np.float64), self.lowest_db, self.highest_db)
        terms = _cubic(snr, self.lowest_db, self.highest_db)
        nearest = np.abs(snr[:, None] - self.at_db).argmin(1)
        squared = np.empty((len(features), len(self.means)))
        for place, whitening in enumerate(self.whitening):
            here = nearest == place
            for number, mean in enumerate(self.means):
                white = (features[here] - terms[here] @ mean) @ whitening
                squared[here, number] = np.square(white).sum(1)
        if modulation is None:
            return np.log(squared.min(1)) / 2
        return np.log(np.take_along_axis(squared, np.asarray(modulation)[:, None], 1)[:, 0]) / 2


def familiar(features: np.ndarray, modulation: np.ndarray, snr_db: np.ndarray) -> Familiar:
    """Return what known frames look like, from features [frame, feature], their modulation, int
    [frame], 0 to classes - 1, and their estimated SNR, [frame]: of others no other will be known.

    Raises InputError for a modulation of too few frames, and for numbers that are not finite.
    """
    features, snr = np.asarray(features, np.float64), np.asarray(snr_db, np.float64)
    if not (np.isfinite(features).all() and np.isfinite(snr).all()):
        raise InputError("Features and SNRs of known frames must be finite; some are not.")
    counts = np.bincount(modulation)
    if counts.min() < FEWEST_OF_A_CLASS or len(features) < 8 * features.shape[1]:
        raise InputError(
            f"{len(features)} known frames are too few: {8 * features.shape[1]} are needed for "
            f"{features.shape[1]} features, and {FEWEST_OF_A_CLASS} of each modulation; modulation "
            f"{counts.argmin()} has {counts.min()}."
        )
    low, high = float(snr.min()), float(snr.max())
    terms = _cubic(snr, low, high)
    means = np.stack([
        np.linalg.lstsq(terms[modulation == number], features[modulation == number], rcond=None)[0]
        for number in range(len(counts))
    ])  # fmt: skip
    left = features - np.einsum("nc,ncf->nf", terms, means[modulation])
    step = (high - low) / SNR_PLACES
    at_db = low + step * (np.arange(SNR_PLACES) + 0.5)
    whitening = []
    for place in at_db:
        weight = np.exp(-np.square((snr - place) / (step / 1.5)) / 2)
        covariance = (left * weight[:, None]).T @ left / weight.sum()
        scale = np.sqrt(np.diag(covariance)) + 1e-9
        correlation = covariance / np.outer(scale, scale)
        correlation = (1 - SHRINKAGE) * correlation + SHRINKAGE * np.eye(len(scale))
        whitening.append(np.linalg.inv(np.linalg.cholesky(correlation)).T / scale[:, None])
    return Familiar(low, high, means, at_db, np.stack(whitening))


def _cubic(snr_db: np.ndarray, low: float, high: float) -> np.ndarray:
    x = (2 * snr_db - low - high) / max(high - low, 1e-9)
    return np.stack([np.ones_like(x), x, x**2, x**3], 1)


def alarm_level(scores: np.ndarray, false_alarm: float, *, where: str = "") -> float:
    """Return the score that a new known frame exceeds with probability ``false_alarm`` at most.

    Raises InputError if ``scores`` [frame] of known frames, ``where`` they are, are too few for it.
    """
    if not 0 < false_alarm < 1:
        raise InputError(f"false_alarm must lie between 0 and 1; it is {false_alarm}.")
    fewest = int(np.ceil(1 / false_alarm))
    if len(scores) < fewest:
        raise InputError(
            f"{len(scores)} known frames{where} cannot set a level with a false-alarm rate of "
            f"{false_alarm:g}: at least {fewest} are needed. Calibrate on more frames."
        )
    return upper_level(scores, 1 - false_alarm)


def alarm_levels(
    novelty: np.ndarray, snr_db: np.ndarray, false_alarm: float, at_db: np.ndarray
) -> np.ndarray:
    """Return the ``alarm_level`` of each place of ``at_db``, ascending: float64 [place].

    ``novelty`` and ``snr_db`` are [frame], of known frames that ``familiar`` has not seen; those
    nearest to a place decide on its level. Between places, interpolate.
    """
    nearest = np.abs(np.asarray(snr_db)[:, None] - at_db).argmin(1)
    return np.array([
        alarm_level(novelty[nearest == place], false_alarm, where=f" near {snr:g} dB")
        for place, snr in enumerate(at_db)
    ])  # fmt: skip


@dataclass(frozen=True)
class Scope:
    """What known frames look like, and how novel they seldom are; ``scope`` makes it."""

    familiar: Familiar
    levels: np.ndarray  # float64 [place], of novelty at ``familiar.at_db``

    def beyond(
        self, features: np.ndarray, modulation: np.ndarray, snr_db: np.ndarray
    ) -> np.ndarray:
        """Return the novelty of frames less its level, float64 [frame]: above 0 outside the scope.

        ``features`` is [frame, feature]; ``modulation``, int [frame], and ``snr_db`` are estimates.
        """
        novelty = self.familiar.novelty(features, snr_db, modulation)
        return novelty - np.interp(snr_db, self.familiar.at_db, self.levels)


def scope(
    learned: Sequence[np.ndarray],
    modulation: np.ndarray,
    threshold: Sequence[np.ndarray],
    false_alarm: float,
) -> Scope:
    """Return a scope outside of which a new known frame is as often as ``false_alarm`` at most.

    What is usual is learned of known frames whose true ``modulation`` is int [frame], the level is
    set on others. Each begins with features [frame, feature], modulation and SNR, estimates.

    Raises InputError for too few of either, and for numbers that are not finite.
    """
    known = familiar(learned[0], modulation, learned[2])
    features, estimated, snr_db = threshold[:3]
    novelty = known.novelty(features, snr_db, estimated)
    return Scope(known, alarm_levels(novelty, snr_db, false_alarm, known.at_db))


def vote(probabilities: np.ndarray) -> int:
    """Return the class that frames of one signal, [frame, class] each, make likeliest together.

    One frame in twenty, ``ASTRAY``, may be anything: a few that are sure and wrong decide nothing.
    """
    likely = np.asarray(probabilities, np.float64)
    return int(np.log((1 - ASTRAY) * likely + ASTRAY / likely.shape[1]).sum(0).argmax())
