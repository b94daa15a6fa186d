"""Plots of networks under other conditions than their training's, and on unknown modulations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from modsnr.figures.style import (
    BROKEN,
    PAGE,
    PALETTE,
    SLANTED,
    bars,
    colour_bar,
    heatmap,
    legend_above,
    panels,
    styled,
)


@styled
def shift_matrix(
    accuracies: pd.DataFrame,
    *,
    conditions: Sequence[str],
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Draw accuracy in per cent, a panel a task, a row a network, a column a condition.

    ``accuracies`` has the columns task, model, condition and value; ``titles`` renames the tasks. A
    network that cannot take the frames of a condition lacks it, and its cell is empty. The cell of
    a network under the condition of the same name is framed.
    """
    tasks = accuracies.task.unique()
    figure, axes = _matrices(accuracies, conditions, [(titles or {}).get(t, t) for t in tasks])
    colour_bar(figure, axes[0].collections[0], axes, "accuracy (%)", aspect=40)
    return figure


@styled
def loss_matrix(losses: pd.DataFrame, *, conditions: Sequence[str]) -> Figure:
    """Draw by how many points networks stay below what is possible, laid out as ``shift_matrix``.

    ``losses`` has the columns task, of which there is one, model, condition and value.
    """
    figure, axes = _matrices(losses, conditions, [""], cmap="cividis_r")
    colour_bar(figure, axes[0].collections[0], axes, "points below\nthe ceiling", aspect=15)
    return figure


def _matrices(
    table: pd.DataFrame, conditions: Sequence[str], titles: Sequence[Any], **options: Any
) -> tuple[Figure, list[Axes]]:
    networks = list(table.model.unique())
    apart = 0.72 if len(titles) > 1 else 1.5  # inches: names of conditions stand under one panel
    figure, axes = panels(
        [str(title) for title in titles], across=1, sharex=True,
        height=apart + 0.2 * max(len(networks), 2), xlabel="frames it is tested on",
    )  # fmt: skip
    figure.set_figwidth(PAGE)
    names = [condition.replace("_", " ") for condition in conditions]
    for ax, task in zip(axes, table.task.unique(), strict=True):
        of_task = table[table.task == task].pivot_table("value", "model", "condition")
        percent = 100 * of_task.reindex(index=networks, columns=list(conditions))
        drawn = percent.set_axis(names, axis=1)
        heatmap(ax, drawn, annot=True, **({"fmt": ".1f", "vmin": 0, "vmax": 100} | options))
        for row, column in np.argwhere(np.equal.outer(networks, list(conditions))):
            edge: Any = {"fill": False, "edgecolor": PALETTE[1], "linewidth": 1.6}
            ax.add_patch(Rectangle((column + 0.03, row + 0.05), 0.94, 0.9, **edge))
        ax.set_ylabel("network")
    axes[-1].set_xticks(axes[-1].get_xticks(), names, **SLANTED)
    return figure, axes


@styled
def rejection_bars(rejections: pd.DataFrame, *, false_alarm: float) -> Figure:
    """Draw how well unknown modulations are detected, a group a modulation, a bar a score.

    ``rejections`` has the columns left out, score, measure (auc and detected), value, low and high.
    Broken lines are what chance achieves: an area of a half, and as many detections as false
    alarms.
    """
    figure, axes = panels(["", ""])
    detected = f"detected at {100 * false_alarm:g} % false alarms"
    drawn = {"auc": ("area under the ROC curve", 0.5), "detected": (detected, false_alarm)}
    for ax, (measure, (label, chance)) in zip(axes, drawn.items(), strict=True):
        ax.set(ylabel=label, ylim=(0, 1.02))
        bars(ax, rejections[rejections.measure == measure], "left out", "score")
        ax.axhline(chance, color="black", label="chance", **BROKEN)
    legend_above(figure)
    return figure
