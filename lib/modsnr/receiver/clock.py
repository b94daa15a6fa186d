"""A frame's symbol rate against the nominal one, and the frame at eight samples a symbol.

The model: where the signal's envelope passes symbols it is seldom near 0, between them it may be;
so the logarithm of its power, held off from 0, has a spectral line at the symbol rate. (The line of
the power itself is the sufficient one for Gaussian symbols; alphabets are not Gaussian, and at low
roll-off the logarithm's line stands out where that one does not.) OQPSK has no such line; the
squares of its samples, held near one size, have two, a symbol rate on either side of twice the
carrier. What is in a bin beside a line is an exponential variable about the local level.
"""

from __future__ import annotations

from functools import lru_cache
from math import log, pi
from typing import NamedTuple

import torch
from torch import Tensor

from modsnr.receiver.spectrum import power
from modsnr.receiver.timing import SAMPLES_PER_SYMBOL
from modsnr.signals import root_raised_cosine
from modsnr.signals.simulator import resample as interpolated

REACH = 0.04  # clock
PRIOR = ((0.35, 0.01), (0.15, 0.05))  # of a clock that is not zero: probability, deviation
EXACT = 1 - sum(share for share, _ in PRIOR)
PER_WIDTH = 4  # steps of the grid over 1 / duration, where two lines part
CLEAR_WIDTHS = 1.5  # about a candidate, where there is no second one
LINE_GAIN = 0.8  # of log likelihood a unit of a line's power over the local level
EXTRA_LINE = 3.0  # log odds that a second line costs: it is not known how strong it is
OFFSET_ODDS = 1 / 16  # prior, of OQPSK
WIDER = 0.1  # roll-off that the filter has above the signal's
FLOOR = 1.5  # mean powers added to the power before its logarithm
LIMIT = 0.5  # mean powers added to the power that samples' squares are divided by
CARRIER_DEVIATION = 0.002  # cycles/sample, left when the carrier is at 0
SPLIT = (0.1, 0.12)  # cycles/sample: what lies below is resampled, what lies above is not
PAD = 8  # samples that the interpolator reads beyond a frame, besides the clock's drift


class Clocks(NamedTuple):
    """Candidates, each float32 [frame, candidate], the likeliest first."""

    clock: Tensor  # true symbol rate over the nominal one, less 1
    score: Tensor  # log odds of it, but for a constant of each frame


def clock_candidates(
    iq: Tensor, rolloff: Tensor, count: int = 1, *, share: Tensor | float = 0.02
) -> Clocks:
    """Return the ``count`` likeliest clocks of frames, the carrier of which is at 0.

    ``iq`` is complex [frame, sample], ``rolloff`` float [frame], ``share`` that of the noise in
    symbols' power (``Noise.share``). A candidate is zero, with prior probability ``EXACT``, or a
    peak of the lines' power within ``REACH``.
    """
    grid = _grid(iq.shape[1], iq.device)
    lines = _line_scores(iq, rolloff, torch.as_tensor(share, device=iq.device))
    step = grid[1] - grid[0]
    prior = sum(p / s * torch.exp(-(grid / s).square() / 2) for p, s in PRIOR)
    scores = lines + (prior * (step / (2 * pi) ** 0.5)).log()
    exact = lines[:, len(grid) // 2] + log(EXACT)
    found = [(torch.zeros_like(exact), exact)]
    around = torch.arange(len(grid), device=iq.device)
    for _ in range(count):
        best = scores[:, 1:-1].argmax(1) + 1
        left, here, right = (lines.gather(1, best.unsqueeze(1) + k)[:, 0] for k in (-1, 0, 1))
        bend = left - 2 * here + right
        aside = torch.where(bend < 0, 0.5 * (left - right) / bend, 0.0).clamp(-0.5, 0.5)
        near = (around - best.unsqueeze(1)).abs() <= CLEAR_WIDTHS * PER_WIDTH
        mass = torch.where(near, scores, -torch.inf).logsumexp(1)
        found.append((grid[best] + aside * step, mass))
        scores = torch.where(near, -torch.inf, scores)
    clock, score = (torch.stack(each, 1) for each in zip(*found, strict=True))
    order = score.nan_to_num(-torch.inf).topk(count, 1).indices
    return Clocks(clock.gather(1, order), score.gather(1, order))


def _line_scores(iq: Tensor, rolloff: Tensor, share: Tensor) -> Tensor:
    """Return the log likelihood of clocks of the grid by their lines, [frame, clock]."""
    samples = iq.shape[1]
    rates = torch.fft.fftfreq(samples, 1 / SAMPLES_PER_SYMBOL, device=iq.device).abs()
    signal = root_raised_cosine(rates, rolloff.unsqueeze(1) + WIDER).square()
    signal = signal * (1 / share.clamp(1e-6, 1) - 1).view(-1, 1)
    # The root of Wiener's filter: matched in strong noise, flat over the band in weak noise.
    y = torch.fft.ifft(torch.fft.fft(iq) * (signal / (1 + signal)).sqrt())
    y = y / power(y).mean(1, keepdim=True).clamp(min=1e-30).sqrt()
    height = (power(y) + FLOOR).log()
    height = (height - height.mean(1, keepdim=True)).to(y.dtype)
    turned = y.square() / (power(y) + LIMIT).to(y.dtype)
    waves, beside, places, prior = _lines(samples, iq.device)
    line = _lines_at(height, 1, waves)
    line = line / line.median(1, keepdim=True).values * log(2)
    upper, lower = (_sloped(_lines_at(turned, sign, beside)) for sign in (1, -1))
    # Both lines of OQPSK, [frame, clock, carrier]; the carrier is what is left of it, and unknown.
    both = LINE_GAIN * (upper[:, places[0]] + lower[:, places[1]]) + prior
    offset = both.logsumexp(2) - EXTRA_LINE + log(OFFSET_ODDS)
    return torch.logaddexp(LINE_GAIN * line, offset)


def _lines_at(samples: Tensor, sign: int, waves: Tensor) -> Tensor:
    """Return the power of lines about plus or minus the nominal symbol rate, [frame, line]."""
    turn = -2 * pi * sign * torch.arange(SAMPLES_PER_SYMBOL, device=samples.device)
    nominal = torch.polar(torch.ones_like(turn), turn / SAMPLES_PER_SYMBOL)
    symbols = len(waves) + 2
    blocks = samples[:, : symbols * SAMPLES_PER_SYMBOL].unflatten(1, (symbols, SAMPLES_PER_SYMBOL))
    return power((blocks @ nominal)[:, 1:-1] @ waves).clamp(min=1e-30)


def _sloped(line: Tensor) -> Tensor:
    """Return lines over the local level, exponential through the medians of both halves."""
    low, high = (half.median(1, keepdim=True).values.log() for half in line.chunk(2, 1))
    across = torch.linspace(-0.5, 1.5, line.shape[1], device=line.device)
    return line * (-low - (high - low) * across).exp() * log(2)


def resample(iq: Tensor, clock: Tensor) -> Tensor:
    """Return frames at eight samples a symbol: complex64 as ``iq``, the middle's time kept.

    ``clock`` is float [frame]. Only the signal's band is read at the new times, by six-point
    Lagrange interpolation, and is right to -60 dB but for the frame's ends; what lies outside it,
    noise that has no clock, stays as it is.
    """
    samples, pad = iq.shape[1], PAD + int(REACH * iq.shape[1])
    away = torch.fft.fftfreq(samples, device=iq.device).abs()
    below = ((SPLIT[1] - away) / (SPLIT[1] - SPLIT[0])).clamp(0, 1)
    band = torch.fft.ifft(torch.fft.fft(iq) * torch.sin(pi / 2 * below).square())
    step = 1 / (1 + clock)
    start = (samples - 1) / 2 * (1 - step) + pad
    around = torch.cat([band[:, -pad:], band, band[:, :pad]], 1)  # periodic, as its spectrum has it
    return iq - band + interpolated(around, start, step, samples)


def _grid(samples: int, device: torch.device) -> Tensor:
    width = SAMPLES_PER_SYMBOL / samples
    steps = round(REACH / width * PER_WIDTH)
    return torch.arange(-steps, steps + 1, device=device) * (width / PER_WIDTH)


@lru_cache(maxsize=8)
def _lines(samples: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return waves about a nominal rate at the grid's clocks and over more, [symbol, line], and for
    each clock and carrier left over the places of two lines in the latter, the carriers' prior.

    The first and last symbol, where the filter sees past the frame, have no part in the waves.
    """
    steps = len(_grid(samples, device)) // 2
    finest = 1 / (PER_WIDTH * samples)  # cycles/sample
    turns = round(2 * 2 * CARRIER_DEVIATION / finest)  # two deviations of twice the carrier
    time = SAMPLES_PER_SYMBOL * torch.arange(1, samples // SAMPLES_PER_SYMBOL - 1)
    most = steps + turns
    turn = -2 * pi * finest * time.unsqueeze(1) * torch.arange(-most, most + 1)
    waves = torch.polar(torch.ones_like(turn), turn)
    clocks = torch.arange(-steps, steps + 1).unsqueeze(1)
    carriers = torch.arange(-turns, turns + 1)
    places = torch.stack([carriers + clocks, carriers - clocks]) + most
    prior = -(carriers * finest / (2 * CARRIER_DEVIATION)).square() / 2
    found = waves[:, turns : most + steps + 1], waves, places, prior - prior.logsumexp(0)
    return tuple(each.to(device) for each in found)  # type: ignore[return-value]
