"""From a recording to frames at eight samples a symbol with the carrier at zero, block by block.

Frequencies are in cycles/sample and rates in symbols/sample of the recording unless another unit
is written. A conditioned sample depends on the recording and the tuning only, not on the block that
it is made in, so frames can be made again in any order and in bounded memory.

Frames differ from simulated ones where the recording is narrower than eight samples a symbol: what
lies outside its band is then empty instead of noisy, see ``Conditioned.band_limited``. White noise
must not be added to such frames, and a network that looks at out-of-band noise is misled by them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import signal

from modsnr import InputError
from modsnr.frames.labelled import LEAST_POWER, Source
from modsnr.recordings import estimates
from modsnr.recordings.files import open_recording
from modsnr.recordings.samples import Annotation, Recording

SAMPLES_PER_SYMBOL = 8
EXCERPT = 2**17  # samples in one piece for the estimates
EXCERPTS = 8  # at most, spread over the recording
HALF_TAPS = 32  # of the resampling filter, in samples at the lower of the two rates
USABLE = 0.46  # of the sample rate: where that filter still passes noise unchanged
ANALYTIC_REACH = 128  # samples to either side
SNR_DEFINITION = (
    "estimate from the noise floor, signal power over noise power per sample, dB, rounded to 2 dB"
)
SNR_RANGE_DB = (-20.0, 30.0)  # of the labels that a source gives


@dataclass(frozen=True)
class Tuning:
    """The carrier, symbol rate and frame length by which a recording is conditioned."""

    carrier: float  # cycles/sample
    symbol_rate: float  # symbols/sample
    samples: int = 1024  # a frame
    carrier_from: str = "given"  # or the estimator
    symbol_rate_from: str = "given"
    width: float = math.nan  # half-power width, cycles/sample

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
    """Return how to condition a recording, estimated from excerpts of it.

    Without a symbol-rate line the half-power width stands for the rate, coarsely: to a few
    hundredths.

    Raises InputError if there is nothing to estimate from, and for rates that cannot be used.
    """
    length = recording.samples if recording.samples < 2 * EXCERPT else EXCERPT
    count = min(EXCERPTS, recording.samples // length)
    starts = np.linspace(0, recording.samples - length, count).astype(int).tolist()
    iq = np.stack([_read_iq(recording, start, length) for start in starts])
    iq /= max(np.abs(iq).max(), np.finfo(np.float32).tiny)
    try:
        band = estimates.occupied_band(iq)
    except InputError as error:
        raise InputError(f"{recording.path}: {error}") from error
    carrier, carrier_from = estimates.carrier_offset(iq, band)
    line = estimates.symbol_rate(iq, band)
    rate, rate_from = (band.symbol_rate, "width") if line is None else (line, "line")
    if not 0.001 <= rate < 1:
        raise InputError(
            f"{recording.path}: its symbol rate seems to be {rate:.2g} symbols/sample; 0.001 to 1 "
            "can be conditioned."
        )
    return Tuning(carrier, rate, samples, carrier_from, rate_from, band.width)


def _read_iq(recording: Recording, start: int, count: int) -> np.ndarray:
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
def _taps(up: int, down: int) -> np.ndarray:
    longest = max(up, down)
    return _low_pass(HALF_TAPS * longest, 1 / longest).astype(np.float32)


@dataclass(frozen=True)
class ResampledFrames:
    """The frames of a recording under a tuning, made when they are read: it holds no samples."""

    recording: Recording
    tuning: Tuning

    @property
    def guard(self) -> int:
        """How many samples of the recording the filters reach to either side."""
        reach = math.ceil(HALF_TAPS * max(1, 1 / self.tuning.ratio))
        return reach + (ANALYTIC_REACH if self.recording.real else 0)

    @property
    def first(self) -> int:
        """The conditioned sample at which the first frame begins."""
        return math.ceil(self.guard * self.tuning.ratio)

    @cached_property
    def count(self) -> int:
        """The number of frames. Raises InputError if there is none."""
        recording, tuning = self.recording, self.tuning
        last = math.floor((recording.samples - self.guard) * tuning.ratio)
        count = (last - self.first) // tuning.samples
        if count < 1:
            raise InputError(
                f"{recording.path} is too short: its {recording.samples} samples are "
                f"{recording.samples * tuning.symbol_rate:.0f} symbols; a frame takes "
                f"{tuning.samples / SAMPLES_PER_SYMBOL:.0f}, and its filters some."
            )
        return count

    @property
    def noise_band(self) -> tuple[float, float]:
        """The band that noise of the recording fills, in cycles per conditioned sample."""
        real = self.recording.real
        middle = self.tuning.carrier if real else 0.0  # the band of IQ is a circle
        edges = (0.01, 0.49) if real else (-USABLE, USABLE)
        low, high = ((edge - middle) / self.tuning.ratio for edge in edges)
        return max(low, -USABLE), min(high, USABLE)

    @property
    def band_limited(self) -> bool:
        """Whether noise does not fill the sampled band."""
        return self.noise_band != (-USABLE, USABLE)

    def baseband(self, first: int, count: int) -> np.ndarray:
        """Return conditioned samples ``first`` to ``first + count``, whatever the blocks before.

        Each ``up`` of them stand for ``down`` samples of the recording: blocks begin there.
        """
        up, down = self.tuning.ratio.as_integer_ratio()
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
        around it or None, ``snr_db`` from the noise floor (NaN: unknown), ``silent`` (without any
        power), ``gap`` (less than a tenth of the signal power of the strong frames).

        Raises InputError if no frame has power.
        """
        measured = [self._snr_and_power(batch) for batch in batches]
        snr_db, power = (np.concatenate(parts) for parts in zip(*measured, strict=True))
        silent = power < LEAST_POWER
        if silent.all():
            raise InputError(
                f"{self.recording.path} is silent: none of the {len(power)} frames read from its "
                "beginning on has any power."
            )
        places = self.first + np.arange(len(power) + 1) * self.tuning.samples
        borders = places / float(self.tuning.ratio)
        starts = np.floor(borders[:-1]).astype(np.int64)
        ends = np.ceil(borders[1:]).astype(np.int64)
        return pd.DataFrame(
            {
                "first_sample": starts,
                "label": pd.Series(_labels(starts, ends, self.recording.annotations), dtype=object),
                "snr_db": snr_db,
                "silent": silent,
                "gap": power < 0.1 * np.quantile(power[~silent], 0.9),
            }
        )

    def _snr_and_power(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return SNR in dB, NaN if unknown, and signal power (then with the noise's) [frame]."""
        snr_db = estimates.noise_floor_snr(frames, self.noise_band)
        power = np.square(np.abs(frames)).mean(1, dtype=np.float64)
        ratio = 10 ** (snr_db.astype(np.float64) / 10)
        return snr_db, power * np.where(np.isnan(ratio), 1, ratio / (1 + ratio))


def _labels(
    starts: np.ndarray, ends: np.ndarray, annotations: tuple[Annotation, ...]
) -> np.ndarray:
    labels = np.full(len(starts), None, object)
    for start, count, label in sorted(annotations, key=lambda annotation: -annotation[1]):
        if label is not None:
            first = np.searchsorted(starts, start)
            labels[first : np.searchsorted(ends, start + count, side="right")] = label
    return labels


@dataclass(frozen=True)
class Conditioned:
    """Frames of a recording, those without any power left out, and how they were made."""

    frames: np.ndarray  # complex64 [frame, sample]
    table: pd.DataFrame  # first_sample, label, snr_db and gap of each, see ``survey``
    band_limited: bool  # noise does not fill the sampled band
    silent: int  # frames left out: digital silence, as of a squelch
    tuning: Tuning


def condition(recording: Recording, *, max_frames: int = 0) -> Conditioned:
    """Return a recording as consecutive frames at eight samples a symbol, its carrier at 0.

    The frames keep the recording's scale; ``max_frames`` 0: all. Left out are the samples at either
    end that the filters would fill up with zeros, and frames without any power.

    Raises InputError as ``tune`` does, if no frame fits or has power, and for samples that cannot
    be read.
    """
    frames = ResampledFrames(recording, tune(recording))
    iq = frames.read(np.arange(min(frames.count, max_frames or frames.count)))
    table = frames.survey([iq])
    silent = table.pop("silent").to_numpy()
    kept = ~silent if silent.any() else slice(None)  # a slice copies nothing
    kept_table = table[kept].reset_index(drop=True)
    return Conditioned(iq[kept], kept_table, frames.band_limited, int(silent.sum()), frames.tuning)


def open_as_source(
    path: Path | str,
    *,
    iq_format: str = "",
    sample_rate: float = 0.0,
    samples: int = 1024,
    label: str = "unknown",
) -> Source:
    """Return a recording's frames as a source: its classes are the labels of their annotations.

    If no frame lies in a labelled annotation, all have the class ``label``; else frames outside
    are left out, and in any case frames without any power; the facts count them. SNRs are
    estimates, rounded to 2 dB and clipped to -20..30 dB. Frames are made anew whenever they are
    read; a pass over the recording holds a few ten megabytes.

    Raises InputError as ``open_recording`` and ``condition`` do, for no SNR and a blank ``label``.
    """
    if not label.strip():
        raise InputError("label is blank; it names the class of the frames of the recording.")
    recording = open_recording(path, iq_format=iq_format, sample_rate=sample_rate)
    tuning = tune(recording, samples)
    frames = ResampledFrames(recording, tuning)
    table = frames.survey(frames.batches(0, frames.count))
    if table["snr_db"].isna().any():
        raise InputError(
            f"{recording.path} has too few samples a symbol ({1 / tuning.symbol_rate:.2f}) to show "
            "its noise floor beside the signal: its SNR cannot be estimated."
        )
    if table["label"].isna().all():
        table["label"] = label
    heard = table[~table["silent"]]
    kept = heard[heard["label"].notna()]
    if not len(kept):
        raise InputError(f"{recording.path} has no frame left: all that are labelled lie in gaps.")
    names, modulation = np.unique(kept["label"].to_numpy(str), return_inverse=True)
    snr_db = np.clip(2 * np.round(kept["snr_db"].to_numpy(np.float32) / 2), *SNR_RANGE_DB)
    return Source(
        path=recording.path,
        kind=recording.kind,
        classes=tuple(names.tolist()),
        modulation=modulation.astype(np.int64),
        snr_db=snr_db,
        rows=kept.index.to_numpy(),
        samples=samples,
        read=frames.read,
        snr_definition=SNR_DEFINITION,
        facts={
            **recording.facts,
            "sample rate, Hz": recording.sample_rate,
            "carrier, cycles/sample": tuning.carrier,
            "carrier from": tuning.carrier_from,
            "symbol rate, symbols/sample": tuning.symbol_rate,
            "symbol rate from": tuning.symbol_rate_from,
            "noise fills the sampled band": not frames.band_limited,
            "frames in the recording": frames.count,
            "frames in gaps": int(table["gap"].sum()),
            "frames without power, left out": len(table) - len(heard),
            "frames outside labelled annotations, left out": len(heard) - len(kept),
        },
    )
