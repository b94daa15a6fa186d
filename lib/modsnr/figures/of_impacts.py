"""Plots of what hiding parts of diagrams costs: by region, by modulation and SNR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from modsnr.figures.style import (
    COLUMN,
    MARKERS,
    PAGE,
    PALETTE,
    Interval,
    Picture,
    styled,
    value_and_reach,
)


@styled
def region_matrix(
    drops: Mapping[str, Mapping[str, Mapping[str, Interval]]],
    controls: Mapping[str, Mapping[str, Mapping[str, Interval]]],
    *,
    tasks: Mapping[str, str],
) -> Figure:
    """Draw the accuracy lost with each region, in points: a panel a task, a row a region.

    ``drops`` and ``controls`` are view -> region -> task -> Interval; a cell's shade is its drop,
    and in brackets stands what as many pixels drawn at random cost. ``tasks`` is task -> title.
    """
    views = list(drops)
    regions = list(next(iter(drops.values())))
    figure = Picture(figsize=(PAGE, 1.1 + 0.27 * max(len(regions), 4)))
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    for ax, (task, title) in zip(panels, tasks.items(), strict=True):
        lost, chance = (
            np.array([[100 * of[v][region][task]["value"] for v in views] for region in regions])
            for of in (drops, controls)
        )
        ax.imshow(lost, vmin=0, vmax=100, cmap="Blues", aspect="auto")
        for row, column in np.ndindex(*lost.shape):
            shade = "white" if lost[row, column] > 60 else "black"
            text = f"{lost[row, column]:.0f} ({chance[row, column]:.0f})".replace("-0", "0")
            ax.text(column, row, text, color=shade, ha="center", va="center", fontsize=7)
        ax.set_title(title)
        ax.set_xticks(range(len(views)), views, rotation=60, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(regions)), [region.replace("_", " ") for region in regions])
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    bar = figure.colorbar(panels[0].images[0], ax=list(panels), pad=0.01, aspect=30)
    bar.set_label("accuracy lost (points)")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


@styled
def impact_by_label(
    scores: Mapping[str, Mapping[str, Mapping[Any, Interval]]],
    *,
    xlabels: Mapping[str, str],
    ylabel: str = "perturbation impact score",
) -> Figure:
    """Draw scores over labels: a panel a kind of label, a marker a mask or task.

    ``scores`` is kind -> series -> label -> Interval; ``xlabels`` is kind -> name of its axis.
    Labels that are text are written aslant, numbers share an axis.
    """
    figure = Picture(figsize=(PAGE, 2.5))
    widths = [max(len(next(iter(series.values()))), 8) for series in scores.values()]
    panels = figure.subplots(1, len(scores), sharey=True, width_ratios=widths, squeeze=False)[0]
    for ax, (kind, series) in zip(panels, scores.items(), strict=True):
        for index, (name, points) in enumerate(series.items()):
            value, reach = value_and_reach(points.values())
            shift = 0.22 * (index - (len(series) - 1) / 2)
            ax.errorbar(
                np.arange(len(points)) + shift,
                value,
                yerr=reach.tolist(),
                fmt=MARKERS[index % len(MARKERS)],
                color=PALETTE[index % len(PALETTE)],
                label=name,
                elinewidth=0.8,
                capsize=1.5,
            )
        labels: Sequence[Any] = list(next(iter(series.values())))
        text = [label if isinstance(label, str) else f"{label:g}" for label in labels]
        aslant = {"rotation": 55, "ha": "right", "rotation_mode": "anchor"}
        ax.set_xticks(range(len(text)), text, **(aslant if isinstance(labels[0], str) else {}))
        ax.axhline(0, color="black", linewidth=0.6)
        ax.set_xlabel(xlabels[kind])
    panels[0].set_ylabel(ylabel)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names))
    return figure


@styled
def method_bars(
    areas: Mapping[str, Mapping[str, Interval]], *, xlabel: str = "area under the curve"
) -> Figure:
    """Draw a figure of merit of methods as bars with their intervals, a group a quantity.

    ``areas`` is quantity -> method -> Interval.
    """
    methods = list(next(iter(areas.values())))
    figure = Picture(figsize=(COLUMN, 0.75 + 0.09 * len(areas) * len(methods)))
    ax = figure.subplots()
    height = 0.8 / len(areas)
    for index, (quantity, of_method) in enumerate(areas.items()):
        value, reach = value_and_reach(of_method[method] for method in methods)
        ax.barh(
            np.arange(len(methods)) + (index - (len(areas) - 1) / 2) * height,
            value,
            height,
            xerr=reach.tolist(),
            label=quantity,
            color=PALETTE[index % len(PALETTE)],
            error_kw={"elinewidth": 0.8, "capsize": 1.5},
        )
    ax.set_yticks(range(len(methods)), methods)
    ax.invert_yaxis()
    ax.set_xlabel(xlabel)
    ax.grid(visible=False, axis="y")
    figure.legend(loc="outside upper center", ncols=min(len(areas), 2))
    return figure
