"""The noise that is left where an alphabet's symbols are taken off a frame.

The model: after the matched filter the symbols' samples are y_k = sum_j g_j s_(k-j) + noise. The
short pulse g holds paths, timing and what the matched filter lacks; a constant, an image (the
conjugate), and drifts of timing and carrier, all small, are part of the sum. Expectation
maximisation over the symbols s finds these and the noise together (Dempster, Laird and Rubin, J. R.
Statist. Soc. B 39(1), 1977), starting from symbols that an equaliser has left. What is known of the
noise beside the signal's band is a normal prior of its logarithm.
"""

from __future__ import annotations

from math import pi
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from modsnr.receiver.likelihood import ALPHABETS, frame_likelihoods
from modsnr.receiver.noise import DB, UNSEEN_DEVIATION, Noise, snr_db
from modsnr.receiver.posterior import of_alphabet
from modsnr.receiver.timing import SAMPLES_PER_SYMBOL, decimated, matched, timing_line, unit_power
from modsnr.signals import STUDY_CLASSES

SURE = 0.08  # nepers: a smaller deviation of the noise beside the band is good enough
# Where noise is not seen, or so little that a quantiser may have made it: the levels tried over the
# power of the symbols, alphabets tried at each.
CLEAR_DB, CLEAR_DEVIATION = 33.0, 3.0  # SNR, dB; nepers
FOUND_DEVIATION = 0.25  # nepers, of what is found there
LEVELS_DB, TRIED = (-8.0, -14.0, -20.0, -28.0), 2
DOUBT = 3.0  # deviations: symbols that leave so much more noise are wrong
REACH, ENDS = 4, 8  # symbols that a pulse extends to on either side, that a frame's ends spoil
ROUNDS = 5
WORTH = 0.5  # of what symbols leave, against as many looks at noise: they may be wrong
LEAST = 1e-5  # of the noise, over the power of the symbols
# Deviations over the signal's root power: of a pulse beside its peak, and of each fault, which are
# in the order of ``_of_alphabet``: a constant, a drift of timing (symbols), an image, one of phase.
PULSE_DEVIATION, FAULT_DEVIATIONS = 0.3, (0.05, 0.02, 0.03, 0.1)


class Upright(NamedTuple):
    """Frames' symbols with the carrier taken off for one alphabet each; [row, ...]."""

    samples: Tensor  # complex64 [row, symbol], after the matched filter
    symbols: Tensor  # the same behind an equaliser, of unit power
    faults: Tensor  # complex64 [row, symbol, 2], a constant, and a drift of the timing
    image: Tensor  # complex64 [row, symbol], the turn of the conjugate


def settled(
    before: Tensor, behind: Tensor, rolloff: Tensor, carrier: Tensor, noise: Noise
) -> Noise:
    """Return the noise by what is beside the signal's band and what symbols leave in it.

    ``before`` and ``behind`` are frames complex64 [frame, sample] before and behind an equaliser,
    ``carrier`` is what was taken off them, cycles/symbol, ``noise`` what was seen of their noise,
    which is kept where it is sure, where symbols contradict it, and for OQPSK.
    """
    unseen = noise.deviation >= UNSEEN_DEVIATION
    hidden = unseen | (snr_db(noise) > CLEAR_DB)
    density, deviation = noise.density.clone(), noise.deviation.clone()
    looks = WORTH * (before.shape[1] / SAMPLES_PER_SYMBOL - 2 * ENDS)
    for hard in (False, True):
        rows = ((hidden == hard) & ((noise.deviation > SURE) | hidden)).nonzero().flatten()
        if not len(rows):
            continue
        its = before[rows], behind[rows], rolloff[rows], carrier[rows]
        known = Noise(*(column[rows] for column in noise))
        density[rows] = (_searched if hard else _sharpened)(*its, known)
        better = (known.deviation**-2 + looks).rsqrt().clamp(min=FOUND_DEVIATION * hard)
        deviation[rows] = torch.where(density[rows] == known.density, known.deviation, better)
    return noise._replace(density=density, deviation=deviation)


def _sharpened(
    before: Tensor, behind: Tensor, rolloff: Tensor, carrier: Tensor, noise: Noise
) -> Tensor:
    """Return densities near those seen, by the symbols of the likeliest alphabet."""
    mean, deviation = _symbol_level(noise), noise.deviation
    found = frame_likelihoods(behind, noise.share, rolloff=rolloff)
    chosen = found.marginal.argmax(1)
    at = (of.gather(1, chosen.unsqueeze(1)) for of in (found.offset, found.phase))
    seen = _upright(before, behind, rolloff, carrier, *at)
    level, left, _ = decided_noise(seen, chosen, mean, mean, deviation)
    free = behind.shape[1] / SAMPLES_PER_SYMBOL
    wrong = left - mean > DOUBT * (deviation.square() + 2 / free).sqrt()
    found = SAMPLES_PER_SYMBOL * level.exp()
    return torch.where(wrong | level.isnan(), noise.density, found)


def _searched(
    before: Tensor, behind: Tensor, rolloff: Tensor, carrier: Tensor, noise: Noise
) -> Tensor:
    """Return densities by the symbols of the likeliest alphabet at the likeliest level."""
    mean = _symbol_level(noise)
    deviation = noise.deviation.clamp(min=CLEAR_DEVIATION)
    deviation = torch.where(noise.deviation < UNSEEN_DEVIATION, deviation, noise.deviation)
    best, density = torch.full_like(mean, -torch.inf), mean.clone()
    for level_db in LEVELS_DB:
        share = torch.full_like(mean, 1 / (1 + 10 ** (-level_db / 10)))
        found = frame_likelihoods(behind, share, rolloff=rolloff)
        start = (noise.signal.clamp(min=1e-3)).log() + level_db / DB
        for chosen in found.marginal.topk(TRIED, 1).indices.unbind(1):
            at = (of.gather(1, chosen.unsqueeze(1)) for of in (found.offset, found.phase))
            seen = _upright(before, behind, rolloff, carrier, *at)
            level, _, likelihood = decided_noise(seen, chosen, start, mean, deviation)
            better = likelihood > best
            best = torch.where(better, likelihood, best)
            density = torch.where(better, level, density)
    return SAMPLES_PER_SYMBOL * density.exp()


def _symbol_level(noise: Noise) -> Tensor:
    return (noise.density / SAMPLES_PER_SYMBOL).log()


def _upright(
    before: Tensor, behind: Tensor, rolloff: Tensor, carrier: Tensor, offset: Tensor, phase: Tensor
) -> Upright:
    """Return the symbols of frames, offset [frame, 1] and phase taken off."""
    spectrum = matched(before, rolloff)
    timing, step = timing_line(spectrum), 0.02
    later, earlier = (decimated(spectrum, timing + aside) for aside in (step, -step))
    clean = matched(behind, rolloff)
    symbols = unit_power(decimated(clean, timing_line(clean)))
    time = torch.arange(symbols.shape[1], device=before.device) - (symbols.shape[1] - 1) / 2
    turn = _wave(-2 * pi * offset * time - phase)
    constant = _wave(-2 * pi * (carrier.unsqueeze(1) + offset) * time)
    drift = (later - earlier) / (2 * step) * turn * (time / time[-1])
    faults = torch.stack([constant, drift], 2)
    image = constant.square() * _wave(-2 * phase)
    return Upright(decimated(spectrum, timing) * turn, symbols * turn, faults, image)


def _wave(angle: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(angle), angle)


def decided_noise(
    seen: Upright, chosen: Tensor, start: Tensor, mean: Tensor, deviation: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return log noise power at the symbols, what they leave of it alone, and a log-likelihood.

    ``chosen`` int64 [row] is the alphabet, of ``STUDY_CLASSES``; that of OQPSK gives NaN. ``start``
    is the first guess, ``mean`` and ``deviation`` are the prior of the logarithm; [row].
    """
    found = torch.full((3, len(start)), torch.nan, device=start.device)
    for number in chosen.unique().tolist():
        if STUDY_CLASSES[number] in ALPHABETS:
            rows = (chosen == number).nonzero().flatten()
            its = Upright(*(column[rows] for column in seen))
            prior = mean[rows], deviation[rows].square().reciprocal()
            found[:, rows] = _of_alphabet(STUDY_CLASSES[number], its, start[rows], *prior)
    return tuple(found)  # type: ignore[return-value]


def _of_alphabet(name: str, seen: Upright, level: Tensor, mean: Tensor, certain: Tensor) -> Tensor:
    """Return the fields of ``decided_noise``, [3, row], for rows of one alphabet."""
    inner, width = slice(ENDS - REACH, REACH - ENDS), 2 * REACH + 1
    samples, _, faults, image = (column[:, REACH:-REACH] for column in seen)
    power = samples.abs().square().mean(1)
    count = samples[:, inner].shape[1]
    weight = WORTH * (count - width)
    time = torch.linspace(-1j, 1j, samples.shape[1], device=samples.device)
    relative = level.exp() / (power - level.exp()).clamp(min=0.02 * power)
    symbols = seen.symbols * (1 + relative).sqrt().unsqueeze(1)
    signal = samples
    deviations = [PULSE_DEVIATION] * width + list(FAULT_DEVIATIONS)
    ridge = torch.tensor(deviations, device=level.device) ** -2
    ridge[REACH] = 0.01  # the peak
    for _ in range(ROUNDS):
        sent, strength, _ = of_alphabet(symbols, relative.view(-1, 1, 1), name)
        unsure = (strength - sent.abs().square())[:, ENDS:-ENDS].clamp(min=0).sum(1, keepdim=True)
        paths = sent.unfold(1, width, 1).flip(2)  # [row, symbol, path]
        more = torch.stack([signal.conj() * image, time * signal], 2)
        columns = torch.cat([paths, faults, more], 2)
        near = columns[:, inner]
        blurred = pad(unsure.expand(-1, width), (0, len(ridge) - width))
        matrix = near.mH @ near + torch.diag_embed(blurred + ridge * level.exp().unsqueeze(1))
        right = near.mH @ samples[:, inner].unsqueeze(2)
        gains = torch.linalg.solve_ex(matrix, right)[0]
        left = samples[:, inner].abs().square().sum(1) - (right.conj() * gains).sum((1, 2)).real
        left = torch.maximum(left / (count - width), LEAST * power).log()
        level = (weight * left + certain * mean) / (weight + certain)
        pulse = gains[:, :width]
        signal, rest = (paths @ pulse)[..., 0], samples - (columns @ gains)[..., 0]
        gain = pulse.abs().square().sum((1, 2)).clamp(min=1e-9)
        relative = (level.exp() / gain).clamp(max=100)
        back = pad(rest, (width - 1, width - 1)).unfold(1, width, 1) @ pulse.conj()
        symbols = sent + back[..., 0] / gain.unsqueeze(1)
    _, _, likelihood = of_alphabet(symbols, relative.view(-1, 1, 1), name)
    likelihood = likelihood[:, ENDS:-ENDS].sum(1) - count * level
    return torch.stack([level, left, likelihood - certain * (level - mean).square() / 2])
