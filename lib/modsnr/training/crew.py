"""A fit on several devices, seen from the one call that asks for it.

Each device gets a process, a rank, started afresh: a notebook's kernel cannot be forked once its
threads run, and a spawned one would be sent pickles. What the ranks need is written to a hidden
folder of the fit's, safetensors and JSON, and what they tell comes back through it; where they are
on several machines, these share the folder. They end as soon as this process does.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial, reduce
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import distributed

from modsnr import InputError
from modsnr.model import JointNet, write_tensors
from modsnr.training.checkpoint import CHECKPOINT, Progress, read_checkpoint
from modsnr.training.prediction import Draw
from modsnr.training.recipe import Recipe
from modsnr.training.sampling import Labelled
from modsnr.training.task import Diverged, identity, is_done

STRATEGIES = {"auto": "ddp", "ddp": "ddp", "ddp_find_unused_parameters_true": None}
FOLDER, ORDER, NET, FRAMES = ".ranks", "order.json", "net.safetensors", "frames.safetensors"
ROWS, ENDED, FAILURE, WORDS = "rows.jsonl", "ended.json", "failure-{}.json", "words-{}.log"
LOOK_EVERY_S = 0.1
LAST_WORDS_S = 3.0  # for all ranks to say why, once one has ended
END_S = 20.0  # for a rank to end when it is told to; srun asks other machines
KINDS = {kind.__name__: kind for kind in (InputError, Diverged)}

# The watch begins before the imports, which take seconds. A rank whose orders were given up by a
# process that was killed clears them away.
START = """
import os, shutil, sys, threading
def end_with_parent():
    os.read(0, 1)  # nothing is ever written: this is the pipe's end
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    os.kill(os.getpid(), 9)
threading.Thread(target=end_with_parent, daemon=True).start()
from modsnr.training.rank import main
main(sys.argv[1])
"""


class Ended(NamedTuple):
    """How the ranks ended: what rank 0 knows, its device, and the frames that each held at once."""

    progress: Progress
    device: str
    micro_batch: int


def check(recipe: Recipe, devices: int, num_nodes: int, strategy: str) -> None:
    """Raise InputError where a recipe cannot be followed on so many devices, so joined."""
    for name, number in (("devices", devices), ("num_nodes", num_nodes)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise InputError(f"{name} must be a whole number, 1 or more; it is {number!r}.")
    if strategy not in STRATEGIES:
        raise InputError(
            f"strategy is one of {', '.join(STRATEGIES)}; it is {strategy!r}. Others cut the "
            "network to pieces or start their processes in ways that a notebook does not survive."
        )
    ranks = devices * num_nodes
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
            f"num_nodes is {num_nodes}: more machines than one are had within a SLURM job only, "
            "where srun starts the processes. README shows such a job."
        )


def fit_on_many(
    net: JointNet,
    draw: Draw,
    train: Labelled,
    validation: Labelled,
    recipe: Recipe,
    *,
    folder: Path,
    devices: int,
    num_nodes: int,
    strategy: str,
    report: Callable[[dict[str, float]], None] | None,
) -> Ended:
    """Have a fit done by ranks, which leave its files in ``folder``; return how they ended.

    What a rank raises of InputError and Diverged is raised here, in its words; RuntimeError tells
    of any other end.
    """
    order = {
        "net": net.settings,
        "recipe": asdict(recipe),
        "draw": name_of(draw),
        "folder": str(folder.absolute()),
        "trainer": {
            "devices": devices,
            "num_nodes": num_nodes,
            "strategy": STRATEGIES[strategy] or strategy,
        },
    }
    ranks = devices * num_nodes
    if (folder / CHECKPOINT).exists():
        _, progress = read_checkpoint(folder / CHECKPOINT, identity(recipe, net))
        if is_done(progress, recipe):
            return Ended(progress, "cpu", recipe.batch_size // ranks)
    orders = folder.absolute() / FOLDER
    shutil.rmtree(orders, ignore_errors=True)  # of a fit whose machine went down
    try:
        write_order(orders, order, net, train, validation)
        with _launched(orders, devices, num_nodes) as processes:
            _watch(processes, orders, report)
        told = json.loads((orders / ENDED).read_text())
    finally:
        shutil.rmtree(orders, ignore_errors=True)
    progress = told["progress"]
    progress |= {name: tuple(progress[name]) for name in ("loss_sums", "history")}
    return Ended(Progress(**progress), told["device"], told["micro_batch"])


def write_order(
    orders: Path, order: dict[str, Any], net: JointNet, train: Labelled, validation: Labelled
) -> None:
    """Write what a rank needs to do its part to the folder ``orders``."""
    frames = {}
    for part, of_part in (("train", train), ("validation", validation)):
        iq = torch.view_as_real(of_part.iq.resolve_conj())  # older safetensors know no complex64
        frames |= {f"{part}.iq": iq, f"{part}.modulation": of_part.modulation}
        frames |= {f"{part}.snr_db": of_part.snr_db}
    write_tensors(frames, orders / FRAMES, {})
    write_tensors(net.state_dict(), orders / NET, {})
    (orders / ORDER).write_text(json.dumps(order))


def name_of(draw: Draw) -> dict[str, Any]:
    """Return a draw's ``name``, "module:name", and ``settings``, from which ranks make it again.

    It is a function of a module, such a one with settings by functools.partial, or an object whose
    class keeps the settings that it was made with under their own names, as diagrams.Canvas does.
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
        names = inspect.signature(maker).parameters
        known = all(hasattr(draw, name) for name in names)
        settings = {name: getattr(draw, name, None) for name in names}
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
def _launched(
    orders: Path, devices: int, num_nodes: int
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Yield the processes of the ranks, or srun's that has them; with the block they end."""
    command = [sys.executable, "-c", START, str(orders)]
    host = "127.0.0.1" if num_nodes == 1 else socket.gethostname()
    # Where the ranks meet is kept here: a port found free could be gone before rank 0 is there.
    store: Any = distributed
    meeting = store.TCPStore(host, 0, is_master=True, wait_for_workers=False)
    threads = str(max(1, (os.cpu_count() or 1) // devices))
    environment = {f"{name}_NUM_THREADS": threads for name in ("OMP", "NUMBA")} | os.environ
    environment |= {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "MASTER_ADDR": host,
        "MASTER_PORT": str(meeting.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",  # torch 2.4 reads it
        "WORLD_SIZE": str(devices * num_nodes),
    }
    each: list[dict[str, str]] = []
    if num_nodes == 1:
        names = {name for _, name in socket.if_nameindex()} & {"lo", "lo0"}
        loopback = {"GLOO_SOCKET_IFNAME": names.pop()} if names else {}
        each = [
            loopback | environment | {"RANK": str(i), "LOCAL_RANK": str(i), "NODE_RANK": "0"}
            for i in range(devices)
        ]
    else:
        command = [*_srun(devices, num_nodes), *command]
        ours = ("RANK", "LOCAL_RANK", "NODE_RANK")  # each task's are SLURM's
        each = [{name: value for name, value in environment.items() if name not in ours}]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for number, variables in enumerate(each):
            with (orders / WORDS.format(number)).open("wb") as words:
                processes.append(
                    subprocess.Popen(
                        command,
                        stdin=subprocess.PIPE,
                        stdout=words,
                        stderr=subprocess.STDOUT,
                        env=variables,
                        start_new_session=True,  # Ctrl-C reaches us, who then end them
                    )
                )
        yield processes
    finally:
        for process in processes:
            assert process.stdin
            process.stdin.close()  # every rank waits for it
        for process in processes:
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _srun(devices: int, num_nodes: int) -> list[str]:
    words = [f"--nodes={num_nodes}", f"--ntasks={devices * num_nodes}"]
    words += [f"--ntasks-per-node={devices}", "--kill-on-bad-exit=1", "--unbuffered"]
    if cores := os.environ.get("SLURM_CPUS_PER_TASK"):
        words.append(f"--cpus-per-task={cores}")  # since 22.05 srun takes none from the job itself
    return ["srun", *words]


def _watch(
    processes: list[subprocess.Popen[bytes]],
    orders: Path,
    report: Callable[[dict[str, float]], None] | None,
) -> None:
    """Wait for the processes to end, and report the epochs that they tell of."""
    heard, patience = 0, math.inf
    while True:
        codes = [process.poll() for process in processes]
        rows = _rows(orders)
        for row in rows[heard:]:
            if report is not None:
                report(row)
        heard = len(rows)
        if not any(code is None for code in codes) or time.monotonic() > patience:
            break
        if any(codes) and patience == math.inf:
            patience = time.monotonic() + LAST_WORDS_S
        time.sleep(LOOK_EVERY_S)
    if any(code != 0 for code in codes):
        raise _failure(orders, codes)


def _rows(orders: Path) -> list[dict[str, float]]:
    path = orders / ROWS
    whole, _, _ = path.read_text().rpartition("\n") if path.exists() else ("", "", "")
    return [json.loads(line) for line in whole.splitlines()]


def _failure(orders: Path, codes: list[int | None]) -> Exception:
    """Return what the ranks' end is to be told as: its reason, not what followed from it."""
    left = [json.loads(path.read_text()) for path in orders.glob(FAILURE.format("*"))]
    left.sort(key=lambda told: told["time"])
    for told in left:
        if told["kind"] in KINDS:
            return KINDS[told["kind"]](told["words"])
    for rank, code in enumerate(codes):
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return RuntimeError(
                f"The process of rank {rank} was ended by {name}. Where nobody did so it was the "
                "system, for want of memory. The fit goes on from its checkpoint when resumed."
            )
    if left:
        told = left[0]
        error = RuntimeError(f"Rank {told['rank']} failed: {told['kind']}: {told['words']}")
        error.add_note(told["trace"])
        return error
    error = RuntimeError(f"The processes of the ranks ended with the codes {codes}, unexplained.")
    for path in sorted(orders.glob(WORDS.format("*"))):
        error.add_note(path.read_text(errors="replace")[-2000:])
    return error
