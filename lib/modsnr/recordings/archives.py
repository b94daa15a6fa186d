"""Packed archives: what to unpack. They are listed, and nothing is unpacked but their beginning."""

from __future__ import annotations

import bz2
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection
from contextlib import suppress
from io import BytesIO
from pathlib import Path

ARCHIVE_EXTENSIONS = (
    *(".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz"),
    *(".zip", ".zst", ".7z", ".rar"),
)
ZIP = b"PK\x03\x04"
# By the first bytes of a file: what unpacks a beginning, to so many bytes at most.
UNPACKERS: dict[bytes, Callable[[bytes, int], bytes]] = {
    b"\x1f\x8b": lambda packed, most: zlib.decompressobj(31).decompress(packed, most),
    b"BZh": lambda packed, most: bz2.BZ2Decompressor().decompress(packed, most),
    b"\xfd7zX": lambda packed, most: lzma.LZMADecompressor(memlimit=2**28).decompress(packed, most),
}
HEAD = 2**24  # bytes of an archive that are read, and of its content, to list the first members
SHOWN = 5  # members


def is_packed(path: Path, start: bytes) -> bool:
    """Return whether a file is an archive, by its extension or its first bytes."""
    return path.suffix.lower() in ARCHIVE_EXTENSIONS or start.startswith((ZIP, *UNPACKERS))


def advice(path: Path, extensions: Collection[str]) -> str:
    """Return what to unpack from an archive: its members of these extensions, or all."""
    names = [name for name in _members(path) if not Path(name).name.startswith(".")]
    wanted = [name for name in names if name.lower().endswith(tuple(extensions))] or names
    if not names:
        return f"{path} is a damaged archive, or of a kind that is not listed: unpack it first."
    shown = ", ".join(repr(name[-100:]) for name in wanted[:SHOWN]) + ", ..." * (
        len(wanted) > SHOWN
    )
    return (
        f"{path} is a packed archive: unpack it first, and give the path of what is in it: {shown}."
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
            head = file.read(HEAD)
        packed = [unpack for magic, unpack in UNPACKERS.items() if head.startswith(magic)]
        if not packed and head[257:262] != b"ustar":
            return []
        head = packed[0](head, HEAD) if packed else head
    except (OSError, lzma.LZMAError, zipfile.BadZipFile, zlib.error):
        return []
    names: list[str] = []
    with suppress(tarfile.TarError), tarfile.open(fileobj=BytesIO(head), mode="r:") as archive:
        names += (member.name for member in archive if member.isfile())  # ends with the head
    return names or [path.stem]
