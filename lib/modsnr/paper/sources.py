"""The prose and ``sources.yaml``, and where they disagree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from modsnr import InputError
from modsnr.paper.appendix import TABLES
from modsnr.paper.pages import (
    PLACEHOLDER,
    Node,
    document_of,
    equation_of,
    images_of,
    nodes,
    plates_of,
    words,
)
from modsnr.published import published
from modsnr.runs.profiles import read_yaml

NAMES_WITH_DIGITS = r"\d+A?(?:ASK|PSK|QAM)\b|20\d\d\.\d\d[A-C]\b"  # 16QAM, RadioML 2018.01A
# A number by itself: no part of a name (ResNet50, DVB-S2) and no name of its own.
TYPED_NUMBER = re.compile(rf"(?<![A-Za-z\d.])(?<![A-Za-z]-)(?!{NAMES_WITH_DIGITS})\.?\d[\d.,]*%?")
# The formulas' own numbers have one digit, but for the ten of decibels.
TABLE_ALONE = re.compile(r"^::: *\{#tbl:([\w-]+).*\}\n\{\{table:\1\}\}$", re.MULTILINE)
TYPED_IN_FORMULA = re.compile(r"\d+\.\d+|\d\s*\\?%|(?<!\d)(?!10(?!\d))\d{2,}|\{\{")


class RunSource(BaseModel, extra="forbid"):
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


class NumberSource(BaseModel, extra="forbid"):
    """A value of a run's metrics (or of its run.json), times ``scale``, printed by ``format``.

    An interval ``{value, low, high}``, or what else has named parts, is printed by their names, and
    by ``{}`` as its value if it has one.
    """

    run: str
    key: str
    format: str = "{}"
    scale: float = 1.0
    source: Literal["metrics", "run"] = "metrics"


class TableSource(BaseModel, extra="forbid"):
    """A table of a run; ``columns`` selects and titles, ``formats`` prints a column's numbers.

    ``words`` replaces the text of whole cells, such as ``{snr: SNR}``.
    """

    run: str
    table: str
    columns: dict[str, str] | None = None
    formats: dict[str, str] = {}
    words: dict[str, str] = {}


class FigureSource(BaseModel, extra="forbid"):
    """A figure of a run."""

    run: str
    figure: str


class ConstantSource(BaseModel, extra="forbid"):
    """A fact that no run measures: published elsewhere or fixed by definition.

    ``published`` in place of ``value`` is the path of a figure in modsnr/published.yaml.
    """

    value: float | int | str = ""
    published: str = ""
    format: str = "{}"
    source: str

    @property
    def fact(self) -> float | int | str:
        """The value, wherever it is kept."""
        return published(self.published) if self.published else self.value


class Sources(BaseModel, extra="forbid"):
    """Where everything in the paper comes from: the content of ``sources.yaml``."""

    runs: dict[str, RunSource]
    numbers: dict[str, NumberSource] = {}
    tables: dict[str, TableSource] = {}
    figures: dict[str, FigureSource] = {}
    constants: dict[str, ConstantSource] = {}
    readme: str = ""  # Markdown with {{name}} and {{const:name}}, for the README's results


def read_sources(paper: Path) -> Sources:
    """Return the content of ``sources.yaml``; InputError names an unknown or ill-typed key."""
    return read_yaml(paper / "sources.yaml", Sources, "paper/sources.yaml")


def read(paper: Path) -> tuple[Sources, str]:
    """Return the sources and the prose; InputError lists where they disagree.

    References and citations that lead nowhere are left to typst, which refuses them.
    """
    sources = read_sources(paper)
    prose = (paper / "PAPER.md").read_text(encoding="utf-8")
    document = document_of(prose)
    faults = [*_typed(document, sources.readme), *_faults(prose, document, sources)]
    if faults:
        raise InputError("the paper and its sources disagree:\n- " + "\n- ".join(faults))
    return sources, prose


def _typed(document: Node, readme: str) -> Iterator[str]:
    """Yield the numbers that are typed by hand, and what one of the two pages could not show."""
    for text in [*words(document), readme]:
        if typed := TYPED_NUMBER.search(PLACEHOLDER.sub("", text)):
            yield f"{typed[0]!r} in {text!r} is typed by hand: print it from sources.yaml"
    formulas = [node["c"] for node in nodes(document, "Math")]
    for _, text in formulas:
        if typed := TYPED_IN_FORMULA.search(text):
            yield f"{typed[0]!r} stands in the formula {text!r}: print it in the prose"
    on_display = sum(kind["t"] == "DisplayMath" for kind, _ in formulas)
    if on_display > sum(1 for node in nodes(document, "Para") if equation_of(node)):
        yield "a formula on display has no {#eq:name}"
    if raw := next(nodes(document, "RawInline", "RawBlock"), None):
        yield f"{raw['c'][1]!r} is {raw['c'][0]}: one of the two pages would lack it"


def _faults(prose: str, document: Node, sources: Sources) -> Iterator[str]:
    """Yield what the prose lacks or uses beyond the sources."""
    made = {f"table:{name}" for name in TABLES}
    tables = {f"table:{name}" for name in sources.tables}
    known = {*sources.numbers, *tables, *(f"const:{name}" for name in sources.constants)}
    used = {*PLACEHOLDER.findall(prose), *PLACEHOLDER.findall(sources.readme)}
    yield from _without(used - made, known, "{{{{{}}}}} is not in sources.yaml")
    yield from _without(known, used, "{} of sources.yaml is not used")
    alone = {f"table:{name}" for name in TABLE_ALONE.findall(prose)}
    yield from _without(
        used & (tables | made), alone, "{{{{{}}}}} must stand alone in its ::: {{#tbl:}}"
    )

    plates = plates_of(document)
    shown = {path for plate in plates for path in images_of(plate.body)}
    figures = {f"figures/{name}.pdf" for name in sources.figures}
    yield from _without(shown, figures, "{} is no figure of sources.yaml")
    yield from _without(figures, shown, "{} of sources.yaml is not shown")
    yield from _without({*images_of(document)}, shown, "{} must stand alone, as a figure")

    results = [*sources.numbers.values(), *sources.tables.values(), *sources.figures.values()]
    aliases = {result.run for result in results}
    yield from _without(aliases, {*sources.runs}, "run {} is not in sources.yaml")
    yield from _without({*sources.runs}, aliases, "run {} of sources.yaml is not used")


def _without(these: set[str], those: set[str], fault: str) -> list[str]:
    """Return a message for each of these that is not among those."""
    return [fault.format(name) for name in sorted(these - those)]
