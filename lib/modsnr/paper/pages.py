"""The document as pandoc reads it, with its results put in."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any, NamedTuple

import pandas as pd

PLACEHOLDER = re.compile(r"\{\{((?:const:|table:)?[\w-]+)\}\}")
EQUATION_LABEL = re.compile(r"\{#(eq:[\w-]+)\}")
CROSS_REFERENCE = re.compile(r"(?:fig|tbl|eq|sec):")
NUMBER_FIRST = re.compile(r"[−-]?[\d.,]+%?(?!\w)|–?$")  # or none
CODE_COLUMNS = frozenset({"run", "commit", "command", "parameters", "split", "content"})
NOT_PROSE = ("Code", "CodeBlock", "Math", "Cite", "Image", "RawInline", "RawBlock")

Node = dict[str, Any]
"""An element of pandoc's document tree, with its type ``t`` and its content ``c``."""


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
    classes: list[str]
    body: list[Node]
    caption: list[Node]


def plate_of(node: Node) -> Plate | None:
    match node:
        case {"t": "Figure", "c": [[label, _, _], [_, [{"c": caption}]], body]}:
            classes = [name for image in nodes(body, "Image") for name in image["c"][0][1]]
            return Plate(label, classes, body, caption)
        case {"t": "Div", "c": [[label, classes, _], [*body, {"t": "Para", "c": caption}]]}:
            return Plate(label, classes, body, caption)
    return None


def equation_of(node: Node) -> tuple[str, Node] | None:
    """Return label and formula of a paragraph that is a labelled formula on display."""
    match node:
        case {
            "t": "Para",
            "c": [
                {"t": "Math", "c": [{"t": "DisplayMath"}, _]} as formula,
                *space,
                {"c": str(text)},
            ],
        } if (label := EQUATION_LABEL.fullmatch(text)) and len(space) < 2:
            return label[1], formula
    return None


def table_name(plate: Plate) -> str | None:
    """Return the name of the table that the plate takes from the sources; None: it has its own."""
    match plate.body:
        case [{"t": "Para", "c": [{"t": "Str", "c": text}]}] if found := PLACEHOLDER.fullmatch(
            text
        ):
            return found[1].removeprefix("table:")
    return None


def mark_plates(document: Node, borrowed: set[str]) -> None:
    """Put a dagger behind the captions of plates with an image or a table of these names."""
    for node in nodes(document, "Figure", "Div"):
        plate = plate_of(node)
        if plate and not borrowed.isdisjoint([*images_of(plate.body), table_name(plate)]):
            plate.caption.append(_str("†"))


def filled(document: Node, printed: dict[str, str], tables: dict[str, pd.DataFrame]) -> Node:
    """Return the document with its results put in, numbers as text and tables as tables."""

    def change(node: Node) -> list[Node]:
        match node:
            case {"t": "Para", "c": [{"t": "Str", "c": text}]} if (
                found := PLACEHOLDER.fullmatch(text)
            ) and found[1].startswith("table:"):
                return [_table(tables[found[1].removeprefix("table:")])]
            case {"t": "Str", "c": text}:
                return [_str(PLACEHOLDER.sub(lambda found: printed[found[1]], text))]
        return [node]

    return rewritten(document, change)


def rewritten(tree: Any, change: Callable[[Node], list[Node]]) -> Any:
    """Return the tree with each node replaced by what ``change`` makes of it, outer nodes first.

    It is not called for the nodes that it returns, but for what these hold.
    """
    if isinstance(tree, list):
        grown: list[Any] = []
        for branch in tree:
            grown += change(branch) if isinstance(branch, dict) else [branch]
        return [rewritten(branch, change) for branch in grown]
    if isinstance(tree, dict):
        return {key: rewritten(branch, change) for key, branch in tree.items()}
    return tree


def _str(text: str) -> Node:
    return {"t": "Str", "c": text}


def _table(frame: pd.DataFrame) -> Node:
    """Return a frame as pandoc's table, columns of numbers to the right, of code in code's font."""
    plain: list[Any] = ["", [], []]  # no label, no class, no attribute
    names = list(map(str, frame))

    def row(cells: Iterable[str], code: Container[str] = ()) -> list[Any]:
        held = [
            {"t": "Code", "c": [plain, text]} if text and name in code else _str(text)
            for name, text in zip(names, cells, strict=True)
        ]
        blocks = [[{"t": "Plain", "c": [inline]}] for inline in held]
        return [plain, [[plain, {"t": "AlignDefault"}, 1, 1, block] for block in blocks]]

    numbers = [all(map(NUMBER_FIRST.match, column)) for _, column in frame.items()]
    specs = [
        [{"t": "AlignRight" if right else "AlignLeft"}, {"t": "ColWidthDefault"}]
        for right in numbers
    ]
    body = [row(cells, CODE_COLUMNS) for cells in frame.itertuples(index=False)]
    head, foot, caption = [plain, [row(names)]], [plain, []], [None, []]
    return {"t": "Table", "c": [plain, caption, specs, head, [[plain, 0, [], body]], foot]}
