"""05 shows how near estimators and a network come to the bound, on a toy of known errors."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from notebook_runs import done, write_record

from modsnr import frames, limits, runs, signals

ROOT = Path(__file__).parents[1]
CLASSES, SNRS, EACH = ("BPSK", "16QAM"), (0.0, 10.0, 20.0), 40


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The run of a network half a dB wrong on each frame and wrong in every fourth modulation."""
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
    parameters, data = runs.check("02_training", {"frames": "toy"}), {"name": "toy"}
    record = write_record(
        tmp_path, "toy", notebook="02_training", parameters=parameters,
        data=data | {"sha256": content},
    )  # fmt: skip
    np.savez(
        record.folder / "predictions.npz",
        modulation=test.modulation,
        snr_db=test.snr_db,
        predicted_modulation=(test.modulation + (place % 4 == 0)) % 2,
        predicted_snr_db=test.snr_db + np.where(place % 2, 0.5, -0.5).astype(np.float32),
    )
    return record


@pytest.mark.long
def test_05_sets_errors_beside_bounds(toy):
    run = done("05_limits", "limits", models=["toy"], ceiling_frames=1, unknown_frames=1)
    assert run.parents == [toy.id]
    found, network = run.metrics, run.metrics["estimators"]["toy"]
    assert found["frames"] == len(CLASSES) * len(SNRS) * EACH
    assert network["snr_rmse_db"]["value"] == pytest.approx(0.5, abs=1e-3)
    assert network["snr_accuracy"]["value"] == 1
    assert found["joint_accuracy_at_db"]["toy"]["10.0"]["value"] == pytest.approx(0.75)
    assert found["snr_accuracy_possible"] == pytest.approx(1, abs=1e-6)
    # BPSK and 16QAM at these SNRs are never mistaken, with the phase known or not.
    assert found["share_of_possible_joint_accuracy"]["toy"] == pytest.approx(0.75, abs=1e-3)
    assert found["phase_unknown_possible"] == pytest.approx(1, abs=1e-3)
    bound = found["bounds_db"]["alphabet known"]
    assert bound["20.0"] == pytest.approx(limits.data_aided([20], 1024)[0], rel=1e-3)
    assert network["share_of_bound"] == pytest.approx(np.mean([b / 0.5 for b in bound.values()]))
    floor = found["estimators"]["noise floor"]["share_of_bound"]
    assert 0.8 < floor < 1.1
    assert run.table("share")["noise floor"].mean() == pytest.approx(floor, abs=1e-4)
    assert set(found["ceilings"]) == set(signals.CONDITIONS)
    minor = found["ceilings"]["minor"]
    assert list(minor) == ["feedback", "linear", "blind"]
    assert minor["blind"]["modulation"]["all"]["value"] == pytest.approx(1, abs=1e-3)
    assert minor["feedback"]["joint"]["20.0"]["high"] == pytest.approx(1)
    shortest = found["ceilings"]["samples_128"]["feedback"]["joint"]["0.0"]
    assert 0.5 < shortest["low"] <= shortest["value"] < minor["feedback"]["joint"]["0.0"]["value"]
    of_snr = run.table("snr_bounds").set_index("SNR (dB)")
    assert (of_snr["coloured_noise"] > of_snr["minor"]).all()
    for name in ("snr_limits", "accuracy_limits", "ceilings"):
        assert run.figure(name).stat().st_size > 5000


@pytest.mark.long
def test_05_refuses_predictions_for_other_frames(toy):
    path = toy.folder / "run.json"
    written = json.loads(path.read_text())
    path.write_text(json.dumps(written | {"data": {"name": "toy", "sha256": "other"}}))
    run = runs.execute("05_limits", parameters={"models": ["toy"]})
    assert run.status == "failed"
    refused = "toy was trained on other frames than those of the store, by their hash, and cannot"
    assert refused in (run.error or "")
