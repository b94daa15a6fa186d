"""A notebook run strictly, by papermill or plainly."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from modsnr import InputError
from modsnr.files import write
from modsnr.runs.needs import need_frames, need_runs
from modsnr.runs.parameters import check
from modsnr.runs.plain import run_plainly
from modsnr.runs.profiles import preset
from modsnr.runs.records import CHECKPOINT, Record, Status, find
from modsnr.runs.repository import notebook_path, portable, root
from modsnr.runs.stopping import Stop, stoppable
from modsnr.runs.under_way import _end, _make


def execute(
    notebook: str,
    *,
    profile: str | None = None,
    parameters: dict[str, Any] | None = None,
    name: str | None = None,
    sweep: dict[str, Any] | None = None,
    plain: bool = False,
    seconds: float | None = None,
    echo: Callable[[str], object] | None = None,
) -> Record:
    """Run a notebook with papermill and return its run, whatever its status.

    Everything is checked before anything starts (InputError). A run that resumes another has its
    name, unless it is given one. ``echo`` is called with what the
    notebook prints; ``sweep`` is kept in the record and tells whose trial this is. ``plain`` does
    without papermill and Jupyter: see ``runs.plain``. SIGINT or SIGTERM interrupts the cell, ends
    the run as interrupted, and is raised as KeyboardInterrupt; so does the clock after so many
    ``seconds``, but nothing is raised.
    """
    notebook = notebook_path(notebook).stem
    asked = preset(profile, notebook) | (parameters or {})
    asked |= {} if name is None else {"name": name}
    values = check(notebook, asked)
    if values.get("resume"):
        # As strict as the names of parameters: nothing starts for a run that is not there.
        earlier = find(Path(values["resume"]).name, notebook=notebook, status=None)
        values["name"] = asked.get("name", earlier.name)
    if not plain:
        _need_papermill()
    need_frames(notebook, values, profile)
    need_runs(notebook, values, profile)
    record, lock = _make(notebook, values, profile, sweep)
    # The kernel inherits the open lock, so it is held from before the kernel starts until both
    # processes are gone: there is no handover, hence no instant at which the run looks crashed.
    try:
        with stoppable(seconds) as stop:
            run_it = run_plainly if plain else _papermill
            outcome, error = run_it(record, lock, _environment(record), echo, stop)
        if stop.asked and outcome != "completed":
            outcome, error = "interrupted", error if stop.by_signal and error else stop.why
        record = Record.load(record.folder)
        if outcome == "completed" and record.status == "running":
            outcome, error = "failed", "the notebook ended without run.finish()"
        # What the notebook said of its own end (diverged, say) is worth more than how it stopped.
        told = record.status not in ("running", "completed")
        if outcome == "interrupted" or (outcome != "completed" and not told):
            record = _end(record, outcome, error)
    finally:
        os.close(lock)
    if stop.by_signal:
        goes_on = (record.folder / CHECKPOINT).exists()
        how = f"; the same command goes on with -p resume {record.id}" if goes_on else ""
        raise KeyboardInterrupt(f"run {record.id} was interrupted{how}")
    return record


def prune(record: Record, why: str) -> Record:
    """Call an interrupted run pruned, with the reason, and return it read back."""
    if record.status != "interrupted":
        raise InputError(f"run {record.id} is {record.status}: only an interrupted one is pruned")
    return _end(record, "pruned", why)


def _need_papermill() -> None:
    try:
        import papermill  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"notebooks are run with papermill, which is not here ({error}): install it, or say "
            "--plain to run the cells without Jupyter"
        ) from error


def _environment(record: Record) -> dict[str, str]:
    """Return the variables by which the notebook's process knows its run, and how it waits.

    GNU's OpenMP, which PyTorch comes with, has each thread spin for the others 300,000 times.
    Beside one busy program it then waits some 4 ms at each of the many short loops, and whatever it
    does takes up to sixty times as long; 10,000 times are enough where the cores are free.
    """
    said = os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
    return ({} if said else {"GOMP_SPINCOUNT": "10000"}) | {
        "MODSNR_CALLED_FROM": os.getcwd(),
        "MODSNR_ROOT": str(root()),
        "MODSNR_RUN_FOLDER": str(record.folder),
        "MODSNR_PROFILE": record.profile or "",
    }


def _papermill(
    record: Record,
    lock: int,
    environment: dict[str, str],
    echo: Callable[[str], object] | None,
    stop: Stop,
) -> tuple[Status, str | None]:
    """Run the notebook into the run's folder; return how it ended, and why."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    # It takes every annotation with a bracket for an unknown parameter; ours are checked.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    output = record.folder / "notebook.ipynb"
    stream = SimpleNamespace(write=echo, flush=lambda: None) if echo else None
    how, why = "completed", None

    def stop_if_asked(**_: Any) -> None:
        if stop.asked:
            raise KeyboardInterrupt

    try:
        papermill.execute_notebook(
            notebook_path(record.notebook),
            output,
            parameters=record.parameters,
            kernel_name="python3",
            language="python",
            kernel_manager_class=_kernel_class(lock, environment, stop),
            on_cell_start=stop_if_asked,
            progress_bar=echo is not None and sys.stderr.isatty(),
            stdout_file=stream,
            stderr_file=stream,
            autosave_cell_every=10,
            iopub_timeout=60,
        )
    except PapermillExecutionError as error:
        how = "interrupted" if error.ename == "KeyboardInterrupt" else "failed"
        why = f"{error.ename}: {error.evalue}".removesuffix(": ")
    except KeyboardInterrupt:
        how, stop.by_signal = "interrupted", stop.by_signal or not stop.asked
        stop.asked = True
    except RuntimeError as error:
        # What nbclient makes of a dead kernel, be it in a cell or before the first.
        how, why = "crashed", f"{error or 'Kernel died'} in cell [{_last_cell(output)}]"
    if output.exists():
        write(output, portable(output.read_text(encoding="utf-8")))
    return how, why


def _kernel_class(lock: int, environment: dict[str, str], stop: Stop) -> type:
    """Return a kernel manager whose kernels belong to this run, and are interrupted by ``stop``."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class Kernel(AsyncKernelManager):
        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            # Without folders to look in there is only the native kernel, which is this very
            # interpreter; any other "python3" on Jupyter's path would run other packages.
            return KernelSpecManager(kernel_dirs=[])

        def _transport_encryption_default(self) -> str:
            return "auto"

        async def start_kernel(self, **options: Any) -> None:
            stop.interrupts.append(self._interrupt)
            options |= {"env": os.environ | environment, "cwd": str(root() / "notebooks")}
            await super().start_kernel(**options, pass_fds=[lock])

        async def _async_interrupt_kernel(self) -> None:
            # Before it asks an idle kernel to end, Jupyter interrupts it, which then tells of an
            # error at the end of a run in which there was none.
            if not self.shutting_down:
                await super()._async_interrupt_kernel()

        def _interrupt(self) -> None:
            # A cell raises KeyboardInterrupt, so that the notebook is kept as far as it came.
            with suppress(ProcessLookupError, AttributeError):
                os.killpg(cast(Any, self.provisioner).pid, signal.SIGINT)

    return Kernel


def _last_cell(path: Path) -> int:
    """Return the execution count of the last cell that began; papermill calls all completed."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return max((cell.get("execution_count") or 0 for cell in cells), default=0)
