"""RUNLOG.md, written anew from the run folders."""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from modsnr.runs.parameters import (
    root,
)
from modsnr.runs.records import (
    Record,
    _cell,
    _results,
    _table,
    measured,
    records,
    repeated,
)


def write_runlog() -> Path:
    """Write runs/RUNLOG.md anew from all folders and return its path.

    The folders are read under the lock: of many runs that end at once, the last one sees all.
    """
    folder = root() / "runs"
    (folder / ".locks").mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / ".locks" / "runlog", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _write(folder / "RUNLOG.md", _runlog(records()))
    finally:
        os.close(lock)
    return folder / "RUNLOG.md"


def _runlog(runs: list[Record]) -> str:
    """Return the log of ``runs``: a table with a line a run, then a section a run.

    The trials of a sweep share a line and a section.
    """
    best: dict[str, list[Record]] = {}
    for run in runs:
        best.setdefault(run.notebook, []).append(run)
    stars = {run.id for group in best.values() if (run := _best(group))}
    sweep_of = {run.id: str(run.sweep["name"]) for run in runs if run.sweep}
    rows, sections = [], []
    for group in _groups(runs):
        label, link = _label(group)
        short = label if group[0].sweep else label[:16]
        star = "★" if stars & {run.id for run in group} else ""
        rows.append([star, f"[{short}](#{link})", *_line(group)])
        if group[0].sweep:
            sections += _sweep_section(group, stars, sweep_of)
        else:
            sections += _section(group[0], sweep_of)
    about = (
        "Generated from the run folders, newest first. ★ marks a notebook's best joint accuracy."
    )
    columns = ["", "run", *OVERVIEW]
    return "\n".join(["# Runs", "", about, "", *_table(columns, rows), "", *sections])


OVERVIEW = ("notebook", "name", "profile", "status", "joint accuracy", "wall time", "commit")


def overview(runs: list[Record], *, every: bool = False) -> list[list[str]]:
    """Return a line a run, its id and a text for each of the columns of ``OVERVIEW``.

    The trials of a sweep share one line, where the newest of them stands, unless ``every`` run has
    its own.
    """
    groups = [[run] for run in runs] if every else _groups(runs)
    return [[group[0].id if every else _label(group)[0], *_line(group, every)] for group in groups]


def _groups(runs: list[Record]) -> list[list[Record]]:
    """Return the runs one by one, but a sweep's trials together."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for run in runs:
        key = (run.notebook, str(run.sweep["name"])) if run.sweep else (run.id,)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def _label(group: list[Record]) -> tuple[str, str]:
    """Return what a run or a sweep is called, and the anchor of its section."""
    sweep = group[0].sweep
    if sweep:
        return f"sweep {sweep['name']}", f"sweep-{sweep['name']}"
    return group[0].id, group[0].id


def _best(runs: list[Record]) -> Record | None:
    """Return the completed run of the highest joint accuracy, or none; of equals the last id."""
    known = [(run.joint_accuracy, run.id, run) for run in runs if run.status == "completed"]
    return max((one for one in known if one[0] is not None), default=(None,))[-1]


def _line(group: list[Record], alone: bool = False) -> list[str]:
    """Return the texts of ``OVERVIEW`` for a run, or for a sweep's trials together."""
    run = group[0]
    name, status, accuracy = run.name, run.status, measured(run.metrics.get("joint_accuracy"))
    if run.sweep and not alone:
        best = _best(group)
        name, status = _count(group), _outcomes(group)
        accuracy = measured(best.metrics["joint_accuracy"]) + " at best" if best else ""
    profile, commit = (_common(map(tell, group)) for tell in (_profile, _commit))
    return [run.notebook, name, profile, status, accuracy, _wall(group), commit]


def _profile(run: Record) -> str:
    return run.profile or ""


def _commit(run: Record) -> str:
    return run.git["commit"][:7] + " dirty" * run.git["dirty"] if run.git else ""


def _common(texts: Iterable[str]) -> str:
    """Return the text if all are the same, else "several"."""
    known = set(texts)
    return known.pop() if len(known) == 1 else "several"


def _wall(runs: list[Record]) -> str:
    seconds = [run.wall_seconds for run in runs if run.wall_seconds is not None]
    return str(timedelta(seconds=round(sum(seconds)))) if seconds else ""


def _count(trials: list[Record]) -> str:
    count = len(trials) - len(repeated(trials))
    return f"{count} trial" + "s" * (count != 1)


def _outcomes(trials: list[Record]) -> str:
    """Return how many trials ended how; one that was killed and done again counts once."""
    again = repeated(trials)
    counts = Counter(run.status for run in trials if run.id not in again)
    return ", ".join(f"{n} {status}" for status, n in counts.most_common())


def _from(parents: Iterable[str], sweep_of: Mapping[str, str]) -> list[str]:
    """Return the line that names a run's parents, many trials of one sweep by the sweep."""
    trials = Counter(sweep_of[id] for id in parents if id in sweep_of)
    many = {name: n for name, n in trials.items() if n > 3}
    words = [f"[{id}](#{id})" for id in parents if sweep_of.get(id) not in many]
    words += [f"{n} runs of [sweep {name}](#sweep-{name})" for name, n in many.items()]
    return [f"From {', '.join(words)}.", ""] if words else []


def _sweep_section(group: list[Record], stars: set[str], sweep_of: Mapping[str, str]) -> list[str]:
    """Return the lines of a sweep's section: what came of it, and folded a line a trial."""
    trials = sorted(group, key=lambda run: (run.sweep or {})["trial"])
    (label, link), best = _label(group), _best(group)
    lines = [f'<a id="{link}"></a>', "", f"## {label}", "", f"**{_outcomes(group)}**", ""]
    if best:
        accuracy = measured(best.metrics["joint_accuracy"])
        lines += [f"Best: [{best.id}](#{best.id}), joint accuracy {accuracy}.", ""]
    lines += _from(dict.fromkeys(id for run in trials for id in run.parents), sweep_of)
    told = {name for run in trials for name in run.changed}
    values = {
        name: [json.dumps(run.parameters.get(name)) for run in trials]
        for name in trials[0].parameters
        if name in told
    }
    fixed = [[name, f"`{texts[0]}`"] for name, texts in values.items() if len(set(texts)) == 1]
    lines += [*_table(["parameter", "value"], fixed), ""] if fixed else []
    searched = {name: texts for name, texts in values.items() if len(set(texts)) > 1}
    again = repeated(group)
    rows = [
        [
            "★" if run.id in stars else "",
            f'<a id="{run.id}"></a>[{(run.sweep or {})["trial"]}]({run.id})',
            _status(run, run.id in again),
            *(value.strip('"') for value in chosen),
            measured(run.metrics.get("joint_accuracy")),
            _wall([run]),
        ]
        for run, *chosen in zip(trials, *searched.values(), strict=True)
    ]
    table = _table(["", "trial", "status", *searched, "joint accuracy", "wall time"], rows)
    return [*lines, f"<details><summary>{_count(group)}</summary>", "", *table, "", "</details>", ""]


def _status(run: Record, again: bool) -> str:
    why = (run.error or "").split("\n")[0]
    return run.status + ", done again" * again + (f": {why[:60]}" if why else "")


def _section(run: Record, sweep_of: Mapping[str, str]) -> list[str]:
    """Return the lines of a run's own section."""
    lines = [f'<a id="{run.id}"></a>', "", f"## {run.id}", ""]
    lines += [f"**{run.status}**{': ' + _cell(run.error) if run.error else ''}", ""]
    lines += [f"> {_cell(run.note)}", ""] if run.note else []
    lines += [f"    {run.command}", ""] if run.command else []
    lines += _from(run.parents, sweep_of)
    changed = [[name, f"`{json.dumps(run.parameters.get(name))}`"] for name in run.changed]
    lines += [*_table(["parameter", "value"], changed), ""] if changed else []
    lines += _results(run)
    figures = sorted(path.name for path in run.folder.glob("figures/*.png"))
    return lines + ([f"![{figures[0]}]({run.id}/figures/{figures[0]})", ""] if figures else [])


def _write(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, and a kill at any instant, finds the old one or the new."""
    path.parent.mkdir(exist_ok=True)
    new = path.with_name(f".{path.name}.{uuid4().hex}")
    new.write_bytes(content if isinstance(content, bytes) else content.encode())
    new.replace(path)


def _portable(text: str) -> str:
    """Return ``text`` with paths from the repository's folder, and none that names the user."""
    home = str(Path.home())
    text = text.replace(f"{root()}/", "")
    return text.replace(f"{home}/", "~/") if home != "/" else text
