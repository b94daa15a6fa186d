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
            ax.plot(snr, value, color=colour, marker=MARKERS[index % len(MARKERS)], label=model)
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
