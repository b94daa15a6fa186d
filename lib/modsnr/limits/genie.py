"""How often genie classifiers are right: Monte Carlo over samples whose timing is known.

SNRs are in dB per sample of a frame; Es/N0 is 10 log10(samples per symbol) more, 9.03 dB at 8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10, pi
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from modsnr.limits.classifiers import log_likelihood
from modsnr.signals import DVB_RINGS, alphabet, root_raised_cosine
from modsnr.signals.alphabets import Rings

CERTAIN = 1 - 1e-5  # an accuracy from which on a curve is 1


def genie_accuracy(
    classes: Sequence[str],
    snrs_db: Sequence[float],
    *,
    symbols: int = 126,
    frames: int = 200,
    generator: torch.Generator,
    samples_per_symbol: int = 8,
    any_phase: bool = False,
) -> np.ndarray:
    """Return how often the most likely class is the true one, float64 [SNR].

    ``frames`` of so many ``symbols`` are drawn of each class at each of ``snrs_db``, which the
    classifier knows; ``any_phase``: it has to find the phase.
    """
    modulation = torch.arange(len(classes), device=generator.device).repeat(frames)
    gain_db = 10 * log10(samples_per_symbol)
    accuracy = []
    for snr_db in torch.tensor(snrs_db, dtype=torch.float32, device=generator.device):
        es_n0_db = snr_db.expand(len(modulation)) + gain_db
        samples, late = symbol_samples(
            modulation, es_n0_db, classes, symbols=symbols, generator=generator
        )
        scores = log_likelihood(samples, es_n0_db, classes, late=late, any_phase=any_phase)
        accuracy.append(float((scores.argmax(1) == modulation).double().mean()))
    return np.array(accuracy)


class Curve(NamedTuple):
    """A genie's accuracy over Es/N0 and its standard error, float64 [point] each."""

    es_n0_db: np.ndarray
    accuracy: np.ndarray
    error: np.ndarray


def accuracy_curve(
    classes: Sequence[str],
    es_n0_db: Sequence[float],
    *,
    symbols: int,
    frames: int,
    generator: torch.Generator,
    rings: Mapping[str, Rings] = DVB_RINGS,
) -> Curve:
    """Return how often a genie is right that knows all but class and symbols, over Es/N0.

    ``frames`` of so many ``symbols`` are drawn of each class at each of ``es_n0_db``, ascending.
    Classes are equally likely, so the greatest posterior probability of a frame is the chance that
    its class is the true one: the mean of these is the accuracy, from a third of the frames that
    counting hits needs. Where one class is ``CERTAIN``, it is so at every higher Es/N0.
    """
    modulation = torch.arange(len(classes), device=generator.device).repeat(frames)
    found = np.ones((len(es_n0_db), 2)) * [1.0, 0.0]
    for row, level in zip(found, es_n0_db, strict=True):
        levels = torch.full((len(modulation),), float(level), device=generator.device)
        samples, late = symbol_samples(
            modulation, levels, classes, symbols=symbols, generator=generator, rings=rings
        )
        scores = log_likelihood(samples, levels, classes, late=late, rings=rings)
        certainty = scores.double().softmax(1).amax(1)
        if certainty.mean() > CERTAIN:
            break
        row[:] = certainty.mean().item(), certainty.std().item() / len(certainty) ** 0.5
    return Curve(np.asarray(es_n0_db, np.float64), *found.T)


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
    float [frame]. The symbols, of unit mean power, stand in a ring, an endless signal whose pulses
    are raised cosines of ``rolloff`` after the filter, as is the noise's spectrum. At the symbols
    the signal is the symbols alone, and the noise white; half a symbol later this holds for OQPSK's
    quadrature. The carrier turns by N(0, ``turn_std``) cycles a symbol, by none in the middle;
    ``rings`` are those of the APSK alphabets.
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
    received = torch.fft.ifft(spectrum * response)
    turns = turn_std * torch.randn(frames, 1, generator=generator, device=device)
    time = (torch.arange(2 * symbols, device=device) - symbols) / 2
    angle = 2 * pi * turns * time
    received = received * torch.polar(torch.ones_like(angle), angle)
    return received[:, ::2], received[:, 1::2]
