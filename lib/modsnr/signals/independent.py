"""A second generator of the study's modulations, which shares no code with the simulator.

A network that has learned the simulator's own ways gains nothing from them here. The code is NumPy
in the time domain: symbols pass through a windowed, cut root-raised cosine at 32 samples a symbol
and are decimated to 8, where the simulator fills a spectrum and interpolates. Crosses are folded
rectangles, APSK has the rings of liquid-dsp. The cut pulses have some intersymbol interference and
some power outside the band. There is no clock offset. On request the carrier drifts and a diffuse
echo fades beside the direct path, as no ``Channel`` has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, pi, sqrt
from typing import NamedTuple

import numpy as np
from scipy.signal import upfirdn

from modsnr import files
from modsnr.signals.alphabets import LIQUID_RINGS, STUDY_CLASSES, check_labels

PERIOD = 8  # samples a symbol of the frames
FINE = 4  # the pulses are made at so many times the sampling rate
SPAN = 10  # symbols on either side of a pulse
KAISER = 2.0  # shape of the window over the span
ROLLOFF = (0.15, 0.35)
CARRIER_OFFSET = 2e-4  # cycles/sample, on either side
LATEST_ECHO = 2  # samples
WAVES = 16  # of a diffuse echo


class Motion(NamedTuple):
    """How a carrier drifts, and how the paths of a moving receiver fade.

    The carrier's offset walks at random, by ``drift`` cycles/sample at each sample. Beside the
    direct path there is a diffuse echo, ``rician_k_db`` below it, uniformly up to ``LATEST_ECHO``
    samples late, with Clarke's spectrum: ``doppler`` is the highest shift, in cycles/sample.
    """

    drift: float = 0.0
    rician_k_db: float = inf
    doppler: float = 0.0


def independent(
    modulation: np.ndarray,
    snr_db: np.ndarray,
    *,
    rng: np.random.Generator,
    classes: Sequence[str] = STUDY_CLASSES,
    samples: int = 1024,
    rolloff: tuple[float, float] = ROLLOFF,
    carrier_offset: float = CARRIER_OFFSET,
    motion: Motion | None = None,
) -> np.ndarray:
    """Return one frame a label, 8 samples a symbol: complex64 [frame, sample].

    ``modulation`` is int [frame], an index into ``classes``; ``snr_db`` float [frame], dB per
    sample, inf for no noise. The signal of each frame has unit mean power, the noise is white.
    Roll-off is uniform over ``rolloff``, the carrier offset uniform over +-``carrier_offset``
    cycles/sample, phase and delay uniform over a turn and a symbol.

    With ``motion`` the carrier drifts and an echo fades.

    Raises InputError for classes other than the study's, and for labels that do not index them.
    """
    check_labels(modulation, snr_db, classes)
    time = np.arange(samples)
    frames = np.empty((len(modulation), samples), np.complex64)
    for place, (number, snr) in enumerate(zip(modulation, snr_db.astype(float), strict=True)):
        fine = _signal(str(classes[number]), samples, rng.uniform(*rolloff), rng)
        signal = fine[LATEST_ECHO * FINE :: FINE].copy()
        offset = rng.uniform(-carrier_offset, carrier_offset)
        carrier = np.exp(2j * pi * (rng.uniform() + offset * time))
        if motion is not None:
            late = fine[int(rng.integers(LATEST_ECHO * FINE + 1)) :: FINE][:samples]
            signal += 10 ** (-motion.rician_k_db / 20) * fading(samples, motion.doppler, rng) * late
            steps = motion.drift * rng.normal(size=samples)
            carrier *= np.exp(2j * pi * np.cumsum(np.cumsum(steps)))
        signal *= carrier
        signal /= sqrt(np.mean(np.abs(signal) ** 2))
        noise = rng.normal(scale=sqrt(0.5), size=(2, samples))
        frames[place] = signal + 10 ** (-snr / 20) * (noise[0] + 1j * noise[1])
    return frames


def _signal(name: str, samples: int, rolloff: float, rng: np.random.Generator) -> np.ndarray:
    """Return a noise-free stretch of a modulation, from a random moment on.

    complex128 [fine sample], ``LATEST_ECHO`` samples before those of the frame included.
    """
    points = points_of(name)
    rate = FINE * PERIOD
    symbols = points[rng.integers(len(points), size=-(-samples // PERIOD) + 2 * SPAN + 3)]
    # A part of a fine sample is a shift of the pulse itself, whole ones of where reading begins.
    pulse = cut_pulse(rolloff, delay=rng.uniform())
    start = 2 * SPAN * rate + int(rng.integers(rate))
    wave = upfirdn(pulse, symbols, up=rate)
    fine = np.arange(-LATEST_ECHO * FINE, samples * FINE) + start
    if name == "OQPSK":  # the quadrature half a symbol later
        return wave.real[fine] + 1j * wave.imag[fine - rate // 2]
    return wave[fine]


def fading(samples: int, doppler: float, rng: np.random.Generator) -> np.ndarray:
    """Return the gain of a diffuse path of unit mean power, complex128 [sample]: waves all around.

    Clarke's model (R. H. Clarke, Bell System Technical Journal 47, 1968), with random amplitudes.
    """
    waves = np.array([1, 1j]) @ rng.normal(scale=sqrt(0.5 / WAVES), size=(2, WAVES))
    shifts = doppler * np.cos(2 * pi * (np.arange(WAVES) + rng.uniform()) / WAVES)
    return np.exp(2j * pi * np.arange(samples)[:, None] * shifts) @ waves


def cut_pulse(rolloff: float, *, delay: float = 0.0) -> np.ndarray:
    """Return a root-raised-cosine pulse cut after ``SPAN`` symbols, float64 [fine sample].

    It peaks ``delay`` fine samples after the middle, and fades under a Kaiser window. The closed
    form is that of Proakis and Salehi, Digital Communications, 5th edition, section 9.2.
    """
    rate = FINE * PERIOD
    t = (np.arange(-SPAN * rate, SPAN * rate + 1) - delay) / rate  # symbols
    steep = 4 * rolloff * t
    over = np.sin(pi * t * (1 - rolloff)) + steep * np.cos(pi * t * (1 + rolloff))
    with np.errstate(divide="ignore", invalid="ignore"):
        pulse = over / (pi * t * (1 - steep**2))
    # Where numerator and denominator vanish together, the limits.
    pulse[np.abs(t) < 1e-7] = 1 - rolloff + 4 * rolloff / pi
    angle = pi / (4 * rolloff)
    side = rolloff / sqrt(2) * ((1 + 2 / pi) * np.sin(angle) + (1 - 2 / pi) * np.cos(angle))
    pulse[np.abs(np.abs(steep) - 1) < 1e-7] = side
    return pulse * np.kaiser(len(t), KAISER)


def points_of(name: str) -> np.ndarray:
    """Return the symbols of one of the study's modulations, complex128 [point], of unit power."""
    files.check_name("modulation", name, STUDY_CLASSES)
    order = {"BPSK": 2, "QPSK": 4, "OQPSK": 4}.get(name) or int(name.rstrip("AMPQSK"))
    side = sqrt(order)
    if name in LIQUID_RINGS:
        rings = LIQUID_RINGS[name]
        points = np.concatenate([r * np.exp(1j * pi * np.array(phases)) for r, phases in rings])
    elif name.endswith("ASK"):
        points = np.linspace(-1, 1, order) + 0j
    elif name.endswith("PSK") and name != "OQPSK":
        points = np.exp(2j * pi * np.arange(order) / order)
    elif side.is_integer():
        axis = np.linspace(-1, 1, int(side))
        points = np.add.outer(axis, 1j * axis).ravel()
    else:
        points = _cross(order)
    return points / sqrt(np.mean(np.abs(points) ** 2))


def _cross(order: int) -> np.ndarray:
    """Return a rectangle twice as wide as high, its outer columns folded above and below it."""
    high = round(sqrt(order / 2))
    i, q = np.meshgrid(np.arange(1 - 2 * high, 2 * high, 2), np.arange(1 - high, high, 2))
    far = np.abs(i) > 3 * high // 2
    i, q = (
        np.where(far, np.sign(i) * np.abs(q), i),
        np.where(far, np.sign(q) * (np.abs(i) - high // 2), q),
    )
    return (i + 1j * q).ravel()
