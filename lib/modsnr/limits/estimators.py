"""Classical SNR estimators, without learning: frames in, decibels out.

All work on batches, on the frames' device, and return float32 [frame], held within
``SNR_RANGE_DB``: where noise makes an estimated power negative there is no logarithm. The scale of
a frame does not matter; one without power gives NaN.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.signal import windows
from torch import Tensor

from modsnr import InputError

SNR_RANGE_DB = (-30.0, 60.0)

# With so many dimensions for its ends all but 1e-8 of a finite frame is in the span of its band.
_END_DIMENSIONS = 14
_OFFSET = 1.0  # bins by which carrier and clock offset widen the band


def noise_floor_snr(iq: Tensor, *, samples_per_symbol: int, rolloff_max: float = 0.4) -> Tensor:
    """Estimate each frame's SNR in dB from the power outside the signal band.

    ``iq`` is complex [frame, sample]; the result is float32 [frame]. SNR is signal power over
    noise power per sample, noise white over the sampled band. The band beyond
    ``(1 + rolloff_max) / 2`` symbol rates holds noise only, so its mean power is the floor. The
    band is the span of the frames concentrated in it (discrete prolate spheroidal sequences,
    Slepian 1978): the variance is that of ``band_limited`` with as many occupied dimensions.

    Raises InputError if no such band exists, or the frame is too short to separate it.
    """
    basis, inside, outside = _apart(iq, samples_per_symbol, rolloff_max)
    samples, occupied = basis.shape
    noise = _energy(outside) / (samples - occupied)
    return _decibels((_energy(inside) - occupied * noise) / samples, noise)


def split_symbol_snr(iq: Tensor, *, samples_per_symbol: int, rolloff_max: float = 0.4) -> Tensor:
    """Estimate each frame's SNR in dB from two looks at the signal with independent noise.

    ``iq`` is complex [frame, sample]; the result is float32 [frame], per sample. The looks' sum
    holds signal and noise, their difference noise only (split-symbol moments: Simon and Mileant,
    IEEE Trans. Commun. 34(6), 1986). Theirs are the first and second half of a rectangular symbol;
    a shaped symbol changes between its halves, so here they are the even and the odd samples, and
    no timing is needed. Within the signal's band, the difference of these is the frame's own
    noise half the sampling rate away: the floor, of which this takes a signal's width only.

    Raises InputError as ``noise_floor_snr`` does, and where the band exceeds half the sampled one.
    """
    basis, inside, outside = _apart(iq, samples_per_symbol, rolloff_max)
    samples, occupied = basis.shape
    if 2 * occupied > samples:
        raise InputError(
            f"The signal's band takes {occupied} of {samples} dimensions; every other sample alone "
            "would not show it whole: take more samples a symbol."
        )
    sign = torch.ones(samples, 1, device=iq.device)
    sign[1::2] = -1
    difference = sign * basis
    # What little the two spans share, at the frame's ends, is signal.
    noise_only = occupied - (basis.T @ difference).square().sum()
    noise = _energy(_project(outside, difference)) / noise_only
    return _decibels((_energy(inside) - occupied * noise) / samples, noise)


def m2m4_snr(symbols: Tensor, kurtosis: Tensor | float) -> Tensor:
    """Estimate each frame's SNR in dB, per symbol, from its second and fourth moment.

    ``symbols`` is complex [frame, symbol], one sample a symbol after the matched filter: the
    result, float32 [frame], is Es/N0. ``kurtosis`` is that of the modulation's alphabet,
    E|s|^4 / (E|s|^2)^2, one for all or [frame]; that of complex Gaussian noise is 2, so that
    M4 = k S^2 + 4 S N + 2 N^2 and M2 = S + N (Pauluzzi and Beaulieu, IEEE Trans. Commun. 48(10),
    2000).

    Raises InputError for a kurtosis of 2 or more, which does not separate a signal from noise.
    """
    _check(symbols, "symbols")
    k = torch.as_tensor(kurtosis, dtype=torch.float32, device=symbols.device)
    if not bool(((k >= 1) & (k < 2)).all()):
        raise InputError(f"kurtosis must be from 1 to below 2; it is {kurtosis}.")
    power = symbols.abs().square()
    second = power.mean(1)
    # Of unit mean power, lest the fourth power of a weak or strong frame leave the float's range.
    fourth = (power / second.unsqueeze(1)).square().mean(1)
    signal = ((2 - fourth) / (2 - k)).clamp(min=0).sqrt()
    return _decibels(signal, 1 - signal)


def _decibels(signal: Tensor, noise: Tensor) -> Tensor:
    low, high = (10 ** (db / 10) for db in SNR_RANGE_DB)
    ratio = torch.where(noise > 0, signal / noise, torch.where(signal > 0, high, torch.nan))
    return 10 * ratio.clamp(low, high).log10()


def _energy(samples: Tensor) -> Tensor:
    return torch.view_as_real(samples.resolve_conj()).square().sum((1, 2))


def _project(iq: Tensor, basis: Tensor) -> Tensor:
    """Return the coordinates of frames in a real basis [sample, dimension]: [frame, dimension]."""
    return torch.complex(iq.real @ basis, iq.imag @ basis)


def _apart(
    iq: Tensor, samples_per_symbol: int, rolloff_max: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a basis of the band, the frames' coordinates in it, and what is outside its span."""
    _check(iq, "iq")
    basis = _band(iq.shape[1], samples_per_symbol, rolloff_max).to(iq.device)
    iq = iq.to(torch.complex64)
    inside = _project(iq, basis)
    return basis, inside, iq - _project(inside, basis.T)


@lru_cache(maxsize=8)
def _band(samples: int, samples_per_symbol: int, rolloff_max: float) -> Tensor:
    """Return an orthonormal basis of frames within the band: float32 [sample, dimension]."""
    width = (1 + rolloff_max) / samples_per_symbol * samples + 2 * _OFFSET  # dimensions, nearly
    dimensions = int(width) + _END_DIMENSIONS
    if not 0 <= rolloff_max <= 1 or dimensions >= samples:
        raise InputError(
            f"A signal of {samples} samples at {samples_per_symbol} a symbol, with a roll-off up "
            f"to {rolloff_max} (it must lie in 0..1), takes {dimensions} dimensions of them: none "
            "are left to noise alone. Take longer frames, or more samples a symbol."
        )
    sequences = np.asarray(windows.dpss(samples, width / 2, Kmax=dimensions))
    return torch.tensor(sequences.T.copy(), dtype=torch.float32)


def _check(frames: Tensor, name: str) -> None:
    if frames.ndim != 2 or not frames.is_complex():
        raise InputError(
            f"{name} must be complex, two-dimensional, a row a frame; they are {frames.dtype} "
            f"{tuple(frames.shape)}."
        )
