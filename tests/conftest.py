"""Seeded generators, and what is made once and shared by many tests.

The smoke pipeline is made once a session, also with several xdist workers:

``smoke_pipeline``  its folder and what it printed; read only.
``smoke_house``     a copy of that folder for each test module, as MODSNR_ROOT; write as you like.
``house``           a copy of the notebooks and one committed network, as MODSNR_ROOT.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import yaml

from modsnr import files

REPOSITORY = Path(__file__).parents[1]

# A suite started in the background ignores Ctrl-C, and so would the processes that it interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Give long tests twenty minutes; all others have the limit of pyproject.toml."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(1200))


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
    root = tmp_path_factory.mktemp("house")
    shutil.copytree(REPOSITORY / "notebooks", root / "notebooks")
    trained = REPOSITORY / "runs" / _sources()["all-views"]["run"]
    shutil.copytree(trained, root / "runs" / trained.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODSNR_ROOT", str(root))
        yield root


class Pipeline(NamedTuple):
    root: Path  # holds notebooks, paper, runs and data
    output: str  # what the command printed


@pytest.fixture(scope="session")
def smoke_pipeline(tmp_path_factory):
    """What ``modsnr reproduce --profile smoke`` made and printed, in a folder to be read only.

    Its runs (profile "smoke") are frames, constellation, all-views, evaluation and explanation;
    beside them are the committed runs that a draft of the paper needs. One process makes it, the
    other workers of a parallel test run wait and share it. Tests that write, or that set
    MODSNR_ROOT to it, take ``smoke_house`` instead.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # a worker's own folder lies in that of the whole test run
    root, result = shared / "smoke", shared / "smoke.json"
    with files.lock(shared / "smoke.lock"):
        if not result.exists():
            files.write(result, json.dumps(_reproduce_smoke(root)))
    made = json.loads(result.read_text())
    assert made["status"] == 0, made["output"] + made["errors"]
    return Pipeline(root, made["output"])


@pytest.fixture(scope="module")
def smoke_house(smoke_pipeline, tmp_path_factory):
    """A copy of the smoke pipeline's folder for one test module, which may change it."""
    root = tmp_path_factory.mktemp("smoke-house")
    shutil.copytree(smoke_pipeline.root, root, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODSNR_ROOT", str(root))
        yield root


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


def _reproduce_smoke(root):
    for folder in ("notebooks", "paper"):
        unbuilt = shutil.ignore_patterns("build")
        shutil.copytree(REPOSITORY / folder, root / folder, ignore=unbuilt)
    for run in _sources().values():
        if run.get("row"):
            for table in (REPOSITORY / "runs").glob(f"{run['run']}*.*"):
                (root / "runs" / "sweeps").mkdir(parents=True, exist_ok=True)
                shutil.copy(table, root / "runs" / "sweeps")
        elif run.get("aside") or run.get("profile"):  # a draft takes the committed one
            shutil.copytree(REPOSITORY / "runs" / run["run"], root / "runs" / run["run"])
    done = subprocess.run(
        [sys.executable, "-m", "modsnr", "reproduce", "--profile", "smoke"],
        env=os.environ | {"MODSNR_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    return {"status": done.returncode, "output": done.stdout, "errors": done.stderr}


def _sources():
    text = (REPOSITORY / "paper" / "sources.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["runs"]
