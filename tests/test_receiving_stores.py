"""A store may hold frames as the receiver left them: it says so, and whoever trains must ask so."""

import shutil
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from notebook_runs import done
from numpy.testing import assert_allclose, assert_array_equal

from modsnr import InputError, diagrams, frames, receiver, runs, signals
from modsnr.receiver import Receiving

ROOT = Path(__file__).parents[1]
CLASSES = ("BPSK", "QPSK")
LABELS = np.arange(1280) % 2, np.full(1280, 10, np.float32)
MAKE = signals.Simulator(1, CLASSES, signals.channel("everyday"), 256)


@pytest.fixture
def halved(monkeypatch):
    """A receiver that halves every sample, and the sizes of what it was given."""
    sizes = []

    def halve(iq):
        sizes.append(len(iq))
        return SimpleNamespace(iq=iq / 2)

    def first_samples(found):
        return found.iq[:, : len(Receiving.findings)].real

    monkeypatch.setattr("modsnr.receiver.reading.receive", halve)
    monkeypatch.setattr("modsnr.receiver.reading.findings", first_samples)
    return sizes


def write(path, *, received, progress=None):
    source = frames.simulated(MAKE, *LABELS)
    if received:
        source = replace(source, read=Receiving(source.read), findings=Receiving.findings)
    part_of = frames.split(*LABELS, seed=1)
    return frames.write(path, source, part_of, split_seed=1, progress=progress)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "toy" / "frames.h5"


def test_a_store_holds_what_the_receiver_left_and_says_so(path, halved):
    write(path, received=False)
    before, about = frames.read(path, "train"), frames.describe(path)
    assert about["received"] is False
    assert not halved
    write(path, received=True)
    after, described = frames.read(path, "train"), frames.describe(path)
    assert sum(halved) == 1280
    assert_allclose(after.iq, before.iq / 2, rtol=0, atol=1e-3)
    assert_array_equal(after.modulation, before.modulation)
    assert before.findings is None
    assert_allclose(after.findings, after.iq[:, : len(Receiving.findings)].real, atol=1e-3)
    assert_array_equal(after[5:7].findings, after.findings[5:7])
    some = frames.read_of(path, "train", ["QPSK"])
    assert_array_equal(some.findings, after.findings[after.modulation == 1])
    assert described["received"] is True
    assert described["findings"] == list(Receiving.findings)
    assert described["format_version"] == about["format_version"]
    assert "- received: True\n" in frames.card(path, {}, {})


def test_findings_that_change_damage_a_store(path, halved):
    write(path, received=True)
    frames.verify(path)
    with h5py.File(path, "r+") as file:
        file["train"]["findings"][3, 5] += 1
    with pytest.raises(InputError, match="labels are not what was written"):
        frames.verify(path)


def test_an_interrupted_store_goes_on_and_one_of_plain_frames_does_not(path, halved):
    def interrupt(_):
        raise KeyboardInterrupt

    whole = write(path, received=True)
    path.unlink()
    for first, left in ((True, 256), (False, 1280)):
        with pytest.raises(KeyboardInterrupt):
            write(path, received=first, progress=interrupt)
        halved.clear()
        assert write(path, received=True) == whole
        assert sum(halved) == left
        path.unlink()


def test_frames_that_cannot_be_used_never_reach_the_receiver(halved):
    def read(rows, *_labels):
        iq = np.ones((4, 256), np.complex64)
        iq[1, 5], iq[2] = np.nan, 0
        return iq[rows]

    reading = Receiving(read)
    found, known = reading(*(array[:4] for array in (np.arange(4), *LABELS)))
    assert halved == [2]
    assert_array_equal(known, np.full((4, len(Receiving.findings)), [[0.5], [0], [0], [0.5]]))
    assert_array_equal(frames.usable(found), [True, False, False, True])
    assert_array_equal(found[[0, 3]], np.full((2, 256), 0.5))
    found, _ = reading(*(array[1:3] for array in (np.arange(4), *LABELS)))
    assert not frames.usable(found).any()
    assert halved == [2]
    assert ForkingPickler.loads(ForkingPickler.dumps(Receiving(MAKE))) == Receiving(MAKE)


def test_frames_of_several_lengths_are_received_and_drawn_each_by_its_own_samples(tmp_path):
    make = signals.Simulator(1, CLASSES, signals.channel("everyday"), 512, (512, 256, 384))
    rows, labels = np.arange(8), (np.arange(8) % 2, np.full(8, 20, np.float32))
    lengths = np.array([512, 256, 384, 512, 256, 384, 512, 256])
    assert_array_equal(make.lengths_of(rows), lengths)
    sent = make(rows, *labels)
    power = [np.mean(abs(frame[:length]) ** 2) for frame, length in zip(sent, lengths, strict=True)]
    assert_allclose(power, 1.01, rtol=0.05)
    iq, known = Receiving(make)(rows, *labels)
    for of in (sent, iq):
        assert_array_equal((of != 0).sum(1), lengths)
    assert_array_equal(receiver.samples_of(torch.from_numpy(known)), lengths)
    canvas = diagrams.Canvas(views=["constellation", "residual", "likelihood"], bins=24)
    drawn = canvas(iq, known)
    for frame, own, length, image in zip(iq, known, lengths, drawn, strict=True):
        assert_array_equal(canvas(frame[None, :length], own[None])[0], image)
    source = replace(
        frames.simulated(make, *labels), read=Receiving(make), findings=Receiving.findings
    )
    frames.write(tmp_path / "frames.h5", source, np.zeros(8, int), split_seed=1)
    assert_array_equal(frames.whole(tmp_path / "frames.h5", "train"), lengths == 512)


def test_a_simulators_frames_are_no_longer_than_its_samples():
    with pytest.raises(InputError, match=r"lengths must lie in 1..256.*; one is 512"):
        replace(MAKE, lengths=(128, 512))


def test_another_number_of_samples_a_symbol_is_refused():
    with pytest.raises(
        InputError, match=r"needs 8 samples a symbol, not 4: pass -p receiver false"
    ):
        Receiving(MAKE, 4)


@pytest.mark.parametrize("received", [True, False])
def test_a_network_is_not_trained_on_frames_of_the_other_kind(path, halved, received):
    write(path, received=received)
    frames.check_received(path, received)
    been, other = ("been", "true") if received else ("not been", "false")
    advice = f"have {been} through the receiver: pass -p receiver {other}, or write the store again"
    with pytest.raises(InputError, match=advice):
        frames.check_received(path, not received)


@pytest.mark.long
def test_01_and_02_make_and_train_on_received_frames(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))
    made = {"classes": CLASSES, "snr_step_db": 10, "frames_per_cell": 20, "gallery_bins": 24}
    given = {"frames": "toy", "channel": "everyday", "receiver": True, "cluster": "here"}
    refused = runs.execute("01_preprocessing", parameters=made | {"lengths": [1024, 256]})
    assert "lengths are for simulated frames with -p receiver true" in refused.error
    given["lengths"] = [1024, 256]
    done("01_preprocessing", "frames", **given, **made)
    about = frames.describe(runs.store("toy"))
    assert about["received"] is True
    assert "density in the signal's band" in about["snr_definition"]
    fit = {"frames": "toy", "bins": 16, "epochs": 1, "batch_size": 32}
    assert done("02_training", "net", receiver=True, **fit).metrics["training_frames"] == 128
    refused = runs.execute("02_training", parameters=fit)
    assert "have been through the receiver: pass -p receiver true" in refused.error
