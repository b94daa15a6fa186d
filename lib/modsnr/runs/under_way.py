"""A run under way: its folder, what it saves, where it comes from."""

from __future__ import annotations

import atexit
import fcntl
import importlib.metadata
import io
import os
import platform
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic_core import to_json

from modsnr import InputError
from modsnr.files import check_name, write
from modsnr.runs.log import write_runlog
from modsnr.runs.parameters import check, counting, parameters
from modsnr.runs.profiles import command
from modsnr.runs.records import CHECKPOINT, Record, Status, is_watched, records
from modsnr.runs.repository import commit, notebook_path, plain_name, portable, root
from modsnr.runs.tables import ShownTable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


PACKAGES = (
    *("modsnr", "numpy", "scipy", "scikit-learn", "pandas", "h5py", "numba", "torch"),
    *("torchvision", "timm", "lightning", "captum", "matplotlib", "papermill", "ipykernel"),
)


class Run:
    """A run under way: what it saves goes to its folder, each file whole or not at all."""

    def __init__(self, record: Record):
        self.record = record
        self.folder, self.id, self.parameters = record.folder, record.id, record.parameters
        self._closed = False

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

    def set_data(self, name: str, sha256: str) -> None:
        """Record the data that the run works on."""
        self._update(data={"name": name, "sha256": sha256})

    def add_parents(self, *parents: str | Record) -> None:
        """Record runs that this one rests on, by id or as read back."""
        ids = [parent.id if isinstance(parent, Record) else parent for parent in parents]
        self._update(parents=list(dict.fromkeys([*self.record.parents, *ids])))

    def resumes(self, reference: str) -> Path | None:
        """Return the folder of the run that this one goes on with, its parent; None for "".

        ``reference`` is an id, a folder or a name (then the latest of that name that left a
        checkpoint). Raises InputError for a run that is running still or completed, that has no
        checkpoint or other data, or whose parameters differ: which, then and now. Those that
        change no result (see ``counting``) may.
        """
        if not reference:
            return None
        notebook = self.record.notebook
        known = [run for run in records() if run.notebook == notebook and run.id != self.id]
        name = Path(reference).name
        check_name("run", name, [n for run in known for n in (run.id, run.name)], f" of {notebook}")
        named = [run for run in known if name in (run.id, run.name)]
        left = [run for run in named if (run.folder / CHECKPOINT).exists()]
        earlier = left[0] if left else named[0]
        if earlier.status in ("completed", "running"):
            so = "completed: nothing is left to do" if earlier.status == "completed" else "running"
            raise InputError(f"run {earlier.id} is {so}; only a run that was cut off is resumed")
        if not left:
            raise InputError(f"run {earlier.id} left no {CHECKPOINT} to go on from: start anew")
        before = counting(notebook, earlier.parameters)
        differ = [
            f"{name} was {before[name]!r} and is {value!r}"
            for name, value in counting(notebook, self.parameters).items()
            if value != before[name]
        ]
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

    def save_text(self, name: str, text: str) -> None:
        """Write NAME, a file of text such as a data card."""
        write(self.folder / plain_name(name), text)

    def progress(self, total: int, what: str, unit: str) -> Any:
        """Return a tqdm bar for ``total`` units: moving where a person watches, else lines.

        Where there is nothing to do, none is shown.
        """
        from tqdm.auto import tqdm

        bar = tqdm if self.interactive else _lines_of_progress()
        return bar(total=total, desc=what, unit=f" {unit}", unit_scale=True, disable=not total)

    def show_table(self, table: pd.DataFrame) -> ShownTable:
        """Return what shows a table: to sort and filter where a person watches, else as it is."""
        return ShownTable(table, live=self.interactive)

    def path(self, given: str) -> Path:
        """Return a path given as a parameter; a relative one begins where the caller stood."""
        return Path(os.environ.get("MODSNR_CALLED_FROM", "."), given).absolute()

    @property
    def interactive(self) -> bool:
        """Whether a person watches, in JupyterLab, and progress bars are seen to move."""
        return is_watched()

    def finish(self, status: Status = "completed") -> Record:
        """End the run with ``status``, renew RUNLOG.md and return the run read back.

        A completed run keeps no checkpoint: it is three times the weights, and nothing goes on
        from there.
        """
        check_name(
            "status of an ended run", status, [s for s in get_args(Status) if s != "running"]
        )
        self._closed = True
        if status == "completed":
            (self.folder / CHECKPOINT).unlink(missing_ok=True)
        return self._end(status, None)

    def _update(self, **changes: Any) -> None:
        self.record = self.record.model_copy(update=changes)
        _store(self.record)

    def _end(self, status: str, error: str | None) -> Record:
        self.record = _end(self.record, status, error)
        return self.record

    def _after_cell(self, result: Any) -> None:
        """IPython's hook: a cell that raises ends the run, unless it finished before.

        In JupyterLab the cell may be mended and the run go on: ``finish`` has the last word.
        """
        error = result.error_before_exec or result.error_in_exec
        if error is not None and not self._closed:
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            status = getattr(error, "run_status", status)  # training.Diverged says diverged
            self._end(status, f"{type(error).__name__}: {error}".removesuffix(": "))

    def _at_exit(self, executed: Path | None) -> None:
        """The kernel's last act where no ``execute`` waits for it."""
        if executed and executed.exists():
            write(self.folder / "notebook.ipynb", portable(executed.read_text(encoding="utf-8")))
        if self.record.status == "running":
            self._end("failed" if executed else "interrupted", "ended without run.finish()")


def _lines_of_progress() -> Any:
    """Return a tqdm that prints a line now and then, with rate and time left, for a log."""
    from tqdm import tqdm

    class Lines(tqdm):
        def __init__(self, *arguments: Any, **options: Any):
            super().__init__(
                *arguments, file=sys.stdout, ncols=0, mininterval=5, miniters=1, **options
            )

        def display(self, msg: str | None = None, pos: int | None = None) -> bool:  # noqa: ARG002
            if self.n:
                print(self, flush=True)
            return True

        def close(self) -> None:
            if not self.disable:
                self.display()
            self.disable = True

    return Lines


_current: Run | None = None


def start(notebook: str, scope: dict[str, Any], parents: Sequence[str | Record] = ()) -> Run:
    """Return the run that this notebook makes; ``scope`` is its ``globals()``.

    The declared parameters are taken out of ``scope`` and checked. Plain papermill only warns of
    a misspelt one, which is then just one more literal in ``scope``: it is refused here, with
    InputError and before any folder is made.
    """
    global _current
    declared = parameters(notebook)
    literals = (int, float, str, list, tuple, dict, type(None))
    # Once a run was started here (JupyterLab), the notebook's own variables are in scope too.
    for name, value in scope.items() if _current is None else ():
        if isinstance(value, literals) and not name.startswith("_") and name not in ("In", "Out"):
            check_name("parameter", name, declared, of=f" of {notebook}")
    values = check(notebook, {name: scope[name] for name in declared if name in scope})
    if _current is not None:
        if _current.record.status == "running":
            _current._end("interrupted", "started anew in the same kernel")
        _current._closed = True
    # Taken out of the environment: only one run, and no child process, may adopt the folder.
    adopted = os.environ.pop("MODSNR_RUN_FOLDER", None)
    if adopted:
        run = Run(Record.load(adopted))
        if run.record.notebook != notebook:
            raise InputError(f"runs.start({notebook!r}) in the notebook {run.record.notebook}")
    else:
        # The lock is never closed: it is free once this process is gone, and not before.
        run = Run(_make(notebook, values, os.environ.get("MODSNR_PROFILE") or None)[0])
    run._update(hardware=_hardware())
    run.add_parents(*parents)
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell:
        shell.events.register("post_run_cell", run._after_cell)
        if not adopted:
            atexit.register(run._at_exit, _papermill_output())
    _current = run
    return run


def _make(
    notebook: str,
    values: dict[str, Any],
    profile: str | None,
    sweep: dict[str, Any] | None = None,
) -> tuple[Record, int]:
    """Make a run's folder; return its record and the open lock, which lives as the process does."""
    notebook = notebook_path(notebook).stem
    now = datetime.now(UTC)
    defaults = check(notebook, {})
    told = {
        "notebook": notebook,
        "status": "running",
        "started": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "profile": profile,
        "parameters": values,
        "changed": [n for n, v in values.items() if v != defaults[n] and n not in ("name", "note")],
        "command": command(notebook, values, profile),
        "git": commit(),
        "seeds": {n: v for n, v in values.items() if n == "seed" or n.endswith("_seed")},
        "versions": _versions(),
        "hardware": _hardware(),
        "name": values.get("name", "run"),
        "note": values.get("note", ""),
        "sweep": sweep,
    }
    folder = _reserve(f"{now:%Y%m%dT%H%M%SZ}-{notebook}-{told['name']}")
    lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    fcntl.flock(lock, fcntl.LOCK_EX)
    record = Record(folder=folder, id=folder.name, **told)
    _store(record)
    write_runlog()
    return record, lock


def _reserve(id: str) -> Path:
    """Make and return a new folder of that id, with -2, -3, ... if another run has it."""
    number = 1
    while True:
        folder = root() / "runs" / (id if number == 1 else f"{id}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1


def _end(record: Record, status: str, error: str | None) -> Record:
    """Store the end of a run, renew RUNLOG.md and return the record."""
    wall = _seconds_since(record.started)
    ended = {"status": status, "error": error, "wall_seconds": round(wall, 1)}
    record = record.model_copy(update=ended | {"hardware": record.hardware | _hardware()})
    _store(record)
    # Nobody asks for the lock of a run that ended, and a run that is committed needs none.
    (record.folder / ".lock").unlink(missing_ok=True)
    write_runlog()
    return record


def _store(record: Record) -> None:
    write(record.folder / "run.json", portable(record.model_dump_json(indent=1)) + "\n")


def _seconds_since(started: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(started)).total_seconds()


def _versions() -> dict[str, str]:
    installed = {}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            installed[package] = importlib.metadata.version(package)
    return {"python": platform.python_version()} | installed


def _hardware() -> dict[str, Any]:
    """Return operating system, processor, cores, memory and, if torch is loaded, the GPUs."""
    import psutil

    info = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:  # only Linux tells its distribution so
        system = platform.platform(terse=True)
    hardware: dict[str, Any] = {
        "system": system,
        "cpu": models[0] if models else platform.processor(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
    }
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        gpus = range(torch.cuda.device_count())
        hardware["gpus"] = [torch.cuda.get_device_name(number) for number in gpus]
    return hardware


def _papermill_output() -> Path | None:
    """Return the notebook that our parent writes, if that is plain papermill; else None.

    Papermill tells a kernel nothing of it, so its command line is read. Its ``--cwd`` moves the
    process: then the shell's folder is where the path begins.
    """
    import psutil

    try:
        parent = psutil.Process(os.getppid())
        words, folders = parent.cmdline(), (parent.cwd(), parent.environ().get("PWD", ""))
    except psutil.Error:
        return None
    notebooks = [word for word in words if word.endswith(".ipynb")]
    if len(notebooks) < 2 or "papermill" not in [Path(word).name for word in words]:
        return None
    paths = (Path(folder, notebooks[1]) for folder in folders)
    return next((path for path in paths if path.exists()), None)
