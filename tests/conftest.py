"""Seeded generators, so that every test draws the same numbers wherever it runs."""

import numpy as np
import pytest
import torch


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(2018)


@pytest.fixture
def rng():
    return np.random.default_rng(2018)


@pytest.fixture
def one_thread():
    """Two threads only wait for one another on toys, and badly so on a busy machine."""
    import numba

    numba.set_num_threads(1)  # drawing with more would set torch's to as many again
    torch.set_num_threads(1)  # after it, since numba's start sets torch's to all there are
    yield
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    torch.set_num_threads(numba.config.NUMBA_NUM_THREADS)
