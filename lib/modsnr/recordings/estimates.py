"""Where the signals of a recording lie, and their symbol rates, for the receiver to refine.

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
FAINTEST = 0.02  # of the strongest signal's power
NARROWEST = 10  # bins of a signal
APART = 0.25  # widths of the wider of two signals that lie empty between them
BURSTS = 2.0  # power of the loudest moments over that of the quietest
EVIDENCE = 8.0  # nats: noise alone makes such a line with probability 3e-4
FLOOR = 0.05  # of the flat top: the lowest density that is surely the signal's
SPREAD = 0.5  # nepers, prior deviation of the symbol rate from the band's width
HIGHEST = 0.98  # symbols/sample: at 1 lies the mean power, which is no line
BLOCK = 128  # bins whose median is the level that a line stands out of


class NoSignalError(InputError):
    """Nothing stands out of the noise."""


class NoRateError(InputError):
    """There is a signal, but no symbol rate that can be conditioned."""


class Band(NamedTuple):
    """A band between its half-power points; of root-raised cosines its width is the symbol rate.

    Several paths may leave half of the power in a part of it: ``reach`` is on either side of the
    centre as far as anything stands out.
    """

    centre: float
    width: float
    reach: float


class Found(NamedTuple):
    """A signal of a recording."""

    carrier: float  # good to about a tenth of the symbol rate
    band: Band
    line: Line  # without evidence for one the band's width stands for the rate
    clear: float  # on either side of the carrier: as far as no other signal reaches; inf if alone


class Line(NamedTuple):
    """A symbol rate by a spectral line; ``evidence`` in nats."""

    evidence: float
    symbol_rate: float


def find_signals(read: Callable[[int, int], np.ndarray], samples: int, most: int) -> list[Found]:
    """Return at most so many signals among so many samples, the strongest first.

    ``read`` returns complex [sample] from a first sample on, so many.

    Raises InputError for too few samples, NoSignalError if nothing stands out of the noise.
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
    spans = apart(excess)[:most]
    found = []
    for span in spans:
        own = np.where(span, excess, 0.0)
        band = occupied_band(own)
        line = _likeliest(read, starts, length, density * (own > 0), band)
        centre = carrier(own, line.symbol_rate)
        found.append(Found(centre, band, line, _clear(centre, excess * ~span)))
    return found


def apart(excess: np.ndarray) -> list[np.ndarray]:
    """Return which bins, bool [bin], are of each signal in a density [bin], the strongest first.

    Signals lie ``APART``. The strongest has all bins that are not another's.
    """
    cut = _emptiest(excess)
    labelled: Any = ndimage.label(ndimage.binary_closing(np.roll(excess, -cut) > 0, np.ones(9)))
    runs = [np.arange(s.start, s.stop) for (s,) in ndimage.find_objects(labelled[0])]
    joined: list[np.ndarray] = []
    for run in runs:
        gap = run[0] - joined[-1][-1] if joined else len(excess)
        if joined and gap < APART * max(len(joined[-1]), len(run)):
            joined[-1] = np.arange(joined[-1][0], run[-1] + 1)
        else:
            joined.append(run)
    places = sorted(((run + cut) % len(excess) for run in joined), key=lambda p: -excess[p].sum())
    strong = FAINTEST * excess[places[0]].sum()
    kept = [p for p in places[1:] if len(p) >= NARROWEST and excess[p].sum() >= strong]
    spans = [np.isin(np.arange(len(excess)), place) for place in kept]
    return [~np.any(spans, axis=0) if spans else np.ones(len(excess), bool), *spans]


def _emptiest(excess: np.ndarray) -> int:
    """Return where to cut a density [bin], which is a circle, so that no signal is cut."""
    return int(ndimage.uniform_filter1d(excess, len(excess) // 8, mode="wrap").argmin())


def _clear(centre: float, others: np.ndarray) -> float:
    """Return how far from a centre the density [bin] of others begins."""
    bins = np.flatnonzero(others)
    if not len(bins):
        return math.inf
    return float(np.abs((bins / len(others) - centre + 0.5) % 1 - 0.5).min())


def _likeliest(
    read: Callable[[int, int], np.ndarray],
    starts: list[int],
    length: int,
    density: np.ndarray,
    band: Band,
) -> Line:
    """Return the line of the signal in a band, looked for in the loudest pieces and moments.

    ``density`` is the signal's, float [piece, moment, bin]; pieces of so many samples begin at
    ``starts``.
    """
    loud, moment = density.sum(2), SEGMENTS * density.shape[2]
    best = Line(0.0, band.width)
    for places, size in (
        (np.array([starts]), length),
        (np.array(starts) + moment * np.arange(loud.shape[1])[:, None], moment),
    ):
        order = np.argsort((loud.max(1) if size == length else loud.T).ravel())[-EXCERPTS:]
        iq = np.stack([read(start, size) for start in sorted(places.ravel()[order].tolist())])
        best = max(best, symbol_rate(iq, band))
    return best if best.evidence > EVIDENCE else Line(0.0, band.width)


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

    Raises NoSignalError if nothing stands out.
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
        raise NoSignalError("No signal stands out of the noise floor: nothing to condition.")
    return excess


def occupied_band(excess: np.ndarray) -> Band:
    """Return the band with the most power of a signal's density [bin]."""
    cut = _emptiest(excess)
    excess = np.roll(excess, -cut)
    # The level above which half of the power lies is the flat top, whatever the edges do.
    levels = np.sort(excess)
    top = levels[np.searchsorted(np.cumsum(levels), levels.sum() / 2)]
    labelled: Any = ndimage.label(ndimage.binary_closing(excess > top / 2, np.ones(9)))
    runs, count = labelled
    sums = ndimage.sum_labels(excess, runs, np.arange(1, count + 1))
    inside = np.flatnonzero(runs == 1 + int(np.argmax(sums)))
    out = np.flatnonzero(excess > FLOOR * top)
    reach = max(inside.mean() - out[0], out[-1] - inside.mean(), 0.5 * len(inside))
    centre = wrapped((inside.mean() + cut) / len(excess))
    return Band(centre, len(inside) / len(excess), reach / len(excess))


def carrier(excess: np.ndarray, rate: float) -> float:
    """Return the middle of the band, a symbol rate wide, with the most power of a density [bin]."""
    width = 2 * round(rate * len(excess) / 2) + 1
    power = ndimage.uniform_filter1d(excess, width, mode="wrap")
    return wrapped(int(power.argmax()) / len(excess))


def wrapped(frequency: float) -> float:
    """Return a frequency within -0.5 .. 0.5."""
    return float((frequency + 0.5) % 1 - 0.5)


def symbol_rate(iq: np.ndarray, band: Band) -> Line:
    """Return the likeliest line of the signal in a band, at 0.05 of its width to all of its reach.

    Of a pair, half the evidence of the weaker line counts: preambles of other modulations have
    such pairs beside a line as strong, but OQPSK has no strong line. Nor has it one at twice the
    rate: there a pair is but one line of a real alphabet and that of twice its carrier.
    """
    spectrum: Any = fft.fft(iq - iq.mean(1, keepdims=True), axis=1)  # without the receiver's DC
    away = (fft.fftfreq(iq.shape[1]) - band.centre + 0.5) % 1 - 0.5
    spectrum[:, np.abs(away) > max(0.8 * band.width, band.reach)] = 0
    x: Any = fft.ifft(np.roll(spectrum, -round(band.centre * iq.shape[1]), 1), axis=1)
    x = x / np.sqrt(np.square(np.abs(x)).mean()).clip(1e-30)
    size: Any = fft.next_fast_len(2 * iq.shape[1])
    highest = min(HIGHEST, max(1.4 * band.width, 2 * band.reach))
    places = np.arange(math.ceil(0.05 * band.width * size), highest * size, dtype=int)
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
    twice = round(2 * (places[0] + pair[1])) - places[0] + np.arange(-1, 2)
    if (evidence, place) == pair and twice[2] < len(upright):
        of_real = int(twice[0] + upright[twice].argmax())
        if upright[of_real] + prior[of_real] > EVIDENCE:
            evidence, place = pair[0], _vertex(upright, of_real)
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
