"""RUNLOG.md, written anew from the run folders."""

from __future__ import annotations

import fcntl
import json
import os
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
    """Return the log of ``runs``: a table with a line a run, then a section a run."""
    best: dict[str, tuple[float, str]] = {}
    for run in runs:
        if run.status == "completed" and run.joint_accuracy is not None:
            mark = (run.joint_accuracy, run.id)
            best[run.notebook] = max(mark, best.get(run.notebook, mark))
    stars = {id for _, id in best.values()}
    rows = [
        ["★" if run.id in stars else "", f"[{run.id[:16]}](#{run.id})", *overview(run)]
        for run in runs
    ]
    about = (
        "Generated from the run folders, newest first. ★ marks a notebook's best joint accuracy."
    )
    columns = ["", "run", *OVERVIEW]
    sections = [line for run in runs for line in _section(run)]
    return "\n".join(["# Runs", "", about, "", *_table(columns, rows), "", *sections])


OVERVIEW = ("notebook", "name", "profile", "status", "joint accuracy", "wall time", "commit")


def overview(run: Record) -> list[str]:
    """Return one line on a run, a text for each of the columns of ``OVERVIEW``."""
    commit = run.git["commit"][:7] + " dirty" * run.git["dirty"] if run.git else ""
    wall = "" if run.wall_seconds is None else str(timedelta(seconds=round(run.wall_seconds)))
    accuracy = measured(run.metrics.get("joint_accuracy"))
    return [run.notebook, run.name, run.profile or "", run.status, accuracy, wall, commit]


def _section(run: Record) -> list[str]:
    """Return the lines of a run's own section."""
    lines = [f'<a id="{run.id}"></a>', "", f"## {run.id}", ""]
    lines += [f"**{run.status}**{': ' + _cell(run.error) if run.error else ''}", ""]
    lines += [f"> {_cell(run.note)}", ""] if run.note else []
    lines += [f"    {run.command}", ""] if run.command else []
    if run.parents:
        lines += ["From " + ", ".join(f"[{id}](#{id})" for id in run.parents) + ".", ""]
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
