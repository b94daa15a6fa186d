"""Diagrams for people: a tree of PNG files. Never a way to train."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

# Diagrams float32 [frame, view, bins, bins], modulation int64 and snr_db float32 [frame].
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


def export(
    folder: Path | str,
    batches: Iterable[Batch],
    index: np.ndarray,
    *,
    classes: Sequence[str],
    views: Sequence[str],
) -> Path:
    """Write diagrams for people to look at, and return the folder of PNG files.

    A file is folder/diagrams/MODULATION/SNR_x/VIEW_INDEX.png, 8-bit grey, each image stretched to
    its own maximum and with quadrature upwards, as eyes need; the scale between images is lost.
    ``index``, int64 [frame] through all batches, numbers the frames. The folder gets its name when
    it is whole, in place of an older one.
    """
    tree = Path(folder) / "diagrams"
    tree.parent.mkdir(parents=True, exist_ok=True)
    numbers = iter(index)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".diagrams.") as hidden:
        partial = Path(hidden) / tree.name
        for diagrams, modulation, snr_db in batches:
            tops = diagrams.max((2, 3), keepdims=True)
            grey = np.rint(255 * diagrams / np.maximum(tops, 1e-12)).astype(np.uint8)[:, :, ::-1]
            for frame, label, snr in zip(grey, modulation, snr_db, strict=True):
                cell = partial / str(classes[label]) / f"SNR_{snr:g}"
                cell.mkdir(parents=True, exist_ok=True)
                number = next(numbers)
                for image, view in zip(frame, views, strict=True):
                    Image.fromarray(image).save(cell / f"{view}_{number}.png")
        if tree.exists():
            shutil.rmtree(tree)
        partial.rename(tree)
    return tree
