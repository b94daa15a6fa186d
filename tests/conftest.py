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
