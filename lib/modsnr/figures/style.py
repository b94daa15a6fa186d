"""One style sheet for every plot, and the widths of a two-column paper."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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


@contextmanager
def style_sheet(**options: Any) -> Iterator[None]:
    """Draw by the style sheet and ``options`` alone, whatever a user's matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE | options)
        yield


def look(index: int) -> dict[str, Any]:
    """Return the colour and the marker of the series with that number."""
    return {"color": PALETTE[index % len(PALETTE)], "marker": MARKERS[index % len(MARKERS)]}


def reach(points: pd.DataFrame) -> np.ndarray:
    """Return how far intervals reach below and above their value, float64 [2, point]."""
    # Rounding may leave a value outside its interval.
    return np.maximum([points.value - points.low, points.high - points.value], 0)


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

    names = list(order if order is not None else points[name].unique())
    looks = [look(index) for index in range(len(names))]
    bars = {"elinewidth": 0.8}
    ends = points.melt([x, name], ["value", "low", "high"], value_name="accuracy")
    before = len(ax.lines)
    # The median of value, low and high is the value, and their range the interval.
    sns.lineplot(
        ends, x=x, y="accuracy", hue=name, style=name, hue_order=names, style_order=names,
        palette=[of["color"] for of in looks], markers=[of["marker"] for of in looks],
        dashes=False, estimator="median", errorbar=("pi", 100), err_style=intervals,
        err_kws={"alpha": 0.2, "linewidth": 0} if intervals == "band" else bars,
        legend=False, ax=ax, **options,
    )  # fmt: skip
    lines = [line for line in ax.lines[before:] if line.get_linestyle() == "-"]  # not a bar's ends
    drawn = [key for key in names if (points[name] == key).any()]
    for line, key in zip(lines, drawn, strict=True):
        line.set(label=key, markeredgecolor=line.get_color())


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
