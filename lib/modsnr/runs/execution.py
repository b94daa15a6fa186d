"""A notebook run strictly by papermill: everything is checked before anything starts."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from modsnr.files import write
from modsnr.runs.needs import need
from modsnr.runs.parameters import check
from modsnr.runs.profiles import preset
from modsnr.runs.records import CHECKPOINT, Record, Status, find
from modsnr.runs.repository import notebook_path, portable, root
from modsnr.runs.run import end_run, make_run

Echo = Callable[[str], object]


@dataclass
class Stop:
    """A request to end a run: the kernel is interrupted, and the run ends with ``status``."""

    status: Status | None = None
    why: str = ""
    interrupts: list[Callable[[], object]] = field(default_factory=list)

    def now(self, status: Status = "interrupted", why: str = "KeyboardInterrupt") -> None:
        """End the run, if it is still running, as soon as possible."""
        self.status, self.why = status, why
        for interrupt in self.interrupts:
            interrupt()


def execute(
    notebook: str,
    *,
    profile: str | None = None,
    parameters: dict[str, Any] | None = None,
    name: str | None = None,
    sweep: dict[str, Any] | None = None,
    echo: Echo | None = None,
    stop: Stop | None = None,
) -> Record:
    """Run a notebook with papermill and return its run, whatever its status.

    Everything is checked before anything starts (InputError). A run that resumes another has its
    name, unless it is given one. ``echo`` is called with what the notebook prints; ``sweep`` is
    kept in the record and names the trial. SIGINT or SIGTERM in the main thread, or ``stop``,
    interrupts the cell and ends the run. One that was interrupted is raised as KeyboardInterrupt.
    """
    stop = stop or Stop()
    notebook = notebook_path(notebook).stem
    given = preset(profile, notebook) | (parameters or {})
    given |= {} if name is None else {"name": name}
    values = check(notebook, given)
    if values.get("resume"):
        # As strict as the names of parameters: nothing starts for a run that is not there.
        reference = Path(values["resume"]).name
        earlier = find(reference, notebook=notebook, status=None)
        values["name"] = given.get("name", earlier.name)
        values["resume"] = reference if reference == earlier.name else earlier.id
    need(notebook, values, profile)
    record, lock = make_run(notebook, values, profile, sweep)
    # The kernel inherits the open lock, so it is held from before the kernel starts until both
    # processes are gone: there is no handover, hence no instant at which the run looks crashed.
    try:
        with _stopped_by_signals(stop):
            kernel = _kernel_class(lock, _environment(record), stop)
            outcome, error = _papermill(record, kernel, echo, stop)
        record = Record.load(record.folder)
        if stop.status and outcome != "completed":
            outcome, error = stop.status, error if stop.status == "interrupted" else stop.why
        elif outcome == "completed" and record.status == "running":
            outcome, error = "failed", "the notebook ended without run.finish()"
        # A status that the notebook set itself (diverged, say) is worth more than how it stopped.
        ended_itself = record.status not in ("running", "completed") and not stop.status
        if outcome != "completed" and not ended_itself:
            record = end_run(record, outcome, error or stop.why)
    finally:
        os.close(lock)
    if stop.status == "interrupted":
        can_resume = (record.folder / CHECKPOINT).exists()
        how = f"; the same command goes on with -p resume {record.id}" if can_resume else ""
        raise KeyboardInterrupt(f"run {record.id} was interrupted{how}")
    return record


@contextmanager
def _stopped_by_signals(stop: Stop) -> Iterator[None]:
    """Pass SIGINT and SIGTERM on to the kernel; a second one stops this process at once."""

    def on_signal(*_: Any) -> None:
        if stop.status:
            raise KeyboardInterrupt
        stop.now()

    main = threading.current_thread() is threading.main_thread()  # only it may handle signals
    numbers = (signal.SIGINT, signal.SIGTERM) if main else ()
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _environment(record: Record) -> dict[str, str]:
    """Return the variables by which the notebook's process knows its run, and how it waits."""
    # GNU's OpenMP, which PyTorch comes with, has each thread spin for the others 300,000 times.
    # Beside one busy program that makes short loops up to sixty times as long.
    spins = os.environ.get("GOMP_SPINCOUNT", "10000")
    return {
        "GOMP_SPINCOUNT": spins,
        "MODSNR_CALLED_FROM": os.getcwd(),
        "MODSNR_ROOT": str(root()),
        "MODSNR_RUN_FOLDER": str(record.folder),
        "MODSNR_PROFILE": record.profile or "",
    }


def _papermill(
    record: Record, kernel: type, echo: Echo | None, stop: Stop
) -> tuple[Status, str | None]:
    """Run the notebook into the run's folder; return how it ended, and why."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    # It takes every annotation with a bracket for an unknown parameter; ours are checked.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    output = record.folder / "notebook.ipynb"
    stream = SimpleNamespace(write=echo, flush=lambda: None) if echo else None
    how, why = "completed", None

    def stop_between_cells(**_: Any) -> None:
        if stop.status:
            raise KeyboardInterrupt

    try:
        papermill.execute_notebook(
            notebook_path(record.notebook),
            output,
            parameters=record.parameters,
            kernel_name="python3",
            language="python",
            kernel_manager_class=kernel,
            on_cell_start=stop_between_cells,
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
        how, stop.status = "interrupted", stop.status or "interrupted"
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
            # Jupyter interrupts an idle kernel before it ends it, and the kernel then reports an
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
