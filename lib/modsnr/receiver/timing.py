"""Symbols at a blind timing: matched filter, timing line, decimation, all in the frequency domain.

The squared magnitude of a shaped signal has a spectral line at the symbol rate whose phase is the
timing (Oerder and Meyr, IEEE Trans. Commun. 36(5), 1988). Frames have 8 samples a symbol.
"""

from __future__ import annotations

from functools import lru_cache
from math import pi

import torch
from torch import Tensor

from modsnr.signals import root_raised_cosine

SAMPLES_PER_SYMBOL = 8
MATCHED_ROLLOFF = 0.25  # the middle of U(0.1, 0.4): the frame's own is not known to a receiver
EDGE_SYMBOLS = 3  # on either side of a frame, where the filter sees past its ends
STOP_BAND = 0.11  # cycles/sample; the widest band ends at (1 + 0.4) / 2 / 8 = 0.0875


def synchronise(iq: Tensor, rolloff: Tensor | None = None) -> Tensor:
    """Return one sample a symbol at the blind timing: complex64 [frame, symbol], unit power.

    ``iq`` is complex [frame, sample], a multiple of 8 samples. The matched filter has each frame's
    ``rolloff``, float [frame], by default ``MATCHED_ROLLOFF``. The timing is the phase of the line
    of |y|^2 at the symbol rate; a delay by that fraction of a symbol is followed by decimation,
    which folds the spectrum. ``EDGE_SYMBOLS`` are dropped on either side.
    """
    spectrum = matched(iq, rolloff)
    symbols = decimated(spectrum, timing_line(spectrum))
    return unit_power(symbols[:, EDGE_SYMBOLS:-EDGE_SYMBOLS])


def half_symbols(iq: Tensor, rolloff: Tensor | None = None) -> Tensor:
    """Return two samples a symbol at the blind timing: complex64 [frame, 2 x symbol].

    The even ones are those of ``synchronise``, of unit power together; each odd one is half a
    symbol later than the one before. Arguments are those of ``synchronise``.
    """
    spectrum = matched(iq, rolloff)
    halves = decimated(spectrum, timing_line(spectrum), per_symbol=2)
    halves = halves[:, 2 * EDGE_SYMBOLS : -2 * EDGE_SYMBOLS]
    return halves / halves[:, ::2].abs().square().mean(1, keepdim=True).sqrt()


def matched(iq: Tensor, rolloff: Tensor | None = None) -> Tensor:
    """Return the spectrum of frames after the matched filter, complex64 [frame, bin].

    Arguments are those of ``synchronise``.
    """
    response, _, frequency = _synchroniser(iq.shape[1], iq.device)
    if rolloff is not None:
        response = root_raised_cosine(frequency.abs(), rolloff.unsqueeze(1))
    return torch.fft.fft(iq) * response


def timing_line(spectrum: Tensor) -> Tensor:
    """Return the blind timing of frames with this spectrum, float32 [frame], symbols, -0.5..0.5.

    It is where the first symbol peaks after the frame's first sample.
    """
    _, line, _ = _synchroniser(spectrum.shape[1], spectrum.device)
    filtered = torch.fft.ifft(spectrum)
    # The sum over |y|^2 is real-valued in y, so its phase at the symbol rate is the timing alone.
    return -torch.angle((filtered.abs().square() * line).sum(1)) / (2 * pi)


def decimated(spectrum: Tensor, timing: Tensor, per_symbol: int = 1) -> Tensor:
    """Return frames read from ``timing`` on, complex64 [frame, so many samples a symbol].

    ``spectrum`` is complex [frame, bin], ``timing`` float [frame] in symbols after the first
    sample. The delay is cyclic; decimation folds the spectrum.
    """
    _, _, frequency = _synchroniser(spectrum.shape[1], spectrum.device)
    delayed = spectrum * torch.exp(2j * pi * frequency * timing.unsqueeze(1))
    folds = SAMPLES_PER_SYMBOL // per_symbol
    return torch.fft.ifft(delayed.unflatten(1, (folds, -1)).sum(1)) / folds


def symbol_noise(iq: Tensor) -> Tensor:
    """Return the noise's share of the power of a frame's symbols after the matched filter, [frame].

    ``iq`` is complex [frame, sample], the share float32, 0 to 1. The noise is what a window leaves
    beyond ``STOP_BAND``, taken for white; a symbol's filter passes an eighth of it.
    """
    window, outside = _periodogram(iq.shape[1], iq.device)
    power = torch.fft.fft(iq * window).abs().square()
    noise = power[:, outside].mean(1)
    signal = (power.mean(1) - noise).clamp(min=0)
    passed = noise / SAMPLES_PER_SYMBOL
    return passed / (signal + passed).clamp(min=1e-30)


def unit_power(iq: Tensor) -> Tensor:
    """Return frames scaled to unit mean power, complex64 [frame, sample].

    The power is summed in double precision, so that every device rounds to the same scale.
    """
    parts = torch.view_as_real(iq.resolve_conj())
    norm = torch.linalg.vector_norm(parts, dim=(1, 2), dtype=torch.float64)
    scale = (iq.shape[1] ** 0.5 / norm).to(torch.float32)
    return torch.view_as_complex(parts * scale.view(-1, 1, 1))


@lru_cache(maxsize=8)
def _synchroniser(samples: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return matched filter [bin], line at the symbol rate [sample], frequencies [bin]."""
    frequency = torch.fft.fftfreq(samples, device=device) * SAMPLES_PER_SYMBOL  # symbol rates
    time = torch.arange(samples, device=device) / SAMPLES_PER_SYMBOL
    line = torch.exp(-2j * pi * time)
    return root_raised_cosine(frequency.abs(), MATCHED_ROLLOFF), line, frequency


@lru_cache(maxsize=8)
def _periodogram(samples: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return a window [sample] and the bins beyond ``STOP_BAND``, int64: a mask is waited for."""
    outside = torch.fft.fftfreq(samples, device=device).abs() > STOP_BAND
    return torch.hann_window(samples, device=device), outside.nonzero().flatten()
