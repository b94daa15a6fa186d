"""Plots of what a choice does to accuracy: one choice at a time, and every subset of the views."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modsnr.figures.style import PAGE, Picture, look, reach, series, styled
from modsnr.figures.sweeps import ROW

ABREAST = 3  # panels in a row
BOUND_LINE = (0, (4, 2))
BROKEN = Line2D([], [], color="black", linestyle=BOUND_LINE, linewidth=0.9)
ALIKE = 0.005  # of accuracy, which print cannot show


@styled
def accuracy_by_choice(
    points: pd.DataFrame,
    *,
    titles: Mapping[str, str] | None = None,
    ylabel: str = "SNR accuracy",
) -> Figure:
    """Draw accuracy over SNR, a panel a choice, a line a setting, shaded by its interval.

    ``points`` has columns choice, setting, snr_db, value, low, high, and possible: the accuracy
    that a bound allows, NaN where there is no bound. Bounds of a choice that lie within 0.005 of
    one another are one broken black line, others are broken lines in the colours of their
    settings; one legend names them, in the free corner where the last row has one, else in the
    first panel that has bounds. ``titles`` renames the choices.
    """
    choices = list(points.choice.unique())
    bounded = list(points.dropna(subset="possible").choice.unique())
    rows, columns = -(-len(choices) // ABREAST), min(len(choices), ABREAST)
    figure = Picture(figsize=(PAGE, 0.2 + 2.9 * rows))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for spare in panels.flat[len(choices) :]:
        spare.remove()
    corner = len(choices) < panels.size
    for index, choice in enumerate(choices):
        ax, here = panels.flat[index], points[points.choice == choice]
        series(ax, here, "snr_db", "setting", markersize=2.5)
        _bounds(ax, here)
        _legend(ax, with_bound=choice in bounded[:1] and not corner)
        ax.set_title((titles or {}).get(choice, choice), loc="left", fontweight="bold")
        ax.set(xlabel="", ylabel=ylabel if index % columns == 0 else "", ylim=(0, 1.03))
        if index + columns >= len(choices):
            ax.set_xlabel("SNR per sample (dB)")
            ax.tick_params(labelbottom=True)
    if bounded and corner:
        figure.legend([BROKEN], ["possible"], loc="lower right", borderaxespad=4)
    return figure


def _bounds(ax: Axes, points: pd.DataFrame) -> None:
    settings = list(points.setting.unique())
    bounds = points.pivot_table(index="snr_db", columns="setting", values="possible")
    bounds = bounds[[setting for setting in settings if setting in bounds]]
    alike = len(bounds.columns) == len(settings) and bounds.notna().to_numpy().all()
    if alike and ((bounds.max(axis=1) - bounds.min(axis=1)) <= ALIKE).all():
        bounds, colours = bounds[settings[:1]], ["black"]
    else:
        colours = [look(settings.index(setting))["color"] for setting in bounds]
    for (_, values), colour in zip(bounds.items(), colours, strict=True):
        ax.plot(values.index, values, color=colour, linestyle=BOUND_LINE, linewidth=0.9)


def _legend(ax: Axes, *, with_bound: bool) -> None:
    """Name the settings of the lines, and the broken ones."""
    handles, labels = ax.get_legend_handles_labels()
    if with_bound:
        handles, labels = [*handles, BROKEN], [*labels, "possible"]
    # Above the lines, which fill the panel from bottom to top; short names stand side by side.
    labels = [textwrap.fill(label, 18) for label in labels]
    wide = max(map(len, labels), default=0) > 8
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
    order = list(first.subset)
    members = [subset.split(" + ") for subset in scores.subset.unique()]
    largest = max(members, key=len)
    parts = list(dict.fromkeys([*largest, *(part for held in members for part in held)]))
    figure = Picture(figsize=(PAGE, 1.25 + ROW * len(order)))
    widths = [0.2 * len(parts), *[1.0] * len(tasks)]
    left, *panels = figure.subplots(1, 1 + len(tasks), width_ratios=widths, sharey=True)
    places = np.arange(len(order))
    for column, part in enumerate(parts):
        held = np.array([part in subset.split(" + ") for subset in order])
        left.plot(np.full(len(order), column), places, "o", color="0.85", markersize=5, mew=0)
        left.plot([column] * held.sum(), places[held], "o", color="black", markersize=5, mew=0)
    left.set_xticks(range(len(parts)), parts, rotation=45, ha="right", rotation_mode="anchor")
    left.set(yticks=[], xlim=(-0.6, len(parts) - 0.4), ylim=(len(order) - 0.5, -0.5))
    left.tick_params(length=0)
    left.spines[:].set_visible(False)
    left.grid(visible=False)
    for index, (ax, task) in enumerate(zip(panels, tasks, strict=True)):
        rows = scores[scores.task == task].set_index("subset").loc[order]
        # Larger than most intervals, a solid dot would hide them.
        dot = {"linestyle": "none", "markersize": 4.5, "alpha": 0.45, "mew": 0}
        ax.plot(rows.value, places, **look(index), **dot)
        ax.errorbar(
            rows.value, places, xerr=reach(rows), fmt="none", ecolor=look(index)["color"],
            elinewidth=1, capsize=2, capthick=1,
        )  # fmt: skip
        ax.set(title=(titles or {}).get(task, task), xlabel="accuracy", xlim=(0, 1.03))
        ax.tick_params(axis="y", length=0)
        ax.set_axisbelow(True)
    return figure
