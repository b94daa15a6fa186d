"""The filled document as a web page, with figures, tables, formulas and sections numbered."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import PurePosixPath

from modsnr.paper.pages import (
    CROSS_REFERENCE,
    Node,
    Plate,
    equation_of,
    images_of,
    nodes,
    plain,
    plate_of,
    raw,
    rewritten,
)

NAMES = {"fig": "Fig.", "tbl": "Table", "eq": "Eq.", "sec": "Section"}

_raw = partial(raw, "html")


def for_web(document: Node) -> Node:
    """Return the document with figures, tables and formulas numbered, and links to them.

    The images are the PNG twins of those that the prose names.
    """
    numbers = numbered(document)

    def name(label: str) -> str:
        return f"{NAMES[label.partition(':')[0]]}\N{NO-BREAK SPACE}{numbers[label]}"

    def change(node: Node) -> list[Node]:
        match node:
            case {"t": "Cite", "c": [[{"citationId": key}], _]} if CROSS_REFERENCE.match(key):
                text = [{"t": "Str", "c": name(key)}]
                return [{"t": "Link", "c": [["", [], []], text, [f"#{key}", ""]]}]
        if equation := equation_of(node):
            label, formula = equation
            head = _raw(f'<div class="equation" id="{label}">')
            tail = _raw(f'<span class="number">({numbers[label]})</span></div>')
            return [plain(head, formula, tail)]
        if plate := plate_of(node):
            return _figure(plate, name(plate.label))
        return [node]

    return rewritten(document, change)


def numbered(document: Node) -> dict[str, str]:
    """Return the number of each label, as typst counts: by kind, in the order of the text."""
    numbers: dict[str, str] = {}
    seen: Counter[str] = Counter()
    depths: list[int] = []
    for node in nodes(document, "Para", "Figure", "Div", "Header"):
        if node["t"] == "Header":
            level, (label, classes, _), _ = node["c"]
            if "unnumbered" not in classes:
                depths = [*depths, *[0] * level][:level]
                depths[-1] += 1
                numbers[label] = ".".join(map(str, depths))
        elif found := equation_of(node) or plate_of(node):
            kind = found[0].partition(":")[0]
            seen[kind] += 1
            numbers[found[0]] = str(seen[kind])
    return numbers


def _figure(plate: Plate, name: str) -> list[Node]:
    classes = ' class="wide"' if "wide" in plate.classes else ""
    head, tail = plain(_raw(f'<figure id="{plate.label}"{classes}>')), plain(_raw("</figure>"))
    caption = plain(_raw(f"<figcaption><b>{name}.</b> "), *plate.caption, _raw("</figcaption>"))
    images = [
        {"t": "Image", "c": [["", [], []], plate.caption, [str(path.with_suffix(".png")), ""]]}
        for path in map(PurePosixPath, images_of(plate.body))
    ]
    if images:
        return [head, plain(_raw('<div class="images">'), *images, _raw("</div>")), caption, tail]
    # A table is as wide as it is, in a frame that scrolls, by keyboard too.
    scroll = _raw(f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">')
    return [head, caption, plain(scroll), *plate.body, plain(_raw("</div>")), tail]
