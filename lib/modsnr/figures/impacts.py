"""Plots of what hiding parts of diagrams costs, and of changes that turn an answer.

Scores are tidy: a row an interval, with columns task, value, low and high, as
``explain.impact_scores`` returns them, of one quantity.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from modsnr.figures.style import (
    DIAGRAM_MAP,
    HIDDEN_MAP,
    PAGE,
    SLANTED,
    Picture,
    bars,
    colour_bar,
    dots,
    heatmap,
    legend_above,
    panels,
    series,
    styled,
)

PERCENTS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
PIS = "perturbation impact score"
AT_RANDOM = " at random"  # after the name of a region: as many pixels, drawn at random


@styled
def impact_bars(scores: pd.DataFrame, *, tasks: Mapping[str, str]) -> Figure:
    """Draw scores as bars with 95 % intervals: a panel a task, a group a fraction, a bar a mask.

    ``scores`` has columns mask and fraction; ``tasks`` is task -> title.
    """
    table = _spelt(scores)
    table["percent"] = (100 * table.fraction).map("{:g} %".format)
    figure, axes = panels(list(tasks.values()), xlabel="pixels hidden", ylabel=PIS)
    for ax, task in zip(axes, tasks, strict=True):
        bars(ax, table[table.task == task], "percent", "mask")
        ax.axhline(0, color="black", linewidth=0.6)
    legend_above(figure, most=5)
    return figure


@styled
def masked(image: np.ndarray, hidden: Mapping[str, np.ndarray], *, title: str) -> Figure:
    """Draw a diagram [bins, bins] whole, called ``title``, and once for each mask.

    ``hidden`` is the name of a mask -> bool [bins, bins], its pixels, which are drawn cyan.
    """
    figure = Picture(figsize=(PAGE, PAGE / (1 + len(hidden)) + 0.7))
    figure.suptitle(title)
    for ax, (name, pixels) in zip(
        figure.subplots(1, 1 + len(hidden)), ({"whole": None} | dict(hidden)).items(), strict=True
    ):
        ax.imshow(image, cmap=DIAGRAM_MAP, origin="lower", interpolation="nearest")
        if pixels is not None:
            cover = np.ma.masked_equal(pixels.astype(float), 0)
            ax.imshow(cover, cmap=HIDDEN_MAP, origin="lower", interpolation="nearest")
            name = f"{name}\n{pixels.sum()} pixels"
        ax.set_title(name)
        ax.set_axis_off()
    return figure


def _spelt(scores: pd.DataFrame) -> pd.DataFrame:
    return scores.assign(mask=scores["mask"].str.replace("_", " "))


@styled
def impact_panels(
    scores: pd.DataFrame,
    *,
    rows: str,
    tasks: Mapping[str, str],
    over: str = "pixels",
    ylabel: str = PIS,
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
        table["percent"] *= 1 + 0.03 * (pd.factorize(table["mask"])[0] - 1.5)
    figure = Picture(figsize=(PAGE, 0.55 + 1.5 * len(names)))
    grid = figure.subplots(
        len(names), len(tasks), sharex=True, sharey="col" if sharey else False, squeeze=False
    )
    for (row, column), ax in np.ndenumerate(grid):
        here = table[(table[rows] == names[row]) & (table.task == list(tasks)[column])]
        series(ax, here, "percent", "mask", intervals="bars")
        ax.axhline(0, color="black", linewidth=0.6)
        ax.set_xscale("log")
        low, high = ax.get_xlim()
        ticks = 100 * here.fraction.unique() if over == "pixels" else PERCENTS
        ticks = [tick for tick in ticks if low <= tick <= high]
        ax.set_xticks(ticks, [f"{value:g}" for value in ticks])
        ax.minorticks_off()
    for ax, title in zip(grid[0], tasks.values(), strict=True):
        ax.set_title(title)
    for ax in grid[-1]:
        ax.set_xlabel(f"{over} hidden (%)")
    for ax, name in zip(grid[:, 0], names, strict=True):
        ax.set_ylabel(f"{name}\n{ylabel}" if len(names) == 1 else name)
    if len(names) > 1:
        figure.supylabel(f"{ylabel}\n", fontsize=8)
    legend_above(figure, most=5)
    return figure


@styled
def region_matrix(scores: pd.DataFrame, *, tasks: Mapping[str, str]) -> Figure:
    """Draw the accuracy lost with each region, in points: a panel a task, a row a region.

    ``scores`` has columns view and region; a region's row is drawn where it has a second one
    called "... at random": the accuracy lost with as many pixels drawn at random, which stands in
    brackets. A cell's shade is its loss. ``tasks`` is task -> title.
    """
    points = scores.assign(points=100 * scores.value).pivot_table(
        index=["task", "region"], columns="view", values="points", sort=False
    )
    controls = [name for name in scores.region.unique() if name.endswith(AT_RANDOM)]
    regions = [name.removesuffix(AT_RANDOM) for name in controls]
    spelt = [region.replace("_", " ") for region in regions]
    figure, axes = panels(list(tasks.values()), height=1.1 + 0.27 * max(len(regions), 4))
    for ax, task in zip(axes, tasks, strict=True):
        lost, chance = (points.loc[task].loc[of].set_axis(spelt) for of in (regions, controls))
        texts = lost.round().astype(int).astype(str) + " ("
        texts += chance.round().astype(int).astype(str) + ")"
        named = "auto" if ax is axes[0] else False
        heatmap(
            ax, pd.DataFrame(lost), annot=texts, cmap="Blues", vmin=0, vmax=100, yticklabels=named
        )
        ax.set_xticks(ax.get_xticks(), list(map(str, points)), **SLANTED)
    colour_bar(figure, axes[0].collections[0], axes, "accuracy lost (points)", aspect=30)
    return figure


@styled
def impact_by_label(scores: pd.DataFrame, *, xlabels: Mapping[str, str]) -> Figure:
    """Draw scores over labels: a panel a kind of label, a marker a series.

    ``scores`` has columns kind, series and label, text or numbers, in the order to be drawn;
    ``xlabels`` is kind -> name of its axis. Text is written aslant.
    """
    widths = [max(scores[scores.kind == kind].label.nunique(), 8) for kind in xlabels]
    figure, axes = panels([""] * len(xlabels), sharey=True, width_ratios=widths, ylabel=PIS)
    for ax, (kind, xlabel) in zip(axes, xlabels.items(), strict=True):
        here = scores[scores.kind == kind]
        words = isinstance(here.label.iloc[0], str)
        spelt = here.label if words else here.label.map("{:g}".format)
        dots(ax, here.assign(label=spelt), "label", "series")
        ax.set_xticks(
            ax.get_xticks(),
            [text.get_text() for text in ax.get_xticklabels()],
            **(SLANTED if words else {}),
        )
        ax.axhline(0, color="black", linewidth=0.6)
        ax.set_xlabel(xlabel)
    legend_above(figure)
    return figure


@styled
def method_bars(areas: pd.DataFrame) -> Figure:
    """Draw areas under the curves of methods as bars with their intervals, a group a method.

    ``areas`` has columns method, quantity, value, low and high.
    """
    bars_drawn = areas.method.nunique() * areas.quantity.nunique()
    height = 0.75 + 0.09 * bars_drawn
    figure, (ax,) = panels([""], height=height, xlabel="area under the curve")
    bars(ax, areas, "method", "quantity", lying=True)
    legend_above(figure, most=2)
    return figure


@styled
def counterfactual_curves(shares: pd.DataFrame) -> Figure:
    """Draw the share of frames whose answer has turned over the size of a change.

    ``shares`` has columns change (what is changed, with its unit), modulation, by (the size), and
    value, low, high; a panel a change, a line a modulation, bands are 95 % intervals. Changes to
    both sides go into one panel.
    """
    changes, names = shares.change.unique(), shares.modulation.unique()
    figure, axes = panels(
        [""] * len(changes), height=2.6, sharey=True, ylabel="share of answers turned"
    )
    for ax, change in zip(axes, changes, strict=True):
        here = shares[shares.change == change]
        series(ax, here, "by", "modulation", order=names, markersize=2.5)
        ax.axvline(0, color="0.35", linewidth=0.6, linestyle="--")
        ax.set(xlabel=change, ylim=(-0.02, 1.02))
    legend_above(figure, most=6)
    return figure
