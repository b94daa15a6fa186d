"""One device's part of a fit on several: this runs in a process of its own, a rank.

``crew`` starts it, with the variables that torchrun would set (RANK, LOCAL_RANK, NODE_RANK,
WORLD_SIZE, MASTER_ADDR, MASTER_PORT), or within SLURM's own. Its orders lie in a folder, and what
it has to tell goes there.
"""

from __future__ import annotations

import importlib
import json
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from functools import partial, reduce
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from modsnr import InputError
from modsnr.model import JointNet
from modsnr.training.crew import ENDED, FAILURE, FRAMES, NET, ORDER, ROWS
from modsnr.training.fitting import carry_out
from modsnr.training.recipe import Recipe
from modsnr.training.sampling import Labelled
from modsnr.training.task import Task


def main(folder: str) -> None:
    """Follow the orders in ``folder``; leave there why it failed, if it fails."""
    for name, of_slurm in (("", "PROCID"), ("LOCAL_", "LOCALID"), ("NODE_", "NODEID")):
        if f"{name}RANK" not in os.environ:
            os.environ[f"{name}RANK"] = os.environ[f"SLURM_{of_slurm}"]
    orders, rank = Path(folder), int(os.environ["RANK"])
    try:
        take_part(orders)
    except BaseException as error:
        told = {
            "rank": rank,
            "kind": type(error).__name__,
            "words": str(error),
            "time": time.time(),
            "trace": traceback.format_exc(),
        }
        _write(orders / FAILURE.format(rank), told)
        raise


def take_part(orders: Path) -> None:
    """Do this rank's part of the fit that is ordered in a folder."""
    order = json.loads((orders / ORDER).read_text())
    net = JointNet(**order["net"], pretrained=False)
    try:
        net.load_state_dict(load_file(orders / NET))
    except RuntimeError as error:
        raise InputError(
            f"On several devices the network is built from its settings, and this one is another: "
            f"{error}"
        ) from error
    first = os.environ["RANK"] == "0"
    tensors = load_file(orders / FRAMES)  # mapped, not read: ranks of a machine share its pages
    task = Task(
        net,
        _drawing(**order["draw"]),
        _labelled(tensors, "train"),
        _labelled(tensors, "validation"),
        Recipe(**order["recipe"]),
        Path(order["folder"]),
        _tell(orders) if first else None,
    )
    carry_out(task, **order["trainer"])
    if first:
        told = {"progress": asdict(task.progress), "device": str(task.used)}
        _write(orders / ENDED, told | {"micro_batch": task.micro_batch})


def _drawing(name: str, settings: dict[str, Any] | None) -> Any:
    """Return the draw that ``crew`` has named."""
    module, _, path = name.partition(":")
    maker: Any = reduce(getattr, path.split("."), importlib.import_module(module))
    if settings is None:
        return maker
    return maker(**settings) if isinstance(maker, type) else partial(maker, **settings)


def _labelled(tensors: dict[str, torch.Tensor], part: str) -> Labelled:
    iq, modulation, snr_db = (tensors[f"{part}.{name}"] for name in Labelled._fields)
    return Labelled(torch.view_as_complex(iq), modulation, snr_db)


def _tell(orders: Path) -> Callable[[dict[str, float]], None]:
    def report(row: dict[str, float]) -> None:
        with (orders / ROWS).open("a") as file:
            file.write(json.dumps(row) + "\n")

    return report


def _write(path: Path, told: dict[str, Any]) -> None:
    partial_file = path.with_name(f"{path.name}.partial")
    partial_file.write_text(json.dumps(told))
    os.replace(partial_file, path)
