"""A run under way: its folder, what it saves, the runs it rests on, and how it ends."""

from __future__ import annotations

import atexit
import io
import os
import sys
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic_core import to_json

from modsnr import InputError
from modsnr.files import check_name, hold, write
from modsnr.runs.circumstances import (
    hardware,
    is_watched,
    papermill_output,
    papermill_parameters,
    versions,
)
from modsnr.runs.needs import need
from modsnr.runs.pages import write_readme, write_runlog
from modsnr.runs.parameters import LITERALS, UNCOUNTED, check, counting, parameters
from modsnr.runs.profiles import command
from modsnr.runs.records import CHECKPOINT, Record, Status, find, records
from modsnr.runs.repository import callers_path, commit, plain_name, portable, root

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Run:
    """A run under way: what it saves goes to its folder, each file whole or not at all."""

    def __init__(self, record: Record):
        self.record = record
        self.folder, self.id, self.parameters = record.folder, record.id, record.parameters
        self._finished = False

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        """Add ``metrics`` to metrics.json; numpy becomes JSON, NaN and infinity become null."""
        merged = self.record.metrics | metrics
        # What JSON does not know is numpy's or torch's.
        text = to_json(merged, indent=1, inf_nan_mode="null", fallback=lambda value: value.tolist())
        write(self.folder / "metrics.json", text + b"\n")

    def save_history(self, rows: pd.DataFrame) -> None:
        """Write history.csv, one row an epoch."""
        write(self.folder / "history.csv", rows.to_csv(index=False))

    def save_predictions(self, **arrays: Any) -> None:
        """Write predictions.npz; InputError for an array of objects, which only pickle can keep."""
        import numpy as np

        arrays = {name: np.asarray(array) for name, array in arrays.items()}
        if objects := [name for name, array in arrays.items() if array.dtype.hasobject]:
            raise InputError(f"predictions {', '.join(objects)} hold objects, not numbers or text")
        np.savez_compressed(buffer := io.BytesIO(), **arrays)
        write(self.folder / "predictions.npz", buffer.getvalue())

    def save_table(self, name: str, table: pd.DataFrame) -> None:
        """Write tables/NAME.csv."""
        write(self.folder / "tables" / f"{plain_name(name)}.csv", table.to_csv(index=False))

    def save_figure(self, name: str, figure: Figure) -> Figure:
        """Write figures/NAME.pdf and NAME.png, to the same bytes each time; return the figure."""
        import matplotlib as mpl

        constant = {"pdf": {"CreationDate": None, "Producer": None, "Creator": None}}
        constant["png"] = {"Software": None}
        for kind, metadata in constant.items():
            with mpl.rc_context({"savefig.bbox": "standard"}):
                figure.savefig(buffer := io.BytesIO(), format=kind, dpi=200, metadata=metadata)
            write(self.folder / "figures" / f"{plain_name(name)}.{kind}", buffer.getvalue())
        return figure

    def save_text(self, name: str, text: str) -> None:
        """Write NAME, a file of text such as a data card."""
        write(self.folder / plain_name(name), text)

    def set_data(self, name: str, sha256: str) -> None:
        """Record the data that the run works on."""
        self._update(data={"name": name, "sha256": sha256})

    def add_parents(self, *parents: str | Record) -> None:
        """Record runs that this one rests on, by id or as read back."""
        ids = [parent.id if isinstance(parent, Record) else parent for parent in parents]
        self._update(parents=list(dict.fromkeys([*self.record.parents, *ids])))

    def trained(self, references: Sequence[str]) -> dict[str, Record]:
        """Return the runs of 02 that are called so, of this run's profile, now its parents."""
        own = {"notebook": "02_training", "profile": self.record.profile}
        found = {reference: find(reference, **own) for reference in references}
        self.add_parents(*found.values())
        return found

    def resumes(self, reference: str) -> Path | None:
        """Return the folder of the run that this one goes on with, its parent; None for "".

        ``reference`` is an id, a folder or a name (then the latest of that name that left a
        checkpoint). Raises InputError for a run that is running still or completed, that has no
        checkpoint or other data, or whose parameters differ: which, then and now. Those that
        change no result (see ``counting``) may.
        """
        if not reference:
            return None
        earlier = _cut_off(reference, self.record)
        before = counting(earlier.notebook, earlier.parameters)
        now = counting(earlier.notebook, self.parameters)
        differ = [f"{n} was {before[n]!r} and is {now[n]!r}" for n in now if now[n] != before[n]]
        if differ:
            raise InputError(
                f"run {earlier.id} cannot be resumed with other parameters: {'; '.join(differ)}. "
                f"It was started by: {earlier.command}"
            )
        if earlier.data is None or earlier.data["sha256"] != (self.record.data or {}).get("sha256"):
            raise InputError(
                f"run {earlier.id} cannot be resumed: its data were {earlier.data}, "
                f"and are {self.record.data}"
            )
        self.add_parents(earlier)
        return earlier.folder

    def progress(self, total: int, what: str, unit: str) -> Any:
        """Return a tqdm bar for ``total`` units; where there is nothing to do, none is shown.

        It is text: a widget would be lost where a notebook is opened again.
        """
        from tqdm import tqdm

        options = {"desc": what, "unit": f" {unit}", "unit_scale": True, "disable": not total}
        every = 0.5 if self.interactive else 5  # seconds; papermill keeps each line
        return tqdm(total=total, file=sys.stdout, mininterval=every, miniters=1, **options)

    def path(self, given: str) -> Path:
        """Return a path given as a parameter; a relative one begins where the caller stood."""
        return callers_path(given)

    @property
    def interactive(self) -> bool:
        """Whether a person watches, in JupyterLab, and progress bars are seen to move."""
        return is_watched()

    def finish(self, status: Status = "completed") -> Record:
        """End the run with ``status``, write README.md and RUNLOG.md, return the run read back.

        A completed run keeps no checkpoint: it is three times the weights, and nothing goes on
        from there.
        """
        ended = [known for known in get_args(Status) if known != "running"]
        check_name("status of an ended run", status, ended)
        self._finished = True
        if status == "completed":
            (self.folder / CHECKPOINT).unlink(missing_ok=True)
        return self._end(status, None)

    def _update(self, **changes: Any) -> None:
        self.record = self.record.model_copy(update=changes)
        _store(self.record)

    def _end(self, status: str, error: str | None) -> Record:
        self.record = end_run(self.record, status, error)
        return self.record

    def _after_cell(self, result: Any) -> None:
        """IPython's hook: a cell that raises ends the run, unless it finished before.

        In JupyterLab the cell may be mended and the run go on: ``finish`` has the last word.
        """
        error = result.error_before_exec or result.error_in_exec
        if isinstance(error, NameError):
            print("A name is missing that a cell above sets: run the cells in order, from the top.")
        if error is not None and not self._finished:
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            status = getattr(error, "run_status", status)  # training.Diverged: diverged
            self._end(status, f"{type(error).__name__}: {error}".removesuffix(": "))

    def _at_exit(self, executed: Path | None) -> None:
        """The kernel's last act where no ``execute`` waits for it."""
        if executed and executed.exists():
            write(self.folder / "notebook.ipynb", portable(executed.read_text(encoding="utf-8")))
        if self.record.status == "running":
            self._end("failed" if executed else "interrupted", "ended without run.finish()")


_current: Run | None = None


def start(notebook: str, scope: dict[str, Any], parents: Sequence[str | Record] = ()) -> Run:
    """Return the run that this notebook makes; ``scope`` is its ``globals()``.

    The declared parameters are taken out of ``scope`` and checked. Plain papermill only warns of
    a misspelt one, which is then just one more literal in ``scope``: it is refused here, with
    InputError and before any folder is made; so are frames, runs and files that are missing. A
    value that papermill was given, and that a cell of the notebook sets anew, is warned of: the
    cell's counts.
    """
    global _current
    declared = parameters(notebook)
    # Once a run was started here (JupyterLab), the notebook's own variables are in scope too.
    for name, value in scope.items() if _current is None else ():
        if isinstance(value, LITERALS) and not name.startswith("_") and name not in ("In", "Out"):
            check_name("parameter", name, declared, of=f" of {notebook}")
    values = check(notebook, {name: scope[name] for name in declared if name in scope})
    profile = os.environ.get("MODSNR_PROFILE") or None
    if "MODSNR_RUN_FOLDER" not in os.environ:  # else ``execute`` has looked
        need(notebook, values, profile)
    if _current is not None:
        if _current.record.status == "running":
            _current._end("interrupted", "started anew in the same kernel")
        _current._finished = True
    # Taken out of the environment: only one run, and no child process, may adopt the folder.
    adopted = os.environ.pop("MODSNR_RUN_FOLDER", None)
    if adopted:
        run = Run(Record.load(adopted))
        if run.record.notebook != notebook:
            raise InputError(f"runs.start({notebook!r}) in the notebook {run.record.notebook}")
    else:
        # The lock is never closed: it is free once this process is gone, and not before.
        run = Run(make_run(notebook, values, profile)[0])
    given = run.parameters if adopted else papermill_parameters(papermill_output())
    lost = {name: given[name] for name in values if given.get(name, values[name]) != values[name]}
    for name, value in lost.items():
        warnings.warn(
            f"{name} was given as {value!r}, but a cell of the notebook sets it to "
            f"{values[name]!r}: the run uses {values[name]!r}. Delete that line to use what is "
            "given.",
            stacklevel=2,
        )
    if lost:
        run.parameters = values
        run._update(overridden=lost, **_given(notebook, values, profile))
    run._update(hardware=hardware())
    run.add_parents(*parents)
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell:
        shell.events.register("post_run_cell", run._after_cell)
        if not adopted:
            atexit.register(run._at_exit, papermill_output())
    _current = run
    if run.interactive:
        from IPython.display import display

        display(run.record)
    return run


def _given(notebook: str, values: dict[str, Any], profile: str | None) -> dict[str, Any]:
    """Return what a record holds of its parameters."""
    defaults = check(notebook, {})
    return {
        "parameters": values,
        "changed": [n for n, v in values.items() if v != defaults[n] and n not in UNCOUNTED],
        "command": command(notebook, values, profile),
        "seeds": {n: v for n, v in values.items() if n == "seed" or n.endswith("_seed")},
    }


def make_run(
    notebook: str,
    values: dict[str, Any],
    profile: str | None,
    sweep: dict[str, Any] | None = None,
) -> tuple[Record, int]:
    """Make a run's folder; return its record and the open lock, which lives as the process does."""
    now = datetime.now(UTC)
    facts = {
        "notebook": notebook,
        "status": "running",
        "started": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "profile": profile,
        **_given(notebook, values, profile),
        "git": commit(),
        "versions": versions(),
        "hardware": hardware(),
        "name": values.get("name", "run"),
        "note": values.get("note", ""),
        "sweep": sweep,
    }
    id = f"{now:%Y%m%dT%H%M%SZ}-{notebook}-{facts['name']}"
    folder, number = root() / "runs" / id, 1
    while True:
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:  # of another run of this second and name
            number += 1
            folder = folder.with_name(f"{id}-{number}")
    lock = hold(folder / ".lock")
    record = Record(folder=folder, id=folder.name, **facts)
    _store(record)
    write_runlog()
    return record, lock


def end_run(record: Record, status: str, error: str | None) -> Record:
    """Store the end of a run, write its README.md, renew RUNLOG.md and return the record."""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(record.started)).total_seconds()
    ended = {"status": status, "error": error, "wall_seconds": round(seconds, 1)}
    record = record.model_copy(update=ended | {"hardware": record.hardware | hardware()})
    _store(record)
    # A run that has ended needs no lock, nor does one that is committed.
    (record.folder / ".lock").unlink(missing_ok=True)
    write_readme(write_runlog(), record)
    return record


def _cut_off(reference: str, own: Record) -> Record:
    """Return the run with a checkpoint that ``reference`` names; InputError if none can go on."""
    known = [run for run in records() if run.notebook == own.notebook and run.id != own.id]
    name = Path(reference).name
    check_name("run", name, [n for run in known for n in (run.id, run.name)], f" of {own.notebook}")
    named = [run for run in known if name in (run.id, run.name)]
    left = [run for run in named if (run.folder / CHECKPOINT).exists()]
    earlier = left[0] if left else named[0]
    if earlier.status in ("completed", "running"):
        so = "completed: nothing is left to do" if earlier.status == "completed" else "running"
        raise InputError(f"run {earlier.id} is {so}; only a run that was cut off is resumed")
    if not left:
        raise InputError(f"run {earlier.id} left no {CHECKPOINT} to go on from: start anew")
    return earlier


def _store(record: Record) -> None:
    write(record.folder / "run.json", portable(record.model_dump_json(indent=1)) + "\n")
