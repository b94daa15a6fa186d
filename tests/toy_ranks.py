"""Draws that ranks know by name, and two ranks that do one toy fit after the other.

A rank takes seconds to start, so these two are started once; all else of a fit is as it is.
"""

import os
import select
import signal
from contextlib import contextmanager
from dataclasses import replace

import torch
from toy_fits import GRID, SMALL, TRAIN, VALIDATION, not_a_number, picture

from modsnr import training
from modsnr.model import JointNet

STANDING = """
import os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from modsnr.training.rank import main
for folder in iter(sys.stdin.readline, ""):
    try:
        main(folder.strip())
        code = 0
    except Exception:
        code = 1
    print(code, file=answers, flush=True)
"""


class Answer:
    """A rank's process as the watch sees it, ended once it has answered."""

    def __init__(self, process):
        self.process, self.code = process, None

    def poll(self):
        if self.code is None and select.select([self.process.stdout], [], [], 0)[0]:
            self.code = int(self.process.stdout.readline())
        return self.code


@contextmanager
def standing(processes, orders, devices, num_nodes):
    """Stand in for ``crew._launched``: the ranks are there already, and stay."""
    assert (len(processes), devices, num_nodes) == (2, 2, 1)
    for process in processes:
        process.stdin.write(f"{orders}\n".encode())
        process.stdin.flush()
    yield [Answer(process) for process in processes]


def network():
    """Return a small network without batch normalisation and dropout, the same each time."""
    torch.manual_seed(0)
    return JointNet(
        "test_vit", views=["toy"], bins=16, classes=["left", "right"], snrs_db=GRID,
        dropout=0.0, pretrained=False,
    )  # fmt: skip


def fit(folder, draw=picture, *, net=None, train=TRAIN, **options):
    """Fit as toy_fits does, with what ``training.fit`` is told apart from the recipe's options."""
    names = ("devices", "num_nodes", "strategy", "resume", "report", "wandb")
    of_fit = {name: options.pop(name) for name in names if name in options}
    recipe = replace(SMALL, **options)
    net = network() if net is None else net
    return training.fit(net, draw, train, VALIDATION, recipe, folder=folder, **of_fit)


class At:
    """A draw that does ``what`` at the training calls from ``first`` to ``last``, from one on.

    ``rank`` is the only rank that does; -1: all of them, and a process that is none.
    """

    def __init__(self, what, first, last=0, rank=-1):
        self.what, self.first, self.last, self.rank = what, first, last, rank
        self.calls = 0

    def __call__(self, iq):
        if not torch.is_grad_enabled():  # validation
            return picture(iq)
        self.calls += 1
        here = self.rank in (-1, int(os.environ.get("RANK", -1)))
        if not here or not self.first <= self.calls <= max(self.first, self.last):
            return picture(iq)
        return {"nan": not_a_number, "die": die, "kill": kill, "memory": no_memory}[self.what](iq)


def die(iq):
    raise ConnectionError("the machine went away")


def kill(iq):
    os.kill(os.getpid(), signal.SIGKILL)


def no_memory(iq):
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory")


def brightened(iq, *, by):
    return by * picture(iq)
