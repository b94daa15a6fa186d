"""All runs together: results, marks, children, and a line a run or sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import yaml

from modsnr import InputError
from modsnr.runs.formatting import lasted
from modsnr.runs.headlines import USUAL, Headlines, best_runs, read_headlines
from modsnr.runs.records import Record, records, repeated
from modsnr.runs.repository import root

OVERVIEW = ("run", "", "name", "notebook", "frames", "took", "outcome")
BEST, IN_PAPER = "★", "¶"
LONGEST_ERROR = 60


@dataclass(frozen=True)
class Survey:
    """All runs, newest first, and what follows from having them all.

    ``best`` are the ids of those that are best on their frames, ``paper`` has the names that the
    paper uses for a run, ``faults`` the files that could not be read for this.
    """

    runs: list[Record]
    metrics: dict[str, dict[str, Any]]
    headlines: dict[str, Headlines]
    best: set[str]
    paper: dict[str, list[str]]
    faults: list[str]

    def headline(self, run: Record) -> str:
        """Return the run's main results in a line; "" if it left none."""
        return self.headlines.get(run.notebook, USUAL).line(self.metrics.get(run.id, run.metrics))

    def mark(self, runs: Iterable[Record]) -> str:
        """Return the marks of a run or of a sweep's trials: ★ for best, ¶ for in the paper."""
        ids = {run.id for run in runs}
        return BEST * bool(ids & self.best) + IN_PAPER * bool(ids & set(self.paper))


def survey() -> Survey:
    """Return the runs as their folders, ``headlines.yaml`` and the paper's sources have them.

    Where one of these two files cannot be used, that is among the faults: a run that ends must not
    fail for it.
    """
    known = records()
    metrics = {run.id: run.metrics for run in known}
    faults: list[str] = []

    def tried(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return read()
        except InputError as error:
            faults.append(str(error))
            return {}

    headlines, paper = tried(read_headlines), tried(_paper_names)
    best = best_runs(known, metrics, headlines)
    return Survey(known, metrics, headlines, best, paper, faults)


def _paper_names() -> dict[str, list[str]]:
    """Return run id -> its names in the paper's sources; empty where there is no paper."""
    path = root() / "paper" / "sources.yaml"
    if not path.exists():
        return {}
    try:
        # libyaml's loader is ten times as fast on this long file, and each run reads it twice.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        sources = yaml.load(path.read_text(encoding="utf-8"), loader)["runs"]
        names: dict[str, list[str]] = {}
        for alias, source in sources.items():
            names.setdefault(source.get("row") or source["run"], []).append(alias)
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"paper/sources.yaml: {' '.join(str(error).split())}") from error
    return names


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
