"""Every benchmark runs on one core: two threads wait for each other where another job runs."""

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
