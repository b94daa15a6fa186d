"""Seeded generators, a house with one committed network, and limits of threads and of time."""

import os
import re

# Tests share the cores: two threads on toys mostly wait for one another. Torch and Numba read this
# as they are loaded, here and in the processes that tests start. Numba's start sets Torch's number.
os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"} | os.environ

import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

REPOSITORY = Path(__file__).parents[1]

# A suite started in the background ignores Ctrl-C, and so would the processes that it interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Give long tests twenty minutes; begin with what runs notebooks, so that no core ends alone.

    All other tests have the limit of pyproject.toml.
    """
    items.sort(key=lambda item: not re.search("notebook|jupyter", item.path.name))
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(2018)


@pytest.fixture
def rng():
    return np.random.default_rng(2018)


@pytest.fixture(scope="module")
def bare_house(tmp_path_factory):
    """A copy of the notebooks, without runs, where this module's runs go."""
    root = tmp_path_factory.mktemp("house")
    shutil.copytree(REPOSITORY / "notebooks", root / "notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODSNR_ROOT", str(root))
        yield root


@pytest.fixture(scope="module")
def house(bare_house):
    """A copy of the notebooks and of the committed runs of two networks, with their weights.

    Modules that need another house have their own of that name.
    """
    sources = yaml.safe_load((REPOSITORY / "paper" / "sources.yaml").read_text(encoding="utf-8"))
    trained = REPOSITORY / "runs" / sources["runs"]["all-views"]["run"]
    for run in (trained, *(REPOSITORY / "runs").glob("*-02_training-receiver")):
        shutil.copytree(run, bare_house / "runs" / run.name)
    return bare_house


@pytest.fixture
def unreadable():
    """A context in which nobody, root neither, may read a file."""

    @contextmanager
    def context(path):
        user = os.geteuid()
        path.chmod(0)
        os.seteuid(user or 65534)  # root may read everything, another user may not
        try:
            yield
        finally:
            os.seteuid(user)

    return context
