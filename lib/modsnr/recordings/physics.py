"""Features of frames: what the definition of each of the 24 classes demands, and measurements."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import torch

from modsnr import InputError
from modsnr.signals import APSK_GEOMETRIES, alphabet, root_raised_cosine

PERIOD = 8  # samples a symbol
EDGE_SYMBOLS = 4  # cut off at either end of a frame, where the matched filter wraps around
LOWEST_SNR_DB = 15.0
FEWEST_FRAMES = 8  # a column or label: fewer give no median worth the name
LINES = (4, 8, 16)

# What is measured in each frame. "line" is the greatest magnitude of the Fourier transform over
# all frequencies, so that neither phase nor carrier offset matter.
FEATURES = {
    "carrier": "line of x: 1 for a bare carrier",
    "real": "line of x²: 1 if real-valued but for a rotation",
    "variation": "variance of the power over its squared mean: 0 if the envelope is constant",
    "clock": "line of |x|² at the symbol rate over its neighbours, dB: 10 log10 ln 2 for none",
    "bandwidth": "width of 98 % of the power in symbol rates",
    "kurtosis": "E|s|⁴ / (E|s|²)² of the symbols s",
    **{f"line {order}": f"line of the symbols' power {order} over E|s|^{order}" for order in LINES},
}

Interval = tuple[float, float]
NO_CLOCK = (-np.inf, 0.5)  # dB; a line by chance has the power of its neighbours, exponential
BARE_CARRIER, REAL, NO_ENVELOPE = (0.5, np.inf), (0.9, np.inf), (-0.05, 0.05)
ANALOG_CLASSES: dict[str, Mapping[str, Interval]] = {
    "AM-SSB-WC": {"clock": NO_CLOCK, "carrier": BARE_CARRIER},
    "AM-SSB-SC": {"clock": NO_CLOCK},
    "AM-DSB-WC": {"clock": NO_CLOCK, "carrier": BARE_CARRIER, "real": REAL},
    "AM-DSB-SC": {"clock": NO_CLOCK, "real": REAL},
    "FM": {"clock": NO_CLOCK, "variation": NO_ENVELOPE},
}


@cache
def expectations(modulation: str, symbols: int) -> Mapping[str, Interval]:
    """Return what the definition of a class demands of its features: name -> (low, high).

    ``symbols`` is the number of symbols a frame. A feature that the definition leaves open, such
    as the bandwidth of an analog message, is absent. Of linear digital classes the kurtosis and
    the lines E s^M / E|s|^M follow from the alphabet; APSK geometries are not standardised, so
    those known span an interval with a margin. A line that is absent shows as its largest chance
    value, about sqrt(ln n / n) E|s|^2M^(1/2) / E|s|^M. The tolerances stand for residual
    intersymbol interference and are held to simulation in the tests; at high orders phase noise
    at the lowest SNR admitted weakens the lines further.
    """
    if modulation in ANALOG_CLASSES:
        return ANALOG_CLASSES[modulation]
    if modulation == "GMSK":
        # Minimum-shift keying squared has two lines of 1/2; the Gaussian filter weakens them.
        return {
            "carrier": (0.0, 0.4), "real": (0.25, 0.55), "variation": NO_ENVELOPE,
            "clock": NO_CLOCK, "bandwidth": (0.6, 1.2),
        }  # fmt: skip
    is_real = modulation in ("OOK", "BPSK", "4ASK", "8ASK")
    bounds: dict[str, Interval] = {
        "carrier": (0.6, 0.8) if modulation == "OOK" else (0.0, 0.4),  # a mean of 1 / sqrt(2)
        "real": REAL if is_real else (0.0, 0.4),
        "variation": (0.1, np.inf),
        "bandwidth": (0.8, 1.5),
    }
    if modulation == "OQPSK":  # the lines of the two staggered quadratures cancel
        return bounds | {"clock": NO_CLOCK}
    bounds["clock"] = (1.5, np.inf)
    apsk = modulation.endswith("APSK")
    geometries = [
        alphabet(modulation, rings).numpy() for rings in APSK_GEOMETRIES.values() if apsk
    ] or [alphabet(modulation).numpy()]
    kurtoses = [float((abs(points) ** 4).mean()) for points in geometries]
    margin = 0.1 if apsk else 0.025
    bounds["kurtosis"] = (min(kurtoses) - margin, max(kurtoses) + margin)
    for order in LINES[:2] if apsk else LINES:  # the 16th power would tell the geometries apart
        lines = [abs((p**order).mean()) / (abs(p) ** order).mean() for p in geometries]
        sizes = [(abs(p) ** (2 * order)).mean() / (abs(p) ** order).mean() ** 2 for p in geometries]
        chance = (np.log(symbols) + 1) / symbols * max(sizes)
        phase_noise = np.exp(-(order**2) / (4 * PERIOD * 10 ** (LOWEST_SNR_DB / 10)))
        low, high = min(lines) * phase_noise - 0.08, np.hypot(max(lines), chance**0.5) + 0.08
        bounds[f"line {order}"] = (max(low, 0.0), high)
    return bounds


def usable(iq: np.ndarray, where: str, shortest: int) -> np.ndarray:
    """Return frames as complex128 [frame, sample], at least 8 of at least ``shortest`` samples.

    Raises InputError for others, and for frames with NaN, infinite samples or no power; the message
    begins with ``where``.
    """
    many = iq.ndim == 2 and len(iq) >= FEWEST_FRAMES and iq.shape[1] >= shortest
    if not (many and np.iscomplexobj(iq)):
        raise InputError(
            f"{where} needs complex IQ [frame, sample], at least {FEWEST_FRAMES} frames of "
            f"{shortest} samples; it is {iq.dtype} {iq.shape}."
        )
    power = np.square(np.abs(iq), dtype=np.float64).mean(1)
    bad = ~np.isfinite(power) | (power < np.finfo(np.float32).tiny)
    if bad.any():
        raise InputError(
            f"{where}: {int(bad.sum())} of {len(iq)} frames hold NaN or infinite samples or have "
            f"no power, the first at index {int(bad.argmax())}: leave them out."
        )
    return iq.astype(np.complex128)


def robust_median(values: np.ndarray) -> tuple[float, float, float]:
    """Return the median, a robust standard deviation and the standard error of the median."""
    median = np.median(values)
    sigma = 1.4826 * np.median(np.abs(values - median))
    return float(median), float(sigma), float(1.2533 * sigma / np.sqrt(len(values)))


def snr_db(iq: np.ndarray) -> float:
    """Return the SNR per sample of frames [frame, sample] of one class and SNR, from their floor.

    It reads too low where the signal leaves less than a quarter of the band to noise alone.
    """
    noise = _noise_floor(_unit_power(iq))
    return float(10 * np.log10(max(1 - noise, 1e-6) / noise))


def measure(iq: np.ndarray) -> dict[str, np.ndarray]:
    """Return the features, each float [frame], of one column's frames [frame, sample]."""
    iq = _unit_power(iq[:, : iq.shape[1] // PERIOD * PERIOD])
    samples = iq.shape[1]
    noise = _noise_floor(iq)
    signal = max(1 - noise, 1e-6)
    power = np.square(np.abs(iq))
    clock = np.square(np.abs(np.fft.rfft(power - power.mean(1, keepdims=True))))
    tick = samples // PERIOD
    beside = np.concatenate([clock[:, tick - 12 : tick - 2], clock[:, tick + 3 : tick + 13]], 1)
    symbols, bandwidth = _symbols(iq, noise)
    lines = {f"line {order}": _peak(symbols**order) for order in LINES}
    sizes = {f"line {order}": (np.abs(symbols) ** order).mean(1) for order in LINES}
    fourth = np.square(power).mean(1) - 4 * signal * noise - 2 * noise**2  # freed of the noise
    return {
        "carrier": _peak(iq) / np.sqrt(signal),
        "real": _peak(iq**2) / signal,
        "variation": fourth / signal**2 - 1,
        "clock": 10 * np.log10(np.maximum(clock[:, tick] / beside.mean(1), 1e-12)),
        "bandwidth": bandwidth * PERIOD,
        "kurtosis": _kurtosis(symbols),
        **{name: lines[name] / sizes[name] for name in lines},
    }


def _unit_power(iq: np.ndarray) -> np.ndarray:
    return iq / np.sqrt(np.square(np.abs(iq)).mean(1, keepdims=True))


def _peak(x: np.ndarray) -> np.ndarray:
    return np.abs(np.fft.fft(x, 4 * x.shape[1], axis=1)).max(1) / x.shape[1]


def _kurtosis(symbols: np.ndarray) -> np.ndarray:
    power = np.square(np.abs(symbols))
    return np.square(power).mean(1) / np.square(power.mean(1))


def _noise_floor(iq: np.ndarray) -> float:
    """Return the noise power per sample: the mean level of the emptiest quarter of the band."""
    window = np.hanning(iq.shape[1])
    density = np.square(np.abs(np.fft.fft(iq * window, axis=1))).mean(0) / np.square(window).sum()
    pieces = [piece.mean() for piece in np.array_split(density, 32)]
    return max(float(np.sort(pieces)[:8].mean()), 1e-12)


def _symbols(iq: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return blindly synchronised symbols [frame, symbol], and the bandwidth [frame].

    The carrier is put in the middle of the band, and the frame filtered by a root-raised cosine of
    the mean roll-off. Of the timings half a sample apart each frame takes the one whose symbols
    have the least kurtosis, as intersymbol interference makes any of the alphabets more Gaussian
    (Shalvi and Weinstein, IEEE Trans. Inf. Theory 36(2), 1990).
    """
    samples = iq.shape[1]
    frequency = np.fft.fftfreq(samples)
    ascending = np.argsort(frequency)
    ascending = ascending[np.abs(frequency[ascending]) < 1 / PERIOD]
    density = np.square(np.abs(np.fft.fft(iq, axis=1)))[:, ascending] / samples
    share = np.maximum(density - noise, 0).cumsum(1)
    share /= np.maximum(share[:, -1:], 1e-12)
    low, high = (frequency[ascending][(share > part).argmax(1)] for part in (0.01, 0.99))
    centred = iq * np.exp(-1j * np.pi * (low + high)[:, None] * np.arange(samples))

    response = root_raised_cosine(torch.from_numpy(np.abs(frequency) * PERIOD), 0.25).numpy()
    matched = np.fft.fft(centred, axis=1) * response
    count = samples // PERIOD - 2 * EDGE_SYMBOLS
    best = np.full(len(iq), np.inf)
    symbols = np.zeros((len(iq), count), complex)
    for half in (0, 0.5):
        shifted = np.fft.ifft(matched * np.exp(2j * np.pi * half * frequency), axis=1)
        for timing in range(PERIOD):
            drawn = shifted[:, EDGE_SYMBOLS * PERIOD + timing :: PERIOD][:, :count]
            kurtosis = _kurtosis(drawn)
            better = kurtosis < best
            best[better], symbols[better] = kurtosis[better], drawn[better]
    return symbols, high - low
