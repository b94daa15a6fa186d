"""Plots of trained networks: accuracy, confusion, learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modsnr.figures.style import (
    COLUMN,
    MARKERS,
    PAGE,
    PALETTE,
    Interval,
    Picture,
    styled,
)


@styled
def accuracy_over_snr(
    accuracies: Mapping[str, Mapping[str, Mapping[str, Interval]]],
    *,
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Draw accuracy over SNR, a panel a task, a line a model, shaded by its 95 % interval.

    ``accuracies`` is task -> model -> SNR in dB (text) -> Interval; ``titles`` renames the tasks.
    Where points have ``seeds``, the number of networks whose mean they are, the shade is from the
    least of these to the greatest, and the legend says so.
    """
    figure = Picture(figsize=(PAGE, 2.5))
    panels = np.atleast_1d(figure.subplots(1, len(accuracies), sharey=True))
    for ax, (task, models) in zip(panels, accuracies.items(), strict=True):
        for index, (model, points) in enumerate(models.items()):
            snr = np.array([float(value) for value in points])
            value, low, high = (
                np.array([point[name] for point in points.values()])
                for name in ("value", "low", "high")
            )
            colour = PALETTE[index % len(PALETTE)]
            seeds = {point["seeds"] for point in points.values() if "seeds" in point}
            label = f"{model}, range of {max(seeds)} seeds" if seeds else model
            ax.plot(snr, value, color=colour, marker=MARKERS[index % len(MARKERS)], label=label)
            ax.fill_between(snr, low, high, color=colour, alpha=0.2, linewidth=0)
        ax.set(title=(titles or {}).get(task, task), xlabel="SNR per sample (dB)", ylim=(0, 1.02))
    panels[0].set_ylabel("accuracy")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4))
    return figure


@styled
def confusion_pair(
    modulation: np.ndarray, snr: np.ndarray, *, classes: Sequence[str], snrs_db: Sequence[float]
) -> Figure:
    """Draw the two confusion matrices, counts [true, predicted], as shares of each true class."""
    figure = Picture(figsize=(PAGE, 3.6))
    left, right = figure.subplots(1, 2)
    names = [f"{value:g}" for value in snrs_db]
    _confusion(left, modulation, list(classes), "modulation")
    image = _confusion(right, snr, names, "SNR (dB)")
    bar = figure.colorbar(image, ax=[left, right], shrink=0.85, pad=0.015, aspect=35)
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    return figure


def _confusion(ax: Axes, counts: np.ndarray, names: list[str], what: str):
    import seaborn as sns  # here: nothing else needs it, and it takes a second and 70 MB

    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    # Rasterised: readers of vector graphics would draw a line between any two cells.
    sns.heatmap(
        shares, ax=ax, vmin=0, vmax=1, cmap="cividis", square=True, cbar=False, rasterized=True,
        xticklabels=names, yticklabels=names,
    )  # fmt: skip
    ax.tick_params(labelsize=6)
    ax.tick_params(axis="x", rotation=90)
    ax.tick_params(axis="y", rotation=0)
    ax.set(xlabel=f"predicted {what}", ylabel=f"true {what}")
    ax.grid(visible=False)
    return ax.collections[0]


@styled
def snr_calibration(calibrations: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw SNR estimates over the truth, a panel a model: median and 5-95 % of the frames.

    ``calibrations`` is model -> slope and bias_db (each an Interval; slope may be None),
    within_half_step (an Interval), and at_db: SNR in dB (text) -> median_db, low_db, high_db, and
    from_db and to_db, between which an estimate is right (None: everywhere).
    """
    rows = -(-len(calibrations) // 3)
    columns = -(-len(calibrations) // rows)
    figure = Picture(figsize=(PAGE if columns > 1 else COLUMN, 0.4 + 2.3 * rows))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for spare in panels.flat[len(calibrations) :]:
        spare.remove()
    for index, (model, of_model) in enumerate(calibrations.items()):
        ax, colour = panels.flat[index], PALETTE[index % len(PALETTE)]
        points = of_model["at_db"]
        snr = np.array([float(value) for value in points])
        of = {
            name: np.array([point[name] for point in points.values()], dtype=float)
            for name in ("median_db", "low_db", "high_db", "from_db", "to_db")
        }
        ax.fill_between(
            snr, of["from_db"], of["to_db"], color="0.88", linewidth=0, label="within half a step"
        )
        ax.plot(snr, snr, color="0.35", linewidth=0.8, linestyle="--", label="truth")
        ax.fill_between(
            snr, of["low_db"], of["high_db"], color=colour, alpha=0.35, linewidth=0, label="5-95 %"
        )
        marker = MARKERS[index % len(MARKERS)]
        ax.plot(
            snr, of["median_db"], color=colour, marker=marker, markersize=2, linewidth=0.8,
            label="median",
        )  # fmt: skip
        slope = of_model["slope"]
        said = [f"slope {slope['value']:.3f}"] if slope else []
        said += [f"bias {of_model['bias_db']['value']:+.3f} dB"]
        said += [f"{100 * of_model['within_half_step']['value']:.1f} % within half a step"]
        ax.text(0.04, 0.96, "\n".join(said), transform=ax.transAxes, va="top", fontsize=7)
        ax.set_title(model)
        if index + columns >= len(calibrations):
            ax.set_xlabel("true SNR per sample (dB)")
            ax.tick_params(labelbottom=True)
        if index % columns == 0:
            ax.set_ylabel("estimated SNR (dB)")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4 if columns > 1 else 2)
    return figure


@styled
def reliability(trusts: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw how often models are right over how often they say they are: a line a model.

    ``trusts`` is model -> modulation and snr, of each head's confidence: ece (an Interval) and
    bins, each with its confidence and its accuracy (an Interval); and curve: points, each with the
    nominal level of SNR intervals, their measured coverage (an Interval), and their width_db, which
    is told of the highest level. Each is a panel, where some model has it; the others have None. A
    model has one colour and one marker in all panels. Bars are 95 % intervals.
    """
    models = list(trusts)
    lines: dict[str, dict[str, Any]] = {
        title: {
            model: (
                f"ECE {of[head]['ece']['value']:.3f}",
                _points(of[head]["bins"], "confidence", "accuracy"),
            )
            for model, of in trusts.items()
            if of[head]
        }
        for title, head in {"modulation": "modulation", "SNR, by softmax": "snr"}.items()
    }
    lines["SNR, by intervals"] = {
        model: (
            f"width {of['curve'][-1]['width_db']:.2f} dB at {of['curve'][-1]['level']:g}",
            _points(of["curve"], "level", "coverage"),
        )
        for model, of in trusts.items()
        if of["curve"]
    }
    panels = {title: of_models for title, of_models in lines.items() if of_models}
    figure = Picture(figsize=(PAGE if len(panels) > 1 else COLUMN, 3.0 if len(panels) < 3 else 2.6))
    for ax, (title, of_models) in zip(
        np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True
    ):
        ax.plot([0, 1], [0, 1], color="0.35", linewidth=0.8, linestyle="--")
        for row, (model, (told, (said, value, reach))) in enumerate(of_models.items()):
            number = models.index(model)
            colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
            ax.errorbar(
                said, value, reach, color=colour, marker=marker, linewidth=1, elinewidth=0.7,
                label=model,
            )  # fmt: skip
            if len(of_models) <= 5:  # more would cover the lines
                ax.text(
                    0.04, 0.96 - 0.07 * row, told, transform=ax.transAxes, va="top", color=colour,
                    fontsize=7,
                )  # fmt: skip
        by_level = title == "SNR, by intervals"
        ax.set(
            title=title, xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal",
            xlabel="nominal level" if by_level else "confidence",
            ylabel="measured coverage" if by_level else "share right",
        )  # fmt: skip
    drawn = dict(
        pair
        for ax in figure.axes
        for pair in zip(*ax.get_legend_handles_labels()[::-1], strict=True)
    )
    figure.legend(
        list(drawn.values()), list(drawn), loc="outside upper center",
        ncols=min(len(drawn), 4 if len(panels) > 1 else 2),
    )  # fmt: skip
    return figure


def _points(
    points: Sequence[Mapping[str, Any]], said: str, measured: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x [point], y [point] and the distance of the interval's ends from y [2, point]."""
    value, low, high = (
        np.array([point[measured][name] for point in points]) for name in ("value", "low", "high")
    )
    reach = np.maximum([value - low, high - value], 0)  # an end may pass the value by rounding
    return np.array([point[said] for point in points]), value, reach


@styled
def learning_curve(history: pd.DataFrame) -> Figure:
    """Draw the losses and the validation accuracies over the epochs of a fit's history."""
    figure = Picture(figsize=(PAGE, 2.2))
    left, right = figure.subplots(1, 2)
    series = {
        left: {"modulation_loss": "modulation", "snr_loss": "SNR"},
        right: {
            "validation_modulation_accuracy": "modulation",
            "validation_snr_accuracy": "SNR",
            "validation_joint_accuracy": "joint",
        },
    }
    for ax, columns in series.items():
        for index, (column, label) in enumerate(columns.items()):
            ax.plot(
                history["epoch"],
                history[column],
                color=PALETTE[index],
                marker=MARKERS[index],
                label=label,
            )
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        ax.legend()
    left.set(ylabel="training loss", yscale="log")
    right.set(ylabel="validation accuracy", ylim=(0, 1.02))
    return figure
