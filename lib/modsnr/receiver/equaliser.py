"""A blind equaliser: multipath by expectation maximisation over each alphabet's symbols.

Where the spectrum shows several paths (see ``multipath``), each alphabet in turn takes the least
mean-square symbols for its own in Gaussian noise: the posterior means of the symbols give a better
channel, by least squares with the paths' prior, and that channel better symbols. In the first
rounds the noise is taken for stronger than it is, so that no wrong decision is final. The channel
of the likeliest alphabet stays; all alphabets are to be compared behind its equaliser, by
``likelihoods`` of ``least_square_symbols``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from typing import NamedTuple

import torch
from torch import Tensor

from modsnr.receiver.likelihood import likelihoods
from modsnr.receiver.multipath import (
    LEAST_NOISE,
    Looks,
    Multipath,
    components,
    flat,
    looks,
    path_waves,
    promised_gain,
    responses,
    several_paths,
)
from modsnr.receiver.posterior import posterior
from modsnr.receiver.tables import symmetries
from modsnr.receiver.timing import EDGE_SYMBOLS, SAMPLES_PER_SYMBOL
from modsnr.signals import root_raised_cosine

LEAST_GAIN = 5.0  # nats by which several paths must explain a spectrum better than one
PROMISE = 2.0  # nats by which the gain may exceed what the first step promises
ROUNDS = 7
ANNEALED, FALL = 0.2, 0.4  # least noise over the symbols' power, first round; its factor a round
ENDS = 0.003  # of the symbols' energy: what the frame's ends add to the noise of a cyclic channel
FASTEST = 0.004 / (2 * pi)  # cycles/symbol by which a round may correct the carrier
BAND = 0.095  # cycles/sample; the widest signal's band ends before it
LEAST_PULSE = 0.25  # a matched filter's response is made up for down to this share of its peak
AT_A_TIME = 64, 2048  # frames on a CPU, for its caches, and elsewhere, which bounds memory


class Equalised(NamedTuple):
    """What was found of frames' multipath; ``least_square_symbols`` are the symbols behind it."""

    channel: Multipath
    noise: Tensor  # float32 [frame], noise power density over the symbols' energy
    gain: Tensor  # float32 [frame], nats by which several paths explain the spectrum better, or
    # promise to, where that is little
    several: Tensor  # bool [frame], False where one path was enough: no equaliser
    share: Tensor  # float32 [frame], of noise and of what paths are left in the symbols' power
    offset: Tensor  # float32 [frame], cycles/symbol, of the carrier where paths are several
    evidence: Tensor  # float32 [frame], nats: how well the spectrum, and the symbols, are explained


def of_rows(found: Equalised, rows: Tensor) -> Equalised:
    """Return what was found of the frames at ``rows``, int64 [row]."""
    channel, *rest = found
    return Equalised(channel.at(rows), *(column[rows] for column in rest))


def replace_rows(found: Equalised, rows: Tensor, by: Equalised) -> None:
    """Replace what was found of the frames at ``rows``, int64 [row], in place."""
    found.channel.put(rows, by.channel)
    for column, its in zip(found[1:], by[1:], strict=True):
        column[rows] = its


def equalise(
    iq: Tensor,
    density: Tensor,
    *,
    coarse: Tensor | None = None,
    deviation: Tensor | None = None,
    least_gain: float = LEAST_GAIN,
) -> Equalised:
    """Return the multipath of frames complex64 [frame, sample], and what is left of the carrier.

    Frames have 8 samples a symbol; ``density`` is the noise's power density in the signal's band,
    as the power a sample of white noise, float [frame]. The carrier is searched for as
    ``likelihoods`` does it by ``coarse`` and ``deviation``, in symbols of which the spectrum has
    taken the paths: what was found of it among several paths may be wrong. Frames whose spectrum
    gains less than ``least_gain`` nats by several paths keep one.
    """
    size = AT_A_TIME[iq.device.type != "cpu"]
    with torch.autocast(iq.device.type, enabled=False):
        pieces = zip(iq.split(size), density.split(size), strict=True)
        channels, gains = zip(*(_one_path(*piece) for piece in pieces), strict=True)
        channel = Multipath(*(torch.cat(column) for column in zip(*channels, strict=True)))
        gain = torch.cat(gains)
        offset, evidence = torch.zeros_like(gain), channel.fit.clone()
        promising = (gain > least_gain - PROMISE).nonzero().flatten()
        for rows in promising.split(size) if len(promising) else ():
            carrier = [None if of is None else of[rows] for of in (coarse, deviation)]
            better = _several(iq[rows], density[rows], channel.at(rows), carrier, least_gain)
            gain[rows], offset[rows], evidence[rows] = better[1:]
            channel.put(rows, better[0])
        several = gain > least_gain
        pieces = zip(*(column.split(size) for column in (iq, density)), strict=True)
        parts = (channel.at(rows) for rows in torch.arange(len(iq), device=iq.device).split(size))
        seen = [looks(*piece) for piece in pieces]
        share = [least_square_symbols(*piece)[1] for piece in zip(seen, parts, strict=True)]
    noise = torch.cat([piece.noise for piece in seen])
    return Equalised(channel, noise, gain, several, torch.cat(share), offset, evidence)


def _one_path(iq: Tensor, density: Tensor) -> tuple[Multipath, Tensor]:
    """Return the channels of one path, and by how many nats several promise to be better."""
    seen = looks(iq, density, tapered=True)
    channel = flat(seen)
    return channel, promised_gain(seen, channel)


def _several(
    iq: Tensor,
    density: Tensor,
    one: Multipath,
    carrier: Sequence[Tensor | None],
    least_gain: float,
) -> tuple[Multipath, Tensor, Tensor, Tensor]:
    """Return the channels of several paths where they gain enough, else ``one``.

    Further the gain, the carrier's offset and the evidence.
    """
    offset, evidence = torch.zeros_like(density), one.fit.clone()
    channel = several_paths(looks(iq, density, tapered=True), one)
    gain = channel.fit - one.fit
    enough = (gain > least_gain).nonzero().flatten()
    if len(enough):
        plain = looks(iq[enough], density[enough])
        better = channel.at(enough)
        its = [None if of is None else of[enough] for of in carrier]
        taps, offset[enough], score = _refined(plain, better, *its)
        evidence[enough] = better.fit + score
        better = better._replace(taps=taps)
        one.put(enough, better)
    return one, gain, offset, evidence


def least_square_symbols(seen: Looks, channel: Multipath) -> tuple[Tensor, Tensor]:
    """Return symbols of least mean-square error, complex64 [frame, symbol], and its share [frame].

    ``EDGE_SYMBOLS`` are dropped on either side. The share of the symbols' power is that of noise
    and of the other symbols.
    """
    h = _pulses(seen, channel, responses(channel.taps, channel.delay, seen.frequency.flatten()))
    total = seen.noise.unsqueeze(1) + h.abs().square().sum(1)
    spectrum = (h.conj() * seen.spectrum).sum(1) / total
    symbols = torch.fft.ifft(spectrum, norm="ortho")[:, EDGE_SYMBOLS:-EDGE_SYMBOLS]
    return symbols, (seen.noise.unsqueeze(1) / total).mean(1)


def _pulses(seen: Looks, channel: Multipath, path: Tensor) -> Tensor:
    """Return the pair of responses of channel and pulse, complex64 [frame, 2, symbol]."""
    shape = root_raised_cosine(seen.frequency.abs(), channel.rolloff.view(-1, 1, 1))
    return path.unflatten(1, seen.frequency.shape) * shape


class _Problem(NamedTuple):
    """Least squares for the channel's weights, whatever the symbols."""

    waves: Tensor  # complex64 [frame, component, look], each component's response with the pulse
    squares: Tensor  # complex64 [frame, component^2, symbol], their products summed over looks
    products: Tensor  # complex64 [frame, component, symbol], their products with the spectrum
    noise: Tensor  # float32 [frame, 1, 1], of the looks, with that of the ends
    time: Tensor  # float32 [symbol], from the middle of the frame


def _refined(
    seen: Looks, channel: Multipath, coarse: Tensor | None, deviation: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return taps [frame, path], offset and score [frame] under the likeliest alphabet."""
    symbols, share = least_square_symbols(seen, channel)
    found = likelihoods(symbols, share, coarse=coarse, deviation=deviation)
    basis = components(seen.noise.device)
    frequency = seen.frequency.flatten()
    turn = -2 * pi * channel.delay.unsqueeze(1) * frequency
    shape = root_raised_cosine(frequency.abs(), channel.rolloff.unsqueeze(1))
    waves = (basis.T @ path_waves(frequency)) * torch.polar(shape, turn).unsqueeze(1)
    pairs = waves.unflatten(2, seen.frequency.shape)
    length = seen.frequency.shape[1]
    problem = _Problem(
        waves,
        (pairs.conj().unsqueeze(2) * pairs.unsqueeze(1)).sum(3).flatten(1, 2),
        (pairs.conj() * seen.spectrum.unsqueeze(1)).sum(2),
        (seen.noise + ENDS).view(-1, 1, 1),
        torch.arange(length, device=basis.device) - (length - 1) / 2,
    )
    phase = torch.polar(torch.ones_like(found.phase), found.phase)
    weights = (channel.taps @ torch.linalg.pinv(basis).T).unsqueeze(1) * phase.unsqueeze(2)
    offset = found.offset
    for number in range(ROUNDS):
        weights, offset = _round(problem, seen, weights, offset, ANNEALED * FALL**number)
    score = _score(problem, seen, weights, offset)
    best = score.argmax(1, keepdim=True)
    chosen = weights.gather(1, best.unsqueeze(2).expand(-1, 1, weights.shape[2]))
    offset, score = (of.gather(1, best).squeeze(1) for of in (offset, score))
    return chosen.squeeze(1) @ basis.T, offset, score


def _symbols(
    problem: _Problem, seen: Looks, weights: Tensor, offset: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return unbiased symbols of each alphabet's channel, their noise, and the carrier's turn.

    Symbols and turn are complex64 [frame, alphabet, symbol], the noise is [frame, alphabet].
    """
    h = (weights @ problem.waves).unflatten(2, seen.frequency.shape)
    total = problem.noise + h.abs().square().sum(2)
    spectrum = (h.conj() * seen.spectrum.unsqueeze(1)).sum(2) / total
    share = (problem.noise / total).mean(2)
    angle = 2 * pi * offset.unsqueeze(2) * problem.time
    turn = torch.polar(torch.ones_like(angle), angle)
    symbols = torch.fft.ifft(spectrum, norm="ortho") / (1 - share).unsqueeze(2)
    return symbols * turn.conj(), share / (1 - share), turn


def _round(
    problem: _Problem, seen: Looks, weights: Tensor, offset: Tensor, least: float
) -> tuple[Tensor, Tensor]:
    """Return better weights [frame, alphabet, component] and offsets [frame, alphabet]."""
    symbols, noise, _ = _symbols(problem, seen, weights, offset)
    noise = noise.clamp(min=least)
    mean, power, _ = posterior(symbols, noise)
    inner = slice(EDGE_SYMBOLS, -EDGE_SYMBOLS)
    torque = (problem.time * (symbols * mean.conj()).imag)[..., inner].sum(2)
    inertia = (problem.time * mean.abs()).square()[..., inner].sum(2).clamp(min=1e-6) * (2 * pi)
    offset = offset + (torque / inertia).clamp(-FASTEST, FASTEST)
    angle = 2 * pi * offset.unsqueeze(2) * problem.time
    sent = torch.fft.fft(mean * torch.polar(torch.ones_like(angle), angle), norm="ortho")
    unsure = (power - mean.abs().square()).mean(2, keepdim=True).clamp(min=0)
    squares = problem.squares @ (sent.abs().square() + unsure).mT.to(sent.dtype)
    count = weights.shape[2]
    matrix = squares.mT.unflatten(2, (count, count))
    matrix = matrix + problem.noise.unsqueeze(3) * torch.eye(count, device=offset.device)
    right = (problem.products @ sent.mH).mT.unsqueeze(3)
    return torch.linalg.solve_ex(matrix, right)[0].squeeze(3), offset


def _score(problem: _Problem, seen: Looks, weights: Tensor, offset: Tensor) -> Tensor:
    """Return by how many nats each alphabet's symbols are likelier than Gaussian ones.

    An alphabet is right at as many phases as its symmetry has turns, which count.
    """
    symbols, noise, _ = _symbols(problem, seen, weights, offset)
    symbols = symbols[..., EDGE_SYMBOLS:-EDGE_SYMBOLS]
    gaussian = (symbols.abs().square() / (1 + noise).unsqueeze(2)).sum(2)
    gaussian = gaussian + symbols.shape[2] * (1 + 1 / noise).log()
    turns = torch.tensor(symmetries(), device=noise.device)
    return posterior(symbols, noise).log_likelihood.sum(2) + gaussian + turns.log()


def apply_equaliser(
    iq: Tensor, found: Equalised, *, matched: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return frames behind the equaliser, complex64 [frame, sample], and by how far SNR fell, dB.

    In the band the frame is divided by the channel in the least mean-square sense. The noise
    outside is scaled to what the equaliser leaves at the symbols, so that views see white noise:
    the SNR of the result, in dB, falls short of the frame's own by the second value, [frame].
    Frames with one path stay as they are. ``matched`` is the roll-off of the matched filter for
    which the frame is made, by default that of each frame's own pulse.
    """
    frequency = torch.fft.fftfreq(iq.shape[1], device=iq.device) * SAMPLES_PER_SYMBOL
    channel = found.channel
    path = responses(channel.taps, channel.delay, frequency)
    seen = looks(iq, torch.zeros_like(found.noise))
    h = _pulses(seen, channel, responses(channel.taps, channel.delay, seen.frequency.flatten()))
    total = found.noise.unsqueeze(1) + h.abs().square().sum(1)
    # The power of a pair of looks is periodic in the symbol rate.
    folded = total[:, torch.arange(iq.shape[1], device=iq.device) % total.shape[1]]
    level = found.share * (1 - found.share) / found.noise.clamp(min=LEAST_NOISE)
    outside = frequency.abs() > BAND * SAMPLES_PER_SYMBOL
    inside = path.conj() / folded
    if matched is not None:
        own = root_raised_cosine(frequency.abs(), channel.rolloff.unsqueeze(1))
        inside = inside * own / root_raised_cosine(frequency.abs(), matched).clamp(min=LEAST_PULSE)
    gain = torch.where(outside, level.sqrt().unsqueeze(1) + 0j, inside)
    equalised = torch.fft.ifft(torch.fft.fft(iq) * gain)
    fall = 10 * torch.log10(found.share / (1 - found.share) / found.noise)
    several = found.several
    return (
        torch.where(several.unsqueeze(1), equalised, iq.to(equalised.dtype)),
        torch.where(several, fall, torch.zeros_like(fall)),
    )
