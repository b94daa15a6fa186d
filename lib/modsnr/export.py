"""Diagrams for people: a tree of PNG files, or one HDF5 file. Never a way to train."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from PIL import Image

from modsnr import InputError, files

# Diagrams float32 [frame, view, bins, bins], modulation int64 and snr_db float32 [frame].
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


def export(
    folder: Path | str,
    batches: Iterable[Batch],
    index: np.ndarray,
    *,
    kind: Literal["png", "hdf5"],
    classes: Sequence[str],
    views: Sequence[str],
) -> Path:
    """Write diagrams for people to look at, and return where: a folder of PNG files or one file.

    ``png``: folder/diagrams/MODULATION/SNR_x/VIEW_INDEX.png, 8-bit grey, each image stretched to
    its own maximum and with quadrature upwards, as eyes need; the scale between images is lost.
    ``hdf5``: folder/diagrams.h5 with the values as they are, ``diagrams`` [frame, view, row,
    column], ``modulation``, ``snr_db``, ``index``, and the names of classes and views. ``index``,
    int64 [frame] through all batches, numbers the frames. Either gets its name when it is whole,
    in place of an older one.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "hdf5":
        with files.replacing(folder / "diagrams.h5") as partial:
            _write_hdf5(partial, batches, index, classes, views)
        return folder / "diagrams.h5"
    if kind != "png":
        raise InputError(f"Diagrams are exported as png or hdf5, not {kind!r}.")
    tree = folder / "diagrams"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".diagrams.") as hidden:
        partial = Path(hidden) / tree.name
        _write_png(partial, batches, index, classes, views)
        if tree.exists():
            shutil.rmtree(tree)
        partial.rename(tree)
    return tree


def _write_png(
    root: Path,
    batches: Iterable[Batch],
    index: np.ndarray,
    classes: Sequence[str],
    views: Sequence[str],
) -> None:
    numbers = iter(index)
    for diagrams, modulation, snr_db in batches:
        tops = diagrams.max((2, 3), keepdims=True)
        grey = np.rint(255 * diagrams / np.maximum(tops, 1e-12)).astype(np.uint8)[:, :, ::-1]
        for frame, label, snr in zip(grey, modulation, snr_db, strict=True):
            folder = root / str(classes[label]) / f"SNR_{snr:g}"
            folder.mkdir(parents=True, exist_ok=True)
            number = next(numbers)
            for image, view in zip(frame, views, strict=True):
                Image.fromarray(image).save(folder / f"{view}_{number}.png")


def _write_hdf5(
    path: Path,
    batches: Iterable[Batch],
    index: np.ndarray,
    classes: Sequence[str],
    views: Sequence[str],
) -> None:
    names = ("diagrams", "modulation", "snr_db", "index")
    done = 0
    with h5py.File(path, "w") as file:
        file.attrs.update(classes=list(classes), views=list(views), value="log(1 + samples)")
        for batch in batches:
            end = done + len(batch[0])
            for name, array in zip(names, (*batch, index[done:end]), strict=True):
                if name not in file:
                    shape = array.shape[1:]
                    file.create_dataset(
                        name, (0, *shape), array.dtype, maxshape=(None, *shape),
                        chunks=(max(1, min(64, len(array))), *shape), compression="gzip",
                        compression_opts=1, shuffle=True,
                    )  # fmt: skip
                dataset: h5py.Dataset = file[name]  # pyright: ignore[reportAssignmentType]
                dataset.resize(end, axis=0)
                dataset[done:] = array
            done = end
