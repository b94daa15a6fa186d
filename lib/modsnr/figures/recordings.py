"""Plots of recordings: modulation, SNR and carrier over time, and the spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from modsnr.figures.style import DIAGRAM_MAP, PAGE, PALETTE, Picture, styled


@styled
def timeline(frames: pd.DataFrame, *, timed: bool) -> Figure:
    """Draw modulation, SNR and carrier of the frames of a recording that were judged.

    ``frames`` has a row each, as ``classifier.Answer.frames``; the fainter a dot, the lower its
    confidence; frames of bursts that are not known are crosses. ``timed``: starts are in seconds
    and carriers in Hz, else in samples and cycles/sample.
    """
    names, row = np.unique(frames["modulation"].to_numpy(str), return_inverse=True)
    figure = Picture(figsize=(PAGE, 3.2 + 0.16 * len(names)))
    heights = [0.35 + 0.16 * len(names), 1.1, 1.1]
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=heights)
    place, known = frames["start"].to_numpy(), frames["known"].to_numpy(bool)
    looks: Any = {
        "known": (known, {"marker": "o", "color": PALETTE[0], "s": 9, "linewidth": 0}),
        "unknown": (~known, {"marker": "x", "color": PALETTE[1], "s": 14, "linewidth": 1}),
    }
    for name, (which, look) in looks.items():
        middle.scatter(place[which], frames["snr_db"][which], label=name, **look)
        bottom.scatter(place[which], frames["carrier"][which], **look)
        if which.any():  # an array of opacities must not be empty
            opacity = np.clip(frames["confidence"][which], 0.15, 1)
            top.scatter(place[which], row[which], alpha=opacity, **look)
    top.set_yticks(range(len(names)), names)
    top.set_ylim(len(names) - 0.4, -0.6)
    low, high = middle.get_ylim()
    mean = float(frames["snr_db"].mean())
    middle.set_ylim(min(low, mean - 2), max(high, mean + 2))  # so that a steady SNR looks steady
    middle.set_ylabel("SNR (dB)")
    bottom.set(
        ylabel=f"carrier ({'Hz' if timed else 'cycles/sample'})",
        xlabel="time (s)" if timed else "first sample of the frame",
    )
    handles, labels = middle.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    figure.align_ylabels()
    return figure


@styled
def waterfall(
    density: np.ndarray, bursts: pd.DataFrame, *, seconds: float, rate: float, real: bool = False
) -> Figure:
    """Draw a recording's spectrum over time, with a box around each burst that was found.

    ``density`` is in dB, [moment, bin], lowest frequency first, over ``seconds`` and a sample
    ``rate``; ``bursts`` are those of ``classifier.Answer``. Boxes are as wide as the symbol rate
    and a third. With samples for seconds and a rate of 1 the axes are in samples and cycles/sample.
    Of a ``real`` signal the positive frequencies are drawn.
    """
    figure = Picture(figsize=(PAGE, 3.6))
    ax = figure.subplots()
    density = density[:, density.shape[1] // 2 :] if real else density
    low, high = np.quantile(density, (0.05, 0.999))
    ends = (0.0 if real else -rate / 2, rate / 2, seconds, 0.0)
    image = ax.imshow(density, aspect="auto", extent=ends, vmin=low, vmax=high, cmap=DIAGRAM_MAP)
    ax.grid(visible=False)
    figure.colorbar(image, ax=ax, label="density (dB)")
    heard: Any = bursts[bursts["carrier"].notna()]
    for burst in heard.itertuples():
        wide = 4 / 3 * burst.symbol_rate
        box: Any = {"fill": False, "linewidth": 1, "edgecolor": PALETTE[5 if burst.known else 1]}
        corner = burst.carrier - wide / 2, burst.start
        ax.add_patch(Rectangle(corner, wide, burst.end - burst.start, **box))
        text = f"{burst.modulation}, {burst.snr_db:.0f} dB" if burst.known else burst.modulation
        side: Any = {"va": "top", "color": "white", "fontsize": 7}
        ax.text(burst.carrier + wide / 2, burst.start, f" {text}", clip_on=True, **side)
    unit = ("Hz", "s") if rate != 1 else ("cycles/sample", "samples")
    ax.set(xlabel=f"frequency ({unit[0]})", ylabel=f"time ({unit[1]})")
    return figure
