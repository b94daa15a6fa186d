"""Writing a store of frames: in shards, by any number of processes, and on after any death.

Where each frame goes follows from labels and split alone, so the file is laid out first, at full
size, and shards of the source are then read, checked, quantised and put in their places, in any
order. A journal beside it names the shards that are done: the same call, made again after a kill,
looks whether they still are what the journal says and does only the others. The store takes its
name when it is whole.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from modsnr import InputError
from modsnr.frames.labelled import PARTS, Frames, check, split_hash
from modsnr.frames.store import (
    DIGEST_BYTES,
    FORMAT_VERSION,
    SEAL_BYTES,
    SNR_DEFINITION,
    _bytes_of,
    _content_hash,
    _read_into,
    arrays,
    digests,
    quantise,
)

SHARD_FRAMES = 1024  # 8 MB of samples at a time: what a process holds

# Of rows int64, modulation int64, snr_db float32, each [frame]; complex64 [frame, sample].
Read = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
# Like ``map``: the results of a function over items, in any order, as they come.
Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


def write(
    path: Path | str,
    read: Read,
    modulation: np.ndarray,
    snr_db: np.ndarray,
    part_of: np.ndarray,
    *,
    classes: Sequence[str],
    source: str,
    split_seed: int,
    rows: np.ndarray | None = None,
    samples: int = 1024,
    grid_db: Sequence[float] | None = None,
    source_hash: str = "",
    snr_definition: str = SNR_DEFINITION,
    run: str = "",
    each: Each = map,
    progress: Callable[[int], object] | None = None,
) -> str:
    """Write a store of labelled frames, and return its content hash.

    ``modulation``, ``snr_db`` and ``part_of`` (what ``split`` returned) are [frame];
    ``read(rows, modulation, snr_db)`` returns the samples of a stretch of frames, complex64
    [frame, sample], ``rows`` being their places in the source (0, 1, 2, ... unless told). ``each``
    is ``map`` or like it, and may run in other processes, to which ``read`` is then sent.
    ``progress`` is called with the number of frames done since it was called last.

    Every frame is checked. No frame may stand in two parts: frames of equal samples are found by
    their digests. Called again with the same arguments after a kill, it goes on where it stopped,
    and ends in the same content hash. On an error nothing is left under ``path``.

    Raises InputError for frames that cannot be used, for a disk without room, and while another
    process writes the same store.
    """
    path = Path(path)
    labels = Frames(np.empty((len(modulation), 0), complex), modulation, snr_db, tuple(classes))
    part_of = np.asarray(part_of)
    if part_of.shape != modulation.shape or not np.isin(part_of, range(len(PARTS))).all():
        raise InputError(
            f"part_of must hold 0, 1 or 2 only, an index into {PARTS}, for each of the "
            f"{len(modulation)} frames; it has the shape {part_of.shape}."
        )
    rows = np.arange(len(modulation)) if rows is None else np.asarray(rows, np.int64)
    attributes = {
        "format_version": FORMAT_VERSION,
        "classes": list(classes),
        "snr_definition": snr_definition,
        "source": source,
        "source_hash": source_hash,
        "split_seed": split_seed,
        "split_hash": split_hash(part_of),
    }
    plan = hashlib.sha256(json.dumps([attributes, samples, list(grid_db or ())]).encode())
    settings: object = read
    if is_dataclass(settings):  # a simulator: frames of another channel are none to go on with
        plan.update(repr(settings).encode())
    for array in (modulation, snr_db, part_of, rows):
        plan.update(str(array.dtype).encode())
        plan.update(_bytes_of(array))
    path.parent.mkdir(parents=True, exist_ok=True)
    with _Journal.locked(path, plan.hexdigest()) as journal:
        sizes = np.bincount(part_of, minlength=len(PARTS)).tolist()
        places = _lay_out(journal.partial, sizes, samples, attributes)
        shards = _shards(journal, labels, part_of, rows, places, samples, grid_db, read)
        for number, digest, count in each(_write_shard, shards):
            journal.note(number, digest)
            if progress is not None:
                progress(count)
        with h5py.File(journal.partial, "r") as file:
            _refuse_twins(file)
            content = _content_hash(file)
        seal = json.dumps({"content_hash": content, "run": run}).encode()
        _put(journal.partial, [(places["seal"], seal)])
        os.replace(journal.partial, path)
    return content


def digests_of_source(
    read: Read,
    modulation: np.ndarray,
    snr_db: np.ndarray,
    *,
    rows: np.ndarray,
    each: Each = map,
    progress: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Return the digest of every frame of a source, uint8 [frame, 16], as a store would have it."""
    found = np.zeros((len(rows), DIGEST_BYTES), np.uint8)
    starts = range(0, len(rows), SHARD_FRAMES)
    stretches = (
        (
            read,
            start,
            *(array[start : start + SHARD_FRAMES] for array in (rows, modulation, snr_db)),
        )
        for start in starts
    )
    for start, part in each(_digest_shard, stretches):
        found[start : start + len(part)] = part
        if progress is not None:
            progress(len(part))
    return found


def _digest_shard(stretch: tuple[Any, ...]) -> tuple[int, np.ndarray]:
    read, start, *where = stretch
    return start, digests(quantise(np.nan_to_num(read(*where)))[0])


@dataclass(frozen=True)
class _Shard:
    """A stretch of the source and where its frames go."""

    partial: Path
    number: int
    rows: np.ndarray
    modulation: np.ndarray
    snr_db: np.ndarray
    part_of: np.ndarray
    targets: dict[str, dict[str, int]]  # part -> array -> byte at which this shard's rows begin
    classes: tuple[str, ...]
    samples: int
    grid_db: tuple[float, ...] | None
    read: Read
    done: str  # its digest, if the journal says that it is done; else empty


def _shards(
    journal: _Journal,
    labels: Frames,
    part_of: np.ndarray,
    rows: np.ndarray,
    places: dict[str, Any],
    samples: int,
    grid_db: Sequence[float] | None,
    read: Read,
) -> Iterator[_Shard]:
    filled = dict.fromkeys(PARTS, 0)
    for number, start in enumerate(range(0, len(rows), SHARD_FRAMES)):
        stretch = slice(start, start + SHARD_FRAMES)
        parts = part_of[stretch]
        yield _Shard(
            journal.partial,
            number,
            rows[stretch],
            labels.modulation[stretch],
            labels.snr_db[stretch],
            parts,
            {
                part: {
                    name: at + filled[part] * width for name, (at, width) in places[part].items()
                }
                for part in PARTS
            },
            labels.classes,
            samples,
            None if grid_db is None else tuple(grid_db),
            read,
            journal.done.get(number, ""),
        )
        for part, count in zip(PARTS, np.bincount(parts, minlength=len(PARTS)), strict=True):
            filled[part] += int(count)


def _write_shard(shard: _Shard) -> tuple[int, str, int]:
    """Put one shard in its places; return its number, its digest and how many frames it has."""
    if shard.done and _digest(_as_stored(shard)) == shard.done:
        return shard.number, shard.done, len(shard.rows)
    iq = shard.read(shard.rows, shard.modulation, shard.snr_db)
    frames = Frames(iq, shard.modulation, shard.snr_db, shard.classes)
    check(frames, samples=shard.samples, grid_db=shard.grid_db, rows=shard.rows)
    parts, step = quantise(iq)
    del iq, frames
    found = {
        "iq": parts.astype("<i2", copy=False),
        "step": step.astype("<f4", copy=False),
        "modulation": shard.modulation.astype("<i8"),
        "snr_db": shard.snr_db.astype("<f4"),
        "source_index": shard.rows.astype("<i8"),
        "digest": digests(parts),
    }
    members = [np.flatnonzero(shard.part_of == number) for number in range(len(PARTS))]
    of_part = {
        part: {name: array[mine] for name, array in found.items()}
        for part, mine in zip(PARTS, members, strict=True)
    }
    places = [
        (shard.targets[part][name], array)
        for part, named in of_part.items()
        for name, array in named.items()
    ]
    _put(shard.partial, places)
    return shard.number, _digest(of_part), len(shard.rows)


def _as_stored(shard: _Shard) -> dict[str, dict[str, np.ndarray]]:
    """Return the arrays of a shard as the file holds them, the digests computed anew."""
    of_part = {}
    handle = os.open(shard.partial, os.O_RDONLY)
    try:
        for number, part in enumerate(PARTS):
            named = {}
            size = int((shard.part_of == number).sum())
            for name, (shape, kind) in arrays(size, shard.samples).items():
                named[name] = np.empty(shape, kind)
                _read_into(handle, named[name], shard.targets[part][name])
            of_part[part] = named | {"digest": digests(named["iq"])}
    finally:
        os.close(handle)
    return of_part


def _digest(of_part: dict[str, dict[str, np.ndarray]]) -> str:
    """Return the hash of a shard's arrays; of its samples, the frames' digests stand for them."""
    total = hashlib.sha256()
    for named in of_part.values():
        for name, array in named.items():
            if name != "iq":
                total.update(_bytes_of(array))
    return total.hexdigest()


def _put(path: Path, places: Sequence[tuple[int, Any]]) -> None:
    """Write each array, or bytes, at its place in a file that is there already."""
    handle = os.open(path, os.O_WRONLY)
    try:
        for at, array in places:
            view = memoryview(array) if isinstance(array, bytes) else _bytes_of(array)
            while view:
                count = os.pwrite(handle, view, at)
                view, at = view[count:], at + count
    except OSError as error:
        if error.errno in FULL:
            raise _no_room(path, None) from error
        raise
    finally:
        os.close(handle)


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _no_room(path: Path, needed: int | None) -> InputError:
    free = shutil.disk_usage(path.parent).free
    wanted = "" if needed is None else f" for {needed / 1e9:.2f} GB"
    return InputError(
        f"There is no room{wanted} at {path.parent} ({free / 1e9:.2f} GB are free, if no quota "
        "says otherwise): free some, or set MODSNR_ROOT to a larger disk."
    )


def _lay_out(
    path: Path, sizes: Sequence[int], samples: int, attributes: dict[str, Any]
) -> dict[str, Any]:
    """Create the file at its full size, unless it is there; return the place of every array.

    The result is part -> array -> (first byte, bytes a frame), and the place of the seal.
    """
    if not path.exists():
        new = path.with_suffix(".new")  # renamed once HDF5 has written all it has to write
        with h5py.File(new, "w", libver="latest") as file:
            file.attrs.update(attributes)
            _create(file, "seal", (SEAL_BYTES,), "u1")
            for part, size in zip(PARTS, sizes, strict=True):
                for name, (shape, kind) in arrays(size, samples).items():
                    _create(
                        file.create_group(part) if name == "iq" else file[part], name, shape, kind
                    )
        with open(new, "r+b") as raw:
            size = os.fstat(raw.fileno()).st_size
            try:
                os.posix_fallocate(raw.fileno(), 0, size)
            except OSError as error:
                new.unlink()
                raise _no_room(path, size) if error.errno in FULL else error from error
        os.replace(new, path)
    with h5py.File(path, "r") as opened:
        file: Any = opened
        places: dict[str, Any] = {
            part: {
                name: (file[part][name].id.get_offset() or 0, _bytes_a_frame(file[part][name]))
                for name in arrays(0, samples)
            }
            for part in PARTS
        }
        return places | {"seal": file["seal"].id.get_offset()}


def _create(group: Any, name: str, shape: tuple[int, ...], kind: str) -> None:
    """Create a contiguous array that has its place in the file at once and is not filled."""
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.CONTIGUOUS)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)  # the same store is the same bytes
    space, type_ = h5py.h5s.create_simple(shape), h5py.h5t.py_create(np.dtype(kind))
    h5py.h5d.create(group.id, name.encode(), type_, space, dcpl=layout)


def _bytes_a_frame(dataset: Any) -> int:
    return int(np.prod(dataset.shape[1:], dtype=np.int64)) * dataset.dtype.itemsize


class _Journal:
    """Which shards of a store in the making are done; locked while somebody writes."""

    def __init__(self, path: Path, plan: str):
        # A worker of an earlier, other plan that outlived its master must not meet this file.
        self.partial = path.with_name(f".{path.name}.{plan[:12]}.partial")
        self._path = self.partial.with_suffix(".journal")
        self.done: dict[int, str] = {}
        if self.partial.exists() and self._path.exists():
            for line in self._path.read_text().splitlines():
                number, _, digest = line.partition(" ")
                if number.isdigit() and len(digest) == 64:  # a torn last line is no shard
                    self.done[int(number)] = digest
        # The line that was torn must not swallow the next one.
        self._file = open(self._path, "a")  # noqa: SIM115 - closed by locked()
        self._file.write("\n")

    def note(self, number: int, digest: str) -> None:
        """Write that a shard is done, unless it is written already."""
        if self.done.get(number) != digest:
            self._file.write(f"{number} {digest}\n")
            self._file.flush()

    @classmethod
    @contextmanager
    def locked(cls, path: Path, plan: str) -> Iterator[_Journal]:
        """Open the journal of a plan, alone; remove it when the store is whole or cannot be."""
        folder = os.open(path.parent, os.O_RDONLY)  # locked itself: no file is left behind
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(f"Another process is writing {path}: wait for its end.") from error
            journal = cls(path, plan)
            mine = (journal.partial, journal._path)
            for stale in path.parent.glob(f".{path.name}.*"):
                if stale not in mine and stale.suffix in (".partial", ".journal", ".new"):
                    stale.unlink()
            try:
                yield journal
            except InputError:
                journal.partial.unlink(missing_ok=True)  # unusable now, unusable the next time
                journal._path.unlink()
                raise
            else:
                journal._path.unlink()
            finally:
                journal._file.close()
        finally:
            os.close(folder)


def _refuse_twins(file: Any) -> None:
    """Raise InputError if frames of equal samples stand in two parts."""
    sizes = [len(file[part]["digest"]) for part in PARTS]
    starts = np.cumsum([0, *sizes])
    # Half of a digest leaves few pairs to look at; all of millions would take much memory.
    half = np.empty(starts[-1], "<u8")
    for part, start, size in zip(PARTS, starts, sizes, strict=False):
        half[start : start + size] = file[part]["digest"][:].view("<u8")[:, 0]
    order = np.argsort(half, kind="stable")
    half = half[order]
    alike = np.flatnonzero(half[1:] == half[:-1])
    home = np.repeat(np.arange(len(PARTS), dtype=np.int8), sizes)[order]

    def stored(place: int, name: str) -> Any:
        return file[PARTS[home[place]]][name][order[place] - starts[home[place]]]

    apart = [
        place
        for place in alike[home[alike] != home[alike + 1]].tolist()
        if (stored(place, "digest") == stored(place + 1, "digest")).all()
    ]
    if apart:
        one, other = sorted(
            [apart[0], apart[0] + 1], key=lambda place: stored(place, "source_index")
        )
        raise InputError(
            f"Frames {stored(one, 'source_index')} and {stored(other, 'source_index')} are the "
            f"same, and the split puts them into {PARTS[home[one]]} and {PARTS[home[other]]} "
            f"({len(apart)} such pairs): remove one of them from the source, or say "
            "-p drop_duplicates true."
        )
