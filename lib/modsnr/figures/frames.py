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
    COLUMN,
    DIAGRAM_MAP,
    PAGE,
    PALETTE,
    Picture,
    bare,
    look,
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
    margin = 0.25  # at the right, for the last of the slanting titles
    gap, tall = 0.08, 0.95  # below each block, and the least height of one: its view's name
    cell = min(max(0.6, (tall - gap) / len(rows)), (PAGE - 0.75 - margin) / len(columns))
    block = max(cell * len(rows) + gap, tall)
    width, height = cell * len(columns) + 0.75 + margin, block * len(groups) + 0.5
    figure = Picture(figsize=(width, height))
    figure.set_layout_engine("none")  # every image has its place
    size = 0.94 * cell / width, 0.94 * cell / height
    for group, row in np.ndindex(len(groups), len(rows)):
        bottom = 1 - (0.48 + group * block + (row + 1) * cell) / height
        for column, title in enumerate(columns):
            ax = figure.add_axes(((0.73 + column * cell) / width, bottom, *size))
            ax.imshow(diagrams[group, row, column], origin="lower", cmap=DIAGRAM_MAP)
            ax.set(xticks=[], yticks=[])
            bare(ax)
            if group == row == 0:
                ax.set_title(title, fontsize=6.5, rotation=40, ha="left", x=0.2, pad=2)
        middle = bottom + cell / 2 / height
        figure.text(0.7 / width, middle, str(rows[row]), fontsize=6.5, ha="right", va="center")
    for group, view in enumerate(groups):
        middle = 1 - (0.48 + group * block + len(rows) * cell / 2) / height
        upright: Any = {"rotation": 90, "ha": "center", "va": "center", "fontweight": "bold"}
        figure.text(0.12 / width, middle, view, **upright)
    return figure


@styled
def spectrum(density_db: pd.DataFrame) -> Figure:
    """Draw power densities in dB, a line a column; the index is the frequency in cycles/sample."""
    figure = Picture(figsize=(COLUMN, 2.2))
    ax = figure.subplots()
    for index, (name, density) in enumerate(density_db.items()):
        ax.plot(density, color=PALETTE[index % len(PALETTE)], label=name)
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
    looks = {name: look(index) for index, name in enumerate(measured)}
    names = list(moments["modulation"].unique())
    panels = list(moments.groupby("quantity", sort=False))
    figure = Picture(figsize=(PAGE, max(2.6, 0.85 + 0.14 * len(names))))
    widths = [1.6, *[1] * len(panels)]
    left, *right = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    for name, density in density_db.items():
        style = DASHES | {"zorder": 3} if name == THEORY else {"color": looks[name]["color"]}
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
    for name, points in moments.groupby("series", sort=False):
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
    judged = evidence.loc[evidence["agrees"].notna(), "column"]
    colours = dict(zip(candidates, (PALETTE[0], PALETTE[4], *PALETTE[5:]), strict=False))
    figure = Picture(figsize=(PAGE, 0.8 + 0.17 * len(columns)))
    ratios = [1.0] * len(features) + [1.5] * len(candidates)
    axes = figure.subplots(1, len(ratios), sharey=True, width_ratios=ratios)
    for ax, feature in zip(axes, features, strict=False):
        rows = evidence[evidence["feature"] == feature]
        rows = rows.assign(place=[columns.index(column) for column in rows["column"]])
        # A column too noisy to be judged may lie anywhere: it does not stretch the axis.
        shown = rows[rows["column"].isin(judged)] if len(judged) else rows
        ends = shown[["measured", "low", "high"]].to_numpy(float)
        low, high = (pick(ends[np.isfinite(ends)]) for pick in (np.min, np.max))
        margin = 0.12 * (high - low) + 1e-9
        limits = low - margin, high + margin
        ax.set(title=feature, xlim=limits)
        ax.locator_params(axis="x", nbins=2)
        ax.tick_params(axis="x", labelsize=6)
        ax.tick_params(axis="y", length=0)
        bar: Any = {"linewidth": 2, "alpha": 0.7, "capstyle": "projecting"}  # seen if narrow, too
        for index, name in enumerate(candidates):
            step = 0.5 * ((index + 0.5) / len(candidates) - 0.5)
            expected = rows[(rows["candidate"] == name) & (rows["low"] < np.inf)]
            reached = expected[["low", "high"]].clip(*limits)
            ax.hlines(expected["place"] + step, *reached.T.to_numpy(), color=colours[name], **bar)
        given = rows.drop_duplicates("column")
        dot: Any = {"fmt": "o", "color": "black", "markersize": 2, "elinewidth": 0.6}
        ax.errorbar(given["measured"], given["place"], xerr=given["margin"], **dot)
    verdicts = {True: ("✓", PALETTE[2]), False: ("✗", PALETTE[1]), None: ("–", PALETTE[6])}
    for ax, name in zip(axes[len(features) :], candidates, strict=True):
        ax.set_title(name, color=colours[name], fontweight="bold")
        ax.set_xticks([])
        ax.axis("off")
        rows_of_order = evidence[evidence["candidate"] == name]
        for place, column in enumerate(columns):
            rows = rows_of_order[rows_of_order["column"] == column]
            known = rows["agrees"].dropna()
            mark, colour = verdicts[bool(known.all()) if len(known) else None]
            text = f"{mark} {rows['class'].iloc[0]}"
            ax.text(0, place, text, color=colour, fontsize=6.5, va="center")
    axes[0].set_yticks(range(len(columns)), columns)
    axes[0].set(ylabel="label column", ylim=(len(columns) - 0.5, -0.5))
    handles = [Line2D([], [], color="black", marker="o", linestyle="none", label="measured")]
    for name, colour in colours.items():
        handles.append(Line2D([], [], color=colour, linewidth=2.2, label=f"expected if {name}"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


@styled
def snr_audit(table: pd.DataFrame, *, verdict: str, samples_per_symbol: int = 8) -> Figure:
    """Draw the bias of SNR labels over the label, its spread a frame, and what labels could mean.

    ``table`` has ``label_db``, ``bias_db``, ``spread_db`` and ``judged``; the others are hollow.
    """
    figure = Picture(figsize=(COLUMN, 2.6))
    ax = figure.subplots()
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    symbol_db = -10 * np.log10(samples_per_symbol)
    ax.axhline(0, color=PALETTE[2], label="per sample")
    ax.axhline(symbol_db, color=PALETTE[1], linestyle="--", label="Es/N0")
    dots = {"judged": {"color": PALETTE[0]}, "not judged": {"color": PALETTE[6], "mfc": "white"}}
    for label, dot in dots.items():
        rows = table[table["judged"] == (label == "judged")]
        style: Any = {**dot, "fmt": "o", "elinewidth": 0.8, "capsize": 1.5, "label": label}
        ax.errorbar(rows["label_db"], rows["bias_db"], yerr=rows["spread_db"], **style)
    judged = table[table["judged"]]
    ends = [*(judged["bias_db"] - judged["spread_db"]), *(judged["bias_db"] + judged["spread_db"])]
    ax.set_ylim(min(symbol_db, *ends) - 1.5, max(0, *ends) + 1.5)
    ax.set(title=verdict, xlabel="SNR label (dB)", ylabel="measured SNR − label (dB)")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
