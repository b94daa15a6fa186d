"""A recording as a source of labelled frames, received as they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modsnr import InputError, receiver
from modsnr.frames.labelled import Source
from modsnr.recordings.conditioning import ResampledFrames, tune
from modsnr.recordings.files import open_recording

SNR_DEFINITION = (
    "estimate by the receiver, signal power over noise density in its band times the sampling "
    "rate, dB, rounded to 2 dB"
)
SNR_RANGE_DB = (-20.0, 30.0)  # of the labels that a source gives


def open_as_source(
    path: Path | str,
    *,
    iq_format: str = "",
    sample_rate: float = 0.0,
    samples: int = 1024,
    label: str = "unknown",
) -> Source:
    """Return a recording's received frames as a source, of the classes that its annotations name.

    If no frame lies in a labelled annotation, all have the class ``label``; else frames outside
    are left out, and in any case those without any power or of unknown SNR; the facts count them.
    SNRs are estimates, rounded to 2 dB and clipped to -20..30 dB. Each read receives frames anew.

    Raises InputError as ``open_recording`` and ``tune`` do, for no SNR and a blank ``label``.
    """
    if not label.strip():
        raise InputError("label is blank; it names the class of the frames of the recording.")
    recording = open_recording(path, iq_format=iq_format, sample_rate=sample_rate)
    tuning = tune(recording, samples)
    frames = ResampledFrames(recording, tuning)
    table = frames.survey(frames.batches(0, frames.count))
    unseen = table["snr_db"].isna() & ~table["silent"]
    if unseen.sum() > len(table) / 2:
        raise InputError(
            f"{recording.path} has no noise beside its signal, at {1 / tuning.symbol_rate:.2f} "
            "samples a symbol: its SNR cannot be estimated."
        )
    if table["label"].isna().all():
        table["label"] = label
    heard = table[~table["silent"] & ~unseen]
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
        read=receiver.Receiving(frames.read),
        findings=receiver.FINDINGS,
        snr_definition=SNR_DEFINITION,
        facts={
            **recording.facts,
            "sample rate, Hz": recording.sample_rate,
            "carrier, cycles/sample": tuning.carrier,
            "symbol rate, symbols/sample": tuning.symbol_rate,
            "symbol rate from": tuning.symbol_rate_from,
            "frames in the recording": frames.count,
            "frames in gaps": int(table["gap"].sum()),
            "frames without power, left out": int(table["silent"].sum()),
            "frames of unknown SNR, left out": int(unseen.sum()),
            "frames outside labelled annotations, left out": len(heard) - len(kept),
        },
    )
