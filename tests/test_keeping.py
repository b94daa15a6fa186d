"""Runs made elsewhere are taken in whole and checked, without a trace of the machine."""

import fcntl
import json
import os
import shutil
import subprocess

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from modsnr import InputError, cli, runs

SOURCE = 'name: str = "run"\nnote: str = ""\nfile: str = ""\nrate: float = 1e-3'


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A clone that makes runs; this repository, which has none, is ``here``."""
    cell = nbformat.v4.new_code_cell(SOURCE, metadata={"tags": ["parameters"]})
    for house in ("elsewhere", "here"):
        notebooks = tmp_path / house / "notebooks"
        notebooks.mkdir(parents=True)
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), notebooks / "02_training.ipynb")
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path / "here"))
    monkeypatch.setattr("modsnr.runs.under_way._current", None)
    return tmp_path / "elsewhere"


@pytest.fixture
def make(elsewhere):
    """A function that makes a run elsewhere, with all that a training leaves; its folder."""

    def make(name="model", status="completed", **values):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MODSNR_ROOT", str(elsewhere))
            run = runs.start("02_training", {"name": name, **values})
            run.save_metrics({"joint_accuracy": 0.25})
            run.save_history(pd.DataFrame({"epoch": [1], "loss": [0.5]}))
            run.save_table("results", pd.DataFrame({"a": [1]}))
            run.save_text("card.md", "# Data\n")
            run.save_predictions(label=np.arange(4))
            figure = plt.figure(figsize=(1, 1))
            run.save_figure("curve", figure)
            plt.close(figure)
            nbformat.write(nbformat.v4.new_notebook(), run.folder / "notebook.ipynb")
            (run.folder / "weights.safetensors").write_bytes(b"\0" * 100)
            folder = run.finish(status).folder
            (folder / "checkpoint.safetensors").write_bytes(b"\0" * 100)
            return folder

    return make


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_run_is_kept_to_the_byte_but_for_the_checkpoint(elsewhere, make):
    folder = make()
    (kept,) = runs.keep([folder])
    assert kept.record == runs.find("model")
    assert kept.record.folder == runs.root() / "runs" / folder.name
    assert kept.left_out == ("checkpoint.safetensors",)
    whole = files(folder)
    del whole["checkpoint.safetensors"]
    assert files(kept.record.folder) == whole
    assert kept.size == sum(map(len, whole.values()))
    assert folder.name in (runs.root() / "runs" / "RUNLOG.md").read_text()


def test_a_light_run_is_its_text_and_is_read_like_any_other(elsewhere, make):
    (kept,) = runs.keep([make()], light=True)
    names = ["card.md", "history.csv", "metrics.json", "run.json", "tables/results.csv"]
    assert sorted(files(kept.record.folder)) == names
    assert kept.size < 5000
    record = runs.find("model")
    assert record.joint_accuracy == 0.25
    assert record.history.loss.tolist() == [0.5]
    assert record.table("results").a.tolist() == [1]
    with pytest.raises(InputError, match="has no weights here"):
        _ = record.weights
    listed = CliRunner().invoke(cli.main, ["runs"]).stdout
    assert "joint accuracy 25.0%" in listed


def test_what_is_over_twelve_megabytes_stays_behind_and_the_record_is_the_same(elsewhere, make):
    folder = make()
    for size, kept_too in [(12 * 2**20, True), (12 * 2**20 + 1, False)]:
        with (folder / "weights.safetensors").open("wb") as file:
            file.truncate(size)
        (kept,) = runs.keep([folder])
        assert (kept.record.folder / "weights.safetensors").exists() is kept_too
        assert ("weights.safetensors" in kept.left_out) is not kept_too
        assert files(kept.record.folder)["run.json"] == files(folder)["run.json"]
        shutil.rmtree(kept.record.folder)


def test_a_folder_of_runs_is_kept_whatever_became_of_them(elsewhere, make):
    for status in ("completed", "failed", "diverged", "pruned"):
        make(name=status, status=status)
    dead = make(name="crashed")
    told = json.loads((dead / "run.json").read_text())
    (dead / "run.json").write_text(json.dumps(told | {"status": "running"}))
    (dead / ".lock").touch()
    kept = runs.keep([elsewhere / "runs"], light=True)
    assert len(kept) == 5
    assert {r.name: r.status for r in runs.records()} == {
        status: status for status in ("completed", "failed", "diverged", "pruned", "crashed")
    }


def test_to_keep_a_run_again_changes_nothing_and_other_content_is_refused(elsewhere, make):
    folder = make()
    assert runs.keep([folder], light=True)[0].new
    before = files(runs.root() / "runs" / folder.name)
    assert not runs.keep([folder], light=True)[0].new
    with pytest.raises(InputError, match=f"{folder.name} is here already with another figures/"):
        runs.keep([folder])
    (folder / "metrics.json").write_text('{"joint_accuracy": 0.75}')
    with pytest.raises(InputError, match=f"{folder.name} is here already with another metrics"):
        runs.keep([folder], light=True)
    assert files(runs.root() / "runs" / folder.name) == before


def renamed(folder):
    return folder.rename(folder.with_name(folder.name + "-2"))


def without(name):
    def spoil(folder):
        (folder / name).unlink()
        return folder

    return spoil


def with_text(name, text):
    def spoil(folder):
        (folder / name).write_text(text)
        return folder

    return spoil


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (renamed, "-model-2: run.json is that of .*-model; give the folder its name back"),
        (without("run.json"), "-model: run.json cannot be read"),
        (without("metrics.json"), "-model is not whole: it completed, and has no metrics.json"),
        (with_text("run.json", "{"), "-model: run.json cannot be read"),
        (with_text("run.json", "{}"), "-model: run.json is not a run's"),
        (with_text("metrics.json", '{"a": '), "-model: metrics.json cannot be read"),
        (with_text("card.md", "to postgresql://me:hush@host/db"), "-model: card.md .*a password"),
        (with_text("card.md", f"api_key={'0' * 40}"), "-model: card.md holds .*a password or a"),
    ],
)
def test_a_run_that_is_not_whole_is_refused_and_nothing_is_copied(
    elsewhere, make, spoil, complaint
):
    make(name="good")
    spoil(make())
    with pytest.raises(InputError, match=f"^nothing was kept: .*{complaint}"):
        runs.keep([elsewhere / "runs"])
    assert not (runs.root() / "runs").exists()


def test_a_secret_of_the_environment_is_refused_and_not_repeated(elsewhere, make, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "correct horse battery")
    folder = make(note="with correct horse battery")
    with pytest.raises(InputError, match=r"run\.json holds what looks like a password") as error:
        runs.keep([folder])
    assert "horse" not in str(error.value)


def test_a_run_under_way_is_refused(elsewhere, make):
    folder = make()
    told = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(told | {"status": "running"}))
    lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(InputError, match="-model is under way"):
        runs.keep([folder])
    os.close(lock)
    assert runs.keep([folder])[0].record.status == "crashed"


def test_what_holds_no_runs_or_is_this_repositorys_own_is_refused(elsewhere, make):
    with pytest.raises(InputError, match="there is no folder"):
        runs.keep([elsewhere / "gone"])
    with pytest.raises(InputError, match="notebooks is no run's folder and holds none"):
        runs.keep([elsewhere / "notebooks"])
    folder = make()
    with pytest.raises(InputError, match="-model is given twice"):
        runs.keep([folder, folder.parent])
    (kept,) = runs.keep([folder])
    with pytest.raises(InputError, match="was made in this repository"):
        runs.keep([kept.record.folder])


def test_no_path_of_the_machine_comes_along(elsewhere, make):
    folder = make(file="/data/sets/GOLD.hdf5", note="1/2 of images/s, see https://a.org/b/c")
    told = {"a": ["at /scratch/me/x.npz\n/opt/y/z.py:3"], "pi/4-QPSK": 1, "/srv/one/two": 2}
    (folder / "metrics.json").write_text(json.dumps(told))
    (folder / "tables" / "results.csv").write_text("file\n/mnt/disk/a b.iq\nQAM/PSK/ASK\n")
    picture = {"image/png": "/9j/4AAQ/AA", "text/html": "<td>/mnt/disk/x.h5</td>"}
    output = nbformat.v4.new_output("display_data", picture)
    cell = nbformat.v4.new_code_cell("x", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / "notebook.ipynb")
    (kept,) = runs.keep([folder])
    assert kept.mended == ("metrics.json", "notebook.ipynb", "run.json", "tables/results.csv")
    record = kept.record
    assert record.parameters["file"] == ".../GOLD.hdf5"
    assert record.command.endswith("-p file .../GOLD.hdf5")
    assert record.note == "1/2 of images/s, see https://a.org/b/c"
    assert record.metrics == {"a": ["at .../x.npz\n.../z.py:3"], "pi/4-QPSK": 1, ".../two": 2}
    assert record.table("results").file.tolist() == [".../a b.iq", "QAM/PSK/ASK"]
    executed = nbformat.read(record.folder / "notebook.ipynb", 4).cells[0].outputs[0].data
    assert executed == {"image/png": "/9j/4AAQ/AA", "text/html": "<td>.../x.h5</td>"}


def test_a_binary_file_with_a_path_of_the_machine_is_refused(elsewhere, make):
    folder = make()
    (folder / "weights.safetensors").write_bytes(f"{elsewhere}/data".encode())
    with pytest.raises(InputError, match=r"weights\.safetensors holds a path of the machine"):
        runs.keep([folder])
    assert runs.keep([folder], light=True)


def test_the_commands_last_line_commits_what_was_kept(elsewhere, make):
    folders = [make(name=name) for name in ("a", "b")]
    told = CliRunner().invoke(cli.main, ["runs", "keep", "--light", *map(str, folders)])
    assert told.exit_code == 0, told.output
    lines = told.stdout.splitlines()
    assert lines[0].startswith("2 runs kept, 0.0 MB; 0 of them were here already")
    assert "4 figures" in lines[1]
    assert "2 weights.safetensors" in lines[1]
    here = runs.root()
    (here / ".gitignore").write_text("/runs/*/\n")
    subprocess.run(["git", "init", "-q"], cwd=here, check=True)
    subprocess.run(lines[-1], shell=True, cwd=here, check=True)
    tracked = subprocess.run(["git", "ls-files"], cwd=here, capture_output=True, text=True)
    assert len(tracked.stdout.splitlines()) == 11
    refused = CliRunner().invoke(cli.main, ["runs", "keep", str(here)])
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1
