"""The store of frames on disk: its layout, and reading it.

One HDF5 file with a group for each part (``train``, ``validation``, ``test``). IQ is kept as int16
pairs, scaled per frame by its own peak: 4 KB for 1,024 samples, the quantisation noise more than 60
dB down. Every frame has a digest of its samples. Each array is one contiguous piece of the file, so
that several processes can write to it, in any order.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from modsnr import InputError, files
from modsnr.frames.labelled import PARTS, Frames

FORMAT_VERSION = 2
DIGEST_BYTES = 16
CHUNK_FRAMES = 256  # quantised or read at a time: they stay in a core's cache


def arrays(size: int, samples: int, findings: int = 0) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shape and type of the arrays of a part of ``size`` frames.

    Received frames have so many ``findings`` each.
    """
    found = {"findings": ((size, findings), "<f4")} if findings else {}
    return {
        "iq": ((size, samples, 2), "<i2"),
        "step": ((size,), "<f4"),
        "modulation": ((size,), "<i8"),
        "snr_db": ((size,), "<f4"),
        "source_index": ((size,), "<i8"),
        "digest": ((size, DIGEST_BYTES), "u1"),
    } | found


def quantise(iq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return int16 [frame, sample, 2] and the float32 [frame] step that undoes it."""
    parts = np.ascontiguousarray(iq, dtype=np.complex64).view(np.float32)
    parts = parts.reshape(*iq.shape, 2)
    whole = np.empty(parts.shape, np.int16)
    step = np.empty(len(parts), np.float32)
    for start in range(0, len(parts), CHUNK_FRAMES):
        rows = slice(start, start + CHUNK_FRAMES)
        peak = np.maximum(parts[rows].max((1, 2)), -parts[rows].min((1, 2)))
        step[rows] = peak / 32767
        scaled = parts[rows] / step[rows, None, None]
        whole[rows] = np.rint(scaled, out=scaled)
    return whole, step


def dequantise(parts: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return complex64 [frame, sample] from the output of ``quantise``."""
    return (parts * step[:, None, None]).view(np.complex64)[..., 0]


def digests(parts: np.ndarray) -> np.ndarray:
    """Return the digest of every frame's samples, uint8 [frame, 16], from int16 [frame, ...].

    The first half of SHA-256: equal exactly where the samples are, up to one frame's own scale.
    """
    each = [hashlib.sha256(frame).digest()[:DIGEST_BYTES] for frame in np.ascontiguousarray(parts)]
    return np.frombuffer(b"".join(each), np.uint8).reshape(len(parts), DIGEST_BYTES)


def repeated(digests: np.ndarray) -> np.ndarray:
    """Return which frames have the digest, uint8 [frame, 16], of an earlier one: bool [frame]."""
    import pandas as pd  # here: processes that only write frames do not need it

    return pd.DataFrame(digests.view(np.uint64)).duplicated().to_numpy()


def read_rows(dataset: Any, rows: np.ndarray) -> np.ndarray:
    """Return rows of an HDF5 dataset, in any order; consecutive ones are read at one go."""
    if not len(rows):
        return dataset[:0]
    if rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return dataset[rows[0] : rows[-1] + 1]
    found, place = np.unique(rows, return_inverse=True)
    return dataset[found][place]


def read(path: Path | str, part: str, rows: np.ndarray | Sequence[int] | None = None) -> Frames:
    """Return one part of a store, or only its ``rows``; None: all, in the order of the source.

    Raises InputError if the file is no store, of another format version, or has no such part.
    """
    with _opened(path) as file:
        group = _group(file, part)
        stored = group["iq"]
        rows = np.arange(len(stored)) if rows is None else np.asarray(rows, np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(stored):
            raise InputError(f"{path} has {len(stored)} {part} frames; it has no rows {rows}.")
        modulation, snr_db, step = (
            group[name][:][rows] for name in ("modulation", "snr_db", "step")
        )
        iq = np.empty((len(rows), stored.shape[1]), np.complex64)

        def fill(start: int) -> None:
            chunk = slice(start, start + CHUNK_FRAMES)
            iq[chunk] = dequantise(read_rows(stored, rows[chunk]), step[chunk])

        # One thread reads while others compute.
        with ThreadPoolExecutor(2 * len(os.sched_getaffinity(0))) as pool:
            list(pool.map(fill, range(0, len(rows), CHUNK_FRAMES)))
        found = group["findings"][:][rows] if "findings" in group else None
        return Frames(iq, modulation, snr_db, tuple(file.attrs["classes"]), found)


def read_of(
    path: Path | str,
    part: str,
    classes: Sequence[str],
    *,
    most: int | None = None,
    rng: np.random.Generator | None = None,
) -> Frames:
    """Return the frames of one part that are of ``classes``, whose indices their labels become.

    With ``most``, so many at most, drawn by ``rng``; else all, in the order of the source. Raises
    InputError as ``read`` does, and for a class that the store has not.
    """
    stored = describe(path)["classes"]
    number = np.full(len(stored), -1)
    for place, name in enumerate(classes):
        files.check_name("class", name, stored, of=f" in {path}")
        number[stored.index(name)] = place
    rows = np.flatnonzero(number[labels(path, part)[0]] >= 0)
    if most is not None and most < len(rows):
        if rng is None:
            raise InputError(f"{most} of {len(rows)} frames are drawn at random: pass rng.")
        rows = np.sort(rng.choice(rows, most, replace=False))
    found = read(path, part, rows)
    return replace(found, modulation=number[found.modulation], classes=tuple(classes))


def labels(path: Path | str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of one part, without its samples: modulation int64, SNR float32 [frame]."""
    with _opened(path) as file:
        group = _group(file, part)
        return group["modulation"][:], group["snr_db"][:]


def whole(path: Path | str, part: str) -> np.ndarray:
    """Return which frames of one part are as long as the store's, bool [frame].

    Shorter ones of a simulator with ``lengths`` have zeros behind them.
    """
    with _opened(path) as file:
        return (_group(file, part)["iq"][:, -1] != 0).any(1)


def stored_digests(path: Path | str) -> np.ndarray:
    """Return the digests of all frames of a store, part after part, uint8 [frame, 16]."""
    with _opened(path) as file:
        return np.concatenate([file[part]["digest"][:] for part in PARTS])


def describe(path: Path | str) -> dict[str, Any]:
    """Return a store's attributes, its seal (content hash, and the run that finished it),
    ``counts`` of frames a part, ``samples`` a frame, and whether frames are ``received``."""
    with _opened(path) as file:
        counts = {part: len(file[part]["snr_db"]) for part in PARTS}
        attributes = {key: _plain(value) for key, value in file.attrs.items()}
        samples = int(file[PARTS[0]]["iq"].shape[1])
        received = "findings" in attributes
        own = {"received": received, "counts": counts, "samples": samples}
        return {**attributes, **_seal(file), **own}


def check_received(path: Path | str, received: bool) -> None:
    """Raise InputError unless a store's frames are received, or not, as they should be."""
    if describe(path)["received"] != received:
        been, wanted, other = (
            ("not been", "true", "false") if received else ("been", "false", "true")
        )
        raise InputError(
            f"The frames of {path} have {been} through the receiver: pass -p receiver {other}, or "
            f"write the store again by 01_preprocessing with -p receiver {wanted}."
        )


def verify(path: Path | str) -> None:
    """Read every frame and raise InputError where samples no longer fit their digests."""
    with _opened(path) as file:
        for part in PARTS:
            group = file[part]
            for start in range(0, len(group["iq"]), CHUNK_FRAMES):
                rows = slice(start, start + CHUNK_FRAMES)
                bad = (digests(group["iq"][rows]) != group["digest"][rows]).any(1)
                if bad.any():
                    raise InputError(
                        f"{path} is damaged: frame {start + int(bad.argmax())} of {part} is not "
                        "what was written. Write the store again with 01_preprocessing."
                    )
        if content_hash(file) != _seal(file)["content_hash"]:
            raise InputError(f"{path} is damaged: its labels are not what was written.")


def content_hash(file: Any) -> str:
    """Return the hash of a store's content, but not of its origin; how it was written is no part.

    The frames' digests stand for their samples.
    """
    content = hashlib.sha256("\n".join(file.attrs["classes"]).encode())
    for part in PARTS:
        for name in ("step", "modulation", "snr_db", "source_index", "digest", "findings"):
            if name in file[part]:
                content.update(f"{part}/{name} {file[part][name].shape}".encode())
                content.update(file[part][name][:].tobytes())
    return content.hexdigest()


def _seal(file: Any) -> dict[str, Any]:
    text = file["seal"][:].tobytes().rstrip(b"\0")
    return json.loads(text) if text else {}


def _group(file: Any, part: str) -> Any:
    files.check_name("part", part, PARTS)
    return file[part]


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


@contextmanager
def open_hdf5(path: Path | str) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    Raises InputError for what h5py raises on a damaged file, now or within the block, and where
    the machine does not let it be read.
    """
    try:
        with files.reading(path), h5py.File(path, "r") as file:
            yield file
    except InputError:
        raise
    except (KeyError, OSError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is no HDF5 file, or a damaged or incomplete one: {error}"
        ) from error


@contextmanager
def _opened(path: Path | str) -> Iterator[Any]:
    again = "write it again with 01_preprocessing."
    with files.reading(path):
        if not Path(path).exists():
            raise InputError(f"There is no frame store at {path}: run 01_preprocessing first.")
    with open_hdf5(path) as file:
        version = file.attrs.get("format_version")
        if version != FORMAT_VERSION:
            raise InputError(
                f"{path} is no frame store of format {FORMAT_VERSION}, but {version}: {again}"
            )
        if not _seal(file):
            raise InputError(f"{path} was never finished: {again}")
        yield file
