"""Plots of what a choice does to accuracy: one choice at a time, and every subset of the views."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modsnr.figures.limits import SNR
from modsnr.figures.style import (
    BROKEN,
    PAGE,
    SLANTED,
    Picture,
    bare,
    dots,
    look,
    panels,
    series,
    styled,
)

ALIKE = 0.005  # of accuracy, which print cannot show


@styled
def accuracy_by_choice(points: pd.DataFrame, *, titles: Mapping[str, str] | None = None) -> Figure:
    """Draw accuracy over SNR, a panel a choice, a line a setting, shaded by its interval.

    ``points`` has columns choice, setting, snr_db, value, low, high, and possible: the accuracy
    that a bound allows, NaN where there is no bound. Bounds of a choice that lie within 0.005 of
    one another are one broken black line, others are broken lines in the colours of their
    settings. ``titles`` renames the choices.
    """
    choices = list(points.choice.unique())
    figure, axes = panels(
        [""] * len(choices),
        height=3.0,
        sharex=True,
        sharey=True,
        xlabel=SNR,
        ylabel="SNR accuracy",
    )
    for ax, choice in zip(axes, choices, strict=True):
        here = points[points.choice == choice]
        series(ax, here, "snr_db", "setting", markersize=2.5)
        ax.set_title(str((titles or {}).get(choice, choice)), loc="left", fontweight="bold")
        ax.set_ylim(0, 1.03)
        _legend(ax)
        _bounds(ax, here)
    possible = Line2D([], [], color="black", label="possible", **BROKEN)
    figure.legend(handles=[possible], loc="outside lower right")
    return figure


def _bounds(ax: Axes, points: pd.DataFrame) -> None:
    names = list(points.setting.unique())
    bounds = points.pivot_table("possible", "snr_db", "setting", dropna=False)[names]
    if (bounds.max(axis=1) - bounds.min(axis=1)).max() <= ALIKE:
        ax.plot(bounds.mean(axis=1), color="black", **BROKEN)
        return
    for index, name in enumerate(names):
        ax.plot(bounds[name], color=look(index)["color"], **BROKEN)


def _legend(ax: Axes) -> None:
    """Name the lines above the panel, which they fill from bottom to top."""
    handles, labels = ax.get_legend_handles_labels()
    labels = [textwrap.fill(label, 18) for label in labels]
    wide = max(map(len, labels)) > 8
    ax.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(-0.03, 1.08), borderaxespad=0,
        ncols=2 if wide else 3, columnspacing=1, handlelength=1.6, handletextpad=0.5,
    )  # fmt: skip


@styled
def ablation(scores: pd.DataFrame, *, titles: Mapping[str, str] | None = None) -> Figure:
    """Draw accuracies of subsets, a row a subset, as dots with their intervals, a panel a task.

    ``scores`` has columns subset, whose parts are joined by " + ", task, value, low and high;
    ``titles`` renames the tasks. The rows are sorted by the first task, the best at the top. To
    the left a filled dot stands for a part that a subset has; the parts stand in the order of the
    largest subset.
    """
    tasks = list(scores.task.unique())
    first = scores[scores.task == tasks[0]].sort_values("value", ascending=False, kind="stable")
    members = [subset.split(" + ") for subset in first.subset]
    parts = list(dict.fromkeys(part for held in sorted(members, key=len)[::-1] for part in held))
    held = np.array([[part in of for part in parts] for of in members])
    figure = Picture(figsize=(PAGE, 1.25 + 0.22 * len(members)))
    widths = [0.2 * len(parts), *[1.0] * len(tasks)]
    left, *axes = figure.subplots(1, 1 + len(tasks), width_ratios=widths, sharey=True)
    row, column = np.indices(held.shape)
    left.scatter(column, row, s=25, linewidth=0, c=np.where(held, "black", "0.85").ravel())
    left.set_xticks(range(len(parts)), parts, **SLANTED)
    left.set(xlim=(-0.6, len(parts) - 0.4))
    for ax, task in zip(axes, tasks, strict=True):
        rows = scores[scores.task == task].set_index("subset").loc[first.subset].reset_index()
        dots(ax, rows, "subset", "task", order=tasks, lying=True)
        ax.set(title=(titles or {}).get(task, task), xlabel="accuracy", xlim=(0, 1.03))
        ax.tick_params(axis="y", length=0)
    left.set(yticks=[], ylim=(len(members) - 0.5, -0.5))
    bare(left)
    return figure
