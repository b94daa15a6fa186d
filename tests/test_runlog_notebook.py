"""06 describes no run, one and many; its figures' numbers are checked by hand."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from notebook_runs import done, write_record

from modsnr import InputError, runs, sweeps

ROOT = Path(__file__).parents[1]
HIGHER = "learning_rate 1e-3 above 1e-4"


@pytest.fixture
def add(tmp_path, monkeypatch):
    """Write the folder of a trial as a sweep leaves it; the house has the notebooks only."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))

    def write(value=None, *, again=None, status="completed", error=None, **parameters):
        number = len(list((tmp_path / "runs").glob("2*")))
        run = write_record(
            tmp_path,
            f"toy-{number:04d}",
            notebook="02_training",
            metrics={"validation": {"joint_accuracy": value}, "test": {"joint_accuracy": 0.1}},
            status=status,
            error=error,
            parameters=runs.check("02_training", parameters),
            sweep={"name": "toy", "trial": number, "again": again},
            wall_seconds=10.0,
        )
        if value is not None:
            rows = {"epoch": [1, 2], "validation_joint_accuracy": [value / 2, value]}
            pd.DataFrame(rows).to_csv(run.folder / "history.csv", index=False)
        return run

    return write


@pytest.fixture
def many(add):
    """Eight completed trials, whose value hangs on the rate alone, and some that were lost."""
    for number in range(8):
        rate, backbone = [1e-4, 1e-3][number % 2], ["resnet18", "resnet50"][number // 2 % 2]
        value = 0.2 + 0.4 * (rate == 1e-3) + 0.01 * [1, -1][number // 4]
        add(value, learning_rate=rate, backbone=backbone)
    add(status="diverged", error="Diverged: 20 steps", learning_rate=1e-3)
    add(status="failed", error="MemoryError: full", learning_rate=1e-3)
    add(status="crashed", error="the process ended without a word")
    add(0.3, learning_rate=1e-4, again=10, backbone="resnet18")
    return sweeps.table("toy")


def test_the_ranking_is_over_completed_runs_and_the_lost_are_counted_beside(many):
    found = sweeps.ranking(many, ["learning_rate", "backbone"])
    assert found.parameter.unique().tolist() == ["learning_rate", "backbone"]
    rates = found[found.parameter == "learning_rate"]
    assert rates.choice.tolist() == ["0.001", "0.0001"]
    assert rates["mean"].tolist() == pytest.approx([0.6, (4 * 0.2 + 0.3) / 5])
    assert rates["max"].tolist() == pytest.approx([0.61, 0.3])
    assert rates.n.tolist() == [4, 5]
    assert rates.lost.tolist() == pytest.approx([2 / 6, 0])


def test_a_trial_that_was_done_again_is_not_lost(many):
    assert many.status.tolist().count("repeated") == 1
    lost = sweeps.lost(many)
    assert lost["value"] == pytest.approx(2 / 11)
    assert lost["low"] < 2 / 11 < lost["high"]
    assert sweeps.lost(many[:0]) is None


def test_importance_is_that_of_what_the_value_hangs_on(many):
    found = sweeps.importance(many, ["learning_rate", "backbone"])
    assert list(found) == ["learning_rate", "backbone"]
    assert found["learning_rate"] > 0.95
    assert found["backbone"] < 0.1


def test_importance_is_epsilon_squared_of_choices_or_quartiles_by_hand():
    two = pd.DataFrame({"value": [1, 3, 5, 7], "a": [*"xxyy"]})
    # SST = 20, SSW = 4, k = 2, n = 4: (20 - 4 - 1 * 4 / 2) / 20
    assert sweeps.importance(two, ["a"]) == {"a": pytest.approx(0.7)}
    eight = pd.DataFrame({"value": [1, 3, 5, 7, 9, 11, 13, 15], "a": np.arange(8) / 10})
    # SST = 168, SSW = 4 * 2, k = 4, n = 8: (168 - 8 - 3 * 8 / 4) / 168
    assert sweeps.importance(eight, ["a"]) == {"a": pytest.approx(154 / 168)}


def test_importance_of_chance_is_near_zero_however_many_the_choices(rng):
    shares = []
    for _ in range(100):
        drawn = {"value": rng.normal(size=24), "few": rng.integers(2, size=24)}
        trials = pd.DataFrame(drawn | {"many": rng.integers(6, size=24)})
        shares.append(sweeps.importance(trials, ["few", "many"]))
    means = pd.DataFrame(shares).mean()
    assert means[["few", "many"]].tolist() == pytest.approx([0, 0], abs=0.1)


@pytest.mark.parametrize(("kind", "name"), [("sweep", "toi"), ("profile", "recipes")])
def test_runs_of_a_sweep_or_profile_that_is_not_there_are_refused(many, kind, name):
    with pytest.raises(InputError, match=f"no {kind} of runs is called '{name}'"):
        sweeps.table(**{kind: name})


@pytest.mark.long
@pytest.mark.parametrize("count", [0, 1])
def test_06_runs_on_no_run_and_on_one(add, count):
    for _ in range(count):
        add(0.5)
    run = done("06_runlog", "few")
    assert run.metrics["runs"] == count
    assert run.metrics["validation_joint_accuracy"] == (0.5 if count else None)
    assert run.metrics["claims"] == {}


def test_06_shows_of_many_runs_which_was_best_and_how_many_were_lost(many, add):
    add(status="running")  # crashed: nobody holds it
    run = done("06_runlog", "many", sweep="toy", claims=[HIGHER])
    found = run.metrics
    assert found["validation_joint_accuracy"] == pytest.approx(0.61)
    assert found["best_run_test"]["joint_accuracy"] == pytest.approx(0.1)
    assert found["best_run"].endswith("toy-0001")
    assert found["outcomes"] == {"completed": 9, "diverged": 1, "failed": 1, "crashed": 1}
    assert found["lost"]["value"] == pytest.approx(3 / 12)
    assert next(iter(found["importance"])) == "learning_rate"
    assert found["claims"][HIGHER]["runs"] == 2
    assert run.table("claims").claim.tolist() == [HIGHER]
    assert len(run.parents) == len(run.table("runs")) == 13
    for name in ("outcomes", "ranking", "importance", "learning_curves", "parallel_coordinates"):
        assert run.figure(name).stat().st_size > 5000
    outcomes = run.table("outcomes")
    assert {"Diverged: 20 steps", "MemoryError: full"} <= set(outcomes.cause)
    assert outcomes.runs.sum() == 13


# Claims, in pairs of runs


@pytest.fixture
def seeds(add):
    """Networks of three seeds at two rates, the higher better by 0.2, 0.3 and 0.4, and others."""
    for seed, better in enumerate((0.2, 0.3, 0.4)):
        for rate, value in ((1e-4, 0.1), (1e-3, 0.1 + better)):
            add(value, learning_rate=rate, seed=seed)
        cosine = {"learning_rate": 1e-3, "seed": seed, "schedule": "cosine"}
        add(0.5, **cosine)
        add(0.502 + 0.001 * seed, warmup=0.1, **cosine)
    add(0.9, learning_rate=1e-4, seed=9)  # of no pair
    add(status="diverged", learning_rate=1e-3, seed=9)
    return add


def test_a_claim_is_judged_by_pairs_that_differ_in_nothing_else(seeds):
    verdicts = {
        HIGHER: "holds",
        "learning_rate 0.0001 above 0.001": "contradicted",
        "warmup 0.1 within 0.02 of 0": "holds",
        "warmup 0 within 0.004 of 0.1": "not decided",
        "warmup 0.1 within 1e-3 of 0": "not decided",
        "schedule one_cycle above cosine": "not decided",
    }
    found = sweeps.compare(sweeps.table("toy"), [*verdicts]).set_index("claim")
    assert found.verdict.to_dict() == verdicts
    assert found.runs.tolist() == [3] * 6
    rates = found.loc[HIGHER]
    assert rates[["one", "other", "value"]].tolist() == pytest.approx([0.4, 0.1, 0.3])
    # Deviation 0.1, t(0.975, 2) = 4.302653, over the root of 3.
    assert rates["high"] - 0.3 == pytest.approx(0.1 * 4.302652729911275 / 3**0.5)
    assert found.value["warmup 0.1 within 0.02 of 0"] == pytest.approx(0.003)


def test_of_two_runs_of_the_same_choices_the_newest_counts_and_other_frames_are_no_pair(seeds):
    seeds(0.5, learning_rate=1e-3, seed=0, note="again", devices=2)
    seeds(0.99, learning_rate=1e-3, seed=1, frames="others")
    (found,) = sweeps.compare(sweeps.table("toy"), [HIGHER]).to_dict("records")
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
    ],
)
def test_a_claim_that_says_nothing_of_these_runs_is_refused(seeds, claim, complaint):
    with pytest.raises(InputError, match=complaint):
        sweeps.compare(sweeps.table("toy"), [claim])


def test_a_parameter_that_a_run_had_not_yet_has_its_default(add):
    path = add(0.5).folder / "run.json"
    content = json.loads(path.read_text())
    assert content["parameters"].pop("hide") == ""
    path.write_text(json.dumps(content))
    assert sweeps.table("toy").hide.tolist() == [""]
