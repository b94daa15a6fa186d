"""How a foreign file is known again: its size and time of change, and a hash of its bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from modsnr import InputError, files

PIECE = 2**20  # bytes hashed at a time
PIECES = 64  # of a file that is not hashed whole


class FileState(NamedTuple):
    """A file's size in bytes and its time of change, by which a reader knows it again."""

    size: int
    changed: int


def state_of(path: Path) -> FileState:
    """Return a file's state; raise InputError if there is none, or nothing in it."""
    with files.reading(path):
        if not path.is_file():
            raise InputError(f"There is no file {path}.")
        status = path.stat()
    if not status.st_size:
        raise InputError(f"{path} is empty: fetch it again.")
    return FileState(status.st_size, status.st_mtime_ns)


def refuse_change(path: Path, then: FileState) -> None:
    """Raise InputError unless a file is still in the state in which it was opened."""
    now = state_of(path)
    if then != now:
        raise InputError(
            f"{path} has changed since it was opened ({then.size} bytes then, {now.size} now): "
            "open it again once nothing writes to it."
        )


def fingerprint(path: Path | str, *, whole: bool = False) -> str:
    """Return a hash of the bytes of a file or folder, by which it is known again; empty for none.

    Of a folder all files count, with their names. Unless ``whole``, only 64 pieces of 1 MiB of a
    large file are read, spread evenly from its first byte to its last, and its size: enough to
    distinguish two files, not to find a flipped bit. The result shows which of the two it is.
    """
    path = Path(path)
    if path == Path():
        return ""
    inner = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    total, sampled = hashlib.sha256(), False
    for file in inner:
        size = file.stat().st_size
        if file != path:
            total.update(f"{file.relative_to(path)} {size}\n".encode())
        places = range(0, size, PIECE)
        if not whole and len(places) > PIECES:
            sampled = True
            total.update(str(size).encode())
            places = [round(k * (size - PIECE) / (PIECES - 1)) for k in range(PIECES)]
        with files.reading(file), open(file, "rb", buffering=0) as opened:
            for place in places:
                opened.seek(place)
                total.update(opened.read(PIECE))
    return f"{'sampled ' if sampled else ''}sha256:{total.hexdigest()}"
