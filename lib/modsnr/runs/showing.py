"""What a notebook shows as it runs: tables, and how far a long step is."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def is_watched() -> bool:
    """Return whether a person watches, in JupyterLab."""
    return "JPY_SESSION_NAME" in os.environ


def progress_bar(total: int, what: str, unit: str) -> Any:
    """Return a tqdm bar for ``total`` units: moving where a person watches, else lines.

    Where there is nothing to do, none is shown.
    """
    from tqdm.auto import tqdm as moving
    from tqdm.std import tqdm

    class Lines(tqdm):
        """A line now and then, with rate and time left, for a log."""

        def display(self, msg: str | None = None, pos: int | None = None) -> bool:  # noqa: ARG002
            if self.n:
                print(self, flush=True)
            return True

        def close(self) -> None:
            if not self.disable:
                self.display()
            self.disable = True

    options = {"desc": what, "unit": f" {unit}", "unit_scale": True, "disable": not total}
    if is_watched():
        return moving(total=total, **options)
    return Lines(total=total, file=sys.stdout, ncols=0, mininterval=5, miniters=1, **options)


class ShownTable:
    """Rows as HTML, all of them; ``live`` adds a widget that sorts by a click on a column's head
    and filters by what is typed, without a network.

    The widget's code, three quarters of a megabyte, goes to the browser and not into the notebook:
    a notebook that is executed with nobody before it has no need of it, and an export to HTML
    shows the rows.
    """

    def __init__(self, table: pd.DataFrame, *, live: bool) -> None:
        self._table, self._live = table, live

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        plain = {
            "text/plain": self._table.to_string(index=False),
            "text/html": self._table.to_html(index=False, border=0, float_format="{:.4g}".format),
        }
        return (self._widget() if self._live else {}) | plain

    def _widget(self) -> dict[str, Any]:
        from itables.widget import ITable

        widget = ITable(
            self._table.reset_index(drop=True),
            showIndex=False,
            order=[],  # as given, until a head is clicked
            maxBytes=0,  # all rows
            column_filters="footer",
            text_in_header_can_be_selected=False,  # else only its small arrow sorts
            classes="display compact",
        )
        bundle: Any = widget._repr_mimebundle_()
        return bundle[0] if isinstance(bundle, tuple) else bundle
