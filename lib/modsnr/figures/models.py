"""Plots of trained networks: confusion, calibration, learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from modsnr.figures.style import colour_bar, heatmap, legend_above, look, panels, series, styled


@styled
def confusion_pair(
    modulation: np.ndarray, snr: np.ndarray, *, classes: Sequence[str], snrs_db: Sequence[float]
) -> Figure:
    """Draw the two confusion matrices, counts [true, predicted], as shares of each true class."""
    figure, axes = panels(["", ""], height=3.6)
    drawn = {
        "modulation": (modulation, list(classes)),
        "SNR (dB)": (snr, [f"{value:g}" for value in snrs_db]),
    }
    for ax, (what, (counts, names)) in zip(axes, drawn.items(), strict=True):
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        table = pd.DataFrame(shares, names, names)
        heatmap(ax, table, vmin=0, vmax=1, square=True, xticklabels=True, yticklabels=True)
        ax.tick_params(labelsize=6)
        ax.tick_params(axis="x", rotation=90)
        ax.set(xlabel=f"predicted {what}", ylabel=f"true {what}")
    image = axes[0].collections[0]
    colour_bar(figure, image, axes, "share of the true class", aspect=35, shrink=0.85)
    return figure


@styled
def snr_calibration(scores: pd.DataFrame, points: pd.DataFrame) -> Figure:
    """Draw SNR estimates over the truth, a panel a model: median and 5-95 % of the frames.

    ``scores`` has the columns model, metric and value: slope, which may be NaN, bias_db, and
    within_half_step. ``points`` has model, snr_db, median_db, low_db and high_db, and from_db and
    to_db, between which an estimate is right (NaN: everywhere).
    """
    models = list(points.model.unique())
    figure, axes = panels(
        models, height=2.5, across=2 if len(models) == 4 else 3, sharex=True, sharey=True,
        xlabel="true SNR per sample (dB)", ylabel="estimated SNR (dB)",
    )  # fmt: skip
    for index, (ax, model) in enumerate(zip(axes, models, strict=True)):
        at, colour = points[points.model == model], look(index)["color"]
        corridor: Any = {"color": "0.88", "linewidth": 0, "label": "within half a step"}
        ax.fill_between(at.snr_db, at.from_db, at.to_db, **corridor)
        ax.plot(at.snr_db, at.snr_db, color="0.35", linewidth=0.8, linestyle="--", label="truth")
        band: Any = {"color": colour, "alpha": 0.35, "linewidth": 0, "label": "5-95 %"}
        ax.fill_between(at.snr_db, at.low_db, at.high_db, **band)
        line: Any = {**look(index), "markersize": 2, "linewidth": 0.8, "label": "median"}
        ax.plot(at.snr_db, at.median_db, **line)
        found = scores[scores.model == model].set_index("metric").value
        lines = [f"slope {found.slope:.3f}"] if np.isfinite(found.slope) else []
        lines += [f"bias {found.bias_db:+.3f} dB"]
        lines += [f"{100 * found.within_half_step:.1f} % within half a step"]
        ax.text(0.04, 0.96, "\n".join(lines), transform=ax.transAxes, va="top", fontsize=7)
    legend_above(figure, most=4 if len(models) > 1 else 2)
    return figure


TRUSTED = {"modulation": "modulation", "snr": "SNR, by softmax", "intervals": "SNR, by intervals"}


@styled
def reliability(points: pd.DataFrame) -> Figure:
    """Draw how often models are right over how often they should be: a line a model.

    ``points`` has the columns model, panel, expected, value, low, high and note. The panels are
    modulation and snr, where a share of frames is right at a confidence, and intervals, which
    cover a share of frames at a nominal level; one that no model has is left out. The note is
    written in the colour of the model. Bars are 95 % intervals.
    """
    models = list(points.model.unique())
    shown = [panel for panel in TRUSTED if (points.panel == panel).any()]
    figure, axes = panels([TRUSTED[panel] for panel in shown], height=2.8)
    for ax, panel in zip(axes, shown, strict=True):
        drawn = points[points.panel == panel]
        ax.plot([0, 1], [0, 1], color="0.35", linewidth=0.8, linestyle="--")
        series(ax, drawn, "expected", "model", order=models, intervals="bars", linewidth=1)
        notes = drawn.groupby("model", sort=False).note.first()
        for row, (model, note) in enumerate(notes.items() if len(notes) <= 5 else ()):
            place: Any = {"transform": ax.transAxes, "va": "top", "fontsize": 7}
            colour = look(models.index(model))["color"]
            ax.text(0.04, 0.96 - 0.07 * row, note, color=colour, **place)
        by_level = panel == "intervals"
        ax.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
        ax.set_xlabel("nominal level" if by_level else "confidence")
        ax.set_ylabel("measured coverage" if by_level else "share right")
    legend_above(figure, most=4 if len(shown) > 1 else 2)
    return figure


@styled
def learning_curve(history: pd.DataFrame) -> Figure:
    """Draw the losses and the validation accuracies over the epochs of a fit's history."""
    figure, (left, right) = panels(["", ""], height=2.2, xlabel="epoch")
    names = {
        left: {"modulation_loss": "modulation", "snr_loss": "SNR"},
        right: {
            "validation_modulation_accuracy": "modulation",
            "validation_snr_accuracy": "SNR",
            "validation_joint_accuracy": "joint",
        },
    }
    for ax, columns in names.items():
        for index, (column, label) in enumerate(columns.items()):
            ax.plot(history["epoch"], history[column], label=label, **look(index))
        ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
        ax.legend()
    left.set(ylabel="training loss", yscale="log")
    right.set(ylabel="validation accuracy", ylim=(0, 1.02))
    return figure
