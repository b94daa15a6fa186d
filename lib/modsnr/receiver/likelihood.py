"""Likelihoods of alphabets, the carrier's phase and offset averaged out or searched for.

The log-likelihood of a symbol at z, of a known alphabet and in known noise, is a function of its
radius and angle. Its angular Fourier series sum_M h_M(|z|) exp(j M arg z) turns the search for the
carrier into one for spectral lines: at phase p and offset f the frame's log-likelihood is
2 Re sum_M exp(-j M p) sum_k h_M(|z_k|) exp(j M (arg z_k - 2 pi f k)). A power of the symbols, as
Viterbi and Viterbi (1983) take it, is one such line with a weight that suits PSK alone; on dense
QAM and APSK the points far out, which show the angle, must weigh more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import log, pi
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from modsnr.receiver.posterior import ALPHABETS
from modsnr.receiver.staggered import staggered_likelihood
from modsnr.receiver.tables import (
    FINE_DB,
    GAINS,
    PER_ALPHABET,
    PER_FINE,
    PHASES,
    Kind,
    hypotheses,
    log_gains,
    of_alphabets,
    packed,
    phases_tried,
    places,
    tables,
)
from modsnr.receiver.timing import EDGE_SYMBOLS, decimated, matched, timing_line
from modsnr.signals import STUDY_CLASSES

# Offsets are tried so far apart, cycles/symbol; a step of them, or of the phases, is divided into
# so many parts at last.
STEP, REFINED = 0.0002, 4
AT_A_TIME = 512, 2048  # frames on a CPU, for its caches, and elsewhere, which bounds memory
# Receivers on one clock have offsets of about this deviation, others of the wider one.
LOCKED, WIDE = 0.0012, 0.09  # cycles/symbol
LEAST_REACH, FURTHEST_REACH = 0.004, 0.03  # cycles/symbol searched on either side


class Likelihoods(NamedTuple):
    """What symbols show of each of ``ALPHABETS``; all are float32 [frame, alphabet]."""

    marginal: Tensor  # log-likelihood, phase and offset averaged out
    offset: Tensor  # the likeliest, cycles/symbol
    phase: Tensor  # the likeliest, radians at the middle of the frame


def likelihoods(
    symbols: Tensor,
    noise: Tensor,
    *,
    coarse: Tensor | None = None,
    deviation: Tensor | None = None,
    levels_db: tuple[float, ...] = FINE_DB,
) -> Likelihoods:
    """Return the log-likelihood of each alphabet, with the likeliest offset and phase.

    ``symbols`` is complex64 [frame, symbol] at any scale, ``noise`` the noise's share of their
    power, float [frame], 0 to 1. The carrier's offset in the symbols has a prior, by default
    N(0, LOCKED): that of a receiver that is already locked. If ``coarse`` is what another step has
    taken off the carrier and ``deviation`` that step's standard deviation, both float [frame] in
    cycles/symbol, the prior is N(0, deviation) times that of the whole carrier, an even mixture of
    N(0, LOCKED) and N(0, WIDE). The search reaches three deviations. Symbols may be greater than
    their power shows (``GAINS``), and APSK may have the rings of liquid-dsp: likelihoods are means
    over both. A term that all alphabets share is left out. Frames of NaN have likelihoods of NaN.
    """
    found = torch.zeros(3, len(symbols), len(ALPHABETS), device=symbols.device)
    for rows, offsets, prior in _by_reach(symbols, coarse, deviation):
        found[:, rows] = _likelihoods(symbols[rows], noise[rows], offsets, prior, levels_db)
    return Likelihoods(*found)


def frame_likelihoods(
    iq: Tensor,
    noise: Tensor,
    *,
    rolloff: Tensor | None = None,
    coarse: Tensor | None = None,
    deviation: Tensor | None = None,
) -> Likelihoods:
    """Return ``likelihoods`` of frames for all of ``STUDY_CLASSES``, OQPSK's beside the others'.

    ``iq`` is complex64 [frame, sample], ``noise`` the noise's share of the power of its symbols,
    ``rolloff`` the matched filter's, by default the usual one; float [frame]. The others are those
    of ``likelihoods``.
    """
    found = torch.zeros(3, len(iq), len(STUDY_CLASSES), device=iq.device)
    spectrum = matched(iq, rolloff)
    symbols = decimated(spectrum, timing_line(spectrum))[:, EDGE_SYMBOLS:-EDGE_SYMBOLS]
    power = symbols.abs().square().mean(1)
    column = STUDY_CLASSES.index("OQPSK")
    for rows, offsets, prior in _by_reach(iq, coarse, deviation):
        others = _likelihoods(symbols[rows], noise[rows], offsets, prior, FINE_DB)
        own = staggered_likelihood(spectrum[rows], power[rows], noise[rows], offsets, prior)
        parts = others[..., :column], own.unsqueeze(2), others[..., column:]
        found[:, rows] = torch.cat(parts, 2)
    return Likelihoods(*found)


def _by_reach(
    frames: Tensor, coarse: Tensor | None, deviation: Tensor | None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield rows of frames searched alike, their offsets, and log-probabilities [row, offset]."""
    device, at_a_time = frames.device, AT_A_TIME[frames.device.type != "cpu"]
    if coarse is None or deviation is None:
        offsets = offset_grid(LEAST_REACH, device)
        prior = (-(offsets / LOCKED).square() / 2).log_softmax(0)
        for rows in torch.arange(len(frames), device=device).split(at_a_time):
            yield rows, offsets, prior.expand(len(rows), -1)
        return
    reach = (3 * deviation).nan_to_num(0).clamp(LEAST_REACH, FURTHEST_REACH)
    doublings = (reach / LEAST_REACH).log2().sub(1e-3).ceil().clamp(min=0)
    for times in doublings.unique().tolist():
        offsets = offset_grid(min(LEAST_REACH * 2**times, FURTHEST_REACH), device)
        for rows in (doublings == times).nonzero().flatten().split(at_a_time):
            yield rows, offsets, log_prior(offsets, coarse[rows], deviation[rows]).log_softmax(1)


def log_prior(offsets: Tensor, coarse: Tensor, deviation: Tensor) -> Tensor:
    """Return the log prior of offsets [offset] for each frame, [frame, offset], up to a constant.

    ``coarse`` and ``deviation`` are as ``likelihoods`` takes them.
    """
    whole = coarse.unsqueeze(1) + offsets
    locked = -(whole / LOCKED).square() / 2 - log(LOCKED)
    wide = -(whole / WIDE).square() / 2 - log(WIDE)
    return torch.logaddexp(locked, wide) - (offsets / deviation.unsqueeze(1)).square() / 2


def offset_grid(reach: float, device: torch.device) -> Tensor:
    """Return the offsets tried over +-``reach``, float32 [offset], ``STEP`` apart."""
    return torch.linspace(-reach, reach, 2 * round(reach / STEP) + 1, device=device)


def _likelihoods(
    symbols: Tensor, noise: Tensor, offsets: Tensor, prior: Tensor, levels_db: Sequence[float]
) -> Tensor:
    """Return the fields of ``Likelihoods``, [3, frame, alphabet]; ``prior`` [frame, offset].

    The mean over the grid is right where the likelihood is broad; where it is narrower than a step,
    that over the finer grid about its peak is. On a CPU a compiled loop searches, elsewhere torch.
    """
    if symbols.device.type == "cpu":
        found = compiled(symbols, noise, prior, levels_db, PER_FINE, gains=GAINS)[:3]
    else:
        found = searched(symbols, noise, offsets, prior, levels_db)
    return of_alphabets(found)


def compiled(
    symbols: Tensor,
    noise: Tensor,
    prior: Tensor,
    levels_db: Sequence[float],
    most: int,
    *,
    gains: Sequence[float] = (1.0,),
) -> Tensor:
    """Return the fields of ``Likelihoods`` and the peak, [4, frame, hypothesis].

    Frames lie on a CPU, ``prior`` is [frame, offset], and alphabets have ``most`` harmonics. The
    marginal is a mean over ``gains``, the peak is that of the first.
    """
    from modsnr.receiver.searching import search  # numba takes half a second to import

    place = torch.stack([places(symbols, noise, levels_db, gain) for gain in gains])
    found = search(
        symbols.resolve_conj().contiguous().numpy(),
        place.numpy(),
        prior.contiguous().numpy(),
        np.array(log_gains(gains, symbols.shape[1])),
        packed(tuple(levels_db), most),
        (STEP, REFINED),
    )
    return torch.from_numpy(found)


def searched(
    symbols: Tensor, noise: Tensor, offsets: Tensor, prior: Tensor, levels_db: Sequence[float]
) -> Tensor:
    """Return the same for each of ``hypotheses``, by torch on any device."""
    found = torch.zeros(3, len(symbols), len(hypotheses(PER_FINE)), device=symbols.device)
    with torch.autocast(symbols.device.type, enabled=False):
        search = Search(symbols, noise, levels_db, PER_FINE)
        near = torch.arange(-REFINED, REFINED + 1, device=symbols.device) / REFINED
        gains = log_gains(GAINS, symbols.shape[1])
        others = [places(symbols, noise, levels_db, gain) for gain in GAINS[1:]]
        for kind, phases, line, constant in search.tried(offsets):
            order = search.tables.order[kind.its].view(-1, 1)
            score = _scores(line, order * phases)  # [alphabet, phase, frame, offset]
            broad = (score.logsumexp(1) + prior).logsumexp(2) - log(len(phases))
            top, along = score.max(1)
            across = (top + prior).argmax(2, keepdim=True)
            phase, offset = phases[along.gather(2, across)], offsets[across]
            aside = (phases[1] - phases[0]) * near
            peak = across[..., 0], phase[..., 0]
            score = _scores(search.near(kind, *peak, near), order * aside)
            narrow = score.logsumexp((1, 3))
            heights = [narrow + gains[0] + constant]
            for place, weight in zip(others, gains[1:], strict=True):
                other = _scores(search.near(kind, *peak, near, place), order * aside)
                total = kind.constant[:, place].sum(2)
                heights.append(other.logsumexp((1, 3)) + weight + total)
            gained = torch.stack(heights).logsumexp(0) - narrow
            narrow = narrow - log(len(phases) * REFINED**2)
            narrow = narrow + prior.gather(1, across[..., 0].T).T
            where = score.transpose(1, 2).flatten(2).argmax(2, keepdim=True)
            phase, offset = (
                phase + aside[where // len(near)],
                offset + STEP * near[where % len(near)],
            )
            found[0, :, kind.alphabets] = (torch.maximum(broad, narrow) + gained).T
            found[1, :, kind.alphabets] = offset[..., 0].T
            found[2, :, kind.alphabets] = phase[..., 0].T
    return found


def _scores(line: Tensor, turn: Tensor) -> Tensor:
    """Return 2 Re sum_M exp(-j turn_M) line_M as one product: [alphabet, phase, frame, offset].

    ``line`` is complex64 [alphabet, harmonic, frame, offset], ``turn`` [harmonic, phase].
    """
    parts = torch.view_as_real(line).movedim(4, 2).flatten(3).flatten(1, 2)
    weights = torch.stack([turn.cos(), turn.sin()], 1).flatten(0, 1).T
    return 2 * (weights @ parts).unflatten(2, line.shape[2:])


class Search:
    """The lines of some frames' symbols, complex64 [frame, symbol], ``noise`` [frame] as above."""

    def __init__(self, symbols: Tensor, noise: Tensor, levels_db: Sequence[float], most: int):
        device, self.most = symbols.device, most
        self.tables = tables(tuple(levels_db), most, device, at_once=device.type != "cpu")
        self.place = places(symbols, noise, levels_db)
        self.time = torch.arange(symbols.shape[1], device=device) - (symbols.shape[1] - 1) / 2
        angle = symbols.angle()
        order = self.tables.order.view(-1, 1, 1)
        self.powers = torch.polar(torch.ones_like(angle), order * angle)

    def tried(self, offsets: Tensor) -> Iterator[tuple[Kind, Tensor, Tensor, Tensor]]:
        """Yield kinds, phases, lines [alphabet, harmonic, frame, offset], constants.

        The log-likelihood at a phase is that of ``_scores`` and the constant [alphabet, frame].
        """
        waves = self._waves(offsets)
        self.rows = waves.transpose(1, 2).contiguous()  # [order, offset, symbol]
        for kind in self.tables.kinds:
            count = phases_tried(kind.first, self.most)
            phases = torch.arange(count, device=offsets.device) * (2 * pi / kind.first / count)
            self.line = kind.lines[..., self.place] * self.powers[kind.its]
            yield kind, phases, self.line @ waves[kind.its], kind.constant[:, self.place].sum(2)

    def near(
        self,
        kind: Kind,
        across: Tensor,
        phase: Tensor,
        near: Tensor,
        place: Tensor | None = None,
    ) -> Tensor:
        """Return lines [alphabet, harmonic, frame, offset] at steps ``near`` from where one was.

        That was at ``across``, a place in the offsets, and ``phase``, which is taken off, both
        [alphabet, frame]; ``kind`` is the one yielded last. Symbols are at their own places, or at
        ``place``.
        """
        line = self.line if place is None else kind.lines[..., place] * self.powers[kind.its]
        rows = self.rows[kind.its][:, across].transpose(0, 1)  # [alphabet, harmonic, frame, symbol]
        turn = self.tables.order[kind.its].view(-1, 1) * phase.unsqueeze(1)
        turned = torch.polar(torch.ones_like(turn), -turn).unsqueeze(3)
        return (line * rows) @ self._waves(STEP * near)[kind.its] * turned

    def _waves(self, offsets: Tensor) -> Tensor:
        """Return the orders' waves at the offsets, complex64 [order, symbol, offset]."""
        order = self.tables.order.view(-1, 1, 1)
        turn = 2 * pi * order * self.time.unsqueeze(1) * offsets
        return torch.polar(torch.ones_like(turn), -turn)

    def refined(self, chosen: Tensor, offset: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best offset and phase [frame, 1] within a step of those given, [frame].

        ``chosen`` is int64 [frame], the alphabet.
        """
        known = self.tables
        its = known.its[chosen]  # [frame, harmonic]
        row = torch.arange(len(chosen), device=chosen.device)
        lines = (
            known.lines[chosen.unsqueeze(1), column, self.place] * self.powers[its[:, column], row]
            for column in range(PER_ALPHABET)
        )
        return _refined(offset, phase, known.order[its], lines, self.time)


def _refined(
    offset: Tensor, phase: Tensor, orders: Tensor, lines: Iterable[Tensor], time: Tensor
) -> tuple[Tensor, Tensor]:
    """Return offset and phase [frame, 1] at the best place within a step of those given.

    ``orders`` [frame, harmonic] begin with that of the alphabet's symmetry; ``lines`` are complex
    [frame, symbol], one a harmonic.
    """
    near = torch.arange(-REFINED, REFINED + 1, device=offset.device) / REFINED
    offsets = offset.unsqueeze(1) + STEP * near
    phases = phase.unsqueeze(1) + 2 * pi / PHASES / orders[:, :1] * near
    score = torch.zeros(len(offset), len(near), len(near), device=offset.device)
    for order, line in zip(orders.split(1, 1), lines, strict=True):
        turn = 2 * pi * (order * offsets).unsqueeze(2) * time  # [frame, offset, symbol]
        summed = torch.polar(torch.ones_like(turn), -turn) @ line.unsqueeze(2)  # [frame, offset, 1]
        angle = (order * phases).unsqueeze(1)
        score += summed.real * angle.cos() + summed.imag * angle.sin()
    where = score.flatten(1).argmax(1, keepdim=True)
    across, along = where // len(near), where % len(near)
    return offsets.gather(1, across), phases.gather(1, along)
