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
        of.ravel().repeat(EACH) for of in np.meshgrid(np.arange(2), GRID, indexing="ij")
    )
    iq = rng.standard_normal((len(snr_db), 256, 2), np.float32).view(np.complex64)[..., 0]
    return SimpleNamespace(iq=iq, modulation=modulation, snr_db=snr_db.astype(np.float32))


@pytest.fixture(params=["regression", "classification"])
def trained(request, tmp_path):
    """A run that saved what its network said of the frames of seed 0."""
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
    said = training.predict(net, picture, torch.from_numpy(given.iq), rotations=2)
    saved = {key: of.numpy() for key, of in said.columns().items()}
    return SimpleNamespace(
        data={"sha256": "there"},
        parameters={"rotations": 2},
        weights=tmp_path / "weights.safetensors",
        predictions=lambda: saved | {"modulation": given.modulation, "snr_db": given.snr_db},
    )


def asked(trained, given, rows=None, content="here"):
    return training.recognise({"toy": trained}, content, given, lambda _: picture, rows)


def test_nothing_is_predicted_where_the_hash_is_the_same(trained):
    told = asked(trained, None, rows=np.arange(0), content="there")
    assert told == "toy: trained on these frames"


def test_frames_equal_up_to_rounding_are_recognised(trained):
    given = frames_of(0)
    given.iq = given.iq * np.complex64(1 + 1e-6)
    told = "toy: trained on these frames as another processor rounds; SNRs estimated now and after"
    assert asked(trained, given).startswith(told)
    some = np.array([1, 7, 30])
    few = SimpleNamespace(**{key: of[some] for key, of in vars(given).items()})
    assert asked(trained, few, some).startswith(told)


def test_a_run_that_saved_no_mean_snrs_is_recognised_by_what_it_decided(trained):
    saved = trained.predictions()
    means = saved.pop("snr_mean_db")
    trained.predictions = lambda: saved
    given = frames_of(0)
    if (means == saved["predicted_snr_db"]).all():
        assert "as another processor rounds" in asked(trained, given)
    else:  # decisions on a grid are too coarse to tell
        with pytest.raises(InputError, match=r"lie .* apart"):
            asked(trained, given)


def test_frames_of_another_seed_are_refused_with_the_distances(trained):
    with pytest.raises(
        InputError, match=r"toy was trained on other frames .* SNRs estimated now and"
    ):
        asked(trained, frames_of(1))
    # The very frames, but in other places of their class.
    given = frames_of(0)
    given.iq = np.roll(given.iq.reshape(6, EACH, -1), 1, axis=1).reshape(given.iq.shape)
    with pytest.raises(InputError, match="other frames"):
        asked(trained, given)


@pytest.mark.parametrize("key", ["modulation", "snr_db"])
def test_frames_of_other_labels_or_more_of_them_are_refused(trained, key):
    given = frames_of(0)
    setattr(given, key, np.roll(getattr(given, key), 1))
    with pytest.raises(InputError, match="their labels differ"):
        asked(trained, given)
    with pytest.raises(InputError, match="their labels differ"):
        asked(trained, frames_of(0), np.arange(1, 1 + 6 * EACH))


def test_a_run_without_weights_cannot_predict(trained, tmp_path):
    trained.weights.unlink()
    with pytest.raises(InputError, match=r"other frames .*by their hash, and cannot predict: "):
        asked(trained, frames_of(0))
