"""Simulated recordings: known and unknown signals as a receiver at any sampling rate has them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import signal

from modsnr.recordings.in_memory import Held, held
from modsnr.signals import STUDY_CLASSES, channel, simulate, unknown

FRAMES = 20  # of 128 symbols, in a recording
PERIODS = 2.5, 20.0  # samples a symbol, evenly spread over the logarithm
EDGE = 0.8  # symbol rates on either side of the carrier that lie within the sampled band


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
