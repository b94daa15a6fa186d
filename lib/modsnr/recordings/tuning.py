"""A recording at eight samples a symbol with its carrier at zero, made block by block.

Frequencies are in cycles/sample and rates in symbols/sample of the recording unless another unit
is written. A conditioned sample depends on the recording and the tuning only, not on the block that
it is made in, so frames can be made again in any order and in bounded memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

import numpy as np
from scipy import ndimage, signal

from modsnr import InputError
from modsnr.recordings import estimates
from modsnr.recordings.files import Recording

SAMPLES_PER_SYMBOL = 8
EXCERPT = 2**17  # samples in one piece for the estimates
EXCERPTS = 8  # at most, spread over the recording
HALF_TAPS = 32  # of the resampling filter, in samples at the lower of the two rates
USABLE = 0.46  # of the sample rate: where that filter still passes noise unchanged
ANALYTIC_TAPS = 257


@dataclass(frozen=True)
class Tuning:
    """The carrier, symbol rate and frame length by which a recording is conditioned."""

    carrier: float  # cycles/sample
    carrier_from: str  # the estimator, or "given"
    symbol_rate: float  # symbols/sample
    symbol_rate_from: str
    width: float | None  # half-power width, cycles/sample; None: not estimated
    samples: int  # a frame
    up: int  # samples of a frame for
    down: int  # samples of the recording

    @property
    def ratio(self) -> float:
        """Samples of a frame for one of the recording."""
        return self.up / self.down


def analytic(real: np.ndarray) -> np.ndarray:
    """Return the analytic signal, complex64 [sample], of a real one: its positive frequencies.

    Kept are 0.01 to 0.49 cycles/sample; the filter reaches 128 samples to either side. Where all
    that it reaches is zero, so is the result, not the rounding of a transform.
    """
    positive = signal.oaconvolve(real.astype(np.float32), _positive_band(), mode="same")
    sounding = ndimage.maximum_filter1d((real != 0).view(np.uint8), ANALYTIC_TAPS, mode="constant")
    return np.where(sounding > 0, 2 * positive, 0).astype(np.complex64)


@lru_cache(1)
def _positive_band() -> np.ndarray:
    half = ANALYTIC_TAPS // 2
    shift = np.exp(0.5j * np.pi * np.arange(-half, half + 1))
    return (_low_pass(half, 0.48) * shift).astype(np.complex64)


def _low_pass(half: int, cutoff: float) -> np.ndarray:
    """Return 2 half + 1 taps of a Kaiser-windowed sinc, 80 dB down; 1 is half the sample rate."""
    taps = np.sinc(cutoff * np.arange(-half, half + 1)) * np.kaiser(2 * half + 1, 8.0)
    return taps / taps.sum()


@lru_cache(4)
def _taps(up: int, down: int) -> np.ndarray:
    longest = max(up, down)
    return _low_pass(HALF_TAPS * longest, 1 / longest).astype(np.float32)


def tune(
    recording: Recording,
    *,
    carrier: float | None = None,
    symbol_rate: float | None = None,
    samples: int = 1024,
) -> Tuning:
    """Return how to condition a recording; what is not given is estimated from excerpts of it.

    ``carrier`` is in cycles/sample, ``symbol_rate`` in symbols/sample. Without a symbol-rate line
    the half-power width stands for the rate, coarsely: to a few hundredths.

    Raises InputError if there is nothing to estimate from, and for rates that cannot be used.
    """
    band, carrier_from, rate_from = None, "given", "given"
    if carrier is None or symbol_rate is None:
        iq = _excerpts(recording)
        try:
            band = estimates.occupied_band(iq)
        except InputError as error:
            raise InputError(f"{recording.path}: {error}") from error
        if carrier is None:
            carrier, carrier_from = estimates.carrier_offset(iq, band)
        if symbol_rate is None:
            symbol_rate, rate_from = estimates.symbol_rate(iq, band), "line"
        if symbol_rate is None:
            symbol_rate, rate_from = band.symbol_rate, "width"
    if not abs(carrier) <= 0.5:
        raise InputError(f"carrier must lie in -0.5..0.5 cycles/sample; it is {carrier}.")
    if not 0.001 <= symbol_rate < 1:
        raise InputError(f"symbol_rate must lie in 0.001..1 symbols/sample; it is {symbol_rate}.")
    if samples < 2:
        raise InputError(f"samples must be at least 2; it is {samples}.")
    width = band.width if band else None
    up, down = _fraction(SAMPLES_PER_SYMBOL * symbol_rate).as_integer_ratio()
    return Tuning(carrier, carrier_from, symbol_rate, rate_from, width, samples, up, down)


def _fraction(ratio: float) -> Fraction:
    """Return the simplest of a few fractions within 1e-7, else one within about 1e-8.

    The larger of its two numbers stays below 8193, which bounds the resampling filter.
    """
    small = min(ratio, 1 / ratio)
    fraction = Fraction(small)
    for largest in (16, 128, 1024, 8192):
        fraction = Fraction(small).limit_denominator(largest)
        if abs(fraction / small - 1) < 1e-7:
            break
    return fraction if ratio < 1 else 1 / fraction


def _excerpts(recording: Recording) -> np.ndarray:
    """Return complex64 [excerpt, sample], spread over the recording, the largest of size 1."""
    length = recording.samples if recording.samples < 2 * EXCERPT else EXCERPT
    count = min(EXCERPTS, recording.samples // length)
    starts = np.linspace(0, recording.samples - length, count).astype(int)
    iq = np.stack([_read_iq(recording, int(start), length) for start in starts])
    return iq / max(np.abs(iq).max(), np.finfo(np.float32).tiny)


def _read_iq(recording: Recording, start: int, count: int) -> np.ndarray:
    """Return complex64 [sample], zeros beyond the recording's ends."""
    reach = ANALYTIC_TAPS // 2 if recording.real else 0
    first, last = start - reach, start + count + reach
    inside = max(first, 0), max(min(last, recording.samples), max(first, 0))
    values = np.pad(
        recording.read(inside[0], inside[1] - inside[0]), (inside[0] - first, last - inside[1])
    )
    return analytic(values)[reach : reach + count] if recording.real else values


@dataclass(frozen=True)
class ResampledFrames:
    """The frames of a recording under a tuning, made whenever they are read.

    It holds no samples, so it can be sent to a process.
    """

    recording: Recording
    tuning: Tuning

    @property
    def guard(self) -> int:
        """How many samples of the recording the filters reach to either side."""
        reach = -(-HALF_TAPS * max(self.tuning.up, self.tuning.down) // self.tuning.up)
        return reach + (ANALYTIC_TAPS // 2 if self.recording.real else 0)

    @property
    def first(self) -> int:
        """The conditioned sample at which the first frame begins."""
        return math.ceil(self.guard * self.tuning.ratio)

    @property
    def noise_band(self) -> tuple[float, float]:
        """The band that noise of the recording fills, in cycles per conditioned sample."""
        real = self.recording.real
        middle = self.tuning.carrier if real else 0.0  # the band of IQ is a circle
        edges = (0.01, 0.49) if real else (-USABLE, USABLE)
        low, high = ((edge - middle) / self.tuning.ratio for edge in edges)
        return max(low, -USABLE), min(high, USABLE)

    @cached_property
    def count(self) -> int:
        """The number of frames. Raises InputError if there is none."""
        recording, tuning = self.recording, self.tuning
        last = math.floor((recording.samples - self.guard) * tuning.ratio)
        count = (last - self.first) // tuning.samples
        if count < 1:
            raise InputError(
                f"{recording.path} is too short: its {recording.samples} samples are "
                f"{recording.samples * tuning.symbol_rate:.0f} symbols, a frame of "
                f"{tuning.samples} samples takes {tuning.samples / SAMPLES_PER_SYMBOL:.0f} and its "
                "filters some."
            )
        return count

    def baseband(self, first: int, count: int) -> np.ndarray:
        """Return conditioned samples ``first`` to ``first + count``, whatever the blocks before.

        Each ``up`` of them stand for ``down`` samples of the recording: blocks begin there.
        """
        up, down = self.tuning.up, self.tuning.down
        margin = -(-HALF_TAPS * max(up, down) // (up * down))
        begin, end = first // up - margin, -(-(first + count) // up) + margin
        iq = _read_iq(self.recording, begin * down, (end - begin) * down)
        turn = estimates.rotation(-self.tuning.carrier, begin * down, len(iq))
        # Both have names: NumPy multiplies a large unnamed operand in place, and rounds otherwise.
        mixed = iq * turn
        out = signal.resample_poly(mixed, up, down, window=_taps(up, down))
        return out[first - begin * up :][:count]

    def batches(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield complex64 [frame, sample], about a million samples of the recording each."""
        samples = self.tuning.samples
        step = int(np.clip(2**20 * self.tuning.ratio / samples, 1, 2**20 // samples + 1))
        for first in range(start, stop, step):
            count = min(step, stop - first)
            out = self.baseband(self.first + first * samples, count * samples)
            yield out.astype(np.complex64, copy=False).reshape(count, samples)

    def read(self, rows: np.ndarray, *_labels: np.ndarray) -> np.ndarray:
        """Return the frames of ascending rows, complex64 [frame, sample]; a ``Source`` reads so."""
        frames = np.empty((len(rows), self.tuning.samples), np.complex64)
        place = 0
        for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
            for batch in self.batches(int(run[0]), int(run[-1]) + 1) if len(run) else ():
                frames[place : place + len(batch)] = batch
                place += len(batch)
        return frames
