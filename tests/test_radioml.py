"""RadioML files are read as they are labelled, or refused where their labels cannot be right."""

import os
import pickle
import shutil
import struct
import tracemalloc

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from radioml_files import write_2018, write_split

from modsnr import InputError
from modsnr.recordings import radioml
from modsnr.recordings.radioml import CLASSES_2018, SHIPPED_CLASSES_2018

SNRS = (-20, 0, 30)
CHOSEN = ("8ASK", "QPSK", "FM")


def samples_of(path):
    """Return X as it stands in the file, complex [frame, sample]."""
    with h5py.File(path) as file:
        return file["X"][..., 0] + 1j * file["X"][..., 1]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Three classes at three SNRs, four frames of 64 samples a cell."""
    path = tmp_path_factory.mktemp("radioml") / "whole.h5"
    write_2018(path, frames_per_cell=4, snrs_db=SNRS, classes=CHOSEN, samples=64)
    return path


@pytest.fixture
def path(written, tmp_path):
    """A copy that may be spoilt."""
    return shutil.copy(written, tmp_path / "copy.h5")


def change(path, name, where, value):
    with h5py.File(path, "a") as file:
        file[name][where] = value


def replace(path, name, array):
    with h5py.File(path, "a") as file:
        del file[name]
        if array is not None:
            file[name] = array


def reorder(path, order):
    """Put the frames of a file into another order, labels and all."""
    with h5py.File(path, "a") as file:
        arrays = {name: file[name][:][order] for name in "XYZ"}
    for name, array in arrays.items():
        replace(path, name, array)


# The one large file


def test_labels_and_frames_are_those_of_the_file(written):
    source = radioml.open_2018(written)
    assert source.classes == CHOSEN
    assert_array_equal(source.modulation, np.repeat([0, 1, 2], 12))
    assert_array_equal(source.snr_db, np.tile(np.repeat(SNRS, 4), 3))
    assert source.modulation.dtype.kind == "i"
    assert source.snr_db.dtype == np.float32
    assert source.samples == 64
    assert_array_equal(source.frames().iq, samples_of(written))
    assert source.frames().iq.dtype == np.complex64
    sent = pickle.dumps(source.read)  # to another process
    assert len(sent) < 1000  # no labels, no open file
    assert_array_equal(pickle.loads(sent)(source.rows), samples_of(written))  # noqa: S301


def test_the_facts_are_those_of_columns_and_cells(tmp_path):
    path, options = tmp_path / "shipped.h5", {"snrs_db": [20, 30], "samples": 32}
    write_2018(
        path, classes=CHOSEN, column_order=SHIPPED_CLASSES_2018, frames_per_cell=2, **options
    )
    source = radioml.open_2018(path)
    assert source.classes == ("BPSK", "32PSK", "AM-DSB-WC")
    assert source.facts == {
        "columns": [3, 7, 19],
        "x_type": "float32",
        "frames_per_cell": 2,
        "cells": 6,
        "snr_grid_db": [20, 30],
        "grid_is_complete": True,
        "layout_is_documented": True,
    }


@pytest.mark.parametrize(
    "rows",
    [[0, 1, 2, 3], [0, 35], [*range(3, 25), 27, 30], [*range(36)], []],
)
def test_any_ascending_rows_are_read(rows, written):
    source = radioml.open_2018(written)
    rows = np.array(rows, np.int64)
    iq = source.read(rows, source.modulation[rows], source.snr_db[rows])
    assert_array_equal(iq, samples_of(written)[rows])
    assert iq.shape == (len(rows), 64)


@pytest.mark.parametrize("kind", ["<f8", ">f4"])
def test_other_types_and_forms_are_read_too(kind, written, path):
    with h5py.File(path, "a") as file:
        x, y, z = (file[name][:] for name in "XYZ")
        del file["X"], file["Y"], file["Z"]
        options = {"chunks": (5, 64, 2), "compression": "gzip", "shuffle": True}
        file.create_dataset("X", data=x.astype(kind), **options)
        file["Y"], file["Z"] = y.astype(np.uint8), z[:, 0].astype(np.float64)
    source, plain = radioml.open_2018(path), radioml.open_2018(written)
    assert_array_equal(source.modulation, plain.modulation)
    assert_array_equal(source.snr_db, plain.snr_db)
    assert_array_equal(source.frames().iq, samples_of(written))


def test_cells_in_another_order_are_read_and_reported(path):
    reorder(path, np.arange(36).reshape(9, 4)[:0:-1].ravel())  # the first cell is left out
    source = radioml.open_2018(path)
    assert source.facts["layout_is_documented"] is False
    assert source.facts["grid_is_complete"] is False
    assert_array_equal(source.snr_db[:12], np.repeat(SNRS[::-1], 4))
    assert_array_equal(source.frames().iq, samples_of(path))


def test_frames_in_any_order_and_cells_of_any_size_are_read_with_their_labels(path, rng):
    order = rng.permutation(36)[:33]
    plain = radioml.open_2018(path)
    iq = plain.frames().iq
    reorder(path, order)
    source = radioml.open_2018(path)
    assert_array_equal(source.modulation, plain.modulation[order])
    assert_array_equal(source.snr_db, plain.snr_db[order])
    assert_array_equal(source.frames().iq, iq[order])
    assert source.facts["frames_per_cell"][1] == 4
    assert source.facts["layout_is_documented"] is False
    assert source.facts["grid_is_complete"] is True


def test_opening_takes_little_memory_beside_the_labels(tmp_path):
    frames = 400_000  # 77 MB of Y
    path = tmp_path / "labels.h5"
    with h5py.File(path, "w") as file:
        y = np.zeros((frames, 24), np.int64)
        y[np.arange(frames), np.arange(frames) // (frames // 8)] = 1
        file["X"], file["Y"] = np.ones((frames, 1, 2), np.float32), y
        file["Z"] = np.zeros((frames, 1), np.int64)
    del y
    tracemalloc.start()
    source = radioml.open_2018(path)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(source) == frames
    assert held < 22 * frames
    assert peak < held + 25e6


# Files that cannot be right


@pytest.mark.parametrize(
    ("name", "array", "complaint"),
    [
        ("Y", None, r"copy\.h5 has no dataset Y"),
        ("X", np.ones((36, 64), np.float32), r"X must be .*; it is float32 \[36, 64\]"),
        ("X", np.ones((36, 2, 64), np.float32), r"X must be .*; it is float32 \[36, 2, 64\]"),
        ("X", np.ones((36, 64, 2), np.int16), "X must be float32 or float64 .*; it is int16"),
        ("X", np.ones((36, 64, 2), np.float16), "X must be .*; it is float16"),
        ("X", np.ones((0, 64, 2), np.float32), r"X is empty, its shape \(0, 64, 2\)"),
        ("X", h5py.Empty("f4"), "X is empty, its shape None"),
        ("Y", np.ones((36, 23), int), r"Y must be integers \[frame, 24\]; it is int64 \[36, 23\]"),
        ("Y", np.full((36, 24), b"QPSK"), r"Y must be integers .*; it is \|S4"),
        ("Z", np.ones((36, 2), int), r"Z must be numbers .*; it is int64 \[36, 2\]"),
        ("Z", np.full((36, 1), b"30"), r"Z must be numbers .*; it is \|S2"),
        ("X", np.ones((35, 64, 2), np.float32), "35 frames in X, 36 rows in Y and 36 in Z"),
        ("Z", np.ones((37, 1), int), "36 frames in X, 36 rows in Y and 37 in Z"),
    ],
)
def test_datasets_of_another_shape_or_type_are_refused(name, array, complaint, path):
    replace(path, name, array)
    with pytest.raises(InputError, match=complaint):
        radioml.open_2018(path)


@pytest.mark.parametrize("row", [np.zeros(24), np.ones(24), np.eye(24)[3] * 2, -np.eye(24)[3]])
def test_rows_that_are_not_one_hot_are_counted_over_all_blocks(row, path, monkeypatch):
    monkeypatch.setattr(radioml, "BLOCK", 5)
    assert len(radioml.open_2018(path)) == 36
    change(path, "Y", [7, 35], np.stack([row, row]))
    with pytest.raises(InputError, match="2 of 36 rows of Y are not one-hot, the first at index 7"):
        radioml.open_2018(path)


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, -1e30])
def test_snrs_that_are_no_whole_db_are_counted(value, path):
    levels = np.zeros((36, 1))
    levels[[5, 9, 30]] = value
    replace(path, "Z", levels)
    complaint = "3 of 36 rows of Z are no whole number of dB .*, the first at index 5"
    with pytest.raises(InputError, match=complaint):
        radioml.open_2018(path)


def test_frames_without_a_usable_label_are_left_out_and_counted_on_request(path):
    labelled = np.delete(np.arange(36), [7, 9])
    expected = radioml.open_2018(path)[labelled].frames()
    change(path, "Y", [7], np.zeros((1, 24)))
    change(path, "Z", [9], np.full((1, 1), np.nan))
    with pytest.raises(InputError, match=r"first at index 7; pass -p drop_unusable true to leave"):
        radioml.open_2018(path)
    kept = radioml.open_2018(path, drop_unusable=True)
    assert kept.facts["frames without a usable label, left out"] == 2
    assert kept.rows.tolist() == labelled.tolist()
    assert np.array_equal(kept.frames().iq, expected.iq)
    assert np.array_equal(kept.frames().modulation, expected.modulation)
    change(path, "Y", [*range(36)], np.zeros((36, 24)))
    with pytest.raises(InputError, match=r"36 of 36 rows of Y .* index 0\.$"):
        radioml.open_2018(path, drop_unusable=True)


# Files that are no such file


def test_missing_empty_and_foreign_files_and_folders_are_refused(tmp_path):
    for name, content in {"empty.h5": b"", "text.h5": b"hello" * 1000}.items():
        (tmp_path / name).write_bytes(content)
    for name, complaint in {
        "none.h5": "There is no file .*none.h5",
        "empty.h5": "empty.h5 is empty",
        "text.h5": "text.h5 is no HDF5 file, or a damaged",
        ".": "There is no file",
    }.items():
        with pytest.raises(InputError, match=complaint):
            radioml.open_2018(tmp_path / name)


@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_file_cut_short_is_refused(share, path):
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(InputError, match="damaged or incomplete"):
        radioml.open_2018(path)


@pytest.mark.parametrize("chunks", [None, (1024, 64, 2)])
def test_a_file_that_declares_more_than_it_holds_is_refused(chunks, path):
    with h5py.File(path, "a") as file:
        del file["X"]
        file.create_dataset("X", (10**9, 64, 2), "f4", chunks=chunks)  # nothing written
    with pytest.raises(InputError, match=r"X is declared as \[1000000000, 64, 2\], 512000000000 b"):
        radioml.open_2018(path)


def test_a_file_cut_short_that_hides_it_is_refused(path):
    whole = path.read_bytes()
    end = struct.pack("<Q", len(whole))
    assert whole.count(end, 0, 96) == 1  # the superblock's word for where the file ends
    with h5py.File(path) as file:
        half = file["X"].id.get_offset() + 36 * 64 * 4
    path.write_bytes(whole.replace(end, struct.pack("<Q", half))[:half])
    with pytest.raises(InputError, match=r"declared as .* not all in this file|damaged"):
        radioml.open_2018(path)


def test_chunks_that_were_never_written_are_not_taken_for_zeros(path):
    with h5py.File(path, "a") as file:
        del file["X"]
        file.create_dataset("X", (36, 64, 2), "f4", chunks=(12, 64, 2))[:24] = 1
    with pytest.raises(InputError, match=r"X is declared as \[36, 64, 2\], .* not all in this"):
        radioml.open_2018(path)


def test_frames_kept_in_another_file_are_refused(path, tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(36 * 64 * 8))
    virtual = h5py.VirtualLayout((36, 64, 2), "f4")
    virtual[:] = h5py.VirtualSource(shutil.copy(path, tmp_path / "other.h5"), "X", (36, 64, 2))
    for keep in (
        lambda f: f.create_virtual_dataset("X", virtual),
        lambda f: f.create_dataset("X", (36, 64, 2), "f4", external=str(tmp_path / "secret.bin")),
        lambda f: f.__setitem__("X", h5py.ExternalLink("other.h5", "X")),
        lambda f: f.create_group("X"),
    ):
        with h5py.File(path, "a") as file:
            del file["X"]
            keep(file)
        with pytest.raises(InputError, match="X is a group, a link or a dataset kept elsewhere"):
            radioml.open_2018(path)


def test_a_file_that_may_not_be_read_is_refused_for_its_permissions(path, unreadable):
    complaint = r"cannot be read: Permission denied\. Ask its owner"
    with pytest.raises(InputError, match=complaint), unreadable(path):
        radioml.open_2018(path)


def test_a_file_that_vanished_shrank_or_changed_since_is_refused_on_reading(path):
    source = radioml.open_2018(path)
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(InputError, match="There is no file"):
        source.frames()
    path.write_bytes(whole[:-100])
    with pytest.raises(InputError, match="changed since it was opened"):
        source.frames()
    path.write_bytes(whole)  # of its old size, but another time
    with pytest.raises(InputError, match="changed since it was opened"):
        source.frames()


def test_a_file_cut_short_during_reading_gives_no_zeros(path, monkeypatch):
    source, size = radioml.open_2018(path), path.stat().st_size
    plain = h5py.Dataset.__getitem__

    def cut_then_read(self, rows):
        os.truncate(path, size // 2)
        return plain(self, rows)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", cut_then_read)
    with pytest.raises(InputError, match=r"changed since it was opened|damaged or incomplete"):
        source.frames()


# The study's folder of one file a cell


@pytest.fixture
def folder(tmp_path):
    options = {"snrs_db": SNRS, "classes": ("QPSK", "AM-DSB-SC"), "samples": 64}
    write_split(tmp_path / "split", frames_per_cell=4, **options)
    return tmp_path / "split"


def cell_file(folder, name="QPSK", snr=-20):
    return folder / name / f"SNR_{snr}" / f"{name}_SNR_{snr}.h5"


def test_cells_are_numbered_by_class_then_snr(folder):
    source = radioml.open_split(folder)
    assert source.classes == ("QPSK", "AM-DSB-SC")  # as in CLASSES_2018, not by alphabet
    assert_array_equal(source.modulation, np.repeat([0, 1], 12))
    assert_array_equal(source.snr_db, np.tile(np.repeat(SNRS, 4), 2))
    files = [cell_file(folder, name, snr) for name in source.classes for snr in SNRS]
    whole = np.concatenate([samples_of(file) for file in files])
    assert_array_equal(source.frames().iq, whole)
    rows = np.array([1, 3, 4, 22])
    assert_array_equal(source.read(rows, None, None), whole[rows])
    assert source.read(np.array([], int), None, None).shape == (0, 64)
    assert source.facts["cells_confirmed_by_y_and_z"] == 6
    chosen = source.select(["AM-DSB-SC"]).between(0, 0)
    assert_array_equal(chosen.frames().iq, whole[16:20])


def test_names_with_underscores_and_files_without_labels_are_read(tmp_path):
    options = {"snrs_db": [-2], "classes": ["AM-SSB-WC"], "samples": 64, "labels": False}
    write_split(tmp_path / "split", frames_per_cell=4, **options)
    inner = tmp_path / "split" / "AM-SSB-WC" / "SNR_-2"
    (inner / "AM-SSB-WC_SNR_-2.h5").rename(inner / "AM_SSB_WC_SNR_-2.h5")
    inner.parent.rename(tmp_path / "split" / "AM_SSB_WC")
    source = radioml.open_split(tmp_path / "split")
    assert source.classes == ("AM-SSB-WC",)
    assert source.facts["cells_confirmed_by_y_and_z"] == 0


def test_folders_that_are_not_of_the_studys_form_are_refused(folder, tmp_path):
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match="holds no MODULATION/SNR_x folder"):
        radioml.open_split(tmp_path / "bare")
    for extra in ("QAM16/SNR_0", "FM/30dB", "FM/SNR_02", "FM/SNR_2"):
        (folder / extra).mkdir(parents=True)
        with pytest.raises(InputError, match=rf"{extra} must be called MODULATION/SNR_x, .* hold"):
            radioml.open_split(folder)
        shutil.rmtree(folder / extra.split("/")[0])
    shutil.copytree(folder / "AM-DSB-SC", folder / "AM_DSB_SC")
    for file in (folder / "AM_DSB_SC").rglob("*.h5"):
        file.rename(file.with_name(file.name.replace("AM-DSB-SC", "AM_DSB_SC")))
    with pytest.raises(InputError, match="are the same cell: remove one"):
        radioml.open_split(folder)


def test_cells_may_differ_in_their_number_of_frames_but_not_of_samples(folder):
    options = {"snrs_db": [0], "classes": ["QPSK"], "frames_per_cell": 3}
    write_2018(cell_file(folder, snr=0), samples=64, **options)
    source = radioml.open_split(folder)
    assert_array_equal(source[4:7].frames().iq, samples_of(cell_file(folder, snr=0)))
    assert_array_equal(source[7:11].frames().iq, samples_of(cell_file(folder, snr=30)))
    assert_array_equal(source.snr_db[:11], np.repeat(SNRS, [4, 3, 4]))
    assert source.facts["frames_per_cell"] == [3, 4]
    write_2018(cell_file(folder, snr=0), samples=32, **options)
    with pytest.raises(InputError, match=r"X is \[3, 32, 2\] and that of .* is \[4, 64, 2\]"):
        radioml.open_split(folder)


@pytest.mark.parametrize(
    ("snr", "name", "complaint"),
    [
        (30, "QPSK", "4 of 4 rows of Z are not the 0 dB of its name, the first at index 0"),
        (
            0,
            "8PSK",
            "4 of 4 frames are not of the class .*: 8PSK by Y. The file is misnamed",
        ),
        (0, CLASSES_2018[SHIPPED_CLASSES_2018.index("QPSK")], "went by the shipped classes.txt"),
    ],
)
def test_labels_that_contradict_the_name_are_refused(snr, name, complaint, folder):
    options = {"snrs_db": [snr], "classes": [name], "samples": 64}
    write_2018(cell_file(folder, snr=0), frames_per_cell=4, **options)
    with pytest.raises(InputError, match=complaint):
        radioml.open_split(folder)
