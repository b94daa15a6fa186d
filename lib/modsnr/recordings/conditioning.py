"""From a recording to frames, with labels, SNR and pauses.

Frames differ from simulated ones where the recording is narrower than eight samples a symbol: what
lies outside its band is then empty instead of noisy, see ``Conditioned.band_limited``. White noise
must not be added to such frames, and a network that looks at out-of-band noise is misled by them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modsnr import InputError
from modsnr.frames import Source
from modsnr.recordings import estimates
from modsnr.recordings.files import Annotation, Recording, open_recording
from modsnr.recordings.tuning import SAMPLES_PER_SYMBOL, USABLE, ResampledFrames, Tuning, tune

SNR_DEFINITION = (
    "estimate from the noise floor, signal power over noise power per sample, dB, rounded to 2 dB"
)
SNR_RANGE_DB = (-20.0, 30.0)  # of the labels that a source gives
SILENCE = np.finfo(np.float32).tiny  # power of a frame below which stores refuse it


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


@dataclass(frozen=True)
class _Survey:
    """What was measured in all frames, those without power included; all are [frame]."""

    starts: np.ndarray  # int64, first sample in the recording
    labels: np.ndarray  # str or None, of the shortest annotation around a frame
    snr_db: np.ndarray  # float32, from the noise floor; NaN: unknown
    silent: np.ndarray  # bool, without any power
    gaps: np.ndarray  # bool, the signal pauses: these too


def _survey(frames: ResampledFrames, batches: Iterable[np.ndarray]) -> _Survey:
    """Return what is measured in the frames of all ``batches``, which begin with the first.

    Raises InputError if no frame has power.
    """
    measured = [_measure(batch, frames.noise_band) for batch in batches]
    snr_db, power = (np.concatenate(parts) for parts in zip(*measured, strict=True))
    silent = power < SILENCE
    if silent.all():
        raise InputError(
            f"{frames.recording.path} is silent: none of the {len(power)} frames read from its "
            "beginning on has any power."
        )
    gaps = power < 0.1 * np.quantile(power[~silent], 0.9)
    places = frames.first + np.arange(len(power) + 1) * frames.tuning.samples
    borders = places / frames.tuning.ratio
    starts, ends = np.floor(borders[:-1]).astype(np.int64), np.ceil(borders[1:]).astype(np.int64)
    labels = _labels(starts, ends, frames.recording.annotations)
    return _Survey(starts, labels, snr_db, silent, gaps)


def _measure(frames: np.ndarray, noise_band: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return SNR in dB, NaN if unknown, and signal power (then with the noise's) [frame]."""
    snr_db = estimates.noise_floor_snr(frames, SAMPLES_PER_SYMBOL, noise_band=noise_band)
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


def condition(
    recording: Recording,
    *,
    carrier: float | None = None,
    symbol_rate: float | None = None,
    samples: int = 1024,
    max_frames: int = 0,
) -> Conditioned:
    """Return a recording as consecutive frames at eight samples a symbol, its carrier at 0.

    ``carrier`` is in cycles/sample, ``symbol_rate`` in symbols/sample; None: estimated, see
    ``tune``. The frames keep the recording's scale; ``max_frames`` 0: all. The samples at either
    end of the recording that the filters would fill up with zeros are left out, and so are frames
    without any power. Of annotations around one frame the shortest gives the label.

    Raises InputError as ``tune`` does, if no frame fits or has power, and for samples that cannot
    be read.
    """
    tuning = tune(recording, carrier=carrier, symbol_rate=symbol_rate, samples=samples)
    frames = ResampledFrames(recording, tuning)
    iq = frames.read(np.arange(min(frames.count, max_frames or frames.count)))
    survey = _survey(frames, [iq])
    kept = ~survey.silent if survey.silent.any() else slice(None)  # a slice copies nothing
    return Conditioned(
        iq[kept],
        tuple(survey.labels[kept]),
        survey.starts[kept],
        survey.snr_db[kept],
        survey.gaps[kept],
        frames.noise_band != (-USABLE, USABLE),
        int(survey.silent.sum()),
        tuning,
    )


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
    are left out. SNRs are estimates, rounded to 2 dB and clipped to -20..30 dB. Frames without any
    power are left out. Frames are made anew whenever they are read; a pass over the recording
    holds a few ten megabytes.

    Raises InputError as ``open_recording`` and ``condition`` do, and if the SNR cannot be
    estimated.
    """
    recording = open_recording(path, iq_format=iq_format, sample_rate=sample_rate)
    tuning = tune(recording, samples=samples)
    frames = ResampledFrames(recording, tuning)
    survey = _survey(frames, frames.batches(0, frames.count))
    if np.isnan(survey.snr_db).any():
        raise InputError(
            f"{recording.path} has too few samples a symbol ({1 / tuning.symbol_rate:.2f}) to show "
            "its noise floor beside the signal: its SNR cannot be estimated."
        )
    labels = survey.labels
    if all(name is None for name in labels):
        labels = np.full(len(labels), label, object)
    labelled = np.array([name is not None for name in labels])
    rows = np.flatnonzero(labelled & ~survey.silent)
    if not len(rows):
        raise InputError(f"{recording.path} has no frame left: all that are labelled lie in gaps.")
    names, modulation = np.unique(labels[rows].astype(str), return_inverse=True)
    rounded = np.clip(2 * np.round(survey.snr_db / 2), *SNR_RANGE_DB)
    return Source(
        path=recording.path,
        kind=recording.kind,
        classes=tuple(names.tolist()),
        modulation=modulation.astype(np.int64),
        snr_db=rounded[rows].astype(np.float32),
        rows=rows,
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
            "noise fills the sampled band": frames.noise_band == (-USABLE, USABLE),
            "frames in the recording": frames.count,
            "frames in gaps": int(survey.gaps.sum()),
            "frames without power, left out": int(survey.silent.sum()),
        },
    )
