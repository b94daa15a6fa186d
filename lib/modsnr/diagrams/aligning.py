"""Symbols turned back by their carrier, whichever of the known alphabets they are from.

The alphabet whose likelihood is greatest decides; a wrong one that looks alike has a line at nearly
the same place.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from modsnr.receiver.likelihood import AT_A_TIME, Search, compiled, offset_grid
from modsnr.receiver.tables import PER_ALPHABET, PHASES

REACH = 0.004  # cycles/symbol searched on either side
# Offsets are taken for Gaussian with this deviation, 1.5 times the simulator's: where no line
# stands out, the carrier is left as it is instead of being turned by a chance line far out.
EXPECTED = 0.0012  # cycles/symbol
LEVELS_DB = tuple(range(-22, 17, 2))  # noise over the symbols' power, as the tables have it


def align(symbols: Tensor, noise: Tensor) -> Tensor:
    """Return symbols complex64 [frame, symbol] turned back by their carrier's offset and phase.

    ``noise`` is the noise's share of the symbols' power, float [frame], 0 to 1. What is left is a
    turn by one of the symmetries of the alphabet, and by half a quadrant in the mean where the
    frame is mistaken for one that has its points there. Frames of NaN stay NaN. Under a caller's
    autocast the products stay in single precision: in bf16 some searches would end elsewhere.
    """
    at_a_time = AT_A_TIME[symbols.device.type != "cpu"]
    pieces = zip(symbols.split(at_a_time), noise.split(at_a_time), strict=True)
    with torch.autocast(symbols.device.type, enabled=False):
        return torch.cat([_align(*piece) for piece in pieces]) if len(symbols) else symbols


def _align(symbols: Tensor, noise: Tensor) -> Tensor:
    offsets = offset_grid(REACH, symbols.device)
    prior = -(offsets / EXPECTED).square() / 2
    find = compiled_search if symbols.device.type == "cpu" else searched
    offset, phase = find(symbols, noise, offsets, prior)
    time = torch.arange(symbols.shape[1], device=symbols.device) - (symbols.shape[1] - 1) / 2
    turn = phase + 2 * pi * offset * time
    return symbols * torch.polar(torch.ones_like(turn), -turn)


def compiled_search(
    symbols: Tensor, noise: Tensor, offsets: Tensor, prior: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the likeliest offset and phase, [frame, 1] each, of frames on a CPU."""
    prior = prior.expand(len(symbols), len(offsets))
    _, offset, phase, peak = compiled(symbols, noise, prior, LEVELS_DB, PER_ALPHABET)
    chosen = peak.argmax(1, keepdim=True)
    return offset.gather(1, chosen), phase.gather(1, chosen)


def searched(
    symbols: Tensor, noise: Tensor, offsets: Tensor, prior: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the same by torch on any device."""
    search, device = Search(symbols, noise, LEVELS_DB, PER_ALPHABET), symbols.device
    prior = prior.view(1, -1, 1)
    best = torch.full((len(symbols),), -torch.inf, device=device)
    chosen = torch.zeros(len(symbols), dtype=torch.long, device=device)
    found = torch.zeros(len(symbols), 2, device=device)  # offset, phase
    for kind, phases, line, constant in search.tried(offsets):
        line = line.movedim(1, 3)  # [alphabet, frame, offset, harmonic]
        turn = search.tables.order[kind.its].unsqueeze(1) * phases
        score = 2 * (line.real @ turn.cos() + line.imag @ turn.sin())
        highest, where = (score + prior).flatten(2).max(2)
        highest, which = (highest + constant).max(0)
        where = where.gather(0, which.unsqueeze(0)).squeeze(0)
        better = highest > best
        best = torch.where(better, highest, best)
        chosen = torch.where(better, kind.alphabets[which], chosen)
        here = torch.stack([offsets[where // PHASES], phases[where % PHASES]], 1)
        found = torch.where(better.unsqueeze(1), here, found)
    return search.refined(chosen, *found.unbind(1))
