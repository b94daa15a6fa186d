"""Plots over SNR: what networks reach, beside what is possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from modsnr.figures.style import dots, legend_above, panels, series, styled

BOUND_LINES = ("--", ":", "-.", (0, (7, 2)), (0, (3, 1, 1, 1, 1, 1)))
SNR = "SNR per sample (dB)"
OVER_SNR = ("minor", "rayleigh_2", "coloured_noise", "samples_512", "samples_4096")


@styled
def accuracy_over_snr(
    points: pd.DataFrame,
    *,
    bounds: Mapping[str, pd.DataFrame] | None = None,
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Draw accuracy over SNR, a panel a task, a line a model, shaded by its 95 % interval.

    ``points`` has the columns task, model, snr_db, value, low and high; ``titles`` renames the
    tasks. ``bounds`` is task -> a row an SNR and a column a bound, drawn as broken lines. Where
    ``seeds``, the number of networks whose mean a point is, is above 1, the shade is from the least
    of these to the greatest, as the legend notes.
    """
    bounds = bounds or {}
    if "seeds" in points:
        several = points.model + ", range of " + points.seeds.astype(str) + " seeds"
        points = points.assign(model=points.model.where(points.seeds == 1, several))
    models, tasks = list(points.model.unique()), list(points.task.unique())
    limits = list(dict.fromkeys(str(name) for task in tasks for name in bounds.get(task, [])))
    figure, axes = panels(
        [str((titles or {}).get(task, task)) for task in tasks], height=2.7, sharey=True,
        xlabel=SNR, ylabel="accuracy",
    )  # fmt: skip
    for ax, task in zip(axes, tasks, strict=True):
        series(ax, points[points.task == task], "snr_db", "model", order=models)
        _bounds(ax, bounds.get(task, pd.DataFrame()), limits)
        ax.set_ylim(0, 1.02)
    legend_above(figure, most=3 if limits else 4, order=[*models, *limits])
    return figure


@styled
def snr_limits(errors: pd.DataFrame, bounds: pd.DataFrame, of: str) -> Figure:
    """Draw the RMSE of SNR estimates over SNR beside bounds on it, and the share of one bound.

    ``errors`` has the columns estimator (or network), snr_db, and value, low and high in dB;
    ``bounds`` a row an SNR and a column a bound, in dB. Left both, logarithmic, bounds as broken
    black lines; right the bound called ``of`` over each error, one where it is reached.
    """
    figure, (left, right) = panels(["", ""], height=2.9, xlabel=SNR)
    series(left, errors, "snr_db", "estimator")
    _bounds(left, bounds, [str(name) for name in bounds])
    left.set(ylabel="RMSE of the SNR (dB)", yscale="log")
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    left.yaxis.set_minor_formatter(NullFormatter())
    left.grid(visible=True, which="minor", alpha=0.2)
    reached = errors.snr_db.map(bounds[of])
    ends = {"value": "value", "low": "high", "high": "low"}  # the larger the error the less of it
    shares = {end: reached / errors[other].clip(lower=1e-9) for end, other in ends.items()}
    series(right, errors.assign(**shares), "snr_db", "estimator")
    right.axhline(1, color="black", linewidth=0.6)
    right.set_ylabel(f"share of the bound\n({of})")
    right.set_ylim(bottom=0)
    legend_above(figure)
    return figure


@styled
def ceilings(points: pd.DataFrame, over_snr: Sequence[str] = OVER_SNR) -> Figure:
    """Draw the accuracy that each condition allows, in all, and over SNR for some of them.

    ``points`` has the columns condition, receiver, label ("all" or an SNR), value, low and high.
    Left a place for each condition and a marker for each receiver; right a line for each condition
    in ``over_snr``, of the first receiver and, where there is one, of the last.
    """
    names = points.condition.str.replace("_", " ")
    points = points.assign(condition=names)
    conditions, receivers = list(names.unique()), list(points.receiver.unique())
    figure, (left, right) = panels(["", ""], height=0.6 + 0.23 * max(len(conditions), 9))
    dots(left, points[points.label == "all"], "condition", "receiver", lying=True)
    left.set(xlabel="accuracy, mean over SNRs", ylabel="")
    of_snrs = points[points.label != "all"]
    of_snrs = of_snrs.assign(snr_db=of_snrs.label.astype(float))
    order = [name.replace("_", " ") for name in over_snr]
    some = of_snrs[of_snrs.condition.isin(order)]
    first, last = (some[some.receiver == receivers[place]] for place in (0, -1))
    series(right, first, "snr_db", "condition", order=order)
    if len(receivers) > 1:
        for name, row in last.groupby("condition", sort=False):
            right.plot(row.snr_db, row.value, "k--", linewidth=1, label=f"{name}, {receivers[-1]}")
    right.set(xlabel=SNR, ylabel="accuracy")
    right.legend(loc="lower right")
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(receivers))
    return figure


def _bounds(ax: Axes, bounds: pd.DataFrame, names: list[str]) -> None:
    for name, values in bounds.items():
        style = BOUND_LINES[names.index(str(name)) % len(BOUND_LINES)]
        ax.plot(values.index, values, color="black", linestyle=style, label=str(name))
