"""The filled document as typst sets it, in two columns."""

from __future__ import annotations

from modsnr.paper.pages import (
    CROSS_REFERENCE,
    EQUATION_LABEL,
    Node,
    Plate,
    images_of,
    plate_of,
    rewritten,
)

REFERENCES = '#bibliography("/references.bib", title: none, style: "ieee")'


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
                return [{"t": "Plain", "c": [_raw("#show: appendix")]}, node]
            case {"t": "Header", "c": [_, ["references", _, _], _]}:
                return [{"t": "Plain", "c": [_raw("#place.flush()")]}, node]
            case {"t": "Div", "c": [["refs", _, _], _]}:
                return [{"t": "Plain", "c": [_raw(REFERENCES)]}]
        if (plate := plate_of(node)) is None:
            return [node]
        kind = "image" if plate.label.startswith("fig:") else "table"
        head = [
            _raw(f"#figure(kind: {kind}, {_place_of(plate)}, caption: ["),
            *plate.caption,
            _raw("])["),
        ]
        body = [_bare(block) for block in plate.body]
        if kind == "image":
            images = [f'image("{place}/{path}")' for path in images_of(body)]
            grid = f"#grid(columns: (1fr,) * {len(images)}, gutter: 1em, {', '.join(images)})"
            body = [{"t": "Plain", "c": [_raw(grid)]}]
        tail = [_raw(f"] <{plate.label}>")]
        return [{"t": "Plain", "c": head}, *body, {"t": "Plain", "c": tail}]

    return rewritten(document, change)


def _place_of(plate: Plate) -> str:
    # At the foot of a page typst would set wide floats over those of a column, and where wide ones
    # fill a page it would squeeze those of a column to nothing: a column's stand where they are.
    floats = "wide" in plate.classes and "here" not in plate.classes
    return 'placement: top, scope: "parent"' if floats else "placement: none"


def _bare(block: Node) -> Node:
    """Return a table as one that stands in a figure already, and any other block as it is."""
    match block:
        case {"t": "Table", "c": [_, *rest]}:
            return {"t": "Table", "c": [["", ["typst:no-figure"], []], *rest]}
    return block


def _raw(text: str) -> Node:
    return {"t": "RawInline", "c": ["typst", text]}
