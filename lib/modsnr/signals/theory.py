"""Expected power density, in-band noise and oversampled kurtosis of simulated frames."""

from __future__ import annotations

from collections.abc import Mapping
from math import log10

import torch
from torch import Tensor

from modsnr.signals.alphabets import DVB_RINGS, Rings, alphabet, cumulants
from modsnr.signals.channels import Channel
from modsnr.signals.noise import noise_density, receive_response
from modsnr.signals.simulator import root_raised_cosine


def power_density(frequency: Tensor, channel: Channel, snr_db: float) -> Tensor:
    """Return the expected power density at ``frequency`` in cycles/sample, float64, same shape.

    Its mean over the sampled band, -0.5..0.5, is the mean power: of a signal of unit power and of
    its noise, ``snr_db`` below it (inf: no noise), less what a receive filter takes away.

    The signal is of a linear modulation without a mean (so neither GMSK nor OOK): a raised cosine,
    averaged over the channel's roll-offs and carrier offsets. Two effects are neglected: the clock
    offset, and multipath with frames scaled to unit power, which lifts the band's edges over its
    middle, by 1.2 dB at a delay spread of 2 samples, measured.
    """
    frequency = frequency.double()
    rolloffs = _rolloffs(channel.rolloff_range)
    deviations = torch.linspace(-4, 4, 81, dtype=torch.float64)
    weights = torch.exp(-deviations.square() / 2)
    density = torch.zeros_like(frequency).flatten()
    for offset, weight in zip(channel.carrier_offset_std * deviations, weights, strict=True):
        shifted = (frequency.flatten() - offset + 0.5) % 1 - 0.5
        symbol_rates = shifted.abs() * channel.samples_per_symbol
        density += weight * root_raised_cosine(symbol_rates, rolloffs).square().mean(0)
    density *= channel.samples_per_symbol / weights.sum()
    density = density.view(frequency.shape)
    density += 10 ** (-snr_db / 10) * noise_density(frequency, channel.noise_tilt_db)
    if channel.receive_bandwidth:
        density *= receive_response(frequency, channel.receive_bandwidth).square()
    return density


def in_band_noise_db(channel: Channel) -> float:
    """Return by how many dB the noise's density in the signal's band lies above the label's.

    The density is that behind the matched filter: weighted by the raised cosine, averaged over the
    channel's roll-offs. It is what a receiver can know: the label less this is signal power over
    (that density times the sampling rate). It is 0 for white noise. A receive filter changes
    nothing, as long as its pass band holds the signal's band: what it removes elsewhere takes
    noise power away that no frame shows, so the label's total cannot be known from the frame.
    """
    frequency = (torch.arange(4096, dtype=torch.float64) + 0.5) / 8192  # 0..0.5 cycles/sample
    rolloffs = _rolloffs(channel.rolloff_range)
    weight = root_raised_cosine(frequency * channel.samples_per_symbol, rolloffs).square().mean(0)
    excess = (noise_density(frequency, channel.noise_tilt_db) - 1) @ weight / weight.sum()
    return 10 * log10(1 + excess.item())


def oversampled_kurtosis(
    modulation: str,
    rolloff: float | tuple[float, float] = Channel.rolloff,
    rings: Mapping[str, Rings] = DVB_RINGS,
) -> float:
    """Return E|x|^4 / (E|x|^2)^2 of a noise-free linear modulation, over all times of a symbol.

    ``rolloff`` is that of its root-raised-cosine pulses g; a range gives the mean over it. The
    symbols are independent, with mean m and, about it, unit variance and cumulants C20 and C42.
    Their sum x has, at a time t of the symbol, the mean m sum g, the second moments p = sum g^2 and
    C20 p, and the fourth cumulant C42 sum g^4, the sums over the pulses g(t - kT). The two parts of
    OQPSK are binary signals, half a symbol apart.

    Raises InputError for GMSK, whose envelope is constant, and for a name that is no class.
    """
    points = alphabet(modulation, rings)
    mean = points.mean()
    power = (points - mean).abs().square().mean()  # about the mean
    c20, c42 = cumulants(points)["C20"], cumulants(points)["C42"].real

    g = _pulses(_rolloffs(Channel(rolloff=rolloff).rolloff_range))
    p = g.square().sum(1)
    if modulation == "OQPSK":
        second = p
        fourth = 1.5 * p**2 - g.pow(4).sum(1) + 0.5 * p * p.roll(p.shape[1] // 2, 1)
    else:
        steady = (mean.abs() * g.sum(1)).square()
        turned = (mean.conj() ** 2 * c20).real * g.sum(1).square()
        second = steady + power * p
        fourth = steady**2 + (4 * steady + 2 * turned) * power * p
        fourth += power**2 * ((2 + c20.abs().square()) * p**2 + c42 * g.pow(4).sum(1))
    return (fourth.mean(1) / second.mean(1).square()).mean().item()


def _rolloffs(low_high: tuple[float, float]) -> Tensor:
    """Return roll-offs spread evenly over a range, float64 [roll-off, 1]."""
    low, high = low_high
    steps = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    return (low + (high - low) * steps).unsqueeze(1)


def _pulses(rolloffs: Tensor) -> Tensor:
    """Return root-raised-cosine pulses, float64 [roll-off, symbol, time within a symbol]."""
    # The fourth power of a pulse holds less than 8 symbol rates; an odd number of symbols has no
    # bin on half a symbol rate, the very edge of a brick wall.
    symbols, times = 255, 8
    frequency = torch.fft.fftfreq(symbols * times, dtype=torch.float64) * times
    pulses = torch.fft.ifft(root_raised_cosine(frequency.abs(), rolloffs)).real
    return pulses.unflatten(1, (symbols, times))
