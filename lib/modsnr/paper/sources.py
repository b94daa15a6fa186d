"""The prose and ``sources.yaml``, and where they disagree."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from modsnr import InputError
from modsnr.paper.appendix import TABLES
from modsnr.paper.pages import (
    CROSS_REFERENCE,
    EQUATION_LABEL,
    PLACEHOLDER,
    Node,
    Plate,
    equation_of,
    images_of,
    nodes,
    pandoc,
    plate_of,
    table_name,
    words,
)  # fmt: skip
from modsnr.published import published

NAMES_WITH_DIGITS = r"\d+A?(?:ASK|PSK|QAM)\b|20\d\d\.\d\d[A-C]\b"  # 16QAM, RadioML 2018.01A
# A number by itself: no part of a name (ResNet50, DVB-S2) and no name of its own.
TYPED_NUMBER = re.compile(rf"(?<![A-Za-z\d.])(?<![A-Za-z]-)(?!{NAMES_WITH_DIGITS})\.?\d[\d.,]*%?")
# The formulas' own numbers have one digit, but for the ten of decibels.
TYPED_IN_FORMULA = re.compile(r"\d+\.\d+|\d\s*\\?%|(?<!\d)(?!10(?!\d))\d{2,}")
MADE_TABLES = {f"table:{name}" for name in TABLES}


class _Source(pydantic.BaseModel, extra="forbid"):
    pass


class RunSource(_Source):
    """A run the paper rests on; ``run`` is the id of the canonical one, once there is one.

    Of a run that is kept in a sweep's table, ``run`` is ``sweeps/NAME`` and ``row`` the run's id.
    Of a run that is ``aside``, a draft takes the canonical one where its profile makes none, and of
    one of a ``profile``, unless it is the draft's own.
    """

    notebook: str
    name: str
    run: str | None
    row: str | None = None
    aside: bool = False
    profile: str | None = None

    @property
    def id(self) -> str | None:
        """The id of the canonical run, wherever it is kept."""
        return self.row or self.run


class NumberSource(_Source):
    """A value of a run's metrics (or of its run.json), times ``scale``, printed by ``format``.

    An interval ``{value, low, high}``, or what else has named parts, is printed by their names, and
    by ``{}`` as its value if it has one.
    """

    run: str
    key: str
    format: str = "{}"
    scale: float = 1.0
    source: Literal["metrics", "run"] = "metrics"


class TableSource(_Source):
    """A table of a run; ``columns`` selects and titles, ``formats`` prints a column's numbers.

    ``words`` replaces the text of whole cells, such as ``{snr: SNR}``.
    """

    run: str
    table: str
    columns: dict[str, str] | None = None
    formats: dict[str, str] = {}
    words: dict[str, str] = {}


class FigureSource(_Source):
    """A figure of a run."""

    run: str
    figure: str


class ConstantSource(_Source):
    """A fact that no run measures: published elsewhere or fixed by definition.

    ``published`` in place of ``value`` is the path of a figure in modsnr/published.yaml.
    """

    value: float | int | str
    format: str = "{}"
    source: str

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read_published(cls, given: dict[str, Any]) -> dict[str, Any]:
        if "published" not in given:
            return given
        if "value" in given:
            raise ValueError("give a value or the path of a published figure, not both")
        others = {key: value for key, value in given.items() if key != "published"}
        return {**others, "value": published(given["published"])}


class Sources(_Source):
    """Where everything in the paper comes from: the content of ``sources.yaml``."""

    runs: dict[str, RunSource]
    numbers: dict[str, NumberSource] = {}
    tables: dict[str, TableSource] = {}
    figures: dict[str, FigureSource] = {}
    constants: dict[str, ConstantSource] = {}
    readme: str = ""  # Markdown with {{name}} and {{const:name}}, for the README's results


def read_sources(paper: Path) -> Sources:
    path = paper / "sources.yaml"
    try:
        return Sources.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except pydantic.ValidationError as error:
        raise InputError(f"{path}: {error}") from error


def read(paper: Path) -> tuple[Sources, Node]:
    sources = read_sources(paper)
    prose = (paper / "PAPER.md").read_text(encoding="utf-8")
    document = json.loads(pandoc(prose, "markdown", "json", "--columns=10000"))
    bibliography = (paper / "references.bib").read_text(encoding="utf-8")
    entries = set(re.findall(r"@\w+\s*\{\s*([^,\s]+)\s*,", bibliography))
    plates = [plate for node in nodes(document, "Figure", "Div") if (plate := plate_of(node))]
    faults = [
        *_faults_of_numbers(document, plates, sources),
        *_faults_of_references(document, plates, entries),
    ]
    if faults:
        raise InputError("the paper and its sources disagree:\n- " + "\n- ".join(faults))
    return sources, document


def _faults_of_numbers(document: Node, plates: list[Plate], sources: Sources) -> Iterator[str]:
    used = {*MADE_TABLES}
    for text in words(document):
        used.update(PLACEHOLDER.findall(text))
        if typed := TYPED_NUMBER.search(EQUATION_LABEL.sub("", PLACEHOLDER.sub("", text))):
            yield f"{typed[0]!r} in {text!r} is typed by hand: print it from sources.yaml"
    used.update(PLACEHOLDER.findall(sources.readme))
    if typed := TYPED_NUMBER.search(PLACEHOLDER.sub("", sources.readme)):
        yield f"{typed[0]!r} in readme of sources.yaml is typed by hand: print it as {{{{name}}}}"
    for formula in nodes(document, "Math"):
        text = formula["c"][1]
        if typed := TYPED_IN_FORMULA.search(text) or PLACEHOLDER.search(text):
            yield f"{typed[0]!r} stands in the formula {text!r}: print it in the prose"
    known = {*sources.numbers, *MADE_TABLES}
    known |= {f"const:{name}" for name in sources.constants}
    known |= {f"table:{name}" for name in sources.tables}
    yield from _without(used, known, "{{{{{}}}}} is not in sources.yaml")
    yield from _without(known, used, "{} of sources.yaml is not used")
    tables = {name for name in used if name.startswith("table:")} - MADE_TABLES
    placed = {f"table:{table_name(plate)}" for plate in plates}
    yield from _without(tables, placed, "{{{{{}}}}} must stand alone in a block ::: {{#tbl:...}}")

    shown = {path for plate in plates for path in images_of(plate.body)}
    figures = {f"figures/{name}.pdf" for name in sources.figures}
    yield from _without(shown, figures, "{} is no figure of sources.yaml")
    yield from _without(figures, shown, "{} of sources.yaml is not shown")
    yield from _without({*images_of(document)}, shown, "{} must stand alone, as a figure")

    results = [*sources.numbers.values(), *sources.tables.values(), *sources.figures.values()]
    aliases = {result.run for result in results}
    yield from _without(aliases, {*sources.runs}, "run {} is not in sources.yaml")
    yield from _without({*sources.runs}, aliases, "run {} of sources.yaml is not used")


def _faults_of_references(document: Node, plates: list[Plate], entries: set[str]) -> Iterator[str]:
    labels = [
        plate.label or f"a figure without label, {images_of(plate.body)}," for plate in plates
    ]
    equations = [of[0] for node in nodes(document, "Para") if (of := equation_of(node))]
    sections = [node["c"][1] for node in nodes(document, "Header")]
    numbered = [label for label, classes, _ in sections if "unnumbered" not in classes]
    written = {label for text in words(document) for label in EQUATION_LABEL.findall(text)}
    yield from _without(written, {*equations}, "{{#{}}} must follow a formula of its own paragraph")
    formulas = [f["c"][1] for f in nodes(document, "Math") if f["c"][0]["t"] == "DisplayMath"]
    if len(formulas) > len(equations):
        yield f"{len(formulas) - len(equations)} of the formulas on display have no {{#eq:name}}"
    every = Counter([*labels, *equations, *numbered])
    yield from (f"{label} labels {count} things" for label, count in every.items() if count > 1)

    cited, references = _keys(document)
    _, of_text = _keys(document, outside=("Figure", "Div"))
    yield from _without(references, {*every}, "@{} refers to nothing that has a number")
    yield from _without({*labels}, of_text, "{} is not referred to in the text")
    bare = sum(1 for _ in nodes(document, "Table")) - sum(
        1 for plate in plates for _ in nodes(plate.body, "Table")
    )
    if bare:
        yield f"{bare} of the tables are in no block ::: {{#tbl:...}}, so without label and caption"
    yield from _without(cited, entries, "[@{}] is not in references.bib")
    yield from _without(entries, cited, "{} of references.bib is not cited")
    if not any(div["c"][0][0] == "refs" for div in nodes(document, "Div")):
        yield "the references have no place: write ::: {#refs} and ::: where they belong"
    if raw := next(nodes(document, "RawInline", "RawBlock"), None):
        yield f"{raw['c'][1]!r} is {raw['c'][0]}: one of the two pages would lack it"


def _keys(document: Node, outside: tuple[str, ...] = ()) -> tuple[set[str], set[str]]:
    """Return the entries that are cited, and the labels that are referred to."""
    cites = nodes(document, "Cite", outside=outside)
    keys = {entry["citationId"] for cite in cites for entry in cite["c"][0]}
    references = {key for key in keys if CROSS_REFERENCE.match(key)}
    return keys - references, references


def _without(these: set[str], those: set[str], fault: str) -> list[str]:
    """Return a message for each of these that is not among those."""
    return [fault.format(name) for name in sorted(these - those)]
