"""Simulated recordings: known and unknown signals as a receiver at any sampling rate has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from scipy import signal

from modsnr.classifier.classify import heard
from modsnr.classifier.judging import judge
from modsnr.classifier.limits import SIZES, summary
from modsnr.metrics import vote
from modsnr.model import JointNet
from modsnr.recordings.conditioning import ResampledFrames, tune
from modsnr.recordings.in_memory import Held, held
from modsnr.signals import STUDY_CLASSES, channel, simulate, unknown

FRAMES = 20  # of 128 symbols, in a recording
PERIODS = 2.5, 20.0  # samples a symbol, evenly spread over the logarithm
EDGE = 0.8  # symbol rates on either side of the carrier that lie within the sampled band
RATE_ERROR = 0.01  # of the symbol rate: the receiver corrects three times as much


class Rehearsed(NamedTuple):
    """A simulated recording and what is true of it."""

    recording: Held
    kind: str  # a modulation, or one of ``signals.UNKNOWN_KINDS``
    snr_db: float  # at eight samples a symbol, by the noise density in the signal's band
    symbol_rate: float  # symbols/sample
    carrier: float  # cycles/sample


def rehearse(kind: str, snr_db: float, *, seed: int, through: str = "everyday") -> Rehearsed:
    """Return a recording of one signal, resampled to a random rate and moved to a random carrier.

    A known modulation goes ``through`` a channel of that name, one for all of the recording; what
    is in ``signals.UNKNOWN_KINDS`` through none.
    """
    rng = np.random.default_rng([seed, sum(kind.encode()), round(8 * snr_db) + 4096])
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    samples = FRAMES * 1024
    if kind in STUDY_CLASSES:
        iq = simulate(
            torch.zeros(1, dtype=torch.int64),
            torch.tensor([snr_db]),
            generator=generator,
            classes=(kind,),
            channel=channel(through),
            samples=samples,
        )[0].numpy()
    else:
        of_kind = {"generator": generator, "samples": samples}
        iq = unknown(kind, torch.tensor([snr_db]), **of_kind)[0].numpy()
    period = float(np.exp(rng.uniform(*np.log(PERIODS))))
    count = round(samples * period / 8)
    resampled = np.asarray(signal.resample(iq, count))
    reach = max(0.0, 0.5 - EDGE / period)
    carrier = float(rng.uniform(-reach, reach))
    moved = resampled * np.exp(2j * np.pi * carrier * np.arange(count))
    return Rehearsed(held(moved), kind, snr_db, samples / 8 / count, carrier)


class Summaries(NamedTuple):
    """What is measured in recordings, see ``limits``."""

    columns: np.ndarray  # float32 [size, recording, column], of the first frames of each
    snr_db: np.ndarray  # float64 [size, recording], their mean SNR
    left_out: int  # recordings of which the symbol rate was not found, or no signal


def summaries(
    net: JointNet, recordings: Iterable[Rehearsed], progress: Callable[[], object] = int
) -> Summaries:
    """Return the summaries of recordings' first 1, 2, 4 ... frames with a signal.

    Recordings whose symbol rate is not found to within ``RATE_ERROR`` are left out: what is known
    looks otherwise. ``progress`` is called after each recording.
    """
    columns, snr_db, left_out = [], [], 0
    for rehearsed in recordings:
        progress()
        made = ResampledFrames(rehearsed.recording, tune(rehearsed.recording))
        judged = judge(net, made.read(heard(made, SIZES[-1])[1]))
        present = np.flatnonzero(judged.present)
        if abs(made.tuning.symbol_rate / rehearsed.symbol_rate - 1) > RATE_ERROR or not len(
            present
        ):
            left_out += 1
            continue
        parts = [judged[present[:size]] for size in SIZES]
        columns.append([summary(each.traits, each.likely, vote(each.likely)) for each in parts])
        snr_db.append([each.snr_db.mean() for each in parts])
    return Summaries(np.array(columns).swapaxes(0, 1), np.array(snr_db).T, left_out)
