"""Plots of frames: views, spectra, moments beside theory, audits of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from modsnr.figures.style import (
    DIAGRAM_MAP,
    PAGE,
    PALETTE,
    Picture,
    bare,
    legend_above,
    look,
    panels,
    reach,
    styled,
)


@styled
def view_gallery(
    diagrams: np.ndarray, *, rows: Sequence[str], columns: Sequence[str], groups: Sequence[str]
) -> Figure:
    """Draw diagrams [group, row, column, bins, bins] side by side: a block of rows for each group.

    ``groups`` are views, ``rows`` SNRs, ``columns`` modulations, say. Each image has its own scale.
    """
    bins = diagrams.shape[-1]
    cell = bins + max(1, bins // 16)  # pixels, with the gap to the next image
    scaled = diagrams / np.maximum(diagrams.max((-1, -2), keepdims=True), 1e-12)
    gaps = [(0, 0)] * 3 + [(0, cell - bins)] * 2
    tiles = np.pad(scaled[..., ::-1, :], gaps, constant_values=np.nan)
    sheets = tiles.swapaxes(2, 3).reshape(len(groups), len(rows) * cell, len(columns) * cell)
    inch = min(0.6, (PAGE - 1) / len(columns))
    tall = max(inch * len(rows), 0.85)  # the least height of a block: its view's name
    figure = Picture(figsize=(inch * len(columns) + 1, (tall + 0.1) * len(groups) + 0.5))
    axes = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
    for ax, sheet, group in zip(axes, sheets, groups, strict=True):
        ax.imshow(sheet, cmap=DIAGRAM_MAP, interpolation="nearest")
        ax.set_yticks((np.arange(len(rows)) + 0.5) * cell, rows, fontsize=6.5)
        ax.set_ylabel(group, fontweight="bold")
        ax.set_xticks([])
        bare(ax)
    middles = (np.arange(len(columns)) + 0.5) * cell
    slant: Any = {"rotation": 40, "ha": "left", "rotation_mode": "anchor", "fontsize": 6.5}
    axes[0].xaxis.tick_top()
    axes[0].set_xticks(middles, columns, **slant)
    axes[0].tick_params(length=0)
    return figure


@styled
def spectrum(density_db: pd.DataFrame) -> Figure:
    """Draw power densities in dB, a line a column; the index is the frequency in cycles/sample."""
    figure, (ax,) = panels([""], height=2.2)
    for index, (name, density) in enumerate(density_db.items()):
        ax.plot(density, color=look(index)["color"], label=name)
    ax.set(xlabel="frequency (cycles/sample)", ylabel="power density (dB)")
    ax.legend()
    return figure


THEORY = "theory"  # the series that is drawn black, as dashes and ticks
DASHES: Any = {"color": "black", "linestyle": (0, (4, 2))}


@styled
def fidelity(density_db: pd.DataFrame, moments: pd.DataFrame) -> Figure:
    """Draw frames beside theory: their power density, and a panel of moments for each quantity.

    ``density_db`` has a row a frequency, in cycles/sample, and a column a series. ``moments`` has
    ``quantity``, ``series``, ``modulation``, ``value``, ``low`` and ``high``. The series "theory"
    is a dashed line and a tick for each modulation; every other one has a line and a marker of its
    own. A series may lack modulations. Those drawn are in the order of their arrival.
    """
    series = dict.fromkeys([*density_db, *moments["series"]])
    measured = [name for name in series if name != THEORY]
    looks: dict[str, Any] = {str(name): look(i) for i, name in enumerate(measured)}
    names = list(moments["modulation"].unique())
    panels = list(moments.groupby("quantity", sort=False))
    figure = Picture(figsize=(PAGE, max(2.6, 0.85 + 0.14 * len(names))))
    widths = [1.6, *[1] * len(panels)]
    left, *right = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    for name, density in density_db.items():
        style = DASHES | {"zorder": 3} if name == THEORY else {"color": looks[str(name)]["color"]}
        left.plot(density, **style)
    left.set(xlabel="frequency (cycles/sample)", ylabel="power density (dB)")
    left.set_xlim(density_db.index[0], density_db.index[-1])
    for ax, (quantity, rows) in zip(right, panels, strict=True):
        _moments(ax, rows, names, looks)
        ax.set(xlabel=quantity, ylim=(len(names) - 0.5, -0.5))
        ax.set_yticks(range(len(names)), names if ax is right[0] else [""] * len(names))
        ax.tick_params(axis="y", length=0)
    handles = [Line2D([], [], **DASHES, label=THEORY)] if THEORY in series else []
    handles += [Line2D([], [], **style, label=name) for name, style in looks.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _moments(
    ax: Axes, moments: pd.DataFrame, names: list[str], looks: Mapping[str, Mapping[str, Any]]
) -> None:
    """Draw one quantity: a row a modulation of ``names``, a marker a series of ``looks``."""
    row = min(1, len(names) / 12)  # of the space for one: few modulations do not fill it
    step = 0.7 * row / max(len(looks), 2)
    for name in moments["series"].unique():
        points = moments[moments["series"] == name]
        place = np.array([names.index(modulation) for modulation in points.modulation], float)
        if name == THEORY:
            tick = {"color": "black", "linewidth": 1.1, "zorder": 3}  # seen upon the markers
            ax.vlines(points.value, place - 0.45 * row, place + 0.45 * row, **tick)
        else:
            place += (list(looks).index(name) - (len(looks) - 1) / 2) * step
            bars: Any = {**looks[name], "linestyle": "none", "elinewidth": 0.8}
            ax.errorbar(points.value, place, xerr=reach(points), **bars)


@styled
def class_order_audit(evidence: pd.DataFrame) -> Figure:
    """Draw what each label column shows beside what the candidate orders expect of its class.

    ``evidence`` has a row a (column, candidate, feature), with ``measured``, ``margin``, ``low``,
    ``high``, ``class`` and ``agrees`` (True, False, or None where nothing is expected). A strip a
    feature: dots are measured, bars the intervals expected. At the right a tick, a cross or a dash
    before the class shows whether the column agrees with it.
    """
    features, candidates = list(evidence["feature"].unique()), list(evidence["candidate"].unique())
    columns = sorted(evidence["column"].unique())
    judged = evidence["column"].isin(evidence.loc[evidence["agrees"].notna(), "column"])
    evidence = evidence.assign(place=np.searchsorted(columns, evidence["column"]), judged=judged)
    colours = dict(zip(candidates, (PALETTE[0], PALETTE[4], *PALETTE[5:]), strict=False))
    figure = Picture(figsize=(PAGE, 0.8 + 0.17 * len(columns)))
    ratios = [1.0] * len(features) + [1.5] * len(candidates)
    axes = figure.subplots(1, len(ratios), sharey=True, width_ratios=ratios)
    for ax, feature in zip(axes, features, strict=False):
        _strip(ax, evidence[evidence["feature"] == feature], colours)
        ax.set_title(feature)
    verdicts = {True: ("✓", PALETTE[2]), False: ("✗", PALETTE[1]), None: ("–", PALETTE[6])}
    for ax, name in zip(axes[len(features) :], candidates, strict=True):
        ax.set_title(name, color=colours[name], fontweight="bold")
        ax.set_xticks([])
        ax.axis("off")
        of_order = evidence[evidence["candidate"] == name]
        for place, rows in of_order.groupby("place"):
            known = rows["agrees"].dropna()
            mark, colour = verdicts[bool(known.all()) if len(known) else None]
            text = f"{mark} {rows['class'].iloc[0]}"
            ax.text(0, place, text, color=colour, fontsize=6.5, va="center")
    axes[0].set_yticks(range(len(columns)), columns)
    axes[0].set(ylabel="label column", ylim=(len(columns) - 0.5, -0.5))
    legend_above(figure)
    return figure


def _strip(ax: Axes, rows: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """Draw what was measured of a feature, and what each candidate expects."""
    # A column too noisy to be judged may lie anywhere: it does not stretch the axis.
    shown = rows[rows["judged"]] if rows["judged"].any() else rows
    ends = shown[["measured", "low", "high"]].to_numpy(float)
    low, high = (pick(ends[np.isfinite(ends)]) for pick in (np.min, np.max))
    margin = 0.12 * (high - low) + 1e-9
    bar: Any = {"linewidth": 2, "alpha": 0.7, "capstyle": "projecting"}  # seen if narrow, too
    for index, (name, colour) in enumerate(colours.items()):
        step = 0.5 * ((index + 0.5) / len(colours) - 0.5)
        expected = rows[(rows["candidate"] == name) & (rows["low"] < np.inf)]
        left, right = expected[["low", "high"]].clip(low - margin, high + margin).to_numpy().T
        label = f"expected if {name}"
        ax.hlines(expected["place"] + step, left, right, color=colour, label=label, **bar)
    given = rows.drop_duplicates("column")
    dot: Any = {"fmt": "o", "color": "black", "markersize": 2, "elinewidth": 0.6}
    ax.errorbar(given["measured"], given["place"], xerr=given["margin"], label="measured", **dot)
    ax.set_xlim(low - margin, high + margin)
    ax.locator_params(axis="x", nbins=2)
    ax.tick_params(axis="x", labelsize=6)
    ax.tick_params(axis="y", length=0)


@styled
def snr_audit(table: pd.DataFrame, *, verdict: str) -> Figure:
    """Draw the bias of SNR labels over the label, its spread a frame, and what labels could mean.

    ``table`` has ``label_db``, ``bias_db``, ``spread_db`` and ``judged``; the others are hollow.
    """
    figure, (ax,) = panels([verdict], height=2.6)
    symbol_db = -10 * np.log10(8)  # the study's samples a symbol
    ax.axhline(0, color=PALETTE[2], label="per sample")
    ax.axhline(symbol_db, color=PALETTE[1], linestyle="--", label="Es/N0")
    looks = {"judged": {"color": PALETTE[0]}, "not judged": {"color": PALETTE[6], "mfc": "white"}}
    for label, dot in looks.items():
        rows = table[table["judged"] == (label == "judged")]
        style: Any = {**dot, "fmt": "o", "elinewidth": 0.8, "capsize": 1.5, "label": label}
        ax.errorbar(rows["label_db"], rows["bias_db"], yerr=rows["spread_db"], **style)
    judged = table[table["judged"]]
    ends = [*(judged["bias_db"] - judged["spread_db"]), *(judged["bias_db"] + judged["spread_db"])]
    ax.set_ylim(min(symbol_db, *ends) - 1.5, max(0, *ends) + 1.5)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="SNR label (dB)", ylabel="measured SNR − label (dB)")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
