"""A notebook's code run by plain Python, where there is no Jupyter.

The cells run in order in a process of their own; what a cell shows is not shown, what it prints
goes to ``output.txt`` in the run's folder. ``display`` is there, as in Jupyter, and does nothing.
"""

from __future__ import annotations

import json
import linecache
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import IO, Any, cast

from modsnr.runs import under_way
from modsnr.runs.records import Record, Status
from modsnr.runs.repository import notebook_path, portable
from modsnr.runs.stopping import Stop

OUTPUT = "output.txt"
CHILD = "from modsnr.runs.plain import _child; _child()"


def run_plainly(
    record: Record,
    lock: int,
    environment: dict[str, str],
    echo: Callable[[str], object] | None,
    stop: Stop,
) -> tuple[Status, str | None]:
    """Run the notebook of ``record`` and return how it ended, and why.

    The process inherits the open ``lock``; it ends as soon as this one is gone, however it went.
    """
    order = {"notebook": str(notebook_path(record.notebook)), "parameters": record.parameters}
    with tempfile.TemporaryFile() as words, open(record.folder / OUTPUT, "w") as output:
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", CHILD, str(words.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # No figure is shown, so none needs a screen.
            env=os.environ | environment | {"MPLBACKEND": "agg"},
            pass_fds=[lock, words.fileno()],
            start_new_session=True,
            encoding="utf-8",
            errors="replace",
        )
        assert process.stdin
        assert process.stdout

        def interrupt() -> None:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)

        try:
            stop.interrupts.append(interrupt)
            if stop.asked:
                interrupt()
            with suppress(BrokenPipeError):  # it died already
                process.stdin.write(json.dumps(order) + "\n")
                process.stdin.flush()
            for line in process.stdout:
                output.write(portable(line))
                output.flush()
                if echo:
                    echo(line)
            process.wait()
        except KeyboardInterrupt:  # the second: no more waiting for a good end
            return "interrupted", stop.why
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            with suppress(BrokenPipeError):
                process.stdin.close()
        return _outcome(words, process.returncode)


def _outcome(words: IO[bytes], code: int) -> tuple[Status, str | None]:
    """Return how it ended and why, from what the process told and its exit code."""
    words.seek(0)
    told: dict[str, Any] = {"cell": 0}
    for line in words:
        told |= json.loads(line)
    if "how" in told:
        return told["how"], told["why"]
    died = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return "crashed", f"the process {died} in cell [{told['cell']}]"


def _child() -> None:
    """Run the notebook that is ordered on standard input; end at once when that is closed."""
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.excepthook = _told
    with os.fdopen(int(sys.argv[1]), "w") as words:

        def tell(**what: Any) -> None:
            print(json.dumps(what), file=words, flush=True)

        run_cells(Path(order["notebook"]), order["parameters"], tell)


def _told(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Print what ended the run; that it was told to end, its parent says."""
    if not issubclass(kind, KeyboardInterrupt):
        # Python's own knows no lines but those of files.
        traceback.print_exception(kind, error, where)


def _end_with_parent() -> None:
    os.read(0, 1)  # nothing more is ever written: this is the pipe's end
    os.kill(os.getpid(), signal.SIGKILL)


def run_cells(path: Path, parameters: dict[str, Any], tell: Callable[..., object]) -> None:
    """Run the code cells of a notebook in order, ``parameters`` set after those it declares.

    ``tell(cell=number)`` is called as each begins, ``tell(how=status, why=text)`` at the end. What
    a cell raises ends the run as its ``run_status`` says, else as failed, and is raised.
    """
    os.chdir(path.parent)
    scope: dict[str, Any] = {"__name__": "__main__", "display": lambda *_, **__: None}
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for number, cell in enumerate((c for c in cells if c["cell_type"] == "code"), 1):
        tell(cell=number)
        source = "".join(cell["source"])
        name = f"{path.name} [{number}]"
        # So that tracebacks show the lines.
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        try:
            exec(compile(source, name, "exec", dont_inherit=True), scope)
        except BaseException as error:
            tell(**_ended_by(error))
            raise
        if "parameters" in cell.get("metadata", {}).get("tags", []):
            scope |= parameters
    tell(how="completed", why=None)


def _ended_by(error: BaseException) -> dict[str, str]:
    if under_way._current is not None:
        raised = SimpleNamespace(error_before_exec=None, error_in_exec=error)
        under_way._current._after_cell(raised)
    how = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
    how = cast(str, getattr(error, "run_status", how))
    return {"how": how, "why": f"{type(error).__name__}: {error}".removesuffix(": ")}
