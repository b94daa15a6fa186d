"""Plots of many runs: which choices did best, what became of the runs, what mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from modsnr.figures.style import HATCHES, PAGE, PALETTE, Picture, legend_above, panels, styled

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


@styled
def ranked(choices: Mapping[str, Mapping[str, Sequence[float]]], *, xlabel: str) -> Figure:
    """Draw each choice's runs, a panel a parameter: dots, and a bar at their mean.

    ``choices`` is parameter -> choice -> values of its runs, the choices from top to bottom; one
    without runs is shown empty.
    """
    if not choices:
        return _nothing("no run has a value")
    choices = dict(sorted(choices.items(), key=lambda item: len(item[1])))  # alike side by side
    sizes = [len(of) for of in choices.values()]
    tallest = [2 + max(sizes[first : first + 2]) for first in range(0, len(sizes), 2)]
    figure, axes = panels(
        list(choices), across=2, xlabel=xlabel, sharex=True, height_ratios=tallest,
        height=0.1 + 1.15 * ROW * sum(tallest) / len(tallest),
    )  # fmt: skip
    for ax, of in zip(axes, choices.values(), strict=True):
        for level, values in enumerate(of.values()):
            ax.plot(values, [level] * len(values), "o", color=PALETTE[0], alpha=0.35, mew=0)
            if len(values):
                ax.plot(np.mean(values), level, "|", color=PALETTE[1], ms=11, mew=1.5)
        labels = [fill(f"{_named(choice)}\u00a0({len(runs)})", 32) for choice, runs in of.items()]
        ax.set_yticks(range(len(of)), labels, linespacing=0.9)
        ax.set_ylim(len(of) - 0.5, -0.5)
        ax.grid(visible=False, axis="y")
    return figure


@styled
def outcome_bars(counts: Mapping[str, Mapping[str, int]]) -> Figure:
    """Draw what became of sets of runs, a bar a set of the shares of its statuses.

    ``counts`` is set -> status -> runs. A set without runs has no bar.
    """
    table = pd.DataFrame(counts, index=list(STATUSES)).fillna(0)
    labels = [f"{name} ({total:g})" for name, total in table.sum().items()]
    shares = (table / table.sum().clip(lower=1))[table.any(axis=1)]
    figure = Picture(figsize=(PAGE, 0.9 + 0.4 * len(labels)))
    ax, left = figure.subplots(), np.zeros(len(labels))
    for index, (status, share) in enumerate(shares.iterrows()):
        look: Any = {"color": STATUSES[str(status)], "hatch": HATCHES[index % len(HATCHES)]}
        ax.barh(labels, share, left=left, height=0.6, label=status, edgecolor="white", **look)
        left += share.to_numpy()
    ax.set(xlabel="share of runs", xlim=(0, 1), ylim=(len(labels) - 0.5, -0.5))
    ax.grid(visible=False, axis="y")
    legend_above(figure, most=len(STATUSES))
    return figure


@styled
def importance_bars(shares: Mapping[str, float], *, runs: int) -> Figure:
    """Draw the share of variance that each parameter explains, over so many runs."""
    if not shares:
        return _nothing(f"{runs} runs with a value: too few to tell what matters")
    figure = Picture(figsize=(PAGE, 0.7 + ROW * max(len(shares), 2)))
    ax = figure.subplots()
    ax.barh(list(shares), list(shares.values()), height=0.65, color=PALETTE[0])
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
    if not curves:
        return _nothing("no run has a history")
    group = pd.Series(groups)[list(curves)].map(_named)
    largest = group.value_counts().index[: len(PALETTE) - 1]
    group = group.where(group.isin(largest), "others")
    figure = Picture(figsize=(PAGE, 2.8))
    ax = figure.subplots()
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    ax.set(xlabel="epoch", ylabel=ylabel.replace("_", " ").replace("snr", "SNR"))
    for name, colour in zip([*largest, "others"], PALETTE, strict=False):
        table = pd.DataFrame({run: pd.Series(curves[run]) for run in group.index[group == name]})
        table.index += 1
        thin: Any = {"color": colour, "linewidth": 0.8, "markersize": 2}
        ax.plot(table, "o-", alpha=0.7 if len(table.columns) < 3 else 0.25, **thin)
        mean = table.dropna().mean(axis=1)
        if len(table.columns):
            label = f"{name} ({len(table.columns)})"
            ax.plot(mean, "o-", color=colour, linewidth=2.2, markersize=4, label=label)
    legend_above(figure)
    figure.legends[0].set_title(f"{grouped_by} (runs)".strip())
    return figure


def _named(choice: Any) -> str:
    if isinstance(choice, float):
        return "none" if np.isnan(choice) else f"{choice:.6g}"
    return "none" if choice in ("", None) else str(choice)


@styled
def parallel_coordinates(choices: pd.DataFrame, values: Sequence[float], *, label: str) -> Figure:
    """Draw a line a run across its choices, an axis a parameter from top to bottom.

    ``choices`` has a row a run and a column a parameter; numbers are placed by rank, other choices
    in the order of their first run. A line has the colour of its run's value; the best are drawn
    last, on top. Of many choices of a parameter the first and the last are named.
    """
    names = list(choices.columns)
    if choices.empty or not names:
        return _nothing("no parameter varies among the runs with a value")
    figure = Picture(figsize=(PAGE, 1.0 + 0.36 * max(len(names), 3)))
    ax = figure.subplots()
    value = np.asarray(values, float)
    fan = 0.03 * (value.argsort().argsort() / len(value) - 0.5)  # the best to the right
    places = np.empty(choices.shape)
    for row, name in enumerate(names):
        numeric = pd.api.types.is_numeric_dtype(choices[name])
        found, levels = pd.factorize(choices[name], sort=numeric, use_na_sentinel=False)
        along = np.linspace(0, 1, len(levels)) if len(levels) > 1 else np.array([0.5])
        few = len(levels) <= MARKED
        places[:, row] = along[found] + (fan if few else 0)
        for level in range(len(levels)) if few else (0, len(levels) - 1):
            side: Any = {0.0: "left", 1.0: "right"}.get(along[level], "center")
            text = _within(_named(levels[level]), ACROSS // (len(levels) if few else 2))
            ax.annotate(
                text, (along[level], row), xytext=(0, 3), textcoords="offset points", ha=side,
                fontsize=6.5, zorder=5,
                bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 0.3},
            )  # fmt: skip
        ax.axhline(row, color="black", linewidth=0.6)
    colour = ScalarMappable(cmap="viridis")
    colours = colour.to_rgba(value)
    for run in value.argsort():
        ax.plot(places[run], range(len(names)), color=colours[run], lw=1, alpha=0.8)
    ax.set_yticks(range(len(names)), names)
    ax.set(xticks=[], xlim=(-0.03, 1.03), ylim=(len(names) - 0.8, -0.6))
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    figure.colorbar(colour, ax=ax, pad=0.01, aspect=30).set_label(label)
    return figure


def _within(text: str, letters: int) -> str:
    """Shorten a text in its middle: names of views begin alike, and differ at their end."""
    half = (letters - 1) // 2
    return text if len(text) <= letters else f"{text[:half].rstrip()}…{text[-half:].lstrip()}"


def _nothing(why: str) -> Figure:
    figure = Picture(figsize=(PAGE, 1.2))
    ax = figure.subplots()
    ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes)
    ax.set_axis_off()
    return figure
