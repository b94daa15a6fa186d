"""Every benchmark runs on one core: two threads wait for each other where another job runs."""

import statistics
import time

import numba
import pytest
import torch


@pytest.fixture(autouse=True)
def one_core():
    threads = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    yield
    # numba's number becomes torch's as well, so torch's is set last.
    numba.set_num_threads(threads[1])
    torch.set_num_threads(threads[0])


@pytest.fixture
def medians(request):
    """Return a function from actions, by name, to the median seconds that each takes.

    The actions take turns in one process, so that what else runs on the machine slows all alike.
    A turn is several calls in a row, each measured.
    """

    def measured(actions, turns, in_a_row=1):
        seconds = {name: [] for name in actions}
        for name, action in [*actions.items()] * turns:
            for _ in range(in_a_row):
                start = time.perf_counter()
                action()
                seconds[name].append(time.perf_counter() - start)
        middle = {name: statistics.median(each) for name, each in seconds.items()}
        shown = ", ".join(f"{name} {1e3 * each:.2f} ms" for name, each in middle.items())
        print(f"\n{request.node.name}: {shown}")
        return middle

    return measured
