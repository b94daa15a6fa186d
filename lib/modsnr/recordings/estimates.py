"""Blind estimates of the signal in a recording: band, symbol rate, carrier, noise floor.

IQ is complex [excerpt, sample], excerpts of one recording, which are averaged. Frequencies are in
cycles/sample, rates in symbols/sample. The recording holds one signal, linearly modulated or GMSK;
if it holds several, the strongest is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import fft
from scipy import ndimage, signal, stats
from scipy.signal import windows

from modsnr import InputError

FALSE_ALARM = -8.0  # log10 of the probability with which noise makes a line that is believed
FEWEST_SAMPLES = 4096


@dataclass(frozen=True)
class Band:
    """The occupied band between its half-power points, in cycles/sample.

    For root-raised cosines of any roll-off the half-power width is the symbol rate.
    """

    centre: float
    width: float
    bell: bool  # no flat top: GMSK, not a root-raised cosine

    @property
    def symbol_rate(self) -> float:
        """The symbol rate by the width; GMSK with bandwidth-time product 0.3 is half as wide."""
        return self.width * (2 if self.bell else 1)


def occupied_band(iq: np.ndarray) -> Band:
    """Return the band of the strongest signal, from a Welch spectrum.

    The floor is its lowest tenth; a median over nine bins takes out DC and other spikes. Good
    down to 0 dB in the band, from about 1.3 to 200 samples a symbol.

    Raises InputError for too few samples and if nothing stands 1.8 dB above the floor.
    """
    if iq.shape[1] < FEWEST_SAMPLES:
        raise InputError(
            f"There are {iq.shape[1]} samples; an estimate needs at least {FEWEST_SAMPLES}."
        )
    bins = 2 ** int(np.clip(np.log2(iq.size / 32), 8, 12))
    _, density = signal.welch(iq, nperseg=bins, return_onesided=False, detrend="constant")
    density = ndimage.median_filter(density.mean(0), 9, mode="wrap")
    # The spectrum is a circle: cut it where it is emptiest, so that no signal is cut.
    cut = int(ndimage.uniform_filter1d(density, bins // 8, mode="wrap").argmin())
    density = np.roll(density, -cut)
    floor = np.quantile(density, 0.1)
    excess = np.where(density > 1.5 * floor, density - floor, 0.0)
    if not excess.any():
        raise InputError("No signal stands out of the noise floor: nothing to condition.")
    # The level above which half of the power lies is the flat top, whatever the edges do.
    levels = np.sort(excess)
    top = float(levels[np.searchsorted(np.cumsum(levels), levels.sum() / 2)])
    left, right = _crossings(density - floor, top / 2)
    outer_left, outer_right = _crossings(density - floor, top / 4)
    width = right - left
    # The centre is where the spectrum best meets its own mirror image.
    low = max(int(left - width / 2), 0)
    window = np.clip(density[low : int(right + width / 2) + 2] - floor, 0, None)
    mirrored = signal.fftconvolve(window, window)
    centre = low + _vertex(mirrored, int(mirrored.argmax())) / 2
    # At a quarter of the power a root-raised cosine is wider by a third of its roll-off.
    bell = bool(outer_right - outer_left > 1.25 * width)
    return Band((float(centre + cut) / bins + 0.5) % 1 - 0.5, float(width / bins), bell)


def _crossings(values: np.ndarray, level: float) -> tuple[float, float]:
    """Return where the run with the largest sum crosses the level, in fractional bins."""
    labelled: Any = ndimage.label(ndimage.binary_closing(values > level, np.ones(9)))
    runs, count = labelled
    sums = ndimage.sum_labels(values, runs, np.arange(1, count + 1))
    inside = np.flatnonzero(runs == 1 + int(np.argmax(sums)))
    crossings = []
    for inner, step in ((int(inside[0]), -1), (int(inside[-1]), 1)):
        outer = inner + step
        falls = 0 <= outer < len(values) and values[inner] > values[outer]
        share = (values[inner] - level) / (values[inner] - values[outer]) if falls else 0
        crossings.append(inner + step * float(np.clip(share, 0, 1)))
    return crossings[0], crossings[1]


def _vertex(values: np.ndarray, index: int) -> float:
    """Return the place of the vertex of the parabola through a maximum and its neighbours."""
    if not 0 < index < len(values) - 1:
        return float(index)
    before, here, after = values[index - 1 : index + 2]
    bend = before - 2 * here + after
    return float(index + (0.5 * (before - after) / bend if bend < 0 else 0.0))


def symbol_rate(iq: np.ndarray, band: Band) -> float | None:
    """Return the symbol rate in symbols/sample, from a spectral line; None: no line found.

    The product of the upper band edge with the conjugate lower one has a line at the symbol rate:
    the line of |x|^2 without the self-noise of the mid-band (Gardner, IEEE Trans. Commun. 34(5),
    1986). OQPSK and GMSK have none; the squares of their two edges have one each, two symbol rates
    (GMSK: one) apart.
    """
    lower, upper = (_edge(iq, band, side) for side in (-1, 1))
    line = _strongest_line(upper * lower.conj(), 0.75 * band.width, 1.33 * band.width)
    if line is not None:
        return line
    pair = _squared_edges(iq, band)
    if pair is None:
        return None
    apart = (pair[1] - pair[0]) % 1
    return apart if band.bell else apart / 2


def carrier_offset(iq: np.ndarray, band: Band) -> tuple[float, str]:
    """Return the carrier in cycles/sample and the name of the estimator that found it.

    "power 2", 4, 8, 12: the line of that power of x next to as many carriers (ASK and BPSK; QPSK
    and QAM; 8PSK; 16APSK). "squared band edges": the two lines of OQPSK or GMSK. "band centre": no
    such line was found (the larger PSK and APSK, strong noise), and the centre of the band stands
    for it: off by a few thousandths of the symbol rate at 1e5 samples, below one at 1e6.
    """
    centred = _pass(iq, band.centre, 0.75 * band.width) * rotation(-band.centre, 0, iq.shape[1])
    centred /= np.sqrt(np.square(np.abs(centred)).mean())
    # Next lines lie a symbol rate away: within these reaches there is one only.
    for power, reach in ((2, 0.4), (4, 0.48), (8, 0.48), (12, 0.48)):
        line = _strongest_line(centred**power, -reach * band.width, reach * band.width)
        if line is not None:
            return _wrapped(band.centre + line / power), f"power {power}"
        if power == 2 and (pair := _squared_edges(iq, band)):
            middle = 2 * band.centre + _wrapped(pair[0] / 2 + pair[1] / 2 - 2 * band.centre)
            return _wrapped(middle / 2), "squared band edges"
    return band.centre, "band centre"


def _wrapped(frequency: float) -> float:
    return float((frequency + 0.5) % 1 - 0.5)


def rotation(frequency: float, first: int, count: int) -> np.ndarray:
    """Return exp(2 pi i frequency n), complex64 [sample], for n from ``first`` on."""
    turns = (frequency * np.arange(first, first + count, dtype=np.float64)) % 1
    return np.exp(2j * np.pi * turns).astype(np.complex64)


def _pass(iq: np.ndarray, centre: float, reach: float) -> np.ndarray:
    """Return the excerpts without what is more than ``reach`` away from ``centre``."""
    spectrum = fft.fft(iq - iq.mean(1, keepdims=True), axis=1)  # without the receiver's DC
    away = np.abs((fft.fftfreq(iq.shape[1]) - centre + 0.5) % 1 - 0.5)
    spectrum[:, away > reach] = 0
    return fft.ifft(spectrum, axis=1)


def _edge(iq: np.ndarray, band: Band, side: int) -> np.ndarray:
    """Return the quarters of the band on either side of its lower (-1) or upper (1) edge."""
    return _pass(iq, band.centre + side * band.width / 2, band.width / 4)


def _squared_edges(iq: np.ndarray, band: Band) -> tuple[float, float] | None:
    """Return the lines, in cycles/sample, of the squares of the lower and the upper edge."""
    lines = []
    for side in (-1, 1):
        middle, reach = 2 * band.centre + side * band.width, 0.3 * band.width
        lines.append(_strongest_line(_edge(iq, band, side) ** 2, middle - reach, middle + reach))
    lower, upper = lines
    return None if lower is None or upper is None else (lower, upper)


def _strongest_line(product: np.ndarray, low: float, high: float) -> float | None:
    """Return the frequency of the strongest line of products [excerpt, sample] in a range, if any.

    Under noise alone the power of a bin, summed over excerpts, is gamma distributed around the
    local level, which is the median of its surroundings.
    """
    excerpts, length = product.shape
    size = 2 ** (2 * length - 1).bit_length()  # between two bins the parabola is then good
    power = np.zeros(size)
    window = windows.hann(length, sym=False).astype(np.float32)
    for excerpt in product:
        power += np.square(np.abs(fft.fft(excerpt * window, size)))
    first = math.floor(low * size)
    power = power[np.arange(first, math.ceil(high * size) + 1) % size]
    pieces = np.array_split(power, max(1, min(16, len(power) // 64)))
    middles = np.cumsum([len(piece) for piece in pieces]) - len(pieces[0]) / 2
    local = np.interp(np.arange(len(power)), middles, [np.median(piece) for piece in pieces])
    if not local.all():  # the signal has neither noise nor modulation
        return None
    relative = power / local * stats.gamma.median(excerpts)
    peak = int(relative.argmax())
    chance = stats.gamma.logsf(relative[peak], excerpts) + math.log(len(power))
    if chance / math.log(10) > FALSE_ALARM:
        return None
    return (first + _vertex(np.log(power), peak)) / size


def noise_floor_snr(iq: np.ndarray, noise_band: tuple[float, float] = (-0.5, 0.5)) -> np.ndarray:
    """Return each frame's SNR in dB, float32 [frame], from the power outside the signal band.

    ``iq`` is complex [frame, sample] at eight samples a symbol, of a roll-off up to 0.4. SNR is
    signal power over noise power per sample, noise white over the sampled band. Beyond 0.7 symbol
    rates and six bins of leakage there is noise only. If the noise fills only ``noise_band``
    (cycles/sample), its density there stands for the whole band. Not below -30 dB; NaN where fewer
    than 64 bins hold noise only.
    """
    samples = iq.shape[1]
    frequency = fft.fftfreq(samples)
    edge = 0.7 / 8 + 6 / samples
    filled = (frequency >= noise_band[0]) & (frequency <= noise_band[1])
    empty = filled & (np.abs(frequency) > edge)
    if empty.sum() < 64:
        return np.full(len(iq), np.nan, np.float32)
    # The window keeps the frame's ends from spreading the signal over the empty band.
    window = windows.hann(samples, sym=False).astype(np.float32)
    spectrum = fft.fft(iq * (window / np.sqrt(np.square(window).mean())), axis=1)
    noise = np.square(np.abs(spectrum[:, empty])).mean(1, dtype=np.float64) / samples
    total = np.square(np.abs(iq)).mean(1, dtype=np.float64)
    noise = np.maximum(noise, np.finfo(np.float32).tiny)
    signal_power = total - noise * filled.mean()
    return (10 * np.log10(np.maximum(signal_power / noise, 1e-3))).astype(np.float32)
