"""Writing a store of frames: in shards, by any number of processes, and resumed after any death.

Where each frame goes follows from labels and split alone. So the file is laid out first, at full
size, and shards of the source are then read, checked, quantised and put in their places, in any
order. A journal beside the file lists the shards that are done: after a kill, the same call checks
those against the journal and writes only the others. The store takes its name when it is whole.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import h5py
import numpy as np
from filelock import Timeout

from modsnr import InputError, files
from modsnr.frames.labelled import PARTS, Source, check, usable
from modsnr.frames.split import split_hash
from modsnr.frames.store import (
    DIGEST_BYTES,
    FORMAT_VERSION,
    arrays,
    content_hash,
    digests,
    quantise,
    repeated,
)

SHARD_FRAMES = 1024  # 8 MB of samples at a time: what a process holds
SEAL_BYTES = 512  # room for the seal: JSON with the content hash, written last

# Like ``map``: the results of a function over items, in any order, as they come.
Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


def write(
    path: Path | str,
    source: Source,
    part_of: np.ndarray,
    *,
    split_seed: int,
    source_hash: str = "",
    run: str = "",
    each: Each = map,
    progress: Callable[[int], object] | None = None,
) -> str:
    """Write a store of a source's frames, and return its content hash.

    ``part_of`` [frame] is what ``split`` returned for ``split_seed``. ``each`` is ``map`` or like
    it, and may run in other processes, to which ``source.read`` is then sent. ``progress`` is
    called with the number of frames done since its last call.

    Every frame is checked. No frame may stand in two parts: frames of equal samples are found by
    their digests. After a kill, the same call goes on where the killed one stopped, and ends in the
    same content hash. After an error there is nothing under ``path``, or the old store.

    Raises InputError for frames that cannot be used, for a disk without room, and while another
    process writes the same store.
    """
    path = Path(path)
    attributes = {
        "format_version": FORMAT_VERSION,
        "classes": list(source.classes),
        "snr_definition": source.snr_definition,
        "source": source.kind,
        "source_hash": source_hash,
        "split_seed": split_seed,
        "split_hash": split_hash(part_of),
    } | ({"findings": list(source.findings)} if source.findings else {})
    # Names with the plan: what orphaned processes of an earlier plan write does not end up here.
    stem = f".{path.name}.{_plan(source, attributes)[:12]}"
    partial, journal = (path.with_name(f"{stem}.{kind}") for kind in ("partial", "journal"))
    with _locked(path):
        for stale in path.parent.glob(f".{path.name}.*"):
            if stale not in (partial, journal):
                stale.unlink()
        try:
            with _full_disk_refused(path.parent):
                if not (partial.exists() and journal.exists()):
                    _lay_out(partial, source, part_of, attributes)
                _fill(partial, journal, source, part_of, each, progress)
                content = _seal(partial, run)
        except InputError:  # the frames are unusable now, and will be the next time
            partial.unlink(missing_ok=True)
            journal.unlink(missing_ok=True)
            raise
        partial.replace(path)
        journal.unlink()
    return content


def _plan(source: Source, attributes: dict[str, Any]) -> str:
    """Return a hash of everything that decides what is written."""
    plan = hashlib.sha256(json.dumps([attributes, source.samples]).encode())
    settings: object = getattr(source.read, "read", source.read)  # of what the receiver reads
    if is_dataclass(settings):  # a simulator, whose channel is among its settings
        plan.update(repr(settings).encode())
    for array in (source.modulation, source.snr_db, source.rows):
        plan.update(str(array.dtype).encode())
        plan.update(array.tobytes())
    return plan.hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        with files.lock(path.parent / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise InputError(f"Another process is writing {path}: wait for its end.") from error


@contextmanager
def _full_disk_refused(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise InputError(
            f"There is no room at {folder} ({shutil.disk_usage(folder).free / 1e9:.2f} GB are "
            "free, unless a quota says otherwise): free some, or set MODSNR_ROOT to a larger disk."
        ) from error


def cleaned(
    source: Source,
    *,
    unusable: bool = False,
    duplicates: bool = False,
    each: Each = map,
    progress: Callable[[int], object] | None = None,
) -> Source:
    """Return a source without its frames that cannot be used, and without those that came before.

    All frames are read once, in stretches. ``unusable`` are those with NaN or infinite samples or
    without power; ``duplicates`` have the digest that a store would give to an earlier frame that
    can be used. The source's facts count either. ``each`` and ``progress`` are as for ``write``.

    Raises InputError if no frame is left.
    """
    good = np.ones(len(source), bool)
    found = np.zeros((len(source), DIGEST_BYTES), np.uint8)
    starts = range(0, len(source), SHARD_FRAMES)
    stretches = ((start, source[start : start + SHARD_FRAMES]) for start in starts)
    for start, can_be_used, part in each(_survey_shard, stretches):
        good[start : start + len(part)] = can_be_used
        found[start : start + len(part)] = part
        if progress is not None:
            progress(len(part))
    kept, facts = np.ones(len(source), bool), dict(source.facts)
    if unusable:
        kept &= good
        facts["unusable frames, left out"] = int((~good).sum())
    if duplicates:
        later = np.zeros(len(source), bool)
        later[good] = repeated(found[good])
        kept &= ~later
        facts["repeated frames, left out"] = int(later.sum())
    if not kept.any():
        raise InputError(
            f"None of the {len(source)} frames can be used: all hold NaN or infinite samples or "
            "have no power."
        )
    return replace(source[kept], facts=facts)


def _survey_shard(stretch: tuple[int, Source]) -> tuple[int, np.ndarray, np.ndarray]:
    start, source = stretch
    iq = source.frames().iq
    good = usable(iq)
    return start, good, digests(quantise(np.where(good[:, None], iq, 1))[0])


# Shards


@dataclass(frozen=True)
class _Shard:
    """A stretch of the source, and where its arrays go: byte and length, int64 [part, array]."""

    partial: Path
    number: int
    source: Source
    part_of: np.ndarray
    places: np.ndarray
    lengths: np.ndarray
    checksum: str  # of its bytes, if the journal has it; else empty


def _fill(
    partial: Path,
    journal: Path,
    source: Source,
    part_of: np.ndarray,
    each: Each,
    progress: Callable[[int], object] | None,
) -> None:
    """Write all shards that the journal does not have."""
    lines = journal.read_text() if journal.exists() else ""
    done = dict(re.findall(r"^(\d+) ([0-9a-f]{8})$", lines, re.MULTILINE))  # no torn line
    with open(journal, "a") as log:
        log.write("\n")  # so that a torn last line does not swallow the next one
        for number, checksum in each(_write_shard, _shards(partial, source, part_of, done)):
            log.write(f"{number} {checksum}\n")
            log.flush()
            if progress is not None:
                progress(min(SHARD_FRAMES, len(source) - number * SHARD_FRAMES))


def _shards(
    partial: Path, source: Source, part_of: np.ndarray, done: dict[str, str]
) -> Iterator[_Shard]:
    one_frame = arrays(1, source.samples, len(source.findings))
    width = np.array([np.empty(shape, kind).nbytes for shape, kind in one_frame.values()])
    with h5py.File(partial, "r") as opened:
        file: Any = opened
        # An empty array has no place, and needs none.
        places = [[file[part][name].id.get_offset() or 0 for name in one_frame] for part in PARTS]
    at = np.array(places)
    for number, start in enumerate(range(0, len(source), SHARD_FRAMES)):
        stretch = slice(start, start + SHARD_FRAMES)
        mine = part_of[stretch]
        lengths = np.bincount(mine, minlength=len(PARTS))[:, None] * width
        checksum = done.get(str(number), "")
        yield _Shard(partial, number, source[stretch], mine, at, lengths, checksum)
        at = at + lengths


def _write_shard(shard: _Shard) -> tuple[int, str]:
    """Put one shard in its place, unless it is there; return its number and its checksum."""
    # Not through h5py: only one process at a time may open a file of HDF5 for writing.
    with open(shard.partial, "r+b") as file:
        checksum = 0
        if shard.checksum:
            for place, length in zip(shard.places.flat, shard.lengths.flat, strict=True):
                file.seek(place)
                checksum = crc32(file.read(length), checksum)
            if f"{checksum:08x}" == shard.checksum:
                return shard.number, shard.checksum
        checksum = 0
        for place, array in zip(shard.places.flat, _arrays_of(shard), strict=True):
            file.seek(place)
            file.write(array.data)
            checksum = crc32(array.data, checksum)
    return shard.number, f"{checksum:08x}"


def _arrays_of(shard: _Shard) -> list[np.ndarray]:
    """Return the arrays of a shard as the file has them: those of each part in turn."""
    source = shard.source
    frames = check(source.frames(), samples=source.samples, rows=source.rows)
    iq, step = quantise(frames.iq)
    found = {
        "iq": iq,
        "step": step,
        "modulation": frames.modulation,
        "snr_db": frames.snr_db,
        "source_index": source.rows,
        "digest": digests(iq),
        "findings": frames.findings,
    }
    del frames
    return [
        found[name][shard.part_of == part].astype(kind, copy=False)
        for part in range(len(PARTS))
        for name, (_, kind) in arrays(0, 0, len(source.findings)).items()
    ]


# The file


def _lay_out(
    partial: Path, source: Source, part_of: np.ndarray, attributes: dict[str, Any]
) -> None:
    """Create the file at its full size: contiguous arrays, which have their places at once."""
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    options = {"dcpl": layout, "track_times": False}  # the same store is the same bytes
    with h5py.File(partial, "w") as file:
        file.attrs.update(attributes)
        file.create_dataset("seal", (SEAL_BYTES,), "u1", **options)
        for part, size in zip(PARTS, np.bincount(part_of, minlength=3).tolist(), strict=True):
            group = file.create_group(part)
            for name, (shape, kind) in arrays(size, source.samples, len(source.findings)).items():
                group.create_dataset(name, shape, kind, **options)
    with open(partial, "r+b") as raw:
        os.posix_fallocate(raw.fileno(), 0, os.fstat(raw.fileno()).st_size)


def _seal(partial: Path, run: str) -> str:
    """Refuse equal frames in two parts; else write the seal, and return the content hash."""
    with h5py.File(partial, "r+") as opened:
        file: Any = opened
        _refuse_twins(file)
        content = content_hash(file)
        seal = json.dumps({"content_hash": content, "run": run}).encode()
        file["seal"][:] = np.frombuffer(seal.ljust(SEAL_BYTES, b"\0"), np.uint8)
    return content


def _refuse_twins(file: Any) -> None:
    """Raise InputError if frames of equal samples stand in two parts."""
    found = [file[part]["digest"][:] for part in PARTS]
    digest = np.concatenate(found).view("<u8")
    home = np.repeat(np.arange(len(PARTS), dtype=np.int8), [len(part) for part in found])
    order = np.lexsort(digest.T)
    digest, home = digest[order], home[order]
    apart = (digest[1:] == digest[:-1]).all(1) & (home[1:] != home[:-1])
    if apart.any():
        index = np.concatenate([file[part]["source_index"][:] for part in PARTS])[order]
        one, other = sorted(apart.argmax() + np.arange(2), key=lambda place: index[place])
        raise InputError(
            f"Frames {index[one]} and {index[other]} are the same, and the split puts them into "
            f"{PARTS[home[one]]} and {PARTS[home[other]]} ({apart.sum()} such pairs): remove one "
            "of them from the source, or pass -p drop_duplicates true."
        )
