"""One device's part of a fit on several: this runs in a process of its own, a rank.

The process that asks for the fit starts it through ``distributed``, with the variables that
torchrun would set (RANK, LOCAL_RANK, NODE_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), or SLURM's.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial, reduce
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import distributed

from modsnr import InputError
from modsnr.model import JointNet
from modsnr.training.loop import carry_out
from modsnr.training.recipe import Execution, Recipe
from modsnr.training.sampling import Labelled

ORDER, NET, FRAMES = "order.json", "net.safetensors", "frames.safetensors"  # in the hidden folder
# In the store: lines of JSON, a finished epoch or a failed rank each; then the fit's outcome.
ROWS, FAILURES, OUTCOME = "rows", "failures", "outcome"
LOOK_EVERY_S = 0.5
TCPStore: Any = distributed.TCPStore  # pyright: ignore[reportPrivateImportUsage]


def run_here(number: int, hidden: Path, environment: dict[str, str]) -> None:
    """Run one of this machine's ranks, in a process that torch has started for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asked for the fit ends it
    if "OMP_NUM_THREADS" not in os.environ:  # torch, imported by now, has taken all cores
        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    place = {"RANK": str(number), "LOCAL_RANK": str(number), "NODE_RANK": "0"}
    os.environ.update(environment | place)
    if Path("/sys/class/net/lo").exists():
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    main(hidden)


def become(_: int, command: list[str], environment: dict[str, str]) -> None:
    """Turn this process into another command."""
    os.execvpe(command[0], command, environment)


def main(hidden: Path) -> None:
    """Do this rank's part of the fit whose order lies in ``hidden``; report a failure."""
    for name, of_slurm in (("", "PROCID"), ("LOCAL_", "LOCALID"), ("NODE_", "NODEID")):
        if f"{name}RANK" not in os.environ:
            os.environ[f"{name}RANK"] = os.environ[f"SLURM_{of_slurm}"]
    number, address = os.environ["RANK"], os.environ["MASTER_ADDR"]
    store = TCPStore(address, int(os.environ["MASTER_PORT"]), is_master=False)
    with _ending_with(store, hidden):
        try:
            take_part(hidden, store)
        except BaseException as error:
            failure = {"rank": int(number), "kind": type(error).__name__, "message": str(error)}
            store.append(FAILURES, json.dumps(failure) + "\n")
            raise


@contextmanager
def _ending_with(store: Any, hidden: Path) -> Iterator[None]:
    """Within the block, end this process once the one that holds the store is gone.

    However that process ended, on whichever machine; its hidden folder is then cleared away.
    """
    done = threading.Event()

    def watch() -> None:
        try:
            while not done.wait(LOOK_EVERY_S):
                store.get(FAILURES)
        except RuntimeError:  # nobody answers
            shutil.rmtree(hidden, ignore_errors=True)
            os.kill(os.getpid(), signal.SIGKILL)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def take_part(hidden: Path, store: Any) -> None:
    """Do this rank's part of the fit; rank 0 puts each epoch's row and the outcome in the store."""
    order = json.loads((hidden / ORDER).read_text())
    net = JointNet(**order["net"], pretrained=False)
    try:
        net.load_state_dict(load_file(hidden / NET))
    except RuntimeError as error:
        raise InputError(
            f"On several devices the network is built from its settings, and this one is another: "
            f"{error}"
        ) from error
    tensors = load_file(hidden / FRAMES)  # mapped, not read: ranks of a machine share its pages
    outcome = carry_out(
        net,
        make_draw(**order["draw"]),
        _labelled(tensors, "train"),
        _labelled(tensors, "validation"),
        Recipe(**order["recipe"]),
        Path(order["folder"]),
        Execution(**order["execution"]),
        lambda row: store.append(ROWS, json.dumps(row) + "\n"),
    )
    if os.environ["RANK"] == "0":
        progress = asdict(outcome.progress)
        store.set(OUTCOME, json.dumps(outcome._asdict() | {"progress": progress}))


def make_draw(name: str, settings: dict[str, Any] | None) -> Any:
    """Return the draw that ``distributed.name_of`` describes."""
    module, _, path = name.partition(":")
    maker: Any = reduce(getattr, path.split("."), importlib.import_module(module))
    if settings is None:
        return maker
    return maker(**settings) if isinstance(maker, type) else partial(maker, **settings)


def _labelled(tensors: dict[str, torch.Tensor], part: str) -> Labelled:
    iq, modulation, snr_db = (tensors[f"{part}.{name}"] for name in Labelled._fields)
    return Labelled(torch.view_as_complex(iq), modulation, snr_db)
