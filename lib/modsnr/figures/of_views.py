"""Plots of what a choice does to accuracy: one choice at a time, and every subset of the views."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modsnr.figures.of_sweeps import ROW
from modsnr.figures.style import MARKERS, PAGE, PALETTE, Interval, Picture, styled

ABREAST = 3  # panels in a row
BOUND_LINE = (0, (4, 2))
BROKEN = Line2D([], [], color="black", linestyle=BOUND_LINE, linewidth=0.9)


@styled
def accuracy_by_choice(
    accuracies: Mapping[str, Mapping[str, Mapping[str, Interval]]],
    bounds: Mapping[str, Mapping[str, Mapping[str, float]]],
    *,
    titles: Mapping[str, str] | None = None,
    ylabel: str = "SNR accuracy",
) -> Figure:
    """Draw accuracy over SNR, a panel a choice, a line a setting, shaded by its interval.

    ``accuracies`` is choice -> setting -> SNR in dB (text) -> Interval; ``bounds`` choice ->
    setting -> SNR -> accuracy that is possible. Bounds of a choice that lie within 0.005 of one
    another are one broken black line, others are broken lines in the colours of their settings;
    one legend says so, in the free corner where the last row has one, else in the first panel that
    has bounds. ``titles`` renames the choices.
    """
    rows = -(-max(len(accuracies), 1) // ABREAST)
    columns = min(max(len(accuracies), 1), ABREAST)
    figure = Picture(figsize=(PAGE, 0.2 + 2.9 * rows))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for spare in panels.flat[len(accuracies) :]:
        spare.remove()
    bounded = [choice for choice in accuracies if bounds.get(choice)]
    corner = len(accuracies) < panels.size
    for index, (choice, settings) in enumerate(accuracies.items()):
        ax = panels.flat[index]
        _settings(ax, settings, bounds.get(choice, {}))
        _name(ax, with_bound=choice in bounded[:1] and not corner)
        ax.set_title((titles or {}).get(choice, choice), loc="left", fontweight="bold")
        if index % columns == 0:
            ax.set_ylabel(ylabel)
        if index + columns >= len(accuracies):
            ax.set_xlabel("SNR per sample (dB)")
            ax.tick_params(labelbottom=True)
    if bounded and corner:
        figure.legend([BROKEN], ["possible"], loc="lower right", borderaxespad=4)
    return figure


def _settings(
    ax: Axes,
    settings: Mapping[str, Mapping[str, Interval]],
    bounds: Mapping[str, Mapping[str, float]],
) -> None:
    limits = [bounds[setting] for setting in settings if setting in bounds]
    shared = len(limits) == len(settings) and all(_alike(limit, limits[0]) for limit in limits)
    for index, (setting, points) in enumerate(settings.items()):
        snr = [float(value) for value in points]
        value, low, high = (
            [point[edge] for point in points.values()] for edge in ("value", "low", "high")
        )
        colour, marker = PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)]
        ax.plot(snr, value, color=colour, marker=marker, markersize=2.5, label=setting)
        ax.fill_between(snr, low, high, color=colour, alpha=0.2, linewidth=0)
    if shared and limits:
        _bound(ax, limits[0], "black")
    else:
        for index, setting in enumerate(settings):
            if setting in bounds:
                _bound(ax, bounds[setting], PALETTE[index % len(PALETTE)])
    ax.set_ylim(0, 1.03)


def _alike(bound: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Whether two bounds cannot be told apart in print."""
    values = list(bound.values()), list(other.values())
    return bound.keys() == other.keys() and np.allclose(*values, rtol=0, atol=0.005)


def _name(ax: Axes, *, with_bound: bool) -> None:
    """Say which line is which setting, and what the broken ones are."""
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


def _bound(ax: Axes, points: Mapping[str, float], colour: str) -> None:
    snr = [float(value) for value in points]
    ax.plot(snr, list(points.values()), color=colour, linestyle=BOUND_LINE, linewidth=0.9)


@styled
def ablation(
    members: Mapping[str, Sequence[str]],
    accuracies: Mapping[str, Mapping[str, Interval]],
    *,
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Draw accuracies of subsets, a row a subset, as dots with their intervals, a panel a task.

    ``members`` is subset -> what it holds, ``accuracies`` task -> subset -> Interval; ``titles``
    renames the tasks. The rows are sorted by the first task, the best at the top. To the left a
    filled dot stands for what a subset holds; all that any subset holds has a column, in the order
    in which it comes first.
    """
    first = next(iter(accuracies.values()))
    order = sorted(members, key=lambda subset: -first[subset]["value"])
    whole = max(members.values(), key=len)
    parts = list(dict.fromkeys([*whole, *(part for held in members.values() for part in held)]))
    figure = Picture(figsize=(PAGE, 1.25 + ROW * len(order)))
    widths = [0.2 * len(parts), *[1.0] * len(accuracies)]
    left, *panels = figure.subplots(1, 1 + len(accuracies), width_ratios=widths, sharey=True)
    places = np.arange(len(order))
    for column, part in enumerate(parts):
        held = np.array([part in members[subset] for subset in order])
        left.plot(np.full(len(order), column), places, "o", color="0.85", markersize=5, mew=0)
        left.plot([column] * held.sum(), places[held], "o", color="black", markersize=5, mew=0)
    left.set_xticks(range(len(parts)), parts, rotation=45, ha="right", rotation_mode="anchor")
    left.set(yticks=[], xlim=(-0.6, len(parts) - 0.4), ylim=(len(order) - 0.5, -0.5))
    left.tick_params(length=0)
    left.spines[:].set_visible(False)
    left.grid(visible=False)
    for index, (ax, (task, of_subsets)) in enumerate(zip(panels, accuracies.items(), strict=True)):
        value, low, high = (
            np.array([of_subsets[subset][edge] for subset in order])
            for edge in ("value", "low", "high")
        )
        # Larger than most intervals, a solid dot would hide them.
        ax.plot(
            value, places, linestyle="none", color=PALETTE[index], marker=MARKERS[index],
            markersize=4.5, alpha=0.45, mew=0,
        )  # fmt: skip
        ax.errorbar(
            value, places, xerr=[value - low, high - value], fmt="none", ecolor=PALETTE[index],
            elinewidth=1, capsize=2, capthick=1,
        )  # fmt: skip
        ax.set(title=(titles or {}).get(task, task), xlabel="accuracy", xlim=(0, 1.03))
        ax.tick_params(axis="y", length=0)
        ax.set_axisbelow(True)
    return figure
