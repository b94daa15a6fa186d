"""09 on the committed network: every method, every table, and what it refuses."""

import nbformat
import numpy as np
import pytest
from notebook_runs import done

from modsnr import InputError, runs

SMALL = {"explained_frames": 3, "steps": 2, "orders": 1, "sets": 50, "shakes": 1}
HOME = {"frames": "home", "frames_per_cell": 10, "snr_step_db": 10, "cluster": "here"}
ALL_VIEWS = ["constellation", "synchronised", "aligned", "residual"]
FIT = {"frames": "home", "bins": 16, "epochs": 1, "batch_size": 32, "views": ALL_VIEWS}
pytestmark = pytest.mark.long

METHODS = [
    "occlusion",
    "integrated gradients",
    "Grad-CAM",
    "ablation of rings",
    "Shapley, sampled",
    "kernel SHAP",
    "random",
]


@pytest.fixture(scope="module")
def trained(house):
    done("01_preprocessing", "frames", classes=["BPSK", "QPSK", "16QAM"], gallery_bins=24, **HOME)
    return {
        "net": done("02_training", "net", **FIT),
        "again": done("02_training", "again", seed=1, **FIT),
        "robbed": done(
            "02_training", "robbed", hide="modulation", hide_fraction=0.5, hide_by="net", **FIT
        ),
    }


@pytest.fixture(scope="module")
def run(trained):
    return done(
        "09_attribution",
        "why",
        network="net",
        repeats=["again"],
        retrained=["net", "robbed"],
        retrained_profile="",
        **SMALL,
    )


def test_each_method_is_judged_for_both_answers(run):
    for told in run.metrics["methods"].values():
        assert list(told) == METHODS
        assert told["random"]["verdict"] == "control"
        assert all(np.isfinite(of["deletion"]["value"]) for of in told.values())
    assert set(run.metrics["over_seeds"]["snr"]) == set(METHODS)
    assert list(run.metrics["over_seeds"]["snr"]["occlusion"]) == ["net and again"]


def test_maps_and_tables_are_kept(run):
    kept = {path.name for path in run.folder.rglob("*") if path.is_file()}
    assert {"faithfulness.pdf", "occlusion.png", "integrated_gradients.png"} <= kept
    assert {"methods.csv", "shapley.csv", "agreement.csv", "retrained.csv"} <= kept


def test_a_network_trained_without_what_the_first_needed_is_told_beside_it(run, trained):
    assert list(run.metrics["retrained"]) == ["net", "robbed"]
    assert run.metrics["retrained"]["robbed"]["hidden"] == "modulation"
    assert trained["net"].id in trained["robbed"].parents


def test_without_repeats_and_retrained_networks_no_empty_table_is_shown_or_kept(trained):
    run = done("09_attribution", "alone", network="net", **SMALL)
    assert not (run.folder / "tables" / "retrained.csv").exists()
    assert run.metrics["retrained"] == {}
    cells = nbformat.read(run.folder / "notebook.ipynb", 4).cells
    assert all(not cell.outputs for cell in cells if cell.source.startswith("if repeats"))
    assert "Empty DataFrame" not in str(cells)


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"network": "nat"}, "did you mean 'net'"),
        ({"network": "net", "steps": 0}, "steps .*given 0 .*greater than 0"),
    ],
)
def test_what_cannot_be_explained_is_refused_before_it_starts(trained, parameters, complaint):
    before = {run.id for run in runs.records()}
    with pytest.raises(InputError, match=complaint):
        runs.execute("09_attribution", parameters=SMALL | parameters, name="refused")
    assert {run.id for run in runs.records()} == before
