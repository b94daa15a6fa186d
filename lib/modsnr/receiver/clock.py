"""A frame's symbol rate against the nominal one, and the frame at eight samples a symbol.

The model: after the matched filter, |y|^2 has a spectral line at the symbol rate. For Gaussian
symbols in white noise its power is the log likelihood ratio of that rate (the energy of samples a
symbol apart, at their best timing). What noise and symbols add to a bin beside the line is an
exponential variable about the local level.
"""

from __future__ import annotations

from functools import lru_cache
from math import log, pi
from typing import NamedTuple

import torch
from torch import Tensor

from modsnr.signals import root_raised_cosine
from modsnr.signals.simulator import resample as interpolated

SAMPLES_PER_SYMBOL = 8
REACH = 0.04  # clock
PRIOR_DEVIATION = 0.01  # of a clock that is not zero
EXACT = 0.5  # prior probability of a clock of zero
PER_WIDTH = 8  # steps of the grid over 1 / duration, where two lines part
CLEAR_WIDTHS = 1.5  # about a candidate, where there is no second one
EDGE = 24  # samples at either end, where the matched filter sees past the frame
LINE_GAIN = 0.7  # of log likelihood a unit of the line's power over the local level
SPLIT = (0.1, 0.12)  # cycles/sample: what lies below is resampled, what lies above is not
PAD = 8  # samples that the interpolator reads beyond a frame, besides the clock's drift


class Clocks(NamedTuple):
    """Candidates, each float32 [frame, candidate], the likeliest first."""

    clock: Tensor  # true symbol rate over the nominal one, less 1
    score: Tensor  # log odds of it, but for a constant of each frame


def clock_candidates(iq: Tensor, rolloff: Tensor, count: int = 1) -> Clocks:
    """Return the ``count`` likeliest clocks of frames, the carrier of which is at 0.

    ``iq`` is complex [frame, sample], ``rolloff`` float [frame]. A candidate is zero, with prior
    probability ``EXACT``, or a peak of the line's power within ``REACH``.
    """
    samples = iq.shape[1]
    grid, waves, inward = _lines(samples, iq.device)
    frequency = torch.fft.fftfreq(samples, 1 / SAMPLES_PER_SYMBOL, device=iq.device).abs()
    matched = root_raised_cosine(frequency, rolloff.unsqueeze(1))
    power = torch.fft.ifft(torch.fft.fft(iq) * matched).abs().square()
    power = (power - power.mean(1, keepdim=True)) * inward
    line = torch.stack([power @ waves.real, power @ waves.imag]).square().sum(0)
    local = line.median(1, keepdim=True).values.clamp(min=1e-30) / log(2)
    density = log((1 - EXACT) * float(grid[1] - grid[0]) / (2 * pi) ** 0.5 / PRIOR_DEVIATION)
    scores = LINE_GAIN * line / local - (grid / PRIOR_DEVIATION).square() / 2 + density
    zero = len(grid) // 2
    exact = LINE_GAIN * line[:, zero] / local[:, 0] + log(EXACT)
    found = [(torch.zeros_like(exact), exact)]
    around = torch.arange(len(grid), device=iq.device)
    for _ in range(count):
        best = scores[:, 1:-1].argmax(1) + 1
        left, here, right = (line.gather(1, best.unsqueeze(1) + k)[:, 0] for k in (-1, 0, 1))
        bend = left - 2 * here + right
        aside = torch.where(bend < 0, 0.5 * (left - right) / bend, 0.0).clamp(-0.5, 0.5)
        near = (around - best.unsqueeze(1)).abs() <= CLEAR_WIDTHS * PER_WIDTH
        mass = torch.where(near, scores, -torch.inf).logsumexp(1)
        found.append((grid[best] + aside * (grid[1] - grid[0]), mass))
        scores = torch.where(near, -torch.inf, scores)
    clock, score = (torch.stack(each, 1) for each in zip(*found, strict=True))
    order = score.nan_to_num(-torch.inf).topk(count, 1).indices
    return Clocks(clock.gather(1, order), score.gather(1, order))


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


@lru_cache(maxsize=8)
def _lines(samples: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the grid of clocks, waves at their symbol rates [sample, clock], weights [sample]."""
    width = SAMPLES_PER_SYMBOL / samples
    steps = round(REACH / width * PER_WIDTH)
    grid = torch.arange(-steps, steps + 1) * (width / PER_WIDTH)
    time = torch.arange(samples) - (samples - 1) / 2
    turn = -2 * pi / SAMPLES_PER_SYMBOL * time.unsqueeze(1).double() * (1 + grid.double())
    inward = (time.abs() <= samples / 2 - min(EDGE, samples // 8)).float()
    waves = torch.polar(torch.ones_like(turn), turn).to(torch.complex64)
    return grid.to(device), waves.to(device), inward.to(device)
