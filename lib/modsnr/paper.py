"""The paper, made from runs: its numbers, tables, figures and PDF.

``paper/PAPER.md`` holds the prose and no result; ``paper/sources.yaml`` says for each result in
it which run holds it, under which key, and how it is printed. In the prose stand

- ``{{name}}`` for a number, ``{{const:name}}`` for a published or fixed fact;
- ``::: {#tbl:name}`` blocks: ``{{table:name}}`` or a written table, then the caption
  (``{{table:runs}}``, the runs behind the paper, is always there);
- ``![Caption.](figures/name.pdf){#fig:name}``, or a ``::: {#fig:name}`` block of several images
  and a caption; the class ``.wide`` lets figures and tables span both columns;
- ``$$ ... $$ {#eq:name}``; ``@fig:name``, ``@tbl:name``, ``@eq:name``, ``@sec:name``; ``[@key]``.

pandoc reads the prose, typst sets it. Nothing in the result depends on the clock or on the
machine's fonts, so the same runs give the same bytes.
"""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pydantic
import yaml

from modsnr import InputError, runs

PLACEHOLDER = re.compile(r"\{\{((?:const:|table:)?[\w-]+)\}\}")
EQUATION_LABEL = re.compile(r"\{#(eq:[\w-]+)\}")
CROSS_REFERENCE = re.compile(r"(?:fig|tbl|eq|sec):")
NAMES_WITH_DIGITS = r"\d+A?(?:ASK|PSK|QAM)\b|20\d\d\.\d\d[A-C]\b"  # 16QAM, RadioML 2018.01A
# A number by itself: no part of a name (ResNet50, DVB-S2) and no name of its own.
TYPED_NUMBER = re.compile(rf"(?<![A-Za-z\d.])(?<![A-Za-z]-)(?!{NAMES_WITH_DIGITS})\.?\d[\d.,]*%?")
TYPED_IN_FORMULA = re.compile(r"\d+\.\d+|\d\s*\\?%")
NUMBER_FIRST = re.compile(r"[−-]?[\d.,]+%?(?!\w)")
NOT_PROSE = ("Code", "CodeBlock", "Math", "Link", "Cite", "Image", "RawInline", "RawBlock")

Node = dict[str, Any]
"""An element of pandoc's document tree, with its type ``t`` and its content ``c``."""
Rows = list[list[str]]
"""A table as it is printed, its head first."""


class _Source(pydantic.BaseModel, extra="forbid"):
    pass


class RunSource(_Source):
    """A run the paper rests on; ``run`` is the id of the canonical one, once there is one."""

    notebook: str
    name: str
    run: str | None


class NumberSource(_Source):
    """A value of a run's metrics (or of its run.json), times ``scale``, printed by ``format``.

    An interval ``{value, low, high}`` is printed by these names, and by ``{}`` as its value.
    """

    run: str
    key: str
    format: str = "{}"
    scale: float = 1.0
    source: Literal["metrics", "run"] = "metrics"


class TableSource(_Source):
    """A table of a run; ``columns`` selects and titles, ``formats`` prints a column's numbers."""

    run: str
    table: str
    columns: dict[str, str] | None = None
    formats: dict[str, str] = {}


class FigureSource(_Source):
    """A figure of a run."""

    run: str
    figure: str


class ConstantSource(_Source):
    """A fact that no run measures: published elsewhere or fixed by definition."""

    value: float | int | str
    format: str = "{}"
    source: str


class Sources(_Source):
    """Where everything in the paper comes from: the content of ``sources.yaml``."""

    runs: dict[str, RunSource]
    numbers: dict[str, NumberSource] = {}
    tables: dict[str, TableSource] = {}
    figures: dict[str, FigureSource] = {}
    constants: dict[str, ConstantSource] = {}


def build(profile: str | None = None) -> Path:
    """Build the paper and return the path of its PDF.

    Without a profile it is the committed paper, from the canonical runs of ``sources.yaml``. With
    one it is a draft under ``paper/build/<profile>/`` from the latest completed runs of that
    profile, and says so on each page.

    Raises InputError if the prose and its sources disagree, or a run cannot be used.
    """
    import typst  # here: the facts below are read where there is no typst

    if profile is not None and not re.fullmatch(r"[\w-]+", profile):
        raise InputError(f"{profile!r} is not the name of a profile")
    paper = runs.root() / "paper"
    sources, document = _read(paper)
    chosen = _chosen(sources, profile)
    numbers = {name: _number(name, s, chosen[s.run]) for name, s in sources.numbers.items()}
    constants = {
        name: {"printed": _printed(name, fact.value, fact.format), "source": fact.source}
        for name, fact in sources.constants.items()
    }
    tables = {name: _table(s, chosen[s.run]) for name, s in sources.tables.items()}
    tables["runs"] = _table_of_runs(chosen)
    figures = {  # the PDFs are the paper's, the PNGs for pages such as the README
        f"{name}.{kind}": chosen[source.run].figure(source.figure, kind)
        for name, source in sources.figures.items()
        for kind in ("pdf", "png")
    }

    out = paper if profile is None else paper / "build" / profile
    for part in ("figures", "tables"):
        if (out / part).exists():
            shutil.rmtree(out / part)
        (out / part).mkdir(parents=True)
    for name, path in figures.items():
        shutil.copyfile(path, out / "figures" / name)
    for name, rows in tables.items():
        with (out / "tables" / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    ids = {alias: run.id for alias, run in chosen.items()}
    record = {"runs": ids, "numbers": numbers, "constants": constants}
    text = yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=100)
    generated = "# Generated from the runs by `modsnr paper`, not edited.\n"
    (out / "numbers.yaml").write_text(generated + text, encoding="utf-8")

    printed = {name: entry["printed"] for name, entry in numbers.items()}
    printed |= {f"const:{name}": entry["printed"] for name, entry in constants.items()}
    document = _filled(document, printed, tables, "" if profile is None else f"/build/{profile}")
    document["meta"] |= _date_and_mark(chosen, profile)
    template = f"--template={paper / 'template.typ'}"
    page = _pandoc(json.dumps(document), "json", "typst", "--wrap=none", "--standalone", template)
    compiler = typst.Compiler(page.encode(), root=str(paper), ignore_system_fonts=True)
    try:
        compiler.compile(output=str(out / "PAPER.pdf"), format="pdf")
    except typst.TypstError as error:
        raise InputError(f"typst cannot set {out / 'PAPER.pdf'}: {error}") from error
    return out / "PAPER.pdf"


def constants() -> dict[str, float | int | str]:
    """Return the facts that no run measures, the study's figures among them, by name."""
    return {name: fact.value for name, fact in _sources(runs.root() / "paper").constants.items()}


def lacks(profile: str) -> list[str]:
    """Return the runs of the paper that the profile's pipeline does not make; none: it can."""
    made = {(step.notebook, step.name) for step in runs.load_profile(profile).pipeline}
    wanted = _sources(runs.root() / "paper").runs
    return [alias for alias, run in wanted.items() if (run.notebook, run.name) not in made]


def check() -> None:
    """Raise InputError, naming each fault, if the prose and its sources disagree.

    It needs no run: placeholders, figures and tables against ``sources.yaml`` and against their
    mentions, citations against the bibliography, and no result typed as digits.
    """
    _read(runs.root() / "paper")


# --- The prose and its sources ------------------------------------------------------------------


def _sources(paper: Path) -> Sources:
    path = paper / "sources.yaml"
    try:
        return Sources.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except pydantic.ValidationError as error:
        raise InputError(f"{path}: {error}") from error


def _read(paper: Path) -> tuple[Sources, Node]:
    sources = _sources(paper)
    prose = (paper / "PAPER.md").read_text(encoding="utf-8")
    document = json.loads(_pandoc(prose, "markdown", "json", "--columns=10000"))
    bibliography = (paper / "references.bib").read_text(encoding="utf-8")
    entries = set(re.findall(r"@\w+\s*\{\s*([^,\s]+)\s*,", bibliography))
    plates = [plate for node in _nodes(document, "Figure", "Div") if (plate := _plate(node))]
    faults = [
        *_faults_of_numbers(document, plates, sources),
        *_faults_of_references(document, plates, entries),
    ]
    if faults:
        raise InputError("the paper and its sources disagree:\n- " + "\n- ".join(faults))
    return sources, document


def _faults_of_numbers(document: Node, plates: list[_Plate], sources: Sources) -> Iterator[str]:
    used = {"table:runs"}
    for text in _words(document):
        used.update(PLACEHOLDER.findall(text))
        if typed := TYPED_NUMBER.search(EQUATION_LABEL.sub("", PLACEHOLDER.sub("", text))):
            yield f"{typed[0]!r} in {text!r} is typed by hand: print it from sources.yaml"
    for formula in _nodes(document, "Math"):
        text = formula["c"][1]
        if typed := TYPED_IN_FORMULA.search(text) or PLACEHOLDER.search(text):
            yield f"{typed[0]!r} stands in the formula {text!r}: print it in the prose"
    known = {*sources.numbers, "table:runs"}
    known |= {f"const:{name}" for name in sources.constants}
    known |= {f"table:{name}" for name in sources.tables}
    yield from _without(used, known, "{{{{{}}}}} is not in sources.yaml")
    yield from _without(known, used, "{} of sources.yaml is not used")
    tables = {name for name in used if name.startswith("table:")} - {"table:runs"}
    placed = {f"table:{_table_name(plate)}" for plate in plates}
    yield from _without(tables, placed, "{{{{{}}}}} must stand alone in a block ::: {{#tbl:...}}")

    shown = {path for plate in plates for path in _images(plate.body)}
    figures = {f"figures/{name}.pdf" for name in sources.figures}
    yield from _without(shown, figures, "{} is no figure of sources.yaml")
    yield from _without(figures, shown, "{} of sources.yaml is not shown")
    yield from _without({*_images(document)}, shown, "{} must stand alone, as a figure")

    results = [*sources.numbers.values(), *sources.tables.values(), *sources.figures.values()]
    aliases = {result.run for result in results}
    yield from _without(aliases, {*sources.runs}, "run {} is not in sources.yaml")
    yield from _without({*sources.runs}, aliases, "run {} of sources.yaml is not used")


def _faults_of_references(document: Node, plates: list[_Plate], entries: set[str]) -> Iterator[str]:
    labels = {plate.label or f"a figure without label, {_images(plate.body)}," for plate in plates}
    targets = labels | {header["c"][1][0] for header in _nodes(document, "Header")}
    targets |= {label for text in _words(document) for label in EQUATION_LABEL.findall(text)}
    cited = {entry["citationId"] for cite in _nodes(document, "Cite") for entry in cite["c"][0]}
    references = {key for key in cited if CROSS_REFERENCE.match(key)}
    yield from _without(references, targets, "@{} refers to nothing")
    yield from _without(labels, references, "{} is not referred to")
    yield from _without(cited - references, entries, "[@{}] is not in references.bib")
    yield from _without(entries, cited, "{} of references.bib is not cited")


def _without(these: set[str], those: set[str], fault: str) -> list[str]:
    """Return a message for each of these that is not among those."""
    return [fault.format(name) for name in sorted(these - those)]


# --- The runs and what they hold ----------------------------------------------------------------


def _chosen(sources: Sources, profile: str | None) -> dict[str, runs.Record]:
    known = runs.records()
    chosen = {}
    for alias, wanted in sources.runs.items():
        what = f"run {alias!r} ({wanted.notebook}, {wanted.name})"
        alike = [r for r in known if (r.notebook, r.name) == (wanted.notebook, wanted.name)]
        if profile is None:
            chosen[alias] = _canonical(what, wanted.run, alike)
            continue
        drafts = [r for r in alike if (r.profile, r.status) == (profile, "completed")]
        if not drafts:
            raise InputError(f"{what}: no completed run of profile {profile!r}; make it first")
        chosen[alias] = drafts[0]
    ids = {run.id for run in chosen.values()}
    for alias, run in chosen.items():
        for parent in set(run.parents) - ids:
            fault = f"rests on {parent}, which is none of the paper's runs: make it again"
            raise InputError(f"run {alias!r}, {run.id}, {fault}")
    return chosen


def _canonical(what: str, identity: str | None, alike: list[runs.Record]) -> runs.Record:
    if identity is None:
        raise InputError(f"{what} has no canonical run: commit one, write its id in sources.yaml")
    record = next((record for record in alike if record.id == identity), None)
    if record is None:
        raise InputError(f"{what}: {identity} is missing under runs/, or of another name")
    if record.status != "completed":
        raise InputError(f"{what}: {identity} is {record.status}, not completed")
    if record.profile == "smoke":
        raise InputError(f"{what}: {identity} is of the smoke profile, which proves nothing")
    if _is_dirty(record):
        raise InputError(f"{what}: {identity} is dirty, made by code that was not committed")
    return record


def _is_dirty(run: runs.Record) -> bool:
    return run.git is None or run.git["dirty"]


def _number(name: str, source: NumberSource, run: runs.Record) -> dict[str, Any]:
    value: Any = run.metrics if source.source == "metrics" else run.model_dump(mode="json")
    for part in source.key.split("/"):
        if not isinstance(value, dict) or part not in value:
            there = ", ".join(map(str, value)) if isinstance(value, dict) else repr(value)
            raise InputError(f"{name}: {run.id} has no {source.key}; instead of {part}, {there}")
        value = value[part]
    where = f"{name} ({source.key} of {run.id})"
    leaves = value if isinstance(value, dict) else {"value": value}
    for leaf in leaves.values():
        if leaf is None or (isinstance(leaf, float) and not math.isfinite(leaf)):
            raise InputError(f"{where} is {leaf}: there is nothing to print")
        if source.scale != 1.0 and not isinstance(leaf, int | float):
            raise InputError(f"{where} is no number to be scaled: {leaf!r}")
    if source.scale != 1.0:
        leaves = {key: leaf * source.scale for key, leaf in leaves.items()}
    value = leaves if isinstance(value, dict) else leaves["value"]
    printed = _printed(where, value, source.format)
    return {"printed": printed, "value": value, "run": run.id, "key": source.key}


def _printed(where: str, value: Any, form: str) -> str:
    try:
        named = value if isinstance(value, dict) else {"value": value}
        text = form.format(named["value"], **named)
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(f"{where}: {value!r} cannot be printed as {form!r}: {error}") from error
    return re.sub(r"(?<![\w-])-(?=\d)", "−", text)


def _table(source: TableSource, run: runs.Record) -> Rows:
    path = run.folder / "tables" / f"{source.table}.csv"
    if not path.exists():
        raise InputError(f"{run.id} has no tables/{path.name}")
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    columns = source.columns or {name: name for name in header}
    if unknown := sorted({*columns, *source.formats} - {*header}):
        raise InputError(f"tables/{path.name} of {run.id} has no column {unknown}, but {header}")

    def cell(row: list[str], column: str) -> str:
        text = row[header.index(column)]
        form = source.formats.get(column)
        return _printed(f"{column} of {path}", float(text), form) if text and form else text

    return [[*columns.values()], *([cell(row, column) for column in columns] for row in rows)]


def _table_of_runs(chosen: dict[str, runs.Record]) -> Rows:
    rows = [["used for", "run", "commit", "minutes"]]
    for alias, run in chosen.items():
        commit = run.git["commit"][:10] if run.git else "none"
        changed = " with uncommitted changes" if _is_dirty(run) else ""
        rows.append([alias, run.id, commit + changed, f"{(run.wall_seconds or 0) / 60:.1f}"])
    return rows


# --- pandoc's tree ------------------------------------------------------------------------------


def _pandoc(text: str, source: str, target: str, *options: str) -> str:
    import pypandoc

    return pypandoc.convert_text(text, target, format=source, extra_args=options)


def _nodes(tree: Any, *kinds: str, outside: tuple[str, ...] = ()) -> Iterator[Node]:
    """Yield the nodes of these kinds in the order of the text, none from ``outside`` kinds."""
    if isinstance(tree, dict):
        if tree.get("t") in outside:
            return
        if tree.get("t") in kinds:
            yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            yield from _nodes(branch, *kinds, outside=outside)


def _words(tree: Any) -> list[str]:
    return [node["c"] for node in _nodes(tree, "Str", outside=NOT_PROSE)]


def _images(tree: Any) -> list[str]:
    return [image["c"][2][0] for image in _nodes(tree, "Image")]


class _Plate(NamedTuple):
    """A figure or table as it stands in the prose."""

    label: str
    wide: bool
    body: list[Node]
    caption: list[Node]


def _plate(node: Node) -> _Plate | None:
    match node:
        case {"t": "Figure", "c": [[label, _, _], [_, [{"c": caption}]], body]}:
            wide = any("wide" in image["c"][0][1] for image in _nodes(body, "Image"))
            return _Plate(label, wide, body, caption)
        case {"t": "Div", "c": [[label, classes, _], [*body, {"t": "Para", "c": caption}]]}:
            return _Plate(label, "wide" in classes, body, caption)
    return None


def _table_name(plate: _Plate) -> str | None:
    """Return which table of the sources the plate asks for; None if it brings its own."""
    match plate.body:
        case [{"t": "Para", "c": [{"t": "Str", "c": text}]}] if found := PLACEHOLDER.fullmatch(
            text
        ):
            return found[1].removeprefix("table:")
    return None


def _filled(document: Node, printed: dict[str, str], tables: dict[str, Rows], place: str) -> Node:
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
        if (plate := _plate(node)) is None:
            return [node]
        kind = "image" if plate.label.startswith("fig:") else "table"
        # At the foot of a page typst would set wide floats over those of a column.
        float_ = 'placement: top, scope: "parent"' if plate.wide else "placement: auto"
        head = [_raw(f"#figure(kind: {kind}, {float_}, caption: ["), *plate.caption, _raw("])[")]
        body = plate.body
        if kind == "image":
            images = [f'image("{place}/{path}")' for path in _images(body)]
            grid = f"#grid(columns: (1fr,) * {len(images)}, gutter: 1em, {', '.join(images)})"
            body = [{"t": "Plain", "c": [_raw(grid)]}]
        elif name := _table_name(plate):
            body = [{"t": "Plain", "c": [_raw(_typst_table(tables[name]))]}]
        for table in _nodes(body, "Table"):
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


def _date_and_mark(chosen: dict[str, runs.Record], profile: str | None) -> dict[str, Node]:
    """Return the metadata that come from the runs: the date of the newest, the mark of a draft."""
    day = max(datetime.fromisoformat(run.started) for run in chosen.values())
    parts = {"year": day.year, "month": day.month, "day": day.day}
    date = {key: {"t": "MetaString", "c": str(part)} for key, part in parts.items()}
    meta = {"date": {"t": "MetaMap", "c": date}}
    if profile is not None:
        dirty = any(_is_dirty(run) for run in chosen.values())
        mark = f"{profile} profile: not the canonical results"
        mark += "; made by code that was not committed" if dirty else ""
        meta["mark"] = {"t": "MetaString", "c": mark}
    return meta
