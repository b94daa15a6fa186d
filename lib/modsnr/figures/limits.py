"""Plots of what is reached beside what is possible, over SNR."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from modsnr.figures.style import PAGE, Picture, legend_above, series, styled

BOUND_LINES = ("--", ":", "-.", (0, (7, 2)), (0, (3, 1, 1, 1, 1, 1)))
BOUND_COLOUR = "black"


@styled
def snr_limits(errors: pd.DataFrame, bounds: pd.DataFrame, of: str) -> Figure:
    """Draw the RMSE of SNR estimates over SNR beside bounds on it, and the share of one bound.

    ``errors`` has the columns estimator (or network), snr_db, and value, low and high in dB;
    ``bounds`` a row an SNR and a column a bound, in dB. Left both, logarithmic, bounds as broken
    black lines; right the bound called ``of`` over each error, one where it is reached.
    """
    figure = Picture(figsize=(PAGE, 2.9))
    left, right = figure.subplots(1, 2)
    series(left, errors, "snr_db", "estimator")
    _bounds(left, bounds)
    left.set(xlabel="SNR per sample (dB)", ylabel="RMSE of the SNR (dB)", yscale="log")
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    left.yaxis.set_minor_formatter(NullFormatter())
    left.grid(visible=True, which="minor", alpha=0.2)
    reached = errors.snr_db.map(bounds[of])
    ends = {"value": "value", "low": "high", "high": "low"}  # the larger the error the less of it
    shares = {end: reached / errors[other].clip(lower=1e-9) for end, other in ends.items()}
    series(right, errors.assign(**shares), "snr_db", "estimator")
    right.axhline(1, color=BOUND_COLOUR, linewidth=0.6)
    right.set(xlabel="SNR per sample (dB)", ylabel=f"share of the bound\n({of})")
    right.set_ylim(bottom=0)
    legend_above(figure)
    return figure


@styled
def accuracy_limits(
    accuracies: pd.DataFrame,
    bounds: Mapping[str, pd.DataFrame],
    *,
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Draw accuracy over SNR, a panel a task, shaded by its interval, beside bounds on it.

    ``accuracies`` has the columns task, estimator (or network), snr_db, value, low and high;
    ``bounds`` is task -> a row an SNR and a column a bound; a task may have none. ``titles``
    renames the tasks. An estimator or a bound that stands in several panels has one line.
    """
    tasks, names = accuracies.task.unique(), accuracies.estimator.unique()
    limits = list(dict.fromkeys(str(name) for task in tasks for name in bounds.get(task, [])))
    figure = Picture(figsize=(PAGE, 3.0))
    panels = np.atleast_1d(figure.subplots(1, len(tasks), sharey=True))
    for ax, task in zip(panels, tasks, strict=True):
        series(ax, accuracies[accuracies.task == task], "snr_db", "estimator", order=names)
        _bounds(ax, bounds.get(task, pd.DataFrame()), limits)
        title = (titles or {}).get(task, task)
        ax.set(title=title, xlabel="SNR per sample (dB)", ylabel="accuracy", ylim=(0, 1.02))
        ax.label_outer()
    legend_above(figure, most=3, order=[*names, *limits])
    return figure


def _bounds(ax: Axes, bounds: pd.DataFrame, names: list[str] | None = None) -> None:
    names = names or list(map(str, bounds))
    for name, values in bounds.items():
        style = BOUND_LINES[names.index(str(name)) % len(BOUND_LINES)]
        ax.plot(values.index, values, color=BOUND_COLOUR, linestyle=style, label=str(name))
