"""A sweep's table keeps everything of its runs, through whatever kill and whatever value."""

import json
import math

import pandas as pd
import pytest

from modsnr import InputError, runs
from modsnr.runs import sweep_tables


@pytest.fixture
def write_run(tmp_path, monkeypatch):
    """Write the folder of a run and return its record."""
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))

    def write(number, *, metrics=None, history=None, **content):
        id = f"20260101T0000{number:02d}Z-02_training-toy-{number:04d}"
        folder = tmp_path / "runs" / id
        folder.mkdir(parents=True)
        content = {
            "notebook": "02_training",
            "name": f"toy-{number:04d}",
            "status": "completed",
            "started": f"2026-01-01T00:00:{number:02d}.000Z",
            "parameters": {"epochs": 2, "views": ["constellation"], "rate": 10.0**-number},
        } | content
        (folder / "run.json").write_text(json.dumps(content))
        if metrics is not None:
            (folder / "metrics.json").write_text(json.dumps(metrics))
        if history is not None:
            pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
        return runs.Record.load(folder)

    return write


@pytest.mark.parametrize(
    "value",
    [
        *("", "1", "null", "NaN", "[1", "a/b~c", 'two\nlines, "quoted"', "ü", None, True, 1, 1.0),
        *(1e-300, math.inf, [], {}, [None, "1", [2]], {"a/b": {"~": 1}}, {"0.0": 0.5}),
    ],
    ids=repr,
)
def test_every_value_is_read_again_as_it_was_whether_it_varies_or_not(write_run, value):
    for first, (name, other) in enumerate((("alike", value), ("varying", "other"))):
        records = [
            write_run(2 * first + n, parameters={"p": v}, metrics={"m": v})
            for n, v in enumerate((value, other))
        ]
        sweep_tables.add(name, records)
        for record, row in zip(records, runs.rows_of(name), strict=True):
            assert row.model_dump() == record.model_dump()
            assert row.metrics == record.metrics
            assert type(row.parameters["p"]) is type(record.parameters["p"])


def test_a_run_with_other_parameters_makes_columns_and_the_rest_stays_in_the_yaml(write_run):
    first = write_run(1, git={"commit": "a" * 40, "dirty": False})
    sweep_tables.add("toy", [first])
    path = sweep_tables.folder() / "toy.csv"
    assert path.read_text().split("\n")[0] == "id,name,status,started,wall_seconds"
    second = write_run(2, git={"commit": "b" * 40, "dirty": False}, status="failed")
    for _ in range(2):  # once more changes nothing
        sweep_tables.add("toy", [second])
        columns = path.read_text().split("\n")[0].split(",")
        assert {"git/commit", "parameters/rate"} < set(columns)
        assert not {"git/dirty", "parameters/epochs"} & set(columns)
        assert [run.git for run in runs.rows_of("toy")] == [first.git, second.git]


@pytest.mark.parametrize("killed_at", range(1, 7))
def test_a_kill_between_any_two_files_loses_no_run(write_run, monkeypatch, killed_at):
    old = write_run(1, metrics={"m": 1}, history={"epoch": [1], "loss": [2.5]})
    sweep_tables.add("toy", [old], remove=True)
    new = write_run(2, metrics={"m": 2}, history={"epoch": [1, 2], "loss": [1.5, None]})
    written, write = 0, sweep_tables.files.write

    def write_or_die(path, content):
        nonlocal written
        written += 1
        if written == killed_at:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(sweep_tables.files, "write", write_or_die)
    try:
        sweep_tables.add("toy", [new], remove=True)
    except KeyboardInterrupt:
        assert new.folder.exists()
    monkeypatch.setattr(sweep_tables.files, "write", write)
    known = {run.id: run for run in runs.records()}
    assert [known[id].metrics for id in (old.id, new.id)] == [{"m": 1}, {"m": 2}]
    assert known[old.id].history.loss.tolist() == [2.5]
    assert known[new.id].history.loss.isna().tolist() == [False, True]
    sweep_tables.add("toy", [new], remove=True)
    assert [run.metrics["m"] for run in runs.rows_of("toy")] == [1, 2]
    assert not new.folder.exists()
    assert not list(new.folder.parent.glob(".*.removed"))


def test_a_row_keeps_its_predictions_here_and_says_what_it_lacks(write_run):
    run = write_run(1, metrics={"joint_accuracy": 0.5})
    (run.folder / "predictions.npz").write_bytes(b"PK")
    for _ in range(2):  # the second process read the folder before it was gone
        sweep_tables.add("toy", [run], remove=True)
    row = runs.find(run.id)
    assert row.sweep_table == "toy"
    assert (sweep_tables.folder() / "toy" / run.id / "predictions.npz").exists()
    assert row.metrics["joint_accuracy"] == 0.5
    with pytest.raises(InputError, match="has no weights here"):
        _ = row.weights
    with pytest.raises(InputError, match=r"no rows in .*toy-history"):
        _ = row.history
    assert "| a row of | [toy.csv](../sweeps/toy.csv) |" in runs.readme(runs.survey(), row)
