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
from dataclasses import dataclass
from itertools import cycle, pairwise
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
        stored = _Stored.of(path, file, part, rows)
        iq = np.empty((len(stored.rows), stored.samples), np.complex64)
        # Twice as many as cores: while some wait for the disk, the others compute. Each reads on in
        # a stretch of its own, through a file of its own, as the system reads ahead for such.
        crew = 2 * len(os.sched_getaffinity(0))
        borders = np.linspace(0, len(iq), crew + 1).astype(np.int64).tolist()

        def fill(stretch: tuple[int, int]) -> None:
            buffer = np.empty((CHUNK_FRAMES, stored.samples, 2), np.int16)  # new pages cost time
            with open(path, "rb", buffering=0) as opened:
                for start in range(*stretch, CHUNK_FRAMES):
                    chunk = slice(start, min(start + CHUNK_FRAMES, stretch[1]))
                    dequantise(stored.load(opened, chunk, buffer), stored.step[chunk], iq[chunk])

        with ThreadPoolExecutor(crew) as pool:
            list(pool.map(fill, pairwise(borders)))
        return Frames(iq, stored.modulation, stored.snr_db, stored.classes)


def read_of(
    path: Path | str,
    part: str,
    classes: Sequence[str],
    *,
    most: int | None = None,
    rng: np.random.Generator | None = None,
) -> Frames:
    """Return the frames of one part that are of ``classes``, whose indices their labels become.

    There are ``most`` at most, drawn by ``rng``; all, in the order of the source, unless told.
    Raises InputError as ``read`` does, and for a class that the store has not.
    """
    stored = describe(path)["classes"]
    number = np.full(len(stored), -1)
    for place, name in enumerate(classes):
        if name not in stored:
            raise InputError(f"{path} has no class {name!r}; it has {', '.join(stored)}.")
        number[stored.index(name)] = place
    rows = np.flatnonzero(number[labels(path, part)[0]] >= 0)
    if most is not None and most < len(rows):
        if rng is None:
            raise InputError(f"{most} of {len(rows)} frames are drawn at random: pass rng.")
        rows = np.sort(rng.choice(rows, most, replace=False))
    found = read(path, part, rows)
    return Frames(found.iq, number[found.modulation], found.snr_db, tuple(classes))


def batches(
    path: Path | str,
    part: str,
    rows: np.ndarray | Sequence[int] | None = None,
    *,
    size: int = CHUNK_FRAMES,
) -> Iterator[Frames]:
    """Yield one part of a store, or only its ``rows``, ``size`` frames at a time.

    The memory it takes does not depend on the store's size: the samples of a batch are overwritten
    by those of the next. Raises InputError as ``read`` does.
    """
    with (
        _opened(path) as file,
        open(path, "rb", buffering=0) as opened,
        ThreadPoolExecutor(1) as ahead,
    ):
        stored = _Stored.of(path, file, part, rows)
        iq = np.empty((size, stored.samples), np.complex64)
        buffers = cycle(np.empty((2, size, stored.samples, 2), np.int16))
        chunks = [
            slice(at, min(at + size, len(stored.rows))) for at in range(0, len(stored.rows), size)
        ]
        loads = (ahead.submit(stored.load, opened, chunk, next(buffers)) for chunk in chunks)
        coming = next(loads, None)
        for chunk in chunks:
            assert coming is not None
            parts, coming = coming.result(), next(loads, None)  # the next is read meanwhile
            found = dequantise(parts, stored.step[chunk], iq[: len(parts)])
            yield Frames(found, stored.modulation[chunk], stored.snr_db[chunk], stored.classes)


@dataclass(frozen=True)
class _Stored:
    """Rows of a part: their labels and steps, and where their samples lie in the file."""

    rows: np.ndarray
    modulation: np.ndarray
    snr_db: np.ndarray
    step: np.ndarray
    classes: tuple[str, ...]
    samples: int
    place: int  # byte at which the part's samples begin

    @staticmethod
    def of(path: Path | str, file: Any, part: str, rows: Any) -> _Stored:
        group = _group(file, part)
        modulation, snr_db, step = (group[name][:] for name in ("modulation", "snr_db", "step"))
        size, samples, _ = group["iq"].shape
        if rows is None:
            rows = np.arange(size)
        else:
            rows = np.asarray(rows, np.int64)
            if len(rows) and not 0 <= rows.min() <= rows.max() < size:
                raise InputError(f"{path} has {size} {part} frames; rows {rows} were asked for.")
            modulation, snr_db, step = modulation[rows], snr_db[rows], step[rows]
        place = group["iq"].id.get_offset() or 0
        if len(rows) and not 0 < place <= os.path.getsize(path) - 4 * size * samples:
            raise InputError(f"{path} is a damaged frame store: samples are missing.")
        return _Stored(rows, modulation, snr_db, step, tuple(file.attrs["classes"]), samples, place)

    def load(self, opened: Any, chunk: slice, buffer: np.ndarray) -> np.ndarray:
        """Return the int16 samples of a chunk of the rows, in the buffer."""
        wanted = self.rows[chunk]
        parts = buffer[: len(wanted)]
        borders = [0, *(np.flatnonzero(np.diff(wanted) != 1) + 1).tolist(), len(wanted)]
        for first, after in pairwise(borders):
            at = self.place + int(wanted[first]) * 4 * self.samples if after > first else 0
            _read_into(opened.fileno(), parts[first:after], at)
        return parts


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
            content.update(_bytes_of(file[part][name][:]))
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


def _bytes_of(array: np.ndarray) -> memoryview:
    """Return an array's bytes, those of a contiguous one without another copy of them."""
    whole: Any = np.ascontiguousarray(array)
    return memoryview(whole).cast("B") if array.size else memoryview(b"")


def _read_into(handle: int, array: np.ndarray, place: int) -> None:
    """Fill a contiguous array from the bytes of a file from ``place`` on."""
    view = _bytes_of(array)
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
