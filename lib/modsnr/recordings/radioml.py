"""RadioML 2018.01A: one large HDF5 file, or the study's folder of one file a cell.

X is float32 [frame, sample, 2], Y one-hot [frame, class], Z the SNR in dB [frame, 1]. Labels are
read in blocks when a file is opened, X only when frames are read. The sizes that a file declares
are checked before memory is allocated for them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from modsnr import InputError
from modsnr.frames import Source, open_hdf5, read_rows
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
WANTED = {
    "X": "float32 or float64 [frame, sample, 2]",
    "Y": f"integers [frame, {len(CLASSES_2018)}]",
    "Z": "numbers [frame, 1] or [frame]",
}


def open_2018(path: Path | str, *, drop_unusable: bool = False) -> Source:
    """Return the frames of a file laid out as RadioML 2018.01A's.

    Classes have the names of ``CLASSES_2018``; those without a frame are left out, and
    ``facts["columns"]`` holds the column of Y of each that is there. Files of some classes, some
    SNRs or another frame length are as welcome as the whole one.

    Frames may be in any order and (modulation, SNR) cells of any size: ``facts`` tell both, and the
    audits of ``open_source`` whether Y and Z fit X.

    Raises InputError for a file that is no HDF5 file or a damaged one, and for X, Y or Z that are
    missing or of the wrong shape or type. Rows of Y that are not one-hot and SNRs that are no whole
    dB are refused too, or with ``drop_unusable`` left out and counted in the facts.
    """
    path = Path(path).absolute()
    state = state_of(path)
    with open_hdf5(path) as file:
        x = _dataset(path, file, "X")
        frames, samples, _ = x.shape
        facts: dict[str, Any] = {"x_type": str(x.dtype)}
        column, snr_db, bad = _labels(path, file, frames)
    rows = np.flatnonzero(~np.any([*bad.values()], axis=0))
    if drop_unusable and len(rows):
        facts["frames without a usable label, left out"] = frames - len(rows)
    else:
        way_on = "" if drop_unusable else "; pass -p drop_unusable true to leave them out"
        _refuse_labels(path, bad, way_on)
    read = partial(_read, ((path, state),), np.array([0]))
    source = _source(path, "RadioML 2018.01A", column[rows], snr_db[rows], samples, read, facts)
    return replace(source, rows=rows)


def open_split(folder: Path | str) -> Source:
    """Return the frames of the study's folder of ``MODULATION/SNR_x/MODULATION_SNR_x.h5`` files.

    Each file has X, and as a rule Y and Z, as the whole file has them. Rows are numbered through
    the cells, by class in the order of ``CLASSES_2018``, then by SNR. Class names may have
    underscores for hyphens, as AM_DSB_SC.

    The study's splitter computes the place of a cell from the length of its list of SNRs. With a
    list shorter than 26 it puts the frames of other cells into a file. Y and Z, if present,
    must therefore agree with the name.

    Raises InputError for names that are not of that form or contradict each other, files that
    ``open_2018`` would refuse, and frames of other numbers of samples than the first.
    """
    folder = Path(folder).absolute()
    cells = _cells_in(folder)
    files = tuple((path, state_of(path)) for path in cells.values())
    shapes, confirmed = [], 0
    for (number, snr), path in cells.items():
        with open_hdf5(path) as file:
            shapes.append(_dataset(path, file, "X").shape)
            if shapes[-1][1] != shapes[0][1]:
                raise InputError(
                    f"{path}: X is {list(shapes[-1])} and that of {files[0][0]} is "
                    f"{list(shapes[0])}; all frames must have equally many samples."
                )
            if any(_has(file, name) for name in "YZ"):
                confirmed += 1
                column, snr_db, bad = _labels(path, file, shapes[-1][0])
                _refuse_labels(path, bad)
                _check_name(path, column, snr_db, number, snr)
    frames = np.array([shape[0] for shape in shapes])
    samples = shapes[0][1]
    column, snr_db = np.repeat(np.array([*cells], np.int16), frames, axis=0).T
    facts = {"cells_confirmed_by_y_and_z": confirmed}
    read = partial(_read, files, np.cumsum(frames) - frames)
    kind = "RadioML 2018.01A, one file a cell"
    return _source(folder, kind, column, snr_db.astype(np.float32), samples, read, facts)


def _source(
    path: Path,
    kind: str,
    column: np.ndarray,
    snr_db: np.ndarray,
    samples: int,
    read: Any,
    facts: dict[str, Any],
) -> Source:
    present = np.unique(column)
    rank = np.zeros(len(CLASSES_2018), np.int16)
    rank[present] = np.arange(len(present))
    return Source(
        path=path,
        kind=kind,
        classes=tuple(CLASSES_2018[k] for k in present),
        modulation=rank[column],
        snr_db=snr_db,
        rows=np.arange(len(column)),
        samples=samples,
        read=read,
        snr_definition=SNR_DEFINITION,
        facts={"columns": present.tolist(), **facts, **_cell_facts(column, snr_db)},
    )


def _cells_in(folder: Path) -> dict[tuple[int, int], Path]:
    """Return (class, SNR in dB) -> file of every cell, sorted; the class is an index."""
    cells: dict[tuple[int, int], Path] = {}
    for place in sorted(filter(Path.is_dir, folder.glob("*/*"))):
        name = place.parent.name.replace("_", "-")
        level = re.fullmatch(r"SNR_(0|-?[1-9]\d{0,2})", place.name)
        path = place / f"{place.parent.name}_{place.name}.h5"
        if name not in CLASSES_2018 or not level or [*place.glob("*.h5")] != [path]:
            raise InputError(
                f"{place} must be called MODULATION/SNR_x, with a class of RadioML 2018.01A and "
                f"whole dB, as QPSK/SNR_-4, and hold {path.name} and no other HDF5 file."
            )
        cell = CLASSES_2018.index(name), int(level[1])
        if cell in cells:
            raise InputError(f"{cells[cell]} and {path} are the same cell: remove one.")
        cells[cell] = path
    if not cells:
        raise InputError(f"{folder} holds no MODULATION/SNR_x folder.")
    return dict(sorted(cells.items()))


def _check_name(path: Path, column: np.ndarray, snr_db: np.ndarray, number: int, snr: int) -> None:
    """Raise InputError if labels contradict the name of their file."""
    if (column != number).any():
        wrong = int((column != number).argmax())
        raise InputError(
            f"{path}: {int((column != number).sum())} of {len(column)} frames are not of the class "
            f"in its name, the first at index {wrong}: {CLASSES_2018[column[wrong]]} by Y. The "
            "file is misnamed, or the split went by the shipped classes.txt, whose order is wrong. "
            "Split the original file again by the right order, or open that."
        )
    _refuse_labels(path, {f"of Z are not the {snr} dB of its name": snr_db != snr})


# Datasets


def _has(file: Any, name: str) -> bool:
    return file.id.links.exists(name.encode())


def _dataset(path: Path, file: Any, name: str) -> Any:
    """Return a dataset that lies in the file itself, all of it, in the layout of RadioML."""
    if not _has(file, name):
        raise InputError(f"{path} has no dataset {name}; RadioML 2018.01A has X, Y and Z.")
    # Links and virtual datasets could name any other file of this machine.
    link = file.id.links.get_info(name.encode()).type
    own = link == h5py.h5l.TYPE_HARD  # pyright: ignore[reportAttributeAccessIssue]
    found: Any = file[name] if own else None
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
        raise InputError(
            f"{path}: {name} is a group, a link or a dataset kept elsewhere; it must be a dataset "
            "in this file."
        )
    shape, kind, width = found.shape, found.dtype.kind, found.dtype.itemsize
    if not shape or not all(shape):
        raise InputError(f"{path}: {name} is empty, its shape {shape}.")
    fits = {
        "X": kind == "f" and width in (4, 8) and len(shape) == 3 and shape[2] == 2,
        "Y": kind in "iu" and shape[1:] == (len(CLASSES_2018),),
        "Z": kind in "iuf" and shape[1:] in ((), (1,)),
    }
    if not fits[name]:
        raise InputError(
            f"{path}: {name} must be {WANTED[name]}; it is {found.dtype} {list(shape)}."
        )
    size, needed = state_of(path).size, prod(shape) * width
    if found.chunks:
        pieces = prod(-(-length // step) for length, step in zip(shape, found.chunks, strict=True))
        largest = max(needed, prod(found.chunks) * width)
        whole = found.id.get_num_chunks() == pieces and largest <= DEFLATE_RATIO * size
    else:
        place = found.id.get_offset() or 0
        whole = found.id.get_storage_size() >= needed and place + needed <= size
    if not whole:
        raise InputError(
            f"{path}: {name} is declared as {list(shape)}, {needed} bytes, which are not all in "
            f"this file of {size} bytes: it is cut short or damaged; fetch it again."
        )
    return found


def _labels(
    path: Path, file: Any, frames: int
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return the column of Y, int16 [frame], the SNR in dB, float32 [frame], and bad rows of both.

    The last are what is wrong -> bool [frame].
    """
    y, z = (_dataset(path, file, name) for name in "YZ")
    if not len(y) == len(z) == frames:
        raise InputError(
            f"{path} has {frames} frames in X, {len(y)} rows in Y and {len(z)} in Z; there must be "
            "equally many."
        )
    column, snr_db = np.empty(frames, np.int16), np.empty(frames, np.float32)
    not_hot, not_whole = np.empty(frames, bool), np.empty(frames, bool)
    for start in range(0, frames, BLOCK):
        block = slice(start, min(start + BLOCK, frames))
        hot, level = y[block], z[block].reshape(-1)
        column[block] = hot.argmax(1)
        not_hot[block] = (np.count_nonzero(hot, axis=1) != 1) | (hot.max(1) != 1)
        whole = (level >= -HIGHEST_DB) & (level <= HIGHEST_DB) & (level == np.floor(level))
        snr_db[block] = np.where(whole, level, 0)
        not_whole[block] = ~whole
    return (
        column,
        snr_db,
        {
            "of Y are not one-hot": not_hot,
            f"of Z are no whole number of dB within {HIGHEST_DB}": not_whole,
        },
    )


def _refuse_labels(path: Path, rows: dict[str, np.ndarray], way_on: str = "") -> None:
    for what, bad in rows.items():
        if bad.any():
            raise InputError(
                f"{path}: {int(bad.sum())} of {len(bad)} rows {what}, the first at index "
                f"{int(bad.argmax())}{way_on}."
            )


def _cell_facts(column: np.ndarray, snr_db: np.ndarray) -> dict[str, Any]:
    # Ascends by class and, within a class, by SNR: the documented order of the cells.
    key = column.astype(np.int64) * (4 * HIGHEST_DB) + snr_db.astype(np.int64)
    cells, sizes = np.unique(key, return_counts=True)
    least, most = int(sizes.min()), int(sizes.max())
    grid = np.unique(snr_db)
    return {
        "frames_per_cell": most if least == most else [least, most],
        "cells": len(cells),
        "snr_grid_db": grid.astype(int).tolist(),
        "grid_is_complete": len(cells) == len(grid) * len(np.unique(column)),
        "layout_is_documented": least == most and bool((np.diff(key) >= 0).all()),
    }


# Reading


def _read(
    files: tuple[tuple[Path, FileState], ...],
    starts: np.ndarray,
    rows: np.ndarray,
    *_labels: np.ndarray,
) -> np.ndarray:
    """Read ascending rows, numbered through files, complex64 [frame, sample].

    ``starts`` is the row with which each file begins.
    """
    number = np.searchsorted(starts, rows, side="right") - 1
    needed = np.unique(number) if len(rows) else [0]
    parts = [_read_file(*files[k], rows[number == k] - starts[k]) for k in needed]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _read_file(path: Path, state: FileState, rows: np.ndarray) -> np.ndarray:
    """Read rows of X; raise InputError if the file is no longer in the state of its opening."""
    refuse_change(path, state)
    with open_hdf5(path) as file:
        parts = np.ascontiguousarray(read_rows(file["X"], rows), np.float32)
    refuse_change(path, state)  # what a file loses while it is open, HDF5 reads as zeros
    return parts.view(np.complex64)[..., 0]
