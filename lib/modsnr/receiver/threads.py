"""Compiled loops over frames on several threads.

They are torch's in number but not numba's: numba's first start sets the number of torch's threads
to its own, and a process that was forked after it may hang.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import torch

LEAST_FRAMES = 16  # for which a thread is worth while


def in_pieces(run: Callable[[slice], None], frames: int) -> None:
    """Call ``run``, which lets go of Python's lock, with slices that make up all frames."""
    threads = max(1, min(torch.get_num_threads(), frames // LEAST_FRAMES))
    if threads == 1:  # none to be started
        run(slice(0, frames))
        return
    edges = [frames * thread // threads for thread in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, [slice(*pair) for pair in pairwise(edges)]))
