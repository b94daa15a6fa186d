"""Plots of networks away from home: other conditions than their training's, unknown modulations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from modsnr.figures.style import HATCHES, PAGE, PALETTE, Interval, Picture, styled


@styled
def shift_matrix(
    accuracies: Mapping[str, Mapping[str, Mapping[str, Interval]]],
    *,
    conditions: Sequence[str],
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Draw accuracy in per cent, a panel a task, a row a network, a column a condition.

    ``accuracies`` is task -> network -> condition -> Interval; ``titles`` renames the tasks. A
    network that cannot take the frames of a condition lacks it, and its cell is empty. The cell of
    a network under the condition whose name it bears is framed.
    """
    networks = list(next(iter(accuracies.values())))
    rows = len(networks)
    height = 0.32 + 0.2 * max(rows, 2)  # of a panel, its title included
    figure = Picture(figsize=(PAGE, height * len(accuracies) + 1.1))
    panels = figure.subplots(len(accuracies), 1, squeeze=False, sharex=True)[:, 0]
    for ax, (task, of_task) in zip(panels, accuracies.items(), strict=True):
        value = np.array([
            [of_task[network].get(condition, {}).get("value", np.nan) for condition in conditions]
            for network in networks
        ])  # fmt: skip
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
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    names = [condition.replace("_", " ") for condition in conditions]
    panels[-1].set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    panels[-1].set_xlabel("frames it is tested on")
    bar = figure.colorbar(panels[0].images[0], ax=list(panels), pad=0.01, aspect=40)
    bar.set_label("accuracy (%)")
    bar.outline.set_visible(False)
    return figure


@styled
def rejection_bars(
    rejections: Mapping[str, Mapping[str, Mapping[str, Any]]], *, false_alarm: float
) -> Figure:
    """Draw how unknown modulations are told from known ones, a group a modulation, a bar a score.

    ``rejections`` is modulation left out -> score -> auc and detected, an Interval each; all have
    the same scores. Broken lines are what chance achieves: an area of a half, and as many
    detections as false alarms.
    """
    figure = Picture(figsize=(PAGE, 2.5))
    panels = figure.subplots(1, 2)
    names, scores = list(rejections), list(next(iter(rejections.values())))
    width = 0.8 / len(scores)
    drawn = (("auc", "area under the ROC curve", 0.5), ("detected", "detected", false_alarm))
    for ax, (key, label, chance) in zip(panels, drawn, strict=True):
        place = np.arange(len(names))
        for index, score in enumerate(scores):
            value, low, high = (
                np.array([of_scores[score][key][end] for of_scores in rejections.values()])
                for end in ("value", "low", "high")
            )
            ax.bar(
                place + (index - (len(scores) - 1) / 2) * width,
                value,
                width * 0.92,
                yerr=np.abs([value - low, high - value]),
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
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure
