"""A compiled loop over the points of alphabets; importing this module takes half a second."""

from functools import lru_cache

import numpy as np
from numba import njit

from modsnr.receiver.posterior import ALPHABETS
from modsnr.receiver.threads import in_pieces
from modsnr.signals import alphabet

# 2^f for 0 <= f < 1 to 1e-6: a polynomial of least greatest error, highest power first.
POWER_OF_TWO = tuple(
    map(np.float32, (1.8775767e-3, 8.9893397e-3, 5.5826318e-2, 2.4015361e-1, 6.9315308e-1, 1.0))
)


def average(real: np.ndarray, imaginary: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return means of coordinates and power, and log-likelihoods [frame, 4, alphabet, symbol].

    ``real`` and ``imaginary`` are the symbols' coordinates, float32 [frame, alphabet, symbol];
    ``noise`` is float32 [frame, alphabet].
    """
    found = np.empty((len(real), 4, *real.shape[1:]), np.float32)

    def run(piece: slice) -> None:
        _average(real[piece], imaginary[piece], noise[piece], *_points(), found[piece])

    in_pieces(run, len(real))
    return found


@lru_cache(maxsize=1)
def _points() -> tuple[np.ndarray, np.ndarray]:
    """Return the points' coordinates and power, float32 [point, 3], and each alphabet's first."""
    points = [alphabet(name).numpy() for name in ALPHABETS]
    joined = np.concatenate(points)
    table = np.stack([np.real(joined), np.imag(joined), np.abs(joined) ** 2], 1).astype(np.float32)
    return table, np.cumsum([0, *map(len, points)])


@njit(cache=True, fastmath=True)
def _slopes(point, scale):  # pragma: no cover - compiled
    """Return how a point's log2 likelihood grows with x and y, and what is taken off it."""
    two = np.float32(2)
    return two * scale * point[0], two * scale * point[1], scale * point[2]


@njit(cache=True, nogil=True, fastmath=True)
def _average(real, imaginary, noise, points, first, found):  # pragma: no cover - compiled
    frames, alphabets, symbols = real.shape
    log2_e, least = np.float32(1.4426950), np.float32(-126)
    p0, p1, p2, p3, p4, p5 = POWER_OF_TWO
    work = np.empty((5, symbols), np.float32)
    for frame in range(frames):
        most, total, across, along, power = work
        for each in range(alphabets):
            x, y = real[frame, each], imaginary[frame, each]
            scale = log2_e / noise[frame, each]
            start, stop = first[each], first[each + 1]
            most[:] = np.float32(-1e30)
            total[:] = across[:] = along[:] = power[:] = np.float32(0)
            for k in range(start, stop):
                a, b, c = _slopes(points[k], scale)
                for symbol in range(symbols):
                    near = x[symbol] * a + y[symbol] * b - c
                    most[symbol] = near if near > most[symbol] else most[symbol]
            for k in range(start, stop):
                a, b, c = _slopes(points[k], scale)
                for symbol in range(symbols):
                    # 2^e by its whole part, which moves into the bits, and a polynomial.
                    e = x[symbol] * a + y[symbol] * b - c - most[symbol]
                    e = e if e > least else least
                    whole = np.floor(e)
                    f = e - whole
                    value = ((((p0 * f + p1) * f + p2) * f + p3) * f + p4) * f + p5
                    bits = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23))
                    weight = value * bits.view(np.float32)
                    total[symbol] += weight
                    across[symbol] += weight * points[k, 0]
                    along[symbol] += weight * points[k, 1]
                    power[symbol] += weight * points[k, 2]
            count = np.float32(stop - start)
            for symbol in range(symbols):
                found[frame, 0, each, symbol] = across[symbol] / total[symbol]
                found[frame, 1, each, symbol] = along[symbol] / total[symbol]
                found[frame, 2, each, symbol] = power[symbol] / total[symbol]
                apart = (x[symbol] * x[symbol] + y[symbol] * y[symbol]) * scale
                likelihood = np.log(total[symbol] / count) + (most[symbol] - apart) / log2_e
                found[frame, 3, each, symbol] = likelihood
