"""The explorer's picture: one frame, what a network says of it, and what that rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from modsnr.figures.of_radio import ATTRIBUTION_MAP
from modsnr.figures.style import DIAGRAM_MAP, PAGE, PALETTE, Picture, styled


@styled
def one_frame(
    diagrams: Mapping[str, np.ndarray],
    attribution: np.ndarray,
    probabilities: Mapping[str, float],
    *,
    view: str,
    hidden: np.ndarray,
    task: str,
    modulation: str,
    snr_db: float,
    estimate_db: float,
    range_db: tuple[float, float],
) -> Figure:
    """Draw one frame's diagrams, the attribution of one view, and what both heads say of it.

    ``diagrams`` is view -> [bins, bins], ``attribution`` [bins, bins] that of ``view`` for
    ``task``: blue holds the right answer up, red holds it down. ``hidden``, bool [bins, bins], are
    the pixels taken from that view, drawn green. ``probabilities`` is modulation -> probability;
    the true ``modulation`` is blue. ``snr_db`` is the true SNR, ``estimate_db`` the estimate, over
    ``range_db`` at least.
    """
    width, height, count = PAGE, 3.75, len(diagrams) + 1
    cell = min((width - 0.2) / count, 1.65)  # inches
    # Without a layout to find, and with one set of axes for all images, it is drawn in half the
    # time, which someone who moves a slider waits for.
    unlaid: Any = "none"  # which matplotlib takes, and does not declare
    figure = Picture(figsize=(width, height), layout=unlaid)
    images = figure.add_axes(
        (0.1 / width, 1 - (cell + 0.2) / height, count * cell / width, cell / height)
    )
    images.set_axis_off()
    limit = max(float(np.abs(attribution).max()), 1e-12)
    for place, (name, image) in enumerate([*diagrams.items(), ("attribution", attribution)]):
        within = (place + 0.04, place + 0.96, 0.04, 0.96)
        look: Any = {"extent": within, "origin": "lower", "interpolation": "nearest"}
        if place < len(diagrams):
            images.imshow(image, cmap=DIAGRAM_MAP, **look)
        else:
            images.imshow(image, cmap=ATTRIBUTION_MAP, vmin=-limit, vmax=limit, **look)
        if name == view and hidden.any():
            covered = np.ma.masked_equal(hidden.astype(float), 0)
            images.imshow(covered, cmap=ListedColormap([PALETTE[2]]), **look)
        weight = "bold" if name == view else "normal"
        images.text(place + 0.5, 1, name, ha="center", fontweight=weight)
    asked = f"{view}, for {task.replace('snr', 'SNR')}"
    images.text(count - 0.04, 0, asked, fontsize=7, ha="right", va="top")
    images.set(xlim=(0, count), ylim=(0, 1))
    bars = figure.add_axes((0.55 / width, 0.62 / height, 4.4 / width, 1.1 / height))
    places = np.arange(len(probabilities))
    colours = [PALETTE[0] if name == modulation else PALETTE[6] for name in probabilities]
    bars.bar(places, list(probabilities.values()), color=colours)
    slant: Any = {"rotation": 60, "ha": "right", "va": "center", "rotation_mode": "anchor"}
    for place, name in enumerate(probabilities):  # a tick costs as much as four texts
        bars.text(place, -0.08, name, fontsize=7, **slant)
    bars.set(ylim=(0, 1.02), ylabel="probability", xlim=(-0.7, len(places) - 0.3))
    bars.set(xticks=[], yticks=[0, 0.5, 1])
    # Titles of a given height need not be kept clear of what is measured for that.
    bars.set_title(f"modulation: {modulation} is true", pad=3, y=1)
    bars.grid(visible=False, axis="x")
    scale = figure.add_axes((5.3 / width, 0.62 / height, 1.66 / width, 1.1 / height))
    ends = [*range_db, snr_db, estimate_db]
    reach = 0.04 * (max(ends) - min(ends)) + 0.1
    scale.axvline(snr_db, color=PALETTE[0], linewidth=2)
    scale.plot([snr_db, estimate_db], [0.5, 0.5], color=PALETTE[1], linewidth=1)
    scale.plot([estimate_db], [0.5], "D", color=PALETTE[1], markersize=5)
    scale.set(xlim=(min(ends) - reach, max(ends) + reach), ylim=(0, 1), yticks=[])
    scale.set_xlabel("SNR (dB)")
    scale.set_title(f"SNR: {estimate_db:.1f} dB, {snr_db:g} dB is true", pad=3, y=1)
    scale.spines["left"].set_visible(False)
    scale.grid(visible=False, axis="y")
    return figure
