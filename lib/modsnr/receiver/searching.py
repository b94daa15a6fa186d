"""The search of ``likelihood``, compiled; importing this module takes half a second.

Symbols at times t and -t are taken together. With E the sum of (l_t + l_-t) cos(2 pi f t) and O
that of (l_t - l_-t) sin(2 pi f t) over t > 0, the line of l at the frequency f is E - j O and that
at -f is E + j O, so that a quarter of the products is left.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from modsnr.receiver.tables import Packed
from modsnr.receiver.threads import in_pieces

# What may be reordered, without taking NaN and infinity for impossible.
FAST = {"contract", "reassoc", "nsz", "arcp", "afn"}
NEGLIGIBLE = np.float32(20)  # nats: a term so far below the greatest of a sum is left out
VECTOR = 32  # of numbers: a compiled loop is fastest over a multiple of them
ZERO = np.float32(0)


class Waves(NamedTuple):
    """Cosine and sine [0 and 1] of the orders' phases at later symbols, offsets from 0 upward."""

    wide: np.ndarray  # float32 [2, order, offset, pair], a step apart
    near: np.ndarray  # float32 [2, order, offset, pair], a part of a step apart
    turns: np.ndarray  # float32 [2, part of a turn], of phases, twice
    step: float  # cycles/symbol


def search(
    symbols: np.ndarray,
    place: np.ndarray,
    prior: np.ndarray,
    gains: np.ndarray,
    tables: Packed,
    grid: tuple,
) -> np.ndarray:
    """Return marginal log-likelihood, offset, phase and peak, float32 [4, frame, alphabet].

    The peak is the greatest log-likelihood, with the prior, of the offsets and phases tried.

    ``symbols`` is complex64 [frame, symbol], ``place`` int64 [gain, frame, symbol], into the
    tables; ``prior`` float32 [frame, offset], ``gains`` [gain] are logarithms. The first gain finds
    the peak, about which the others are then tried. ``grid`` is the step of the offsets, in
    cycles/symbol, and into how many parts the last one is divided.
    """
    frames, count = symbols.shape
    turns = int(tables.phases.max()) * grid[1]
    waves = _waves(count, prior.shape[1] // 2 + 1, *grid, tuple(tables.orders.tolist()), turns)
    found = np.empty((frames, 4, len(tables.first)), np.float32)
    parts = symbols.view(np.float32).reshape(frames, count, 2)

    def run(piece: slice) -> None:
        own = parts[piece], place[:, piece], prior[piece]
        _search(*own, gains, tables, waves, found[piece])

    in_pieces(run, frames)
    return found.transpose(1, 0, 2)


@lru_cache(maxsize=8)
def _waves(
    symbols: int, offsets: int, step: float, parts: int, orders: tuple[int, ...], turns: int
) -> Waves:
    pairs = -(-symbols // (2 * VECTOR)) * VECTOR  # those too many are of no symbols
    time = np.arange(pairs) + (0 if symbols % 2 else 0.5)
    angle = 2 * np.pi * step * np.array(orders).reshape(-1, 1, 1) * time
    angles = (
        angle * np.arange(offsets).reshape(-1, 1),
        angle * np.arange(parts + 1).reshape(-1, 1) / parts,
    )
    turn = np.arange(turns) * (2 * np.pi / turns)
    wide, near, turned = (
        np.stack([np.cos(of), np.sin(of)]).astype(np.float32) for of in (*angles, turn)
    )
    return Waves(wide, near, 2 * turned, step)


@njit(cache=True, nogil=True, fastmath=FAST)
def _search(symbols, place, prior, gains, tables, waves, found):  # pragma: no cover - compiled
    pairs, middle = waves.wide.shape[3], prior.shape[1] // 2
    lines, parts = len(tables.which), waves.near.shape[2] - 1
    alphabets = len(tables.first)
    power = np.empty((tables.orders[-1] + 1, 4, (symbols.shape[1] + 1) // 2), np.float32)
    folded = np.empty((lines, 4, pairs), np.float32)
    wide = np.empty((lines, 2, prior.shape[1]), np.float32)
    near = np.empty((lines, 2, 2 * parts + 1), np.float32)
    at = np.empty((alphabets, 2), np.int64)  # the peak's offset and phase
    height = np.empty((alphabets, len(gains)))  # about the peak
    for frame in range(len(symbols)):
        _powers(symbols[frame], power)
        for gain in range(len(gains)):
            _fold(place[gain, frame], power, tables, folded)
            if not gain:
                for line in range(lines):
                    order = tables.which[line]
                    _transform(folded[line], waves.wide[0, order], waves.wide[1, order], wide[line])
            for each in range(alphabets):
                own = slice(tables.start[each], tables.start[each + 1])
                total = gains[gain]
                for symbol in range(place.shape[2]):
                    total += tables.constant[place[gain, frame, symbol], each]
                tried, multiple = tables.phases[each], tables.multiple[own]
                if not gain:
                    broad, best, across, along = _broad(
                        wide[own], multiple, tried, waves.turns, prior[frame]
                    )
                    at[each, 0], at[each, 1] = across, along
                across, along = at[each]
                _turn(folded[own], tables.which[own], waves, across - middle, near[own])
                narrow, step, part = _narrow(near[own], multiple, tried, waves.turns, along)
                narrow += prior[frame, across]
                height[each, gain] = total + narrow
                if not gain:
                    found[frame, 0, each] = total + (narrow if narrow > broad else broad)
                    found[frame, 1, each] = (across - middle + (step - parts) / parts) * waves.step
                    turn = 2 * np.pi / (tables.first[each] * tried)
                    found[frame, 2, each] = (along + (part - parts) / parts) * turn
                    found[frame, 3, each] = total + best - gains[0]
        for each in range(alphabets):
            found[frame, 0, each] += np.log(np.exp(height[each] - height[each].max()).sum())
            found[frame, 0, each] += height[each].max() - height[each, 0]


@njit(cache=True, fastmath=FAST)
def _powers(symbols, power):  # pragma: no cover - compiled
    """Write the powers of symbols' units [order, 4, pair], of the later, then of the earlier."""
    count, pairs = len(symbols), (len(symbols) + 1) // 2
    for pair in range(pairs):
        late, early = count // 2 + pair, (count + 1) // 2 - 1 - pair
        power[0, 0, pair] = np.float32(1)
        power[0, 1, pair] = power[0, 3, pair] = ZERO
        power[0, 2, pair] = np.float32(late != early)  # the middle one counts once
        power[1, 0, pair], power[1, 1, pair] = _unit(symbols[late])
        power[1, 2, pair], power[1, 3, pair] = _unit(symbols[early])
    for order in range(2, len(power)):
        low, high = order // 2, order - order // 2
        for side in (0, 2):
            a, b = power[low, side], power[low, side + 1]
            c, d = power[high, side], power[high, side + 1]
            real, imaginary = power[order, side], power[order, side + 1]
            for pair in range(pairs):
                real[pair] = a[pair] * c[pair] - b[pair] * d[pair]
            for pair in range(pairs):
                imaginary[pair] = a[pair] * d[pair] + b[pair] * c[pair]
    if count % 2:
        power[1:, 2:, 0] = ZERO  # the middle one counts once


@njit(cache=True, fastmath=FAST)
def _fold(place, power, tables, folded):  # pragma: no cover - compiled
    """Write each line's sums and differences of later and earlier symbols [line, 4, pair], and 0.

    Real and imaginary part of the sums, then of the differences.
    """
    count, pairs = len(place), (len(place) + 1) // 2
    later, earlier = np.empty(pairs, np.int64), np.empty(pairs, np.int64)
    for pair in range(pairs):
        later[pair] = place[count // 2 + pair]
        earlier[pair] = place[(count + 1) // 2 - 1 - pair]
    for line in range(len(folded)):
        a, b, c, d = power[tables.orders[tables.which[line]]]
        for pair in range(pairs):
            x, y = tables.lines[later[pair], 0, line], tables.lines[later[pair], 1, line]
            u, v = tables.lines[earlier[pair], 0, line], tables.lines[earlier[pair], 1, line]
            late_real, late_imaginary = x * a[pair] - y * b[pair], x * b[pair] + y * a[pair]
            real, imaginary = u * c[pair] - v * d[pair], u * d[pair] + v * c[pair]
            folded[line, 0, pair] = late_real + real
            folded[line, 1, pair] = late_imaginary + imaginary
            folded[line, 2, pair] = late_real - real
            folded[line, 3, pair] = late_imaginary - imaginary
        folded[line, :, pairs:] = ZERO


@njit(cache=True, fastmath=FAST)
def _unit(symbol):  # pragma: no cover - compiled
    """Return the cosine and sine of a symbol's angle, 0 for a symbol of 0."""
    radius = np.sqrt(symbol[0] * symbol[0] + symbol[1] * symbol[1])
    if radius == 0:
        return np.float32(1), ZERO
    return symbol[0] / radius, symbol[1] / radius


@njit(cache=True, fastmath=FAST)
def _transform(folded, cosine, sine, found):  # pragma: no cover - compiled
    """Write a line [2, offset] at offsets either side of 0; cosine and sine are [offset, pair]."""
    middle = found.shape[1] // 2
    for offset in range(middle + 1):
        x, y = cosine[offset], sine[offset]
        a = b = c = d = ZERO
        for pair in range(len(x)):
            a += folded[0, pair] * x[pair]
            b += folded[1, pair] * x[pair]
            c += folded[2, pair] * y[pair]
            d += folded[3, pair] * y[pair]
        found[0, middle + offset], found[1, middle + offset] = a + d, b - c
        found[0, middle - offset], found[1, middle - offset] = a - d, b + c


@njit(cache=True, fastmath=FAST)
def _turn(folded, which, waves, offset, found):  # pragma: no cover - compiled
    """Write lines [line, 2, offset] near an offset, a whole number of steps."""
    turned = np.empty(folded.shape[1:], np.float32)
    sign = np.float32(1 if offset >= 0 else -1)
    for line in range(len(folded)):
        order = which[line]
        x, y = waves.wide[0, order, abs(offset)], waves.wide[1, order, abs(offset)]
        a, b, c, d = folded[line]
        for pair in range(len(x)):
            cosine, sine = x[pair], sign * y[pair]
            turned[0, pair] = a[pair] * cosine + d[pair] * sine
            turned[1, pair] = b[pair] * cosine - c[pair] * sine
            turned[2, pair] = c[pair] * cosine + b[pair] * sine
            turned[3, pair] = d[pair] * cosine - a[pair] * sine
        _transform(turned, waves.near[0, order], waves.near[1, order], found[line])


@njit(cache=True, fastmath=FAST)
def _broad(lines, multiple, phases, turns, prior):  # pragma: no cover - compiled
    """Return the log of the mean over phases and sum over offsets, the peak, and where it is."""
    score = np.zeros((phases, len(prior)), np.float32)
    for phase in range(phases):
        _add_up(lines, multiple, phase * (turns.shape[1] // phases), turns, score[phase])
    highest = np.full(len(prior), -np.inf, np.float32)
    for phase in range(phases):
        row = score[phase]
        for offset in range(len(prior)):
            here = row[offset] + prior[offset]
            highest[offset] = here if here > highest[offset] else highest[offset]
    across = along = 0
    for offset in range(1, len(prior)):
        across = offset if highest[offset] > highest[across] else across
    for phase in range(1, phases):
        along = phase if score[phase, across] > score[along, across] else along
    best, total = highest[across], 0.0
    for offset in range(len(prior)):
        if not highest[offset] < best - NEGLIGIBLE:
            for phase in range(phases):
                total += np.exp(score[phase, offset] + prior[offset] - best)
    return best + np.log(total / phases), best, across, along


@njit(cache=True, fastmath=FAST)
def _narrow(lines, multiple, phases, turns, along):  # pragma: no cover - compiled
    """Return the same about a peak, a step of either divided, and its offset and phase there."""
    count = lines.shape[2]
    parts = count // 2
    score = np.zeros((count, count), np.float32)  # [phase, offset]
    for part in range(count):
        phase = (parts * along + part - parts) * (turns.shape[1] // (parts * phases))
        _add_up(lines, multiple, phase, turns, score[part])
    flat, where, total = score.ravel(), 0, 0.0
    for at in range(1, len(flat)):
        where = at if flat[at] > flat[where] else where
    best = flat[where]
    for value in flat:
        if not value < best - NEGLIGIBLE:
            total += np.exp(value - best)
    total = np.log(total / (phases * parts * parts))
    return best + total, where % count, where // count


@njit(cache=True, fastmath=FAST)
def _add_up(lines, multiple, phase, turns, score):  # pragma: no cover - compiled
    """Add twice the real part of lines [line, 2, offset] turned back by a phase to its scores."""
    for line in range(len(lines)):
        turn = (multiple[line] * phase) % turns.shape[1]
        cosine, sine = turns[0, turn], turns[1, turn]
        real, imaginary = lines[line, 0], lines[line, 1]
        for offset in range(len(score)):
            score[offset] += cosine * real[offset] + sine * imaginary[offset]
