"""The likelihood of OQPSK, whose quadrature comes half a symbol after its in-phase part.

After the matched filter OQPSK is y(t) = exp(j phase) (I(t) + j Q(t)), the in-phase pulses peaking
at ``timing``, those of the quadrature half a symbol later. I^2 and Q^2 have opposite lines at the
symbol rate: |y|^2 has none, so that the others' timing means nothing. But y^2 has two, c+ and c-,
one symbol rate either side of twice the carrier, with the angles 2 phase -+ 2 pi timing (Gini and
Giannakis, IEEE Trans. Commun. 46(3), 1998). c+ c- thus shows the phase modulo a quadrant, and then
c- the timing; a quarter turn and half a symbol together change nothing.
"""

from __future__ import annotations

from math import log, pi, sqrt

import torch
from torch import Tensor
from torch.nn.functional import softplus

from modsnr.receiver.tables import GAINS, log_gains
from modsnr.receiver.timing import EDGE_SYMBOLS, decimated

ROUNDS = 3  # of refining offset and phase
LEVELS = 10**-2.2, 10**1.6  # of noise, as the tables of the other alphabets have it
EVERY = 2  # of so many offsets one is tried for the lines, which are broad


def staggered_likelihood(
    spectrum: Tensor, power: Tensor, noise: Tensor, offsets: Tensor, prior: Tensor
) -> Tensor:
    """Return OQPSK's log-likelihood, offset (cycles/symbol) and phase, float32 [3, frame].

    ``spectrum`` is complex [frame, bin], after the matched filter; ``power`` the mean power of the
    others' symbols and ``noise`` the noise's share of it, float [frame]; ``offsets`` [offset] are
    those tried, ``prior`` their log-probabilities [frame, offset]. The log-likelihood compares with
    the symbols' as ``limits.classifiers`` explains: with their energy completed, it is the sum over
    symbols of log cosh(sqrt(2) I / n) + log cosh(sqrt(2) Q / n) - (|y|^2 + 1) / n; its mean is
    taken over ``GAINS``.
    """
    n = (noise / (1 - noise)).clamp(*LEVELS).unsqueeze(1)  # over the symbols' power, 1 from here on
    spectrum = spectrum * ((1 + n) / power.unsqueeze(1).clamp(min=1e-30)).sqrt()
    offset, phase, timing = _lines(spectrum, offsets, prior)
    halves = decimated(spectrum, timing, per_symbol=2)[:, 2 * EDGE_SYMBOLS : -2 * EDGE_SYMBOLS]
    time = (torch.arange(halves.shape[1], device=noise.device) - (halves.shape[1] - 2) / 2) / 2
    for step in range(ROUNDS + 1):
        turn = phase.unsqueeze(1) + 2 * pi * offset.unsqueeze(1) * time
        upright = halves * torch.polar(torch.ones_like(turn), -turn)
        parts = torch.stack([upright[:, ::2].real, upright[:, 1::2].imag], 2).flatten(1)
        drive = parts * (sqrt(2) / n)
        if step == ROUNDS:
            break
        # Where the parts point less their expected values: the error of each half symbol's phase.
        across = torch.stack([upright[:, ::2].imag, -upright[:, 1::2].real], 2).flatten(1)
        expected = drive.tanh() / sqrt(2)
        along, astray = (parts * expected).sum(1), across * expected
        phase = phase + torch.atan2(astray.sum(1), along)
        weight = (time.square() * expected.square()).sum(1).clamp(min=1e-9)
        offset = offset + (time * astray).sum(1) / weight / (2 * pi)
    symbols = halves.shape[1] // 2
    weights = log_gains(GAINS, symbols)
    heights = []
    for gain, weight in zip(GAINS, weights, strict=True):
        size = gain * drive.abs()
        cosh = (size + softplus(-2 * size) - log(2)).sum(1)
        energy = (gain**2 * (1 + n[:, 0]) + 1) / n[:, 0]
        heights.append(cosh - symbols * energy + weight)
    total = torch.stack(heights).logsumexp(0)
    return torch.stack([total, offset, phase])


def _lines(spectrum: Tensor, offsets: Tensor, prior: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return offset, phase at the frame's middle, and timing, float32 [frame] each, from y^2."""
    quarters = decimated(spectrum, torch.zeros(len(spectrum), device=spectrum.device), per_symbol=4)
    squared = quarters.square()
    middle = quarters.shape[1] / 2
    time = ((torch.arange(quarters.shape[1], device=spectrum.device) - middle) / 4).unsqueeze(1)
    angle = 2 * pi * time * (2 * offsets[::EVERY])
    above, below = (  # [frame, offset] each
        squared @ torch.polar(torch.ones_like(angle), -angle - 2 * pi * rate * time)
        for rate in (1, -1)
    )
    energy = squared.abs().square().sum(1, keepdim=True).clamp(min=1e-30)
    score = (above.abs().square() + below.abs().square()) / energy + prior[:, ::EVERY]
    best = score.argmax(1, keepdim=True)
    above, below = above.gather(1, best)[:, 0], below.gather(1, best)[:, 0]
    phase = (above * below).angle() / 4
    timing = (below * torch.polar(torch.ones_like(phase), -2 * phase)).angle() / (2 * pi)
    # Times are about the middle, where a symbol begins: frames have whole symbols.
    return offsets[::EVERY][best[:, 0]], phase, timing
