"""Periodograms, and frames moved in frequency."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def periodogram(iq: Tensor, bins: int | None = None) -> Tensor:
    """Return power densities, float32 [frame, bin], bins in the order of the Fourier transform.

    ``iq`` is complex [frame, sample]. The mean over bins is the mean power but for the window, a
    cosine over 64 samples (an eighth of the frame, if that is less) at either end. More ``bins``
    than samples interpolate.
    """
    window = _window(iq.shape[1], iq.device)
    return power(torch.fft.fft(iq * window, n=bins)) / iq.shape[1]


def power(samples: Tensor) -> Tensor:
    """Return |samples|^2, without the root that ``abs`` takes, and the care that costs most."""
    return samples.real.square() + samples.imag.square()


def circular(frequency: Tensor) -> Tensor:
    """Return frequencies in cycles/sample brought into -0.5 .. 0.5."""
    return frequency - frequency.round()


def shift(iq: Tensor, offset: Tensor) -> Tensor:
    """Return frames moved down by ``offset`` in frequency, float [frame], cycles/sample.

    The phase of the middle of the frame, between two samples if their number is even, stays.
    """
    time = torch.arange(iq.shape[1], device=iq.device) - (iq.shape[1] - 1) / 2
    turn = -2 * torch.pi * offset.unsqueeze(1) * time
    return iq * torch.polar(torch.ones_like(turn), turn)


@lru_cache(maxsize=8)
def _window(samples: int, device: torch.device) -> Tensor:
    ramp = min(64, samples // 8)
    time = torch.arange(samples, device=device, dtype=torch.float64)
    inward = (torch.minimum(time, samples - 1 - time) + 0.5).clamp(max=ramp) / max(ramp, 1)
    window = torch.sin(torch.pi / 2 * inward).square()
    return (window / window.square().mean().sqrt()).to(torch.float32)
