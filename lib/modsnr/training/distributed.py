"""A fit on several devices, as seen from the process that asks for it.

Each device gets a process, a rank, started afresh: a notebook's kernel cannot be forked once its
threads run. The ranks find the network, the frames and the settings in a hidden folder of the
fit's, as safetensors and JSON; ranks on several machines share that folder. This process holds the
store at which the ranks meet and through which they report; they end as soon as it is gone.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial, reduce
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.spawn import ProcessContext, ProcessException, start_processes

from modsnr import InputError
from modsnr.model import JointNet, write_tensors
from modsnr.training import rank
from modsnr.training.checkpoint import CHECKPOINT, Progress, identity, read_checkpoint
from modsnr.training.learner import Outcome
from modsnr.training.loop import Diverged, is_done
from modsnr.training.prediction import Draw
from modsnr.training.recipe import Execution, Recipe, Report
from modsnr.training.sampling import Labelled

STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")
FOLDER = ".ranks"
LOOK_EVERY_S = 0.1
ERRORS = {kind.__name__: kind for kind in (InputError, Diverged)}


def check(recipe: Recipe, execution: Execution) -> None:
    """Raise InputError where a recipe cannot be followed on the devices asked for."""
    devices, num_nodes, ranks = execution.devices, execution.num_nodes, execution.ranks
    for name, number in (("devices", devices), ("num_nodes", num_nodes)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise InputError(f"{name} must be a whole number, 1 or more; it is {number!r}.")
    if execution.strategy not in STRATEGIES:
        raise InputError(
            f"strategy is one of {', '.join(STRATEGIES)}; it is {execution.strategy!r}. Others cut "
            "the network to pieces or start their processes in ways that a notebook does not "
            "survive."
        )
    if recipe.batch_size % ranks:
        lower = recipe.batch_size - recipe.batch_size % ranks or ranks
        raise InputError(
            f"batch_size counts the frames of all devices, and {ranks} cannot share "
            f"{recipe.batch_size} evenly: give {lower}, say."
        )
    here = torch.cuda.device_count()
    if num_nodes == 1 and 0 < here < devices:
        raise InputError(f"devices is {devices}, but this machine has {here}.")
    if num_nodes > 1 and ("SLURM_JOB_ID" not in os.environ or shutil.which("srun") is None):
        raise InputError(
            f"num_nodes is {num_nodes}: several machines are available within a SLURM job only, "
            "where srun starts the processes. README shows such a job."
        )


def fit_on_several(
    net: JointNet,
    draw: Draw,
    train: Labelled,
    validation: Labelled,
    recipe: Recipe,
    folder: Path,
    execution: Execution,
    report: Report | None,
) -> Outcome:
    """Have ranks do a fit, which leave its files in ``folder``; return how it ended.

    An InputError or Diverged of a rank is raised here; RuntimeError names any other end.
    """
    if (folder / CHECKPOINT).exists():
        _, progress = read_checkpoint(folder / CHECKPOINT, identity(recipe, net))
        if is_done(progress, recipe):
            return Outcome(progress, "cpu", recipe.batch_size // execution.ranks)
    order = {
        "net": net.settings,
        "recipe": asdict(recipe),
        "draw": name_of(draw),
        "folder": str(folder.absolute()),
        "execution": asdict(execution) | {"report": None},
    }
    hidden = folder.absolute() / FOLDER
    shutil.rmtree(hidden, ignore_errors=True)  # of a fit whose machine went down
    host = "127.0.0.1" if execution.num_nodes == 1 else socket.gethostname()
    # The store is kept here: a port found free could be gone before rank 0 is there.
    store = rank.TCPStore(host, 0, is_master=True, wait_for_workers=False)
    for key in (rank.ROWS, rank.FAILURES):
        store.set(key, "")  # nobody ever waits for them
    try:
        frames = {
            f"{part}.{name}": tensor
            for part, labelled in (("train", train), ("validation", validation))
            for name, tensor in labelled._asdict().items()
        }
        for name, tensor in frames.items():
            if tensor.is_complex():  # older safetensors know no complex64
                frames[name] = torch.view_as_real(tensor.resolve_conj())
        write_tensors(frames, hidden / rank.FRAMES, {})
        write_tensors(net.state_dict(), hidden / rank.NET, {})
        (hidden / rank.ORDER).write_text(json.dumps(order))
        with _started(hidden, execution, store) as ranks:
            _await(ranks, store, report)
        ended = json.loads(store.get(rank.OUTCOME))
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return Outcome(Progress.of_json(ended["progress"]), ended["device"], ended["micro_batch"])


def name_of(draw: Draw) -> dict[str, Any]:
    """Return a draw's ``name``, "module:name", and ``settings``, from which ranks make it again.

    It is a function of a module, such a one with settings by functools.partial, or an object whose
    ``settings`` are the keyword arguments that it was made with, as those of diagrams.Canvas.
    Raises InputError for any other, and for settings that JSON cannot hold.
    """
    maker: Any = draw
    settings: dict[str, Any] | None = None
    if isinstance(draw, partial):
        maker, settings = draw.func, dict(draw.keywords)
        known = not draw.args
    elif inspect.isfunction(draw):
        known = True
    else:
        maker = type(draw)
        settings = getattr(draw, "settings", None)
        known = settings is not None
    try:
        module = sys.modules["" if maker.__module__ == "__main__" else maker.__module__]
        known &= reduce(getattr, maker.__qualname__.split("."), module) is maker
        json.dumps(settings)
    except (KeyError, AttributeError, TypeError, ValueError):
        known = False
    if not known:
        raise InputError(
            f"The processes of several devices make the draw again by its name, and {draw!r} has "
            "none that they could know: give diagrams.Canvas(...), a function of a module, or one "
            "with plain settings by functools.partial."
        )
    return {"name": f"{maker.__module__}:{maker.__qualname__}", "settings": settings}


@contextmanager
def _started(hidden: Path, execution: Execution, store: Any) -> Iterator[ProcessContext]:
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
        start, arguments, count = rank.run_here, (hidden, environment), execution.devices
    else:
        for name in ("RANK", "LOCAL_RANK", "NODE_RANK"):  # each task's are SLURM's
            environment.pop(name, None)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        command = [*_srun(execution), sys.executable, "-m", "modsnr.training", str(hidden)]
        start, arguments, count = rank.become, (command, environment), 1
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


def _await(ranks: ProcessContext, store: Any, report: Report | None) -> None:
    """Wait for the ranks to end, and report the epochs that they finish meanwhile."""
    reported, ended = 0, False
    while not ended:
        try:
            ended = ranks.join(timeout=LOOK_EVERY_S)
        except ProcessException as error:
            codes = [process.exitcode for process in ranks.processes]
            raise _failure(codes, _lines(store, rank.FAILURES)) from error
        rows = _lines(store, rank.ROWS)
        for row in rows[reported:]:
            if report is not None:
                report(row)
        reported = len(rows)


def _lines(store: Any, key: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in store.get(key).splitlines()]


def _failure(codes: list[int], failures: list[dict[str, Any]]) -> Exception:
    """Return the error that ended the ranks, by their exit codes and the failures they reported.

    The first failure is the cause; the others follow from it.
    """
    for failure in failures:
        if failure["kind"] in ERRORS:
            return ERRORS[failure["kind"]](failure["message"])
    for number, code in enumerate(codes):
        if code < 0 and code != -signal.SIGTERM:  # by which torch ends the others
            return RuntimeError(
                f"The process of rank {number} was ended by {signal.Signals(-code).name}. Where "
                "nobody did so it was the system, for want of memory. Resuming continues the fit "
                "from its checkpoint."
            )
    for failure in failures[:1]:
        return RuntimeError(
            f"Rank {failure['rank']} failed: {failure['kind']}: {failure['message']}"
        )
    return RuntimeError(f"The processes of the ranks ended with the codes {codes}, unexplained.")
