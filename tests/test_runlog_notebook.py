"""06 tells of no run, of one and of many; its figures' numbers are checked by hand."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from modsnr import InputError, runs, sweeps

ROOT = Path(__file__).parents[1]


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A copy of the notebooks, without a run."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))
    return tmp_path


def add(house, number, *, value=None, status="completed", error=None, again=None, **parameters):
    """Write the folder of a trial as a sweep leaves it."""
    id = f"20260101T0000{number:02d}Z-02_training-toy-{number:04d}"
    folder = house / "runs" / id
    folder.mkdir(parents=True)
    told = {
        "notebook": "02_training",
        "name": f"toy-{number:04d}",
        "status": status,
        "started": f"2026-01-01T00:00:{number:02d}.000Z",
        "parameters": runs.check("02_training", parameters),
        "sweep": {"name": "toy", "trial": number, "owner": str(number), "again": again},
        "wall_seconds": 10.0,
        "error": error,
    }
    (folder / "run.json").write_text(json.dumps(told))
    if value is not None:
        of = {"validation": {"joint_accuracy": value}, "test": {"joint_accuracy": 0.9 - value}}
        (folder / "metrics.json").write_text(json.dumps(of | {"joint_accuracy": 0.9 - value}))
        rows = {"epoch": [1, 2], "validation_joint_accuracy": [value / 2, value]}
        pd.DataFrame(rows).to_csv(folder / "history.csv", index=False)
    return id


@pytest.fixture
def many(house):
    """Eight completed trials, whose value hangs on the rate alone, and some that were lost."""
    for number in range(8):
        rate, backbone = [1e-4, 1e-3][number % 2], ["resnet18", "resnet50"][number // 2 % 2]
        value = 0.2 + 0.4 * (rate == 1e-3) + 0.01 * [1, -1][number // 4]
        add(house, number, value=value, learning_rate=rate, backbone=backbone)
    add(house, 8, status="diverged", error="Diverged: 20 steps", learning_rate=1e-3)
    add(house, 9, status="failed", error="MemoryError: full", learning_rate=1e-3)
    add(house, 10, status="crashed", error="the process ended without a word")
    add(house, 11, value=0.3, learning_rate=1e-4, again=10, backbone="resnet18")
    return house


def test_the_ranking_is_over_completed_runs_and_the_lost_are_counted_beside(many):
    found = sweeps.ranking(sweeps.table("toy"), ["learning_rate"])
    assert found.choice.tolist() == ["0.001", "0.0001"]
    assert found["mean"].tolist() == pytest.approx([0.6, (4 * 0.2 + 0.3) / 5])
    assert found["max"].tolist() == pytest.approx([0.61, 0.3])
    assert found.n.tolist() == [4, 5]
    assert found.lost.tolist() == pytest.approx([2 / 6, 0])
    with pytest.raises(InputError, match="no parameter 'rate'"):
        sweeps.ranking(sweeps.table("toy"), ["rate"])


def test_a_trial_that_was_done_again_is_neither_lost_nor_counted_twice(many):
    trials = sweeps.table("toy")
    assert trials.status.tolist().count("repeated") == 1
    lost = sweeps.lost(trials)
    assert lost["value"] == pytest.approx(2 / 11)
    assert lost["low"] < 2 / 11 < lost["high"]
    assert sweeps.outcomes(trials).runs.sum() == 12


def test_importance_is_that_of_what_the_value_hangs_on(many):
    found = sweeps.importance(sweeps.table("toy"), ["learning_rate", "backbone"])
    assert list(found) == ["learning_rate", "backbone"]
    assert found["learning_rate"] > 0.95
    assert found["backbone"] < 0.1


def test_importance_of_two_groups_is_epsilon_squared_by_hand():
    columns = ["run", "status", "cause", "value", "seconds", "a"]
    rows = [
        ("", "completed", "", value, 1.0, a) for a, value in zip("xxyy", [1, 3, 5, 7], strict=True)
    ]
    # SST = 20, SSW = 4, k = 2, n = 4: (20 - 4 - 1 * 4 / 2) / 20
    found = sweeps.importance(pd.DataFrame(rows, columns=columns), ["a"])
    assert found == {"a": pytest.approx(0.7)}


def test_importance_of_chance_is_near_zero_however_many_the_choices(rng):
    columns = ["run", "status", "cause", "value", "seconds", "few", "many"]
    shares = []
    for _ in range(200):
        rows = [
            ("", "completed", "", rng.normal(), 1.0, f"{rng.integers(2)}", f"{rng.integers(6)}")
            for _ in range(24)
        ]
        table = pd.DataFrame(rows, columns=columns)
        shares.append([sweeps.importance(table, [name])[name] for name in ("few", "many")])
    assert np.mean(shares, 0) == pytest.approx([0, 0], abs=0.08)


def test_skipped_steps_and_rollbacks_are_counted_over_the_runs_that_tell_of_them(house):
    told = [
        {"skipped_steps": 3, "rollbacks": 1, "micro_batch": 128, "first_skipped_step": 7},
        {"skipped_steps": 2, "rollbacks": 0, "micro_batch": 32, "first_skipped_step": 0},
        {"skipped_steps": 0, "rollbacks": 0, "first_skipped_step": None},
        {},
    ]
    for number, metrics in enumerate(told):
        id = add(house, number, value=0.5, batch_size=128)
        path = house / "runs" / id / "metrics.json"
        path.write_text(json.dumps({"validation": {"joint_accuracy": 0.5}, **metrics}))
    found = sweeps.hardships(sweeps.table("toy"))
    assert found.set_index("what").to_dict("index") == {
        "skipped steps": {"of": 3, "runs": 2, "times": 5},
        "rollbacks": {"of": 3, "runs": 1, "times": 1},
        "divided batches": {"of": 2, "runs": 1, "times": 1},
    }


def wilson(count, of, z=1.959963984540054):
    """The interval as Wilson (1927) gives it."""
    p = count / of
    middle, half = p + z * z / (2 * of), z * (p * (1 - p) / of + z * z / (4 * of * of)) ** 0.5
    return [p, (middle - half) / (1 + z * z / of), (middle + half) / (1 + z * z / of)]


def test_the_share_of_lost_runs_stands_beside_the_studys_each_with_wilsons_interval(many):
    rates = sweeps.loss_rates(sweeps.lost(sweeps.table("toy")))
    assert rates.loc["these runs"].tolist() == pytest.approx(wilson(2, 11))
    assert rates.loc["the study"].tolist() == pytest.approx(wilson(133, 168))
    assert sweeps.loss_rates(None).loc["these runs"].isna().all()


@pytest.mark.long
@pytest.mark.parametrize("count", [0, 1])
def test_06_runs_on_no_run_and_on_one(house, count):
    for number in range(count):
        add(house, number, value=0.5)
    run = runs.execute("06_runlog")
    assert run.status == "completed", run.error
    assert run.metrics["runs"] == count
    assert run.metrics["validation_joint_accuracy"] == (0.5 if count else None)


@pytest.mark.parametrize(("kind", "name"), [("sweep", "toi"), ("profile", "recipes")])
def test_runs_of_a_sweep_or_profile_that_is_not_there_are_refused(many, kind, name):
    with pytest.raises(InputError, match=f"no {kind} of runs is called '{name}'"):
        sweeps.table(**{kind: name})


def test_06_tells_of_many_runs_which_was_best_and_how_many_were_lost(many):
    add(many, 12, status="running")  # crashed: nobody holds it
    run = runs.execute("06_runlog", parameters={"sweep": "toy"})
    assert run.status == "completed", run.error
    told = run.metrics
    assert told["validation_joint_accuracy"] == pytest.approx(0.61)
    # Whatever was best by its test frames.
    assert told["best_run_test"]["joint_accuracy"] == pytest.approx(0.29)
    assert told["best_run"].endswith("toy-0001")
    assert told["outcomes"] == {"completed": 9, "diverged": 1, "failed": 1, "crashed": 1}
    assert told["lost"]["value"] == pytest.approx(3 / 12)
    assert next(iter(told["importance"])) == "learning_rate"
    assert len(run.parents) == 13
    for name in ("outcomes", "ranking", "importance", "learning_curves", "parallel_coordinates"):
        assert run.figure(name).stat().st_size > 5000
    assert len(run.table("runs")) == 13
    assert {"diverged: Diverged: 20 steps", "failed: MemoryError: full"} <= set(
        run.table("outcomes").status + ": " + run.table("outcomes").cause.fillna("")
    )
    assert told["hardships"]["rollbacks"] == {"of": 0, "runs": 0, "times": 0}


# Claims, in pairs of runs


@pytest.fixture
def seeds(house):
    """Networks of three seeds at two rates, the higher better by 0.2, 0.3 and 0.4, and others."""
    number = 0
    for seed, better in enumerate((0.2, 0.3, 0.4)):
        for rate, value in ((1e-4, 0.1), (1e-3, 0.1 + better)):
            add(house, number, value=value, learning_rate=rate, seed=seed)
            number += 1
        add(house, number, value=0.5, learning_rate=1e-3, seed=seed, schedule="cosine")
        warm = {"schedule": "cosine", "warmup": 0.1}
        add(house, number + 1, value=0.502 + 0.001 * seed, learning_rate=1e-3, seed=seed, **warm)
        number += 2
    add(house, number, value=0.9, learning_rate=1e-4, seed=9)  # of no pair
    add(house, number + 1, status="diverged", learning_rate=1e-3, seed=9)
    return house


def test_a_claim_is_judged_by_pairs_that_differ_in_nothing_else(seeds):
    claims = [
        "learning_rate 1e-3 above 1e-4",
        "learning_rate 0.0001 above 0.001",
        "warmup 0.1 within 0.02 of 0",
        "warmup 0 within 0.004 of 0.1",
        "warmup 0.1 within 0.001 of 0",
        "schedule one_cycle above cosine",
    ]
    found = sweeps.compare(sweeps.table("toy"), claims).set_index("claim")
    rates = found.loc[claims[0]]
    assert rates[["one", "other", "value"]].tolist() == pytest.approx([0.4, 0.1, 0.3])
    # Deviation 0.1, t(0.975, 2) = 4.302653, over the root of 3.
    assert rates["high"] - 0.3 == pytest.approx(0.1 * 4.302652729911275 / 3**0.5)
    assert found.runs.tolist() == [3] * 6
    assert found.verdict.tolist() == [
        "holds", "contradicted", "holds", "not decided", "not decided", "not decided",
    ]  # fmt: skip
    assert found.loc[claims[2]].value == pytest.approx(0.003)


def test_of_two_runs_of_the_same_choices_the_newest_counts_and_other_frames_are_no_pair(seeds):
    claim = "learning_rate 1e-3 above 1e-4"
    add(seeds, 40, value=0.5, learning_rate=1e-3, seed=0, note="again", devices=2)
    add(seeds, 41, value=0.99, learning_rate=1e-3, seed=1, frames="others")
    (found,) = sweeps.compare(sweeps.table("toy"), [claim]).to_dict("records")
    assert found["value"] == pytest.approx((0.4 + 0.3 + 0.4) / 3)


@pytest.mark.parametrize(
    ("claim", "complaint"),
    [
        ("snr_layer standard", "'snr_layer standard' is no claim: write CHOICE ONE above OTHER"),
        ("warmup 0.1 within few of 0", "is no claim"),
        ("warmup 0.1 within -1 of 0", "is no claim"),
        ("rate 1 above 2", "no choice 'rate'; they have: .*'learning_rate'"),
        ("devices 1 above 2", "no choice 'devices'"),
        ("batch_size 64 above 128", "alone, 64 and 128: 0 and 13 of 14 have these values"),
        ("learning_rate 1e-3 above 4e-3", "differ in learning_rate alone"),
    ],
)
def test_a_claim_that_says_nothing_of_these_runs_is_refused(seeds, claim, complaint):
    with pytest.raises(InputError, match=complaint):
        sweeps.compare(sweeps.table("toy"), [claim])


def test_a_parameter_that_a_run_had_not_yet_has_its_default(seeds):
    claim = "learning_rate 1e-3 above 1e-4"
    before = sweeps.compare(sweeps.table("toy"), [claim])
    path = next((seeds / "runs").glob("*-toy-0000")) / "run.json"
    told = json.loads(path.read_text())
    assert told["parameters"].pop("hide") == ""
    path.write_text(json.dumps(told))
    table = sweeps.table("toy")
    assert set(table.hide) == {""}
    assert sweeps.compare(table, [claim]).equals(before)


def test_06_tells_the_claims_it_is_asked_about_and_keeps_them(seeds):
    claims = ["learning_rate 1e-3 above 1e-4", "warmup 0.1 within 0.02 of 0"]
    run = runs.execute("06_runlog", parameters={"sweep": "toy", "claims": claims})
    assert run.status == "completed", run.error
    assert list(run.metrics["claims"]) == claims == run.table("claims").claim.tolist()
    assert {told["verdict"] for told in run.metrics["claims"].values()} == {"holds"}
    assert run.metrics["claims"][claims[0]]["one"] == pytest.approx(0.4)


@pytest.mark.long
def test_06_without_claims_compares_nothing(seeds):
    run = runs.execute("06_runlog", parameters={"sweep": "toy"})
    assert run.metrics["claims"] == {}
