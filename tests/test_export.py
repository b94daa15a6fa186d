"""Diagrams exported for people are the diagrams, by name, whole or not there."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from modsnr import export

VIEWS = ("constellation", "residual")


@pytest.fixture
def batches(rng):
    """Two batches, of three frames and of one."""
    diagrams = rng.integers(0, 5, (4, 2, 8, 8)).astype(np.float32)
    arrays = diagrams, np.array([0, 1, 1, 0]), np.array([-2, 10, 10, 30], np.float32)
    return [tuple(array[rows] for array in arrays) for rows in (slice(3), slice(3, 4))]


def exported(folder, batches):
    index = np.array([7, 8, 90, 91])
    return export.export(folder, batches, index, classes=("BPSK", "QPSK"), views=VIEWS)


def test_the_tree_has_an_image_a_frame_and_view_with_quadrature_upwards(batches, tmp_path):
    root = exported(tmp_path, batches)
    assert root == tmp_path / "diagrams"
    frames = {"BPSK/SNR_-2": [7], "QPSK/SNR_10": [8, 90], "BPSK/SNR_30": [91]}
    assert {str(path.relative_to(root)) for path in root.rglob("*.png")} == {
        f"{cell}/{view}_{index}.png"
        for cell, indices in frames.items()
        for index in indices
        for view in VIEWS
    }
    image = np.asarray(Image.open(root / "QPSK/SNR_10/residual_90.png")).astype(float)
    diagram = batches[0][0][2, 1]
    assert_array_equal(image[::-1], np.rint(255 * diagram / diagram.max()))


def test_an_export_replaces_an_older_one_unless_it_fails(batches, tmp_path):
    def failing():
        yield batches[1]
        raise OSError("gone")

    exported(tmp_path, batches)
    with pytest.raises(OSError, match="gone"):
        exported(tmp_path, failing())
    assert len(list(tmp_path.rglob("*.png"))) == 8
    exported(tmp_path, batches[1:])
    assert len(list(tmp_path.rglob("*.png"))) == 2
