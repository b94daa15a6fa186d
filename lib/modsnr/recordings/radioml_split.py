"""The study's folder of RadioML 2018.01A, one HDF5 file for each modulation and SNR."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from modsnr import InputError
from modsnr.frames import Source
from modsnr.recordings.file_state import FileState, state_of
from modsnr.recordings.radioml import (
    CLASSES_2018,
    SHIPPED_CLASSES_2018,
    SNR_DEFINITION,
    frames_in,
    has,
    labels_in,
    opened,
    read_2018,
    refuse_rows,
)


def open_split(folder: Path | str) -> Source:
    """Return the frames of the study's folder of ``MODULATION/SNR_x/MODULATION_SNR_x.h5`` files.

    Each file has X, and as a rule Y and Z, as the whole file has them. Rows are numbered through
    the cells, by class in the order of ``CLASSES_2018``, then by SNR. Class names may have
    underscores for hyphens, as AM_DSB_SC.

    The study's splitter computes the place of a cell from the length of its list of SNRs. With a
    list shorter than 26 it puts the frames of other cells into a file. Y and Z, if present,
    must therefore agree with the name.

    Raises InputError for names that are not of that form or contradict each other, files that
    ``open_2018`` would refuse, and files with other numbers of frames or samples than the first.
    """
    folder = Path(folder).absolute()
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: give the one that holds the class folders.")
    cells = _cells_in(folder)
    states = tuple((path, state_of(path)) for _, _, path in cells)
    frames = samples = confirmed = 0
    for number, snr, path in cells:
        with opened(path) as file:
            x = frames_in(path, file)
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
        read=partial(_read, states, frames, samples),
        snr_definition=SNR_DEFINITION,
        facts={
            "columns": present,
            "frames_per_cell": frames,
            "cells": len(cells),
            "snr_grid_db": sorted({snr for _, snr, _ in cells}),
            "cells_confirmed_by_y_and_z": confirmed,
        },
    )


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
    there = [has(path, file, name) for name in "YZ"]
    if not any(there):
        return False
    column, snr_db = labels_in(path, file, frames)
    if (column != number).any():
        wrong = int((column != number).argmax())
        labelled = CLASSES_2018[column[wrong]]
        shipped = SHIPPED_CLASSES_2018[column[wrong]] == CLASSES_2018[number]
        cause = "the split went by the shipped classes.txt, whose order is wrong" if shipped else ""
        raise InputError(
            f"{path}: {int((column != number).sum())} of {frames} frames are not of the class in "
            f"its name, the first at index {wrong}: {labelled} by Y ({cause or 'it is misnamed'}). "
            "Split the original file again by the right order, or open that with open_2018."
        )
    refuse_rows(path, "Z", snr_db != snr, f"are not the {snr} dB of its name")
    return True


def _read(
    cells: tuple[tuple[Path, FileState], ...],
    frames: int,
    samples: int,
    rows: np.ndarray,
    *_labels: np.ndarray,
) -> np.ndarray:
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(cells) * frames:
        raise InputError(
            f"There are {len(cells) * frames} frames; rows {rows.min()} to {rows.max()} were "
            "requested."
        )
    iq = np.empty((len(rows), samples), np.complex64)
    cell, row = np.divmod(rows, frames)
    for number in np.unique(cell):
        iq[cell == number] = read_2018(*cells[number], row[cell == number])
    return iq
