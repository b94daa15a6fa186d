"""Joint accuracy and its kin: arrays in, numbers out, with 95 % bootstrap intervals.

Labels are int [frame] for the modulation and dB [frame] for the SNR, on an ascending grid. An SNR
estimate counts as right where the grid point nearest to it is the true one. Frames are resampled
2,000 times with replacement. A statistic of a confusion matrix is resampled as the matrix itself,
which is multinomial, and so exactly what resampling its frames would give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, TypedDict

import numpy as np

from modsnr import InputError

RESAMPLES = 2000
LEVEL = 0.95
SNR_BANDS_DB = {"low": (-20, -2), "middle": (0, 14), "high": (16, 30)}  # the study's


class Interval(TypedDict):
    """A statistic and its 95 % bootstrap interval (percentiles)."""

    value: float
    low: float
    high: float


def snap(snr_db: np.ndarray, grid_db: np.ndarray) -> np.ndarray:
    """Return the index of the grid point nearest to each estimate, int64 [frame]; -1 for NaN."""
    middles = (np.asarray(grid_db)[1:] + np.asarray(grid_db)[:-1]) / 2
    return np.where(np.isnan(snr_db), -1, np.searchsorted(middles, snr_db))


def accuracies(
    modulation: np.ndarray,
    snr_db: np.ndarray,
    predicted_modulation: np.ndarray,
    predicted_snr_db: np.ndarray,
    grid_db: np.ndarray,
) -> dict[str, float]:
    """Return joint_accuracy (both right), modulation_accuracy and snr_accuracy."""
    right_modulation, right_snr = right(
        modulation, snr_db, predicted_modulation, predicted_snr_db, grid_db
    )
    return {
        "joint_accuracy": float((right_modulation & right_snr).mean()),
        "modulation_accuracy": float(right_modulation.mean()),
        "snr_accuracy": float(right_snr.mean()),
    }


def right(
    modulation: np.ndarray,
    snr_db: np.ndarray,
    predicted_modulation: np.ndarray,
    predicted_snr_db: np.ndarray,
    grid_db: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return where the modulation is right and where the SNR is, bool [frame] each."""
    return (
        np.asarray(predicted_modulation) == np.asarray(modulation),
        snap(predicted_snr_db, grid_db) == snap(snr_db, grid_db),
    )


def confusion(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """Return counts int64 [true class, predicted class].

    Raises InputError for labels that are not 0..classes-1; they would be counted as other pairs.
    """
    pairs = np.asarray([truth, prediction], np.int64)
    if ((pairs < 0) | (pairs >= classes)).any():
        raise InputError(
            f"Labels must lie in 0..{classes - 1}; they lie in {pairs.min()}..{pairs.max()}."
        )
    return np.bincount(pairs[0] * classes + pairs[1], minlength=classes**2).reshape(
        classes, classes
    )


def f1_per_class(matrix: np.ndarray) -> np.ndarray:
    """Return F1 [..., class] of matrices [..., true, predicted]; 0 for an absent class."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    return 2 * hits / np.maximum(matrix.sum(-1) + matrix.sum(-2), 1)


def macro_f1(matrix: np.ndarray) -> np.ndarray:
    """Return F1 averaged over the classes that occur, [...], of matrices [..., true, predicted]."""
    occurs = (matrix.sum(-1) + matrix.sum(-2)) > 0
    return f1_per_class(matrix).sum(-1) / np.maximum(occurs.sum(-1), 1)


def attractor_index(matrix: np.ndarray) -> np.ndarray:
    """Return the largest share of predictions on one SNR over its true share, [...].

    1 means no SNR draws more predictions than it has frames; the study's "black hole" is one that
    draws many times its share. ``matrix`` is [..., true SNR, predicted SNR].
    """
    return _attraction(matrix).max(-1)


def _attraction(matrix: np.ndarray) -> np.ndarray:
    return matrix.sum(-2) / np.maximum(matrix.sum(-1), 1)


def interval(
    statistic: Callable[[np.ndarray], np.ndarray],
    counts: np.ndarray,
    generator: np.random.Generator,
) -> Interval:
    """Return a statistic of counts [...] with the interval over multinomial resamples of them.

    ``statistic`` maps counts [resample, ...] to values [resample].
    """
    total = int(counts.sum())
    draws = generator.multinomial(total, counts.ravel() / total, size=RESAMPLES)
    values = statistic(draws.reshape(RESAMPLES, *counts.shape))
    return _percentiles(float(statistic(counts[None])[0]), values)


def mean_interval(values: np.ndarray, generator: np.random.Generator) -> Interval:
    """Return the mean of values [frame] with its bootstrap interval."""
    values = np.asarray(values, dtype=np.float64)
    if np.isin(values, (-1.0, 0.0, 1.0)).all():  # a few kinds of frames: resample their counts
        kinds = np.array([-1.0, 0.0, 1.0])
        counts = (values[:, None] == kinds).sum(0)
        return interval(lambda draws: draws @ kinds / len(values), counts, generator)
    means = np.concatenate(
        [
            values[generator.integers(len(values), size=(50, len(values)))].mean(1)
            for _ in range(RESAMPLES // 50)
        ]
    )
    return _percentiles(float(values.mean()), means)


def _percentiles(value: float, resampled: np.ndarray) -> Interval:
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value=value, low=float(low), high=float(high))


def summary(
    modulation: np.ndarray,
    snr_db: np.ndarray,
    predicted_modulation: np.ndarray,
    predicted_snr_db: np.ndarray,
    *,
    classes: Sequence[str],
    grid_db: Sequence[float],
    seed: int = 0,
) -> dict[str, object]:
    """Return every metric of a set of predictions, each an ``Interval`` unless said otherwise.

    joint_accuracy, modulation_accuracy, snr_accuracy; snr_mae_db and snr_rmse_db of the estimate
    before snapping; modulation_macro_f1, snr_macro_f1; snr_f1_low, _middle, _high (-20..-2, 0..14,
    16..30 dB; None where the grid has no SNR there); attractor_index, and attractor_snr_db (a
    number); modulation_f1 (class -> F1) and snr_f1, snr_accuracy_at_db, modulation_accuracy_at_db,
    joint_accuracy_at_db (SNR as text -> Interval).

    Raises InputError for no frames at all, and for estimates that are not numbers.
    """
    _check_estimates(predicted_snr_db)
    generator = np.random.default_rng(seed)
    grid = np.asarray(grid_db, dtype=np.float64)
    right_modulation, right_snr = right(
        modulation, snr_db, predicted_modulation, predicted_snr_db, grid
    )
    true_bin = snap(snr_db, grid)
    of_modulation = confusion(modulation, predicted_modulation, len(classes))
    of_snr = confusion(true_bin, snap(predicted_snr_db, grid), len(grid))
    error = np.asarray(predicted_snr_db, np.float64) - np.asarray(snr_db, np.float64)
    squared = mean_interval(error**2, generator)
    outcomes = {
        "joint_accuracy": right_modulation & right_snr,
        "modulation_accuracy": right_modulation,
        "snr_accuracy": right_snr,
    }
    result: dict[str, object] = {
        name: mean_interval(outcome, generator) for name, outcome in outcomes.items()
    }
    result |= {
        "snr_mae_db": mean_interval(np.abs(error), generator),
        "snr_rmse_db": {name: value**0.5 for name, value in squared.items()},  # type: ignore[operator]
        "modulation_macro_f1": interval(macro_f1, of_modulation, generator),
        "snr_macro_f1": interval(macro_f1, of_snr, generator),
        "attractor_index": interval(attractor_index, of_snr, generator),
        "attractor_snr_db": float(grid[_attraction(of_snr).argmax()]),
        "modulation_f1": {
            name: interval(
                lambda draws, row=row: f1_per_class(draws)[:, row], of_modulation, generator
            )
            for row, name in enumerate(classes)
        },
        "snr_f1": {
            f"{value:g}": interval(
                lambda draws, row=row: f1_per_class(draws)[:, row], of_snr, generator
            )
            for row, value in enumerate(grid)
        },
    }
    for band, (low, high) in SNR_BANDS_DB.items():
        rows = np.flatnonzero((grid >= low) & (grid <= high))
        result[f"snr_f1_{band}"] = (
            interval(
                lambda draws, rows=rows: f1_per_class(draws)[:, rows].mean(1), of_snr, generator
            )
            if len(rows)
            else None
        )
    for name, outcome in outcomes.items():
        result[f"{name}_at_db"] = {
            f"{value:g}": mean_interval(outcome[true_bin == row], generator)
            for row, value in enumerate(grid)
            if (true_bin == row).any()
        }
    return result


def _check_estimates(predicted_snr_db: np.ndarray) -> None:
    if not len(predicted_snr_db):
        raise InputError("There are no frames to summarise.")
    if missing := int(np.isnan(predicted_snr_db).sum()):
        raise InputError(f"{missing} of {len(predicted_snr_db)} SNR estimates are not numbers.")


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
    _check_estimates(predicted_snr_db)
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


def difference(first: np.ndarray, second: np.ndarray, *, seed: int = 0) -> Interval:
    """Return mean(first) - mean(second) over the same frames, with its paired interval.

    ``first`` and ``second`` are bool [frame]: where each of two models was right.

    Raises InputError where they are not as many.
    """
    if len(first) != len(second):
        raise InputError(
            f"A paired difference needs the same frames; they are {len(first)} and {len(second)}."
        )
    change = np.asarray(first, np.int64) - np.asarray(second, np.int64)
    return mean_interval(change, np.random.default_rng(seed))


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

    def novelty(self, features: np.ndarray, snr_db: np.ndarray) -> np.ndarray:
        """Return how unlike all known frames each is: the log of the least Mahalanobis distance.

        ``features`` is [frame, feature]; ``snr_db`` [frame] is estimated, as it was for the known
        frames, and is taken into their range. The result is float64 [frame] (Lee et al., NeurIPS
        2018, use one covariance and no SNR).
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
        return np.log(squared.min(1)) / 2


SNR_PLACES = 4  # at which the covariance of known frames is taken
SHRINKAGE = 0.01  # of their correlations, towards none
FEWEST_OF_A_CLASS = 16


def familiar(features: np.ndarray, modulation: np.ndarray, snr_db: np.ndarray) -> Familiar:
    """Return what known frames look like, from features [frame, feature] and their modulation.

    ``modulation`` is int [frame], 0 to classes - 1; ``snr_db`` [frame] the SNR as it is estimated,
    since no other is known of the frames to come.

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


def rates(
    outcomes: np.ndarray, of: np.ndarray, generator: np.random.Generator
) -> dict[str, Interval]:
    """Return the mean of outcomes [item] over all items, then over those of each label ``of``.

    The labels [item] are ascending, as text. An item is what is resampled: a frame, or the share of
    a recording whose frames are not independent.
    """
    parts = {"all": np.ones(len(of), bool), **{f"{label}": of == label for label in np.unique(of)}}
    return {name: mean_interval(outcomes[part], generator) for name, part in parts.items()}


def alarm_levels(
    novelty: np.ndarray, snr_db: np.ndarray, false_alarm: float, at_db: np.ndarray
) -> np.ndarray:
    """Return the novelty that a share ``false_alarm`` of known frames exceeds, by SNR: [place].

    ``novelty`` and ``snr_db`` are [frame], of known frames that ``familiar`` has not seen; those
    nearest to a place of ``at_db``, ascending, decide on its level. Between places, interpolate.

    Raises InputError if a place has too few frames for a level with so rare alarms.
    """
    if not 0 < false_alarm < 1:
        raise InputError(f"false_alarm must lie between 0 and 1; it is {false_alarm}.")
    nearest = np.abs(np.asarray(snr_db)[:, None] - at_db).argmin(1)
    fewest = int(np.ceil(1 / false_alarm))
    levels = []
    for place, snr in enumerate(at_db):
        here = np.sort(novelty[nearest == place])
        if len(here) < fewest:
            raise InputError(
                f"{len(here)} known frames are near {snr:g} dB; for a false-alarm rate of "
                f"{false_alarm:g} at least {fewest} are needed: calibrate on more frames."
            )
        # So exceeded by a new frame with probability false_alarm or a little less.
        rank = int(np.ceil((1 - false_alarm) * (len(here) + 1)))
        levels.append(here[min(rank, len(here)) - 1])
    return np.array(levels)


def chance_of_alarms(alarms: int, frames: int, of_known: np.ndarray) -> float:
    """Return the probability that a recording of a known modulation raises so many alarms, or more.

    ``of_known`` is bool [recording, frame]: the alarms of known recordings, whose frames share a
    modulation, an SNR and a pulse, and so alarms too. A plain binomial test would take the frames
    for independent; here the rate is beta distributed over recordings, its moments those measured.

    Raises InputError for fewer than two known recordings, or two frames in each.
    """
    from scipy import stats  # here: nothing else needs it, and it takes half a second

    of_known = np.asarray(of_known, bool)
    if of_known.ndim != 2 or min(of_known.shape) < 2:
        raise InputError(f"Alarms are [2+ recordings, 2+ frames]; they are {of_known.shape}.")
    recordings, each = of_known.shape
    # One more alarm and one more silence than were seen: a rate of zero is never certain.
    rate = (of_known.sum() + 1) / (of_known.size + 2)
    apart = of_known.mean(1).var(ddof=1) / (rate * (1 - rate) / each)  # 1: independent frames
    alike = np.clip((apart - 1) / (each - 1), 1 / of_known.size, 1 - 1 / recordings)
    a, b = rate * (1 / alike - 1), (1 - rate) * (1 / alike - 1)
    return float(stats.betabinom.sf(alarms - 1, frames, a, b))
