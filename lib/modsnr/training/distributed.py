"""A fit on several devices: a process for each, a rank.

Ranks are started afresh: a notebook's kernel cannot be forked once its threads run. They find the
network, the frames and the settings in a file of the fit's folder, which ranks on several machines
share. The process that asks for the fit holds the store at which the
ranks meet and to which they report; they end as soon as it is gone.
"""

from __future__ import annotations

import json
import os
import pkgutil
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import distributed
from torch.multiprocessing.spawn import ProcessContext, ProcessException, start_processes

from modsnr import InputError
from modsnr.model import JointNet, write_tensors
from modsnr.training.checkpoint import Progress, joined, under
from modsnr.training.learner import Task
from modsnr.training.loop import Diverged, carry_out
from modsnr.training.recipe import Execution, Recipe, Report
from modsnr.training.sampling import Labelled

TASK = ".task.safetensors"  # in the fit's folder, as long as it lasts
# In the store: lines of JSON, a finished epoch or a failed rank each; then the fit's progress.
ROWS, FAILURES, PROGRESS = "rows", "failures", "progress"
LOOK_EVERY_S = 0.1
ERRORS = {kind.__name__: kind for kind in (InputError, Diverged)}
TCPStore: Any = distributed.TCPStore  # pyright: ignore[reportPrivateImportUsage]


def check(task: Task) -> None:
    """Raise InputError where a fit cannot be done on the devices that are wanted."""
    execution, batch_size = task.execution, task.recipe.batch_size
    ranks, here = execution.ranks, torch.cuda.device_count()
    if batch_size % ranks:
        raise InputError(
            f"batch_size counts the frames of all devices, and {ranks} cannot share "
            f"{batch_size} evenly: give {batch_size - batch_size % ranks or ranks}, say."
        )
    if execution.num_nodes == 1 and 0 < here < execution.devices:
        raise InputError(f"devices is {execution.devices}, but this machine has {here}.")
    if execution.num_nodes > 1 and not ("SLURM_JOB_ID" in os.environ and shutil.which("srun")):
        raise InputError(
            f"num_nodes is {execution.num_nodes}: several machines are available within a SLURM "
            "job only, where srun starts the processes. notebooks/README.md shows such a job."
        )
    if ranks > 1 and not hasattr(task.draw, "settings"):
        raise InputError(
            "The processes of several devices make the draw again from its class and settings, "
            f"and {task.draw!r} has none: give diagrams.Canvas(...)."
        )


def fit_on_several(task: Task, report: Report | None) -> Progress:
    """Have ranks do a fit, which leave its files in the task's folder; return its progress.

    An InputError or Diverged of a rank is raised here; RuntimeError names any other end.
    """
    path = task.folder.absolute() / TASK
    host = "127.0.0.1" if task.execution.num_nodes == 1 else socket.gethostname()
    # The store is kept here: a port found free could be gone before rank 0 is there.
    store = TCPStore(host, 0, is_master=True, wait_for_workers=False)
    for key in (ROWS, FAILURES):
        store.set(key, "")  # nobody ever waits for them
    try:
        _write(task, path)
        with _started(path, task.execution, store) as ranks:
            _wait_for(ranks, store, report)
    finally:
        path.unlink(missing_ok=True)
    return Progress.from_json(store.get(PROGRESS))


def _write(task: Task, path: Path) -> None:
    parts: dict[str, Any] = {"net": task.net.state_dict()}
    for name, frames in (("train", task.train), ("validation", task.validation)):
        parts[name] = {key: part for key, part in frames._asdict().items() if part is not None}
    tensors = joined(parts)
    draw: Any = task.draw
    settings = {
        "net": task.net.settings,
        "draw": (f"{type(draw).__module__}:{type(draw).__qualname__}", draw.settings),
        "recipe": asdict(task.recipe),
        "folder": str(task.folder.absolute()),
        "execution": asdict(replace(task.execution, report=None)),
    }
    write_tensors(tensors, path, {"task": json.dumps(settings)})


def _read(path: Path) -> Task:
    with safe_open(path, framework="pt") as file:
        settings = json.loads(file.metadata()["task"])
        # Mapped, not read: the ranks of a machine share its pages.
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    net = JointNet(**settings["net"], pretrained=False)
    net.load_state_dict(under(tensors, "net."))
    draw, drawing = settings["draw"]
    return Task(
        net,
        pkgutil.resolve_name(draw)(**drawing),
        Labelled(**under(tensors, "train.")),
        Labelled(**under(tensors, "validation.")),
        Recipe(**settings["recipe"]),
        Path(settings["folder"]),
        Execution(**settings["execution"]),
    )


@contextmanager
def _started(path: Path, execution: Execution, store: Any) -> Iterator[ProcessContext]:
    """Yield the processes of the ranks, or srun's that has them; they end with the block."""
    threads = str(max(1, (os.cpu_count() or 1) // execution.devices))
    environment = {f"{name}_NUM_THREADS": threads for name in ("OMP", "NUMBA")} | os.environ
    environment |= {
        "MASTER_ADDR": store.host,
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # ranks join the store that is there
        "TORCHELASTIC_RESTART_COUNT": "0",  # torch 2.4 reads it
        "WORLD_SIZE": str(execution.ranks),
    }
    if execution.num_nodes == 1:
        start, arguments, count = run_here, (path, environment), execution.devices
    else:
        for name in ("RANK", "LOCAL_RANK", "NODE_RANK"):  # each task's are SLURM's
            environment.pop(name, None)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        command = [*_srun(execution), sys.executable, "-m", "modsnr.training", str(path)]
        start, arguments, count = become, (command, environment), 1
    ranks: Any = start_processes(start, arguments, count, join=False, daemon=True)
    try:
        yield ranks
    finally:
        for process in ranks.processes:
            process.terminate()
            process.join()
        for path in ranks.error_files:  # torch leaves them
            Path(path).unlink(missing_ok=True)


def _srun(execution: Execution) -> list[str]:
    words = [f"--nodes={execution.num_nodes}", f"--ntasks={execution.ranks}"]
    words += [f"--ntasks-per-node={execution.devices}", "--kill-on-bad-exit=1", "--unbuffered"]
    if cores := os.environ.get("SLURM_CPUS_PER_TASK"):
        words.append(f"--cpus-per-task={cores}")  # since 22.05 srun takes none from the job itself
    return ["srun", *words]


def _wait_for(ranks: ProcessContext, store: Any, report: Report | None) -> None:
    """Wait for the ranks to end, and report the epochs that they finish meanwhile."""
    reported, ended = 0, False
    while not ended:
        try:
            ended = ranks.join(timeout=LOOK_EVERY_S)
        except ProcessException as error:
            codes = [process.exitcode for process in ranks.processes]
            raise _failure(error, codes, _lines(store, FAILURES)) from error
        rows = _lines(store, ROWS)
        for row in rows[reported:]:
            if report is not None:
                report(row)
        reported = len(rows)


def _lines(store: Any, key: str) -> list[Any]:
    return [json.loads(line) for line in store.get(key).splitlines()]


def _failure(error: Exception, codes: list[int], failures: list[list[str]]) -> Exception:
    """Return the error that ended the ranks, by their exit codes and the failures they reported."""
    for kind, message in failures:
        if kind in ERRORS:
            return ERRORS[kind](message)
    if -signal.SIGKILL in codes:
        return RuntimeError(
            f"The process of rank {codes.index(-signal.SIGKILL)} was ended by SIGKILL. Where "
            "nobody did so it was the system, for want of memory. Resuming continues the fit from "
            "its checkpoint."
        )
    for kind, message in failures[:1]:  # the cause; the others follow from it
        return RuntimeError(f"A rank failed: {kind}: {message}")
    return RuntimeError(f"A rank ended unexplained: {error}")


# What runs in the processes of the ranks


def run_here(number: int, path: Path, environment: dict[str, str]) -> None:
    """Run one of this machine's ranks, in a process that torch has started for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asked for the fit ends it
    if "OMP_NUM_THREADS" not in os.environ:  # torch, imported by now, has taken all cores
        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    place = {"RANK": str(number), "LOCAL_RANK": str(number), "NODE_RANK": "0"}
    os.environ.update(environment | place)
    if Path("/sys/class/net/lo").exists():
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    take_part(path)


def become(_: int, command: list[str], environment: dict[str, str]) -> None:
    """Turn this process into another command."""
    os.execvpe(command[0], command, environment)


def take_part(path: Path) -> None:
    """Do this rank's part of the task that lies in ``path``; report its epochs and its end."""
    for name, of_slurm in (("", "PROCID"), ("LOCAL_", "LOCALID"), ("NODE_", "NODEID")):
        if f"{name}RANK" not in os.environ:
            os.environ[f"{name}RANK"] = os.environ[f"SLURM_{of_slurm}"]
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store, done = TCPStore(address, port, is_master=False), threading.Event()
    _end_with(store, path, done)
    try:
        progress = carry_out(_read(path), lambda row: store.append(ROWS, json.dumps(row) + "\n"))
        if os.environ["RANK"] == "0":
            store.set(PROGRESS, progress.as_json())
    except BaseException as error:
        store.append(FAILURES, json.dumps([type(error).__name__, str(error)]) + "\n")
        raise
    finally:
        done.set()


def _end_with(store: Any, path: Path, done: threading.Event) -> None:
    """Until ``done``, end this process, and remove the file, once the store does not answer."""

    def watch() -> None:
        try:
            while not done.wait(0.5):
                store.get(FAILURES)
        except RuntimeError:  # nobody answers
            path.unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
