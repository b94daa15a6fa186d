"""Plots of explanations: impact of perturbations, attributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from modsnr.figures.style import (
    DIAGRAM_MAP,
    HATCHES,
    MARKERS,
    PAGE,
    PALETTE,
    Interval,
    Picture,
    styled,
    value_and_reach,
)

PERCENTS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


@styled
def impact_bars(
    scores: Mapping[str, Mapping[str, Mapping[float, Interval]]],
    *,
    tasks: Mapping[str, str],
    ylabel: str = "perturbation impact score",
) -> Figure:
    """Draw impact scores as bars with 95 % intervals: a panel a task, a group a fraction.

    ``scores`` is method -> task -> fraction -> Interval; ``tasks`` is task -> title.
    """
    figure = Picture(figsize=(PAGE, 2.4))
    panels = np.atleast_1d(figure.subplots(1, len(tasks)))
    width = 0.8 / len(scores)
    for ax, task in zip(panels, tasks, strict=True):
        for index, (method, of_task) in enumerate(scores.items()):
            points = of_task[task]
            value, reach = value_and_reach(points.values())
            ax.bar(
                np.arange(len(points)) + (index - (len(scores) - 1) / 2) * width,
                value,
                width,
                yerr=reach.tolist(),
                label=method.replace("_", " "),
                color=PALETTE[index % len(PALETTE)],
                hatch=HATCHES[index % len(HATCHES)],
                edgecolor="white",
                linewidth=0.4,
                error_kw={"elinewidth": 0.8, "capsize": 1.5},
            )
        ax.axhline(0, color="black", linewidth=0.6)
        ax.set_xticks(range(len(points)), [f"{100 * fraction:g} %" for fraction in points])
        ax.set(title=tasks[task], xlabel="pixels hidden")
        ax.grid(visible=False, axis="x")
    panels[0].set_ylabel(ylabel)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(scores))
    return figure


@styled
def impact_panels(
    scores: Mapping[str, Mapping[str, Mapping[str, Mapping[float, Interval]]]],
    *,
    tasks: Mapping[str, str],
    ylabel: str = "perturbation impact score",
    of: str = "pixels",
    sharey: bool = False,
) -> Figure:
    """Draw impact scores over the fraction hidden: a row a view, a column a task, a line a method.

    ``scores`` is view -> method -> task -> fraction -> Interval; ``tasks`` is task -> title. ``of``
    says of what the fractions are; other than those of pixels, each method has its own. ``sharey``
    gives the panels of a task one scale.
    """
    figure = Picture(figsize=(PAGE, 0.55 + 1.5 * len(scores)))
    panels = figure.subplots(
        len(scores), len(tasks), sharex=True, sharey="col" if sharey else False, squeeze=False
    )
    for row, (view, methods) in enumerate(scores.items()):
        for column, task in enumerate(tasks):
            ax = panels[row, column]
            for index, (method, of_task) in enumerate(methods.items()):
                points = of_task[task]
                percent = np.array([100 * fraction for fraction in points])
                value, reach = value_and_reach(points.values())
                ax.errorbar(
                    percent * (1 + 0.03 * (index - 1.5)) if of == "pixels" else percent,
                    value,
                    yerr=reach.tolist(),
                    color=PALETTE[index % len(PALETTE)],
                    marker=MARKERS[index % len(MARKERS)],
                    label=method.replace("_", " "),
                    elinewidth=0.8,
                    capsize=1.5,
                )
            ax.axhline(0, color="black", linewidth=0.6)
            ax.set_xscale("log")
            ticks = percent
            if of != "pixels":
                low, high = ax.get_xlim()
                ticks = [tick for tick in PERCENTS if low <= tick <= high]
            ax.set_xticks(ticks, [f"{value:g}" for value in ticks])
            ax.minorticks_off()
            if row == 0:
                ax.set_title(tasks[task])
            if row == len(scores) - 1:
                ax.set_xlabel(f"{of} hidden (%)")
        panels[row, 0].set_ylabel(view)
    figure.supylabel(ylabel, fontsize=8)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


@styled
def attribution_grid(
    diagrams: np.ndarray,
    attributions: Mapping[str, np.ndarray],
    *,
    rows: Sequence[str],
    views: Sequence[str],
) -> Figure:
    """Draw diagrams [frame, view, bins, bins] beside attribution maps of the same shape.

    ``attributions`` is task -> maps; blue holds the score up, red holds it down, white is nothing.
    Each map has its own symmetric scale.
    """
    kinds = 1 + len(attributions)
    shape = (len(rows), kinds * len(views))
    cell = PAGE * 0.9 / shape[1]
    figure = Picture(figsize=(PAGE, cell * shape[0] + 0.5))
    axes = figure.subplots(*shape, squeeze=False)
    size = 7 if shape[1] <= 9 else 6  # the names of twelve columns would run into one another
    for line, name in enumerate(rows):
        for channel, view in enumerate(views):
            for kind in range(kinds):
                ax = axes[line, channel * kinds + kind]
                ax.set(xticks=[], yticks=[])
                ax.grid(visible=False)
                ax.spines[:].set_visible(kind > 0)
                ax.spines[:].set_linewidth(0.3)
                if kind == 0:
                    ax.imshow(diagrams[line, channel], origin="lower", cmap=DIAGRAM_MAP)
                    title = view
                else:
                    title, maps = list(attributions.items())[kind - 1]
                    limit = max(np.abs(maps[line, channel]).max(), 1e-12)
                    ax.imshow(
                        maps[line, channel], origin="lower", cmap="RdBu", vmin=-limit, vmax=limit
                    )
                if line == 0:
                    ax.set_title(title, fontsize=size)
        axes[line, 0].set_ylabel(name, fontsize=7)
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)
    return figure
