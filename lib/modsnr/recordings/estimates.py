"""Where the strongest signal of a recording lies, and its symbol rate, for the receiver to refine.

IQ is complex [excerpt, sample], excerpts of one recording; frequencies are in cycles/sample, rates
in symbols/sample. The power of a linearly modulated signal has a line at the symbol rate (Gardner,
IEEE Trans. Commun. 34(5), 1986); that of OQPSK has none, but its square has two, a symbol rate on
either side of twice the carrier (Gini and Giannakis, IEEE Trans. Commun. 46(3), 1998). Noise has
lines as well: a line counts by how improbable it is without a signal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import fft, ndimage, signal, special
from scipy.signal import windows

from modsnr import InputError

FEWEST_SAMPLES = 4096
PIECE, PIECES = 2**17, 64  # samples read at once; most of them, spread over the recording
EXCERPTS = 8  # the loudest pieces, and as many of the loudest moments: lines are looked for there
MOST_BINS, SEGMENTS = 4096, 4  # of a spectrum; at one moment
STANDS_OUT = 1.5  # density of signal and noise over that of noise
BURSTS = 2.0  # power of the loudest moments over that of the quietest
EVIDENCE = 8 * math.log(10)  # nats: noise alone makes such a line with probability 1e-8
SPREAD = 0.5  # nepers, prior deviation of the symbol rate from the band's width
BLOCK = 128  # bins whose median is the level that a line stands out of


class Band(NamedTuple):
    """A band between its half-power points; of root-raised cosines its width is the symbol rate."""

    centre: float
    width: float


class Line(NamedTuple):
    """A symbol rate by a spectral line; ``evidence`` in nats."""

    evidence: float
    symbol_rate: float


def find_signal(read: Callable[[int, int], np.ndarray], samples: int) -> tuple[float, Band, Line]:
    """Return carrier, band and symbol-rate line of the strongest signal among so many samples.

    ``read`` returns complex [sample] from a first sample on, so many. The carrier is good to about
    a tenth of the symbol rate. Without a line the band's width stands for the rate.

    Raises InputError for too few samples, and if nothing stands out of the noise.
    """
    if samples < FEWEST_SAMPLES:
        raise InputError(
            f"There are {samples} samples; an estimate needs at least {FEWEST_SAMPLES}."
        )
    length = samples if samples < 2 * PIECE else PIECE
    count = min(PIECES, samples // length)
    starts = np.linspace(0, samples - length, count).astype(int).tolist()
    density = np.stack([spectra(read(start, length)) for start in starts])
    excess = signal_density(density.reshape(-1, density.shape[2]))
    band = occupied_band(excess)
    loud = (density * (excess > 0)).sum(2)
    moment = SEGMENTS * density.shape[2]
    best = Line(0.0, band.width)
    for places, size in (
        (np.array([starts]), length),
        (np.array(starts) + moment * np.arange(loud.shape[1])[:, None], moment),
    ):
        order = np.argsort((loud.max(1) if size == length else loud.T).ravel())[-EXCERPTS:]
        iq = np.stack([read(start, size) for start in sorted(places.ravel()[order].tolist())])
        best = max(best, symbol_rate(iq, band))
    found = best if best.evidence > EVIDENCE else Line(0.0, band.width)
    return carrier(excess, found.symbol_rate), band, found


def spectra(iq: np.ndarray) -> np.ndarray:
    """Return power densities of [sample], float [moment, bin], frequency 0 first."""
    bins = min(MOST_BINS, 2 ** int(np.log2(len(iq) / 32)))
    length = SEGMENTS * bins
    moments = iq[: len(iq) // length * length].reshape(-1, length)
    return signal.welch(moments, nperseg=bins, return_onesided=False, detrend="constant")[1]


def signal_density(density: np.ndarray) -> np.ndarray:
    """Return the density [bin] of the signal in moments [moment, bin].

    That of bursts is what the loudest eighth of the moments has above the quietest; else the noise
    is the lowest tenth of the spectrum. A median over nine bins takes out DC and other spikes.

    Raises InputError if nothing stands out.
    """
    order = np.argsort(density.sum(1))
    count = -(-len(order) // 8)
    always, loud, quiet = (
        ndimage.median_filter(density[some].mean(0), 9, mode="wrap")
        for some in (order, order[-count:], order[:count])
    )
    bursts = loud.sum() > BURSTS * quiet.sum()
    loud, floor = (loud, quiet) if bursts else (always, np.quantile(always, 0.1))
    excess = np.where(loud > STANDS_OUT * floor, loud - floor, 0.0)
    if not excess.any():
        raise InputError("No signal stands out of the noise floor: nothing to condition.")
    return excess


def occupied_band(excess: np.ndarray) -> Band:
    """Return the band with the most power of a signal's density [bin]."""
    # The spectrum is a circle: cut it where it is emptiest, so that no signal is cut.
    cut = int(ndimage.uniform_filter1d(excess, len(excess) // 8, mode="wrap").argmin())
    excess = np.roll(excess, -cut)
    # The level above which half of the power lies is the flat top, whatever the edges do.
    levels = np.sort(excess)
    top = levels[np.searchsorted(np.cumsum(levels), levels.sum() / 2)]
    labelled: Any = ndimage.label(ndimage.binary_closing(excess > top / 2, np.ones(9)))
    runs, count = labelled
    sums = ndimage.sum_labels(excess, runs, np.arange(1, count + 1))
    inside = np.flatnonzero(runs == 1 + int(np.argmax(sums))) + cut
    return Band(wrapped(inside.mean() / len(excess)), len(inside) / len(excess))


def carrier(excess: np.ndarray, rate: float) -> float:
    """Return the middle of the band, a symbol rate wide, with the most power of a density [bin]."""
    width = 2 * round(rate * len(excess) / 2) + 1
    power = ndimage.uniform_filter1d(excess, width, mode="wrap")
    return wrapped(int(power.argmax()) / len(excess))


def wrapped(frequency: float) -> float:
    """Return a frequency within -0.5 .. 0.5."""
    return float((frequency + 0.5) % 1 - 0.5)


def symbol_rate(iq: np.ndarray, band: Band) -> Line:
    """Return the likeliest line of the signal in a band, at 0.05 to 1.4 of its width.

    Of a pair, half the evidence of the weaker line counts: preambles of other modulations have
    such pairs beside a line as strong, but OQPSK has no strong line.
    """
    spectrum: Any = fft.fft(iq - iq.mean(1, keepdims=True), axis=1)  # without the receiver's DC
    away = (fft.fftfreq(iq.shape[1]) - band.centre + 0.5) % 1 - 0.5
    spectrum[:, np.abs(away) > 0.8 * band.width] = 0
    x: Any = fft.ifft(np.roll(spectrum, -round(band.centre * iq.shape[1]), 1), axis=1)
    x = x / np.sqrt(np.square(np.abs(x)).mean()).clip(1e-30)
    size: Any = fft.next_fast_len(2 * iq.shape[1])
    places = np.arange(math.ceil(0.05 * band.width * size), 1.4 * band.width * size, dtype=int)
    prior = -np.square(np.log(places / size / band.width) / SPREAD) / 2 - math.log(size)
    power, square = _evidence(np.square(np.abs(x)), size), _evidence(x**2, size)
    upright, upper, lower = power[places % size], square[places % size], square[-places % size]
    line = int((upright + prior).argmax())
    apart = np.where(2 * places < size, prior, -np.inf)  # beyond, one is taken for the other
    above, below = (int((of + apart).argmax()) for of in (upper, lower))
    single = upright[line] + prior[line], _vertex(upright, line)
    pair = (
        min(upper[above], lower[below]) / 2 + prior[(above + below) // 2],
        (_vertex(upper, above) + _vertex(lower, below)) / 2,
    )
    evidence, place = max(single, pair)
    return Line(float(evidence), (places[0] + place) / size)


def _evidence(product: np.ndarray, size: int) -> np.ndarray:
    """Return minus the log of the probability of each bin's power, products [excerpt, sample].

    Without a signal the bins have exponential powers about a local level, whose sum over excerpts
    has a gamma distribution; this is its tail.
    """
    window = windows.hann(product.shape[1], sym=False)
    total = np.zeros(size)
    for excerpt in product:
        spectrum: Any = fft.fft(excerpt * window, size)
        power = np.square(np.abs(spectrum))
        medians = np.median(power[: size // BLOCK * BLOCK].reshape(-1, BLOCK), axis=1)
        middles = (np.arange(len(medians)) + 0.5) * BLOCK
        level = np.interp(np.arange(size), middles, medians) / math.log(2)
        total += power / level.clip(1e-30)
    total = np.maximum(total, len(product))
    return total - (len(product) - 1) * np.log(total) + special.gammaln(len(product))


def _vertex(values: np.ndarray, index: int) -> float:
    """Return the place of the vertex of the parabola through a maximum and its neighbours."""
    if not 0 < index < len(values) - 1:
        return float(index)
    before, here, after = values[index - 1 : index + 2]
    bend = before - 2 * here + after
    return float(index + (0.5 * (before - after) / bend if bend < 0 else 0.0))
