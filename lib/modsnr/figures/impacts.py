"""Plots of what hiding parts of diagrams costs, and of changes that turn an answer.

Scores are tidy: a row an interval, with columns task, value, low and high, as
``explain.impact_scores`` returns them, of one quantity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modsnr.figures.style import (
    COLUMN,
    HATCHES,
    PAGE,
    Picture,
    bare,
    colour_bar,
    legend_above,
    look,
    reach,
    series,
    styled,
)

PERCENTS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
AT_RANDOM = " at random"  # after the name of a region: as many pixels, drawn at random


@styled
def impact_bars(
    scores: pd.DataFrame, *, tasks: Mapping[str, str], ylabel: str = "perturbation impact score"
) -> Figure:
    """Draw scores as bars with 95 % intervals: a panel a task, a group a fraction, a bar a mask.

    ``scores`` has columns mask and fraction; ``tasks`` is task -> title.
    """
    figure = Picture(figsize=(PAGE, 2.4))
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for ax, (task, title) in zip(panels, tasks.items(), strict=True):
        here = _spelt(scores[scores.task == task])
        _bars(ax, here, "mask")
        percents = [f"{100 * fraction:g} %" for fraction in here.fraction.unique()]
        ax.set_xticks(range(len(percents)), percents)
        ax.axhline(0, color="black", linewidth=0.6)
        ax.set(title=title, xlabel="pixels hidden")
        ax.grid(visible=False, axis="x")
    panels[0].set_ylabel(ylabel)
    legend_above(figure, most=5)
    return figure


def _spelt(scores: pd.DataFrame) -> pd.DataFrame:
    return scores.assign(mask=scores["mask"].str.replace("_", " "))


def _bars(ax: Axes, table: pd.DataFrame, name: str, *, lying: bool = False) -> None:
    """Draw bars with their intervals, a group a place, in the order of the rows of each name."""
    names = list(table[name].unique())
    width = 0.8 / len(names)
    for index, key in enumerate(names):
        rows = table[table[name] == key]
        places = np.arange(len(rows)) + (index - (len(names) - 1) / 2) * width
        bars: Any = {
            "xerr" if lying else "yerr": reach(rows),
            "label": key,
            "color": look(index)["color"],
            "hatch": HATCHES[index % len(HATCHES)],
            "edgecolor": "white",
            "linewidth": 0.4,
            "error_kw": {"elinewidth": 0.8, "capsize": 1.5},
        }
        (ax.barh if lying else ax.bar)(places, rows.value, width, **bars)


@styled
def impact_panels(
    scores: pd.DataFrame,
    *,
    rows: str,
    tasks: Mapping[str, str],
    over: str = "pixels",
    ylabel: str = "perturbation impact score",
    sharey: bool = False,
) -> Figure:
    """Draw scores over the share hidden: a row a value of ``rows``, a column a task, a line a mask.

    ``scores`` has columns ``rows``, mask, fraction and share_of_points; ``tasks`` is task -> title.
    The share is ``over`` pixels, the fraction of a mask, or over points, those that each mask
    really hid. ``sharey`` gives the panels of a task one scale.
    """
    share = scores.fraction if over == "pixels" else scores[f"share_of_{over}"]
    table, names = _spelt(scores.assign(percent=100 * share)), scores[rows].unique()
    if over == "pixels":  # all masks hide as much: their intervals stand side by side
        place = pd.Series(pd.factorize(table["mask"])[0], table.index)
        table["percent"] *= 1 + 0.03 * (place - 1.5)
    figure = Picture(figsize=(PAGE, 0.55 + 1.5 * len(names)))
    panels = figure.subplots(
        len(names), len(tasks), sharex=True, sharey="col" if sharey else False, squeeze=False
    )
    for (row, column), ax in np.ndenumerate(panels):
        here = table[(table[rows] == names[row]) & (table.task == list(tasks)[column])]
        series(ax, here, "percent", "mask", intervals="bars")
        ax.set(xlabel="", ylabel="")
        ax.axhline(0, color="black", linewidth=0.6)
        ax.set_xscale("log")
        low, high = ax.get_xlim()
        ticks = 100 * here.fraction.unique() if over == "pixels" else PERCENTS
        ticks = [tick for tick in ticks if low <= tick <= high]
        ax.set_xticks(ticks, [f"{value:g}" for value in ticks])
        ax.minorticks_off()
    for ax, title in zip(panels[0], tasks.values(), strict=True):
        ax.set_title(title)
    for ax in panels[-1]:
        ax.set_xlabel(f"{over} hidden (%)")
    for ax, name in zip(panels[:, 0], names, strict=True):
        ax.set_ylabel(name)
    figure.supylabel(ylabel, fontsize=8)
    legend_above(figure, most=5)
    return figure


@styled
def region_matrix(scores: pd.DataFrame, *, tasks: Mapping[str, str]) -> Figure:
    """Draw the accuracy lost with each region, in points: a panel a task, a row a region.

    ``scores`` has columns view and region; a region's row is drawn where it has a second one
    called "... at random": the accuracy lost with as many pixels drawn at random, which stands in
    brackets. A cell's shade is its loss. ``tasks`` is task -> title.
    """
    lost_points = scores.assign(points=100 * scores.value).pivot_table(
        index=["task", "region"], columns="view", values="points", sort=False
    )
    views = list(lost_points)
    controls = [name for name in scores.region.unique() if name.endswith(AT_RANDOM)]
    regions = [name.removesuffix(AT_RANDOM) for name in controls]
    figure = Picture(figsize=(PAGE, 1.1 + 0.27 * max(len(regions), 4)))
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    for ax, (task, title) in zip(panels, tasks.items(), strict=True):
        lost, chance = (lost_points.loc[task].loc[of].to_numpy() for of in (regions, controls))
        ax.imshow(lost, vmin=0, vmax=100, cmap="Blues", aspect="auto")
        for row, column in np.ndindex(*lost.shape):
            shade = "white" if lost[row, column] > 60 else "black"
            text = f"{lost[row, column]:.0f} ({chance[row, column]:.0f})".replace("-0", "0")
            ax.text(column, row, text, color=shade, ha="center", va="center", fontsize=7)
        ax.set_title(title)
        ax.set_xticks(range(len(views)), views, rotation=60, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(regions)), [region.replace("_", " ") for region in regions])
        bare(ax)
    colour_bar(figure, panels[0].images[0], panels, "accuracy lost (points)", aspect=30)
    return figure


@styled
def impact_by_label(
    scores: pd.DataFrame,
    *,
    xlabels: Mapping[str, str],
    ylabel: str = "perturbation impact score",
) -> Figure:
    """Draw scores over labels: a panel a kind of label, a marker a series.

    ``scores`` has columns kind, series and label, text or numbers, in the order to be drawn;
    ``xlabels`` is kind -> name of its axis. Text is written aslant.
    """
    figure = Picture(figsize=(PAGE, 2.5))
    widths = [max(scores[scores.kind == kind].label.nunique(), 8) for kind in xlabels]
    panels = figure.subplots(1, len(xlabels), sharey=True, width_ratios=widths, squeeze=False)[0]
    for ax, (kind, xlabel) in zip(panels, xlabels.items(), strict=True):
        here = scores[scores.kind == kind]
        labels, names = list(here.label.unique()), list(here.series.unique())
        for index, name in enumerate(names):
            rows, shift = here[here.series == name], 0.22 * (index - (len(names) - 1) / 2)
            dots: Any = {"linestyle": "none", "elinewidth": 0.8, "capsize": 1.5, "label": name}
            places = np.arange(len(rows)) + shift
            ax.errorbar(places, rows.value, reach(rows), **look(index), **dots)
        if isinstance(labels[0], str):
            slant = {"rotation": 55, "ha": "right", "rotation_mode": "anchor"}
            ax.set_xticks(range(len(labels)), labels, **slant)
        else:
            ax.set_xticks(range(len(labels)), [f"{label:g}" for label in labels])
        ax.axhline(0, color="black", linewidth=0.6)
        ax.set_xlabel(xlabel)
    panels[0].set_ylabel(ylabel)
    legend_above(figure)
    return figure


@styled
def method_bars(areas: pd.DataFrame, *, xlabel: str = "area under the curve") -> Figure:
    """Draw merits of methods as bars with their intervals, a group a method.

    ``areas`` has columns method, quantity, value, low and high.
    """
    methods, quantities = areas.method.unique(), areas.quantity.unique()
    figure = Picture(figsize=(COLUMN, 0.75 + 0.09 * len(quantities) * len(methods)))
    ax = figure.subplots()
    _bars(ax, areas, "quantity", lying=True)
    ax.set_yticks(range(len(methods)), methods)
    ax.invert_yaxis()
    ax.set_xlabel(xlabel)
    ax.grid(visible=False, axis="y")
    legend_above(figure, most=2)
    return figure


@styled
def counterfactual_curves(shares: pd.DataFrame, *, columns: int = 3) -> Figure:
    """Draw the share of frames whose answer has turned over the size of a change.

    ``shares`` has columns change (what is changed, with its unit), modulation, by (the size), and
    value, low, high; a panel a change, a line a modulation, bands are 95 % intervals. Changes to
    both sides go into one panel.
    """
    changes, names = shares.change.unique(), shares.modulation.unique()
    across = min(columns, len(changes))
    down = -(-len(changes) // across)
    figure = Picture(figsize=(PAGE if across > 1 else COLUMN, 0.5 + 2.1 * down))
    panels = figure.subplots(down, across, sharey=True, squeeze=False)
    for spare in panels.flat[len(changes) :]:
        spare.remove()
    for ax, change in zip(figure.axes, changes, strict=True):
        here = shares[shares.change == change]
        series(ax, here, "by", "modulation", order=names, markersize=2.5)
        ax.axvline(0, color="0.35", linewidth=0.6, linestyle="--")
        ax.set(xlabel=change, ylabel="", ylim=(-0.02, 1.02))
    for ax in figure.axes[::across]:
        ax.set_ylabel("share of answers turned")
    legend_above(figure, most=6)
    return figure
