"""Ground floor: whole-or-nothing writes, locks between processes, nearest names.

Every package may import this module; it imports none of them.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from uuid import uuid4

from filelock import FileLock

from modsnr import InputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``, which takes its place at the end.

    A reader, and a kill at any instant, finds the old file or the new one. The folder is made. An
    error within the block removes the temporary file and leaves ``path`` as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: str | Path, content: str | bytes) -> None:
    """Write a file, whole or not at all; text as UTF-8."""
    with replacing(path) as temporary:
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode())


def lock(path: str | Path, *, timeout: float = -1) -> FileLock:
    """Return a lock between processes, to be held by ``with``; its folder is made.

    The system releases it when the holder dies, however it dies. ``timeout`` is in seconds; -1
    waits for ever, and 0 raises ``filelock.Timeout`` at once where another process holds it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, timeout=timeout)


def hold(path: str | Path) -> int:
    """Lock a file and return it, open: the lock lasts until every process that has it is gone.

    By flock itself, since a process hands this lock on to those that it starts.
    """
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def is_held(path: str | Path) -> bool | None:
    """Return whether a living process holds the lock on a file; None if there is no such file."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        # A shared lock: two who look at once do not take each other for the holder.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Raise InputError, with what to do, where the machine keeps a file from being read within.

    An OSError without a number comes from what the file holds, and goes through.
    """
    try:
        yield
    except OSError as error:
        if not error.errno:
            raise
        why = os.strerror(error.errno)
        if "unable to lock file" in str(error):  # HDF5 locks what it reads
            why = (
                "another process has locked it to write to it, or its file system has no locks. "
                "Wait for the end of that process; if there is none, set HDF5_USE_FILE_LOCKING="
                "FALSE in the environment"
            )
        elif error.errno in (errno.EACCES, errno.EPERM):
            why += ". Ask its owner for the right to read it and to enter its folder"
        elif error.errno in (errno.EIO, errno.EREMOTEIO, errno.ESTALE, errno.ETIMEDOUT):
            why += ". Its disk or server fails: copy it to this machine's disk, or fetch it again"
        raise InputError(f"{path} cannot be read: {why}.") from error


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return "did you mean 'x'?" with the nearest of the names; "" if none is near."""
    near = get_close_matches(str(name), list(map(str, names)), n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else ""


def check_name(kind: str, name: str, names: Iterable[str], of: str = "") -> None:
    """Raise InputError, with the nearest name and all known ones, unless ``name`` is among them."""
    known = list(dict.fromkeys(names))
    if name in known:
        return
    hint = f"{did_you_mean(name, known)} ".lstrip()
    shown = ", ".join(known[:40]) + ", ..." * (len(known) > 40)
    raise InputError(f"no {kind}{of} is called {name!r}; {hint}known: {shown or 'none'}")
