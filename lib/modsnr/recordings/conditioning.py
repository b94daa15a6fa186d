"""From a recording to frames: carrier to zero, eight samples a symbol, consecutive frames.

Frequencies are in cycles/sample and rates in symbols/sample of the recording unless said otherwise.
A conditioned sample depends on the recording and the tuning only, not on the block that it is made
in, so frames can be made again in any order and in bounded memory.

Frames differ from simulated ones where the recording is narrower than eight samples a symbol: what
lies outside its band is then empty instead of noisy, see ``Conditioned.band_limited``. White noise
must not be added to such frames, and a network that looks at out-of-band noise is misled by them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from scipy import ndimage, signal

from modsnr import InputError
from modsnr.recordings import estimates
from modsnr.recordings.files import Annotation, Recording, open_recording
from modsnr.recordings.source import Source

EXCERPT = 2**17  # samples in one piece for the estimates
EXCERPTS = 8  # at most, spread over the recording
HALF_TAPS = 32  # of the resampling filter, in samples at the lower of the two rates
USABLE = 0.46  # of the sample rate: where that filter still passes noise unchanged
ANALYTIC_TAPS = 257
SNR_RANGE_DB = (-20.0, 30.0)  # of the labels that a source gives
SILENCE = np.finfo(np.float32).tiny  # power of a frame below which stores refuse it


@dataclass(frozen=True)
class Tuning:
    """How a recording is conditioned: the estimates, or what was given in their place."""

    carrier: float  # cycles/sample
    carrier_from: str
    symbol_rate: float  # symbols/sample
    symbol_rate_from: str
    width: float | None  # half-power width, cycles/sample; None: not estimated
    sample_rate: float | None  # Hz, of the recording
    samples_per_symbol: int
    samples: int  # a frame
    up: int
    down: int

    @property
    def ratio(self) -> float:
        return self.up / self.down

    @property
    def carrier_hz(self) -> float | None:
        return None if self.sample_rate is None else self.carrier * self.sample_rate

    @property
    def symbol_rate_hz(self) -> float | None:
        return None if self.sample_rate is None else self.symbol_rate * self.sample_rate


@dataclass(frozen=True)
class Conditioned:
    """Frames of a recording, those without any power left out, and how they were made."""

    frames: np.ndarray  # complex64 [frame, sample]
    labels: tuple[str | None, ...]  # of the annotation that a frame lies in wholly
    starts: np.ndarray  # int64 [frame], first sample in the recording
    snr_db: np.ndarray  # float32 [frame], from the noise floor; NaN: unknown
    gaps: np.ndarray  # bool [frame], less than a tenth of the signal power of the strong frames
    band_limited: bool  # noise does not fill the sampled band
    silent: int  # frames left out: digital silence, as of a squelch
    tuning: Tuning


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


def tune(
    recording: Recording,
    *,
    carrier: float | None = None,
    symbol_rate: float | None = None,
    samples_per_symbol: int = 8,
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
            line = estimates.symbol_rate(iq, band)
            symbol_rate, rate_from = (
                (line.frequency, "line") if line else (band.symbol_rate, "width")
            )
    if not abs(carrier) <= 0.5:
        raise InputError(f"carrier must lie in -0.5..0.5 cycles/sample; it is {carrier}.")
    if not 0.001 <= symbol_rate < 1:
        raise InputError(f"symbol_rate must lie in 0.001..1 symbols/sample; it is {symbol_rate}.")
    if samples_per_symbol < 2 or samples < 2:
        raise InputError(
            f"samples_per_symbol and samples must be at least 2; they are {samples_per_symbol} "
            f"and {samples}."
        )
    ratio = _fraction(samples_per_symbol * symbol_rate)
    return Tuning(
        float(carrier),
        carrier_from,
        float(symbol_rate),
        rate_from,
        band.width if band else None,
        recording.sample_rate,
        samples_per_symbol,
        samples,
        ratio.numerator,
        ratio.denominator,
    )


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


@lru_cache(4)
def _taps(up: int, down: int) -> np.ndarray:
    longest = max(up, down)
    return _low_pass(HALF_TAPS * longest, 1 / longest).astype(np.float32)


def _guard(tuning: Tuning, real: bool) -> int:
    """Return how many samples of the recording the filters reach to either side."""
    reach = -(-HALF_TAPS * max(tuning.up, tuning.down) // tuning.up)
    return reach + (ANALYTIC_TAPS // 2 if real else 0)


def _baseband(recording: Recording, tuning: Tuning, first: int, count: int) -> np.ndarray:
    """Return conditioned samples ``first`` to ``first + count``, whatever the blocks before.

    Every ``up`` of them stand for ``down`` samples of the recording: blocks begin there.
    """
    up, down = tuning.up, tuning.down
    margin = -(-_guard(tuning, False) // down)
    begin, end = first // up - margin, -(-(first + count) // up) + margin
    iq = _read_iq(recording, begin * down, (end - begin) * down)
    turn = estimates.rotation(-tuning.carrier, begin * down, len(iq))
    # Both have names: NumPy multiplies a large unnamed operand in place, and rounds otherwise.
    mixed = iq * turn
    out = signal.resample_poly(mixed, up, down, window=_taps(up, down))
    return out[first - begin * up :][:count]


def _frame_count(recording: Recording, tuning: Tuning) -> tuple[int, int]:
    """Return the conditioned sample at which the first frame begins, and the number of frames."""
    guard = _guard(tuning, recording.real)
    first = math.ceil(guard * tuning.ratio)
    last = math.floor((recording.samples - guard) * tuning.ratio)
    count = (last - first) // tuning.samples
    if count < 1:
        raise InputError(
            f"{recording.path} is too short: its {recording.samples} samples are "
            f"{recording.samples * tuning.symbol_rate:.0f} symbols, a frame of {tuning.samples} "
            f"samples takes {tuning.samples / tuning.samples_per_symbol:.0f} and its filters some."
        )
    return first, count


def _read_frames(recording: Recording, tuning: Tuning, start: int, count: int) -> np.ndarray:
    """Return frames ``start`` to ``start + count``, complex64 [frame, sample]."""
    first, _ = _frame_count(recording, tuning)
    samples = tuning.samples
    out = _baseband(recording, tuning, first + start * samples, count * samples)
    return out.astype(np.complex64, copy=False).reshape(count, samples)


def _batches(
    recording: Recording, tuning: Tuning, start: int, stop: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number of the first frame, frames), about a million samples of the recording each."""
    step = int(np.clip(2**20 * tuning.ratio / tuning.samples, 1, 2**20 // tuning.samples + 1))
    for first in range(start, stop, step):
        yield first, _read_frames(recording, tuning, first, min(step, stop - first))


def _noise_band(recording: Recording, tuning: Tuning) -> tuple[float, float]:
    """Return the band that noise of the recording fills, in cycles per conditioned sample."""
    usable = (0.01, 0.49) if recording.real else (-USABLE, USABLE)
    middle = tuning.carrier if recording.real else 0.0  # the band of IQ is a circle
    low, high = ((edge - middle) / tuning.ratio for edge in usable)
    return max(low, -USABLE), min(high, USABLE)


def condition(
    recording: Recording,
    *,
    carrier: float | None = None,
    symbol_rate: float | None = None,
    samples_per_symbol: int = 8,
    samples: int = 1024,
    max_frames: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Conditioned:
    """Return a recording as consecutive frames at exactly ``samples_per_symbol``, its carrier at 0.

    ``carrier`` is in cycles/sample, ``symbol_rate`` in symbols/sample; None: estimated, see
    ``tune``. The frames keep the recording's scale; ``max_frames`` 0: all. ``progress`` is called
    with the frames done and the frames in all. The samples at either end of the recording that the
    filters would fill up with zeros are left out, and so are frames without any power. Of
    annotations around one frame the shortest gives the label.

    Raises InputError as ``tune`` does, if no frame fits or has power, and for samples that cannot
    be read.
    """
    tuning = tune(
        recording,
        carrier=carrier,
        symbol_rate=symbol_rate,
        samples_per_symbol=samples_per_symbol,
        samples=samples,
    )
    _, count = _frame_count(recording, tuning)
    count = min(count, max_frames) if max_frames else count
    frames = np.empty((count, samples), np.complex64)
    for first, batch in _batches(recording, tuning, 0, count):
        frames[first : first + len(batch)] = batch
        if progress:
            progress(first + len(batch), count)
    noise_band = _noise_band(recording, tuning)
    snr_db, power = _measure(frames, tuning, noise_band)
    silent, gaps = _pauses(recording, power)
    kept = slice(None) if not silent.any() else ~silent  # a slice copies nothing
    starts, ends = (borders[kept] for borders in _borders(recording, tuning, count))
    return Conditioned(
        frames[kept],
        _labels(starts, ends, recording.annotations),
        starts,
        snr_db[kept],
        gaps[kept],
        noise_band != (-USABLE, USABLE),
        int(silent.sum()),
        tuning,
    )


def _pauses(recording: Recording, power: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which frames have no power, and in which the signal pauses (these too): bool [frame].

    Raises InputError if no frame has power.
    """
    silent = power < SILENCE
    if silent.all():
        raise InputError(
            f"{recording.path} is silent: none of the {len(power)} frames read from its beginning "
            "on has any power."
        )
    return silent, power < 0.1 * np.quantile(power[~silent], 0.9)


def _measure(
    frames: np.ndarray, tuning: Tuning, noise_band: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return SNR in dB, NaN if unknown, and signal power (then with the noise's) [frame]."""
    snr_db = estimates.noise_floor_snr(frames, tuning.samples_per_symbol, noise_band=noise_band)
    power = np.square(np.abs(frames)).mean(1, dtype=np.float64)
    ratio = 10 ** (snr_db.astype(np.float64) / 10)
    return snr_db, power * np.where(np.isnan(ratio), 1, ratio / (1 + ratio))


def _borders(recording: Recording, tuning: Tuning, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first sample of each frame in the recording, and the one after its last."""
    first, _ = _frame_count(recording, tuning)
    places = (first + np.arange(count + 1) * tuning.samples) / tuning.ratio
    return np.floor(places[:-1]).astype(np.int64), np.ceil(places[1:]).astype(np.int64)


def _labels(
    starts: np.ndarray, ends: np.ndarray, annotations: tuple[Annotation, ...]
) -> tuple[str | None, ...]:
    labels: list[str | None] = [None] * len(starts)
    for start, count, label in sorted(annotations, key=lambda annotation: -annotation[1]):
        first = int(np.searchsorted(starts, start))
        after = int(np.searchsorted(ends, start + count, side="right"))
        if label is not None and after > first:
            labels[first:after] = [label] * (after - first)
    return tuple(labels)


def open_as_source(
    path: Path | str,
    *,
    iq_format: str = "",
    sample_rate: float = 0.0,
    carrier: float | None = None,
    symbol_rate: float | None = None,
    samples_per_symbol: int = 8,
    samples: int = 1024,
    label: str = "unknown",
    snr_db: float | None = None,
    drop_gaps: bool = False,
) -> Source:
    """Return a recording's frames as a source: its classes are the labels of their annotations.

    If no frame lies in a labelled annotation, all have the class ``label``; else frames outside
    are left out. SNRs are estimates, rounded to 2 dB and clipped to -20..30 dB, or all ``snr_db``
    where that is given. Frames without any power are left out; ``drop_gaps`` leaves out all in
    which the signal pauses. Frames are made anew whenever they are read; a pass over the recording
    holds a few ten megabytes.

    Raises InputError as ``open_recording`` and ``condition`` do, and if the SNR can neither be
    estimated nor is given.
    """
    recording = open_recording(path, iq_format=iq_format, sample_rate=sample_rate)
    tuning = tune(
        recording,
        carrier=carrier,
        symbol_rate=symbol_rate,
        samples_per_symbol=samples_per_symbol,
        samples=samples,
    )
    _, count = _frame_count(recording, tuning)
    noise_band = _noise_band(recording, tuning)
    measured = [
        _measure(batch, tuning, noise_band) for _, batch in _batches(recording, tuning, 0, count)
    ]
    estimated, power = (np.concatenate(parts) for parts in zip(*measured, strict=True))
    if snr_db is None and np.isnan(estimated).any():
        raise InputError(
            f"{recording.path} has too few samples a symbol ({1 / tuning.symbol_rate:.2f}) to show "
            "its noise floor beside the signal: pass its SNR as snr_db."
        )
    silent, gaps = _pauses(recording, power)
    labels = _labels(*_borders(recording, tuning, count), recording.annotations)
    if all(name is None for name in labels):
        labels = (label,) * count
    labelled = np.array([name is not None for name in labels])
    rows = np.flatnonzero(labelled & ~(gaps if drop_gaps else silent))
    if not len(rows):
        raise InputError(f"{recording.path} has no frame left: all that are labelled lie in gaps.")
    names, modulation = np.unique([str(labels[row]) for row in rows], return_inverse=True)
    rounded = np.clip(2 * np.round(estimated / 2), *SNR_RANGE_DB)
    given = np.full(count, snr_db, np.float32)
    return Source(
        path=recording.path,
        kind=recording.kind,
        classes=tuple(names.tolist()),
        modulation=modulation.astype(np.int64),
        snr_db=(rounded if snr_db is None else given)[rows].astype(np.float32),
        rows=rows,
        samples=samples,
        read=partial(_read_rows, recording, tuning),
        snr_definition=(
            "estimate from the noise floor, signal power over noise power per sample, dB, rounded "
            "to 2 dB"
            if snr_db is None
            else "given by hand for the whole recording, dB"
        ),
        facts={
            **recording.facts,
            "sample rate, Hz": recording.sample_rate,
            "carrier, cycles/sample": tuning.carrier,
            "carrier from": tuning.carrier_from,
            "symbol rate, symbols/sample": tuning.symbol_rate,
            "symbol rate from": tuning.symbol_rate_from,
            "noise fills the sampled band": noise_band == (-USABLE, USABLE),
            "frames in the recording": count,
            "frames in gaps": int(gaps.sum()),
            "frames without power, left out": int(silent.sum()),
        },
    )


def _read_rows(
    recording: Recording,
    tuning: Tuning,
    rows: np.ndarray,
    modulation: np.ndarray,  # noqa: ARG001  a source's reader is handed the labels
    snr_db: np.ndarray,  # noqa: ARG001
) -> np.ndarray:
    frames = np.empty((len(rows), tuning.samples), np.complex64)
    for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1):
        if len(run):
            start = int(rows[run[0]])
            for first, batch in _batches(recording, tuning, start, start + len(run)):
                frames[run[0] + first - start :][: len(batch)] = batch
    return frames
