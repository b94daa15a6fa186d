"""Plots of trained networks: accuracy, confusion, learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modsnr.figures.style import (
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
