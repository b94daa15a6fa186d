"""RadioML 2018.01A: the one large HDF5 file, and the study's folder of one file a cell.

X is float32 [frame, sample, 2], Y one-hot [frame, class], Z the SNR in dB [frame, 1]. Labels are
read in blocks when a file is opened, X only when frames are asked for. What a file says of itself
is checked before anything is allocated by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from modsnr import InputError
from modsnr.recordings.source import Source

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
FEW = 16  # neighbouring frames that h5py is quicker to copy than to read into place
DEFLATE_RATIO = 1032  # the most that deflate can shrink anything


class _State(NamedTuple):
    """A file's size and time of change, by which a reader knows it again."""

    size: int
    changed: int


def open_2018(path: Path | str, *, class_order: Sequence[str] | None = None) -> Source:
    """Return the frames of a file laid out as RadioML 2018.01A's.

    ``class_order`` names the columns of Y, ``CLASSES_2018`` unless told otherwise. Classes without
    a frame are left out; ``facts["columns"]`` holds the column of each that is there. Files of
    some classes, some SNRs or another frame length are as welcome as the whole one.

    Raises InputError for a file that is no HDF5 file or a damaged one, X, Y or Z that are missing
    or of the wrong shape or type, rows of Y that are not one-hot, SNRs that are no whole dB, and
    (modulation, SNR) cells that are not one block each, all of one size: files that were merged or
    shuffled wrongly look like that.
    """
    path = Path(path).absolute()
    order = tuple(class_order or CLASSES_2018)
    if sorted(order) != sorted(CLASSES_2018):
        raise InputError(
            f"class_order must name the {len(CLASSES_2018)} classes of RadioML 2018.01A, each "
            f"once; it names {', '.join(order)}."
        )
    state = _state_of(path)
    with _opened(path) as file:
        x = _frames_of(path, file)
        frames, samples, _ = x.shape
        kind = str(x.dtype)
        column, snr_db = _labels_of(path, file, frames)
    layout = _layout(path, column, snr_db, order)
    present = np.unique(column)
    rank = np.zeros(len(order), np.int16)
    rank[present] = np.arange(len(present))
    return Source(
        path=path,
        kind="RadioML 2018.01A",
        classes=tuple(order[k] for k in present),
        modulation=rank[column],
        snr_db=snr_db,
        rows=np.arange(frames),
        samples=samples,
        read=partial(_read_2018, path, state, samples),
        snr_definition=SNR_DEFINITION,
        facts={"columns": present.tolist(), "x_type": kind, **layout},
    )


def open_split(folder: Path | str) -> Source:
    """Return the frames of the study's folder of ``MODULATION/SNR_x/MODULATION_SNR_x.h5`` files.

    Each file has X, and as a rule Y and Z, as the whole file has them. Rows are numbered through
    the cells, by class in the order of ``CLASSES_2018``, then by SNR. Class names may have
    underscores for hyphens, as AM_DSB_SC.

    The study's splitter reckons where a cell stands from the length of its list of SNRs, so
    that with a list shorter than 26 it puts other frames than the name says into a file. Y and Z,
    where they are there, must therefore agree with the name.

    Raises InputError for names that are not of that form or say different things, files that
    ``open_2018`` would refuse, and files with other numbers of frames or samples than the first.
    """
    folder = Path(folder).absolute()
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: give the one that holds the class folders.")
    cells = _cells_in(folder)
    states = tuple((path, _state_of(path)) for _, _, path in cells)
    frames = samples = confirmed = 0
    for number, snr, path in cells:
        with _opened(path) as file:
            x = _frames_of(path, file)
            if not frames:
                frames, samples, _ = x.shape
            if x.shape != (frames, samples, 2):
                raise InputError(
                    f"{path}: X is {list(x.shape)} and that of {cells[0][2]} is "
                    f"{[frames, samples, 2]}; all cells must have equally many frames of equally "
                    "many samples."
                )
            confirmed += _names_confirmed(path, file, frames, number, snr)
    present = sorted({number for number, _, _ in cells})
    each = [(present.index(number), snr) for number, snr, _ in cells]
    return Source(
        path=folder,
        kind="RadioML 2018.01A, one file a cell",
        classes=tuple(CLASSES_2018[number] for number in present),
        modulation=np.repeat([number for number, _ in each], frames),
        snr_db=np.repeat(np.array([snr for _, snr in each], np.float32), frames),
        rows=np.arange(len(cells) * frames),
        samples=samples,
        read=partial(_read_split, states, frames, samples),
        snr_definition=SNR_DEFINITION,
        facts={
            "columns": present,
            "frames_per_cell": frames,
            "cells": len(cells),
            "snr_grid_db": sorted({snr for _, snr, _ in cells}),
            "cells_confirmed_by_y_and_z": confirmed,
        },
    )


# Opening


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Turn what h5py raises on a damaged file into InputError; only its calls may stand inside."""
    try:
        yield
    except (KeyError, OSError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is no HDF5 file, or a damaged or incomplete one: {error}"
        ) from error


def _state_of(path: Path) -> _State:
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"There is no file {path}, or it cannot be reached: {error}") from error
    if path.is_dir():
        raise InputError(f"{path} is a folder; give an HDF5 file.")
    if not status.st_size:
        raise InputError(f"{path} is empty: fetch it again.")
    return _State(status.st_size, status.st_mtime_ns)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with _refused(path):
        file = h5py.File(path, "r")
    try:
        yield file
    finally:
        with _refused(path):
            file.close()


def _has(path: Path, file: Any, name: str) -> bool:
    with _refused(path):
        return file.id.links.exists(name.encode())


def _dataset(path: Path, file: Any, name: str) -> Any:
    """Return a dataset that lies in the file itself, all of it."""
    if not _has(path, file, name):
        raise InputError(f"{path} has no dataset {name}; RadioML 2018.01A has X, Y and Z.")
    with _refused(path):
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
    with _refused(path):
        shape, itemsize = found.shape, found.dtype.itemsize
        stored, place, chunk = found.id.get_storage_size(), found.id.get_offset(), found.chunks
        present = found.id.get_num_chunks() if chunk else 0
    if not shape or not all(shape):
        raise InputError(f"{path}: {name} is empty, its shape {shape}.")
    size, needed = _state_of(path).size, prod(shape) * itemsize
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


def _frames_of(path: Path, file: Any) -> Any:
    x = _dataset(path, file, "X")
    if x.ndim != 3 or x.shape[2] != 2 or x.dtype.kind != "f" or x.dtype.itemsize not in (4, 8):
        raise InputError(
            f"{path}: X must be float32 or float64 [frame, sample, 2]; it is {x.dtype} "
            f"{list(x.shape)}."
        )
    return x


# Labels


def _labels_of(path: Path, file: Any, frames: int) -> tuple[np.ndarray, np.ndarray]:
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
        with _refused(path):
            hot, level = y[block], z[block]
        level = level.reshape(-1)
        column[block] = hot.argmax(1)
        not_hot[block] = (np.count_nonzero(hot, axis=1) != 1) | (hot.max(1) != 1)
        whole = (level >= -HIGHEST_DB) & (level <= HIGHEST_DB) & (level == np.floor(level))
        snr_db[block] = np.where(whole, level, 0)
        not_whole[block] = ~whole
    _refuse(path, "Y", not_hot, "are not one-hot")
    _refuse(path, "Z", not_whole, f"are no whole number of dB within {HIGHEST_DB}")
    return column, snr_db


def _refuse(path: Path, name: str, bad: np.ndarray, what: str) -> None:
    if bad.any():
        raise InputError(
            f"{path}: {int(bad.sum())} of {len(bad)} rows of {name} {what}, the first at index "
            f"{int(bad.argmax())}."
        )


def _layout(
    path: Path, column: np.ndarray, snr_db: np.ndarray, order: Sequence[str]
) -> dict[str, Any]:
    """Return what the labels say of the layout, once every cell is one block, all of one size."""
    other = (column[1:] != column[:-1]) | (snr_db[1:] != snr_db[:-1])
    start = np.concatenate([[0], np.flatnonzero(other) + 1])
    size = np.diff(np.append(start, len(column)))
    level = snr_db[start].astype(np.int64)
    # Ascends by class and, within a class, by SNR: the documented order of the cells.
    key = column[start].astype(np.int64) * (4 * HIGHEST_DB) + level

    def named(block: int) -> str:
        return f"{order[int(column[start[block]])]} at {level[block]} dB"

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


def _fill(iq: np.ndarray, path: Path, state: _State, rows: np.ndarray) -> None:
    """Read rows of X into complex64 [frame, sample], each run of neighbours at one go."""
    _refuse_change(path, state)
    with _opened(path) as file:
        with _refused(path):
            x = file["X"]  # found right when the source was made
        if not 0 <= rows.min() <= rows.max() < len(x):
            raise InputError(
                f"{path} has {len(x)} frames; rows {rows.min()} to {rows.max()} were asked for."
            )
        parts = iq.view(np.float32).reshape(*iq.shape, 2)
        for start, stop in _runs(np.diff(rows) != 1):
            run = slice(int(rows[start]), int(rows[start]) + stop - start)
            with _refused(path):
                if stop - start < FEW:
                    parts[start:stop] = x[run]
                else:
                    x.read_direct(parts[start:stop], run)
    # What a file loses while it is open, HDF5 reads as zeros.
    _refuse_change(path, state)


def _runs(ends: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of each run of items; ``ends`` says after which items one ends."""
    return pairwise([0, *(np.flatnonzero(ends) + 1).tolist(), len(ends) + 1])


def _refuse_change(path: Path, then: _State) -> None:
    now = _state_of(path)
    if then != now:
        raise InputError(
            f"{path} has changed since it was opened ({then.size} bytes then, {now.size} now): "
            "open it again once nothing writes to it."
        )


def _read_2018(
    path: Path,
    state: _State,
    samples: int,
    rows: np.ndarray,
    _modulation: np.ndarray,
    _snr_db: np.ndarray,
) -> np.ndarray:
    iq = np.empty((len(rows), samples), np.complex64)
    if len(rows):
        _fill(iq, path, state, rows)
    return iq


def _read_split(
    cells: tuple[tuple[Path, _State], ...],
    frames: int,
    samples: int,
    rows: np.ndarray,
    _modulation: np.ndarray,
    _snr_db: np.ndarray,
) -> np.ndarray:
    iq = np.empty((len(rows), samples), np.complex64)
    if len(rows):
        if not 0 <= rows.min() <= rows.max() < len(cells) * frames:
            raise InputError(f"There are {len(cells) * frames} frames; row {rows.max()} is none.")
        cell, row = np.divmod(rows, frames)
        for start, stop in _runs(np.diff(cell) != 0):
            _fill(iq[start:stop], *cells[int(cell[start])], row[start:stop])
    return iq


# The study's folder


def _cells_in(folder: Path) -> list[tuple[int, int, Path]]:
    """Return (class, SNR in dB, file) of every cell, sorted; the class is an index."""
    cells: dict[tuple[int, int], Path] = {}
    for class_folder in filter(Path.is_dir, sorted(folder.iterdir())):
        name = class_folder.name.replace("_", "-")
        if name not in CLASSES_2018:
            raise InputError(
                f"{class_folder} is named after no class of RadioML 2018.01A, which are "
                f"{', '.join(CLASSES_2018)}."
            )
        for snr_folder in filter(Path.is_dir, sorted(class_folder.iterdir())):
            found = re.fullmatch(r"SNR_(0|-?[1-9]\d{0,2})", snr_folder.name)
            if not found:
                raise InputError(f"{snr_folder} must be named SNR_ and whole dB, as SNR_-4.")
            path = snr_folder / f"{class_folder.name}_{snr_folder.name}.h5"
            files = sorted(file.name for file in snr_folder.glob("*.h5"))
            if files != [path.name]:
                raise InputError(
                    f"{snr_folder} must hold {path.name} and no other HDF5 file; it holds "
                    f"{', '.join(files) or 'none'}."
                )
            cell = CLASSES_2018.index(name), int(found[1])
            if cell in cells:
                raise InputError(f"{cells[cell]} and {path} are the same cell: remove one.")
            cells[cell] = path
    if not cells:
        raise InputError(f"{folder} holds no MODULATION/SNR_x folder.")
    return [(*cell, cells[cell]) for cell in sorted(cells)]


def _names_confirmed(path: Path, file: Any, frames: int, number: int, snr: int) -> bool:
    """Return whether Y and Z are there; raise InputError if they contradict the file's name."""
    there = [_has(path, file, name) for name in "YZ"]
    if not any(there):
        return False
    column, snr_db = _labels_of(path, file, frames)
    if (column != number).any():
        wrong = int((column != number).argmax())
        told = CLASSES_2018[column[wrong]]
        shipped = SHIPPED_CLASSES_2018[column[wrong]] == CLASSES_2018[number]
        cause = "the split went by the shipped classes.txt, whose order is wrong" if shipped else ""
        raise InputError(
            f"{path}: {int((column != number).sum())} of {frames} frames are not what its name "
            f"says, the first at index {wrong}: {told} by Y ({cause or 'it is misnamed'}). Split "
            "the original file again by the right order, or open that with open_2018."
        )
    _refuse(path, "Z", snr_db != snr, f"are not the {snr} dB of its name")
    return True
