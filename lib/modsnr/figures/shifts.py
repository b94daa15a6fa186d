"""Plots of networks under other conditions than their training's, and on unknown modulations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from modsnr.figures.style import (
    HATCHES,
    PAGE,
    PALETTE,
    Picture,
    bare,
    colour_bar,
    legend_above,
    reach,
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
    tasks, networks = accuracies.task.unique(), list(accuracies.model.unique())
    rows = len(networks)
    height = 0.32 + 0.2 * max(rows, 2)  # of a panel, its title included
    figure = Picture(figsize=(PAGE, height * len(tasks) + 1.1))
    panels = figure.subplots(len(tasks), 1, squeeze=False, sharex=True)[:, 0]
    for ax, task in zip(panels, tasks, strict=True):
        of_task = accuracies[accuracies.task == task].pivot_table("value", "model", "condition")
        value = of_task.reindex(index=networks, columns=list(conditions)).to_numpy()
        ax.imshow(100 * value, vmin=0, vmax=100, cmap="cividis", aspect="auto")
        for row, column in np.argwhere(np.isfinite(value)):
            shade = "black" if value[row, column] > 0.5 else "white"
            text = f"{100 * value[row, column]:.1f}"
            ax.text(column, row, text, color=shade, ha="center", va="center", fontsize=7)
            if networks[row] == conditions[column]:
                edge: Any = {"fill": False, "edgecolor": PALETTE[1], "linewidth": 1.6}
                ax.add_patch(Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, **edge))
        ax.set_yticks(range(rows), [network.replace("_", " ") for network in networks])
        ax.set_ylabel("network")
        ax.set_title((titles or {}).get(task, task))
        bare(ax)
    names = [condition.replace("_", " ") for condition in conditions]
    panels[-1].set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    panels[-1].set_xlabel("frames it is tested on")
    colour_bar(figure, panels[0].images[0], list(panels), "accuracy (%)", aspect=40)
    return figure


@styled
def rejection_bars(rejections: pd.DataFrame, *, false_alarm: float) -> Figure:
    """Draw how well unknown modulations are detected, a group a modulation, a bar a score.

    ``rejections`` has the columns left out, score, measure (auc and detected), value, low and high;
    all modulations have the same scores. Broken lines are what chance achieves: an area of a half,
    and as many detections as false alarms.
    """
    figure = Picture(figsize=(PAGE, 2.5))
    panels = figure.subplots(1, 2)
    names, scores = rejections["left out"].unique(), rejections.score.unique()
    width = 0.8 / len(scores)
    drawn = (("auc", "area under the ROC curve", 0.5), ("detected", "detected", false_alarm))
    for ax, (key, label, chance) in zip(panels, drawn, strict=True):
        place = np.arange(len(names))
        for index, score in enumerate(scores):
            points = rejections[(rejections.score == score) & (rejections.measure == key)]
            ax.bar(
                place + (index - (len(scores) - 1) / 2) * width,
                points.value,
                width * 0.92,
                yerr=reach(points),
                color=PALETTE[index],
                hatch=HATCHES[index % len(HATCHES)],
                edgecolor="white",
                linewidth=0,
                error_kw={"linewidth": 0.9, "ecolor": "0.2"},
                label=score,
            )
        ax.axhline(chance, color="black", linewidth=0.8, linestyle=(0, (4, 2)), label="chance")
        ax.set(ylabel=label, ylim=(0, 1.02), xlim=(-0.6, len(names) - 0.4))
        ax.set_xticks(range(len(names)), names)
        ax.grid(visible=False, axis="x")
        ax.set_axisbelow(True)
    panels[1].set_ylabel(f"detected at {100 * false_alarm:g} % false alarms")
    legend_above(figure)
    return figure
