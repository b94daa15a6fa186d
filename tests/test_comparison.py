"""Two runs beside one another: what differs, and by how much on the frames of both."""

import re

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


def page_of(*references, **options):
    """Return the page with each run of spaces as one."""
    return re.sub(" +", " ", comparison.page(references, **options))


def test_parameters_and_circumstances_that_differ_are_shown(make):
    git = {"commit": "a" * 40, "dirty": False}
    make(
        "a",
        parameters={"name": "a", "note": "x", "epochs": 2, "views": ["c"], "new": 1},
        git=git,
        versions={"torch": "2.11", "numpy": "2"},
        hardware={"cores": 2},
    )
    make(
        "b",
        parameters={"name": "b", "note": "y", "epochs": 2, "views": ["r"]},
        git=git | {"dirty": True},
        profile="quick",
        data=THERE,
        versions={"torch": "2.4", "numpy": "2"},
        hardware={"cores": 2, "gpus": ["H"]},
    )
    records = comparison.chosen(["a", "b"])
    parameters, circumstances = comparison.parameters(records), comparison.circumstances(records)
    assert parameters.T.to_dict("list") == {"views": ['["c"]', '["r"]'], "new": ["1", "–"]}
    assert circumstances.T.to_dict("list") == {
        "profile": ["–", "quick"],
        "commit": ["a" * 12, "a" * 12 + " with changes"],
        "frames": ["here, hereherehere", "there, therethereth"],
        "torch": ["2.11", "2.4"],
        "gpus": ["–", '["H"]'],
    }
    page = page_of("a", "b")
    assert 'parameters that differ\n a b\nviews ["c"] ["r"]\nnew 1 –\n' in page


def test_of_different_notebooks_only_what_both_have_is_compared(make):
    make("a", parameters={"seed": 0, "epochs": 2}, metrics={"joint_accuracy": 0.5, "x": 1})
    interval = {"value": 0.75, "low": 0.7, "high": 0.8}
    make(
        "b",
        notebook="03_evaluation",
        parameters={"seed": 1, "level": 0.9},
        metrics={"joint_accuracy": interval, "y": 1},
    )
    page = page_of("a", "b")
    assert "parameters that differ\n a b\nseed 0 1\n" in page
    assert "a b b less a\njoint_accuracy 0.5 0.75 (0.7 to 0.8) +0.25\n" in page
    assert "circumstances: the same" in page


def test_the_paired_difference_is_that_of_the_frames_of_both(make):
    first, second = np.zeros(600, bool), np.zeros(600, bool)
    first[:300], second[:360] = True, True
    make("a", hits=first)
    make("b", hits=second)
    changes = comparison.paired(*comparison.chosen(["a", "b"]))
    assert changes["joint"] == metrics.difference(second, first)
    assert changes["joint"]["value"] == pytest.approx(0.1)
    # Frames that both find easy or hard cancel out: a tenth changed, 1.96 sqrt(0.1 * 0.9 / 600).
    assert changes["joint"]["low"] == pytest.approx(0.1 - 0.024, abs=0.004)
    assert changes["snr"] == metrics.difference(first, first)
    assert "b less a, paired over test frames\n value low high\njoint +0.1000 +0.0" in page_of(
        "a", "b"
    )


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"hits": np.ones(6, bool), "data": THERE}, "not tested on the same frames"),
        ({"hits": np.ones(6, bool), "data": None}, "not tested on the same frames"),
        ({}, "has no predictions here"),
        ({"hits": np.ones(6, bool), "labels": 2}, "their test frames have other labels"),
        ({"hits": np.ones(6, bool), "lacks": ("grid_db",)}, "lack grid_db"),
    ],
)
def test_without_common_test_frames_there_is_no_paired_difference_and_it_says_why(
    make, other, reason
):
    first, second = make("a", hits=np.ones(6, bool)), make("b", **other)
    with pytest.raises(InputError, match=reason):
        comparison.paired(first, second)
    assert "b less a, paired over test frames: none, for " in comparison.page(["a", "b"])


def test_three_runs_are_each_compared_with_the_first_and_thirty_results_are_shown(make):
    for name, step in (("a", 1), ("b", 3), ("c", 7)):
        make(name, metrics={"one": 1} | {f"m{n}": n * step for n in range(1, 34)})
    page = page_of("a", "b", "c")
    assert " a b c b less a c less a\nm1 1 3 7 +2 +6\n" in page
    assert "\none" not in page
    assert page.count("\nm") == 30
    assert "3 more by --all" in page
    assert "\nm33 33" in page_of("a", "b", "c", every=True)


def test_a_name_that_several_runs_have_is_refused_with_their_ids(make):
    old, new = make("model", profile="quick"), make("model")
    make("other")
    ids = rf"{new.id} \(profile none\), {old.id} \(profile quick\)"
    with pytest.raises(InputError, match=f"2 runs are called 'model'; give an id: {ids}"):
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
