"""Packed archives: what to unpack. They are listed, and nothing is unpacked but their beginning."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Collection
from contextlib import suppress
from io import BytesIO
from pathlib import Path

ARCHIVE_EXTENSIONS = (
    *(".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zip", ".zst", ".7z", ".rar"),
)
OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zX": lzma.open}
ZIP = b"PK\x03\x04"
HEAD = 2**24  # bytes of the content that are unpacked, in memory, to list the first members
SHOWN = 5  # members


def is_packed(path: Path) -> bool:
    """Return whether a file is an archive, by its extension or its first bytes."""
    if path.suffix.lower() in ARCHIVE_EXTENSIONS:
        return True
    with open(path, "rb") as file:
        return file.read(4).startswith((ZIP, *OPENERS))


def advice(path: Path, extensions: Collection[str]) -> str:
    """Return what to unpack from an archive: its members of these extensions, or all."""
    names = _members(path)
    wanted = [name for name in names if name.lower().endswith(tuple(extensions))] or names
    shown = ", ".join(repr(name[-100:]) for name in wanted[:SHOWN])
    more = ", ..." * (len(wanted) > SHOWN)
    if not shown:
        shown = "it cannot be listed, and may be cut short"
    return (
        f"{path} is a packed archive: unpack it first, and give the path of what is in it: "
        f"{shown}{more}."
    )


def _members(path: Path) -> list[str]:
    """Return the names of the files in an archive, of a long one the first; none if it is damaged.

    What is no tar holds one file, which has the name of the archive without its extension.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return [entry.filename for entry in archive.infolist() if not entry.is_dir()]
        with open(path, "rb") as file:
            start = file.read(4)
        packed = [opener for magic, opener in OPENERS.items() if start.startswith(magic)]
        if not packed and path.suffix.lower() != ".tar":
            return []
        with (packed[0] if packed else open)(path, "rb") as file:
            head = file.read(HEAD)
    except (EOFError, OSError, lzma.LZMAError, zipfile.BadZipFile, zlib.error):
        return []
    names: list[str] = []
    with suppress(tarfile.TarError), tarfile.open(fileobj=BytesIO(head), mode="r:") as archive:
        names += (member.name for member in archive if member.isfile())  # ends with the head
    return names or [path.stem]
