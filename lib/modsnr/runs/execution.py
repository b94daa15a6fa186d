"""Notebooks run strictly, one or a pipeline of them."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from modsnr import InputError
from modsnr.runs.log import _portable, _write
from modsnr.runs.parameters import (
    _notebook,
    _of,
    check,
    load_profile,
    root,
)
from modsnr.runs.records import (
    Record,
    Status,
    measured,
)
from modsnr.runs.under_way import _end, _make


class NotCompletedError(RuntimeError):
    """A step of a pipeline did not complete; the message says which, how, and where to look."""


def execute(
    notebook: str,
    *,
    profile: str | None = None,
    parameters: dict[str, Any] | None = None,
    name: str | None = None,
    sweep: dict[str, Any] | None = None,
    echo: Callable[[str], object] | None = None,
) -> Record:
    """Run a notebook with papermill and return its run, whatever its status.

    Everything is checked before anything starts (InputError). ``echo`` is called with what the
    notebook prints; ``sweep`` is kept in the record and tells whose trial this is. SIGINT or
    SIGTERM interrupts the cell, ends the run as interrupted, and is raised as KeyboardInterrupt.
    """
    notebook = _notebook(notebook).stem
    preset = _of(load_profile(profile) if profile else None, notebook)
    values = check(notebook, preset | (parameters or {}) | ({} if name is None else {"name": name}))
    record, lock = _make(notebook, values, profile, sweep)
    # The kernel inherits the open lock, so it is held from before the kernel starts until both
    # processes are gone: there is no handover, hence no instant at which the run looks crashed.
    try:
        outcome, error, interrupted = _papermill(record, lock, echo)
        record = Record.load(record.folder)
        if outcome == "completed" and record.status == "running":
            outcome, error = "failed", "the notebook ended without run.finish()"
        # What the notebook said of its own end (diverged, say) is worth more than how it stopped.
        told = record.status not in ("running", "completed")
        if outcome == "interrupted" or (outcome != "completed" and not told):
            record = _end(record, outcome, error)
    finally:
        os.close(lock)
    if interrupted:
        raise KeyboardInterrupt
    return record


def prune(record: Record, why: str) -> Record:
    """Call an interrupted run pruned, with the reason, and return it read back."""
    if record.status != "interrupted":
        raise InputError(f"run {record.id} is {record.status}: only an interrupted one is pruned")
    return _end(record, "pruned", why)


def reproduce(profile: str, *, echo: Callable[[str], object] | None = None) -> list[Record]:
    """Run the profile's pipeline in order and return its runs; ``echo`` gets a line a step.

    Raises NotCompletedError at the first run that is not completed.
    """
    steps = load_profile(profile).pipeline
    if not steps:
        raise InputError(f"profile {profile} has no pipeline")
    done = []
    for number, step in enumerate(steps, 1):
        record = execute(
            step.notebook, profile=profile, parameters=step.parameters, name=step.name, echo=echo
        )
        accuracy = measured(record.metrics.get("joint_accuracy"))
        line = f"step {number} of {len(steps)}: {step.notebook} ({step.name}) {record.status}"
        if echo:
            echo(f"{line}, {record.wall_seconds} s, joint accuracy {accuracy or 'none'}\n")
        if record.status != "completed":
            raise NotCompletedError(f"{line}: {record.error}; see runs/{record.id}/notebook.ipynb")
        done.append(record)
    return done


def _papermill(
    record: Record, lock: int, echo: Callable[[str], object] | None
) -> tuple[Status, str | None, bool]:
    """Run the notebook into the run's folder; return how it ended, why, and if on a signal."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    # It takes every annotation with a bracket for an unknown parameter; ours are checked.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    output = record.folder / "notebook.ipynb"
    stream = SimpleNamespace(write=echo, flush=lambda: None) if echo else None
    how, why = "completed", None
    with _signals_passed_on() as (kernels, asked):

        def stop_if_asked(**_: Any) -> None:
            if asked.is_set():
                raise KeyboardInterrupt

        try:
            papermill.execute_notebook(
                _notebook(record.notebook),
                output,
                parameters=record.parameters,
                kernel_name="python3",
                language="python",
                kernel_manager_class=_kernel_class(record, lock, kernels),
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
            asked.set()
            how = "interrupted"
        except RuntimeError as error:
            # What nbclient makes of a dead kernel, be it in a cell or before the first.
            how, why = "crashed", f"{error or 'Kernel died'} in cell [{_last_cell(output)}]"
    if asked.is_set() and how != "completed":
        how, why = "interrupted", why or "KeyboardInterrupt"
    if output.exists():
        _write(output, _portable(output.read_text(encoding="utf-8")))
    return how, why, asked.is_set()


def _kernel_class(record: Record, lock: int, kernels: list[Any]) -> type:
    """Return a kernel manager whose kernels belong to this run, and list them in ``kernels``."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    environment = {
        "MODSNR_CALLED_FROM": os.getcwd(),
        "MODSNR_ROOT": str(root()),
        "MODSNR_RUN_FOLDER": str(record.folder),
        "MODSNR_PROFILE": record.profile or "",
    }

    class Kernel(AsyncKernelManager):
        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            # Without folders to look in there is only the native kernel, which is this very
            # interpreter; any other "python3" on Jupyter's path would run other packages.
            return KernelSpecManager(kernel_dirs=[])

        def _transport_encryption_default(self) -> str:
            return "auto"

        async def start_kernel(self, **options: Any) -> None:
            kernels.append(self)
            options |= {"env": os.environ | environment, "cwd": str(root() / "notebooks")}
            await super().start_kernel(**options, pass_fds=[lock])

    return Kernel


@contextmanager
def _signals_passed_on() -> Iterator[tuple[list[Any], threading.Event]]:
    """Pass SIGINT and SIGTERM on to the kernels that get listed; the event tells of it.

    A kernel is in a session of its own and hears no Ctrl-C. Interrupted, its cell raises
    KeyboardInterrupt, so that the notebook is kept as far as it came. A second signal stops this
    process at once. Only a main thread may handle signals; in another nothing is passed on.
    """
    kernels: list[Any] = []
    asked = threading.Event()

    def pass_on(*_: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        for kernel in kernels:
            with suppress(ProcessLookupError, AttributeError):
                os.killpg(kernel.provisioner.pid, signal.SIGINT)

    main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if main else ()
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        yield kernels, asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _last_cell(path: Path) -> int:
    """Return the execution count of the last cell that began; papermill calls all completed."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return max((cell.get("execution_count") or 0 for cell in cells), default=0)
