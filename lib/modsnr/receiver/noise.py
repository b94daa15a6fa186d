"""A frame's noise: its density in the signal's band, its tilt, and where a filter cuts it off.

The model: beside the signal there is Gaussian noise only, whose log density falls linearly in the
frequency's magnitude, as ``signals.noise_density`` has it, up to the edge of a receive filter. The
frame's ends spread the signal over all its bins, but over few dimensions: a band-limited signal
takes little more than its band's share of a frame's dimensions (Slepian 1978). What is outside the
band is projected off these few; the rest is noise alone, without the loss of a window.

A frame's SNR is its signal's power over the noise's density *in the signal's band* times the
sampling rate. That is the simulator's label where noise is white; what a filter removes elsewhere,
or a tilt adds there, does not matter.
"""

from __future__ import annotations

from functools import lru_cache
from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from modsnr.receiver.spectrum import circular, power, shift

DB = 10 / log(10)  # decibels in a neper of power
FARTHEST = 0.03  # cycles/sample, a carrier that is not known yet
HALF_BAND = 0.1  # cycles/sample: half the width of the band with a roll-off of 0.5, and some
HALF_RATE = 1 / 16  # cycles/sample: the band's part that decides symbols
BANDS = 64  # of the frequency's magnitude, over which the noise is fitted
NEAR, TRANSITION, EDGES = 6, 3, 2  # bands about a filter's edge, bands of one; edges looked for
STOPPED, TONE = 0.03, 2.0  # of the mean density: less is none; of that about: more is a tone
LEAST_FALL_DB, SURE = 2.0, 3.0  # of the density at an edge, and so many deviations more
TILT_DEVIATION = 1.0  # prior, nepers from frequency 0 to 0.5 cycles/sample
WHITE_ODDS, FILTER_ODDS = 300.0, 30.0  # prior, of white over tilted noise, bare and filtered
DOUBTED_ODDS = 15.0  # the same for the deviation, which allows for what a sharp prior ignores
FEWEST = 6  # dimensions of noise; with less, the SNR is UNSEEN_DB, give or take
UNSEEN_DB, UNSEEN_DEVIATION = 15.0, 2.0  # decibels, nepers
CLEAREST_DB = 50.0  # SNR; where it seems higher, a filter has taken all noise beside the band
STANDING_OUT = 4.0  # deviations of a power without signal
ROUNDS = 4  # of Newton's method
DRAWS, LEAST_LEAK = 64, 1e-5  # of signals whose ends are learned; energy of a dimension kept
SNR_RANGE_DB = (-30.0, 60.0)


class Noise(NamedTuple):
    """What is known of frames' noise and power, each float32 [frame]; see ``noise_of``."""

    density: Tensor  # power a sample that white noise of the density in the signal's band has
    signal: Tensor  # the signal's mean power; below 0 where noise makes it so
    tilt_db: Tensor  # by which the density falls from frequency 0 to 0.5 cycles/sample
    edge: Tensor  # cycles/sample: the pass band's end; 0.5 without a filter
    centre: Tensor  # cycles/sample: where the receiver's frequency 0 lies, the signal's being 0
    deviation: Tensor  # of the density's logarithm, nepers

    @property
    def share(self) -> Tensor:
        """The noise's share of the power of symbols after a matched filter at 8 samples each."""
        noise = self.density / 8
        return noise / (self.signal.clamp(min=0) + noise).clamp(min=1e-30)


def noise_of(iq: Tensor, carrier: Tensor | None = None) -> Noise:
    """Return the noise beside the signal's band, which lies about ``carrier``.

    ``iq`` is complex [frame, sample], any scale, the receiver's frequency 0 at 0; ``carrier`` is
    float [frame], cycles/sample, good to about 0.003; without one, it may lie anywhere within
    ``FARTHEST``, and less is seen. ``edge``, ``tilt_db`` and ``centre`` are about frequency 0 of
    ``iq``: where the carrier is shifted to 0 afterwards, ``centre`` moves with it.

    The density is a fit by maximum likelihood of energies, gamma distributed, in ``BANDS`` bands
    up to a filter's edge. It is the mean of that of white and of tilted noise, weighted by their
    evidence. Where a filter leaves nothing outside the band, as an SNR above ``CLEAREST_DB`` shows
    as well, it stands for an SNR of ``UNSEEN_DB``; ``deviation`` is then ``UNSEEN_DEVIATION``.
    """
    half = HALF_BAND if carrier is not None else HALF_BAND + FARTHEST
    outside, leak, dimensions = _outside(iq.shape[1], half, iq.device)
    turned = iq if carrier is None else shift(iq, carrier)
    offset = iq.real.new_zeros(len(iq)) if carrier is None else carrier
    spectrum = torch.fft.fft(turned) / iq.shape[1] ** 0.5
    total, beside = power(spectrum).sum(1), spectrum[:, outside]
    rest = power(beside - (beside @ leak.conj()) @ leak.T)

    frequency = torch.fft.fftfreq(iq.shape[1], device=iq.device)[outside]
    away = 2 * circular(frequency + offset.unsqueeze(1)).abs()
    band = (away * BANDS).long().clamp(max=BANDS - 1)
    empty = rest.new_zeros(len(iq), BANDS)
    energy = empty.scatter_add(1, band, rest)
    weight = empty.scatter_add(1, band, dimensions.expand_as(rest))
    last = _pass_bands(energy, weight)
    inside = torch.arange(BANDS, device=iq.device) < last.unsqueeze(1)
    level, tilt, deviation = _fit(energy * inside, weight * inside, _in_band(offset))

    density, mean = level.exp(), total / iq.shape[1]
    unseen = ((weight * inside).sum(1) < FEWEST) | (density < mean * 10 ** (-CLEAREST_DB / 10))
    density = torch.where(unseen, mean * 10 ** (-UNSEEN_DB / 10), density)
    deviation = torch.where(unseen, UNSEEN_DEVIATION, deviation)
    occupied = iq.shape[1] - dimensions.sum()
    signal = (total - rest.sum(1) - occupied * density) / iq.shape[1]
    edge = torch.where(unseen, last.clamp(max=int(HALF_BAND * 2 * BANDS)), last) * (0.5 / BANDS)
    tilt_db = torch.where(unseen, 0.0, -DB * tilt)
    return Noise(density, signal, tilt_db, edge, torch.zeros_like(offset), deviation)


def snr_db(noise: Noise) -> Tensor:
    """Return frames' SNR in dB, float32 [frame], held within ``SNR_RANGE_DB``.

    It is the signal's power over the noise's density in its band times the sampling rate. Frames
    without power give NaN.
    """
    low, high = (10 ** (db / 10) for db in SNR_RANGE_DB)
    return DB * (noise.signal / noise.density).clamp(low, high).log()


def snr_deviation_db(noise: Noise, samples: int) -> Tensor:
    """Return the standard deviation of ``snr_db`` in dB, float32 [frame], of frames so long.

    It is that of ``limits.tilted``, with the deviation of the density as it was found.
    """
    low, high = (10 ** (db / 10) for db in SNR_RANGE_DB)
    ratio = (noise.signal / noise.density).clamp(low, high)
    share = 2 * HALF_BAND / ratio
    variance = ((1 + share) * noise.deviation).square() + (2 + share) / (samples * ratio)
    return DB * variance.sqrt()


def present(noise: Noise, samples: int) -> Tensor:
    """Return whether a signal stands ``STANDING_OUT`` deviations out of the noise, bool [frame]."""
    occupied = 2 * HALF_BAND * samples
    chance = (occupied + (occupied * noise.deviation).square()).sqrt() / samples
    return noise.signal > STANDING_OUT * chance * noise.density


def density_at(noise: Noise, frequency: Tensor) -> Tensor:
    """Return the noise's power density, float32 [frame, bin], at ``frequency`` [bin], no filter."""
    away = circular(frequency - noise.centre.unsqueeze(1)).abs()
    rise = noise.tilt_db.unsqueeze(1) * (_in_band(noise.centre).unsqueeze(1) - 2 * away)
    return noise.density.unsqueeze(1) * (rise / DB).exp()


def levelled(iq: Tensor, noise: Noise) -> Tensor:
    """Return frames whose noise is white, of the density in the signal's band: as complex64 ``iq``.

    The signal's band, about frequency 0, stays. Outside it a tilt is taken back, and what a filter
    removed is filled with noise: the same for every frame, so that none depends on its neighbours.
    """
    frequency = torch.fft.fftfreq(iq.shape[1], device=iq.device)
    spectrum = torch.fft.fft(iq)
    beside = frequency.abs() > HALF_BAND
    gain = (noise.density.unsqueeze(1) / density_at(noise, frequency)).sqrt()
    result = torch.where(beside, spectrum * gain, spectrum)
    away = circular(frequency - noise.centre.unsqueeze(1)).abs()
    stopped = beside & (away > noise.edge.unsqueeze(1) - 1e-6) & (noise.edge < 0.5).unsqueeze(1)
    fill = _white(iq.shape[1], iq.device) * noise.density.sqrt().unsqueeze(1)
    return torch.fft.ifft(torch.where(stopped, fill, result))


def with_snr(iq: Tensor, snr_db: Tensor) -> Tensor:
    """Return frames whose noise beside the signal's band is as far below their signal as given.

    ``iq`` is complex [frame, sample], of white noise and with its carrier at 0; ``snr_db`` is float
    [frame]. What an equaliser adds to the noise in the band stays there alone.
    """
    found = noise_of(iq, torch.zeros_like(snr_db))
    gain = (found.signal / found.density / 10 ** (snr_db / 10)).clamp(min=1e-6).sqrt()
    beside = torch.fft.fftfreq(iq.shape[1], device=iq.device).abs() > HALF_BAND
    return torch.fft.ifft(torch.fft.fft(iq) * torch.where(beside, gain.unsqueeze(1), 1.0))


@lru_cache(maxsize=8)
def _white(samples: int, device: torch.device) -> Tensor:
    """Return a spectrum, complex64 [bin], of unit power a sample, as large in every bin."""
    phase = 2 * torch.pi * torch.rand(samples, generator=torch.Generator().manual_seed(0))
    return torch.polar(torch.full_like(phase, samples**0.5), phase).to(device)


def _in_band(offset: Tensor) -> Tensor:
    """Return the mean of 2 |f| over a symbol rate about ``offset``, both in cycles/sample."""
    near = offset.abs().clamp(max=HALF_RATE)
    return (HALF_RATE**2 + near**2) / HALF_RATE + 2 * (offset.abs() - near)


def _pass_bands(energy: Tensor, weight: Tensor) -> Tensor:
    """Return how many bands lie before the edge of a filter, int64 [frame]; all, if none is.

    An edge is where two levels, over ``NEAR`` bands on either side, fit most nats better than one.
    What lies beyond it is left out, and the rest looked at again: behind a filter's edge there may
    be a quantiser's noise, which ends at that of a resampler.
    """
    # A tone is no edge; held off from 0, the slope of a filter is no part of what passes.
    level = torch.where(weight > 0, energy / weight, torch.inf)
    usual = torch.nn.functional.pad(level, (2, 2), value=torch.inf).unfold(1, 5, 1).median(2)
    energy = torch.where(weight > 0, torch.minimum(level, TONE * usual.values) * weight, 0)
    mean = energy.sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
    energy = energy + STOPPED * mean * weight
    last = torch.full_like(energy[:, 0], BANDS, dtype=torch.long)
    place = torch.arange(BANDS, device=energy.device)
    for _ in range(EDGES):
        inside = place < last.unsqueeze(1)
        sums = [
            torch.nn.functional.pad((of * inside).cumsum(1), (NEAR, 0)) for of in (energy, weight)
        ]
        after = (place + 2 * NEAR).clamp(max=BANDS + NEAR - 1)
        # Entry k: the NEAR bands up to the k-th, and as many that follow.
        near, seen = (of[:, NEAR:] - of[:, :-NEAR] for of in sums)
        far, unseen = (of[:, after] - of[:, NEAR:] for of in sums)
        levels = [
            (of / count.clamp(min=1)).clamp(min=1e-30).log()
            for of, count in ((near, seen), (far, unseen), (near + far, seen + unseen))
        ]
        gain = (seen + unseen) * levels[2] - seen * levels[0] - unseen * levels[1]
        doubt = SURE * (1 / seen.clamp(min=1) + 1 / unseen.clamp(min=1)).sqrt()
        falls = levels[0] - levels[1] > LEAST_FALL_DB / DB + doubt
        gain = torch.where(falls & (seen >= 3) & (unseen >= 8), gain, 0)
        most, first = gain.max(1)
        last = torch.where(most > 0, (first + 1 - TRANSITION).clamp(min=0), last)
    return last


def _fit(energy: Tensor, weight: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log density where 2 |f| is ``at``, its slope over 2 |f|, its deviation: [frame].

    ``energy`` and ``weight`` are [frame, band], the sum of so many exponential variables' energies.
    """
    place = (torch.arange(BANDS, device=energy.device) + 0.5) / BANDS
    count = weight.sum(1).clamp(min=1)
    middle = (weight * place).sum(1) / count
    x = place - middle.unsqueeze(1)
    white = (energy.sum(1) / count).clamp(min=1e-30).log()
    level, slope, prior = white, torch.zeros_like(white), TILT_DEVIATION**-2
    h0, h1, h2 = count, (weight * x).sum(1), (weight * x.square()).sum(1) + prior
    for _ in range(ROUNDS):
        relative = energy * (-level.unsqueeze(1) - slope.unsqueeze(1) * x).exp()
        excess = relative - weight
        down, aside = excess.sum(1), (excess * x).sum(1) - prior * slope
        level = level + ((h2 * down - h1 * aside) / (h0 * h2 - h1**2)).clamp(-1, 1)
        slope = slope + ((h0 * aside - h1 * down) / (h0 * h2 - h1**2)).clamp(-3, 3)
    # The evidence of a tilt, by Laplace's method; x is centred, so the level's terms cancel.
    model = level.unsqueeze(1) + slope.unsqueeze(1) * x
    tilted = -(weight * model + energy * (-model).exp()).sum(1) - prior * slope.square() / 2
    flat = -(weight * white.unsqueeze(1)).sum(1) - count
    tilted = tilted - 0.5 * (h2 / prior).log()
    whole = weight[:, -1] > 0
    share = torch.sigmoid(tilted - flat - torch.where(whole, log(WHITE_ODDS), log(FILTER_ODDS)))
    even = torch.sigmoid(tilted - flat - log(DOUBTED_ODDS))
    reach = at - middle
    found = white + share * (level + slope * reach - white)
    apart = level + slope * reach - white
    variance = (
        1 / count
        + even * reach.square() / h2
        + (even * (1 - share).square() + (1 - even) * share.square()) * apart.square()
    )
    return found, share * slope, variance.sqrt()


@lru_cache(maxsize=8)
def _outside(samples: int, half: float, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return bins outside a band [bin], what its signals' ends span there, dimensions left [bin].

    The span is complex64 [bin, dimension], orthonormal, found from random signals of the band, of
    which a frame is a cut (Halko, Martinsson and Tropp, SIAM Review 53(2), 2011).
    """
    bins = torch.fft.fftfreq(samples, dtype=torch.float64).abs() > half
    finer = torch.fft.fftfreq(4 * samples, dtype=torch.float64).abs() <= half
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(DRAWS, 4 * samples, dtype=torch.complex128, generator=generator) * finer
    signals = torch.fft.ifft(drawn)[:, :samples]
    signals = signals / signals.abs().square().mean(1, keepdim=True).sqrt()
    ends = torch.fft.fft(signals)[:, bins] / samples**0.5
    _, strength, span = torch.linalg.svd(ends, full_matrices=False)
    span = span[strength.square() / DRAWS > LEAST_LEAK].T
    left = 1 - span.abs().square().sum(1)
    where = bins.nonzero().flatten()
    return where.to(device), span.to(device, torch.complex64), left.to(device, torch.float32)
