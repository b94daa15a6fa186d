"""Diagrams for people: a tree of PNG files, or one HDF5 file. Never a way to train."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from PIL import Image

from modsnr import InputError

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
    its own maximum and with quadrature upwards: what it weighs against others is lost, as eyes
    need. ``hdf5``: folder/diagrams.h5 with the values as they are, ``diagrams`` [frame, view, row,
    column], ``modulation``, ``snr_db``, ``index``, and the names of classes and views. ``index``,
    int64 [frame] through all batches, is what a frame is called. Either gets its name when it is
    whole, in place of an older.
    """
    if kind not in ("png", "hdf5"):
        raise InputError(f"Diagrams are exported as png or hdf5, not {kind!r}.")
    numbered = _numbered(batches, index)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / ("diagrams" if kind == "png" else "diagrams.h5")
    partial = whole.with_name(f".{whole.name}.{os.getpid()}.partial")
    try:
        if kind == "png":
            _write_png(partial, numbered, classes, views)
            if whole.exists():
                shutil.rmtree(whole)
        else:
            _write_hdf5(partial, numbered, classes, views)
        os.replace(partial, whole)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)
    return whole


def _numbered(batches: Iterable[Batch], index: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    start = 0
    for batch in batches:
        yield *batch, index[start : start + len(batch[0])]
        start += len(batch[0])


def _write_png(
    root: Path,
    batches: Iterable[tuple[np.ndarray, ...]],
    classes: Sequence[str],
    views: Sequence[str],
) -> None:
    for diagrams, modulation, snr_db, index in batches:
        tops = diagrams.max((2, 3), keepdims=True)
        grey = np.rint(255 * diagrams / np.maximum(tops, 1e-12)).astype(np.uint8)[:, :, ::-1]
        for frame, label, snr, number in zip(grey, modulation, snr_db, index, strict=True):
            folder = root / str(classes[label]) / f"SNR_{snr:g}"
            folder.mkdir(parents=True, exist_ok=True)
            for image, view in zip(frame, views, strict=True):
                Image.fromarray(image).save(folder / f"{view}_{number}.png")


def _write_hdf5(
    path: Path,
    batches: Iterable[tuple[np.ndarray, ...]],
    classes: Sequence[str],
    views: Sequence[str],
) -> None:
    names = ("diagrams", "modulation", "snr_db", "index")
    with h5py.File(path, "w") as file:
        file.attrs.update(classes=list(classes), views=list(views), value="log(1 + samples)")
        for batch in batches:
            for name, array in zip(names, batch, strict=True):
                if name not in file:
                    shape = (0, *array.shape[1:])
                    file.create_dataset(
                        name, shape, array.dtype, maxshape=(None, *shape[1:]),
                        chunks=(max(1, min(64, len(array))), *shape[1:]), compression="gzip",
                        compression_opts=1, shuffle=True,
                    )  # fmt: skip
                dataset: h5py.Dataset = file[name]  # pyright: ignore[reportAssignmentType]
                dataset.resize(len(dataset) + len(array), axis=0)
                dataset[len(dataset) - len(array) :] = array
