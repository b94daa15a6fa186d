"""One style sheet for every plot, and the widths of a two-column paper."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from functools import wraps
from typing import Any

import matplotlib as mpl
import numpy as np
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


def value_and_reach(points: Iterable[Interval]) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of intervals [point], and how far they reach down and up [2, point]."""
    ends = [[point["value"], point["low"], point["high"]] for point in points]
    value, low, high = np.array(ends).T
    return value, np.abs([value - low, high - value])


class Picture(Figure):
    """A figure that notebooks show as it is, without pyplot and its global state."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write the figure as matplotlib does, by the style sheet that it was drawn by."""
        # Saving puts the layout back by its setter, to which none means the style sheet's.
        keeps_none = self.get_layout_engine() is None
        layout = {"figure.constrained_layout.use": False} if keeps_none else {}
        with mpl.rc_context(STYLE | layout):  # ticks, grid lines and fonts are chosen only now
            super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        self.savefig(buffer := io.BytesIO(), format="png", dpi=130)
        return buffer.getvalue()


def styled(draw):
    """Return the plot drawn under the style sheet."""

    @wraps(draw)
    def in_style(*arguments, **options) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*arguments, **options)

    return in_style
