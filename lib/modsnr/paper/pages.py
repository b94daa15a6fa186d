"""The document as pandoc reads it, and as typst sets it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

PLACEHOLDER = re.compile(r"\{\{((?:const:|table:)?[\w-]+)\}\}")
EQUATION_LABEL = re.compile(r"\{#(eq:[\w-]+)\}")
CROSS_REFERENCE = re.compile(r"(?:fig|tbl|eq|sec):")
NUMBER_FIRST = re.compile(r"[−-]?[\d.,]+%?(?!\w)")
NOT_PROSE = ("Code", "CodeBlock", "Math", "Link", "Cite", "Image", "RawInline", "RawBlock")

Node = dict[str, Any]
"""An element of pandoc's document tree, with its type ``t`` and its content ``c``."""
Rows = list[list[str]]
"""A table as it is printed, its head first."""


def pandoc(text: str, source: str, target: str, *options: str) -> str:
    import pypandoc

    return pypandoc.convert_text(text, target, format=source, extra_args=options)


def nodes(tree: Any, *kinds: str, outside: tuple[str, ...] = ()) -> Iterator[Node]:
    """Yield the nodes of these kinds in the order of the text, none from ``outside`` kinds."""
    if isinstance(tree, dict):
        if tree.get("t") in outside:
            return
        if tree.get("t") in kinds:
            yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            yield from nodes(branch, *kinds, outside=outside)


def words(tree: Any) -> list[str]:
    return [node["c"] for node in nodes(tree, "Str", outside=NOT_PROSE)]


def images_of(tree: Any) -> list[str]:
    return [image["c"][2][0] for image in nodes(tree, "Image")]


class Plate(NamedTuple):
    """A figure or table as it stands in the prose."""

    label: str
    wide: bool
    body: list[Node]
    caption: list[Node]


def plate_of(node: Node) -> Plate | None:
    match node:
        case {"t": "Figure", "c": [[label, _, _], [_, [{"c": caption}]], body]}:
            wide = any("wide" in image["c"][0][1] for image in nodes(body, "Image"))
            return Plate(label, wide, body, caption)
        case {"t": "Div", "c": [[label, classes, _], [*body, {"t": "Para", "c": caption}]]}:
            return Plate(label, "wide" in classes, body, caption)
    return None


def table_name(plate: Plate) -> str | None:
    """Return which table of the sources the plate asks for; None if it brings its own."""
    match plate.body:
        case [{"t": "Para", "c": [{"t": "Str", "c": text}]}] if found := PLACEHOLDER.fullmatch(
            text
        ):
            return found[1].removeprefix("table:")
    return None


def filled(document: Node, printed: dict[str, str], tables: dict[str, Rows], place: str) -> Node:
    """Return the document with its results put in, in the form that typst understands."""

    def change(node: Node) -> list[Node]:
        match node:
            case {"t": "Str", "c": text} if label := EQUATION_LABEL.fullmatch(text):
                return [_raw(f"<{label[1]}>")]
            case {"t": "Str", "c": text}:
                filled = PLACEHOLDER.sub(lambda found: printed[found[1]], text)
                return [{"t": "Str", "c": filled}]
            case {"t": "Cite", "c": [[{"citationId": key}], _]} if CROSS_REFERENCE.match(key):
                return [_raw(f"#ref(<{key}>);")]
        if (plate := plate_of(node)) is None:
            return [node]
        kind = "image" if plate.label.startswith("fig:") else "table"
        # At the foot of a page typst would set wide floats over those of a column.
        float_ = 'placement: top, scope: "parent"' if plate.wide else "placement: auto"
        head = [_raw(f"#figure(kind: {kind}, {float_}, caption: ["), *plate.caption, _raw("])[")]
        body = plate.body
        if kind == "image":
            images = [f'image("{place}/{path}")' for path in images_of(body)]
            grid = f"#grid(columns: (1fr,) * {len(images)}, gutter: 1em, {', '.join(images)})"
            body = [{"t": "Plain", "c": [_raw(grid)]}]
        elif name := table_name(plate):
            body = [{"t": "Plain", "c": [_raw(_typst_table(tables[name]))]}]
        for table in nodes(body, "Table"):
            table["c"][0][1] = ["typst:no-figure"]  # it stands in a figure already
        tail = [_raw(f"] <{plate.label}>")]
        return [{"t": "Plain", "c": head}, *body, {"t": "Plain", "c": tail}]

    return _rewritten(document, change)


def _rewritten(tree: Any, change: Callable[[Node], list[Node]]) -> Any:
    if isinstance(tree, list):
        grown: list[Any] = []
        for branch in tree:
            grown += change(branch) if isinstance(branch, dict) else [branch]
        return [_rewritten(branch, change) for branch in grown]
    if isinstance(tree, dict):
        return {key: _rewritten(branch, change) for key, branch in tree.items()}
    return tree


def _raw(text: str) -> Node:
    return {"t": "RawInline", "c": ["typst", text]}


def _typst_table(rows: Rows) -> str:
    head, *body = (", ".join(json.dumps(text, ensure_ascii=False) for text in row) for row in rows)
    columns = zip(*rows[1:], strict=True)
    sides = ["right" if all(map(NUMBER_FIRST.match, column)) else "left" for column in columns]
    layout = f"columns: {len(rows[0])}, align: ({', '.join(sides)},)"
    return f"#table({layout}, table.header({head}), table.hline(), {', '.join(body)})"
