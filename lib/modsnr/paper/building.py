"""The paper in one call: from the runs to figures, tables, numbers, PDF and web page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import yaml

from modsnr import InputError, files, runs
from modsnr.paper.appendix import tables_of
from modsnr.paper.pages import PLACEHOLDER, Node, document_of, filled, mark_plates, pandoc
from modsnr.paper.results import (
    chosen_runs,
    date_and_mark,
    missing_runs,
    number,
    printed_as,
    table,
)
from modsnr.paper.sources import Sources, read, read_sources
from modsnr.paper.targets import for_typst, for_web

RESULTS_BEGIN = "<!-- results: written by `make paper` from paper/sources.yaml -->"
RESULTS_END = "<!-- end of the results -->"


def build(profile: str | None = None) -> Path:
    """Build the paper and return the path of its PDF; the web page, ``PAPER.html``, is beside it.

    Without a profile it is the committed paper, from the canonical runs of ``sources.yaml``. With
    one it is a draft under ``paper/build/<profile>/`` from the latest completed runs of that
    profile, and each page is marked as a draft; what it takes of the canonical ones has a dagger.

    Raises InputError if the prose and its sources disagree, or a run cannot be used. All is made in
    a temporary folder first: an error leaves the files as they were.
    """
    paper = runs.root() / "paper"
    sources, prose = read(paper)
    chosen = chosen_runs(sources, profile)
    record = _record(sources, chosen)
    printed = {name: entry["printed"] for name, entry in record["numbers"].items()}
    printed |= {f"const:{name}": entry["printed"] for name, entry in record["constants"].items()}
    results = PLACEHOLDER.sub(lambda found: printed[found[1]], sources.readme)
    tables = {name: table(s, chosen[s.run]) for name, s in sources.tables.items()}
    tables |= tables_of(chosen)
    aside = {alias for alias, run in chosen.items() if profile and run.id == sources.runs[alias].id}
    for name, source in sources.numbers.items():
        printed[name] += "†" * (source.run in aside)
    document = document_of(filled(prose, printed, tables))
    borrowed = {f"figures/{name}.pdf" for name, s in sources.figures.items() if s.run in aside}
    borrowed |= {f"tbl:{name}" for name, s in sources.tables.items() if s.run in aside}
    mark_plates(document, borrowed)
    document["meta"] |= date_and_mark(chosen, profile)

    out = paper / "build" / profile if profile else paper
    out.mkdir(parents=True, exist_ok=True)
    (paper / "build").mkdir(exist_ok=True)
    # Under the root of typst, which shows no image from elsewhere.
    with TemporaryDirectory(dir=paper / "build", prefix=".new-") as folder:
        new = Path(folder)
        _write_parts(new, sources, chosen, tables, record)
        _write_pdf(for_typst(document, f"/build/{new.name}"), paper, new / "PAPER.pdf")
        _write_page(for_web(document), paper, new / "PAPER.html")
        if results and not profile:
            _write_results(runs.root() / "README.md", results)
        for part in ("figures", "tables"):
            shutil.rmtree(out / part, ignore_errors=True)  # there may be none yet
        for path in new.iterdir():
            path.replace(out / path.name)
    return out / "PAPER.pdf"


def _record(sources: Sources, chosen: Mapping[str, runs.Record]) -> dict[str, Any]:
    """Return the content of ``numbers.yaml``."""
    return {
        "runs": {alias: run.id for alias, run in chosen.items()},
        "numbers": {name: number(name, s, chosen[s.run]) for name, s in sources.numbers.items()},
        "constants": {
            name: {"printed": printed_as(name, each.fact, each.format), "source": each.source}
            for name, each in sources.constants.items()
        },
    }


def _write_parts(
    folder: Path,
    sources: Sources,
    chosen: Mapping[str, runs.Record],
    tables: Mapping[str, pd.DataFrame],
    record: Mapping[str, Any],
) -> None:
    """Write the figures, as PDF and as PNG for pages, the tables and ``numbers.yaml``."""
    for part in ("figures", "tables"):
        (folder / part).mkdir()
    for name, source in sources.figures.items():
        for kind in ("pdf", "png"):
            path = chosen[source.run].figure(source.figure, kind)
            shutil.copyfile(path, folder / "figures" / f"{name}.{kind}")
    for name, rows in tables.items():
        rows.to_csv(folder / "tables" / f"{name}.csv", index=False)
    text = yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=100)
    generated = "# Generated from the runs by `modsnr paper`, not edited.\n"
    (folder / "numbers.yaml").write_text(generated + text, encoding="utf-8")


def _write_pdf(document: Node, paper: Path, path: Path) -> None:
    import typst  # here: the constants are read where there is no typst

    options = ("--wrap=none", "--standalone", f"--template={paper / 'template.typ'}")
    page = pandoc(json.dumps(document), "json", "typst", *options)
    compiler = typst.Compiler(page.encode(), root=str(paper), ignore_system_fonts=True)
    try:
        compiler.compile(output=str(path), format="pdf")
    except typst.TypstError as error:
        raise InputError(f"typst cannot set {path.name}: {error}") from error


def _write_page(document: Node, paper: Path, path: Path) -> None:
    citations = (f"--bibliography={paper / 'references.bib'}", f"--csl={paper / 'numeric.csl'}")
    page = pandoc(
        json.dumps(document),
        "json",
        "html5",
        *("--wrap=none", "--standalone", f"--template={paper / 'template.html'}"),
        *("--toc", "--toc-depth=2", "--number-sections", "--mathml"),
        *("--citeproc", *citations, "--metadata=link-citations:true"),
    )
    path.write_text(page, encoding="utf-8")


def _write_results(readme: Path, results: str) -> None:
    """Write the results between the two marks that the README holds for them."""
    head, begin, rest = readme.read_text(encoding="utf-8").partition(RESULTS_BEGIN)
    _, end, tail = rest.partition(RESULTS_END)
    if not (begin and end):
        raise InputError(f"README.md lacks the lines {RESULTS_BEGIN} and {RESULTS_END}")
    files.write(readme, f"{head}{begin}\n\n{results.strip()}\n\n{end}{tail}")


def constants() -> dict[str, float | int | str]:
    """Return the facts that no run measures, the study's figures among them, by name."""
    sources = read_sources(runs.root() / "paper")
    return {name: each.fact for name, each in sources.constants.items()}


def lacks(profile: str) -> list[str]:
    """Return the runs of the paper that the profile's pipeline does not make; none: it can."""
    runs.load_profile(profile)  # an unknown name is refused before anything is read
    return missing_runs(read_sources(runs.root() / "paper"), profile)


def check() -> None:
    """Raise InputError, naming each fault, if the prose and its sources disagree."""
    read(runs.root() / "paper")
