"""The likelihood view: what the receiver found of a frame, as horizontal bands of grey.

From the top a band for each of ``receiver.FINDINGS``: the alphabets' log-likelihoods, white for the
likeliest and darker the further one lies behind; the SNR and its deviation; the noise's share of
the symbols' power; white where several paths were found; the frame's length, white from 1,024
samples on. A frame without power is black.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from math import log1p

import torch
from torch import Tensor

from modsnr.receiver import FINDINGS
from modsnr.signals import STUDY_CLASSES

NATS = 1000.0  # behind the likeliest: black
CLASSES = STUDY_CLASSES
BANDS = len(FINDINGS)
SNR, SNR_DEVIATION = FINDINGS.index("SNR"), FINDINGS.index("SNR deviation")
# Of the others: black, white.
RANGES = ((-10.0, 40.0), (0.0, 4.0), (-40.0, 0.0), (0.0, 1.0), (0.0, 1024.0))


def greys(findings: Tensor) -> Tensor:
    """Return the greys of findings [frame, finding], 0 to 1, [frame, band], lowest first."""
    relative, others = findings[:, : len(CLASSES)], findings[:, len(CLASSES) :]
    low, high = _ranges(findings.device)
    likelihoods = 1 - (-relative).log1p() / log1p(NATS)
    found = torch.cat([likelihoods, (others - low) / (high - low)], 1)
    return found.nan_to_num(0).clamp(0, 1).flip(1)


def drawn(greys: Tensor, bins: int) -> Tensor:
    """Return the images of greys float32 [frame, band]: [frame, bins, bins], lowest row first."""
    row = torch.arange(1, bins + 1, device=greys.device)
    rows = greys[:, (row * BANDS + bins - 1) // bins - 1]
    return rows.unsqueeze(2).expand(-1, -1, bins)


def read(image: Tensor) -> Tensor:
    """Return the mean greys of the bands of images float32 [frame, bins, bins], as ``greys``."""
    rows = image.float().mean(2).split(band_rows(image.shape[1]), 1)
    return torch.stack([band.mean(1) for band in rows], 1)


def findings_of(greys: Tensor) -> Tensor:
    """Return the findings [frame, finding] that ``greys`` turns into these, as far as they go."""
    shown = greys.flip(1)
    low, high = _ranges(greys.device)
    relative = -((1 - shown[:, : len(CLASSES)]) * log1p(NATS)).expm1()
    return torch.cat([relative, low + (high - low) * shown[:, len(CLASSES) :]], 1)


def band_rows(bins: int) -> list[int]:
    """Return how many of an image's rows each band takes, lowest first."""
    edges = [bins * band // BANDS for band in range(BANDS + 1)]
    return [above - below for below, above in pairwise(edges)]


@lru_cache(maxsize=8)
def _ranges(device: torch.device) -> tuple[Tensor, Tensor]:
    low, high = torch.tensor(RANGES, device=device).unbind(1)
    return low, high
