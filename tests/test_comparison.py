"""Two runs beside one another tell what differs, and by how much on the frames of both."""

import numpy as np
import pytest
from notebook_runs import write_record

from modsnr import InputError, comparison, metrics

CLASSES, GRID = np.array(["BPSK", "QPSK"]), np.array([0.0, 2.0, 4.0])
HERE, THERE = ({"name": name, "sha256": name * 10} for name in ("here", "there"))


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Write a run, ``hits`` [frame] telling which answers were right."""
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))

    def make(name, *, notebook="02_training", hits=None, labels=1, lacks=(), **fields):
        record = write_record(tmp_path, name, notebook=notebook, **{"data": HERE} | fields)
        if hits is not None:
            truth = np.arange(len(hits)) * labels % 2
            saved = {
                "modulation": truth,
                "predicted_modulation": np.where(hits, truth, 1 - truth),
                "snr_db": GRID[np.arange(len(hits)) % 3],
                "predicted_snr_db": GRID[np.arange(len(hits)) % 3] + 0.25,
                "classes": CLASSES,
                "grid_db": GRID,
            }
            for name in lacks:
                del saved[name]
            np.savez(record.folder / "predictions.npz", **saved)
        return record

    return make


def test_only_parameters_that_differ_are_shown_and_one_that_a_run_had_not_yet(make):
    first = make("a", parameters={"name": "a", "note": "x", "epochs": 2, "views": ["c"], "new": 1})
    second = make("b", parameters={"name": "b", "note": "y", "epochs": 2, "views": ["r"]})
    assert comparison.parameters([first, second]) == {
        "views": ['["c"]', '["r"]'],
        "new": ["1", "–"],
    }
    page = comparison.page(["a", "b"])
    assert 'parameters that differ\n         a      b\n  views  ["c"]  ["r"]\n' in page


def test_of_different_notebooks_only_what_both_have_is_compared(make):
    first = make("a", parameters={"seed": 0, "epochs": 2}, metrics={"joint_accuracy": 0.5, "x": 1})
    second = make(
        "b",
        notebook="03_evaluation",
        parameters={"seed": 1, "level": 0.9},
        metrics={"joint_accuracy": {"value": 0.75, "low": 0.7, "high": 0.8}, "y": 1},
    )
    assert comparison.parameters([first, second]) == {"seed": ["0", "1"]}
    assert list(comparison.results([first, second])) == ["joint_accuracy"]
    page = comparison.page(["a", "b"])
    assert "of different notebooks (02_training, 03_evaluation)" in page
    assert "  joint_accuracy  0.5  0.75 (0.7 to 0.8)  +0.25" in page


def test_a_number_that_the_other_notebook_gives_with_an_interval_is_compared_by_its_value(make):
    make("a", metrics={"joint_accuracy": 0.5})
    interval = {"joint_accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}
    make("b", notebook="03_evaluation", metrics=interval)
    for names in (["a", "b"], ["b", "a"]):
        assert "  the same: joint_accuracy 0.5" in comparison.page(names)


def test_commit_changes_profile_versions_and_hardware_are_shown_where_they_differ(make):
    git = {"commit": "a" * 40, "dirty": False}
    first = make("a", git=git, versions={"torch": "2.11", "numpy": "2"}, hardware={"cores": 2})
    second = make(
        "b",
        git=git | {"dirty": True},
        profile="quick",
        versions={"torch": "2.4", "numpy": "2"},
        hardware={"cores": 2, "gpus": ["H"]},
    )
    assert comparison.circumstances([first, second]) == {
        "profile": ["–", "quick"],
        "commit": ["a" * 12, "a" * 12 + " with changes"],
        "torch": ["2.11", "2.4"],
        "gpus": ["–", '["H"]'],
    }
    alike = make("c", git=git, versions=first.versions, hardware=first.hardware)
    assert "circumstances: the same" in comparison.page([first.id, alike.id])


def test_the_paired_difference_is_that_of_the_frames_of_both(make):
    first, second = np.zeros(600, bool), np.zeros(600, bool)
    first[:300], second[:360] = True, True
    make("a", hits=first)
    make("b", hits=second)
    changes, frames = comparison.paired(*comparison.chosen(["a", "b"]))
    assert frames == 600
    assert changes["joint accuracy"] == metrics.difference(second, first)
    assert changes["joint accuracy"]["value"] == pytest.approx(0.1)
    # Frames that both find easy or hard cancel out: a tenth changed, 1.96 sqrt(0.1 * 0.9 / 600).
    assert changes["joint accuracy"]["low"] == pytest.approx(0.1 - 0.024, abs=0.004)
    assert changes["SNR accuracy"] == metrics.difference(first, first)
    page = comparison.page(["a", "b"])
    assert "b less a, paired on 600 test frames\n  joint accuracy       +0.1000  (+0.0" in page
    assert "a less b, paired on 600 test frames\n  joint accuracy       -0.1000  (-0.1" in (
        comparison.page(["b", "a"])
    )


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"hits": np.ones(6, bool), "data": THERE}, "not tested on the same frames"),
        ({"hits": np.ones(6, bool), "data": None}, "not tested on the same frames"),
        ({}, "has no predictions.npz here"),
        ({"hits": np.ones(6, bool), "labels": 2}, "their test frames have other labels"),
        ({"hits": np.ones(9, bool)}, "their test frames have other labels"),
        ({"hits": np.ones(6, bool), "lacks": ("grid_db",)}, "lack grid_db"),
    ],
)
def test_without_common_test_frames_there_is_no_paired_difference_and_it_says_why(
    make, other, reason
):
    first, second = make("a", hits=np.ones(6, bool)), make("b", **other)
    with pytest.raises(InputError, match=reason):
        comparison.paired(first, second)
    assert "b less a: no paired difference, for " in comparison.page(["a", "b"])


def test_frames_are_the_same_if_their_hash_is(make):
    make("a")
    make("b")
    make("c", data=THERE)
    assert "frames: the same (here, hereherehere)" in comparison.page(["a", "b"])
    assert "frames: not the same\n  a  here, " in comparison.page(["a", "c"])
    make("d", data=None)
    make("e", data=None)
    assert "frames: not the same\n  a  here, " in comparison.page(["a", "d"])
    assert "frames: none recorded" in comparison.page(["d", "e"])


def test_three_runs_are_each_compared_with_the_first(make):
    for name, value in (("a", 1), ("b", 3), ("c", 7)):
        make(name, metrics={"epochs": value})
    page = comparison.page(["a", "b", "c"])
    assert "          a  b  c  b less a  c less a\n  epochs  1  3  7  +2        +6" in page


def test_what_sums_in_another_order_differ_by_is_no_difference(make):
    interval = {"value": 0.3, "low": 0.2, "high": 0.4}
    make("a", metrics={"sum": 0.3, "share": interval, "close": 0.3, "steps": 10**12})
    other = interval | {"value": 0.1 + 0.2}
    make("b", metrics={"sum": 0.1 + 0.2, "share": other, "close": 0.300001, "steps": 10**12 + 1})
    page = comparison.page(["a", "b"])
    assert "  the same: sum 0.3, share 0.3 (0.2 to 0.4)" in page
    assert "\n  close  " in page
    assert "\n  steps  " in page


def test_thirty_results_are_shown_unless_all_are_asked_for(make):
    for name, step in (("a", 1), ("b", 2)):
        make(name, metrics={f"m{n}": n * step for n in range(34)})
    page = comparison.page(["a", "b"])
    assert page.count("\n  m") == 30
    assert "  3 more by --all\n  the same: m0 0" in page
    assert "\n  m33  33" in comparison.page(["a", "b"], every=True)


def test_a_name_that_several_runs_have_is_refused_with_their_ids(make):
    old, new = make("model", profile="quick"), make("model")
    make("other")
    ids = rf"{new.id} \(profile none\), {old.id} \(profile quick\)"
    with pytest.raises(InputError, match=f"2 runs are called 'model'; give an id.*: {ids}"):
        comparison.chosen(["model", "other"])
    for reference in (old.id, old.id[:16], f"runs/{old.id}"):
        assert comparison.chosen([reference, "other"])[0] == old


@pytest.mark.parametrize(
    ("references", "complaint"),
    [
        (["a"], "a comparison is of two runs or more"),
        (["a", "a"], "is named twice"),
        (["a", "ab"], "no run is called 'ab'; did you mean 'a'"),
    ],
)
def test_what_cannot_be_compared_is_refused(make, references, complaint):
    make("a")
    with pytest.raises(InputError, match=complaint):
        comparison.chosen(references)
