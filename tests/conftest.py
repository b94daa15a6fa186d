"""Seeded generators, so that every test draws the same numbers wherever it runs, and a house."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml


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


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy of the notebooks and of the committed run of all views, with its weights.

    Modules that need another house have their own of that name.
    """
    repository = Path(__file__).parents[1]
    root = tmp_path_factory.mktemp("house")
    shutil.copytree(repository / "notebooks", root / "notebooks")
    sources = yaml.safe_load((repository / "paper" / "sources.yaml").read_text(encoding="utf-8"))
    trained = repository / "runs" / sources["runs"]["all-views"]["run"]
    shutil.copytree(trained, root / "runs" / trained.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODSNR_ROOT", str(root))
        yield root
