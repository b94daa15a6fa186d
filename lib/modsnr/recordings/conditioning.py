"""From a recording to frames at about eight samples a symbol, their carrier near 0, block by block.

Frequencies are in cycles/sample and rates in symbols/sample of the recording unless another unit
is written. A conditioned sample depends on the recording and the tuning only, not on the block that
it is made in, so frames can be made again in any order and in bounded memory. What is finer than
``estimates`` is the receiver's, frame by frame: the carrier may move, and a receiver's filter may
leave no more than some noise next to the signal's band.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache, partial

import numpy as np
import pandas as pd
import torch
from scipy import signal

from modsnr import InputError, receiver
from modsnr.frames.labelled import LEAST_POWER
from modsnr.receiver.noise import UNSEEN_DEVIATION
from modsnr.receiver.timing import SAMPLES_PER_SYMBOL
from modsnr.recordings.estimates import Found, NoRateError, find_signals
from modsnr.recordings.samples import Annotation, Recording

HALF_TAPS = 32  # of the resampling filter, in samples at the lower of the two rates
CLEAR = 0.9  # of the way to the next signal is passed
ANALYTIC_REACH = 128  # samples to either side
LEAST_SNR_DB = -12.0  # of a frame with a signal: 3 dB below the noise in the signal's band


@dataclass(frozen=True)
class Tuning:
    """The carrier, symbol rate and frame length by which a recording is conditioned."""

    carrier: float  # cycles/sample, roughly
    symbol_rate: float  # symbols/sample
    samples: int = 1024  # a frame
    symbol_rate_from: str = "given"  # or "line", or "width"
    width: float = math.nan  # half-power width, cycles/sample
    clear: float = math.inf  # cycles/sample on either side of the carrier without another signal

    @cached_property
    def ratio(self) -> Fraction:
        """Samples of a frame for one of the recording.

        The simplest of a few fractions within 1e-7, else one within about 1e-8. The larger of its
        two numbers stays below 8193, which bounds the resampling filter.
        """
        ratio = SAMPLES_PER_SYMBOL * self.symbol_rate
        small = min(ratio, 1 / ratio)
        fraction = Fraction(small)
        for largest in (16, 128, 1024, 8192):
            fraction = Fraction(small).limit_denominator(largest)
            if abs(fraction / small - 1) < 1e-7:
                break
        return fraction if ratio < 1 else 1 / fraction


def tune(recording: Recording, samples: int = 1024) -> Tuning:
    """Return how to condition a recording for its strongest signal; raises as ``tunings`` does."""
    return tunings(recording, samples, most=1)[0]


def tunings(recording: Recording, samples: int = 1024, *, most: int = 8) -> list[Tuning]:
    """Return how to condition a recording for its signals, estimated from pieces of it.

    There are ``most`` at most, the strongest first.

    Raises InputError if there is too little to estimate from, NoSignalError if there is no signal,
    and NoRateError if the strongest has no symbol rate that can be used.
    """
    try:
        found = find_signals(partial(read_iq, recording), recording.samples, most)
    except InputError as error:
        raise type(error)(f"{recording.path}: {error}") from error
    if not 0.001 <= (rate := found[0].line.symbol_rate) < 1:
        raise NoRateError(
            f"{recording.path}: its symbol rate seems to be {rate:.2g} symbols/sample; 0.001 to 1 "
            "can be conditioned."
        )
    usual = [each for each in found if 0.001 <= each.line.symbol_rate < 1]
    return [_tuning(each, samples) for each in usual]


def _tuning(found: Found, samples: int) -> Tuning:
    rate, origin = found.line.symbol_rate, "line" if found.line.evidence else "width"
    return Tuning(found.carrier, rate, samples, origin, found.band.width, found.clear)


def read_iq(recording: Recording, start: int, count: int) -> np.ndarray:
    """Return complex64 [sample], zeros beyond the recording's ends.

    Of a real signal these are its positive frequencies, 0.01 to 0.49 cycles/sample.
    """
    reach = ANALYTIC_REACH if recording.real else 0
    first, last = start - reach, start + count + reach
    low, high = max(first, 0), min(last, recording.samples)
    values = np.pad(recording.read(low, high - low), (low - first, last - high))
    if not recording.real:
        return values
    # Directly, since the rounding of a transform would fill silence with noise.
    return 2 * signal.upfirdn(_positive_band(), values)[2 * reach : 2 * reach + count]


@lru_cache(1)
def _positive_band() -> np.ndarray:
    shift = np.exp(0.5j * np.pi * np.arange(-ANALYTIC_REACH, ANALYTIC_REACH + 1))
    return (_low_pass(ANALYTIC_REACH, 0.48) * shift).astype(np.complex64)


def _low_pass(half: int, cutoff: float) -> np.ndarray:
    """Return 2 half + 1 taps of a Kaiser-windowed sinc, 80 dB down; 1 is half the sample rate."""
    taps = np.sinc(cutoff * np.arange(-half, half + 1)) * np.kaiser(2 * half + 1, 8.0)
    return taps / taps.sum()


@lru_cache(4)
def _taps(half: int, cutoff: float) -> np.ndarray:
    return _low_pass(half, cutoff).astype(np.float32)


@dataclass(frozen=True)
class ResampledFrames:
    """The frames of a recording under a tuning, made when they are read: it holds no samples."""

    recording: Recording
    tuning: Tuning

    @cached_property
    def filter(self) -> tuple[int, float]:
        """How many taps the filter has on either side, and its cutoff, 1 is half its own rate.

        Where other signals lie near, it is as much longer as it is narrower.
        """
        up, down = self.tuning.ratio.as_integer_ratio()
        longest = max(up, down)
        narrower = max(1.0, up / (2 * CLEAR * self.tuning.clear * longest))
        return math.ceil(HALF_TAPS * longest * narrower), 1 / (longest * narrower)

    @property
    def guard(self) -> int:
        """How many samples of the recording the filters reach to either side."""
        reach = math.ceil(self.filter[0] / self.tuning.ratio.numerator)
        return reach + (ANALYTIC_REACH if self.recording.real else 0)

    @property
    def first(self) -> int:
        """The conditioned sample at which the first frame begins."""
        return math.ceil(self.guard * self.tuning.ratio)

    @property
    def _room(self) -> int:
        last = math.floor((self.recording.samples - self.guard) * self.tuning.ratio)
        return (last - self.first) // self.tuning.samples

    @property
    def fits(self) -> bool:
        """Whether there is a frame."""
        return self._room >= 1

    @property
    def count(self) -> int:
        """The number of frames. Raises InputError if there is none."""
        recording, tuning = self.recording, self.tuning
        if not self.fits:
            raise InputError(
                f"{recording.path} is too short: its {recording.samples} samples are "
                f"{recording.samples * tuning.symbol_rate:.0f} symbols; a frame takes "
                f"{tuning.samples / SAMPLES_PER_SYMBOL:.0f}, and its filters some."
            )
        return self._room

    def baseband(self, first: int, count: int) -> np.ndarray:
        """Return conditioned samples ``first`` to ``first + count``, whatever the blocks before.

        Each ``up`` of them stand for ``down`` samples of the recording: blocks begin there.
        """
        up, down = self.tuning.ratio.as_integer_ratio()
        margin = -(-self.filter[0] // (up * down))
        begin, end = first // up - margin, -(-(first + count) // up) + margin
        iq = read_iq(self.recording, begin * down, (end - begin) * down)
        turn = _rotation(-self.tuning.carrier, begin * down, len(iq))
        # Both have names: NumPy multiplies a large unnamed operand in place, and rounds otherwise.
        mixed = iq * turn
        out = signal.resample_poly(mixed, up, down, window=_taps(*self.filter))
        return out[first - begin * up :][:count]

    def batches(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield complex64 [frame, sample], about a million samples of the recording each."""
        samples = self.tuning.samples
        step = int(np.clip(2**20 * float(self.tuning.ratio) / samples, 1, 2**20 // samples + 1))
        for first in range(start, stop, step):
            count = min(step, stop - first)
            out = self.baseband(self.first + first * samples, count * samples)
            yield out.astype(np.complex64, copy=False).reshape(count, samples)

    def read(self, rows: np.ndarray, *_labels: np.ndarray) -> np.ndarray:
        """Return the frames of ascending rows, complex64 [frame, sample]; a ``Source`` reads so."""
        found = [np.empty((0, self.tuning.samples), np.complex64)]
        for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
            if len(run):
                found += self.batches(int(run[0]), int(run[-1]) + 1)
        return np.concatenate(found)

    def survey(self, batches: Iterable[np.ndarray]) -> pd.DataFrame:
        """Return what is measured in the frames of all batches, which begin with the first.

        A row a frame: ``first_sample`` in the recording, ``label`` of the shortest annotation
        around it or None, ``snr_db`` by the receiver (NaN: a filter hides the noise), ``silent``
        (without any power), ``gap`` (without a signal: an SNR below ``LEAST_SNR_DB``, or less
        than a quarter of the signal power of the strong frames).

        Raises InputError if no frame has power.
        """
        snr_db, power = np.concatenate([_snr_and_power(batch) for batch in batches], 1)
        silent = np.isnan(power)
        if silent.all():
            raise InputError(
                f"{self.recording.path} is silent: none of the {len(power)} frames read from its "
                "beginning on has any power."
            )
        places = self.first + np.arange(len(power) + 1) * self.tuning.samples
        borders = places / float(self.tuning.ratio)
        starts = np.floor(borders[:-1]).astype(np.int64)
        ends = np.ceil(borders[1:]).astype(np.int64)
        heard = ~silent & ~(snr_db < LEAST_SNR_DB)
        strong = np.quantile(power[heard], 0.9) if heard.any() else 0.0
        return pd.DataFrame(
            {
                "first_sample": starts,
                "label": pd.Series(_labels(starts, ends, self.recording.annotations), dtype=object),
                "snr_db": snr_db,
                "silent": silent,
                "gap": ~heard | (power < strong / 4),
            }
        )


def _snr_and_power(frames: np.ndarray) -> np.ndarray:
    """Return SNR in dB, NaN if unknown, and the signal's power, NaN if silent: [2, frame]."""
    total = np.square(np.abs(frames)).mean(1, dtype=np.float64)
    snr_db, power = np.full((2, len(frames)), np.nan)
    rows = total >= LEAST_POWER
    if rows.any():
        iq = torch.from_numpy(frames[rows] / np.sqrt(total[rows, None]).astype(np.float32))
        coarse = receiver.coarse_carrier(iq, receiver.noise_of(iq))
        noise = receiver.noise_of(iq, coarse.offset)
        seen = noise.deviation < UNSEEN_DEVIATION
        snr_db[rows] = torch.where(seen, receiver.snr_db(noise), torch.nan).numpy()
        power[rows] = noise.signal.clamp(min=0).numpy() * total[rows]
    return np.stack([snr_db, power])


def _rotation(frequency: float, first: int, count: int) -> np.ndarray:
    """Return exp(2 pi i frequency n), complex64 [sample], for n from ``first`` on."""
    turns = (frequency * np.arange(first, first + count, dtype=np.float64)) % 1
    return np.exp(2j * np.pi * turns).astype(np.complex64)


def _labels(
    starts: np.ndarray, ends: np.ndarray, annotations: tuple[Annotation, ...]
) -> np.ndarray:
    labels = np.full(len(starts), None, object)
    for start, count, label in sorted(annotations, key=lambda annotation: -annotation[1]):
        if label is not None:
            first = np.searchsorted(starts, start)
            labels[first : np.searchsorted(ends, start + count, side="right")] = label
    return labels
