"""How often genie classifiers are right: Monte Carlo over samples whose timing is known.

SNRs are in dB per sample of a frame; Es/N0 is 10 log10(samples per symbol) more, 9.03 dB at 8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log10, pi
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from modsnr import InputError
from modsnr.limits.classifiers import FRAMES_AT_A_TIME, average_log_likelihood
from modsnr.signals import DVB_RINGS, Rings, Told, alphabet, root_raised_cosine

# (modulation int [frame], SNR in dB [frame], generator) -> samples and late ones, complex64
# [frame, symbol], as ``average_log_likelihood`` takes them.
Draw = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]

# SNRs are left out of the search whose likelihood, by the noise outside the band alone, is below
# exp(-150) of the largest. On a grid of 2 dB, of 1,008 samples, the true SNR and its neighbours
# stay: two thirds of the work spared.
BELIEVABLE = 150.0


class Accuracy(NamedTuple):
    """Shares of frames that were judged rightly, and their 95 % intervals (Wilson's), [SNR]."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, right: Tensor) -> Accuracy:
        """Count ``right``, bool [SNR, frame]."""
        shares = [
            stats.binomtest(int(row.sum()), len(row)).proportion_ci(0.95, "wilson") for row in right
        ]
        return cls(
            right.double().mean(1).numpy(force=True),
            np.array([share.low for share in shares]),
            np.array([share.high for share in shares]),
        )


class JointAccuracy(NamedTuple):
    """How often the modulation was right, the SNR, and both."""

    modulation: Accuracy
    snr: Accuracy
    joint: Accuracy


def genie_accuracy(
    classes: Sequence[str],
    snrs_db: Sequence[float],
    *,
    symbols: int = 126,
    frames: int = 200,
    generator: torch.Generator,
    samples_per_symbol: int = 8,
    draw: Draw | None = None,
    likelihood: Callable[..., Tensor] = average_log_likelihood,
) -> Accuracy:
    """Return how often the most likely class is the true one, [SNR].

    ``frames`` are drawn of each class at each of ``snrs_db``, which the classifier knows. They come
    from ``draw``, by default ``symbol_samples`` of so many ``symbols``; ``likelihood`` is
    ``average_log_likelihood`` or whatever takes its arguments and gives scores [frame, class].
    """
    snrs = _grid(snrs_db, frames)
    draw = draw or _direct(classes, symbols, samples_per_symbol)
    right = []
    for snr in snrs:
        modulation = torch.arange(len(classes), device=generator.device).repeat(frames)
        snr_db = snr.to(generator.device).expand(len(modulation))
        samples, late = draw(modulation, snr_db, generator)
        es_n0_db = snr_db + 10 * log10(samples_per_symbol)
        scores = likelihood(samples, es_n0_db, classes, late=late)
        right.append(scores.argmax(1) == modulation)
    return Accuracy.of(torch.stack(right))


def joint_genie_accuracy(
    classes: Sequence[str],
    snrs_db: Sequence[float],
    *,
    symbols: int = 126,
    frames: int = 200,
    generator: torch.Generator,
    samples_per_symbol: int = 8,
) -> JointAccuracy:
    """Return how often the most likely pair of class and SNR has the true class, SNR, and both.

    The pair is sought over ``classes`` x ``snrs_db`` by one likelihood, that of the whole frame of
    ``symbols`` x ``samples_per_symbol`` samples: white noise beside the symbols' pulses, whose
    energy tells its power, and along them what ``average_log_likelihood`` says. Phase, timing
    and the symbols' mean power are known.
    """
    snrs = _grid(snrs_db, frames)
    if samples_per_symbol < 2:
        raise InputError(
            f"At least 2 samples a symbol are wanted, to hold its pulse; there are "
            f"{samples_per_symbol}."
        )
    device = generator.device
    outside = symbols * (samples_per_symbol - 2)  # dimensions beyond two symbol rates: only noise
    gain = 10 * log10(samples_per_symbol)
    modulation = torch.arange(len(classes), device=device).repeat(frames)
    right_modulation, right_snr = [], []
    for place, snr in enumerate(snrs.tolist()):
        es_n0_db = torch.full((len(modulation),), snr + gain, device=device)
        samples, late, energy = _ring(
            modulation, es_n0_db, classes, symbols=symbols, generator=generator
        )
        noise = [
            torch.randn(len(rows), 2 * outside, generator=generator, device=device).square().sum(1)
            for rows in modulation.split(FRAMES_AT_A_TIME)
        ]
        floor = torch.cat(noise).double() / 2 * 10 ** (-(snr + gain) / 10)
        beside = floor + energy - samples.abs().double().square().sum(1)
        precision = torch.pow(10.0, (snrs.to(device).double() + gain) / 10)
        by_floor = outside * precision.log() - precision * floor.unsqueeze(1)
        believable = by_floor >= by_floor.amax(1, keepdim=True) - BELIEVABLE
        pairs = torch.full(
            (len(modulation), len(snrs), len(classes)), -torch.inf, dtype=torch.float64,
            device=device,
        )  # fmt: skip
        for candidate, weight in enumerate(precision):
            rows = believable[:, candidate].nonzero().flatten()
            scores = average_log_likelihood(
                samples[rows], 10 * weight.log10(), classes, late=late[rows]
            )
            shared = symbols * samples_per_symbol * weight.log() - weight * beside[rows]
            pairs[rows, candidate] = scores + shared.unsqueeze(1)
        best = pairs.flatten(1).argmax(1)
        right_modulation.append(best % len(classes) == modulation)
        right_snr.append(best // len(classes) == place)
    modulations, places = torch.stack(right_modulation), torch.stack(right_snr)
    return JointAccuracy(*map(Accuracy.of, (modulations, places, modulations & places)))


def symbol_samples(
    modulation: Tensor,
    es_n0_db: Tensor,
    classes: Sequence[str],
    *,
    symbols: int,
    generator: torch.Generator,
    rolloff: float = 0.25,
    turn_std: float = 0.0,
    rings: Mapping[str, Rings] = DVB_RINGS,
) -> tuple[Tensor, Tensor]:
    """Return a matched filter's output at the symbols and half a symbol later.

    Complex64 [frame, symbol] each. ``modulation`` is int [frame] into ``classes``, ``es_n0_db``
    float [frame]. The symbols, of unit mean power, stand in a ring: block for block an endless
    signal whose pulses are raised cosines of ``rolloff`` after the filter, the noise's spectrum
    too. At the symbols the signal is the symbols alone, and the noise white; half a symbol later
    this holds for OQPSK's quadrature. The carrier turns steadily, by N(0, ``turn_std``) cycles a
    symbol, and through phase 0 in the middle.
    """
    samples, late, _ = _ring(
        modulation, es_n0_db, classes, symbols=symbols, generator=generator, rolloff=rolloff,
        turn_std=turn_std, rings=rings,
    )  # fmt: skip
    return samples, late


def frame_samples(
    iq: Tensor, told: Told, *, symbols: int, carrier_known: bool = True
) -> tuple[Tensor, Tensor]:
    """Return the matched filter's output at the middle symbols of frames and half a symbol later.

    Complex64 [frame, symbol] each, over the symbols' amplitude, from ``iq``, complex64 [frame,
    sample], and what ``simulate_and_tell`` says of it: timing, clock, roll-off, phase, amplitude,
    carrier. Without ``carrier_known`` only the phase in the frame's middle is known. The frame is
    taken as periodic: near its ends the pulses are cut, and symbols disturb one another.

    Raises InputError for more symbols than the frame holds.
    """
    samples = iq.shape[1]
    earliest = (-told.first / told.period).ceil()
    held = ((samples - 1 - told.first) / told.period).floor() - earliest + 1
    if not 1 <= symbols <= held.min():
        raise InputError(f"1 to {int(held.min())} symbols lie in each frame; {symbols} are wanted.")
    earliest += ((held - symbols) / 2).floor()
    time = torch.arange(samples, device=iq.device, dtype=torch.float32)
    turned = (
        2
        * pi
        * told.carrier_offset.unsqueeze(1)
        * (time if carrier_known else torch.full_like(time, samples / 2))
    )
    angle = told.phase.unsqueeze(1) + turned
    still = iq * torch.polar(1 / told.amplitude.unsqueeze(1).expand_as(angle), -angle)

    # Only the bins of the signal's band are summed, at the exact times of the symbols.
    edge = int(samples * ((1 + told.rolloff.max()) / 2 / told.period.min()).item()) + 1
    bins = torch.arange(-edge, edge + 1, device=iq.device)
    frequency = bins.float() / samples
    response = root_raised_cosine(
        frequency.abs() * told.period.unsqueeze(1), told.rolloff.unsqueeze(1)
    )
    spectrum = torch.fft.fft(still)[:, bins % samples] * response / samples
    half = torch.arange(2 * symbols, device=iq.device) / 2
    peaks = told.first.unsqueeze(1) + told.period.unsqueeze(1) * (earliest.unsqueeze(1) + half)
    found = []
    for part, times in zip(spectrum.split(64), peaks.split(64), strict=True):
        turns = 2 * pi * (frequency.view(1, -1, 1) * times.unsqueeze(1))
        waves = torch.polar(torch.ones_like(turns), turns)
        found.append((part.unsqueeze(1) @ waves).squeeze(1))
    at_symbols, late = torch.cat(found).unflatten(1, (symbols, 2)).unbind(2)
    return at_symbols, late


def _ring(
    modulation: Tensor,
    es_n0_db: Tensor,
    classes: Sequence[str],
    *,
    symbols: int,
    generator: torch.Generator,
    rolloff: float = 0.25,
    turn_std: float = 0.0,
    rings: Mapping[str, Rings] = DVB_RINGS,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what ``symbol_samples`` does, and the energy that came in, float64 [frame].

    The energy is that before the filter, within two symbol rates, in units of the samples'
    squares: what of it is not in the samples lies in as many dimensions beside them.
    """
    device, frames = generator.device, len(modulation)
    sent = torch.zeros(frames, symbols, 2, dtype=torch.complex64, device=device)
    for column, name in enumerate(classes):
        rows = (modulation == column).nonzero().flatten()
        points = alphabet(name, rings).to(device, torch.complex64)
        draw = torch.randint(len(points), (len(rows), symbols), generator=generator, device=device)
        chosen = points[draw]
        if name == "OQPSK":
            sent[rows, :, 0], sent[rows, :, 1] = chosen.real + 0j, 1j * chosen.imag
        else:
            sent[rows, :, 0] = chosen
    frequency = torch.fft.fftfreq(2 * symbols, device=device).abs() * 2  # symbol rates
    response = root_raised_cosine(frequency, rolloff)
    noise = torch.randn(
        frames, 2 * symbols, dtype=torch.complex64, generator=generator, device=device
    )
    # The raised cosine's mean over the two symbol rates is a half.
    sigma = torch.pow(10.0, -es_n0_db / 20).unsqueeze(1) * 2**0.5
    spectrum = 2 * response * torch.fft.fft(sent.flatten(1)) + sigma * torch.fft.fft(noise)
    energy = spectrum.abs().double().square().sum(1) / (4 * symbols)
    received = torch.fft.ifft(spectrum * response)
    turns = turn_std * torch.randn(frames, 1, generator=generator, device=device)
    time = (torch.arange(2 * symbols, device=device) - symbols) / 2
    angle = 2 * pi * turns * time
    received = received * torch.polar(torch.ones_like(angle), angle)
    samples, late = received.view(frames, symbols, 2).unbind(2)
    return samples, late, energy


def _direct(classes: Sequence[str], symbols: int, samples_per_symbol: int) -> Draw:
    gain_db = 10 * log10(samples_per_symbol)

    def draw(modulation: Tensor, snr_db: Tensor, generator: torch.Generator):
        return symbol_samples(
            modulation, snr_db + gain_db, classes, symbols=symbols, generator=generator
        )

    return draw


def _grid(snrs_db: Sequence[float], frames: int) -> Tensor:
    snrs = torch.tensor(snrs_db, dtype=torch.float32)
    if not len(snrs) or not snrs.isfinite().all() or frames < 1:
        raise InputError(
            f"Finite SNRs and at least one frame each are wanted; there are {list(snrs_db)} dB and "
            f"{frames} frames."
        )
    return snrs
