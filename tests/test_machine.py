"""The machine around it: no right to write, another terminal, another git repository."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import pytest
from click.testing import CliRunner
from notebook_runs import write_notebook, write_record

from modsnr import cli, figures, runs

NOBODY = 65534


@pytest.fixture
def house(monkeypatch):
    """A repository of one notebook and one run, which any user may read."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    monkeypatch.setenv("MODSNR_ROOT", str(folder))
    monkeypatch.setattr("modsnr.runs.run._current", None)
    write_notebook(folder, "01_work", 'name: str = "run"\nnote: str = ""')
    write_record(folder, "first", metrics={"joint_accuracy": 0.5})
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def not_writable(house):
    """That repository, where its user may only read; root becomes a user of no rights."""
    folders = [house, *(path for path in house.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    yield house
    os.seteuid(before)
    for folder in folders:
        folder.chmod(0o755)


def call(*words):
    return CliRunner().invoke(cli.main, words)


@pytest.mark.parametrize("words", [["runs"], ["runs", "show", "first"]])
def test_runs_are_listed_where_nothing_can_be_written(words, not_writable):
    done = call(*words)
    assert done.exit_code == 0, done.output
    assert "first" in done.stdout
    assert "50" in done.stdout


@pytest.mark.parametrize("words", [["run", "01"], ["runs", "log"]])
def test_a_command_that_writes_says_where_it_cannot(words, not_writable):
    done = call(*words)
    assert done.exit_code == 2, done.output
    assert f"cannot write {not_writable}/runs/" in done.stderr
    assert "Permission denied; make its folder writable" in done.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_a_terminal_without_a_star_gets_the_list(encoding, house):
    frames = {"name": "a", "sha256": "b"}
    write_record(house, "second", metrics={"joint_accuracy": 0.6}, data=frames)
    write_record(house, "third", metrics={"joint_accuracy": 0.7}, data=frames)
    done = subprocess.run(
        [sys.executable, "-m", "modsnr", "runs"],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    mark = {"utf-8": "★"}.get(encoding, "?")
    assert f" {mark} " in done.stdout.decode(encoding)
    assert not done.stderr


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True)


@pytest.mark.parametrize("tracked", [False, True])
def test_the_commit_of_a_repository_around_a_copy_is_recorded_where_it_holds_the_code(
    tracked, tmp_path, monkeypatch
):
    copy = tmp_path / "copy"
    write_notebook(copy.parent, "01_work", 'name: str = "run"\nnote: str = ""')
    copy.mkdir()
    (copy.parent / "notebooks").rename(copy / "notebooks")
    (tmp_path / ".gitignore").write_text("" if tracked else "copy/")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "all")
    monkeypatch.setenv("MODSNR_ROOT", str(copy))
    known = runs.repository.commit()
    assert known is None if not tracked else known["dirty"] is False


def test_a_users_matplotlibrc_changes_no_figure():
    def drawn():
        return figures.importance_bars({"views": 0.5, "bins": 0.1}, runs=9)._repr_png_()

    plain = drawn()
    users = {
        "text.usetex": True, "figure.facecolor": "black", "axes.facecolor": "black",
        "axes.prop_cycle": mpl.cycler(color=["red"]), "savefig.bbox": "tight", "savefig.dpi": 30,
        "font.family": "monospace", "xtick.direction": "in", "image.cmap": "jet",
    }  # fmt: skip
    with mpl.rc_context(users):
        assert drawn() == plain
