"""Runs read back from their folders."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from modsnr import InputError
from modsnr.files import check_name, is_held
from modsnr.runs import sweep_tables
from modsnr.runs.circumstances import is_watched
from modsnr.runs.formatting import markdown_table, measured
from modsnr.runs.repository import root

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


Status = Literal["running", "completed", "failed", "diverged", "interrupted", "pruned", "crashed"]
CHECKPOINT = "checkpoint.safetensors"  # that a run which was cut off is resumed from
WEIGHTS = "weights.safetensors"
SHORT_ID = re.compile(r"\d{8}T?")
FOLDER = re.compile(r"(?P<time>\d{8}T\d{6}Z)-(?P<notebook>[^-]+)-(?P<name>.+)")


class Record(BaseModel, frozen=True, extra="ignore"):
    """A run read from its folder; ``run.json`` holds all fields but the folder."""

    folder: Path = Field(exclude=True)
    id: str
    notebook: str
    name: str
    status: Status
    started: str
    profile: str | None = None
    parameters: dict[str, Any] = {}
    changed: list[str] = []
    overridden: dict[str, Any] = {}  # given, but set anew by a cell of the notebook
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
    sweep_table: str | None = Field(None, exclude=True)  # of which the run is a row, if it is one
    row_metrics: dict[str, Any] | None = Field(None, exclude=True)  # of such a row

    @property
    def sweep_name(self) -> str | None:
        """The name of the sweep whose trial the run is, if it is one."""
        return self.sweep_table or (str(self.sweep["name"]) if self.sweep else None)

    @property
    def commit(self) -> str:
        """The beginning of the commit, and whether the code differed from it; "" if unknown."""
        return self.git["commit"][:12] + " with changes" * self.git["dirty"] if self.git else ""

    @property
    def frames(self) -> str:
        """The name of the data that the run worked on, and the beginning of their hash, if any."""
        return f"{self.data['name']}, {self.data['sha256'][:12]}" if self.data else ""

    @classmethod
    def load(cls, folder: str | Path) -> Record:
        """Return the run in ``folder``; "crashed" if its process is gone before its end."""
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
        if self.row_metrics is not None:
            return self.row_metrics
        try:
            return json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}

    @property
    def has_history(self) -> bool:
        """Whether ``history`` can be read."""
        if self.sweep_table:
            return sweep_tables.has_history(self.sweep_table, self.id)
        return (self.folder / "history.csv").exists()

    @property
    def history(self) -> pd.DataFrame:
        """What ``save_history`` saved, one row an epoch; InputError if nothing was."""
        if not self.sweep_table:
            return self._csv("history.csv")
        epochs = sweep_tables.history(self.sweep_table, self.id)
        if epochs is None:
            raise InputError(f"run {self.id} has no rows in sweeps/{self.sweep_table}-history.csv")
        return epochs

    @property
    def weights(self) -> Path:
        """The path of the model's weights; InputError if the run left none."""
        path = self.folder / WEIGHTS
        if not path.exists():
            raise InputError(f"run {self.id} has no weights here: train it again, or take another")
        return path

    def predictions(self) -> dict[str, np.ndarray]:
        """Return the arrays that ``save_predictions`` saved."""
        import numpy as np

        if not (self.folder / "predictions.npz").exists():
            everything = f"; `modsnr reproduce --profile {self.profile}` makes all its profile's"
            raise InputError(
                f"run {self.id} has no predictions here: make it again, by the command that "
                f"`modsnr runs show {self.id}` prints{everything if self.profile else ''}"
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
        # JupyterLab opens files by links, not folders, and its file browser goes along. An executed
        # copy of a notebook lies in the folder of a run, whichever folder the kernel worked in.
        folder = os.path.relpath(self.folder) if is_watched() else f"../{self.id}"
        results = [[name, measured(value)] for name, value in self.metrics.items()]
        rows = [row for row in results if row[1]]
        table = markdown_table(["metric", "value"], rows[:16]) if rows else []
        first = f"**{self.id}** {self.status}; [its folder]({folder}/run.json)"
        return "\n".join([first, "", *table])


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
    """Return the runs that are rows of a sweep's table, oldest first; their folders may hold
    predictions."""
    found = []
    for row in sweep_tables.runs_of(table):
        metrics, folder = row.pop("metrics", {}), sweep_tables.folder() / table / row["id"]
        found.append(Record(**row, folder=folder, sweep_table=table, row_metrics=metrics))
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

    Of the runs of that name and status the latest that has its weights is taken, else the latest;
    with ``status=None`` simply the latest. Without a ``profile`` those of ``smoke``, which proves
    nothing, come after the others. An id may be cut short where it fits one run.

    Raises InputError with the nearest ids and names, with those that a short id may mean, or with
    the status of the run that there is.
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
        check_name("run", reference, [r.name for r in known] + [r.id for r in known], of)
    fitting = [record for record in named if status in (None, record.status)]
    if status:
        smoke = {r.id: profile is None and r.profile == "smoke" for r in fitting}
        fitting.sort(key=lambda r: (smoke[r.id], not (r.folder / WEIGHTS).exists()))
    if fitting:
        return fitting[0]
    raise InputError(f"run {named[0].id}{of} is {named[0].status}, not {status}")


def _read(folder: Path) -> Record:
    """Return the run of ``run.json``, or what the folder's name shows if it cannot be read."""
    folder = folder.resolve()
    try:
        content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return Record.model_validate({**content, "folder": folder, "id": folder.name})
    except (OSError, ValueError, TypeError):
        parts = FOLDER.fullmatch(folder.name)
        if not parts or not folder.is_dir():
            raise InputError(f"{folder} is not the folder of a run") from None
        t, notebook, name = parts.groups()
        started = f"{t[:4]}-{t[4:6]}-{t[6:11]}:{t[11:13]}:{t[13:15]}.000Z"
        known = {"id": folder.name, "notebook": notebook, "name": name, "started": started}
        lost = "run.json is missing or unreadable"
        return Record(folder=folder, status="running", error=lost, **known)
