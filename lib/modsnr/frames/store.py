"""The store of frames on disk: its layout, and reading it.

One HDF5 file with a group a part (``train``, ``validation``, ``test``). IQ is kept as int16 pairs,
scaled per frame by its own peak: 4 KB for 1,024 samples, the quantisation noise more than 60 dB
down. Every frame has a digest of its samples. All arrays lie in one piece each, so that they can be
written and read in any order, by several processes, without going through the HDF5 library.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from modsnr import InputError
from modsnr.frames.labelled import PARTS, Frames

FORMAT_VERSION = 2
SNR_DEFINITION = "signal power over noise power per sample, dB"
DIGEST_BYTES = 16
SEAL_BYTES = 512  # room for the seal: JSON with the content hash, written last
CHUNK_FRAMES = 256  # quantised or read at a time: they stay in a core's cache


def arrays(size: int, samples: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shape and type of the arrays of a part of ``size`` frames."""
    return {
        "iq": ((size, samples, 2), "<i2"),
        "step": ((size,), "<f4"),
        "modulation": ((size,), "<i8"),
        "snr_db": ((size,), "<f4"),
        "source_index": ((size,), "<i8"),
        "digest": ((size, DIGEST_BYTES), "u1"),
    }


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


def dequantise(parts: np.ndarray, step: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return complex64 [frame, sample] from what ``quantise`` returned, in ``out`` if given."""
    if out is None:
        out = np.empty(parts.shape[:2], np.complex64)
    scaled = out.view(np.float32).reshape(parts.shape)
    np.multiply(parts, step[:, None, None], out=scaled, dtype=np.float32, casting="same_kind")
    return out


def digests(parts: np.ndarray) -> np.ndarray:
    """Return the digest of every frame's samples, uint8 [frame, 16], from int16 [frame, ...].

    The first half of SHA-256: equal exactly where the samples are, up to one frame's own scale.
    """
    each = [hashlib.sha256(frame).digest()[:DIGEST_BYTES] for frame in np.ascontiguousarray(parts)]
    return np.frombuffer(b"".join(each), np.uint8).reshape(len(parts), DIGEST_BYTES)


def read(path: Path | str, part: str, rows: np.ndarray | Sequence[int] | None = None) -> Frames:
    """Return one part of a store, or only its ``rows``, in the order of its source.

    Raises InputError if the file is no store, of another format version, or has no such part.
    """
    with _opened(path) as file:
        group = _group(file, part)
        modulation, snr_db, step = (group[name][:] for name in ("modulation", "snr_db", "step"))
        size, samples, _ = group["iq"].shape
        rows = np.arange(size) if rows is None else np.asarray(rows, np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < size:
            raise InputError(f"{path} has {size} {part} frames; rows {rows} were asked for.")
        iq = np.empty((len(rows), samples), np.complex64)
        place, whole = group["iq"].id.get_offset(), 4 * samples
        if len(rows) and (place is None or place + size * whole > os.path.getsize(path)):
            raise InputError(f"{path} is a damaged frame store: samples are missing.")

        crew = len(os.sched_getaffinity(0))

        def fill(worker: int) -> None:
            buffer = np.empty((CHUNK_FRAMES, samples, 2), np.int16)  # one: new pages cost time
            for start in range(worker * CHUNK_FRAMES, len(rows), crew * CHUNK_FRAMES):
                wanted = rows[start : start + CHUNK_FRAMES]
                parts = buffer[: len(wanted)]
                borders = [0, *(np.flatnonzero(np.diff(wanted) != 1) + 1).tolist(), len(wanted)]
                for first, after in pairwise(borders):
                    _read_into(handle, parts[first:after], place + int(wanted[first]) * whole)
                dequantise(parts, step[wanted], iq[start : start + len(wanted)])

        handle = os.open(path, os.O_RDONLY)
        try:
            with ThreadPoolExecutor(crew) as pool:
                list(pool.map(fill, range(crew)))
        finally:
            os.close(handle)
        return Frames(iq, modulation[rows], snr_db[rows], tuple(file.attrs["classes"]))


def labels(path: Path | str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of one part, without its samples: modulation int64, SNR float32 [frame]."""
    with _opened(path) as file:
        group = _group(file, part)
        return group["modulation"][:], group["snr_db"][:]


def stored_digests(path: Path | str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return digest uint8 [frame, 16], source index and part int8 [frame] of all frames stored."""
    with _opened(path) as file:
        sizes = [len(file[part]["digest"]) for part in PARTS]
        return (
            np.concatenate([file[part]["digest"][:] for part in PARTS]),
            np.concatenate([file[part]["source_index"][:] for part in PARTS]),
            np.repeat(np.arange(len(PARTS), dtype=np.int8), sizes),
        )


def describe(path: Path | str) -> dict[str, Any]:
    """Return what a store says of itself: its attributes, its seal (content hash and the run that
    finished it), ``counts``, the frames a part, and ``samples``, of each frame."""
    with _opened(path) as file:
        counts = {part: len(file[part]["snr_db"]) for part in PARTS}
        attributes = {key: _plain(value) for key, value in file.attrs.items()}
        samples = int(file[PARTS[0]]["iq"].shape[1])
        return {**attributes, **_seal(file), "counts": counts, "samples": samples}


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
        if _content_hash(file) != _seal(file)["content_hash"]:
            raise InputError(f"{path} is damaged: its labels are not what was written.")


def _content_hash(file: Any) -> str:
    """Return the hash of all that a store holds but where it comes from; batches leave no trace."""
    content = hashlib.sha256("\n".join(file.attrs["classes"]).encode())
    for part in PARTS:
        for name in ("step", "modulation", "snr_db", "source_index", "digest"):
            content.update(f"{part}/{name} {file[part][name].shape}".encode())
            array: Any = np.ascontiguousarray(file[part][name][:])
            content.update(memoryview(array).cast("B") if array.size else b"")
    return content.hexdigest()


def _seal(file: Any) -> dict[str, Any]:
    text = file["seal"][:].tobytes().rstrip(b"\0")
    return json.loads(text) if text else {}


def _group(file: Any, part: str) -> Any:
    if part not in PARTS:
        raise InputError(f"There is no part {part!r}; the parts are {', '.join(PARTS)}.")
    return file[part]


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def _read_into(handle: int, array: np.ndarray, place: int) -> None:
    """Fill a contiguous array from the bytes of a file from ``place`` on."""
    whole: Any = array
    view = memoryview(whole).cast("B") if array.size else memoryview(b"")
    while view:
        count = os.preadv(handle, [view], place)
        if not count:
            raise OSError("the file ends before its frames do")
        view, place = view[count:], place + count


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
            if not _seal(file):
                raise InputError(
                    f"{path} was never finished: write it again with 01_preprocessing."
                )
            yield file
        except InputError:
            raise
        # What h5py, and the decoding of what it read, say of a broken file.
        except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{path} is a damaged frame store: {error}") from error
