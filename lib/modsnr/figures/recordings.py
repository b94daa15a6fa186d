"""Plots of recordings: modulation, SNR and novelty over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from modsnr.figures.style import PAGE, PALETTE, Picture, styled


@styled
def timeline(
    place: np.ndarray,
    modulation: np.ndarray,
    confidence: np.ndarray,
    snr_db: Mapping[str, np.ndarray],
    novelty: np.ndarray,
    level: np.ndarray,
    *,
    classes: Sequence[str],
    xlabel: str,
) -> Figure:
    """Draw the modulation, SNR and novelty of each frame at its place in a recording.

    All are [frame]. ``modulation`` is an index into ``classes``, of which those that occur get a
    row; the fainter a dot, the lower its ``confidence``. ``snr_db`` is estimator -> dB, NaN where
    unknown. A frame whose ``novelty`` exceeds its ``level`` is unknown, and drawn as a cross.
    """
    found = np.unique(modulation)
    row = np.searchsorted(found, modulation)
    figure = Picture(figsize=(PAGE, 3.2 + 0.16 * len(found)))
    heights = [0.35 + 0.16 * len(found), 1.1, 1.1]
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=heights)
    unknown = novelty > level
    looks: Any = {
        "known": (~unknown, {"marker": "o", "color": PALETTE[0], "s": 9, "linewidth": 0}),
        "unknown": (unknown, {"marker": "x", "color": PALETTE[1], "s": 14, "linewidth": 1}),
    }
    for name, (which, look) in looks.items():
        bottom.scatter(place[which], novelty[which], label=name, **look)
        if which.any():  # an array of opacities must not be empty
            opacity = np.clip(confidence[which], 0.15, 1)
            top.scatter(place[which], row[which], alpha=opacity, **look)
    top.set_yticks(range(len(found)), [classes[number] for number in found])
    top.set_ylim(len(found) - 0.4, -0.6)
    for colour, (name, values) in zip((PALETTE[6], *PALETTE[2:6]), snr_db.items(), strict=False):
        middle.plot(place, values, ".", color=colour, markersize=3, label=name)
    ends = [values[np.isfinite(values)] for values in snr_db.values()]
    mean = float(np.mean(np.concatenate(ends)))
    low, high = middle.get_ylim()
    middle.set_ylim(min(low, mean - 2), max(high, mean + 2))  # so that a steady SNR looks steady
    bottom.plot(place, level, color="black", linewidth=0.8, linestyle=(0, (4, 2)), label="level")
    middle.set_ylabel("SNR (dB)")
    bottom.set(ylabel="novelty", xlabel=xlabel)
    sides = [ax.get_legend_handles_labels() for ax in (bottom, middle)]
    handles, labels = ([*below, *above] for below, above in zip(*sides, strict=True))
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    figure.align_ylabels()
    return figure
