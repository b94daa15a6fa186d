"""03 measures of toys what they were made to be: how far to trust them, how far seeds differ."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from notebook_runs import done, write_record

from modsnr import runs

ROOT = Path(__file__).parents[1]
CLASSES, GRID = ("BPSK", "QPSK", "16QAM"), np.arange(0.0, 12.0, 2.0)


def answers(seed, share_right, *, frames=600, spread_db=1.0):
    """Return predictions of a network as sure as it is right, with a known error of the SNR."""
    rng = np.random.default_rng(seed)
    truth, modulation = rng.choice(GRID, frames), rng.integers(3, size=frames)
    estimate = (truth + rng.normal(0, spread_db, frames)).astype(np.float32)
    right = np.arange(frames) < share_right * frames
    return {
        "modulation": modulation,
        "snr_db": truth,
        "predicted_modulation": np.where(right, modulation, (modulation + 1) % 3),
        "predicted_snr_db": estimate,
        "confidence": np.full(frames, share_right),
        "snr_confidence": np.full(frames, np.nan),
        "snr_mean_db": estimate,
    }


def make_run(root, name, share_right, *, seed, old=False, devices=1):
    """Write a run of 02 that predicted what ``answers`` are; an old one saved fewer columns."""
    chosen = {"name": name, "seed": seed, "epochs": 1 + old, "devices": devices}
    record = write_record(
        root,
        name,
        notebook="02_training",
        metrics={"training_seconds": 10.0 + seed, "images_per_second": 100.0},
        parameters=runs.check("02_training", chosen),
        data={"name": "toy", "sha256": "toy"},
        hardware={"cpu": "a toy"},
    )
    test, validation = answers(seed, share_right), answers(seed + 100, share_right)
    if old:
        del test["snr_confidence"], test["snr_mean_db"]
        validation = {}
    columns = test | {f"validation_{column}": values for column, values in validation.items()}
    path = record.folder / "predictions.npz"
    np.savez(path, classes=np.array(CLASSES), grid_db=GRID, **columns)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """The run of 03 over an old model and two seeds of a newer one, the second on two devices."""
    root = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    (root / "paper").mkdir()
    shutil.copy(ROOT / "paper" / "sources.yaml", root / "paper")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODSNR_ROOT", str(root))
        make_run(root, "old", 0.5, seed=0, old=True)
        make_run(root, "new-1", 0.8, seed=1)
        make_run(root, "new-2", 0.9, seed=2, devices=2)
        yield done("03_evaluation", "toys", models=["old", "new-1", "new-2"], level=0.8)


def test_03_holds_intervals_against_the_test_frames_at_the_level_asked_for(evaluation):
    models = evaluation.metrics["models"]
    for name in ("new-1", "new-2"):
        assert models[name]["snr_interval_coverage"]["value"] == pytest.approx(0.8, abs=0.05)
        # Of a Gaussian error of 1 dB the middle 80 % are 2 * 1.28 dB wide.
        assert models[name]["snr_interval_width_db"] == pytest.approx(2.56, rel=0.1)
        assert models[name]["modulation_ece"]["value"] == pytest.approx(0, abs=1e-6)
    table = evaluation.table("snr_intervals")
    parts = ["all", *(f"{snr:g} dB" for snr in GRID), *CLASSES]
    assert table[table.model == "new-1"].part.tolist() == parts
    assert evaluation.figure("reliability").stat().st_size > 5000


def test_03_leaves_out_what_an_old_model_did_not_save_and_says_so(evaluation):
    assert "snr_interval_coverage" not in evaluation.metrics["models"]["old"]
    assert "old" not in set(evaluation.table("snr_intervals").model)
    cells = json.loads((evaluation.folder / "notebook.ipynb").read_text())["cells"]
    printed = "".join("".join(o.get("text", "")) for c in cells for o in c.get("outputs", ()))
    assert "old: no SNR confidence and no SNR intervals: its run did not save" in printed
    assert "new-1: no SNR" not in printed


def test_03_shows_the_spread_over_seeds_though_one_was_trained_on_two_devices(evaluation):
    groups = evaluation.metrics["groups"]
    assert set(groups) == {"old", "new"}
    spread = groups["new"]["modulation_accuracy"]
    assert (spread["mean"], spread["low"], spread["high"], spread["n"]) == (
        pytest.approx(0.85), 0.8, 0.9, 2
    )  # fmt: skip
    assert spread["std"] == pytest.approx(0.1 / 2**0.5)
    assert groups["new"]["training_seconds"]["mean"] == 11.5
    assert groups["old"]["modulation_accuracy"]["std"] is None
    figures = {path.stem for path in (evaluation.folder / "figures").glob("*.pdf")}
    assert {name for name in figures if "confusion" in name} == {"confusion_old", "confusion_new"}
    assert evaluation.table("published")["new"].tolist()[1] == pytest.approx(0.85)
    training = evaluation.table("training")
    assert training.hardware.tolist() == ["a toy"] * 3
    assert training.group.tolist() == ["old", "new", "new"]
