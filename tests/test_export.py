"""Diagrams exported for people are the diagrams, by name, whole or not there."""

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from modsnr import InputError, export

CLASSES, VIEWS = ("BPSK", "QPSK"), ("constellation", "residual")


@pytest.fixture
def batches(rng):
    """Two batches, of three frames and of one."""
    diagrams = rng.integers(0, 5, (4, 2, 8, 8)).astype(np.float32)
    modulation, snr_db = np.array([0, 1, 1, 0]), np.array([-2, 10, 10, 30], np.float32)
    arrays = diagrams, modulation, snr_db
    return [tuple(array[rows] for array in arrays) for rows in (slice(3), slice(3, 4))]


def exported(folder, batches, kind):
    names = {"classes": CLASSES, "views": VIEWS}
    return export.export(folder, batches, np.array([7, 8, 90, 91]), kind=kind, **names)


def test_the_tree_has_an_image_a_frame_and_view_under_modulation_and_snr(batches, tmp_path):
    root = exported(tmp_path, batches, "png")
    assert root == tmp_path / "diagrams"
    assert {str(path.relative_to(root)) for path in root.rglob("*.png")} == {
        f"{cell}/{view}_{index}.png"
        for cell, index in [
            ("BPSK/SNR_-2", 7),
            ("QPSK/SNR_10", 8),
            ("QPSK/SNR_10", 90),
            ("BPSK/SNR_30", 91),
        ]
        for view in VIEWS
    }


def test_an_image_shows_quadrature_upwards_and_its_maximum_white(batches, tmp_path):
    root = exported(tmp_path, batches, "png")
    image = np.asarray(Image.open(root / "QPSK/SNR_10/residual_90.png")).astype(float)
    diagram = batches[0][0][2, 1]
    assert_array_equal(image[::-1], np.rint(255 * diagram / diagram.max()))


def test_one_file_holds_the_values_as_they_are(batches, tmp_path):
    path = exported(tmp_path, batches, "hdf5")
    with h5py.File(path) as file:
        for name, parts in zip(
            ("diagrams", "modulation", "snr_db"), zip(*batches, strict=True), strict=True
        ):
            assert_array_equal(file[name], np.concatenate(parts))
        assert_array_equal(file["index"], [7, 8, 90, 91])
        assert tuple(file.attrs["classes"]) == CLASSES
        assert tuple(file.attrs["views"]) == VIEWS


@pytest.mark.parametrize("kind", ["png", "hdf5"])
def test_a_second_export_takes_the_place_of_the_first(kind, batches, tmp_path):
    exported(tmp_path, batches, kind)
    exported(tmp_path, batches[1:], kind)
    if kind == "hdf5":
        with h5py.File(tmp_path / "diagrams.h5") as file:
            assert_array_equal(file["index"], [7])
    else:
        assert len(list(tmp_path.rglob("*.png"))) == 2


@pytest.mark.parametrize("kind", ["png", "hdf5"])
def test_an_export_that_fails_leaves_the_first_as_it_was(kind, batches, tmp_path):
    def failing():
        yield batches[1]
        raise OSError("gone")

    exported(tmp_path, batches, kind)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(OSError, match="gone"):
        exported(tmp_path, failing(), kind)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_other_kinds_are_refused(batches, tmp_path):
    with pytest.raises(InputError, match="as png or hdf5, not 'jpeg'"):
        exported(tmp_path, batches, "jpeg")
