"""Tables of alphabets: harmonics, over the angle, of a symbol's log-likelihood.

A place in a table is a level of noise and a radius, see ``places``; ``likelihood`` explains what
the harmonics are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import exp, log, pi
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from modsnr.receiver.posterior import ALPHABETS, OTHER_RINGS, of_points, posterior, tabled
from modsnr.signals import alphabet, symmetry

# Harmonics: none above, at most so many of an alphabet for aligning, and for likelihoods, which are
# wrong without them: BPSK's, a function of 2 arg z, at little noise would be taken for QPSK's.
HIGHEST, PER_ALPHABET, PER_FINE = 32, 7, 16
# Of the tables: radii in RMS of what is received, any greater is the widest; angles over the turn
# after which an alphabet repeats; noise over the symbols' power. Less noise counts as the first
# level, as narrower peaks need higher harmonics, and more as the last, where no line is left.
RADII, WIDEST, SECTOR_ANGLES = 128, 2.75, 32
PHASES = 12  # tried over the turn after which an alphabet repeats, or twice or four times that
FINE_DB = tuple(level / 2 for level in range(-44, 33))
# By so much symbols may be greater than their power shows, of an alphabet or of rings that differ
# from the known ones: what is tried, and the deviation.
GAINS, GAIN_DEVIATION = (1.0, 0.96, 1.04), 0.03
OTHERS_SHARE = 1 / 3  # the probability of the other rings, where an alphabet has such


class Kind(NamedTuple):
    """Alphabets that are searched alike, as they have the same harmonics, and tried at once."""

    first: int  # order of symmetry
    its: Tensor  # int64 [harmonic], into the tables' ``order``
    alphabets: Tensor  # int64 [alphabet], into ``hypotheses``
    lines: Tensor  # complex64 [alphabet, harmonic, place]
    constant: Tensor  # float32 [alphabet, place], the log-likelihood's mean over the angle


class Tables(NamedTuple):
    """What is known of each alphabet before a frame is seen; places are noise and radius."""

    order: Tensor  # int64 [order], of all harmonics of all alphabets, ascending
    its: Tensor  # int64 [alphabet, harmonic], into ``order``; 0 for those that it lacks
    lines: Tensor  # complex64 [alphabet, harmonic, place], its harmonics; 0 for those that it lacks
    kinds: list[Kind]


@lru_cache(maxsize=8)
def tables(
    levels_db: tuple[float, ...], most: int, device: torch.device, *, at_once: bool
) -> Tables:
    """Return the tables on the device, the radius in RMS of what is received.

    A GPU works fastest on few large calls, so on alphabets ``at_once``; one at a time suits the
    caches of a CPU.
    """
    noise = torch.pow(10.0, torch.tensor(levels_db) / 10).view(-1, 1, 1)
    radius = torch.linspace(0, WIDEST, RADII).view(1, -1, 1) * (1 + noise).sqrt()
    points = hypotheses(most)
    first = [symmetry(each) for each in points]
    orders = [range(n, HIGHEST + 1, n)[:most] for n in first]
    angles = torch.arange(SECTOR_ANGLES) * (
        2 * pi / torch.tensor(first).view(-1, 1) / SECTOR_ANGLES
    )
    if most == PER_FINE:
        mean = _log_means(radius, angles, noise, points)
    else:  # its rounding decides what old networks see
        pairs = zip(points, angles, strict=True)
        mean = torch.stack([_one_by_one(radius, *pair, noise) for pair in pairs], 1)
    order = sorted(set().union(*orders))
    its = torch.zeros(len(points), most, dtype=torch.long)
    constant = torch.zeros(len(points), len(levels_db) * RADII)
    lines = torch.zeros(*its.shape, len(levels_db) * RADII, dtype=torch.complex64)
    alike: dict[tuple[range, int], list[int]] = {}
    for number, own in enumerate(orders):
        harmonics = torch.fft.fft(mean[:, number]) / SECTOR_ANGLES
        constant[number] = harmonics[..., 0].real.flatten()
        lines[number, : len(own)] = harmonics[..., 1 : len(own) + 1].flatten(0, 1).T
        its[number, : len(own)] = torch.tensor([order.index(each) for each in own])
        alike.setdefault((own, 0 if at_once else number), []).append(number)
    kinds = []
    for (own, _), numbers in alike.items():
        harmonics = its[numbers[0], : len(own)], torch.tensor(numbers), lines[numbers, : len(own)]
        kinds.append(Kind(own[0], *(table.to(device) for table in (*harmonics, constant[numbers]))))
    return Tables(torch.tensor(order).to(device), its.to(device), lines.to(device), kinds)


@lru_cache(maxsize=1)
def symmetries() -> tuple[int, ...]:
    """Return the order of symmetry of each of ``ALPHABETS``."""
    return tuple(symmetry(alphabet(name)) for name in ALPHABETS)


@lru_cache(maxsize=2)
def hypotheses(most: int) -> tuple[Tensor, ...]:
    """Return the points of each of ``ALPHABETS``, then those of ``OTHER_RINGS``, complex [point].

    Those other rings count for likelihoods only, which have the most harmonics.
    """
    others = OTHER_RINGS if most == PER_FINE else ()
    usual = (alphabet(name) for name in ALPHABETS)
    return (*usual, *(alphabet(name, rings) for name, rings in others))


def of_alphabets(found: Tensor) -> Tensor:
    """Return the search's results [field, frame, hypothesis] for ``ALPHABETS``.

    The log-likelihood is the mean over an alphabet's rings; the rest is that of the likelier ones.
    """
    columns, others = found[..., : len(ALPHABETS)].clone(), found[..., len(ALPHABETS) :]
    for (name, _), other in zip(OTHER_RINGS, others.unbind(2), strict=True):
        own = columns[..., ALPHABETS.index(name)]
        both = torch.logaddexp(own[0] + log(1 - OTHERS_SHARE), other[0] + log(OTHERS_SHARE))
        own[:] = torch.where(own[0] >= other[0], own, other)
        own[0] = both
    return columns


def _log_means(radius: Tensor, angles: Tensor, noise: Tensor, points: Sequence[Tensor]) -> Tensor:
    """Return logs of means over points of exp(-|z - point|^2 / noise) at radii and angles.

    ``radius`` is float32 [level, radius, 1], ``angles`` [alphabet, angle], ``noise`` [level, 1, 1],
    ``points`` are of each alphabet; the result is [level, alphabet, radius, angle].
    """
    turned = torch.polar(torch.ones_like(angles), angles).unsqueeze(1)
    known = [tabled(each) for each in points[len(ALPHABETS) :]]
    found = []
    for each, level in zip(radius, noise[..., 0], strict=True):
        symbols = (each * turned).flatten(1)  # [alphabet, radius and angle]
        own, others = symbols[: len(ALPHABETS)], symbols[len(ALPHABETS) :]
        seen = [posterior(own.unsqueeze(0), level.expand(1, len(own))).log_likelihood[0]]
        pairs = zip(others.split(1), known, strict=True)
        seen += [of_points(each, level, *its).log_likelihood for each, its in pairs]
        found.append(torch.cat(seen))
    return torch.stack(found).unflatten(2, (RADII, SECTOR_ANGLES))


def _one_by_one(radius: Tensor, points: Tensor, angle: Tensor, noise: Tensor) -> Tensor:
    """Return the same of one alphabet, [level, radius, angle], point by point."""
    points = points.to(torch.complex64)
    total = torch.full((len(noise), RADII, SECTOR_ANGLES), -torch.inf)
    for point in points:
        cosine = (angle - point.angle()).cos()
        apart = radius**2 + point.abs() ** 2 - 2 * radius * point.abs() * cosine
        total = torch.logaddexp(total, -apart / noise)
    return total - log(len(points))


class Packed(NamedTuple):
    """Tables of alphabets; a line is one harmonic of one alphabet, those of one side by side."""

    lines: np.ndarray  # float32 [place, 2, line], real and imaginary part
    constant: np.ndarray  # float32 [place, alphabet]
    orders: np.ndarray  # int64 [order], of all harmonics, ascending
    which: np.ndarray  # int64 [line], into ``orders``
    multiple: np.ndarray  # int64 [line], its order over that of the alphabet's symmetry
    start: np.ndarray  # int64 [alphabet + 1], the first line of each
    first: np.ndarray  # int64 [alphabet], order of symmetry
    phases: np.ndarray  # int64 [alphabet], tried over the turn after which it repeats


@lru_cache(maxsize=2)
def packed(levels_db: tuple[float, ...], most: int) -> Packed:
    """Return the tables of so many harmonics as the compiled search reads them."""
    known = tables(levels_db, most, torch.device("cpu"), at_once=False)
    lines = torch.view_as_real(torch.cat([kind.lines[0] for kind in known.kinds]))
    return Packed(
        lines=lines.permute(1, 2, 0).contiguous().numpy(),
        constant=torch.cat([kind.constant for kind in known.kinds]).T.contiguous().numpy(),
        orders=known.order.numpy(),
        which=torch.cat([kind.its for kind in known.kinds]).numpy(),
        multiple=torch.cat([known.order[kind.its] // kind.first for kind in known.kinds]).numpy(),
        start=np.cumsum([0] + [len(kind.its) for kind in known.kinds]),
        first=np.array([kind.first for kind in known.kinds]),
        phases=np.array([phases_tried(kind.first, most) for kind in known.kinds]),
    )


def phases_tried(first: int, most: int) -> int:
    """Return how many phases of an alphabet are tried, by its symmetry and number of harmonics."""
    return PHASES * (max(1, 4 // first) if most == PER_FINE else 1)


def places(symbols: Tensor, noise: Tensor, levels_db: Sequence[float], gain: float = 1.0) -> Tensor:
    """Return each symbol's place in the tables' last axes, flattened, int64 [frame, symbol].

    ``gain`` is by how much symbols are taken for greater than by their power.
    """
    share = noise.to(torch.float32).clamp(1e-6, 1 - 1e-6)
    level = (10 * torch.log10(share / (1 - share))).clamp(levels_db[0], levels_db[-1])
    step = (level - levels_db[0]) / (levels_db[1] - levels_db[0])
    step = step.round().nan_to_num(0).long()
    radius = symbols.abs()
    rms = radius.square().mean(1, keepdim=True).sqrt().clamp(min=1e-12)
    ring = (radius / rms * (gain * (RADII - 1) / WIDEST)).round().clamp(max=RADII - 1)
    ring = ring.nan_to_num(0).long()  # any place will do for NaN, which no index may be
    return step.unsqueeze(1) * RADII + ring


def log_gains(gains: Sequence[float], symbols: int) -> list[float]:
    """Return the log-probability of each gain with the density's own change by it.

    A gain spreads the plane of every symbol, and with it the density.
    """
    prior = [-(((gain - 1) / GAIN_DEVIATION) ** 2) / 2 for gain in gains]
    total = log(sum(map(exp, prior)))
    pairs = zip(gains, prior, strict=True)
    return [own - total + 2 * symbols * log(gain) for gain, own in pairs]
