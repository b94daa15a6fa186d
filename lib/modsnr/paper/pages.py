"""The prose with its results put in, and the document that pandoc reads it as."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

PLACEHOLDER = re.compile(r"\{\{((?:const:|table:)?[\w-]+)\}\}")
EQUATION_LABEL = re.compile(r"\{#(eq:[\w-]+)\}")
CROSS_REFERENCE = re.compile(r"(?:fig|tbl|eq|sec):")
NUMBER_FIRST = re.compile(r"[−-]?[\d.,]+%?(?!\w)|–?$")  # or none
CODE_COLUMNS = ("run", "commit", "command", "parameters", "split", "content")
NOT_PROSE = ("Code", "CodeBlock", "Math", "Cite", "Image", "RawInline", "RawBlock")

Node = dict[str, Any]
"""An element of pandoc's document tree, with its type ``t`` and its content ``c``."""


def pandoc(text: str, source: str, target: str, *options: str) -> str:
    """Return a text in another format of pandoc's."""
    import pypandoc

    return pypandoc.convert_text(text, target, format=source, extra_args=options)


def document_of(prose: str) -> Node:
    """Return the tree of a Markdown text."""
    return json.loads(pandoc(prose, "markdown", "json", "--columns=10000"))


def filled(prose: str, printed: Mapping[str, str], tables: Mapping[str, pd.DataFrame]) -> str:
    """Return the prose with its results put in, numbers as text and tables as tables."""
    texts = {name: _escaped(text) for name, text in printed.items()}
    texts |= {f"table:{name}": _table(rows) for name, rows in tables.items()}
    return PLACEHOLDER.sub(lambda found: texts[found[1]], prose)


def _escaped(text: str) -> str:
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def _table(rows: pd.DataFrame) -> str:
    """Return a table of Markdown, columns of numbers to the right, of code in code's font."""
    columns = []
    for name, cells in rows.items():
        rule = "--:" if all(map(NUMBER_FIRST.match, cells)) else ":--"
        code = name in CODE_COLUMNS
        shown = [f"`{text}`" if code and text else _escaped(text) for text in cells]
        columns.append([_escaped(str(name)), rule, *shown])
    return "\n".join(f"| {' | '.join(row)} |" for row in zip(*columns, strict=True))


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


def words(tree: Any) -> list[str]:
    """Return the words of the prose, without code, formulas, citations and the labels of these."""
    texts = [node["c"] for node in nodes(tree, "Str", outside=NOT_PROSE)]
    return [EQUATION_LABEL.sub("", text) for text in texts]


def images_of(tree: Any) -> list[str]:
    """Return the paths of the images."""
    return [image["c"][2][0] for image in nodes(tree, "Image")]


class Plate(NamedTuple):
    """A figure or table as it stands in the prose."""

    label: str
    classes: list[str]
    body: list[Node]
    caption: list[Node]


def plate_of(node: Node) -> Plate | None:
    """Return the figure or table that a node is; None if it is neither."""
    match node:
        case {"t": "Figure", "c": [[label, _, _], [_, [{"c": caption}]], body]}:
            classes = [name for image in nodes(body, "Image") for name in image["c"][0][1]]
            return Plate(label, classes, body, caption)
        case {"t": "Div", "c": [[label, classes, _], [*body, {"t": "Para", "c": caption}]]}:
            return Plate(label, classes, body, caption)
    return None


def plates_of(document: Node) -> list[Plate]:
    """Return the figures and tables, in the order of the text."""
    return [plate for node in nodes(document, "Figure", "Div") if (plate := plate_of(node))]


def equation_of(node: Node) -> tuple[str, Node] | None:
    """Return label and formula of a paragraph that is a labelled formula on display."""
    match node:
        case {"t": "Para", "c": [{"t": "Math", "c": [{"t": "DisplayMath"}, _]} as formula, *rest]}:
            text = "".join(str(node.get("c", "")) for node in rest)
            if label := EQUATION_LABEL.fullmatch(text):
                return label[1], formula
    return None


def mark_plates(document: Node, borrowed: set[str]) -> None:
    """Put a dagger behind the captions of plates with one of these labels or images."""
    for plate in plates_of(document):
        if not borrowed.isdisjoint([plate.label, *images_of(plate.body)]):
            plate.caption.append({"t": "Str", "c": "†"})


def raw(language: str, text: str) -> Node:
    """Return text of typst or html, which pandoc lets pass."""
    return {"t": "RawInline", "c": [language, text]}


def plain(*inlines: Node) -> Node:
    """Return a block of inline nodes that is no paragraph."""
    return {"t": "Plain", "c": [*inlines]}
