"""One style sheet for every plot, and what plots share: panels, series, bars, heatmaps."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

COLUMN, PAGE = 3.5, 7.16  # inches
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "////", "....", "xxxx")
DIAGRAM_MAP = "magma"
HIDDEN_MAP = ListedColormap(["cyan"])  # of pixels taken away: unlike any colour of DIAGRAM_MAP
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


@contextmanager
def style_sheet(**options: Any) -> Iterator[None]:
    """Draw by the style sheet and ``options`` alone, whatever a user's matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE | options)
        yield


SLANTED: Any = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
BROKEN: Any = {"linestyle": (0, (4, 2)), "linewidth": 0.9}


def panels(
    titles: Sequence[str],
    *,
    height: float = 2.5,
    across: int = 3,
    xlabel: str = "",
    ylabel: str = "",
    **options: Any,
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each title, at most so many side by side, and its panels.

    ``height`` is that of a row in inches; ``options`` are those of matplotlib's ``subplots``. The
    labels stand at the lowest and the leftmost panels.
    """
    across = min(across, len(titles))
    rows = -(-len(titles) // across)
    figure = Picture(figsize=(PAGE if across > 1 else COLUMN, height * rows))
    grid = figure.subplots(rows, across, squeeze=False, **options)
    for spare in grid.flat[len(titles) :]:
        spare.remove()
    for ax, title in zip(figure.axes, titles, strict=True):
        ax.set_title(title)
    for ax in figure.axes[-across:]:
        ax.set_xlabel(xlabel)
        ax.tick_params(labelbottom=True)
    for ax in figure.axes[::across]:
        ax.set_ylabel(ylabel)
    return figure, figure.axes


def look(index: int) -> dict[str, Any]:
    """Return the colour and the marker of the series with that number."""
    return {"color": PALETTE[index % len(PALETTE)], "marker": MARKERS[index % len(MARKERS)]}


def reach(points: pd.DataFrame) -> np.ndarray:
    """Return how far intervals reach below and above their value, float64 [2, point]."""
    # Rounding may leave a value outside its interval.
    return np.maximum([points.value - points.low, points.high - points.value], 0)


@contextmanager
def _own_labels(ax: Axes) -> Iterator[None]:
    """Keep the labels of a panel's axes: seaborn would fill in those that are empty."""
    labels = {"xlabel": ax.get_xlabel(), "ylabel": ax.get_ylabel()}
    yield
    ax.set(**labels)


def _looks(names: pd.Series, order: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """Return the look of each name that occurs: that of its place in ``order``, or in the rows."""
    found = names.unique()
    order = list(found if order is None else order)
    return {key: look(index) for index, key in enumerate(order) if key in found}


def _tidy(points: pd.DataFrame, place: str, name: str, looks: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a plot of seaborn's: points with their intervals, a colour a name."""
    return {  # the median of value, low and high is the value, and their range the interval
        "data": points.melt([place, name], ["value", "low", "high"], value_name="accuracy"),
        "hue": name,
        "hue_order": list(looks),
        "palette": [of["color"] for of in looks.values()],
        "estimator": "median",
        "errorbar": ("pi", 100),
        "legend": False,
    }


def series(
    ax: Axes,
    points: pd.DataFrame,
    x: str,
    name: str,
    *,
    order: Sequence[str] | None = None,
    intervals: Literal["band", "bars"] = "band",
    **options: Any,
) -> None:
    """Draw a line for each name over x, with its intervals.

    ``points`` has the columns ``x``, ``name``, value, low and high. A name has the ``look`` of its
    place in ``order``, by default that of its first appearance; ``options`` are seaborn's.
    """
    import seaborn as sns  # here: it takes a second and 70 MB

    looks, before = _looks(points[name], order), len(ax.lines)
    styles = {"band": {"alpha": 0.2, "linewidth": 0}, "bars": {"elinewidth": 0.8, "capsize": 1.5}}
    with _own_labels(ax):
        sns.lineplot(
            ax=ax, x=x, y="accuracy", **_tidy(points, x, name, looks), style=name,
            style_order=list(looks), markers=[of["marker"] for of in looks.values()],
            dashes=False, err_style=intervals, err_kws=styles[intervals], **options,
        )  # fmt: skip
    lines = [line for line in ax.lines[before:] if line.get_linestyle() == "-"]  # not a bar's ends
    for line, key in zip(lines, looks, strict=True):
        line.set(label=key, markeredgecolor=line.get_color())


def bars(ax: Axes, points: pd.DataFrame, group: str, name: str, *, lying: bool = False) -> None:
    """Draw bars with their intervals: a place for each ``group``, side by side a bar for each name.

    ``points`` has the columns ``group``, ``name``, value, low and high. Names differ in colour and
    hatch.
    """
    import seaborn as sns

    looks, before = _looks(points[name], None), len(ax.containers)
    axes = {"y": group, "x": "accuracy"} if lying else {"x": group, "y": "accuracy"}
    with _own_labels(ax):
        sns.barplot(
            ax=ax, **axes, **_tidy(points, group, name, looks), saturation=1, edgecolor="white",
            linewidth=0.4, capsize=0.3, err_kws={"color": "black", "linewidth": 0.8},
        )  # fmt: skip
    ax.grid(visible=False, axis="y" if lying else "x")
    for index, (drawn, key) in enumerate(zip(ax.containers[before:], looks, strict=True)):
        drawn.set_label(key)
        for bar in drawn:
            bar.set_hatch(HATCHES[index % len(HATCHES)])


def dots(
    ax: Axes,
    points: pd.DataFrame,
    group: str,
    name: str,
    *,
    order: Sequence[str] | None = None,
    lying: bool = False,
) -> None:
    """Draw markers with their intervals: as ``bars``, with the looks of ``series``."""
    import seaborn as sns

    looks, before = _looks(points[name], order), len(ax.lines)
    apart: Any = 0.5 if len(looks) > 1 else False
    axes = {"y": group, "x": "accuracy"} if lying else {"x": group, "y": "accuracy"}
    with _own_labels(ax):
        sns.pointplot(
            ax=ax, **axes, **_tidy(points, group, name, looks), linestyle="none", markersize=3,
            markers=[of["marker"] for of in looks.values()], capsize=0.1,
            dodge=apart, err_kws={"linewidth": 0.8},
            markerfacecolor="none",  # which shows an interval that is smaller
        )  # fmt: skip
    lines = [line for line in ax.lines[before:] if line.get_marker() in MARKERS]
    for line, key in zip(lines, looks, strict=True):
        line.set_label(key)


def heatmap(ax: Axes, values: pd.DataFrame, **options: Any) -> None:
    """Draw a table as coloured cells; the options are seaborn's."""
    import seaborn as sns

    # Rasterised: readers of vector graphics would draw a line between any two cells.
    drawn: Any = {"cmap": "cividis", "cbar": False, "rasterized": True, "fmt": ""} | options
    with _own_labels(ax):
        sns.heatmap(values, ax=ax, annot_kws={"size": 7}, **drawn)
    ax.tick_params(axis="y", rotation=0)
    bare(ax)


def legend_above(figure: Figure, *, most: int = 4, order: Sequence[str] | None = None) -> None:
    """Put one legend above all panels: each label once, at most so many side by side."""
    panels = [ax.get_legend_handles_labels() for ax in figure.axes]
    shown = {label: handle for found in panels for handle, label in zip(*found, strict=True)}
    names = [key for key in order or shown if key in shown]
    handles = [shown[key] for key in names]
    figure.legend(handles, names, loc="outside upper center", ncols=min(len(names), most))


def bare(ax: Axes) -> None:
    """Take away the frame, the grid and the tick marks of a panel that shows an image."""
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def colour_bar(
    figure: Figure, image: Any, panels: Sequence[Axes], label: str, **options: Any
) -> None:
    """Put the scale of an image beside its panels; the options are matplotlib's."""
    placed: dict[str, Any] = {"pad": 0.01} | options
    bar = figure.colorbar(image, ax=list(panels), **placed)
    bar.set_label(label)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]


class Picture(Figure):
    """A figure that notebooks show as it is, without pyplot and its global state."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write the figure as matplotlib does, by the style sheet that it was drawn by."""
        # Saving puts the layout back by its setter, to which none means the style sheet's.
        keeps_none = self.get_layout_engine() is None
        layout = {"figure.constrained_layout.use": False} if keeps_none else {}
        with style_sheet(**layout):  # ticks, grid lines and fonts are chosen only now
            super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        self.savefig(buffer := io.BytesIO(), format="png", dpi=130)
        return buffer.getvalue()


def styled(draw):
    """Return the plot drawn under the style sheet."""

    @wraps(draw)
    def in_style(*arguments, **options) -> Figure:
        with style_sheet():
            return draw(*arguments, **options)

    return in_style
