"""Plots of what is reached beside what is possible, over SNR."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from modsnr.figures.style import MARKERS, PAGE, PALETTE, Interval, Picture, styled

BOUND_LINES = ("--", ":", "-.", (0, (7, 2)), (0, (3, 1, 1, 1, 1, 1)))
BOUND_COLOUR = "black"


@styled
def snr_limits(
    errors: Mapping[str, Mapping[str, Interval]],
    bounds: Mapping[str, Mapping[str, float]],
    of: str,
) -> Figure:
    """Draw the RMSE of SNR estimates over SNR beside bounds on it, and the share of one bound.

    ``errors`` is estimator or network -> SNR in dB (text) -> Interval in dB, ``bounds`` is bound
    -> SNR -> dB. Left both, logarithmic, bounds as broken black lines; right the bound called
    ``of`` over each error, one where it is reached.
    """
    figure = Picture(figsize=(PAGE, 2.9))
    ax, right = figure.subplots(1, 2)
    _series(ax, errors)
    _bounds(ax, bounds)
    ax.set(xlabel="SNR per sample (dB)", ylabel="RMSE of the SNR (dB)", yscale="log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.grid(visible=True, which="minor", alpha=0.2)
    ends = {"value": "value", "low": "high", "high": "low"}  # the larger the error the less of it
    shares = {
        name: {
            snr: {end: bounds[of][snr] / max(point[other], 1e-9) for end, other in ends.items()}
            for snr, point in points.items()
        }
        for name, points in errors.items()
    }
    _series(right, shares)
    right.axhline(1, color=BOUND_COLOUR, linewidth=0.6)
    right.set(xlabel="SNR per sample (dB)", ylabel=f"share of the bound\n({of})")
    right.set_ylim(bottom=0)
    handles, names = ax.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4)
    return figure


@styled
def accuracy_limits(
    accuracies: Mapping[str, Mapping[str, Mapping[str, Interval]]],
    bounds: Mapping[str, Mapping[str, Mapping[str, float]]],
    *,
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Draw accuracy over SNR, a panel a task, shaded by its interval, beside bounds on it.

    ``accuracies`` is task -> estimator or network -> SNR in dB (text) -> Interval, ``bounds`` task
    -> bound -> SNR -> accuracy; a task may have none. ``titles`` renames the tasks. Whoever stands
    in several panels has one colour and one line.
    """
    figure = Picture(figsize=(PAGE, 3.0))
    panels = np.atleast_1d(figure.subplots(1, len(accuracies), sharey=True))
    names = list(dict.fromkeys(name for series in accuracies.values() for name in series))
    limits = list(dict.fromkeys(name for task in accuracies for name in bounds.get(task, {})))
    shown = {}
    for ax, (task, series) in zip(panels, accuracies.items(), strict=True):
        _series(ax, series, names)
        _bounds(ax, bounds.get(task, {}), limits)
        ax.set(title=(titles or {}).get(task, task), xlabel="SNR per sample (dB)", ylim=(0, 1.02))
        shown |= {label: line for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    panels[0].set_ylabel("accuracy")
    ordered = [name for name in (*names, *limits) if name in shown]
    figure.legend([shown[name] for name in ordered], ordered, loc="outside upper center", ncols=3)
    return figure


def _series(
    ax: Axes, series: Mapping[str, Mapping[str, Interval]], names: list[str] | None = None
) -> None:
    for name, points in series.items():
        index = (names or list(series)).index(name)
        snr = [float(value) for value in points]
        value, low, high = (
            [point[key] for point in points.values()] for key in ("value", "low", "high")
        )
        colour = PALETTE[index % len(PALETTE)]
        ax.plot(snr, value, color=colour, marker=MARKERS[index % len(MARKERS)], label=name)
        ax.fill_between(snr, low, high, color=colour, alpha=0.2, linewidth=0)


def _bounds(
    ax: Axes, bounds: Mapping[str, Mapping[str, float]], names: list[str] | None = None
) -> None:
    for name, points in bounds.items():
        style = BOUND_LINES[(names or list(bounds)).index(name) % len(BOUND_LINES)]
        snr = [float(value) for value in points]
        ax.plot(snr, list(points.values()), color=BOUND_COLOUR, linestyle=style, label=name)
