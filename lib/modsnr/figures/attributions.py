"""Plots of attributions: beside diagrams, upon alphabets, over time.

Blue holds an answer up, red holds it down, white is nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from modsnr.figures.style import DIAGRAM_MAP, PAGE, Picture, styled

ATTRIBUTION_MAP = "RdBu"


@styled
def attribution_grid(
    diagrams: np.ndarray,
    attributions: Mapping[str, np.ndarray],
    *,
    rows: Sequence[str],
    views: Sequence[str],
) -> Figure:
    """Draw diagrams [frame, view, bins, bins] beside attribution maps of the same shape.

    ``attributions`` is task -> maps. Each map has its own symmetric scale.
    """
    columns = [(channel, task) for channel in range(len(views)) for task in (None, *attributions)]
    inch = PAGE * 0.9 / len(columns)
    figure = Picture(figsize=(PAGE, inch * len(rows) + 0.5))
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    size = 7 if len(columns) <= 9 else 6  # the names of twelve columns would run into one another
    for (line, column), ax in np.ndenumerate(axes):
        channel, task = columns[column]
        if task is None:
            ax.imshow(diagrams[line, channel], origin="lower", cmap=DIAGRAM_MAP)
        else:
            shown = attributions[task][line, channel]
            _attribution(ax, shown, max(float(np.abs(shown).max()), 1e-12))
        if line == 0:
            ax.set_title(task or views[channel], fontsize=size)
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
        ax.spines[:].set(visible=task is not None, linewidth=0.3)
    for ax, name in zip(axes[:, 0], rows, strict=True):
        ax.set_ylabel(name, fontsize=7)
    _close_together(figure)
    return figure


def _attribution(ax: Axes, values: np.ndarray, limit: float, **options: Any) -> None:
    options |= {"cmap": ATTRIBUTION_MAP, "norm": Normalize(-limit, limit)}
    ax.imshow(values, origin="lower", interpolation="nearest", **options)


def _close_together(figure: Figure) -> None:
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)


@styled
def maps_over_alphabet(
    diagrams: np.ndarray,
    maps: np.ndarray,
    alphabets: Mapping[str, np.ndarray],
    *,
    columns: Sequence[str],
    extent: float,
    reach: float | None = None,
) -> Figure:
    """Draw mean attribution maps in the I/Q plane upon ideal points: a row an alphabet.

    ``diagrams`` and ``maps`` are [row, column, bins, bins], means over frames of equal phase, over
    -extent .. extent on both axes in RMS units, of which -reach .. reach is shown; ``alphabets`` is
    row's name -> its ideal points, complex [point], in the same units. The line encloses where the
    mean diagram exceeds a fifth of its maximum. Each panel has its own scale, symmetric about
    nothing, and shows its end: the size that one in a hundred of the map's pixels exceeds, of those
    that hold anything.
    """
    shape = maps.shape[:2]
    cell = min((PAGE - 0.85) / shape[1], 1.5)
    figure = Picture(figsize=(cell * shape[1] + 0.85, cell * shape[0] + 0.75))
    axes = figure.subplots(*shape, squeeze=False, sharex=True, sharey=True)
    for (row, column), ax in np.ndenumerate(axes):
        points = list(alphabets.values())[row]
        _map_upon_points(ax, diagrams[row, column], maps[row, column], points, extent)
    axes[0, 0].set(xlim=(-(reach or extent), reach or extent))
    axes[0, 0].set(ylim=axes[0, 0].get_xlim())
    for ax, title in zip(axes[0], columns, strict=True):
        ax.set_title(title)
    for ax, name in zip(axes[:, 0], alphabets, strict=True):
        ax.set_ylabel(name)
    figure.supxlabel("in-phase (RMS)", fontsize=8)
    figure.supylabel("quadrature (RMS)\n", fontsize=8)
    whole = ScalarMappable(Normalize(-1, 1), ATTRIBUTION_MAP)
    bar = figure.colorbar(whole, ax=axes, fraction=0.025, pad=0.01, aspect=30)
    bar.set_ticks([-1, 0, 1], labels=["−", "0", "+"])
    _close_together(figure)
    return figure


def _map_upon_points(
    ax: Axes, diagram: np.ndarray, values: np.ndarray, points: np.ndarray, extent: float
) -> None:
    limit = _end_of(values)
    _attribution(ax, values, limit, extent=(-extent, extent, -extent, extent))
    if diagram.max() > diagram.min():
        middle = (np.arange(len(values)) + 0.5) / len(values) * 2 * extent - extent
        ax.contour(middle, middle, diagram, [diagram.max() / 5], colors="0.55", linewidths=0.4)
    size = 3.2 if len(points) <= 16 else 2.2 if len(points) <= 64 else 1.4
    look: Any = {"color": "black", "mfc": "none", "mew": 0.4, "markersize": size}
    ax.plot(np.real(points), np.imag(points), "o", **look)
    ax.text(0.97, 0.03, f"±{limit:.1g}", fontsize=6, ha="right", transform=ax.transAxes)
    ax.locator_params(nbins=3)
    ax.grid(visible=False)
    ax.spines[:].set(visible=True, linewidth=0.3)


def _end_of(values: np.ndarray) -> float:
    """Return the size that a hundredth of the values that are not zero exceed; of none, 1."""
    sizes = np.abs(values[values != 0])
    return float(np.quantile(sizes, 0.99)) if len(sizes) else 1.0


@styled
def points_in_time(
    iq: np.ndarray, values: Mapping[str, tuple[np.ndarray, np.ndarray]], *, title: str = ""
) -> Figure:
    """Draw one frame over time, and what each of its points has of an attribution.

    ``iq`` is complex [sample]; ``values`` is panel's name -> (times, values), [point] each, times
    in samples from the frame's first. The line is the frame's magnitude in RMS units. Dots upon it
    are the points: the larger and the deeper in colour, the more one holds the answer up (blue) or
    down (red). Each panel has its own scale, as ``maps_over_alphabet`` has.
    """
    time, magnitude = np.arange(len(iq)), np.abs(iq) / np.sqrt((np.abs(iq) ** 2).mean())
    figure = Picture(figsize=(PAGE, 0.65 + 1.25 * len(values)))
    panels = figure.subplots(len(values), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (name, (times, value)) in zip(panels, values.items(), strict=True):
        ax.plot(time, magnitude, color="0.6", linewidth=0.5)
        limit = _end_of(value)
        order = np.argsort(np.abs(value))  # what matters most lies on top
        dots = ax.scatter(
            times[order],
            np.interp(times[order], time, magnitude),
            c=value[order],
            s=1 + 20 * np.minimum(np.abs(value[order]) / limit, 1),
            cmap=ATTRIBUTION_MAP,
            norm=Normalize(-limit, limit),
            edgecolors="0.3",
            linewidths=0.15,
            zorder=3,
        )
        bar = figure.colorbar(dots, ax=ax, fraction=0.03, pad=0.01)
        bar.set_ticks([-limit, 0, limit], labels=[f"−{limit:.1g}", "0", f"+{limit:.1g}"])
        ax.set(xlim=(0, len(iq) - 1), ylim=(0, None))
        ax.set_title(name, loc="left")
    panels[-1].set_xlabel("time (samples)")
    figure.supylabel("magnitude (RMS)", fontsize=8)
    if title:
        figure.suptitle(title, fontsize=8)
    return figure
