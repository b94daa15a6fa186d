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
    PAGE,
    Picture,
    colour_bar,
    legend_above,
    look,
    series,
    styled,
)


@styled
def accuracy_over_snr(points: pd.DataFrame, *, titles: Mapping[str, str] | None = None) -> Figure:
    """Draw accuracy over SNR, a panel a task, a line a model, shaded by its 95 % interval.

    ``points`` has the columns task, model, snr_db, value, low and high; ``titles`` renames the
    tasks. Where ``seeds``, the number of networks whose mean a point is, is above 1, the shade is
    from the least of these to the greatest, as the legend notes.
    """
    figure = Picture(figsize=(PAGE, 2.5))
    if "seeds" in points:
        several = points.model + ", range of " + points.seeds.astype(str) + " seeds"
        points = points.assign(model=points.model.where(points.seeds == 1, several))
    tasks = points.task.unique()
    panels = np.atleast_1d(figure.subplots(1, len(tasks), sharey=True))
    for ax, task in zip(panels, tasks, strict=True):
        series(ax, points[points.task == task], "snr_db", "model")
        title = (titles or {}).get(task, task)
        ax.set(title=title, xlabel="SNR per sample (dB)", ylabel="accuracy", ylim=(0, 1.02))
        ax.label_outer()
    legend_above(figure)
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
    colour_bar(figure, image, [left, right], "share of the true class", aspect=35, shrink=0.85)
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
def snr_calibration(scores: pd.DataFrame, points: pd.DataFrame) -> Figure:
    """Draw SNR estimates over the truth, a panel a model: median and 5-95 % of the frames.

    ``scores`` has the columns model, metric and value: slope, which may be NaN, bias_db, and
    within_half_step. ``points`` has model, snr_db, median_db, low_db and high_db, and from_db and
    to_db, between which an estimate is right (NaN: everywhere).
    """
    models = list(points.model.unique())
    rows = -(-len(models) // 3)
    columns = -(-len(models) // rows)
    figure = Picture(figsize=(PAGE if columns > 1 else COLUMN, 0.4 + 2.3 * rows))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for spare in panels.flat[len(models) :]:
        spare.remove()
    for index, model in enumerate(models):
        ax, at, colour = panels.flat[index], points[points.model == model], look(index)["color"]
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
        ax.set_title(model)
        if index + columns >= len(models):
            ax.set_xlabel("true SNR per sample (dB)")
            ax.tick_params(labelbottom=True)
        if index % columns == 0:
            ax.set_ylabel("estimated SNR (dB)")
    legend_above(figure, most=4 if columns > 1 else 2)
    return figure


TRUSTED = {"modulation": "modulation", "snr": "SNR, by softmax", "intervals": "SNR, by intervals"}


@styled
def reliability(points: pd.DataFrame) -> Figure:
    """Draw how often models are right over how often they should be: a line a model.

    ``points`` has the columns model, panel, expected, value, low, high and note. The panels are
    modulation and snr, where a share of frames is right at a confidence, and intervals, which
    cover a share of frames at a nominal level; one that no model has is left out. The note is
    written in the colour of the model. A model has one colour and one marker in all panels. Bars
    are 95 % intervals.
    """
    models = list(points.model.unique())
    shown = [panel for panel in TRUSTED if (points.panel == panel).any()]
    figure = Picture(figsize=(PAGE if len(shown) > 1 else COLUMN, 3.0 if len(shown) < 3 else 2.6))
    for ax, panel in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True):
        drawn = points[points.panel == panel]
        ax.plot([0, 1], [0, 1], color="0.35", linewidth=0.8, linestyle="--")
        series(ax, drawn, "expected", "model", order=models, intervals="bars", linewidth=1)
        notes = drawn.groupby("model", sort=False).note.first()
        if len(notes) <= 5:  # more would cover the lines
            for row, (model, note) in enumerate(notes.items()):
                place: Any = {"transform": ax.transAxes, "va": "top", "fontsize": 7}
                colour = look(models.index(model))["color"]
                ax.text(0.04, 0.96 - 0.07 * row, note, color=colour, **place)
        by_level = panel == "intervals"
        ax.set(title=TRUSTED[panel], xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
        ax.set_xlabel("nominal level" if by_level else "confidence")
        ax.set_ylabel("measured coverage" if by_level else "share right")
    legend_above(figure, most=4 if len(shown) > 1 else 2)
    return figure


@styled
def learning_curve(history: pd.DataFrame) -> Figure:
    """Draw the losses and the validation accuracies over the epochs of a fit's history."""
    figure = Picture(figsize=(PAGE, 2.2))
    left, right = figure.subplots(1, 2)
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
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        ax.legend()
    left.set(ylabel="training loss", yscale="log")
    right.set(ylabel="validation accuracy", ylim=(0, 1.02))
    return figure
