"""One frame's way through the receiver."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from modsnr.figures.style import DIAGRAM_MAP, PAGE, PALETTE, SLANTED, Picture, bare, styled

CLOUD_EXTENT = 1.8  # RMS of the symbols
BELOW_DB = 25.0  # the noise's level; what a filter leaves below is not shown
FLOOR_NATS = -40.0  # alphabets less likely than this, over the likeliest, are drawn there


@styled
def receiver_steps(
    symbols: Mapping[str, np.ndarray],
    alphabet: np.ndarray,
    spectra: Mapping[str, np.ndarray],
    noise: float,
    log_likelihood: Mapping[str, float],
    diagrams: Mapping[str, np.ndarray],
) -> Figure:
    """Draw a frame after each step: its symbols, spectrum, alphabets' likelihoods, diagrams.

    ``symbols`` is step -> complex [symbol] of unit power, drawn over the points of ``alphabet``,
    complex [point]. ``spectra`` is name -> power density float [bin], bins in the order of the
    Fourier transform; ``noise`` is its level that was found in the signal's band.
    ``log_likelihood`` is alphabet -> nats, ``diagrams`` view -> [bins, bins].
    """
    figure = Picture(figsize=(PAGE, 5.2))
    rows = figure.add_gridspec(3, 1, height_ratios=(1.25, 1, 1.1))
    clouds = rows[0].subgridspec(1, len(symbols)).subplots(squeeze=False)[0]
    for ax, (step, cloud) in zip(clouds, symbols.items(), strict=True):
        ax.plot(np.real(cloud), np.imag(cloud), ".", color=PALETTE[0], markersize=2.5)
        ax.plot(np.real(alphabet), np.imag(alphabet), "+", color=PALETTE[1], markersize=4)
        reach = (-CLOUD_EXTENT, CLOUD_EXTENT)
        ax.set(xlim=reach, ylim=reach, aspect="equal", xticks=[], yticks=[], title=step)

    below = rows[1].subgridspec(1, 2)
    ax = figure.add_subplot(below[0])
    for place, (name, density) in enumerate(spectra.items()):
        frequency = np.fft.fftshift(np.fft.fftfreq(len(density)))
        level = 10 * np.log10(np.fft.fftshift(np.maximum(density, 1e-12)))
        ax.plot(frequency, level, color=PALETTE[place], linewidth=0.6, label=name)
    floor = 10 * np.log10(noise)
    ax.axhline(floor, color="black", linewidth=0.9, linestyle="--", label="noise found")
    ax.set(xlabel="frequency (cycles/sample)", ylabel="density (dB)", xlim=(-0.5, 0.5))
    ax.set_ylim(bottom=floor - BELOW_DB)
    ax.legend(loc="upper left")

    ax = figure.add_subplot(below[1])
    best = max(log_likelihood.values())
    height = [max(value - best, FLOOR_NATS) - FLOOR_NATS for value in log_likelihood.values()]
    ax.bar(range(len(height)), height, color=PALETTE[6])
    ticks = np.array([FLOOR_NATS, FLOOR_NATS / 2, 0])
    ax.set_yticks(ticks - FLOOR_NATS, [f"{tick:g}" for tick in ticks])
    ax.set_xticks(range(len(height)), list(log_likelihood), **SLANTED)
    ax.set_ylabel("log-likelihood (nats)")
    ax.grid(visible=False, axis="x")

    images = rows[2].subgridspec(1, len(diagrams)).subplots(squeeze=False)[0]
    for ax, (view, image) in zip(images, diagrams.items(), strict=True):
        ax.imshow(image, origin="lower", cmap=DIAGRAM_MAP, interpolation="nearest")
        ax.set(xticks=[], yticks=[], title=view)
        bare(ax)
    return figure
