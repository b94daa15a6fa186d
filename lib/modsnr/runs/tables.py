"""A table as a notebook shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


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
