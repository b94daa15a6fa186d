"""05 tells how near estimators and a network come to the bound, on a toy of known errors."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from modsnr import frames, limits, runs, signals

ROOT = Path(__file__).parents[1]
CLASSES, SNRS, EACH = ("BPSK", "16QAM"), (0.0, 10.0, 20.0), 40
TOY = "20260101T000000Z-02_training-toy"


@pytest.fixture
def house(tmp_path, monkeypatch):
    """Frames, and a network half a dB wrong on each and wrong in every fourth modulation."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))
    modulation, snr_db = frames.grid_labels(CLASSES, SNRS, EACH)
    content = frames.write(
        runs.store("toy"),
        frames.simulated(signals.Simulator(1, CLASSES, signals.Channel()), modulation, snr_db),
        np.full(len(modulation), frames.PARTS.index("test")),
        split_seed=0,
    )
    test = frames.read(runs.store("toy"), "test")
    place = np.arange(len(test))
    folder = tmp_path / "runs" / TOY
    folder.mkdir(parents=True)
    np.savez(
        folder / "predictions.npz",
        modulation=test.modulation,
        snr_db=test.snr_db,
        predicted_modulation=(test.modulation + (place % 4 == 0)) % 2,
        predicted_snr_db=test.snr_db + np.where(place % 2, 0.5, -0.5).astype(np.float32),
    )
    told = {
        "notebook": "02_training",
        "name": "toy",
        "status": "completed",
        "started": "2026-01-01T00:00:00.000Z",
        "parameters": runs.check("02_training", {"frames": "toy"}),
        "data": {"name": "toy", "sha256": content},
    }
    (folder / "run.json").write_text(json.dumps(told))
    return tmp_path


@pytest.mark.long
def test_05_sets_errors_beside_bounds(house):
    run = runs.execute("05_limits", parameters={"models": ["toy"]})
    assert run.status == "completed", run.error
    assert run.parents == [TOY]
    told, network = run.metrics, run.metrics["estimators"]["toy"]
    assert told["frames"] == len(CLASSES) * len(SNRS) * EACH
    assert network["snr_rmse_db"]["value"] == pytest.approx(0.5, abs=1e-3)
    assert network["snr_accuracy"]["value"] == 1
    assert told["joint_accuracy_at_db"]["toy"]["10.0"]["value"] == pytest.approx(0.75)
    assert told["snr_accuracy_possible"] == pytest.approx(1, abs=1e-6)
    # BPSK and 16QAM at these SNRs are told apart always, with the phase known or not.
    assert told["share_of_possible_joint_accuracy"]["toy"] == pytest.approx(0.75, abs=1e-3)
    assert told["phase_unknown_possible"] == pytest.approx(1, abs=1e-3)
    bound = told["bounds_db"]["alphabet known"]
    assert bound["20.0"] == pytest.approx(limits.data_aided([20], 1024)[0], rel=1e-3)
    assert network["share_of_bound"] == pytest.approx(np.mean([b / 0.5 for b in bound.values()]))
    floor = told["estimators"]["noise floor"]
    assert 0.8 < floor["share_of_bound"] < 1.1
    assert run.table("share")["noise floor"].mean() == pytest.approx(
        floor["share_of_bound"], abs=1e-4
    )
    for name in ("snr_limits", "accuracy_limits"):
        assert run.figure(name).stat().st_size > 5000


@pytest.mark.long
def test_05_refuses_predictions_for_other_frames(house):
    path = house / "runs" / TOY / "run.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"data": {"name": "toy", "sha256": "other"}}))
    run = runs.execute("05_limits", parameters={"models": ["toy"]})
    assert run.status == "failed"
    refused = "toy was trained on other frames than those of the store, by their hash, and cannot"
    assert refused in (run.error or "")
