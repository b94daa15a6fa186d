"""The environment that ``make setup`` makes, with a stand-in for uv that notes how it is called."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
# Its environment's Python does nothing, whatever set-up has it run.
UV = """#!/bin/sh
echo "$@" >> calls
if [ "$1" = venv ]; then mkdir -p .venv/bin; ln -sf /bin/true .venv/bin/python; fi
"""


@pytest.fixture
def clone(tmp_path):
    """A folder with what ``make setup`` reads, set up once."""
    folder = tmp_path / "clone"
    (folder / ".tools" / "bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy2(REPOSITORY / name, folder)
    uv = folder / ".tools" / "bin" / "uv"
    uv.write_text(UV)
    uv.chmod(0o755)
    assert "--clear" in set_up(folder)[0]
    return folder


def set_up(folder, *words):
    """Return the calls of uv that ``make setup`` made."""
    (folder / "calls").write_text("")
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHON", "MAKEFLAGS")}
    command = ["make", "setup", *words]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return (folder / "calls").read_text().splitlines()


def test_an_environment_is_made_once(clone):
    assert set_up(clone) == []


def test_a_clone_that_was_moved_gets_a_new_environment(clone):
    moved = clone.rename(clone.with_name("moved"))
    assert "--clear" in set_up(moved)[0]
    assert set_up(moved) == []


def test_an_environment_whose_python_is_gone_is_made_anew(clone):
    (clone / ".venv" / "bin" / "python").unlink()
    (clone / ".venv" / "bin" / "python").symlink_to("gone")
    assert "--clear" in set_up(clone)[0]


def test_another_python_gets_a_new_environment_and_the_same_one_does_not(clone):
    other = clone / "python"
    other.symlink_to(sys.executable)
    assert "--clear" in set_up(clone, f"PYTHON={other}")[0]
    assert set_up(clone, f"PYTHON={other}") == []
    assert set_up(clone) == []  # no Python is asked for: the one that is there will do


def test_changed_dependencies_are_installed_into_the_environment_that_is_there(clone):
    later = (clone / ".venv" / ".ready").stat().st_mtime + 10
    os.utime(clone / "requirements.lock", (later, later))
    assert "--allow-existing" in set_up(clone)[0]
