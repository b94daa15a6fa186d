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


def nested(table: pd.DataFrame, *by: str) -> dict[str, Any]:
    """Return a table as nested mappings, in the layout of metrics.json: a level a column of ``by``.

    The last level holds a row each: an ``Interval``, a number where it has no interval, None where
    it has no value, and of a table without values its other columns. A row whose last key is ""
    belongs to the level above.
    """
    found: dict[str, Any] = {}
    for row in table.to_dict("records"):
        keys = [f"{key:g}" if isinstance(key, float) else str(key) for key in map(row.pop, by)]
        *above, last = keys[:-1] if keys[-1] == "" else keys
        level = found
        for key in above:
            level = level.setdefault(key, {})
        assert last not in level, f"two rows of the table are called {keys}"
        level[last] = _interval(row) if "value" in row else row
    return found


def _interval(row: Mapping[Any, Any]) -> Any:
    if pd.isna(row["low"]):
        return None if pd.isna(row["value"]) else row["value"]
    return {end: row[end] for end in ENDS}


def wide(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return a table with columns such as joint_value, joint_low and joint_high, of what
    ``column`` holds, instead of a row each."""
    others = [name for name in table if name not in (column, *ENDS)]
    turned = table.pivot_table(ENDS, others, column, sort=False)
    turned.columns = [f"{name}_{end}" for end, name in turned.columns]
    columns = [f"{name}_{end}" for name in table[column].unique() for end in ENDS]
    return turned[columns].reset_index()


WORDS = {"snr": "SNR", "rmse": "RMS error", "mae": "mean absolute error", "f1": "F1", "db": "(dB)"}
WORDS |= {"ece": "calibration error", "mce": "largest calibration error", "macro": "mean"}


def spelt(name: str) -> str:
    """Return a metric's name in words: "SNR RMS error (dB)" for "snr_rmse_db"."""
    return " ".join(WORDS.get(word, word) for word in name.split("_"))


def side_by_side(scores: pd.DataFrame) -> pd.DataFrame:
    """Return a row a metric, value and interval of each model as text: "0.912 [0.901, 0.920]".

    ``scores`` has the columns model, metric, part, value, low and high; only metrics of all frames
    with an interval are shown.
    """
    shown = scores[(scores.part == "") & scores.low.notna()]
    texts = [f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]" for row in shown.itertuples()]
    table = shown.assign(text=texts).pivot_table(
        "text", "metric", "model", aggfunc="first", sort=False
    )
    return table.fillna("").rename_axis(columns=None).reset_index()
