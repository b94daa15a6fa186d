"""Every plot: arrays in, Figure out. One style sheet, the widths of a two-column paper.

Diagrams are drawn with their first row at the bottom. The palette is Okabe and Ito's, told apart
by colour-blind readers; series also differ in marker or hatch.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import wraps
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

Interval = Mapping[str, float]  # value, low, high

COLUMN, PAGE = 3.5, 7.16  # inches
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "////", "....", "xxxx")
DIAGRAM_MAP = "magma"
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.06,  # inches
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}


class Picture(Figure):
    """A figure that notebooks show as it is, without pyplot and its global state."""

    def savefig(self, fname: Any, **options: Any) -> None:
        with mpl.rc_context(STYLE):  # ticks and grid lines are made, and fonts chosen, only now
            super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        self.savefig(buffer := io.BytesIO(), format="png", dpi=130)
        return buffer.getvalue()


def _styled(draw):
    @wraps(draw)
    def styled(*arguments, **options) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*arguments, **options)

    return styled


@_styled
def view_gallery(
    diagrams: np.ndarray, *, rows: Sequence[str], columns: Sequence[str], groups: Sequence[str]
) -> Figure:
    """Draw diagrams [group, row, column, bins, bins] side by side: a block of rows for each group.

    ``groups`` are views, ``rows`` SNRs, ``columns`` modulations, say. Each image has its own scale.
    """
    cell = min(0.6, (PAGE - 0.75) / len(columns))
    block = max(cell * len(rows) + 0.08, 0.95)  # the name of a view needs its inches too
    width, height = cell * len(columns) + 0.75, block * len(groups) + 0.5
    figure = Picture(figsize=(width, height))
    figure.set_layout_engine("none")  # every image has its place
    for group, view in enumerate(groups):
        for row, name in enumerate(rows):
            bottom = 1 - (0.48 + group * block + (row + 1) * cell) / height
            for column, title in enumerate(columns):
                place = (
                    (0.73 + column * cell) / width,
                    bottom,
                    cell * 0.94 / width,
                    cell * 0.94 / height,
                )
                ax = figure.add_axes(place)
                ax.imshow(diagrams[group, row, column], origin="lower", cmap=DIAGRAM_MAP)
                ax.set(xticks=[], yticks=[])
                ax.grid(visible=False)
                ax.spines[:].set_visible(False)
                if group == row == 0:
                    ax.set_title(title, fontsize=6.5, rotation=40, ha="left", x=0.2, pad=2)
            figure.text(
                0.7 / width, bottom + cell / 2 / height, name, fontsize=6.5, ha="right", va="center"
            )
        middle = 1 - (0.48 + group * block + len(rows) * cell / 2) / height
        figure.text(
            0.12 / width, middle, view, rotation=90, ha="center", va="center", fontweight="bold"
        )
    return figure


@_styled
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


@_styled
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


@_styled
def impact_bars(
    scores: Mapping[str, Mapping[str, Mapping[float, Interval]]],
    *,
    tasks: Mapping[str, str],
    ylabel: str = "perturbation impact score",
) -> Figure:
    """Draw impact scores as bars with 95 % intervals: a panel a task, a group a fraction.

    ``scores`` is method -> task -> fraction -> Interval; ``tasks`` is task -> title.
    """
    figure = Picture(figsize=(PAGE, 2.4))
    panels = np.atleast_1d(figure.subplots(1, len(tasks)))
    width = 0.8 / len(scores)
    for ax, task in zip(panels, tasks, strict=True):
        for index, (method, of_task) in enumerate(scores.items()):
            points = of_task[task]
            value = np.array([point["value"] for point in points.values()])
            spread = np.abs(
                np.array([[point["low"], point["high"]] for point in points.values()]).T - value
            )
            ax.bar(
                np.arange(len(points)) + (index - (len(scores) - 1) / 2) * width,
                value,
                width,
                yerr=spread.tolist(),
                label=method.replace("_", " "),
                color=PALETTE[index % len(PALETTE)],
                hatch=HATCHES[index % len(HATCHES)],
                edgecolor="white",
                linewidth=0.4,
                error_kw={"elinewidth": 0.8, "capsize": 1.5},
            )
        ax.axhline(0, color="black", linewidth=0.6)
        ax.set_xticks(range(len(points)), [f"{100 * fraction:g} %" for fraction in points])
        ax.set(title=tasks[task], xlabel="pixels hidden")
        ax.grid(visible=False, axis="x")
    panels[0].set_ylabel(ylabel)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(scores))
    return figure


@_styled
def impact_panels(
    scores: Mapping[str, Mapping[str, Mapping[str, Mapping[float, Interval]]]],
    *,
    tasks: Mapping[str, str],
    ylabel: str = "perturbation impact score",
) -> Figure:
    """Draw impact scores over the fraction hidden: a row a view, a column a task, a line a method.

    ``scores`` is view -> method -> task -> fraction -> Interval; ``tasks`` is task -> title.
    """
    figure = Picture(figsize=(PAGE, 0.55 + 1.5 * len(scores)))
    panels = figure.subplots(len(scores), len(tasks), sharex=True, squeeze=False)
    for row, (view, methods) in enumerate(scores.items()):
        for column, task in enumerate(tasks):
            ax = panels[row, column]
            for index, (method, of_task) in enumerate(methods.items()):
                points = of_task[task]
                percent = np.array([100 * fraction for fraction in points])
                value, low, high = (
                    np.array([point[name] for point in points.values()])
                    for name in ("value", "low", "high")
                )
                ax.errorbar(
                    percent * (1 + 0.03 * (index - 1.5)),
                    value,
                    yerr=np.abs([value - low, high - value]).tolist(),
                    color=PALETTE[index % len(PALETTE)],
                    marker=MARKERS[index % len(MARKERS)],
                    label=method.replace("_", " "),
                    elinewidth=0.8,
                    capsize=1.5,
                )
            ax.axhline(0, color="black", linewidth=0.6)
            ax.set_xscale("log")
            ax.set_xticks(percent, [f"{value:g}" for value in percent])
            ax.minorticks_off()
            if row == 0:
                ax.set_title(tasks[task])
            if row == len(scores) - 1:
                ax.set_xlabel("pixels hidden (%)")
        panels[row, 0].set_ylabel(view)
    figure.supylabel(ylabel, fontsize=8)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


@_styled
def attribution_grid(
    diagrams: np.ndarray,
    attributions: Mapping[str, np.ndarray],
    *,
    rows: Sequence[str],
    views: Sequence[str],
) -> Figure:
    """Draw diagrams [frame, view, bins, bins] beside attribution maps of the same shape.

    ``attributions`` is task -> maps; blue holds the score up, red holds it down, white is nothing.
    Each map has its own symmetric scale.
    """
    kinds = 1 + len(attributions)
    shape = (len(rows), kinds * len(views))
    cell = PAGE * 0.9 / shape[1]
    figure = Picture(figsize=(PAGE, cell * shape[0] + 0.5))
    axes = figure.subplots(*shape, squeeze=False)
    for line, name in enumerate(rows):
        for channel, view in enumerate(views):
            for kind in range(kinds):
                ax = axes[line, channel * kinds + kind]
                ax.set(xticks=[], yticks=[])
                ax.grid(visible=False)
                ax.spines[:].set_visible(kind > 0)
                ax.spines[:].set_linewidth(0.3)
                if kind == 0:
                    ax.imshow(diagrams[line, channel], origin="lower", cmap=DIAGRAM_MAP)
                    title = view
                else:
                    title, maps = list(attributions.items())[kind - 1]
                    limit = max(np.abs(maps[line, channel]).max(), 1e-12)
                    ax.imshow(
                        maps[line, channel], origin="lower", cmap="RdBu", vmin=-limit, vmax=limit
                    )
                if line == 0:
                    ax.set_title(title, fontsize=7)
        axes[line, 0].set_ylabel(name, fontsize=7)
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)
    return figure


@_styled
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


@_styled
def spectrum(frequency: np.ndarray, density_db: Mapping[str, np.ndarray]) -> Figure:
    """Draw power spectral densities in dB over frequency in cycles/sample, a line a signal."""
    figure = Picture(figsize=(COLUMN, 2.2))
    ax = figure.subplots()
    for index, (name, density) in enumerate(density_db.items()):
        ax.plot(frequency, density, color=PALETTE[index % len(PALETTE)], label=name)
    ax.set(xlabel="frequency (cycles/sample)", ylabel="power density (dB)")
    ax.legend()
    return figure


THEORY = "theory"  # the series that is drawn black, as dashes and ticks
_ENDS = ("value", "low", "high")


@_styled
def fidelity(
    frequency: np.ndarray,
    density_db: Mapping[str, np.ndarray],
    moments: Mapping[str, Mapping[str, Mapping[str, float | Interval]]],
) -> Figure:
    """Draw frames beside theory: their power density, and a panel of moments for each quantity.

    ``density_db`` is series -> dB at the ascending ``frequency`` in cycles/sample. ``moments`` is
    quantity -> series -> modulation -> value, or Interval where it has a spread. The series
    "theory" is a dashed line and a tick for each modulation; every other one has a line and a
    marker of its own. A series may lack modulations. Those drawn are in the order of their arrival.
    """
    series = dict.fromkeys([*density_db, *(name for given in moments.values() for name in given)])
    measured = [name for name in series if name != THEORY]
    styles: dict[str, Any] = {
        name: {"color": PALETTE[index % len(PALETTE)], "marker": MARKERS[index % len(MARKERS)]}
        for index, name in enumerate(measured)
    }
    names = list(
        dict.fromkeys(m for given in moments.values() for values in given.values() for m in values)
    )
    figure = Picture(figsize=(PAGE, max(2.6, 0.85 + 0.14 * len(names))))
    row = min(1, len(names) / 12)  # of the space for one: few modulations do not fill it
    left, *panels = figure.subplots(
        1, 1 + len(moments), width_ratios=[1.6, *[1] * len(moments)], squeeze=False
    )[0]

    for name, density in density_db.items():
        if name == THEORY:
            left.plot(frequency, density, color="black", linestyle=(0, (4, 2)), zorder=3)
        else:
            left.plot(frequency, density, color=styles[name]["color"])
    left.set(xlabel="frequency (cycles/sample)", ylabel="power density (dB)")
    left.set_xlim(frequency[0], frequency[-1])

    for ax, (quantity, given) in zip(panels, moments.items(), strict=True):
        for name, values in given.items():
            place = np.array([names.index(modulation) for modulation in values], float)
            points = [
                v if isinstance(v, Mapping) else dict.fromkeys(_ENDS, v) for v in values.values()
            ]
            value, low, high = (np.array([point[end] for point in points]) for end in _ENDS)
            if name == THEORY:
                tick = {"color": "black", "linewidth": 1.1, "zorder": 3}  # seen upon the markers
                ax.vlines(value, place - 0.45 * row, place + 0.45 * row, **tick)
                continue
            step = 0.7 * row / max(len(measured), 2)
            ax.errorbar(
                value,
                place + (measured.index(name) - (len(measured) - 1) / 2) * step,
                xerr=np.abs([value - low, high - value]).tolist(),
                **styles[name],
                linestyle="none",
                elinewidth=0.8,
            )
        ax.set(xlabel=quantity, ylim=(len(names) - 0.5, -0.5))
        ax.set_yticks(range(len(names)), names if ax is panels[0] else [""] * len(names))
        ax.tick_params(axis="y", length=0)

    handles = [Line2D([], [], **style, label=name) for name, style in styles.items()]
    if THEORY in series:
        dashes = Line2D([], [], color="black", linestyle=(0, (4, 2)), label=THEORY)
        handles.insert(0, dashes)
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


@_styled
def class_order_audit(evidence: pd.DataFrame) -> Figure:
    """Draw what each label column shows beside what the candidate orders expect of its class.

    ``evidence`` has a row a (column, candidate, feature), with ``measured``, ``margin``, ``low``,
    ``high``, ``class`` and ``agrees`` (True, False, or None where nothing is expected). A strip a
    feature: dots are measured, bars the intervals expected. At the right a tick, a cross or a dash
    before the class says what the column agrees with.
    """
    records = evidence.to_dict("records")
    features, candidates = list(evidence["feature"].unique()), list(evidence["candidate"].unique())
    columns = sorted(evidence["column"].unique())
    judged = {row["column"] for row in records if row["agrees"] is not None} or set(columns)
    colours = dict(zip(candidates, (PALETTE[0], PALETTE[4], *PALETTE[5:]), strict=False))
    figure = Picture(figsize=(PAGE, 0.8 + 0.17 * len(columns)))
    ratios = [1.0] * len(features) + [1.5] * len(candidates)
    axes = figure.subplots(1, len(ratios), sharey=True, width_ratios=ratios)
    for ax, feature in zip(axes, features, strict=False):
        rows = [row for row in records if row["feature"] == feature]
        # A column too noisy to be judged may lie anywhere: it does not stretch the axis.
        shown = [row for row in rows if row["column"] in judged]
        ends = np.array([row[key] for row in shown for key in ("measured", "low", "high")])
        low, high = (pick(ends[np.isfinite(ends)]) for pick in (np.min, np.max))
        reach = 0.12 * (high - low) + 1e-9
        ax.set(title=feature, xlim=(low - reach, high + reach))
        ax.locator_params(axis="x", nbins=2)
        ax.tick_params(axis="x", labelsize=6)
        ax.tick_params(axis="y", length=0)
        bar: Any = {"linewidth": 2, "alpha": 0.7, "capstyle": "projecting"}  # seen if narrow, too
        dot: Any = {"fmt": "o", "color": "black", "markersize": 2, "elinewidth": 0.6}
        for index, name in enumerate(candidates):
            step = 0.5 * ((index + 0.5) / len(candidates) - 0.5)
            of_order = [row for row in rows if row["candidate"] == name and row["low"] < np.inf]
            place = [columns.index(row["column"]) + step for row in of_order]
            left = [max(row["low"], low - reach) for row in of_order]
            right = [min(row["high"], high + reach) for row in of_order]
            ax.hlines(place, left, right, color=colours[name], **bar)
        given = {row["column"]: (row["measured"], row["margin"]) for row in rows}
        value, margin = np.transpose([given[column] for column in columns])
        ax.errorbar(value, range(len(columns)), xerr=margin, **dot)
    verdicts = {True: ("✓", PALETTE[2]), False: ("✗", PALETTE[1]), None: ("–", PALETTE[6])}
    for ax, name in zip(axes[len(features) :], candidates, strict=True):
        ax.set_title(name, color=colours[name], fontweight="bold")
        ax.axis("off")
        for place, column in enumerate(columns):
            rows = [row for row in records if (row["candidate"], row["column"]) == (name, column)]
            known = [row["agrees"] for row in rows if row["agrees"] is not None]
            mark, colour = verdicts[all(known) if known else None]
            ax.text(0, place, f"{mark} {rows[0]['class']}", color=colour, fontsize=6.5, va="center")
    axes[0].set_yticks(range(len(columns)), columns)
    axes[0].set(ylabel="label column", ylim=(len(columns) - 0.5, -0.5))
    handles = [Line2D([], [], color="black", marker="o", linestyle="none", label="measured")]
    for name, colour in colours.items():
        handles.append(Line2D([], [], color=colour, linewidth=2.2, label=f"expected if {name}"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


@_styled
def snr_audit(table: pd.DataFrame, *, verdict: str, samples_per_symbol: int = 8) -> Figure:
    """Draw the bias of SNR labels over the label, its spread a frame, and what labels could mean.

    ``table`` has ``label_db``, ``bias_db``, ``spread_db`` and ``judged``; the others are hollow.
    """
    figure = Picture(figsize=(COLUMN, 2.4))
    ax = figure.subplots()
    symbol_db = -10 * np.log10(samples_per_symbol)
    ax.axhline(0, color=PALETTE[2], label="per sample")
    ax.axhline(symbol_db, color=PALETTE[1], linestyle="--", label="Es/N0")
    looks = {"judged": {"color": PALETTE[0]}, "not judged": {"color": PALETTE[6], "mfc": "white"}}
    for label, look in looks.items():
        rows = table[table["judged"] == (label == "judged")]
        style: Any = {**look, "fmt": "o", "elinewidth": 0.8, "capsize": 1.5, "label": label}
        ax.errorbar(rows["label_db"], rows["bias_db"], yerr=rows["spread_db"], **style)
    judged = table[table["judged"]]
    ends = [*(judged["bias_db"] - judged["spread_db"]), *(judged["bias_db"] + judged["spread_db"])]
    ax.set_ylim(min(symbol_db, *ends) - 1.5, max(0, *ends) + 1.5)
    ax.set(title=verdict, xlabel="SNR label (dB)", ylabel="measured SNR − label (dB)")
    figure.legend(loc="outside lower center", ncols=4, columnspacing=1, handlelength=1.5)
    return figure
