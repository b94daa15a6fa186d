"""A simulated recording, for those who have none at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sigmf import fromarray

from modsnr.signals import channel, simulate

MODULATION, SNR_DB, PERIOD = "16QAM", 20.0, 14  # the SNR once it is at 8 samples a symbol
CARRIER, SAMPLE_RATE = 0.02, 1e6  # cycles/sample, Hz
SYMBOLS = 7680  # 60 frames of 128


def write_demonstration(folder: Path, *, seed: int = 0) -> Path:
    """Write 16QAM at 20 dB as a SigMF recording; return the path of its metadata.

    It has 14 samples a symbol and a carrier offset of a fiftieth of the sample rate. Its
    description says that it is simulated.
    """
    samples = SYMBOLS * PERIOD
    iq = simulate(
        torch.zeros(1, dtype=torch.int64),
        # The noise has 14 samples a symbol to fill, of which 8 remain.
        torch.tensor([SNR_DB - 10 * np.log10(PERIOD / 8)]),
        generator=torch.Generator().manual_seed(seed),
        classes=(MODULATION,),
        channel=channel("minor", samples_per_symbol=PERIOD, carrier_offset_std=0.0),
        samples=samples,
    )[0].numpy()
    iq = 0.1 * iq * np.exp(2j * np.pi * CARRIER * np.arange(samples))
    recording = fromarray(iq.astype(np.complex64))
    recording.sample_rate = SAMPLE_RATE
    recording.description = f"SIMULATED: {MODULATION} at {SNR_DB:g} dB"
    recording.tofile(folder / "demonstration", overwrite=True)
    return folder / "demonstration.sigmf-meta"
