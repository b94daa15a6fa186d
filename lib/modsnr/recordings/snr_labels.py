"""What do the SNR labels of a file mean?

No label is believed: the SNR of frames is estimated from their noise floor, and compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.signal.windows import dpss

from modsnr import InputError
from modsnr.recordings.physics import PERIOD, robust_median, usable

SHORTEST = 64  # samples of a frame
MARGIN = 4  # standard errors by which a bias may leave the others'
TAPERS, BANDWIDTH = 5, 4.0  # Slepian sequences and their time-bandwidth product
LARGEST_ROLLOFF = 0.4
CARRIER_OFFSET = 0.01  # cycles/sample, the largest expected
PRECISION_DB = 1.5  # a frame's estimate must be better than this for its label to be judged
LEAST_SLOPE = 0.25  # dB of SNR that a dB of the label must mean, if its frames are of one SNR ...
ONE_SNR_DB = 4.0  # ... and differ by no more than fading makes them
STEP_DB = 0.5  # a quarter of the usual 2 dB grid: a bias of more is no rounding


@dataclass(frozen=True)
class SnrMeaning:
    """What the SNR labels of a file mean.

    ``verdict`` is "per sample", "Es/N0", "offset" (the labels are off by a constant, whatever it
    means), "not calibrated" (the bias depends on the label), "coloured noise" (the floor outside
    the band is not flat, so it does not show the noise inside) or "unrelated" (the SNR does not
    rise with the label: labels and frames are not in one order). ``sentence`` is the same in words,
    with the figures. ``table`` has a row a label: ``frames``, ``estimate_db`` (median),
    ``bias_db``, ``error_db`` (standard error of the median), ``spread_db`` (robust standard
    deviation a frame), ``tilt_db`` (of the floor), ``judged`` and ``reason`` if not.
    """

    verdict: str
    sentence: str
    table: pd.DataFrame


def snr_meaning(frames_of_label: Mapping[float, np.ndarray]) -> SnrMeaning:
    """Return what SNR labels mean, from the noise floor outside the band of linear digital frames.

    ``frames_of_label`` is label in dB -> complex [frame, sample] at eight samples a symbol. A
    frame's SNR is signal power over noise power per sample, noise white over the sampled band; its
    floor is the multitaper density (Thomson, Proc. IEEE 70(9), 1982) beyond the signal's band, the
    tapers' bandwidth and a carrier offset of 0.01 cycles/sample. A label is judged where theory
    allows it: the estimate's standard deviation a frame is under 1.5 dB, and the floor is at least
    20 dB over what the signal leaks through the tapers.

    Raises InputError for frames that cannot be used, and if fewer than three labels, or a span
    under 6 dB, can be judged.
    """
    table = pd.DataFrame(
        [_estimate(float(label), frames) for label, frames in sorted(frames_of_label.items())]
    )
    judged = table[table["judged"]] if len(table) else table
    if len(judged) < 3 or np.ptp(judged["label_db"]) < 6:
        reasons = [f"{row.label_db:g} dB: {row.reason or 'good'}" for row in table.itertuples()]
        raise InputError(
            f"Meaning of the SNR labels undecided: three labels over at least 6 dB are needed "
            f"with frames that can be judged; of {len(table)} given {len(judged)} can "
            f"({', '.join(reasons)})."
        )
    return SnrMeaning(*_verdict(judged), table)


def _estimate(label: float, frames: np.ndarray) -> dict[str, Any]:
    """Return the row of one label in the table of ``SnrMeaning``."""
    iq = usable(frames, f"Label {label:g} dB", SHORTEST)
    ratio, tilt, ceiling, freedom = _floor_snr(iq)
    middle = max(float(np.median(ratio)), 1e-6)
    estimate, spread, error = robust_median(10 * np.log10(np.maximum(ratio, 1e-12)))
    sigma = 10 / np.log(10) * (1 + middle) / middle / np.sqrt(freedom)
    too_little = "signal" if sigma > PRECISION_DB else "noise" if middle > ceiling / 100 else ""
    return {
        "label_db": label,
        "frames": len(iq),
        "estimate_db": estimate if estimate > -60 else np.nan,
        "bias_db": estimate - label if estimate > -60 else np.nan,
        "error_db": error,
        "spread_db": spread,
        "tilt_db": tilt,
        "judged": not too_little,
        "reason": f"too little {too_little}" if too_little else "",
    }


def _verdict(judged: pd.DataFrame) -> tuple[str, str]:
    """Return what the labels mean, in a word and in a sentence."""
    labels, biases = judged["label_db"], judged["bias_db"]
    offset, tilt = float(biases.median()), float(judged["tilt_db"].median())
    excess = ((biases - offset).abs() - MARGIN * judged["error_db"]).max()
    symbol_db = float(10 * np.log10(PERIOD))
    slope = float(np.polyfit(labels, judged["estimate_db"], 1)[0])
    spread = float(judged["spread_db"].median())
    where = f"From {labels.min():g} to {labels.max():g} dB"
    if slope < -LEAST_SLOPE or (slope < LEAST_SLOPE and spread > ONE_SNR_DB):
        return "unrelated", (
            f"{where} a step of 1 dB of the label is {slope:.2f} dB of SNR per sample, and frames "
            f"of one label differ by {spread:.1f} dB: labels and frames are not in one order."
        )
    if abs(tilt) > STEP_DB:
        return "coloured noise", (
            f"The noise beside the band is {abs(tilt):.1f} dB {'lower' if tilt > 0 else 'higher'} "
            "further out: it is not white, and does not show the SNR in the band."
        )
    if excess > STEP_DB:
        return "not calibrated", (
            f"{where} a step of 1 dB of the label is {slope:.2f} dB of SNR per sample; the bias "
            f"runs from {biases.min():.1f} to {biases.max():.1f} dB."
        )
    if abs(offset) <= STEP_DB:
        return "per sample", f"{where} the label is the SNR per sample, off by {offset:+.2f} dB."
    if abs(offset + symbol_db) <= STEP_DB:
        return "Es/N0", (
            f"{where} the SNR per sample is the label {offset:+.2f} dB: the label is Es/N0, "
            f"{symbol_db:.2f} dB more at {PERIOD} samples a symbol."
        )
    return "offset", f"{where} the SNR per sample is the label {offset:+.2f} dB, a constant offset."


def _floor_snr(iq: np.ndarray) -> tuple[np.ndarray, float, float, float]:
    """Return the SNR ratio [frame], the floor's tilt in dB, the ceiling ratio and the freedom.

    The tilt is the floor's inner over its outer half, the ceiling the ratio that the signal's own
    leakage through the tapers would show without noise, the freedom the number of independent
    noise samples in the floor.
    """
    samples = iq.shape[1]
    frequency = np.abs(np.fft.fftfreq(samples))
    edge = (1 + LARGEST_ROLLOFF) / 2 / PERIOD
    first = edge + BANDWIDTH / samples + CARRIER_OFFSET
    outside = frequency > first
    tapers = dpss(samples, BANDWIDTH, TAPERS)  # [taper, sample], unit energy
    density = np.zeros(iq.shape)
    for taper in tapers:
        density += np.square(np.abs(np.fft.fft(iq * taper, axis=1))) / TAPERS
    floor = density[:, outside].mean(1)
    power = np.square(np.abs(iq)).mean(1)
    inner = outside & (frequency < (first + 0.5) / 2)
    tilt = density[:, inner].mean() / density[:, outside & ~inner].mean()

    band = (np.abs(np.fft.fftfreq(samples) - CARRIER_OFFSET) < edge) * 1.0
    window = np.square(np.abs(np.fft.fft(tapers, axis=1))).mean(0)
    leak = np.fft.ifft(np.fft.fft(band / band.sum()) * np.fft.fft(window)).real
    weight = np.square(tapers).mean(0)
    freedom = outside.mean() / np.square(weight).sum()
    ceiling = 1 / max(leak[outside].mean(), 1e-12)
    return power / floor - 1, float(10 * np.log10(tilt)), float(ceiling), float(freedom)
