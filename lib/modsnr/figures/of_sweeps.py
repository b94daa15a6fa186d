"""Plots of many runs: which choices did best, what became of the runs, what mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from modsnr.figures.style import HATCHES, PAGE, PALETTE, Picture, styled

ROW = 0.22  # inches
STATUSES = {
    "completed": PALETTE[2],
    "pruned": PALETTE[5],
    "interrupted": PALETTE[4],
    "failed": PALETTE[1],
    "diverged": PALETTE[3],
    "crashed": PALETTE[6],
}
GREY = PALETTE[6]


@styled
def ranked(choices: Mapping[str, Mapping[str, Sequence[float]]], *, xlabel: str) -> Figure:
    """Draw each choice's runs, a panel a parameter: dots, and a bar at their mean.

    ``choices`` is parameter -> choice -> values of its runs, the choices from top to bottom; one
    without runs is shown empty.
    """
    columns = 2 if len(choices) > 1 else 1
    names = list(choices) or [""]
    rows = -(-len(names) // columns)
    heights = [
        max(len(choices.get(name, ())) for name in names[row * columns : (row + 1) * columns])
        for row in range(rows)
    ]
    figure = Picture(figsize=(PAGE, sum(heights) * ROW + 0.6 * rows + 0.5))
    grid = figure.add_gridspec(rows, columns, height_ratios=[h + 1 for h in heights])
    shared = None
    for index, name in enumerate(names):
        ax = figure.add_subplot(grid[divmod(index, columns)], sharex=shared)
        shared = ax
        if not choices:
            return _nothing(figure, ax, "no run has a value")
        for row, values in enumerate(choices[name].values()):
            ax.plot(values, np.full(len(values), row), "o", color=PALETTE[0], alpha=0.35, mew=0)
            if len(values):
                ax.plot([np.mean(values)] * 2, [row - 0.35, row + 0.35], color=PALETTE[1])
        labels = [f"{choice} ({len(values)})" for choice, values in choices[name].items()]
        ax.set_yticks(range(len(labels)), labels)
        ax.set(title=name, ylim=(len(labels) - 0.5, -0.5))
        ax.grid(visible=False, axis="y")
        if index >= len(names) - columns:
            ax.set_xlabel(xlabel)
    return figure


@styled
def outcome_bars(counts: Mapping[str, Mapping[str, int]]) -> Figure:
    """Draw what became of sets of runs, a bar a set of the shares of its statuses.

    ``counts`` is set -> status -> runs. A set without runs has no bar.
    """
    figure = Picture(figsize=(PAGE, 0.9 + 0.4 * max(len(counts), 1)))
    ax = figure.subplots()
    statuses = [s for s in STATUSES if any(counted.get(s) for counted in counts.values())]
    left = np.zeros(len(counts))
    totals = np.array([max(sum(counted.values()), 1) for counted in counts.values()])
    for index, status in enumerate(statuses):
        shares = np.array([counted.get(status, 0) for counted in counts.values()]) / totals
        ax.barh(
            range(len(counts)), shares, left=left, height=0.6, label=status,
            color=STATUSES[status], hatch=HATCHES[index % len(HATCHES)], edgecolor="white",
        )  # fmt: skip
        left = left + shares
    labels = [f"{name} ({sum(counted.values())})" for name, counted in counts.items()]
    ax.set_yticks(range(len(labels)), labels)
    ax.set(xlabel="share of runs", xlim=(0, 1), ylim=(len(labels) - 0.5, -0.5))
    ax.grid(visible=False, axis="y")
    if statuses:
        figure.legend(loc="outside upper center", ncols=len(statuses))
    return figure


@styled
def importance_bars(shares: Mapping[str, float], *, runs: int) -> Figure:
    """Draw the share of variance that each parameter explains, over so many runs."""
    figure = Picture(figsize=(PAGE, 0.7 + ROW * max(len(shares), 2)))
    ax = figure.subplots()
    if not shares:
        return _nothing(figure, ax, f"{runs} runs with a value: too few to tell what matters")
    ax.barh(range(len(shares)), list(shares.values()), height=0.65, color=PALETTE[0])
    ax.set_yticks(range(len(shares)), list(shares))
    ax.set(xlabel=f"share of the variance over {runs} runs", ylim=(len(shares) - 0.5, -0.5))
    ax.set_xlim(0, max(*shares.values(), 0.1) * 1.02)
    ax.grid(visible=False, axis="y")
    return figure


@styled
def learning_curves(
    curves: Mapping[str, Sequence[float]], groups: Mapping[str, str], *, ylabel: str
) -> Figure:
    """Draw a line a run over its epochs, coloured by its group.

    ``curves`` is run -> value an epoch, ``groups`` run -> group; the groups are told apart up to
    the number of colours, further ones are grey.
    """
    figure = Picture(figsize=(PAGE, 2.6))
    ax = figure.subplots()
    if not curves:
        return _nothing(figure, ax, "no run has a history")
    colours = dict(zip(dict.fromkeys(groups[run] for run in curves), PALETTE[:-1], strict=False))
    labelled = set()
    for run, values in curves.items():
        group = groups[run] if groups[run] in colours else "others"
        ax.plot(
            range(1, len(values) + 1), values, linewidth=0.9, alpha=0.7, marker="o", markersize=2,
            color=colours.get(group, GREY), label=None if group in labelled else group,
        )  # fmt: skip
        labelled.add(group)
    ax.set(xlabel="epoch", ylabel=ylabel)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    figure.legend(loc="outside upper center", ncols=min(len(labelled), 7))
    return figure


@styled
def parallel_coordinates(choices: pd.DataFrame, values: Sequence[float], *, label: str) -> Figure:
    """Draw a line a run across its choices, one axis a parameter, coloured by its value.

    ``choices`` has a row a run and a column a parameter; numbers are placed by rank, other choices
    in the order of their first run. The best runs are drawn last, on top.
    """
    figure = Picture(figsize=(PAGE, 3.0))
    ax = figure.subplots()
    if choices.empty or not len(choices.columns):
        return _nothing(figure, ax, "no parameter varies among the runs with a value")
    places, reached = np.empty(choices.shape), np.asarray(values, float)
    for index, name in enumerate(choices.columns):
        column = choices[name].tolist()
        numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in column)
        levels = sorted(set(column)) if numeric else list(dict.fromkeys(column))
        heights = np.linspace(0, 1, len(levels)) if len(levels) > 1 else np.array([0.5])
        places[:, index] = [heights[levels.index(value)] for value in column]
        if len(levels) <= 8:  # runs of one choice fan out, the best on top
            places[:, index] += 0.06 * (np.argsort(np.argsort(reached)) / len(reached) - 0.5)
        shown = range(len(levels)) if len(levels) <= 8 else [0, len(levels) - 1]
        for level in shown:
            text = f"{levels[level]:.3g}" if numeric else str(levels[level])
            ax.annotate(
                text, (index, heights[level]), xytext=(3, 2), textcoords="offset points",
                fontsize=6.5, bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 0.5},
                zorder=5,
            )  # fmt: skip
        ax.axvline(index, color="black", linewidth=0.6)
    scale = Normalize(reached.min(), max(reached.max(), reached.min() + 1e-9))
    colour = ScalarMappable(scale, "viridis")
    for run in np.argsort(reached):
        ax.plot(places[run], color=colour.to_rgba(reached[run]), linewidth=1, alpha=0.8)
    ax.set_xticks(range(len(choices.columns)), list(choices.columns))
    ax.set(yticks=[], ylim=(-0.06, 1.1), xlim=(-0.1, len(choices.columns) - 1 + 0.6))
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(colour, ax=ax, pad=0.01, aspect=30)
    bar.set_label(label)
    return figure


def _nothing(figure: Figure, ax: Axes, why: str) -> Figure:
    ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes)
    ax.set_axis_off()
    return figure
