"""The explorer's picture: one frame, a network's answers, and the pixels that they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modsnr.figures.attributions import ATTRIBUTION_MAP
from modsnr.figures.style import DIAGRAM_MAP, HIDDEN_MAP, PAGE, PALETTE, Picture, styled


@styled
def one_frame(
    diagrams: Mapping[str, np.ndarray],
    attribution: np.ndarray,
    hidden: np.ndarray,
    answers: tuple[Mapping[str, float], float],
    *,
    view: str,
    task: str,
    truth: tuple[str, float],
    range_db: tuple[float, float],
) -> Figure:
    """Draw one frame's diagrams, the attribution of one view, and the answers of both heads.

    ``diagrams`` is view -> [bins, bins], ``attribution`` [bins, bins] that of ``view`` for
    ``task``: blue holds the right answer up, red holds it down. ``hidden``, bool [bins, bins], are
    the pixels taken from that view, drawn cyan. ``answers`` are modulation -> probability and the
    SNR in dB; ``truth`` is the modulation, drawn blue, and the SNR, over ``range_db`` at least.
    """
    # Without a layout to find, and with one set of axes for all images, it is drawn in half the
    # time, which someone who moves a slider waits for.
    unlaid: Any = "none"  # which matplotlib takes, and does not declare
    width, count = PAGE, len(diagrams) + 1
    cell = min((width - 0.2) / count, 1.65)  # inches
    beside = count * cell < width / 3  # then the answers stand to the right of the images
    height = cell + (0.75 if beside else 2.5)
    figure = Picture(figsize=(width, height), layout=unlaid)

    def axes(left: float, bottom: float, wide: float, high: float) -> Axes:  # inches
        return figure.add_axes((left / width, bottom / height, wide / width, high / height))

    images = axes(0.1, height - cell - 0.35, count * cell, cell)
    images.set_axis_off()
    for place, (name, image) in enumerate(diagrams.items()):
        _image(images, place, image, cmap=DIAGRAM_MAP)
        weight = "bold" if name == view else "normal"
        images.text(place + 0.5, 1, name, ha="center", fontweight=weight)
        if name == view and hidden.any():
            _image(images, place, np.ma.masked_equal(hidden.astype(float), 0), cmap=HIDDEN_MAP)
    limit = max(float(np.abs(attribution).max()), 1e-12)
    _image(images, count - 1, attribution, cmap=ATTRIBUTION_MAP, vmin=-limit, vmax=limit)
    caption = f"{view},\nfor the {task.replace('snr', 'SNR')}"
    images.text(count - 0.5, 1, caption, ha="center", linespacing=0.9)
    images.set(xlim=(0, count), ylim=(0, 1))
    left = 0.1 + count * cell if beside else 0.0
    split = left + (width - left) * 0.68
    _probabilities(axes(left + 0.55, 0.62, split - left - 0.65, 1.1), answers[0], truth[0])
    _snr(axes(split + 0.25, 0.62, width - split - 0.4, 1.1), truth[1], answers[1], range_db)
    return figure


def _image(ax: Axes, place: int, image: np.ndarray, **options: Any) -> None:
    within = (place + 0.04, place + 0.96, 0.04, 0.96)
    ax.imshow(image, extent=within, origin="lower", interpolation="nearest", **options)


def _probabilities(ax: Axes, probabilities: Mapping[str, float], modulation: str) -> None:
    places = np.arange(len(probabilities))
    colours = [PALETTE[0] if name == modulation else PALETTE[6] for name in probabilities]
    ax.bar(places, list(probabilities.values()), color=colours)
    slant: Any = {"rotation": 60, "ha": "right", "va": "center", "rotation_mode": "anchor"}
    for place, name in enumerate(probabilities):  # a tick costs as much as four texts
        ax.text(place, -0.08, name, fontsize=7, **slant)
    ax.set(ylim=(0, 1.02), ylabel="probability", xlim=(-0.7, len(places) - 0.3))
    ax.set(xticks=[], yticks=[0, 0.5, 1])
    # Titles of a given height need not be kept clear of what is measured for that.
    ax.set_title(f"modulation: {modulation} is true", pad=3, y=1)
    ax.grid(visible=False, axis="x")


def _snr(ax: Axes, snr_db: float, estimate_db: float, range_db: tuple[float, float]) -> None:
    ends = [*range_db, snr_db, estimate_db]
    reach = 0.04 * (max(ends) - min(ends)) + 0.1
    ax.axvline(snr_db, color=PALETTE[0], linewidth=2)
    ax.plot([snr_db, estimate_db], [0.5, 0.5], color=PALETTE[1], linewidth=1)
    ax.plot([estimate_db], [0.5], "D", color=PALETTE[1], markersize=5)
    ax.set(xlim=(min(ends) - reach, max(ends) + reach), ylim=(0, 1), yticks=[])
    ax.set_xlabel("SNR (dB)")
    ax.set_title(f"SNR: {estimate_db:.1f} dB, {snr_db:g} dB is true", pad=3, y=1)
    ax.spines["left"].set_visible(False)
    ax.grid(visible=False, axis="y")
