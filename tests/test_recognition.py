"""Frames made again on another processor are recognised; other frames are not."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy_fits import picture

from modsnr import InputError, model, training

EACH, CLASSES, GRID = 6, ("BPSK", "QPSK"), (0.0, 10.0, 20.0)


def frames_of(seed: int) -> SimpleNamespace:
    """Frames of every class, whose samples are another draw for another seed."""
    rng = np.random.default_rng(seed)
    modulation, snr_db = (
        labels.ravel().repeat(EACH) for labels in np.meshgrid(np.arange(2), GRID, indexing="ij")
    )
    iq = rng.standard_normal((len(snr_db), 256, 2), np.float32).view(np.complex64)[..., 0]
    labels = {"modulation": modulation, "snr_db": snr_db.astype(np.float32)}
    return SimpleNamespace(iq=iq, findings=None, **labels)


@pytest.fixture(params=["regression", "classification"])
def trained(request, tmp_path):
    """A run that saved its network's predictions for the frames of seed 0."""
    torch.manual_seed(0)
    net = model.JointNet(
        "compact",
        views=["constellation"],
        bins=16,
        classes=CLASSES,
        snrs_db=GRID,
        snr_head=request.param,
    ).eval()
    header = {"net": json.dumps(net.settings)}
    model.write_tensors(net.state_dict(), tmp_path / "weights.safetensors", header)
    given = frames_of(0)
    predicted = training.predict(net, picture, torch.from_numpy(given.iq), rotations=2)
    saved = {key: values.numpy() for key, values in predicted.columns().items()}
    return SimpleNamespace(
        data={"sha256": "there"},
        parameters={"rotations": 2},
        weights=tmp_path / "weights.safetensors",
        predictions=lambda: saved | {"modulation": given.modulation, "snr_db": given.snr_db},
    )


def recognise(trained, given, rows=None, content="here"):
    return training.recognise({"toy": trained}, content, given, lambda _: picture, rows)


def test_frames_of_the_same_hash_or_equal_up_to_rounding_are_recognised(trained):
    found = recognise(trained, None, rows=np.arange(0), content="there")
    assert found == "toy: trained on these frames"
    given = frames_of(0)
    given.iq = given.iq * np.complex64(1 + 1e-6)
    line = "toy: trained on these frames as another processor rounds; SNRs estimated now and after"
    assert recognise(trained, given).startswith(line)
    some = np.array([1, 7, 30])
    few = {key: values[some] for key, values in vars(given).items() if key != "findings"}
    few = SimpleNamespace(findings=None, **few)
    assert recognise(trained, few, some).startswith(line)


def test_a_run_that_saved_no_mean_snrs_is_recognised_by_what_it_decided(trained):
    saved = trained.predictions()
    means = saved.pop("snr_mean_db")
    trained.predictions = lambda: saved
    given = frames_of(0)
    if (means == saved["predicted_snr_db"]).all():
        assert "as another processor rounds" in recognise(trained, given)
    else:  # decisions on a grid are too coarse to tell
        with pytest.raises(InputError, match=r"lie .* apart"):
            recognise(trained, given)


def test_frames_of_another_seed_are_refused_with_the_distances(trained):
    with pytest.raises(
        InputError, match=r"toy was trained on other frames .* SNRs estimated now and"
    ):
        recognise(trained, frames_of(1))
    # The very frames, but in other places of their class.
    given = frames_of(0)
    given.iq = np.roll(given.iq.reshape(6, EACH, -1), 1, axis=1).reshape(given.iq.shape)
    with pytest.raises(InputError, match="other frames"):
        recognise(trained, given)


def test_frames_of_other_labels_or_more_of_them_or_lost_weights_are_refused(trained):
    given = frames_of(0)
    given.snr_db = np.roll(given.snr_db, 1)
    with pytest.raises(InputError, match="their labels differ"):
        recognise(trained, given)
    with pytest.raises(InputError, match="their labels differ"):
        recognise(trained, frames_of(0), np.arange(1, 1 + 6 * EACH))
    trained.weights.unlink()
    with pytest.raises(InputError, match=r"other frames .*by their hash, and cannot predict: "):
        recognise(trained, frames_of(0))
