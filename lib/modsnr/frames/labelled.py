"""Labelled frames: what they are, whether they can be used, how they are split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modsnr import InputError

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Frames:
    """Frames with one label each.

    ``iq`` is complex64 [frame, sample], ``modulation`` int64 [frame] into ``classes``, ``snr_db``
    float32 [frame], dB per sample.
    """

    iq: np.ndarray
    modulation: np.ndarray
    snr_db: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.iq)

    def __getitem__(self, rows: np.ndarray | slice) -> Frames:
        return Frames(self.iq[rows], self.modulation[rows], self.snr_db[rows], self.classes)


def check(
    frames: Frames,
    *,
    samples: int | None = None,
    grid_db: Sequence[float] | None = None,
    rows: np.ndarray | None = None,
) -> Frames:
    """Return the frames if they can be used; else raise InputError with the index and the count.

    Refused: IQ that is not complex [frame, sample] (of ``samples`` samples where given), label
    arrays of another length, NaN or infinite samples, frames without power, modulations outside
    the classes, SNRs that are not finite or not on ``grid_db``. ``rows`` are the indices that the
    frames have where they come from, by which they are named; 0, 1, 2, ... unless told.
    """
    iq = frames.iq
    if iq.ndim != 2 or not np.iscomplexobj(iq):
        raise InputError(f"IQ must be complex [frame, sample]; it is {iq.dtype} {iq.shape}.")
    rows = np.arange(len(iq)) if rows is None else rows
    if samples is not None and iq.shape[1] != samples:
        raise InputError(
            f"Frames from index {rows[0] if len(rows) else 0} on have {iq.shape[1]} samples; "
            f"{samples} are expected."
        )
    if not iq.shape[:1] == frames.modulation.shape == frames.snr_db.shape:
        raise InputError(
            f"There are {len(iq)} frames, modulation labels of shape {frames.modulation.shape} and "
            f"SNR labels of shape {frames.snr_db.shape}; one of each a frame is needed."
        )
    if not np.issubdtype(frames.modulation.dtype, np.integer):
        raise InputError(f"Modulation labels must be integers; they are {frames.modulation.dtype}.")
    power = np.concatenate(
        [_power(iq[start : start + 64]) for start in range(0, len(iq), 64)] or []
    )
    _refuse(~np.isfinite(power), "hold NaN or infinite samples", rows)
    _refuse(power < np.finfo(np.float32).tiny, "have no power at all", rows)
    outside = (frames.modulation < 0) | (frames.modulation >= len(frames.classes))
    what = f"have a modulation label outside the {len(frames.classes)} classes"
    _refuse(outside, what, rows, frames.modulation)
    _refuse(~np.isfinite(frames.snr_db), "have an SNR that is not finite", rows)
    if grid_db is not None:
        away = ~np.isin(frames.snr_db, np.asarray(grid_db, dtype=np.float32))
        _refuse(away, f"have an SNR off the grid {list(grid_db)}", rows, frames.snr_db)
    return frames


def _power(iq: np.ndarray) -> np.ndarray:
    """Return each frame's mean power, in double precision: no sample leaves its range squared."""
    parts = np.ascontiguousarray(iq, np.complex64).view(np.float32).astype(np.float64)
    return np.einsum("fs,fs->f", parts, parts) / max(1, iq.shape[1])


def _refuse(bad: np.ndarray, what: str, rows: np.ndarray, values: np.ndarray | None = None) -> None:
    if bad.any():
        first = int(bad.argmax())
        value = "" if values is None else f" ({values[first]})"
        raise InputError(
            f"{int(bad.sum())} of {len(rows)} frames {what}, "
            f"the first at index {int(rows[first])}{value}."
        )


def grid_labels(
    classes: Sequence[str], snrs_db: Sequence[float], frames_per_cell: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return balanced labels, modulation int64 and SNR float32 [frame]: cell after cell.

    Raises InputError where there is none of a kind, and for a class that is named twice.
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
        raise InputError(f"At least one frame must be drawn of the {total}; {count} are asked for.")
    return np.sort(np.random.default_rng(seed).permutation(total)[:count])


def remaining(classes: Sequence[str], left_out: Sequence[str]) -> tuple[str, ...]:
    """Return ``classes`` without those ``left_out``, in their order.

    Raises InputError for one that is not among them, and where none remains.
    """
    for name in left_out:
        if name not in classes:
            raise InputError(
                f"{name!r} cannot be left out: the frames are of {', '.join(classes)}."
            )
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
    0.1 unless told otherwise), rounded; what rounding leaves goes to ``train``.
    """
    fractions = {"train": 0.8, "validation": 0.1, "test": 0.1} if fractions is None else fractions
    if set(fractions) != set(PARTS) or not abs(sum(fractions.values()) - 1) < 1e-9:
        raise InputError(f"fractions must name {PARTS} and sum to 1; they are {dict(fractions)}.")
    if min(fractions.values()) < 0:
        raise InputError(f"fractions must not be negative; they are {dict(fractions)}.")
    part_of = np.zeros(len(modulation), dtype=np.int8)
    # By their ranks, in small integers: millions of labels take little memory so.
    _, class_of = np.unique(modulation, return_inverse=True)
    snrs, snr_of = np.unique(np.asarray(snr_db, np.float32), return_inverse=True)
    cell_of = class_of.reshape(-1).astype(np.int32) * len(snrs) + snr_of.reshape(-1)
    cell_of = cell_of.astype(np.int32)
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
