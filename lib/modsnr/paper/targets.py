"""The filled document as typst sets it, in two columns, and as a web page, with numbers."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import PurePosixPath

from modsnr.paper.pages import (
    CROSS_REFERENCE,
    EQUATION_LABEL,
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

REFERENCES = '#bibliography("/references.bib", title: none, style: "ieee")'
NAMES = {"fig": "Fig.", "tbl": "Table", "eq": "Eq.", "sec": "Section"}

_typst, _html = partial(raw, "typst"), partial(raw, "html")


def for_typst(document: Node, place: str) -> Node:
    """Return the document with what typst has of its own: labels, references, floating plates.

    ``place`` is the folder of the images under typst's root.
    """

    def change(node: Node) -> list[Node]:
        match node:
            case {"t": "Str", "c": text} if label := EQUATION_LABEL.fullmatch(text):
                return [_typst(f"<{label[1]}>")]
            case {"t": "Cite", "c": [[{"citationId": key}], _]} if CROSS_REFERENCE.match(key):
                return [_typst(f"#ref(<{key}>);")]
            case {"t": "Header", "c": [_, [_, classes, _], _]} if "appendix" in classes:
                return [plain(_typst("#show: appendix")), node]
            case {"t": "Header", "c": [_, ["references", _, _], _]}:
                return [plain(_typst("#place.flush()")), node]
            case {"t": "Div", "c": [["refs", _, _], _]}:
                return [plain(_typst(REFERENCES))]
        plate = plate_of(node)
        return _typst_figure(plate, place) if plate else [node]

    return rewritten(document, change)


def _typst_figure(plate: Plate, place: str) -> list[Node]:
    # At the foot of a page typst would set wide floats over those of a column, and where wide ones
    # fill a page it would squeeze those of a column to nothing: a column's stand where they are.
    floats = "wide" in plate.classes and "here" not in plate.classes
    placement = 'placement: top, scope: "parent"' if floats else "placement: none"
    if plate.label.startswith("fig:"):
        kind, images = "image", [f'image("{place}/{path}")' for path in images_of(plate.body)]
        grid = f"#grid(columns: (1fr,) * {len(images)}, gutter: 1em, {', '.join(images)})"
        body = [plain(_typst(grid))]
    else:
        kind, body = "table", [_bare(block) for block in plate.body]
    head = _typst(f"#figure(kind: {kind}, {placement}, caption: [")
    tail = plain(_typst(f"] <{plate.label}>"))
    return [plain(head, *plate.caption, _typst("])[")), *body, tail]


def _bare(block: Node) -> Node:
    """Return a table as one that stands in a figure already, and any other block as it is."""
    match block:
        case {"t": "Table", "c": [_, *rest]}:
            return {"t": "Table", "c": [["", ["typst:no-figure"], []], *rest]}
    return block


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
            head = _html(f'<div class="equation" id="{label}">')
            tail = _html(f'<span class="number">({numbers[label]})</span></div>')
            return [plain(head, formula, tail)]
        if plate := plate_of(node):
            return _html_figure(plate, name(plate.label))
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


def _html_figure(plate: Plate, name: str) -> list[Node]:
    classes = ' class="wide"' if "wide" in plate.classes else ""
    head, tail = plain(_html(f'<figure id="{plate.label}"{classes}>')), plain(_html("</figure>"))
    caption = plain(_html(f"<figcaption><b>{name}.</b> "), *plate.caption, _html("</figcaption>"))
    images = [
        {"t": "Image", "c": [["", [], []], plate.caption, [str(path.with_suffix(".png")), ""]]}
        for path in map(PurePosixPath, images_of(plate.body))
    ]
    if images:
        return [head, plain(_html('<div class="images">'), *images, _html("</div>")), caption, tail]
    # A table is as wide as it is, in a frame that scrolls, by keyboard too.
    scroll = _html(f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">')
    return [head, caption, plain(scroll), *plate.body, plain(_html("</div>")), tail]
