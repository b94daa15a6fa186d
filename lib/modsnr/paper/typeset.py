"""The filled document as typst sets it, in two columns."""

from __future__ import annotations

from functools import partial

from modsnr.paper.pages import (
    CROSS_REFERENCE,
    EQUATION_LABEL,
    Node,
    Plate,
    images_of,
    plain,
    plate_of,
    raw,
    rewritten,
)

REFERENCES = '#bibliography("/references.bib", title: none, style: "ieee")'

_raw = partial(raw, "typst")


def for_typst(document: Node, place: str) -> Node:
    """Return the document with what typst has of its own: labels, references, floating plates.

    ``place`` is the folder of the images under typst's root.
    """

    def change(node: Node) -> list[Node]:
        match node:
            case {"t": "Str", "c": text} if label := EQUATION_LABEL.fullmatch(text):
                return [_raw(f"<{label[1]}>")]
            case {"t": "Cite", "c": [[{"citationId": key}], _]} if CROSS_REFERENCE.match(key):
                return [_raw(f"#ref(<{key}>);")]
            case {"t": "Header", "c": [_, [_, classes, _], _]} if "appendix" in classes:
                return [plain(_raw("#show: appendix")), node]
            case {"t": "Header", "c": [_, ["references", _, _], _]}:
                return [plain(_raw("#place.flush()")), node]
            case {"t": "Div", "c": [["refs", _, _], _]}:
                return [plain(_raw(REFERENCES))]
        plate = plate_of(node)
        return _figure(plate, place) if plate else [node]

    return rewritten(document, change)


def _figure(plate: Plate, place: str) -> list[Node]:
    # At the foot of a page typst would set wide floats over those of a column, and where wide ones
    # fill a page it would squeeze those of a column to nothing: a column's stand where they are.
    floats = "wide" in plate.classes and "here" not in plate.classes
    placement = 'placement: top, scope: "parent"' if floats else "placement: none"
    if plate.label.startswith("fig:"):
        kind, images = "image", [f'image("{place}/{path}")' for path in images_of(plate.body)]
        grid = f"#grid(columns: (1fr,) * {len(images)}, gutter: 1em, {', '.join(images)})"
        body = [plain(_raw(grid))]
    else:
        kind, body = "table", [_bare(block) for block in plate.body]
    head = _raw(f"#figure(kind: {kind}, {placement}, caption: [")
    tail = plain(_raw(f"] <{plate.label}>"))
    return [plain(head, *plate.caption, _raw("])[")), *body, tail]


def _bare(block: Node) -> Node:
    """Return a table as one that stands in a figure already, and any other block as it is."""
    match block:
        case {"t": "Table", "c": [_, *rest]}:
            return {"t": "Table", "c": [["", ["typst:no-figure"], []], *rest]}
    return block
