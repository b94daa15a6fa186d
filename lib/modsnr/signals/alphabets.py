"""Modulation alphabets of unit mean power, and the cumulants that separate them."""

from __future__ import annotations

from cmath import rect
from collections.abc import Mapping, Sequence
from math import log, pi

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from modsnr import InputError, files

STUDY_CLASSES = (
    *("4ASK", "8ASK", "BPSK", "QPSK", "8PSK", "16PSK", "32PSK"),
    *("16APSK", "32APSK", "64APSK", "128APSK"),
    *("16QAM", "32QAM", "64QAM", "128QAM", "256QAM", "OQPSK"),
)
DIGITAL_CLASSES = (*STUDY_CLASSES, "OOK", "GMSK")
NAMED_ORDERS = {"OOK": 2, "BPSK": 2, "QPSK": 4, "OQPSK": 4}  # the other names begin with theirs

# A ring is (radius, phases in units of pi); the radii of an alphabet need a common scale only.
Rings = Sequence[tuple[float, Sequence[float]]]


def _even_ring(radius: float, points: int, first: float) -> tuple[float, list[float]]:
    return radius, [first + 2 * k / points for k in range(points)]


def _mirrored_ring(radius: float, *phases: float) -> tuple[float, list[float]]:
    right = [*phases, *(-phase for phase in phases)]
    return radius, right + [1 - phase for phase in right]


# DVB-S2 (ETSI EN 302 307-1) at rate 3/4 for 16 and 32 points; DVB-S2X (ETSI EN 302 307-2) at rate
# 4/5 (8+16+20+20) for 64 and 135/180 for 128. The standard's 128APSK fixes 32 phases
# of one quadrant and mirrors them into the others.
DVB_RINGS: Mapping[str, Rings] = {
    "16APSK": (_even_ring(1.0, 4, 1 / 4), _even_ring(2.85, 12, 1 / 12)),
    "32APSK": (_even_ring(1.0, 4, 1 / 4), _even_ring(2.84, 12, 1 / 12), _even_ring(5.27, 16, 0)),
    "64APSK": (
        _even_ring(1.0, 8, 1 / 8),
        _even_ring(2.2, 16, 1 / 16),
        _even_ring(3.6, 20, 1 / 20),
        _even_ring(5.2, 20, 1 / 20),
    ),
    "128APSK": (
        _mirrored_ring(1.0, 83 / 1260, 103 / 560, 177 / 560, 243 / 560),
        _mirrored_ring(1.715, 121 / 2520, 113 / 560, 167 / 560, 1139 / 2520),
        _mirrored_ring(2.118, 23 / 280, 169 / 1008, 239 / 720, 117 / 280),
        _mirrored_ring(2.681, 61 / 720, 139 / 840, 281 / 840, 349 / 840),
        _mirrored_ring(2.75, 19 / 720, 563 / 2520, 199 / 720, 341 / 720),
        _mirrored_ring(
            3.819, 37 / 1680, 11 / 168, 11 / 105, 61 / 420, 929 / 5040, 383 / 1680,
            49 / 180, 53 / 168, 1789 / 5040, 1993 / 5040, 73 / 168, 43 / 90,
        ),
    ),
}  # fmt: skip

# The optimised rings of liquid-dsp (J. Gaeddert, modem "apskM"): other counts, other radii.
LIQUID_RINGS: Mapping[str, Rings] = {
    "16APSK": (_even_ring(0.4325, 4, 0), _even_ring(1.1274, 12, 0)),
    "32APSK": (_even_ring(0.2795, 4, 0), _even_ring(0.7298, 12, 0), _even_ring(1.2574, 16, 0)),
    "64APSK": (
        _even_ring(0.1892, 4, 0),
        _even_ring(0.5247, 14, 0),
        _even_ring(0.8861, 20, 0),
        _even_ring(1.3053, 26, 0),
    ),
    "128APSK": (
        _even_ring(0.2024, 8, 0),
        _even_ring(0.4626, 18, 0),
        _even_ring(0.7097, 24, 0),
        _even_ring(0.9917, 36, 0),
        _even_ring(1.3481, 42, 0),
    ),
}
APSK_GEOMETRIES: Mapping[str, Mapping[str, Rings]] = {"dvb": DVB_RINGS, "liquid": LIQUID_RINGS}


def alphabet(modulation: str, rings: Mapping[str, Rings] = DVB_RINGS) -> Tensor:
    """Return the symbols of one linear modulation, complex128 [point], of unit mean power.

    OQPSK has the points of QPSK; the simulator adds its half-symbol offset. ASK is bipolar, 32QAM
    and 128QAM are crosses, APSK takes its ring radii and phases from ``rings``.

    Raises InputError for GMSK, which has no alphabet, and for a name that is not a class.
    """
    if modulation == "GMSK":
        raise InputError("GMSK is not linear: it has no alphabet of symbols.")
    files.check_name("modulation", modulation, DIGITAL_CLASSES)
    order = NAMED_ORDERS.get(modulation) or int(modulation.rstrip("AMPQSK"))
    if modulation == "OOK":
        points = [0.0, 1.0]
    elif modulation.endswith("APSK"):
        points = [
            rect(radius, pi * phase) for radius, phases in rings[modulation] for phase in phases
        ]
    elif modulation.endswith("PSK") and order > 2:
        first = pi / 4 if order == 4 else 0.0
        points = [rect(1.0, first + 2 * pi * k / order) for k in range(order)]
    elif modulation.endswith("QAM"):
        points = _qam(order)
    else:
        points = [2.0 * k - (order - 1) for k in range(order)]
    symbols = torch.tensor(points, dtype=torch.complex128)
    return symbols / symbols.abs().square().mean().sqrt()


def alphabets(
    classes: Sequence[str], rings: Mapping[str, Rings] = DVB_RINGS
) -> tuple[Tensor, Tensor]:
    """Return the alphabets of ``classes``, complex64 [class, point], and their sizes, float32.

    Shorter ones are padded with zeros. GMSK, which has none, has a single zero.
    """
    none = torch.zeros(1, dtype=torch.complex128)
    known = [none if name == "GMSK" else alphabet(name, rings) for name in classes]
    size = torch.tensor([float(len(points)) for points in known])
    return pad_sequence(known, batch_first=True).to(torch.complex64), size


def _qam(order: int) -> list[complex]:
    side = {16: 4, 32: 6, 64: 8, 128: 12, 256: 16}[order]
    # A cross is a square without corners: there both coordinates would exceed ``inner``.
    corner = {32: 1, 128: 2}.get(order, 0)
    levels = [2 * k - (side - 1) for k in range(side)]
    inner = side - 1 - 2 * corner
    return [complex(i, q) for i in levels for q in levels if min(abs(i), abs(q)) <= inner]


def stretched(rings: Mapping[str, Rings], factor: float) -> dict[str, Rings]:
    """Return the rings of each APSK alphabet with its largest ratio of radii times ``factor``.

    Every ratio of two radii is raised to the same power, which spreads the rings evenly in their
    logarithm; phases stay. ``alphabet`` restores unit power, so the outer rings hardly move and
    the inner ones shrink.

    Raises InputError where rings would meet or change places, and for an alphabet of one ring.
    """
    result = {}
    for name, own in rings.items():
        smallest = min(radius for radius, _ in own)
        ratio = max(radius for radius, _ in own) / smallest
        if ratio == 1 or not 1 / ratio < factor < float("inf"):
            raise InputError(
                f"The rings of {name} have a ratio of {ratio:.3f}, which times {factor} must be "
                f"above 1 and finite, and there must be two rings or more."
            )
        power = log(ratio * factor) / log(ratio)
        result[name] = [(smallest * (radius / smallest) ** power, phases) for radius, phases in own]
    return result


def cumulants(samples: Tensor) -> dict[str, Tensor]:
    """Return the cumulants C20, C40 and C42 of samples [..., sample], mean removed.

    Cpq has q conjugated of its p factors and is divided by (mean power)^(p/2), so noise-free
    symbols give the alphabet's values whatever their scale. Complex128 [...]. Source: Swami and
    Sadler, IEEE Trans. Commun. 48(3), 2000.
    """
    x = samples.to(torch.complex128)
    x = x - x.mean(-1, keepdim=True)
    x = x / x.abs().square().mean(-1, keepdim=True).sqrt()
    c20, m40 = (x.pow(order).mean(-1) for order in (2, 4))
    c42 = x.abs().pow(4).mean(-1) - c20.abs().square() - 2
    return {"C20": c20, "C40": m40 - 3 * c20**2, "C42": c42 + 0j}


def symmetry(symbols: Tensor) -> int:
    """Return the order of an alphabet's rotational symmetry; ``symbols`` is complex128 [point].

    Points may miss one another by a thousandth of the RMS: by this rule DVB's 128APSK, whose exact
    symmetry is of order 2, has order 4.
    """
    outermost = int((symbols.abs() > symbols.abs().max() - 0.01).sum())
    for order in range(outermost, 1, -1):
        turn = torch.polar(torch.tensor(1.0).double(), torch.tensor(2 * pi / order).double())
        apart = (turn * symbols.unsqueeze(1) - symbols.unsqueeze(0)).abs().amin(1)
        if outermost % order == 0 and apart.max() < 1e-3:
            return order
    return 1


def check_labels(modulation: np.ndarray, snr_db: np.ndarray, classes: Sequence[str]) -> None:
    """Raise InputError unless labels are one modulation and one SNR a frame.

    ``modulation`` must be int [frame], indices into ``classes``; ``snr_db`` must be float [frame],
    in dB, without NaN and -inf.
    """
    integers = np.issubdtype(modulation.dtype, np.integer)
    if not integers or modulation.ndim != 1 or modulation.shape != snr_db.shape:
        raise InputError(
            f"One integer modulation and one SNR a frame are needed; they are {modulation.dtype} "
            f"{modulation.shape} and {snr_db.dtype} {snr_db.shape}."
        )
    outside = (modulation < 0) | (modulation >= len(classes))
    bad = np.isnan(snr_db) | (snr_db == -np.inf)
    for name, values, wrong, rule in (
        ("modulation labels", modulation, outside, f"lie outside the {len(classes)} classes"),
        ("SNRs", snr_db, bad, "are NaN or -inf"),
    ):
        if wrong.any():
            first = wrong.argmax()
            raise InputError(
                f"{wrong.sum()} {name} {rule}, the first at index {first}: {values[first]}."
            )
