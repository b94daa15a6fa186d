"""A frame's carrier and roll-off, from its spectrum.

The periodogram's bins are exponential variables about the power density: of the noise, and of a
raised cosine about the carrier (Whittle 1953). Behind multipath the spectrum is also tilted, so the
cosines come with tilts. What is found is the mean and deviation of the carrier's posterior.
"""

from __future__ import annotations

from functools import lru_cache
from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from modsnr.receiver.noise import Noise, density_at
from modsnr.receiver.spectrum import periodogram
from modsnr.signals import root_raised_cosine

PIECE = 1024  # samples of a periodogram; those of a longer frame are averaged
KEPT = 256  # of its bins: a quarter of the sampled band
REACH = 0.04  # cycles/sample
PRIOR_DEVIATION = 0.02  # cycles/sample
ROLLOFFS = (0.1, 0.2, 0.3, 0.4)
TILTS = ((-3.0, 0.05), (-1.5, 0.15), (0.0, 0.6), (1.5, 0.15), (3.0, 0.05))  # nepers a rate, prior
SNR_STEP_DB, SNR_STEPS = 3.0, 17  # of the signal's density over the noise's, from 0 dB on
TEMPER = 2.5  # the likelihood's divisor: symbols are not Gaussian, channels not exponential
LEAST_DEVIATION = 0.0007  # cycles/sample, what channels do that the templates do not have


class Coarse(NamedTuple):
    """A carrier found by ``coarse_carrier``, each float32 [frame]."""

    offset: Tensor  # cycles/sample
    deviation: Tensor  # cycles/sample, one standard deviation
    rolloff: Tensor


def coarse_carrier(iq: Tensor, noise: Noise) -> Coarse:
    """Return the carrier of frames complex [frame, sample] within ``REACH``, and the roll-off.

    ``noise`` is that of the same frames.
    """
    weights, constants, priors, rolloffs = _templates(iq.device)
    frequency = _frequencies(iq.device)
    half = KEPT // 2
    density = _density(iq)
    kept = torch.cat([density[:, :half], density[:, -half:]], 1)
    relative = kept / density_at(noise, frequency)
    stopped = frequency.abs() > noise.edge.unsqueeze(1)
    relative = torch.where(stopped, 1.0, relative)
    level = 10 * (8 * noise.signal / noise.density).clamp(min=1e-3).log10()
    step = (level / SNR_STEP_DB).round().nan_to_num(0).clamp(0, SNR_STEPS - 1).long()
    near = (frequency.abs() <= REACH).nonzero().flatten()
    scores = torch.fft.irfft(torch.fft.rfft(relative).unsqueeze(1) * weights[step], n=KEPT)
    scores = (scores - constants[step].unsqueeze(2))[..., near] * (iq.shape[1] / PIECE / TEMPER)
    scores = scores + priors.view(-1, 1) - (frequency[near] / PRIOR_DEVIATION).square() / 2
    posterior = scores.flatten(1).softmax(1).view(scores.shape).nan_to_num(0)
    places = posterior.sum(1)
    offset = places @ frequency[near]
    variance = (places * (frequency[near] - offset.unsqueeze(1)).square()).sum(1)
    deviation = (variance + LEAST_DEVIATION**2).sqrt()
    return Coarse(offset, deviation, posterior.sum(2) @ rolloffs)


def _density(iq: Tensor) -> Tensor:
    """Return periodograms of PIECE bins, averaged over pieces of frames longer than that."""
    pieces = -(-iq.shape[1] // PIECE)
    if pieces == 1:
        return periodogram(iq, PIECE)
    starts = torch.linspace(0, iq.shape[1] - PIECE, pieces).long().tolist()
    return torch.stack([periodogram(iq[:, s : s + PIECE]) for s in starts]).mean(0)


def _frequencies(device: torch.device) -> Tensor:
    return torch.fft.fftfreq(KEPT, PIECE / KEPT, device=device)


@lru_cache(maxsize=8)
def _templates(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return weights' transforms [step, template, line], constants, log priors, roll-offs."""
    rates = _frequencies(torch.device("cpu")) * 8
    shapes, priors, rolloffs = [], [], []
    for tilt, share in TILTS:
        for rolloff in ROLLOFFS:
            shape = root_raised_cosine(rates.abs(), rolloff).square() * torch.exp(tilt * rates)
            shapes.append(shape / shape.sum() * (PIECE / 8))
            priors.append(log(share / len(ROLLOFFS)))
            rolloffs.append(rolloff)
    levels = 10 ** (SNR_STEP_DB / 10 * torch.arange(SNR_STEPS))
    power = levels.view(-1, 1, 1) * torch.stack(shapes)
    weights = torch.fft.rfft(power / (1 + power)).conj()
    constants = power.log1p().sum(2)
    found = weights, constants, torch.tensor(priors), torch.tensor(rolloffs)
    return tuple(each.to(device) for each in found)  # type: ignore[return-value]
