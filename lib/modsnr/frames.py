"""Labelled frames: what they are, how they are split, and their store on disk.

The store is one HDF5 file with a group a part (``train``, ``validation``, ``test``). IQ is kept as
int16 pairs, scaled per frame by its own peak: 4 KB for 1,024 samples, the quantisation noise more
than 60 dB down. Nothing reads a store that was not finished: it is written under a temporary name
and renamed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from modsnr import InputError

PARTS = ("train", "validation", "test")
FORMAT_VERSION = 1
SNR_DEFINITION = "signal power over noise power per sample, dB"


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
    first: int = 0,
) -> Frames:
    """Return the frames if they can be used; else raise InputError with the index and the count.

    Refused: IQ that is not complex [frame, sample] (of ``samples`` samples where given), label
    arrays of another length, NaN or infinite samples, frames without power, modulations outside
    the classes, SNRs that are not finite or not on ``grid_db``. Indices count from ``first``.
    """
    iq = frames.iq
    if iq.ndim != 2 or not np.iscomplexobj(iq):
        raise InputError(f"IQ must be complex [frame, sample]; it is {iq.dtype} {iq.shape}.")
    if samples is not None and iq.shape[1] != samples:
        raise InputError(
            f"Frames from index {first} on have {iq.shape[1]} samples; {samples} are expected."
        )
    if not iq.shape[:1] == frames.modulation.shape == frames.snr_db.shape:
        raise InputError(
            f"There are {len(iq)} frames, modulation labels of shape {frames.modulation.shape} and "
            f"SNR labels of shape {frames.snr_db.shape}; one of each a frame is needed."
        )
    if not np.issubdtype(frames.modulation.dtype, np.integer):
        raise InputError(f"Modulation labels must be integers; they are {frames.modulation.dtype}.")
    # In double precision, so that neither huge nor tiny samples leave its range when squared.
    power = np.square(np.abs(iq), dtype=np.float64).mean(1)
    _refuse(~np.isfinite(power), "hold NaN or infinite samples", first, len(iq))
    _refuse(power < np.finfo(np.float32).tiny, "have no power at all", first, len(iq))
    outside = (frames.modulation < 0) | (frames.modulation >= len(frames.classes))
    what = f"have a modulation label outside the {len(frames.classes)} classes"
    _refuse(outside, what, first, len(iq), frames.modulation)
    _refuse(~np.isfinite(frames.snr_db), "have an SNR that is not finite", first, len(iq))
    if grid_db is not None:
        away = ~np.isin(frames.snr_db, np.asarray(grid_db, dtype=np.float32))
        _refuse(away, f"have an SNR off the grid {list(grid_db)}", first, len(iq), frames.snr_db)
    return frames


def _refuse(
    bad: np.ndarray, what: str, first: int, total: int, values: np.ndarray | None = None
) -> None:
    if bad.any():
        index = int(bad.argmax())
        value = "" if values is None else f" ({values[index]})"
        raise InputError(
            f"{int(bad.sum())} of {total} frames {what}, the first at index {first + index}{value}."
        )


def grid_labels(
    classes: Sequence[str], snrs_db: Sequence[float], frames_per_cell: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return balanced labels, modulation int64 and SNR float32 [frame]: cell after cell."""
    if frames_per_cell < 1 or not len(classes) or not len(snrs_db):
        raise InputError("A grid needs classes, SNRs and at least one frame a cell.")
    modulation = np.repeat(np.arange(len(classes)), len(snrs_db) * frames_per_cell)
    snr_db = np.tile(np.repeat(np.asarray(snrs_db, np.float32), frames_per_cell), len(classes))
    return modulation, snr_db


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
    cells = np.stack([np.asarray(modulation, np.float64), np.asarray(snr_db, np.float64)])
    _, cell_of = np.unique(cells, axis=1, return_inverse=True)
    cell_of = cell_of.reshape(-1)  # NumPy 2.0 gave it another shape
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


def quantise(iq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return int16 [frame, sample, 2] and the float32 [frame] step that undoes it."""
    parts = np.ascontiguousarray(iq, dtype=np.complex64).view(np.float32)
    parts = parts.reshape(*iq.shape, 2)
    step = (np.abs(parts).max((1, 2)) / 32767).astype(np.float32)
    return np.rint(parts / step[:, None, None]).astype(np.int16), step


def dequantise(parts: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return complex64 [frame, sample] from what ``quantise`` returned."""
    scaled = parts.astype(np.float32)
    scaled *= step[:, None, None]  # in place: a full grid takes gigabytes
    return scaled.view(np.complex64)[..., 0]


def write(
    path: Path | str,
    batches: Iterable[Frames],
    part_of: np.ndarray,
    *,
    classes: Sequence[str],
    source: str,
    grid_db: Sequence[float] | None = None,
    samples: int = 1024,
    split_seed: int,
    source_hash: str = "",
    run: str = "",
) -> str:
    """Write a store from frames that arrive in batches, and return its content hash.

    ``part_of`` is what ``split`` returned for all of them, in the order of arrival. Every batch is
    checked before it is written. No frame may stand in two parts: frames of equal content are
    found by hash and refused. On any error nothing is left under ``path``. The content hash covers
    samples, labels, classes and split, whatever the batches.

    Raises InputError for frames that cannot be used, and if there are more or fewer than parts.
    """
    part_of = np.asarray(part_of)
    if not np.isin(part_of, range(len(PARTS))).all():
        raise InputError(f"part_of must hold 0, 1 or 2 only, an index into {PARTS}.")
    digests = [hashlib.sha256() for _ in range(4)]  # one an array: batch borders leave no trace
    home: dict[bytes, tuple[int, int]] = {}  # content hash -> part, index in the source
    with _renamed_when_whole(Path(path)) as file:
        sizes = np.bincount(part_of, minlength=len(PARTS))
        groups = [
            _create_part(file.create_group(name), int(size), samples)
            for name, size in zip(PARTS, sizes, strict=True)
        ]
        filled = np.zeros(len(PARTS), dtype=np.int64)
        start = 0
        for batch in batches:
            if tuple(batch.classes) != tuple(classes):
                raise InputError(f"The batch at index {start} has other classes: {batch.classes}.")
            check(batch, samples=samples, grid_db=grid_db, first=start)
            stop = start + len(batch)
            if stop > len(part_of):
                raise InputError(f"More frames arrived than the {len(part_of)} that were split.")
            parts, step = quantise(batch.iq)
            _refuse_twins(parts, part_of[start:stop], start, home)
            arrays = (
                parts.astype("<i2", copy=False),
                step.astype("<f4", copy=False),
                batch.modulation.astype("<i8", copy=False),
                batch.snr_db.astype("<f4", copy=False),
            )
            for digest, array in zip(digests, arrays, strict=True):
                digest.update(array.tobytes())
            for part, group in enumerate(groups):
                rows = np.flatnonzero(part_of[start:stop] == part)
                place = slice(filled[part], filled[part] + len(rows))
                group["iq"][place] = parts[rows]
                group["step"][place] = step[rows]
                group["modulation"][place] = batch.modulation[rows]
                group["snr_db"][place] = batch.snr_db[rows]
                group["source_index"][place] = start + rows
                filled[part] += len(rows)
            start = stop
        if start != len(part_of):
            raise InputError(f"Only {start} frames arrived of the {len(part_of)} that were split.")
        content = hashlib.sha256("\n".join(classes).encode())
        for digest in digests:
            content.update(digest.digest())
        content.update(part_of.astype(np.int8).tobytes())
        file.attrs.update(
            format_version=FORMAT_VERSION,
            classes=list(classes),
            snr_definition=SNR_DEFINITION,
            source=source,
            source_hash=source_hash,
            run=run,
            split_seed=split_seed,
            split_hash=split_hash(part_of),
            content_hash=content.hexdigest(),
        )
    return content.hexdigest()


@contextmanager
def _renamed_when_whole(path: Path) -> Iterator[h5py.File]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with h5py.File(temporary, "w", libver="latest") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _create_part(group: h5py.Group, size: int, samples: int) -> dict[str, Any]:
    kinds = {
        "iq": ((size, samples, 2), np.int16),
        "step": ((size,), np.float32),
        "modulation": ((size,), np.int64),
        "snr_db": ((size,), np.float32),
        "source_index": ((size,), np.int64),
    }
    return {name: group.create_dataset(name, *kind) for name, kind in kinds.items()}


def _refuse_twins(
    parts: np.ndarray, part_of: np.ndarray, start: int, home: dict[bytes, tuple[int, int]]
) -> None:
    for row, (frame, part) in enumerate(zip(parts, part_of, strict=True)):
        key = hashlib.blake2b(frame.tobytes(), digest_size=16).digest()
        other, index = home.setdefault(key, (int(part), start + row))
        if other != part:
            raise InputError(
                f"Frames {index} and {start + row} are the same, and the split puts them into "
                f"{PARTS[other]} and {PARTS[part]}: remove one of them from the source."
            )


def read(path: Path | str, part: str) -> Frames:
    """Return one part of a store, in the order of its source.

    Raises InputError if the file is no store, of another format version, or has no such part.
    """
    with _opened(path) as file:
        if part not in PARTS:
            raise InputError(f"There is no part {part!r}; the parts are {', '.join(PARTS)}.")
        group = file[part]
        return Frames(
            dequantise(group["iq"][:], group["step"][:]),
            group["modulation"][:],
            group["snr_db"][:],
            tuple(file.attrs["classes"]),
        )


def describe(path: Path | str) -> dict[str, object]:
    """Return what a store says of itself: its attributes, and ``counts``, the frames a part."""
    with _opened(path) as file:
        counts = {part: len(file[part]["snr_db"]) for part in PARTS}
        attributes = {key: _plain(value) for key, value in file.attrs.items()}
        return {**attributes, "counts": counts}


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


@contextmanager
def _opened(path: Path | str) -> Iterator[Any]:
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no frame store at {path}: run 01_preprocessing first.")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path} is no HDF5 file, or a damaged one: {error}") from error
    with file:
        try:
            version = file.attrs.get("format_version")
            if version != FORMAT_VERSION:
                raise InputError(
                    f"{path} is no frame store of format {FORMAT_VERSION} (it says {version}): "
                    "write it again with 01_preprocessing."
                )
            yield file
        except (KeyError, OSError, RuntimeError) as error:  # what h5py says of a broken file
            raise InputError(f"{path} is a damaged frame store: {error}") from error
