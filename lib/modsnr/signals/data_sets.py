"""The frames of a simulated data set, any batch of which can be made without the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from modsnr import InputError
from modsnr.signals.channels import Channel, Ensemble, Mixture
from modsnr.signals.simulator import simulate

BATCH = 512  # frames drawn from one generator


@dataclass(frozen=True)
class Simulator:
    """Frames for the labels of a data set, any batch of which can be made without the others.

    Each batch of ``BATCH`` rows has a generator of its own, seeded by (seed, batch). The simulator
    can be sent to another process: it holds settings only. The number of threads changes no byte.
    """

    seed: int
    classes: tuple[str, ...]
    channel: Channel | Mixture | Ensemble
    samples: int = 1024
    lengths: tuple[int, ...] = ()  # of frames in turn, zeros behind them; none: all of ``samples``

    def __post_init__(self) -> None:
        if bad := [length for length in self.lengths if not 0 < length <= self.samples]:
            raise InputError(
                f"lengths must lie in 1..{self.samples}, the samples of a frame; one is {bad[0]}."
            )

    def lengths_of(self, rows: np.ndarray) -> np.ndarray:
        """Return how many samples the frames in ``rows``, int64 [frame], have: int64 [frame]."""
        lengths = np.array(self.lengths or (self.samples,))
        return lengths[rows % len(lengths)]

    @property
    def snr_definition(self) -> str:
        """What the labels mean, in words for the store."""
        noise = "per sample"
        if isinstance(self.channel, Ensemble):
            noise = "density in the signal's band times the sampling rate"
        return f"signal power over noise power {noise}, dB"

    def __call__(self, rows: np.ndarray, modulation: np.ndarray, snr_db: np.ndarray) -> np.ndarray:
        """Return complex64 [frame, sample] for ``rows``, int64 [frame], and their labels.

        ``modulation`` is int64 [frame] into ``classes``, ``snr_db`` float32 [frame]. The rows
        begin at a multiple of ``BATCH``, follow one another, and end at a multiple or with the
        data set: a batch cut short draws other frames than the whole one.

        Raises InputError for other rows, and for labels that ``simulate`` refuses.
        """
        if len(rows) and (rows[0] < 0 or rows[0] % BATCH or (np.diff(rows) != 1).any()):
            raise InputError(
                f"Simulated rows must follow one another from a multiple of {BATCH} on; these run "
                f"from {rows[0]} to {rows[-1]}."
            )
        iq = np.zeros((len(rows), self.samples), np.complex64)
        for start in range(0, len(rows), BATCH):
            seed = self.seed * 1_000_003 + int(rows[start]) // BATCH
            generator = torch.Generator().manual_seed(seed)
            lengths = self.lengths_of(rows[start : start + BATCH])
            for samples in np.unique(lengths).tolist():
                mine = start + np.flatnonzero(lengths == samples)
                iq[mine, :samples] = simulate(
                    torch.tensor(modulation[mine]),
                    torch.tensor(snr_db[mine]),
                    generator=generator,
                    classes=self.classes,
                    channel=self.channel,
                    samples=samples,
                ).numpy()
        return iq
