"""Which frames: the labels of a grid, draws without repeats, and the stratified split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from modsnr import InputError
from modsnr.files import check_name
from modsnr.frames.labelled import PARTS


def grid_labels(
    classes: Sequence[str], snrs_db: Sequence[float], frames_per_cell: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return balanced labels, modulation int64 and SNR float32 [frame]: cell after cell.

    Raises InputError for no class, no SNR, no frame, and a class that is named twice.
    """
    if twice := [name for name, times in Counter(classes).items() if times > 1]:
        raise InputError(f"Each class is named once; {', '.join(twice)} is named more often.")
    if frames_per_cell < 1 or not len(classes) or not len(snrs_db):
        raise InputError("A grid needs classes, SNRs and at least one frame a cell.")
    modulation = np.repeat(np.arange(len(classes)), len(snrs_db) * frames_per_cell)
    snr_db = np.tile(np.repeat(np.asarray(snrs_db, np.float32), frames_per_cell), len(classes))
    return modulation, snr_db


def some_of(total: int, count: int, seed: int) -> np.ndarray:
    """Return ``count`` of ``total`` rows drawn without repeats, all if there are fewer.

    int64 [row], rising. Raises InputError for a count below 1.
    """
    if count < 1:
        raise InputError(f"At least one of the {total} frames must be drawn, not {count}.")
    return np.sort(np.random.default_rng(seed).permutation(total)[:count])


def remaining(classes: Sequence[str], left_out: Sequence[str]) -> tuple[str, ...]:
    """Return ``classes`` without those ``left_out``, in their order.

    Raises InputError for one that is not among them, and where none remains.
    """
    for name in left_out:
        check_name("class", name, classes, of=" to leave out")
    kept = tuple(name for name in classes if name not in left_out)
    if not kept:
        raise InputError(f"All {len(classes)} modulations are left out: none remains.")
    return kept


def split(
    modulation: np.ndarray,
    snr_db: np.ndarray,
    *,
    seed: int,
    fractions: Mapping[str, float] | None = None,
) -> np.ndarray:
    """Return each frame's part, int8 [frame] into ``PARTS``: stratified per (modulation, SNR) cell.

    A pure function of its arguments. Every cell gives each part its fraction of frames (0.8, 0.1,
    0.1 by default), rounded; the rest goes to ``train``.
    """
    fractions = {"train": 0.8, "validation": 0.1, "test": 0.1} if fractions is None else fractions
    shares = fractions.values()
    if set(fractions) != set(PARTS) or min(shares) < 0 or not abs(sum(shares) - 1) < 1e-9:
        raise InputError(
            f"fractions must name {', '.join(PARTS)}, not be negative, and sum to 1; they are "
            f"{dict(fractions)}."
        )
    part_of = np.zeros(len(modulation), dtype=np.int8)
    # Ranks in small integers, so that millions of labels take little memory.
    _, class_of = np.unique(modulation, return_inverse=True)
    snrs, snr_of = np.unique(np.asarray(snr_db, np.float32), return_inverse=True)
    cell_of = class_of.astype(np.int32) * len(snrs) + snr_of.astype(np.int32)
    order = np.argsort(cell_of, kind="stable")
    borders = np.flatnonzero(np.diff(cell_of[order])) + 1
    generator = np.random.default_rng(seed)
    for members in np.split(order, borders):
        shuffled = generator.permutation(members)
        validation = round(fractions["validation"] * len(members))
        test = round(fractions["test"] * len(members))
        part_of[shuffled[:validation]] = PARTS.index("validation")
        part_of[shuffled[validation : validation + test]] = PARTS.index("test")
    return part_of


def split_hash(part_of: np.ndarray) -> str:
    """Return the SHA-256 of a split, hexadecimal: equal exactly where every frame's part is."""
    return hashlib.sha256(np.ascontiguousarray(part_of, dtype=np.int8).tobytes()).hexdigest()
