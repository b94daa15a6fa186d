"""Plots of explanations in the receiver's terms: alphabets, samples, the least that turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from modsnr.figures.style import COLUMN, MARKERS, PAGE, PALETTE, Interval, Picture, styled

ATTRIBUTION_MAP = "RdBu"  # blue holds an answer up, red holds it down, white is nothing


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
    mean diagram exceeds a fifth of its maximum. Blue holds the answer up, red holds it down. Each
    panel has its own scale, symmetric about nothing, whose end is told in it: the size that one in
    a hundred of the map's pixels exceeds, of those that hold anything.
    """
    shape = maps.shape[:2]
    cell = min((PAGE - 0.85) / shape[1], 1.5)
    figure = Picture(figsize=(cell * shape[1] + 0.85, cell * shape[0] + 0.75))
    axes = figure.subplots(*shape, squeeze=False, sharex=True, sharey=True)
    middle = (np.arange(maps.shape[-1]) + 0.5) / maps.shape[-1] * 2 * extent - extent
    reach = reach or extent
    for (row, (name, points)), (column, title) in product(
        enumerate(alphabets.items()), enumerate(columns)
    ):
        ax, shown, seen = axes[row, column], maps[row, column], diagrams[row, column]
        limit = _end_of(shown)
        ax.imshow(
            shown,
            origin="lower",
            cmap=ATTRIBUTION_MAP,
            norm=Normalize(-limit, limit),
            extent=(-extent, extent, -extent, extent),
            interpolation="nearest",
        )
        if seen.max() > seen.min():
            ax.contour(middle, middle, seen, [seen.max() / 5], colors="0.55", linewidths=0.4)
        size = 3.2 if len(points) <= 16 else 2.2 if len(points) <= 64 else 1.4
        ax.plot(
            np.real(points),
            np.imag(points),
            "o",
            color="black",
            mfc="none",
            mew=0.4,
            markersize=size,
        )
        ax.text(0.97, 0.03, f"±{limit:.1g}", fontsize=6, ha="right", transform=ax.transAxes)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
        ax.locator_params(nbins=3)
        ax.grid(visible=False)
        ax.spines[:].set(visible=True, linewidth=0.3)
        if row == 0:
            ax.set_title(title)
        if column == 0:
            ax.set_ylabel(name)
    figure.supxlabel("in-phase (RMS)", fontsize=8)
    figure.supylabel("quadrature (RMS)", fontsize=8)
    whole = ScalarMappable(Normalize(-1, 1), ATTRIBUTION_MAP)
    bar = figure.colorbar(whole, ax=axes, fraction=0.025, pad=0.01, aspect=30)
    bar.set_ticks([-1, 0, 1], labels=["−", "0", "+"])
    bar.outline.set_linewidth(0.3)
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    return figure


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
        bar.outline.set_linewidth(0.3)
        ax.set(xlim=(0, len(iq) - 1), ylim=(0, None))
        ax.set_title(name, loc="left")
    panels[-1].set_xlabel("time (samples)")
    figure.supylabel("magnitude (RMS)", fontsize=8)
    if title:
        figure.suptitle(title, fontsize=8)
    return figure


@styled
def counterfactual_curves(
    shares: Mapping[str, Mapping[str, Mapping[float, Interval]]], *, columns: int = 3
) -> Figure:
    """Draw the share of frames whose answer has turned over the size of a change.

    ``shares`` is what is changed, with its unit -> group -> change -> Interval; a panel a change,
    a line a group, bands are 95 % intervals. Changes to both sides go into one panel. A group has
    one colour and one marker in all panels.
    """
    groups = list(dict.fromkeys(name for of_change in shares.values() for name in of_change))
    across = min(columns, len(shares))
    down = -(-len(shares) // across)
    figure = Picture(figsize=(PAGE if across > 1 else COLUMN, 0.5 + 2.1 * down))
    panels = figure.subplots(down, across, sharey=True, squeeze=False).flat
    for spare in list(panels)[len(shares) :]:
        spare.remove()
    for ax, (name, of_groups) in zip(figure.axes, shares.items(), strict=True):
        for group, points in of_groups.items():
            index = groups.index(group)
            change = np.array(sorted(points))
            value, low, high = (
                np.array([points[size][end] for size in change]) for end in ("value", "low", "high")
            )
            colour = PALETTE[index % len(PALETTE)]
            ax.fill_between(change, low, high, color=colour, alpha=0.2, linewidth=0)
            ax.plot(
                change,
                value,
                color=colour,
                marker=MARKERS[index % len(MARKERS)],
                markersize=2.5,
                label=group,
            )
        ax.axvline(0, color="0.35", linewidth=0.6, linestyle="--")
        ax.set(xlabel=name, ylim=(-0.02, 1.02))
    for ax in figure.axes[::across]:
        ax.set_ylabel("share of answers turned")
    handles: dict[str, Any] = {}
    for ax in figure.axes:
        handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center", ncols=min(len(handles), 6)
    )
    return figure
