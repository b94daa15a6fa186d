"""Symbols turned back by their carrier, whichever of the known alphabets they are from.

The log-likelihood of a symbol at z, of a known alphabet and in known noise, is a function of its
radius and angle. Its angular Fourier series sum_M h_M(|z|) exp(j M arg z) turns the search for the
carrier into one for spectral lines: at phase p and offset f the frame's log-likelihood is
2 Re sum_M exp(-j M p) sum_k h_M(|z_k|) exp(j M (arg z_k - 2 pi f k)). A power of the symbols, as
Viterbi and Viterbi (1983) take it, is one such line with a weight that suits PSK alone; on dense
QAM and APSK the points far out, which show the angle, must weigh more. The alphabet whose
likelihood is greatest decides; a wrong one that looks alike has a line at nearly the same place.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import log, pi
from typing import NamedTuple

import torch
from torch import Tensor

from modsnr.signals import STUDY_CLASSES, alphabet, symmetry

# OQPSK has no symbols at the others' timing.
ALPHABETS = tuple(name for name in STUDY_CLASSES if name != "OQPSK")
HIGHEST, PER_ALPHABET = 32, 7  # harmonics: none above, and at most so many of an alphabet
REACH = 0.004  # cycles/symbol searched on either side
# Offsets are taken for Gaussian with this deviation, 1.5 times the simulator's: where no line
# stands out, the carrier is left as it is instead of being turned by a chance line far out.
EXPECTED = 0.0012  # cycles/symbol
OFFSETS, PHASES = 41, 12  # tried over the reach, and over the turn after which an alphabet repeats
REFINED = 4  # parts that a step of either is divided into at last
# Of the tables: radii in RMS of what is received, any greater is the widest; angles over the turn
# after which an alphabet repeats; noise over the symbols' power. Less noise counts as the first
# level, as narrower peaks need higher harmonics, and more as the last, where no line is left.
RADII, WIDEST, SECTOR_ANGLES = 128, 2.75, 32
NOISE_DB = tuple(range(-22, 17, 2))
AT_A_TIME = 512, 2048  # frames on a CPU, for its caches, and elsewhere, which bounds memory


def align(symbols: Tensor, noise: Tensor) -> Tensor:
    """Return symbols complex64 [frame, symbol] turned back by their carrier's offset and phase.

    ``noise`` is the noise's share of the symbols' power, float [frame], 0 to 1. What is left is a
    turn by one of the symmetries of the alphabet, and by half a quadrant in the mean where the
    frame is mistaken for one that has its points there. Frames of NaN stay NaN. Under a caller's
    autocast the products stay in single precision: in bf16 some searches would end elsewhere.
    """
    share = noise.to(torch.float32).clamp(1e-6, 1 - 1e-6)
    level = (10 * torch.log10(share / (1 - share))).clamp(NOISE_DB[0], NOISE_DB[-1])
    step = ((level - NOISE_DB[0]) / (NOISE_DB[1] - NOISE_DB[0])).round().nan_to_num(0).long()
    at_a_time = AT_A_TIME[symbols.device.type != "cpu"]
    pieces = zip(symbols.split(at_a_time), step.split(at_a_time), strict=True)
    with torch.autocast(symbols.device.type, enabled=False):
        return torch.cat([_align(*piece) for piece in pieces]) if len(symbols) else symbols


def _align(symbols: Tensor, step: Tensor) -> Tensor:
    """Align symbols whose noise is that of the tables' ``step``, int64 [frame]."""
    device = symbols.device
    tables = _tables(device, at_once=device.type != "cpu")
    radius = symbols.abs()
    rms = radius.square().mean(1, keepdim=True).sqrt().clamp(min=1e-12)
    ring = (radius / rms * ((RADII - 1) / WIDEST)).round().clamp(max=RADII - 1)
    ring = ring.nan_to_num(0).long()  # any place will do for NaN, which no index may be
    place = step.unsqueeze(1) * RADII + ring  # into the tables' last axes, flattened
    time = torch.arange(symbols.shape[1], device=device) - (symbols.shape[1] - 1) / 2
    offsets = torch.linspace(-REACH, REACH, OFFSETS, device=device)
    prior = -(offsets / EXPECTED).square().view(1, -1, 1) / 2
    angle = symbols.angle()
    powers = torch.polar(torch.ones_like(angle), tables.order.view(-1, 1, 1) * angle)
    turn = 2 * pi * tables.order.view(-1, 1, 1) * time.unsqueeze(1) * offsets
    waves = torch.polar(torch.ones_like(turn), -turn)  # [order, symbol, offset]
    best = torch.full((len(symbols),), -torch.inf, device=device)
    chosen = torch.zeros(len(symbols), dtype=torch.long, device=device)
    found = torch.zeros(len(symbols), 2, device=device)  # offset, phase
    for first, its, alphabets, lines, constant in tables.kinds:
        phases = torch.arange(PHASES, device=device) * (2 * pi / first / PHASES)
        line = (lines[..., place] * powers[its]) @ waves[its]
        line = line.movedim(1, 3)  # [alphabet, frame, offset, harmonic]
        turn = tables.order[its].unsqueeze(1) * phases
        score = 2 * (line.real @ turn.cos() + line.imag @ turn.sin()) + prior
        highest, where = score.flatten(2).max(2)
        highest, which = (highest + constant[:, place].sum(2)).max(0)
        where = where.gather(0, which.unsqueeze(0)).squeeze(0)
        better = highest > best
        best = torch.where(better, highest, best)
        chosen = torch.where(better, alphabets[which], chosen)
        here = torch.stack([offsets[where // PHASES], phases[where % PHASES]], 1)
        found = torch.where(better.unsqueeze(1), here, found)
    its = tables.its[chosen]  # [frame, harmonic]
    row = torch.arange(len(symbols), device=device)
    lines = (
        tables.lines[chosen.unsqueeze(1), column, place] * powers[its[:, column], row]
        for column in range(PER_ALPHABET)
    )
    found = _refined(found, tables.order[its], lines, time)
    turn = found[:, 1:] + 2 * pi * found[:, :1] * time
    return symbols * torch.polar(torch.ones_like(turn), -turn)


def _refined(found: Tensor, orders: Tensor, lines: Iterable[Tensor], time: Tensor) -> Tensor:
    """Return offset and phase [frame, 2] at the best place within a step of ``found``.

    ``orders`` [frame, harmonic] begin with that of the alphabet's symmetry; ``lines`` are complex
    [frame, symbol], one a harmonic.
    """
    near = torch.arange(-REFINED, REFINED + 1, device=found.device) / REFINED
    offsets = found[:, :1] + 2 * REACH / (OFFSETS - 1) * near
    phases = found[:, 1:] + 2 * pi / PHASES / orders[:, :1] * near
    score = torch.zeros(len(found), len(near), len(near), device=found.device)
    for order, line in zip(orders.split(1, 1), lines, strict=True):
        turn = 2 * pi * (order * offsets).unsqueeze(2) * time  # [frame, offset, symbol]
        summed = torch.polar(torch.ones_like(turn), -turn) @ line.unsqueeze(2)  # [frame, offset, 1]
        angle = (order * phases).unsqueeze(1)
        score += summed.real * angle.cos() + summed.imag * angle.sin()
    where = score.flatten(1).argmax(1, keepdim=True)
    across, along = where // len(near), where % len(near)
    return torch.cat([offsets.gather(1, across), phases.gather(1, along)], 1)


class _Tables(NamedTuple):
    """What is known of each alphabet before a frame is seen; places are noise and radius."""

    order: Tensor  # int64 [order], of all harmonics of all alphabets, ascending
    its: Tensor  # int64 [alphabet, harmonic], into ``order``; 0 for those that it lacks
    lines: Tensor  # complex64 [alphabet, harmonic, place], its harmonics; 0 for those that it lacks
    # Alphabets of the same harmonics, tried at once: order of symmetry, one's ``its``, alphabets,
    # their ``lines``, and float32 [alphabet, place], the log-likelihood's mean over the angle.
    kinds: list[tuple[int, Tensor, Tensor, Tensor, Tensor]]


@lru_cache(maxsize=8)
def _tables(device: torch.device, *, at_once: bool) -> _Tables:
    """Return the tables on the device, the radius in RMS of what is received.

    A GPU works fastest on few large calls, so on alphabets ``at_once``; one at a time suits the
    caches of a CPU.
    """
    noise = torch.pow(10.0, torch.tensor(NOISE_DB) / 10).view(-1, 1, 1)
    radius = torch.linspace(0, WIDEST, RADII).view(1, -1, 1) * (1 + noise).sqrt()
    first = [symmetry(alphabet(name)) for name in ALPHABETS]
    orders = [range(n, HIGHEST + 1, n)[:PER_ALPHABET] for n in first]
    order = sorted(set().union(*orders))
    its = torch.zeros(len(ALPHABETS), PER_ALPHABET, dtype=torch.long)
    constant = torch.zeros(len(ALPHABETS), len(NOISE_DB) * RADII)
    lines = torch.zeros(*its.shape, len(NOISE_DB) * RADII, dtype=torch.complex64)
    alike: dict[tuple[range, int], list[int]] = {}
    for number, (name, own) in enumerate(zip(ALPHABETS, orders, strict=True)):
        points = alphabet(name).to(torch.complex64)
        angle = torch.arange(SECTOR_ANGLES) * (2 * pi / own[0] / SECTOR_ANGLES)
        total = torch.full((len(NOISE_DB), RADII, SECTOR_ANGLES), -torch.inf)
        for point in points:
            cosine = (angle - point.angle()).cos()
            apart = radius**2 + point.abs() ** 2 - 2 * radius * point.abs() * cosine
            total = torch.logaddexp(total, -apart / noise)
        harmonics = torch.fft.fft(total - log(len(points))) / SECTOR_ANGLES
        constant[number] = harmonics[..., 0].real.flatten()
        lines[number, : len(own)] = harmonics[..., 1 : len(own) + 1].flatten(0, 1).T
        its[number, : len(own)] = torch.tensor([order.index(each) for each in own])
        alike.setdefault((own, 0 if at_once else number), []).append(number)
    kinds = []
    for (own, _), numbers in alike.items():
        harmonics = its[numbers[0], : len(own)], torch.tensor(numbers), lines[numbers, : len(own)]
        kinds.append((own[0], *(table.to(device) for table in (*harmonics, constant[numbers]))))
    return _Tables(torch.tensor(order).to(device), its.to(device), lines.to(device), kinds)
