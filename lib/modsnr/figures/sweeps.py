"""Plots of many runs: which choices did best, what became of the runs, what mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from modsnr.figures.style import HATCHES, PAGE, PALETTE, Picture, styled

ROW = 0.22  # inches
MARKED = 8  # choices of a parameter that are all named in parallel coordinates
ACROSS = 76  # letters of their size across the page
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
    labels = {
        name: [fill(f"{_named(choice)}\u00a0({len(values)})", 40) for choice, values in of.items()]
        for name, of in choices.items()
    }
    heights = {
        name: 0.6 + ROW * sum(1 + 0.4 * text.count("\n") for text in texts)
        for name, texts in labels.items()
    }
    columns: list[list[str]] = [[] for _ in choices][:2] or [[]]
    for name in choices:  # each below the shorter column
        min(columns, key=lambda column: sum(heights[n] for n in column)).append(name)
    tallest = max(sum(heights[name] for name in column) for column in columns)
    figure = Picture(figsize=(PAGE, tallest + 0.4))
    if not choices:
        return _nothing(figure, figure.subplots(), "no run has a value")
    grid, shared = figure.add_gridspec(1, len(columns)), None
    for place, column in enumerate(columns):
        spare = tallest - sum(heights[name] for name in column)
        ratios = [*(heights[name] for name in column), max(spare, 1e-3)]
        cells = grid[place].subgridspec(len(ratios), 1, height_ratios=ratios)
        for row, name in enumerate(column):
            shared = ax = figure.add_subplot(cells[row], sharex=shared)
            for level, values in enumerate(choices[name].values()):
                ax.plot(
                    values, np.full(len(values), level), "o", color=PALETTE[0], alpha=0.35, mew=0
                )
                if len(values):
                    ax.plot([np.mean(values)] * 2, [level - 0.35, level + 0.35], color=PALETTE[1])
            ax.set_yticks(range(len(labels[name])), labels[name], linespacing=0.9)
            ax.set(title=name, ylim=(len(labels[name]) - 0.5, -0.5))
            ax.grid(visible=False, axis="y")
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
    curves: Mapping[str, Sequence[float]],
    groups: Mapping[str, Any],
    *,
    ylabel: str,
    grouped_by: str = "",
) -> Figure:
    """Draw a line a run over its epochs, coloured by its group, and each group's mean in bold.

    ``curves`` is run -> value an epoch, ``groups`` run -> the choice called ``grouped_by``. The
    largest groups have colours of their own, further ones are grey. A mean ends where the first of
    its runs does.
    """
    figure = Picture(figsize=(PAGE, 2.6))
    ax = figure.subplots()
    if not curves:
        return _nothing(figure, ax, "no run has a history")
    members: dict[Any, list[np.ndarray]] = {}
    for run, values in curves.items():
        group = groups[run] if _is_number(groups[run]) else str(groups[run])
        members.setdefault(group, []).append(np.asarray(values, float))
    largest = sorted(members, key=lambda group: -len(members[group]))[: len(PALETTE) - 1]
    colours = dict(zip(_ordered(largest), PALETTE[:-1], strict=False))
    shown = [*colours, *(group for group in members if group not in colours)]
    for group in reversed(shown):  # those of the legend on top
        color, lines = colours.get(group, GREY), members[group]
        for values in lines:
            ax.plot(
                range(1, len(values) + 1), values, "o-", color=color, markersize=2,
                linewidth=0.8, alpha=0.7 if len(lines) < 3 else 0.25,
            )  # fmt: skip
        epochs = min(map(len, lines))
        if len(lines) > 2 and epochs:
            mean = np.mean([values[:epochs] for values in lines], axis=0)
            ax.plot(range(1, epochs + 1), mean, "o-", color=color, linewidth=2.2, markersize=4)
    ax.set(xlabel="epoch", ylabel=ylabel.replace("_", " ").replace("snr", "SNR"))
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    labels = {group: f"{_named(group)} ({len(members[group])})" for group in colours}
    others = sum(map(len, members.values())) - sum(len(members[group]) for group in colours)
    labels |= {None: f"others ({others})"} if others else {}
    columns = max(1, min(len(labels), 140 // (8 + max(map(len, labels.values())))))
    figure.set_figheight(2.4 + 0.2 * -(-len(labels) // columns))
    handles = [Line2D([], [], color=colours.get(g, GREY), label=name) for g, name in labels.items()]
    figure.legend(
        handles=handles, title=f"{grouped_by} (runs)".strip(), loc="outside upper center",
        ncols=columns,
    )  # fmt: skip
    return figure


def _ordered(values: Sequence[Any]) -> list[Any]:
    """Return numbers by size, anything else in the order given."""
    return sorted(values) if all(_is_number(value) for value in values) else list(values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


@styled
def parallel_coordinates(choices: pd.DataFrame, values: Sequence[float], *, label: str) -> Figure:
    """Draw a line a run across its choices, an axis a parameter from top to bottom.

    ``choices`` has a row a run and a column a parameter; numbers are placed by rank, other choices
    in the order of their first run. A line has the colour of its run's value; the best are drawn
    last, on top. A name too long for its place is shortened in its middle.
    """
    names = list(choices.columns)
    figure = Picture(figsize=(PAGE, 1.0 + 0.36 * max(len(names), 3)))
    ax = figure.subplots()
    if choices.empty or not names:
        return _nothing(figure, ax, "no parameter varies among the runs with a value")
    places, reached = np.empty(choices.shape), np.asarray(values, float)
    for row, name in enumerate(names):
        column = choices[name].tolist()
        levels = _ordered(list(dict.fromkeys(column)))
        along = np.linspace(0, 1, len(levels)) if len(levels) > 1 else np.array([0.5])
        places[:, row] = [along[levels.index(value)] for value in column]
        if len(levels) <= MARKED:  # runs of one choice fan out, the best to the right
            places[:, row] += 0.03 * (np.argsort(np.argsort(reached)) / len(reached) - 0.5)
        shown = range(len(levels)) if len(levels) <= MARKED else [0, len(levels) - 1]
        for level in shown:
            side = {0.0: "left", 1.0: "right"}.get(along[level], "center")
            ax.annotate(
                _within(_named(levels[level]), ACROSS // len(shown)),
                (along[level] + {"left": -0.015, "right": 0.015}.get(side, 0), row),
                xytext=(0, 3), textcoords="offset points", ha=side, fontsize=6.5, zorder=5,
                bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 0.3},
            )  # fmt: skip
        ax.axhline(row, color="black", linewidth=0.6)
    scale = Normalize(reached.min(), max(reached.max(), reached.min() + 1e-9))
    colour = ScalarMappable(scale, "viridis")
    for run in np.argsort(reached):
        ax.plot(places[run], range(len(names)), color=colour.to_rgba(reached[run]), lw=1, alpha=0.8)
    ax.set_yticks(range(len(names)), names)
    ax.set(xticks=[], xlim=(-0.03, 1.03), ylim=(len(names) - 0.8, -0.6))
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(colour, ax=ax, pad=0.01, aspect=30)
    bar.set_label(label)
    return figure


def _within(text: str, letters: int) -> str:
    """Shorten a text in its middle: names of views begin alike, and differ at their end."""
    half = (letters - 1) // 2
    return text if len(text) <= letters else f"{text[:half].rstrip()}…{text[-half:].lstrip()}"


def _named(choice: Any) -> str:
    if _is_number(choice):
        return f"{choice:.6g}"
    return "none" if choice in ("", None) else str(choice)


def _nothing(figure: Figure, ax: Axes, why: str) -> Figure:
    ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes)
    ax.set_axis_off()
    return figure
