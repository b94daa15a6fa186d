"""Tidy tables of numbers and intervals: for people to read, and in the layout of metrics.json.

A row has the columns value, low and high beside those that name it. NaN stands for the low and high
of a number without an interval, and for the value of a number that does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

ENDS = ["value", "low", "high"]


def stacked(tables: Mapping[str, pd.DataFrame], column: str) -> pd.DataFrame:
    """Return tables one below the other, whose names stand in the first column."""
    return pd.concat(tables, names=[column]).reset_index(column).reset_index(drop=True)


def nested(table: pd.DataFrame, *by: str, name: str = "") -> dict[str, Any]:
    """Return a table as nested mappings, in the layout of metrics.json: a level a column of ``by``.

    The last level holds a row each, as of ``records``. A row whose last key is "" belongs to the
    level above. Levels keep the order of the rows.
    """
    first, *rest = by
    found: dict[str, Any] = {}
    for key, part in table.groupby(first, sort=False):
        text, inner = f"{key:g}" if isinstance(key, float) else str(key), part.drop(columns=first)
        if rest:
            deeper = nested(inner, *rest, name=name)
            found[text] = deeper[""] if list(deeper) == [""] else deeper
        else:
            (found[text],) = records(inner, name)
    return found


def records(table: pd.DataFrame, name: str = "") -> list[Any]:
    """Return a list of the rows in the layout of metrics.json.

    value, low and high become an ``Interval`` called ``name`` beside the other columns, a number
    where the row has no interval, and None where it has no value. Without a name they are all there
    is.
    """
    return [_record(row, name) for row in table.to_dict("records")]


def _record(row: dict[Any, Any], name: str) -> Any:
    if "value" not in row:
        return row
    found: Any = {end: row.pop(end) for end in ENDS}
    if pd.isna(found["low"]):
        found = None if pd.isna(found["value"]) else found["value"]
    return row | {name: found} if name else found


def wide(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return a table with columns such as joint_value, joint_low and joint_high, of what
    ``column`` holds, instead of a row each."""
    others = [name for name in table if name not in (column, *ENDS)]
    turned = table.pivot_table(ENDS, others, column, sort=False)
    turned.columns = [f"{name}_{end}" for end, name in turned.columns]
    columns = [f"{name}_{end}" for name in table[column].unique() for end in ENDS]
    return turned[columns].reset_index()


def side_by_side(scores: pd.DataFrame) -> pd.DataFrame:
    """Return a row a metric, value and interval of each model as text: "0.912 [0.901, 0.920]".

    ``scores`` has the columns model, metric, part, value, low and high; metrics without an interval
    and those of a part of the frames are left out. A metric that a model lacks is "" there.
    """
    shown = scores[(scores.part == "") & scores.low.notna()]
    texts = [f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]" for row in shown.itertuples()]
    table = shown.assign(text=texts).pivot_table(
        "text", "metric", "model", aggfunc="first", sort=False
    )
    return table.fillna("").rename_axis(columns=None).reset_index()
