"""Two ranks that do one toy fit after the other.

A rank takes seconds to start, so these two are started once; all else of a fit is as it is.
"""

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace

import torch
import toy_fits
from torch.multiprocessing.spawn import ProcessExitedException
from toy_fits import GRID, At, be_killed

from modsnr.model import JointNet
from modsnr.training import distributed


def take_part(*arguments):
    """Do one rank's part of a fit in a process that stays for the next."""
    try:
        distributed.run_here(*arguments)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


class Standing:
    """Two processes that wait for one fit after the other, in the place of those that end."""

    def __init__(self):
        spawn = multiprocessing.get_context("spawn")
        self.pools = [ProcessPoolExecutor(1, spawn) for _ in range(2)]

    def start(self, _, arguments, count, **__):
        """Stand in for torch's ``start_processes``."""
        assert count == 2
        parts = [pool.submit(take_part, i, *arguments) for i, pool in enumerate(self.pools)]

        def join(timeout):
            for number, part in enumerate(parts):
                if part.done() and part.exception():
                    wait_for_the_other = [other.exception() for other in parts]
                    raise ProcessExitedException(str(wait_for_the_other), number, 0, 1)
            return all(part.done() for part in parts)

        ended = SimpleNamespace(terminate=lambda: None, join=lambda: None, exitcode=1)
        return SimpleNamespace(join=join, processes=[ended, ended], error_files=[])

    def close(self):
        for pool in self.pools:
            pool.shutdown()


def network():
    """Return a small network without batch normalisation and dropout, the same each time."""
    torch.manual_seed(0)
    return JointNet(
        "test_vit", views=["toy"], bins=16, classes=["left", "right"], snrs_db=GRID,
        dropout=0.0, pretrained=False,
    )  # fmt: skip


def fit(folder, draw=None, *, net=None, **options):
    return toy_fits.fit(folder, draw or At(), net=net or network(), **options)


# What a rank may do in the place of its part; neither waits for another.


def one_is_killed(number, path, environment):
    be_killed(None) if number == 1 else signal.pause()


def stay(number, path, environment):
    store = distributed.TCPStore("127.0.0.1", int(environment["MASTER_PORT"]), is_master=False)
    store.append(distributed.ROWS, '{"epoch": 1}\n')
    signal.pause()
