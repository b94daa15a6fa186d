"""Kinds of signals that are none of the known modulations, where a plain feature shows them."""

from __future__ import annotations

import numpy as np

STEADY = 0.08  # of an envelope: E|s|^4 / (E|s|^2)^2 - 1 below it, noise taken off
IN_ONE_LINE = 0.9  # of a frame's power: a carrier
KEYED_LINE = (0.25, 0.65)  # of a signal's power in one line: on-off keying has half of it
EDGE = 32  # samples at either end of a frame, where a filter rings
DIP = 0.7  # of the density between two frequencies, over the lower of their peaks


def kind(iq: np.ndarray, snr_db: float = np.inf) -> str:
    """Return the kind of a signal by its frames complex [frame, sample], "" if none is plain.

    "carrier": a single line. "FSK-like": a steady envelope and two frequencies or more. "FM-like":
    a steady envelope, any frequency. "OOK-like": a line, and an envelope that is on or off.
    ``snr_db`` is signal power over noise density in its band times the sampling rate; where it is
    not given, the noise is what lies beside the band.
    """
    if iq.shape[1] < 8 * EDGE or not iq.any():
        return ""
    window = np.hanning(iq.shape[1])
    spectra = np.abs(np.fft.fftshift(np.fft.fft(iq * window), 1)) ** 2  # [frame, bin]
    mean = (spectra / spectra.mean(1, keepdims=True)).mean(0)
    floor = np.quantile(mean, 0.1)
    excess = np.maximum(mean - 2 * floor, 0)
    if not excess.any():
        return ""
    shares = excess.cumsum() / excess.sum()
    low, high = np.searchsorted(shares, (0.005, 0.995))
    beside = 2 + (high - low) // 10
    bins = np.arange(len(mean))
    inside = (bins >= low - beside) & (bins <= high + beside)
    noise = floor * inside.sum() / mean[inside].sum()  # of the power in the band
    noise = max(noise, 1 / (1 + 10 ** (snr_db / 10) * len(mean) / inside.sum()))
    if noise > 0.5:
        return ""
    line = np.median([_line(spectrum[inside]) for spectrum in spectra])
    if line > IN_ONE_LINE:
        return "carrier"
    spectrum = np.fft.fftshift(np.fft.fft(iq), 1) * inside
    signal = np.fft.ifft(np.fft.ifftshift(spectrum, 1))[:, EDGE:-EDGE]
    power = np.abs(signal) ** 2
    unsteady = np.median((power**2).mean(1) / power.mean(1) ** 2) - 1 - noise * (2 - noise)
    if unsteady < STEADY:
        return "FSK-like" if _frequencies(signal) > 1 else "FM-like"
    level = power / np.quantile(power, 0.9, axis=1, keepdims=True)
    off, between = (level < 0.1).mean(), ((level > 0.15) & (level < 0.6)).mean()
    keyed = KEYED_LINE[0] < line < KEYED_LINE[1] and 0.1 < off < 0.9 and between < 0.3
    return "OOK-like" if keyed else ""


def _line(spectrum: np.ndarray) -> float:
    """Return the share of the power that lies in the strongest line, five bins of a window."""
    top = int(spectrum.argmax())
    return float(spectrum[max(0, top - 2) : top + 3].sum() / spectrum.sum())


def _frequencies(signal: np.ndarray) -> int:
    """Return how many frequencies a signal complex [frame, sample] of steady envelope takes."""
    steps = np.angle(signal[:, 1:] * signal[:, :-1].conj())
    low, high = np.quantile(steps, (0.005, 0.995)).tolist()
    counts, _ = np.histogram(steps, 48, (low, high))
    density = np.convolve(counts, (0.25, 0.5, 0.25), "same")
    # Peaks above a third of the highest, with dips between them.
    tall = density > density.max() / 3
    places = [
        place
        for place in range(len(density))
        if tall[place] and density[place] == density[max(0, place - 2) : place + 3].max()
    ]
    count, last = 1, places[0]
    for place in places[1:]:
        if density[last:place].min() < DIP * min(density[last], density[place]):
            count, last = count + 1, place
        elif density[place] > density[last]:
            last = place
    return count
