"""RadioML 2018.01A, one large HDF5 file.

X is float32 [frame, sample, 2], Y one-hot [frame, class], Z the SNR in dB [frame, 1]. Labels are
read in blocks when a file is opened, X only when frames are read. The sizes that a file declares
are checked before memory is allocated for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from modsnr import InputError
from modsnr.frames import Source, read_rows
from modsnr.recordings.file_state import FileState, refuse_change, state_of

# What the columns of Y mean. The classes.txt that comes with the file has the other order, which
# the signals contradict; the corrected list goes about as "classes-fixed".
CLASSES_2018 = (
    *("OOK", "4ASK", "8ASK", "BPSK", "QPSK", "8PSK", "16PSK", "32PSK"),
    *("16APSK", "32APSK", "64APSK", "128APSK"),
    *("16QAM", "32QAM", "64QAM", "128QAM", "256QAM"),
    *("AM-SSB-WC", "AM-SSB-SC", "AM-DSB-WC", "AM-DSB-SC", "FM", "GMSK", "OQPSK"),
)
SHIPPED_CLASSES_2018 = (
    *("32PSK", "16APSK", "32QAM", "FM", "GMSK", "32APSK", "OQPSK", "8ASK", "BPSK", "8PSK"),
    *("AM-SSB-SC", "4ASK", "16PSK", "64APSK", "128QAM", "128APSK", "AM-DSB-SC", "AM-SSB-WC"),
    *("64QAM", "QPSK", "256QAM", "AM-DSB-WC", "OOK", "16QAM"),
)
SNR_DEFINITION = (
    "not documented; published accuracies fit signal power over noise power per sample, dB"
)

BLOCK = 65_536  # frames whose labels are read at once: 13 MB of Y
HIGHEST_DB = 1000  # beyond it no number is an SNR
DEFLATE_RATIO = 1032  # the most that deflate can shrink anything


def open_2018(path: Path | str) -> Source:
    """Return the frames of a file laid out as RadioML 2018.01A's.

    Classes have the names of ``CLASSES_2018``; those without a frame are left out, and
    ``facts["columns"]`` holds the column of Y of each that is there. Files of some classes, some
    SNRs or another frame length are as welcome as the whole one.

    Raises InputError for a file that is no HDF5 file or a damaged one, X, Y or Z that are missing
    or of the wrong shape or type, rows of Y that are not one-hot, SNRs that are no whole dB, and
    (modulation, SNR) cells that are not one block each, all of one size: files that were merged or
    shuffled wrongly look like that.
    """
    path = Path(path).absolute()
    state = state_of(path)
    with opened(path) as file:
        x = frames_in(path, file)
        frames, samples, _ = x.shape
        kind = str(x.dtype)
        column, snr_db = labels_in(path, file, frames)
    present = np.unique(column)
    rank = np.zeros(len(CLASSES_2018), np.int16)
    rank[present] = np.arange(len(present))
    return Source(
        path=path,
        kind="RadioML 2018.01A",
        classes=tuple(CLASSES_2018[k] for k in present),
        modulation=rank[column],
        snr_db=snr_db,
        rows=np.arange(frames),
        samples=samples,
        read=partial(read_2018, path, state),
        snr_definition=SNR_DEFINITION,
        facts={"columns": present.tolist(), "x_type": kind, **_layout(path, column, snr_db)},
    )


# Opening


@contextmanager
def refused(path: Path) -> Iterator[None]:
    """Raise InputError for what h5py raises on a damaged file; only its calls may stand inside."""
    try:
        yield
    except (KeyError, OSError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is no HDF5 file, or a damaged or incomplete one: {error}"
        ) from error


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    with refused(path):
        file = h5py.File(path, "r")
    try:
        yield file
    finally:
        with refused(path):
            file.close()


def has(path: Path, file: Any, name: str) -> bool:
    with refused(path):
        return file.id.links.exists(name.encode())


def _dataset(path: Path, file: Any, name: str) -> Any:
    """Return a dataset that lies in the file itself, all of it."""
    if not has(path, file, name):
        raise InputError(f"{path} has no dataset {name}; RadioML 2018.01A has X, Y and Z.")
    with refused(path):
        # Links and virtual datasets could name any other file of this machine.
        link = file.id.links.get_info(name.encode()).type
        own = link == h5py.h5l.TYPE_HARD  # pyright: ignore[reportAttributeAccessIssue]
        found: Any = file[name] if own else None
        own = isinstance(found, h5py.Dataset) and not (found.is_virtual or found.external)
    if not own:
        raise InputError(
            f"{path}: {name} is a group, a link or a dataset kept elsewhere; it must be a dataset "
            "in this file."
        )
    with refused(path):
        shape, itemsize = found.shape, found.dtype.itemsize
        stored, place, chunk = found.id.get_storage_size(), found.id.get_offset(), found.chunks
        present = found.id.get_num_chunks() if chunk else 0
    if not shape or not all(shape):
        raise InputError(f"{path}: {name} is empty, its shape {shape}.")
    size, needed = state_of(path).size, prod(shape) * itemsize
    if chunk:
        pieces = prod(-(-length // step) for length, step in zip(shape, chunk, strict=True))
        whole = present == pieces and max(needed, prod(chunk) * itemsize) <= DEFLATE_RATIO * size
    else:
        whole = stored >= needed and (place or 0) + needed <= size
    if not whole:
        raise InputError(
            f"{path}: {name} is declared as {list(shape)}, {needed} bytes, which are not all in "
            f"this file of {size} bytes: it is cut short or damaged; fetch it again."
        )
    return found


def frames_in(path: Path, file: Any) -> Any:
    x = _dataset(path, file, "X")
    if x.ndim != 3 or x.shape[2] != 2 or x.dtype.kind != "f" or x.dtype.itemsize not in (4, 8):
        raise InputError(
            f"{path}: X must be float32 or float64 [frame, sample, 2]; it is {x.dtype} "
            f"{list(x.shape)}."
        )
    return x


# Labels


def labels_in(path: Path, file: Any, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the column of Y, int64 [frame], and the SNR in dB, float32 [frame]."""
    y, z = (_dataset(path, file, name) for name in "YZ")
    width = len(CLASSES_2018)
    if y.dtype.kind not in "iu" or y.ndim != 2 or y.shape[1] != width:
        raise InputError(
            f"{path}: Y must be integers [frame, {width}]; it is {y.dtype} {list(y.shape)}."
        )
    if z.dtype.kind not in "iuf" or z.shape[1:] not in ((), (1,)):
        raise InputError(
            f"{path}: Z must be numbers [frame, 1] or [frame]; it is {z.dtype} {list(z.shape)}."
        )
    if not len(y) == len(z) == frames:
        raise InputError(
            f"{path} has {frames} frames in X, {len(y)} rows in Y and {len(z)} in Z; there must be "
            "equally many."
        )
    column, snr_db = np.empty(frames, np.int16), np.empty(frames, np.float32)
    not_hot, not_whole = np.empty(frames, bool), np.empty(frames, bool)
    for start in range(0, frames, BLOCK):
        block = slice(start, min(start + BLOCK, frames))
        with refused(path):
            hot, level = y[block], z[block]
        level = level.reshape(-1)
        column[block] = hot.argmax(1)
        not_hot[block] = (np.count_nonzero(hot, axis=1) != 1) | (hot.max(1) != 1)
        whole = (level >= -HIGHEST_DB) & (level <= HIGHEST_DB) & (level == np.floor(level))
        snr_db[block] = np.where(whole, level, 0)
        not_whole[block] = ~whole
    refuse_rows(path, "Y", not_hot, "are not one-hot")
    refuse_rows(path, "Z", not_whole, f"are no whole number of dB within {HIGHEST_DB}")
    return column, snr_db


def refuse_rows(path: Path, name: str, bad: np.ndarray, what: str) -> None:
    if bad.any():
        raise InputError(
            f"{path}: {int(bad.sum())} of {len(bad)} rows of {name} {what}, the first at index "
            f"{int(bad.argmax())}."
        )


def _layout(path: Path, column: np.ndarray, snr_db: np.ndarray) -> dict[str, Any]:
    """Return facts about the layout; refuse cells that are not one block each, all of one size."""
    other = (column[1:] != column[:-1]) | (snr_db[1:] != snr_db[:-1])
    start = np.concatenate([[0], np.flatnonzero(other) + 1])
    size = np.diff(np.append(start, len(column)))
    level = snr_db[start].astype(np.int64)
    # Ascends by class and, within a class, by SNR: the documented order of the cells.
    key = column[start].astype(np.int64) * (4 * HIGHEST_DB) + level

    def named(block: int) -> str:
        return f"{CLASSES_2018[int(column[start[block]])]} at {level[block]} dB"

    _, first, count = np.unique(key, return_index=True, return_counts=True)
    if len(first) < len(key):
        torn = first[count > 1].min()
        again = np.flatnonzero(key == key[torn])[1]
        raise InputError(
            f"{path}: Y and Z give {int((count > 1).sum())} of {len(count)} (modulation, SNR) "
            f"cells in more than one piece, the first {named(torn)}, from index {start[torn]} and "
            f"again from {start[again]}. RadioML 2018.01A has each cell in one block: the file was "
            "shuffled or merged, and its labels cannot be trusted; use the original."
        )
    if size.min() != size.max():
        usual = np.bincount(size).argmax()
        odd = np.flatnonzero(size != usual)
        raise InputError(
            f"{path}: {len(odd)} of {len(size)} (modulation, SNR) cells do not have {usual} frames "
            f"as the others, the first {named(odd[0])} from index {start[odd[0]]}: it has "
            f"{size[odd[0]]}. RadioML 2018.01A has equally many in all: frames are lost or "
            "mislabelled; use the original."
        )
    grid, classes = np.unique(level), np.unique(column[start])
    return {
        "frames_per_cell": int(size[0]),
        "cells": len(size),
        "snr_grid_db": grid.tolist(),
        "grid_is_complete": len(size) == len(grid) * len(classes),
        "layout_is_documented": bool((np.diff(key) > 0).all()),
    }


# Reading


def read_2018(path: Path, state: FileState, rows: np.ndarray, *_labels: np.ndarray) -> np.ndarray:
    """Read ``rows`` of X as complex64 [frame, sample].

    Raises InputError if the file is no longer in the ``state`` in which it was opened.
    """
    refuse_change(path, state)
    with opened(path) as file:
        with refused(path):
            x = file["X"]  # which was found right when the file was opened
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(x):
            raise InputError(
                f"{path} has {len(x)} frames; rows {rows.min()} to {rows.max()} were requested."
            )
        with refused(path):
            parts = np.ascontiguousarray(read_rows(x, rows), np.float32)
    refuse_change(path, state)  # what a file loses while it is open, HDF5 reads as zeros
    return parts.view(np.complex64)[..., 0]
