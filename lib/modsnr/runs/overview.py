"""All runs together: their main results, as ``headlines.yaml`` defines them, which are best or in
the paper, and a line a run or sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pydantic import BaseModel, field_validator

from modsnr import InputError
from modsnr.runs.formatting import lasted
from modsnr.runs.profiles import read_yaml
from modsnr.runs.records import Record, records, repeated
from modsnr.runs.repository import root

OVERVIEW = ("run", "", "name", "notebook", "frames", "took", "outcome")
BEST, IN_PAPER = "★", "¶"
LONGEST_ERROR = 60
MOST = 4  # names that a `*` stands for; a comparison of twenty models is no headline


class Headline(BaseModel, frozen=True, extra="forbid"):
    """The key of a result in metrics.json, and the format of its number."""

    key: str
    format: str = "{}"

    @field_validator("format")
    @classmethod
    def _prints_numbers(cls, value: str) -> str:
        # A run that ends must not fail for it, so it is tried where it is read.
        try:
            value.format(0.5)
        except (ValueError, IndexError, KeyError) as error:
            raise ValueError(f"{value!r} prints no number: {error}") from error
        return value

    def text(self, metrics: Mapping[str, Any]) -> str:
        """Return the results under ``key``, after the names of its ``*``; "" if there are none."""
        texts = []
        for name, value in found(metrics, self.key).items():
            value = value.get("value") if isinstance(value, dict) else value
            if isinstance(value, int | float):
                value = self.format.format(value)
            if isinstance(value, str):
                texts.append(f"{name} {value}".lstrip())
        more = [f"{len(texts) - MOST} more"] if len(texts) > MOST else []
        return ", ".join(texts[:MOST] + more)


class Headlines(BaseModel, frozen=True, extra="forbid"):
    """The main results of a notebook, label -> headline; the key that ranks its runs; a figure."""

    results: dict[str, Headline] = {}
    best: str | None = None
    figure: str | None = None

    def line(self, metrics: Mapping[str, Any]) -> str:
        """Return the results in a line: "joint 93.0%; SNR: a 99.9%, b 40.1%"; "" if none is there.

        Of a key with a ``*`` the line has four names, and how many more there are.
        """
        texts = {label: headline.text(metrics) for label, headline in self.results.items()}
        colon = {label: ":" * ("*" in headline.key) for label, headline in self.results.items()}
        return "; ".join(f"{label}{colon[label]} {text}" for label, text in texts.items() if text)


JOINT = Headline(key="joint_accuracy", format="{:.1%}")
USUAL = Headlines(results={"joint accuracy": JOINT}, best="joint_accuracy")


def found(metrics: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the results in ``metrics`` under ``key``, by the names that its ``*`` stand for.

    ``models/*/snr`` of {"models": {"a": {"snr": 1}, "b": {}}} is {"a": 1}; a key without a ``*``
    has one result, called "", or none.
    """
    level: dict[str, Any] = {"": metrics}
    for part in key.split("/"):
        level = {
            f"{name} {one}".strip() if part == "*" else name: inner[one]
            for name, inner in level.items()
            if isinstance(inner, dict)
            for one in (inner if part == "*" else [part])
            if one in inner
        }
    return level


def best_runs(runs: Iterable[Record], headlines: Mapping[str, Headlines]) -> set[str]:
    """Return the ids of runs that are best of their notebook's completed ones on the same frames.

    The highest is best, of equals the last id; a run alone on its frames is not compared, nor one
    of the ``smoke`` profile. Runs that left out the same modulations are compared with one another:
    fewer classes are easier.
    """
    rivals: dict[tuple[str, ...], list[tuple[float, str]]] = {}
    for run in runs:
        key = headlines.get(run.notebook, USUAL).best
        compared = run.status == "completed" and run.profile != "smoke"
        value = found(run.metrics, key).get("") if key and compared else None
        value = value.get("value") if isinstance(value, dict) else value
        if isinstance(value, int | float):
            left_out = sorted(run.parameters.get("leave_out") or ())
            group = (run.notebook, (run.data or {}).get("sha256", ""), *left_out)
            rivals.setdefault(group, []).append((value, run.id))
    return {max(known)[1] for known in rivals.values() if len(known) > 1}


class _PaperRun(BaseModel):
    run: str | None
    row: str | None = None


class _PaperSources(BaseModel):
    runs: dict[str, _PaperRun]


@dataclass(frozen=True)
class Survey:
    """All runs, newest first, and what follows from having them all.

    ``best`` are the ids of those that are best on their frames, ``paper`` has the names that the
    paper uses for a run, ``faults`` the files that could not be read for this.
    """

    runs: list[Record]
    headlines: dict[str, Headlines]
    best: set[str]
    paper: dict[str, list[str]]
    faults: list[str]

    def headline(self, run: Record) -> str:
        """Return the run's main results in a line; "" if it left none."""
        return self.headlines.get(run.notebook, USUAL).line(run.metrics)

    def mark(self, runs: Iterable[Record]) -> str:
        """Return the marks of a run or of a sweep's trials: ★ for best, ¶ for in the paper."""
        ids = {run.id for run in runs}
        return BEST * bool(ids & self.best) + IN_PAPER * bool(ids & set(self.paper))


def survey(known: list[Record] | None = None) -> Survey:
    """Return all runs, or those ``known``, with what headlines.yaml and the paper add to them.

    Where one of these two files cannot be used, that is among the faults: a run that ends must not
    fail for it.
    """
    faults: list[str] = []

    def tried(path: str, kind: Any) -> Any:
        try:
            return read_yaml(root() / path, kind, path) if (root() / path).exists() else None
        except InputError as error:
            faults.append(str(error))

    headlines = tried("notebooks/headlines.yaml", dict[str, Headlines]) or {}
    sources = tried("paper/sources.yaml", _PaperSources)
    paper: dict[str, list[str]] = {}
    for alias, source in sources.runs.items() if sources else ():
        paper.setdefault(source.row or source.run, []).append(alias)
    known = records() if known is None else known
    return Survey(known, headlines, best_runs(known, headlines), paper, faults)


def overview(all_runs: Survey, chosen: Sequence[Record], *, every: bool = False) -> list[list[str]]:
    """Return a line a run, its id and a text for each further column of ``OVERVIEW``.

    The trials of a sweep share one line, that of the newest of them, unless ``every`` run has its
    own.
    """
    return [[group[0].id, *line(all_runs, group, every)] for group in groups(chosen, every)]


def groups(runs: Iterable[Record], every: bool = False) -> list[list[Record]]:
    """Return the runs one by one, but a sweep's trials together, unless ``every`` one is wanted."""
    together: dict[tuple[str, ...], list[Record]] = {}
    for run in runs:
        sweep = None if every else run.sweep_name
        together.setdefault((run.notebook, sweep) if sweep else (run.id,), []).append(run)
    return list(together.values())


def line(all_runs: Survey, group: Sequence[Record], alone: bool = False) -> list[str]:
    """Return the texts of ``OVERVIEW`` after the first, of a run or a sweep's trials."""
    run = group[0]
    name, outcome = run.name, _outcome(all_runs, run)
    if run.sweep_name and not alone:
        again = repeated(group)  # a trial that was killed and done again counts once
        counts = Counter(one.status for one in group if one.id not in again)
        name = f"sweep {run.sweep_name}, {counts.total()} run" + "s" * (counts.total() != 1)
        outcome = ", ".join(f"{n} {status}" for status, n in counts.most_common())
        best = next((one for one in group if one.id in all_runs.best), None)
        outcome += f"; at best {all_runs.headline(best)}" if best else ""
    stores = {one.data["name"] if one.data else "" for one in group}
    frames = stores.pop() if len(stores) == 1 else "several"
    took = lasted(one.wall_seconds for one in group)
    return [all_runs.mark(group), name, run.notebook, frames, took, outcome]


def _outcome(all_runs: Survey, run: Record) -> str:
    """Return the results of a completed run; of another its status, why, and results."""
    why = (run.error or "").split("\n")[0]
    short = why[: LONGEST_ERROR - 1] + "…" if len(why) > LONGEST_ERROR else why
    status = [] if run.status == "completed" else [run.status + (f": {short}" if short else "")]
    return "; ".join([*status, *filter(None, [all_runs.headline(run)])])


def select(
    runs: Iterable[Record],
    *,
    notebook: str = "*",
    name: str = "*",
    profile: str = "*",
    status: Sequence[str] = (),
    since: str = "",
) -> list[Record]:
    """Return the runs whose notebook, name and profile fit the patterns (``*``, ``?``, ``[ab]``).

    ``status`` is one of these, or any if there are none; ``since`` is a moment in ISO 8601, UTC. A
    notebook may be called by its number: "02" is "02_training".
    """
    return [
        run
        for run in runs
        if (fnmatchcase(run.notebook, notebook) or run.notebook.split("_")[0] == notebook)
        and fnmatchcase(run.name, name)
        and fnmatchcase(run.profile or "", profile)
        and (not status or run.status in status)
        and run.started >= since
    ]
