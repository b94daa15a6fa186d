"""Random numbers, noise of a given SNR, white or coloured, and a receiver's filter."""

from __future__ import annotations

from functools import cache
from math import expm1, log, pi, sqrt
from typing import Any

import numpy as np
import torch
from scipy.signal import firwin, kaiser_beta
from torch import Tensor

NOISE_MEMORY = 64  # samples; coloured noise is forgotten long before

# The receive filter: 129 taps, 60 dB of stop band, 0.03 cycles/sample from pass to stop band.
RECEIVE_REACH = 64  # taps on either side of the middle one
RECEIVE_STOP_DB = 60.0


def uniform(generator: torch.Generator, *shape: int) -> Tensor:
    """Return numbers between 0 and 1, float32, on the generator's device."""
    return torch.rand(shape, generator=generator, device=generator.device)


def normal(generator: torch.Generator, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return normally distributed numbers of unit variance, on the generator's device."""
    return torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)


def awgn(
    signal: Tensor, snr_db: Tensor, *, generator: torch.Generator, tilt_db: float = 0.0
) -> Tensor:
    """Return a signal of unit mean power in Gaussian noise, complex64 [frame, sample].

    ``signal`` is complex64 [frame, sample]; ``snr_db``, float [frame], is signal power over noise
    power per sample, inf for no noise. The noise is circular and white, or coloured by ``tilt_db``
    as ``Channel.noise_tilt_db`` describes.
    """
    frames, samples = signal.shape
    memory = NOISE_MEMORY if tilt_db else 0  # keeps the ends of the periodic noise apart
    noise = normal(generator, frames, samples + memory, 2)
    if tilt_db:
        white = torch.view_as_complex(noise)
        coloured = _filtered(white, noise_density(_frequencies(white), tilt_db).sqrt())
        noise = torch.view_as_real(coloured[:, :samples])
    sigma = torch.pow(10.0, -snr_db / 20).view(-1, 1, 1) * sqrt(0.5)  # of either part
    return torch.view_as_complex(torch.view_as_real(signal) + sigma * noise)


def noise_density(frequency: Tensor, tilt_db: float) -> Tensor:
    """Return the noise's power density at ``frequency`` in cycles/sample, 1 on average."""
    fall = tilt_db * log(10) / 10
    mean = -expm1(-fall) / fall if fall else 1.0  # of exp(-fall u) over u in 0..1
    return torch.exp(-fall * 2 * frequency.abs()) / mean


def receive_filter(signal: Tensor, bandwidth: float) -> Tensor:
    """Return a signal [frame, sample], taken as periodic, through the receive filter."""
    return _filtered(signal, receive_response(_frequencies(signal), bandwidth))


@cache
def _receive_taps(bandwidth: float) -> list[float]:
    """Return the taps from the middle one on: a sinc under a Kaiser window."""
    window: Any = ("kaiser", kaiser_beta(RECEIVE_STOP_DB))
    # The cut-off is half the two-sided width, as a sampling rate of 2 has it.
    taps = np.asarray(firwin(2 * RECEIVE_REACH + 1, bandwidth, window=window, fs=2.0))
    return taps[RECEIVE_REACH:].tolist()


def receive_response(frequency: Tensor, bandwidth: float) -> Tensor:
    """Return the receive filter's response at ``frequency`` in cycles/sample: real, no delay."""
    middle, *wings = _receive_taps(bandwidth)
    response = torch.full_like(frequency, middle)
    for delay, tap in enumerate(wings, start=1):
        response += 2 * tap * torch.cos(2 * pi * delay * frequency)
    return response


def _frequencies(signal: Tensor) -> Tensor:
    return torch.fft.fftfreq(signal.shape[1], dtype=torch.float64)


def _filtered(signal: Tensor, response: Tensor) -> Tensor:
    return torch.fft.ifft(torch.fft.fft(signal) * response.to(signal.device, torch.float32))
