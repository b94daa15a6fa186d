"""Runs read back from their folders."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from modsnr import InputError
from modsnr.files import check_name, did_you_mean
from modsnr.runs import sweep_tables
from modsnr.runs.repository import root

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


Status = Literal["running", "completed", "failed", "diverged", "interrupted", "pruned", "crashed"]
CHECKPOINT = "checkpoint.safetensors"  # that a run which was cut off is resumed from
WEIGHTS = "weights.safetensors"
TEXT = (".json", ".csv", ".md", ".txt")  # all that is left of a run that is kept light
SHORT_ID = re.compile(r"\d{8}T?")
FOLDER = re.compile(r"(?P<time>\d{8}T\d{6}Z)-(?P<notebook>[^-]+)-(?P<name>.+)")


class Record(BaseModel, frozen=True, extra="ignore"):
    """A run as its folder tells it; ``run.json`` is this without the folder."""

    folder: Path = Field(exclude=True)
    id: str
    notebook: str
    name: str
    status: Status
    started: str
    profile: str | None = None
    parameters: dict[str, Any] = {}
    changed: list[str] = []
    command: str = ""
    git: dict[str, Any] | None = None
    seeds: dict[str, Any] = {}
    versions: dict[str, str] = {}
    hardware: dict[str, Any] = {}
    wall_seconds: float | None = None
    parents: list[str] = []
    data: dict[str, str] | None = None
    note: str = ""
    sweep: dict[str, Any] | None = None
    error: str | None = None

    @classmethod
    def load(cls, folder: str | Path) -> Record:
        """Return the run in ``folder``; "crashed" if it says running and no process holds it."""
        record = _read(Path(folder))
        if record.status == "running" and not is_held(record.folder / ".lock"):
            # It may have ended between the two looks: its last word counts.
            record = _read(Path(folder))
            if record.status == "running":
                gone = record.error or "the process ended without a word"
                record = record.model_copy(update={"status": "crashed", "error": gone})
        return record

    @property
    def metrics(self) -> dict[str, Any]:
        """What ``save_metrics`` saved; empty if nothing was."""
        try:
            return json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}

    @property
    def joint_accuracy(self) -> float | None:
        """The main result, if the run has it."""
        value = self.metrics.get("joint_accuracy")
        return value.get("value") if isinstance(value, dict) else value

    @property
    def has_history(self) -> bool:
        """Whether ``history`` can be read."""
        return (self.folder / "history.csv").exists()

    @property
    def history(self) -> pd.DataFrame:
        """What ``save_history`` saved, one row an epoch."""
        return self._csv("history.csv")

    @property
    def weights(self) -> Path:
        """The path of the model's weights; InputError if the run left none."""
        path = self.folder / WEIGHTS
        if not path.exists():
            raise InputError(f"run {self.id} has no weights here: train it again, or take another")
        return path

    @property
    def is_whole(self) -> bool:
        """Whether the folder holds more than the text that ``keep`` with ``light`` takes.

        Of a training that is its weights, which ``keep`` leaves out where they are large.
        """
        if self.notebook == "02_training":
            return (self.folder / WEIGHTS).exists()
        return any(p.is_file() and p.suffix not in TEXT for p in self.folder.rglob("[!.]*"))

    def predictions(self) -> dict[str, np.ndarray]:
        """Return the arrays that ``save_predictions`` saved."""
        import numpy as np

        if not (self.folder / "predictions.npz").exists():
            raise InputError(
                f"run {self.id} has no predictions here: only its text was kept. Make it again: "
                f"`modsnr runs show {self.id}` has its command"
                + (
                    f", `modsnr reproduce --profile {self.profile}` makes all."
                    if self.profile
                    else "."
                )
            )
        with np.load(self.folder / "predictions.npz", allow_pickle=False) as arrays:
            return dict(arrays)

    def figure(self, name: str, kind: str = "png") -> Path:
        """Return the path of a saved figure, ``kind`` "png" or "pdf"."""
        return self._file(f"figures/{name}.{kind}")

    def table(self, name: str) -> pd.DataFrame:
        """Return the table that ``save_table`` saved under ``name``."""
        return self._csv(f"tables/{name}.csv")

    def _csv(self, name: str) -> pd.DataFrame:
        import pandas as pd

        return pd.read_csv(self._file(name))

    def _file(self, name: str) -> Path:
        here = sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*.*"))
        check_name("file", name, here, of=f" of run {self.id}")
        return self.folder / name

    def _repr_markdown_(self) -> str:
        # JupyterLab opens files by links, not folders, and its file browser goes along.
        first = f"**{self.id}** {self.status}; [its folder]({self._seen_from_notebook()}/run.json)"
        return "\n".join([first, "", *_results(self)])

    def _seen_from_notebook(self) -> str:
        """Return the way to the folder from where the notebook that shows it is read."""
        # An executed copy lies in the folder of a run, whichever folder the kernel worked in.
        return os.path.relpath(self.folder) if is_watched() else f"../{self.id}"


class SweepRow(Record, frozen=True):
    """A run that is kept as a row of a sweep's table; its folder may hold its predictions."""

    sweep_table: str = Field(exclude=True)
    row_metrics: dict[str, Any] = Field(exclude=True)

    @property
    def metrics(self) -> dict[str, Any]:
        """What ``save_metrics`` saved; empty if nothing was."""
        return self.row_metrics

    @property
    def has_history(self) -> bool:
        """Whether ``history`` can be read."""
        return sweep_tables.history(self.sweep_table, self.id) is not None

    @property
    def history(self) -> pd.DataFrame:
        """What ``save_history`` saved, one row an epoch; InputError if nothing was."""
        rows = sweep_tables.history(self.sweep_table, self.id)
        if rows is None:
            raise InputError(
                f"run {self.id} has no rows in runs/sweeps/{self.sweep_table}-history.csv"
            )
        return rows


def is_watched() -> bool:
    """Return whether a person watches, in JupyterLab."""
    return "JPY_SESSION_NAME" in os.environ


def records() -> list[Record]:
    """Return all runs, newest first, those of sweep tables too.

    A half-written folder is a crashed run, never an error. A run that has a row and a folder is
    read from the folder.
    """
    known = {run.id: run for table in sweep_tables.names() for run in rows_of(table)}
    for folder in (root() / "runs").glob("*/"):
        if FOLDER.fullmatch(folder.name):
            try:
                known[folder.name] = Record.load(folder)
            except InputError:
                if folder.exists():  # else it became a row while we looked
                    raise
    return sorted(known.values(), key=lambda r: (r.started, r.id), reverse=True)


def rows_of(table: str) -> list[Record]:
    """Return the runs that are rows of a sweep's table, oldest first."""
    found = []
    for told in sweep_tables.runs_of(table):
        metrics, folder = told.pop("metrics", {}), sweep_tables.folder() / table / told["id"]
        found.append(SweepRow(**told, folder=folder, sweep_table=table, row_metrics=metrics))
    return found


def repeated(trials: Sequence[Record]) -> set[str]:
    """Return the ids of runs that were killed with their sweep and whose trial was done again."""
    sweeps = [(run.id, run.sweep) for run in trials if run.sweep]
    again = {(sweep["name"], sweep.get("again")) for _, sweep in sweeps}
    return {id for id, sweep in sweeps if (sweep["name"], sweep["trial"]) in again}


def find(
    reference: str,
    *,
    notebook: str | None = None,
    profile: str | None = None,
    status: str | None = "completed",
) -> Record:
    """Return the run with that id, else the latest of that name; ``status=None`` takes any.

    Of the runs of that name and status the latest is taken that is whole: a training without its
    weights, or another run of which only the text was kept, only if none is. ``status=None`` does
    not ask. Without a ``profile`` those of ``smoke``, which proves nothing, come last.
    An id may be cut short: "20261125T1115" is enough where no other run began in that minute.
    Raises InputError with the nearest ids and names, with those that a short id may mean, or with
    the status of what there is.
    """
    wanted = {"notebook": notebook, "profile": profile}
    known = [r for r in records() if all(v in (None, getattr(r, k)) for k, v in wanted.items())]
    of = "".join(f" of {k} {v}" for k, v in wanted.items() if v)
    named = [r for r in known if reference in (r.id, r.name)]
    if not named and SHORT_ID.match(reference):
        named = [r for r in known if r.id.startswith(reference)]
        if len(named) > 1:
            meant = ", ".join(r.id for r in named[:8]) + ", ..." * (len(named) > 8)
            raise InputError(
                f"{len(named)} runs{of} begin with {reference!r}: write on, to {meant}"
            )
    if not named:
        names = dict.fromkeys(n for r in known for n in (r.id, r.name))
        near = did_you_mean(reference, names, most=3)
        hint = f"{near} " if near else ""
        hint += "`modsnr runs --limit 0` lists all" if known else "known: none"
        raise InputError(f"no run{of} is called {reference!r}; {hint}")
    fitting = [record for record in named if status in (None, record.status)]
    if profile is None and status:
        fitting.sort(key=lambda record: record.profile == "smoke")
    if fitting:
        whole = (record for record in fitting if status and record.is_whole)
        return next(whole, fitting[0])
    raise InputError(f"run {named[0].id}{of} is {named[0].status}, not {status}")


def _read(folder: Path) -> Record:
    """Return what ``run.json`` says, or what the folder's name says where it cannot be read."""
    folder = folder.resolve()
    try:
        told = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return Record.model_validate({**told, "folder": folder, "id": folder.name})
    except (OSError, ValueError, TypeError):
        parts = FOLDER.fullmatch(folder.name)
        if not parts or not folder.is_dir():
            raise InputError(f"{folder} is not the folder of a run") from None
        t, notebook, name = parts.groups()
        started = f"{t[:4]}-{t[4:6]}-{t[6:11]}:{t[11:13]}:{t[13:15]}.000Z"
        told = {"id": folder.name, "notebook": notebook, "name": name, "started": started}
        lost = "run.json is missing or unreadable"
        return Record(folder=folder, status="running", error=lost, **told)


def is_held(lock: Path) -> bool | None:
    """Return whether a living process holds the lock on a file; None if there is no such file.

    A shared lock is tried, so that two who look at once do not take each other for the holder.
    """
    try:
        file = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _results(run: Record) -> list[str]:
    """Return the lines of a table of the run's main scalars, or none."""
    rows = [[name, text] for name, value in run.metrics.items() if (text := measured(value))]
    return [*_table(["metric", "value"], rows[:16]), ""] if rows else []


def measured(value: Any) -> str:
    """Return a number, floats in four digits, with its interval if it has one; else ""."""
    if isinstance(value, dict):
        low, high = measured(value.get("low")), measured(value.get("high"))
        return measured(value.get("value")) + (f" ({low} to {high})" if low and high else "")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(map(_cell, line)) + " |" for line in lines]


def _cell(text: str) -> str:
    """Return ``text`` on one line, with nothing in it that ends a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")
