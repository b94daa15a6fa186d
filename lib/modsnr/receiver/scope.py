"""What does not fit in a frame: traits of it beside what the receiver's model of it expects.

The model is one linearly modulated signal, of the symbols of a known alphabet, behind the paths
that were found, in Gaussian noise. What frames outside of it do not share with those inside are the
signal's spectrum, the noise's, lines in either, the envelope, the line at the symbol rate and the
symbols' likelihood. Each trait is a goodness of fit, or a moment of which the noise's part is taken
off. Noise beside the signal is compared with the noise that was found, up to the edge of a receive
filter: neither a tilt nor a filter is a trait. What is usual of a trait is learned from known
frames, as ``metrics.familiar`` does it.
"""

from __future__ import annotations

from functools import lru_cache
from math import pi
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from modsnr.receiver.clock import resample
from modsnr.receiver.likelihood import ALPHABETS
from modsnr.receiver.multipath import responses
from modsnr.receiver.noise import DB, HALF_BAND, density_at, noise_of
from modsnr.receiver.posterior import posterior
from modsnr.receiver.receiving import Received, receive
from modsnr.receiver.spectrum import periodogram, power, shift
from modsnr.receiver.timing import EDGE_SYMBOLS, SAMPLES_PER_SYMBOL, matched
from modsnr.signals import (
    STUDY_CLASSES,
    alphabet,
    root_raised_cosine,
    simulate_condition,
    unknown,
)

BANDS = 20  # of the signal's band, in which its spectrum is compared, and
SIDE_BANDS = 32  # of the sampled band beside it
ROLLOFFS = (0.02, 0.05, *(each / 20 for each in range(2, 11)), 0.6)  # the likeliest is taken
FLAT = 0.4  # symbol rates: the spectrum's part where a line is looked for
LEAST_SIDE = 16  # bins of noise; with less, it fits
LEVELS_DB = tuple(range(-24, 18, 2))  # of symbols' noise, at which likelihoods are expected
WITHIN_DB = (-22.0, 16.0)  # the receiver's alphabets know no other noise
AT_A_TIME = 512  # frames, which bounds memory
DRAWS = 4096  # of symbols, for what is expected
FLOOR = 0.3  # mean powers added to the power before its logarithm
LEAST_LINE, LEAST_MISFIT = 1e-3, 0.5  # before their logarithms
TRAITS = (  # the logarithms, but for the likelihood
    "misfit of the signal's spectrum",
    "misfit of the noise's spectrum",
    "strongest line beside the signal",
    "strongest line in the signal's band",
    "E|s|^4 / (E|s|^2)^2 in the band",
    "line at the symbol rate",
    "likelihood of the symbols less the expected one, deviations",
)


class Seen(NamedTuple):
    """What is known of frames without their labels; all are numpy arrays [frame, ...]."""

    traits: np.ndarray  # float32 [frame, trait]
    modulation: np.ndarray  # int64, the likeliest of the study's
    snr_db: np.ndarray
    deviation_db: np.ndarray  # one standard deviation of the SNR


def seen(iq: Tensor, found: Received) -> Seen:
    """Return what ``receive`` found in frames, complex [frame, sample], and their ``traits``."""
    likeliest = found.log_likelihood.argmax(1)
    columns = traits(iq, found), likeliest, found.snr_db, found.snr_deviation_db
    return Seen(*(column.numpy(force=True) for column in columns))


def usual(snrs_db: np.ndarray, frames: int, *, seed: int) -> tuple[Seen, np.ndarray]:
    """Return what is ``seen`` of frames of the study's modulations, and these, int64 [frame].

    There are ``frames`` of each modulation and SNR, under the condition "everyday".
    """
    modulation = np.repeat(np.arange(len(STUDY_CLASSES)), len(snrs_db) * frames)
    snr_db = np.tile(np.repeat(snrs_db, frames), len(STUDY_CLASSES))
    return _received(simulate_condition("everyday", modulation, snr_db, seed=seed)), modulation


def unusual(kind: str, snrs_db: np.ndarray, frames: int = 4, *, seed: int) -> Seen:
    """Return what is ``seen`` of signals of ``signals.UNKNOWN_KINDS``, ``frames`` an SNR."""
    generator = torch.Generator().manual_seed(seed)
    snr_db = torch.as_tensor(np.repeat(snrs_db, frames), dtype=torch.float32)
    return _received(unknown(kind, snr_db, generator=generator).numpy())


def _received(iq: np.ndarray) -> Seen:
    pieces = [seen(piece, receive(piece)) for piece in torch.from_numpy(iq).split(AT_A_TIME)]
    return Seen(*map(np.concatenate, zip(*pieces, strict=True)))


def traits(iq: Tensor, found: Received) -> Tensor:
    """Return what is unlike the receiver's model of frames, float32 [frame, trait], all finite.

    ``iq`` is complex [frame, sample], what was received, and ``found`` what ``receive`` made of it.
    The columns are ``TRAITS``; none depends on scale or phase.
    """
    scale = iq.abs().square().mean(1, keepdim=True).sqrt()
    iq = (iq / scale).to(torch.complex64)
    columns = (*_spectral(iq, found), _peakedness(iq, found), _line(found), _likelihood(found))
    return torch.stack(columns, 1)


def _spectral(iq: Tensor, found: Received) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the first four traits, [frame] each: bins are exponential about the model's mean."""
    noise = noise_of(iq, found.carrier)._replace(centre=-found.carrier)
    clocked = resample(shift(iq, found.carrier), found.clock)
    frequency = torch.fft.fftfreq(iq.shape[1], device=iq.device)
    passed = (frequency + found.carrier.unsqueeze(1)).abs() < noise.edge.unsqueeze(1)
    density = density_at(noise, frequency)
    relative = periodogram(clocked) / density
    inside = (frequency.abs() < HALF_BAND).nonzero().flatten()
    beside = (frequency.abs() >= HALF_BAND).nonzero().flatten()

    bands = ((frequency[inside] / HALF_BAND + 1) / 2 * BANDS).long().clamp(max=BANDS - 1)
    rates = frequency[inside] * SAMPLES_PER_SYMBOL
    path = power(responses(found.taps, torch.zeros_like(found.carrier), rates))
    strength = (noise.signal.clamp(min=0) / noise.density).unsqueeze(1)
    seen, best = passed[:, inside].float(), torch.full_like(found.carrier, torch.inf)
    counts = _summed(seen, bands, BANDS)
    power_in, flat = relative[:, inside] * density[:, inside], rates.abs() < FLAT
    observed = _summed(power_in * seen, bands, BANDS)
    line = torch.zeros_like(best)
    for rolloff in ROLLOFFS:
        shape = path * root_raised_cosine(rates.abs(), rolloff).square()
        shape = shape * (iq.shape[1] / shape.sum(1, keepdim=True).clamp(min=1e-9))
        model = (density[:, inside] + noise.density.unsqueeze(1) * strength * shape) * seen
        misfit = _misfit(observed, _summed(model, bands, BANDS), counts)
        most = (power_in / model.clamp(min=1e-9) * seen * flat).amax(1)
        line = torch.where(misfit < best, most, line)
        best = torch.minimum(misfit, best)

    bands = ((frequency[beside] + 0.5) * SIDE_BANDS).long().clamp(max=SIDE_BANDS - 1)
    seen = passed[:, beside].float()
    total = seen.sum(1, keepdim=True).clamp(min=1)
    rest = relative[:, beside] * seen
    level = rest.sum(1, keepdim=True) / total
    counts = _summed(seen, bands, SIDE_BANDS)
    aside = _misfit(_summed(rest, bands, SIDE_BANDS), level * counts, counts)
    spur = rest.amax(1) / level[:, 0].clamp(min=1e-9) / total[:, 0].log().clamp(min=1)
    few = total[:, 0] < LEAST_SIDE
    aside, spur = (torch.where(few, 1.0, each) for each in (aside, spur))
    best, aside = (each.clamp(min=LEAST_MISFIT).log() for each in (best, aside))
    spur, line = (each.clamp(min=LEAST_LINE).log() for each in (spur, line))
    return best, aside, spur, line


def _summed(values: Tensor, bands: Tensor, count: int) -> Tensor:
    """Return the sums of values [frame, bin] in bands [bin], [frame, count]."""
    return values.new_zeros(len(values), count).index_add(1, bands, values)


def _misfit(observed: Tensor, model: Tensor, counts: Tensor) -> Tensor:
    """Return the deviance of energies in bands from a model's, a band: about 1 where it is right.

    All are [frame, band]. Sums of n exponential variables have 2 n (q - 1 - log q), q the observed
    over the expected, which is near to chi square of one degree of freedom.
    """
    ratio = (observed / model.clamp(min=1e-9)).clamp(min=1e-9)
    deviance = torch.where(counts > 0, 2 * counts * (ratio - 1 - ratio.log()), 0.0)
    return deviance.sum(1) / (counts > 0).sum(1).clamp(min=1)


def _peakedness(iq: Tensor, found: Received) -> Tensor:
    """Return the log of the fourth moment of the signal in the band, without the noise's part."""
    near = shift(iq, found.carrier)
    inside = torch.fft.fftfreq(iq.shape[1], device=iq.device).abs() < HALF_BAND
    envelope = power(torch.fft.ifft(torch.fft.fft(near) * inside))
    mean = envelope.mean(1)
    noise = 2 * HALF_BAND / (1 + 10 ** (found.snr_db / 10))
    signal = (mean - noise).clamp(min=0.05 * mean)
    fourth = envelope.square().mean(1) - 4 * signal * noise - 2 * noise.square()
    return (fourth / signal.square()).clamp(0.5, 8).log()


def _line(found: Received) -> Tensor:
    """Return the log of the line of the envelope's logarithm at the symbol rate.

    Of what seems to be OQPSK, whose envelope has none, it is that of the square, which has two.
    """
    symbols = torch.fft.ifft(matched(found.iq, found.rolloff))
    envelope = power(symbols)
    mean = envelope.mean(1, keepdim=True)
    square = symbols.square() / mean
    envelope = (envelope / mean + FLOOR).log()
    envelope = envelope - envelope.mean(1, keepdim=True)
    time = torch.arange(envelope.shape[1], device=envelope.device) / SAMPLES_PER_SYMBOL
    wave = torch.polar(torch.ones_like(time), -2 * pi * time)
    strength = (envelope * wave).mean(1).abs() / envelope.std(1).clamp(min=1e-9)
    pair = (square * wave).mean(1).abs() * (square * wave.conj()).mean(1).abs()
    staggered = found.log_likelihood.argmax(1) == STUDY_CLASSES.index("OQPSK")
    strength = torch.where(staggered, pair.sqrt(), strength)
    return strength.clamp(min=LEAST_LINE).log()


def _likelihood(found: Received) -> Tensor:
    """Return the log-likelihood of the best alphabet less its mean, over its deviation.

    In weak noise it falls by a neper a symbol for each by which the noise is taken for too weak.
    """
    best, which = found.log_likelihood.max(1)
    symbols = found.iq.shape[1] // SAMPLES_PER_SYMBOL - 2 * EDGE_SYMBOLS
    share = found.share.clamp(1e-4, 1 - 1e-4)
    level = (10 * (share / (1 - share)).log10()).clamp(*WITHIN_DB)
    place = (level - LEVELS_DB[0]) / (LEVELS_DB[1] - LEVELS_DB[0])
    below = place.long().clamp(max=len(LEVELS_DB) - 2)
    part = place - below
    mean, variance = (
        each[below, which] * (1 - part) + each[below + 1, which] * part
        for each in _expected(found.iq.device)
    )
    doubt = symbols * found.snr_deviation_db / DB
    return (best - symbols * mean) / (symbols * variance + doubt.square()).sqrt()


@lru_cache(maxsize=2)
def _expected(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and variance of a symbol's log-likelihood, float32 [level, class] each.

    Symbols of OQPSK are pairs of halves, each as likely as those of QPSK.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.pow(10.0, torch.tensor(LEVELS_DB) / 10).unsqueeze(1).expand(-1, len(ALPHABETS))
    unit = torch.randn(len(ALPHABETS), DRAWS, dtype=torch.complex64, generator=generator)
    points = [alphabet(name).to(torch.complex64) for name in ALPHABETS]
    sent = torch.stack([each[torch.arange(DRAWS) % len(each)] for each in points])
    received = sent + unit * noise.sqrt().unsqueeze(2)
    seen = posterior(received, noise.contiguous()).log_likelihood
    # The mean of |unit|^2 is 1: as a control variate it takes most of the draws' chance away.
    mean, variance = (seen + power(unit)).mean(2) - 1, seen.var(2)
    linear = ["QPSK" if name == "OQPSK" else name for name in STUDY_CLASSES]
    columns = [ALPHABETS.index(name) for name in linear]
    return mean[:, columns].to(device), variance[:, columns].to(device)
