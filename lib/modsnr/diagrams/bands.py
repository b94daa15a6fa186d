"""The likelihood view: what a receiver knows of a frame, as horizontal bands of grey.

From the top one band for each of ``STUDY_CLASSES`` in their order, whose grey is the alphabet's
log-likelihood less that of the best, from -``NATS``, black, to 0, white; lowest a band for the SNR
by the in-band noise, from the first to the second of ``SNR_DB``. A frame without power is black.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from modsnr.receiver.likelihood import frame_likelihoods
from modsnr.receiver.noise import noise_of, snr_db
from modsnr.signals import STUDY_CLASSES

NATS = 30.0  # a log-likelihood so far below the best counts as this one
SNR_DB = (-10.0, 40.0)
CLASSES = STUDY_CLASSES
BANDS = len(CLASSES) + 1


def greys(iq: Tensor) -> Tensor:
    """Return the greys of frames complex [frame, sample], float32 [frame, band], lowest first."""
    noise = noise_of(iq, iq.real.new_zeros(len(iq)))
    marginal = frame_likelihoods(iq, noise.share).marginal
    relative = (marginal - marginal.amax(1, keepdim=True)) / NATS + 1
    low, high = SNR_DB
    snr = (snr_db(noise) - low) / (high - low)
    found = torch.cat([snr.unsqueeze(1), relative.flip(1)], 1).clamp(0, 1)
    power = iq.abs().square().sum(1, keepdim=True)
    return torch.where((power > 0) & power.isfinite(), found, 0)


def drawn(greys: Tensor, bins: int) -> Tensor:
    """Return the images of greys float32 [frame, band]: [frame, bins, bins], lowest row first."""
    row = torch.arange(1, bins + 1, device=greys.device)
    rows = greys[:, (row * BANDS + bins - 1) // bins - 1]
    return rows.unsqueeze(2).expand(-1, -1, bins)


def read(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return what images float32 [frame, bins, bins] of the view show, band means of their greys.

    Log-likelihoods less the best's, float32 [frame, class] for ``STUDY_CLASSES``, -``NATS`` at
    least, and the SNR in dB, float32 [frame].
    """
    rows = image.float().mean(2).split(band_rows(image.shape[1]), 1)
    snr, *classes = (band.mean(1) for band in rows)
    low, high = SNR_DB
    return NATS * (torch.stack(classes[::-1], 1) - 1), low + (high - low) * snr


def band_rows(bins: int) -> list[int]:
    """Return how many of an image's rows each band takes, lowest first."""
    edges = [bins * band // BANDS for band in range(BANDS + 1)]
    return [above - below for below, above in pairwise(edges)]
