"""The document as pandoc reads it, with its results put in."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
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


def table_name(plate: Plate) -> str | None:
    """Return the name of the table that the plate takes from the sources; None: it has its own."""
    found = PLACEHOLDER.fullmatch(_text_alone(plate.body[0])) if plate.body else None
    return found[1].removeprefix("table:") if found else None


def _text_alone(node: Node) -> str:
    match node:
        case {"t": "Para", "c": [{"t": "Str", "c": text}]}:
            return text
    return ""


def mark_plates(document: Node, borrowed: set[str]) -> None:
    """Put a dagger behind the captions of plates with an image or a table of these names."""
    for plate in plates_of(document):
        if not borrowed.isdisjoint([*images_of(plate.body), table_name(plate)]):
            plate.caption.append(_str("†"))


def filled(document: Node, printed: dict[str, str], tables: dict[str, pd.DataFrame]) -> Node:
    """Return the document with its results put in, numbers as text and tables as tables."""

    def change(node: Node) -> list[Node]:
        alone = PLACEHOLDER.fullmatch(_text_alone(node))
        if alone and alone[1].startswith("table:"):
            return [_table(tables[alone[1].removeprefix("table:")])]
        if node.get("t") == "Str":
            return [_str(PLACEHOLDER.sub(lambda found: printed[found[1]], node["c"]))]
        return [node]

    return rewritten(document, change)


def raw(language: str, text: str) -> Node:
    """Return text of typst or html, which pandoc lets pass."""
    return {"t": "RawInline", "c": [language, text]}


def plain(*inlines: Node) -> Node:
    """Return a block of inline nodes that is no paragraph."""
    return {"t": "Plain", "c": [*inlines]}


def _str(text: str) -> Node:
    return {"t": "Str", "c": text}


def _table(frame: pd.DataFrame) -> Node:
    """Return a frame as pandoc's table, columns of numbers to the right, of code in code's font."""
    bare: list[Any] = ["", [], []]  # no label, no class, no attribute
    names = list(map(str, frame))

    def row(cells: Iterable[str], code: Collection[str] = ()) -> list[Any]:
        held = [
            {"t": "Code", "c": [bare, text]} if text and name in code else _str(text)
            for name, text in zip(names, cells, strict=True)
        ]
        return [bare, [[bare, {"t": "AlignDefault"}, 1, 1, [plain(inline)]] for inline in held]]

    numbers = [all(map(NUMBER_FIRST.match, column)) for _, column in frame.items()]
    specs = [
        [{"t": "AlignRight" if right else "AlignLeft"}, {"t": "ColWidthDefault"}]
        for right in numbers
    ]
    body = [row(cells, CODE_COLUMNS) for cells in frame.itertuples(index=False)]
    head, foot, caption = [bare, [row(names)]], [bare, []], [None, []]
    return {"t": "Table", "c": [bare, caption, specs, head, [[bare, 0, [], body]], foot]}
