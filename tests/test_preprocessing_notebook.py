"""From a file of any format to a store, whatever is killed on the way."""

import random
import re
import subprocess
import sys
import time

import h5py
import numpy as np
import psutil
import pytest
from radioml_files import write_2016, write_2018
from recording_files import left_unfinished, received, write_sigmf, write_wav

from modsnr import diagrams, frames, runs
from modsnr.recordings import SHIPPED_CLASSES_2018

PREPROCESS = """
import sys, time
from dataclasses import replace
from functools import partial
from modsnr import frames, recordings, workers
from modsnr.frames import writing


def slowly(read, seconds, *rows_and_labels):
    time.sleep(seconds)
    return read(*rows_and_labels)


if __name__ == "__main__":
    file, store, where, seconds = sys.argv[1:]
    writing.SHARD_FRAMES = 64
    source = recordings.open_2018(file)
    source = replace(source, read=partial(slowly, source.read, float(seconds)))
    part_of = frames.split(source.modulation, source.snr_db, seed=1)
    with workers.connect(where) as client:
        print("begins", flush=True)
        print(
            frames.write(store, source, part_of, split_seed=1, each=partial(workers.each, client))
        )
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the script, a file of 2,400 frames, and the hash of its undisturbed store."""
    folder = tmp_path_factory.mktemp("kills")
    (folder / "preprocess.py").write_text(PREPROCESS)
    write_2018(folder / "gold.hdf5", frames_per_cell=50, snrs_db=(0, 20))
    return folder


@pytest.fixture(scope="module")
def undisturbed(place):
    return preprocessed_by_script(place, place / "undisturbed" / "frames.h5")


def command(place, store, where="here", seconds=0):
    words = sys.executable, place / "preprocess.py", place / "gold.hdf5", store, where, seconds
    return [*map(str, words)]


def preprocessed_by_script(place, store, where="here"):
    """Return the hash of the store that the script makes."""
    return subprocess.check_output(command(place, store, where), text=True).split()[-1]


@pytest.mark.long
def test_kills_at_random_instants_end_in_the_same_store(place, undisturbed):
    """Half of the masters write by themselves, half have worker processes, orphaned by the kill."""
    instants, left_to_go_on_from = random.Random(2018), 0
    for where, kills in {"here": 10, "local": 5}.items():
        store = place / f"killed {where}" / "frames.h5"
        for _ in range(kills):
            with subprocess.Popen(
                command(place, store, where, 0.05), stdout=subprocess.PIPE, text=True
            ) as process:
                assert process.stdout.readline() == "begins\n"
                family = [process, *psutil.Process(process.pid).children(recursive=True)]
                time.sleep(instants.uniform(0, 0.15))
                process.kill()
            assert not store.exists()
            assert len(family) == (1 if where == "here" else 4)
        left_to_go_on_from += len(list(store.parent.glob("*.partial")))
        assert preprocessed_by_script(place, store, where) == undisturbed
        assert {entry.name for entry in store.parent.iterdir()} == {"frames.h5", ".lock"}
        frames.verify(store)
    assert left_to_go_on_from == 2


# The notebook, on every format


@pytest.fixture(scope="module")
def house(bare_house):
    return bare_house


def preprocessed(source, **parameters):
    here = {"source": str(source), "frames": "foreign", "cluster": "here", "gallery_bins": 24}
    run = runs.execute("01_preprocessing", parameters=here | parameters)
    assert run.status == "completed", run.error
    return run, frames.describe(runs.store("foreign"))


def test_a_radioml_file_in_the_wrong_order_is_caught_named_rightly_and_exported(house, tmp_path):
    file = tmp_path / "gold.hdf5"
    write_2018(file, frames_per_cell=16, snrs_db=(10, 20, 30), column_order=SHIPPED_CLASSES_2018)
    with h5py.File(file, "a") as opened:
        first = SHIPPED_CLASSES_2018.index("QPSK") * 3 * 16
        opened["X"][first + 5] = opened["X"][first + 3]
        opened["X"][first + 8] = np.zeros((1024, 2))
        opened["X"][first + 9] = np.full((1024, 2), np.nan)
    names = ["QPSK", "BPSK", "16QAM"]
    left_out = {"drop_duplicates": True, "drop_unusable": True}
    run, store = preprocessed(file, classes=names, export="png", export_per_cell=1, **left_out)
    assert run.metrics["class_order"] == "shipped"
    assert run.metrics["snr_verdict"] == "per sample"
    assert store["classes"] == names
    assert store["source_hash"].startswith("sha256:")
    assert sum(store["counts"].values()) == 3 * 3 * 16 - 3
    assert {path.stem for path in (run.folder / "figures").glob("*.png")} == {
        *("class_order", "snr_audit", "fidelity", "views"),
    }
    card = (run.folder / "data_card.md").read_text()
    assert "## Class order: shipped" in card
    assert "- unusable frames, left out: 2\n- repeated frames, left out: 1\n" in card
    assert "is the SNR per sample, off by" in card
    assert (runs.store("foreign").parent / "data_card.md").read_text() == card
    exported = runs.store("foreign").parent / "diagrams"
    assert len(list(exported.glob("*/SNR_*/*.png"))) == 3 * 3 * len(diagrams.VIEWS)
    assert run.table("cells")[["train", "validation", "test"]].to_numpy().sum() == 3 * 3 * 16 - 3


@pytest.mark.long
def test_duplicates_are_counted_and_on_request_left_out(house, tmp_path):
    file = tmp_path / "gold.hdf5"
    write_2018(file, frames_per_cell=40, snrs_db=(20, 30), classes=["BPSK", "QPSK", "OOK"])
    with h5py.File(file, "a") as opened:
        for frame in range(1, 40):
            opened["X"][frame] = opened["X"][0]
    options = {"source": str(file), "class_order": "fixed", "frames": "twins", "cluster": "here"}
    refused = runs.execute("01_preprocessing", parameters=options)
    assert refused.status == "failed"
    assert re.search(r"Frames \d+ and \d+ are the same.*-p drop_duplicates true", refused.error)
    assert not runs.store("twins").exists()
    run, store = preprocessed(file, class_order="fixed", drop_duplicates=True)
    assert sum(store["counts"].values()) == 6 * 40 - 39
    assert run.metrics["duplicates"] == 0


@pytest.mark.long
def test_frames_of_128_samples_are_drawn_in_the_views_that_can(house, tmp_path):
    write_2016(tmp_path / "RML2016.10a_dict.pkl", 2, frames_per_cell=12, snrs_db=(-10, 0, 10, 18))
    run, store = preprocessed(tmp_path / "RML2016.10a_dict.pkl")
    assert store["samples"] == 128
    assert run.metrics["snrs"] == 3
    assert "not calibrated" in store["snr_definition"]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["SigMF", "WAV", "raw IQ"])
def test_a_recording_becomes_a_store_by_the_same_command(kind, house, tmp_path):
    iq = received("QPSK", symbols=6000, samples_per_symbol=9.7, carrier=0.03, snr_db=20)
    options = {}
    if kind == "SigMF":
        iq[20_000:28_000] = 0
        end = len(iq)
        marks = [(0, 20_000, "QPSK"), (20_500, 7000, "silence"), (28_000, end - 28_000, "jammer")]
        file = write_sigmf(tmp_path / "sig", iq, annotations=marks)
    elif kind == "WAV":
        file, options = tmp_path / "sig.wav", {"label": "QPSK"}
        left_unfinished(write_wav(file, 0.2 * iq))
    else:
        file, options = tmp_path / "sig.dat", {"iq_format": "cf32"}
        file.write_bytes(iq.tobytes())
    run, store = preprocessed(file, **options)
    wanted = {"SigMF": ["QPSK", "jammer"], "WAV": ["QPSK"], "raw IQ": ["unknown"]}
    assert (run.metrics["source"], store["classes"]) == (kind, wanted[kind])
    assert 24 <= sum(store["counts"].values()) <= 46
    card = (run.folder / "data_card.md").read_text()
    silent = re.search(r"^- frames without power, left out: [1-9]\d*$", card, re.MULTILINE)
    assert (silent is not None) == (kind == "SigMF")
    note = "The header declares 0 bytes of samples"
    assert (f"- notes: {note}" in card) == (kind == "WAV")
    assert (f"NOTE: {note}" in (run.folder / "notebook.ipynb").read_text()) == (kind == "WAV")
    modulation, snr_db = frames.labels(runs.store("foreign"), "train")
    assert set(np.unique(snr_db)) <= {18.0, 20.0, 22.0}
    assert len(modulation) > 20


def test_a_bad_file_ends_the_run_with_one_clear_error_and_no_store(house, tmp_path):
    (tmp_path / "x.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    options = {"source": str(tmp_path / "x.hdf5"), "frames": "bad", "cluster": "here"}
    run = runs.execute("01_preprocessing", parameters=options)
    assert (run.status, run.error.split(":")[0]) == ("failed", "InputError")
    assert "x.hdf5" in run.error
    assert not runs.store("bad").exists()
