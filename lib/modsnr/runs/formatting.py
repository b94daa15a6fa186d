"""Values and rows as text: numbers, columns, and tables of Markdown."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

DEEPEST = 3  # levels of metrics.json that are shown


def measured(value: Any) -> str:
    """Return a number, floats in four digits, with its interval if it has one; else ""."""
    if isinstance(value, dict):
        low, high = measured(value.get("low")), measured(value.get("high"))
        return measured(value.get("value")) + (f" ({low} to {high})" if low and high else "")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else ""


def leaves(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return path -> number, or interval of value, low and high, of the first levels of metrics.

    The parts of a path are joined by "/"; shorter paths come first.
    """
    numbers: dict[str, Any] = {}
    level: dict[str, Any] = dict(metrics)
    for _ in range(DEEPEST):
        deeper: dict[str, Any] = {}
        for path, value in level.items():
            if isinstance(value, dict) and not measured(value.get("value")):
                deeper |= {f"{path}/{name}": inner for name, inner in value.items()}
            elif measured(value):
                numbers[path] = value
        level = deeper
    return numbers


def shown(value: Any) -> str:
    """Return a parameter's value as a command line has it: text bare, else JSON."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def lasted(seconds: Iterable[float | None]) -> str:
    """Return a time in the unit that suits it: "49 s", "29 min", "2 h 28 min"; "" if unknown."""
    known = [one for one in seconds if one is not None]
    if not known:
        return ""
    total = round(sum(known))
    if total < 60:
        return f"{total} s"
    hours, minutes = divmod(round(total / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line a row, its cells below one another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def escaped(text: str) -> str:
    """Return ``text`` on one line, no part of which Markdown takes for a tag or a column."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table of Markdown."""
    return ["| " + " | ".join(line) + " |" for line in [columns, ["---"] * len(columns), *rows]]
