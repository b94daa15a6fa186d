"""Audio files as receivers write them: WAV, RF64, BW64, W64, AIFF, AU, FLAC, Ogg.

A writer that streams, crashes or passes 4 GiB leaves a wrong length in the header, and libsndfile
believes it. So the samples of all but FLAC and Ogg are looked for here: they reach to the end of
the file unless whole chunks follow them.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from modsnr import InputError
from modsnr.recordings.samples import SUBTYPES, Recording, sample_size

EXTENSIONS = (
    *(".wav", ".wave", ".rf64", ".bw64", ".w64", ".aif", ".aiff", ".aifc"),
    *(".au", ".snd", ".flac", ".ogg", ".oga"),
)
# Of each container: byte order, name of the chunk of the format, of the samples.
RIFF = "<", b"fmt ", b"data"
CONTAINERS = {
    **dict.fromkeys((b"RIFF", b"RF64", b"BW64", b"riff"), RIFF),  # the last: W64
    b"RIFX": (">", *RIFF[1:]),
    b"FORM": (">", b"COMM", b"SSND"),  # AIFF
}
AU = {b".snd": ">", b"dns.": "<"}
UNKNOWN = 0xFFFFFFFF  # a length that 32 bits cannot hold, or that was never written
MOST_CHUNKS = 10_000
MOST_SAMPLES = 2**40  # of FLAC, whose header holds 36 bits, and none in a stream
LOSSY = ("VORBIS", "OPUS")
STRAY = 8  # fewer bytes than this at the end are no chunk, and are ignored


class Samples(NamedTuple):
    """The samples of a file that libsndfile can decode as raw ones."""

    header: bytes  # of a file of the same format without samples, for libsndfile
    order: str  # "<" or ">"
    offset: int  # bytes before the first sample
    size: int  # bytes of samples that are there
    declared: int  # bytes of samples by the header
    block: int | None  # bytes of one sample by the header


def open_audio(path: Path) -> Recording:
    """Return the recording in an audio file: two channels are I and Q, one is a real signal.

    All whole samples are read, whatever length the header declares; if that differs, a note says
    so. Raises InputError for what is no such file, or has no samples.
    """
    from soundfile import SoundFile, SoundFileError

    found = _find_samples(path)
    try:
        with SoundFile(BytesIO(found.header) if found else path) as file:
            rate, real = float(file.samplerate), file.channels == 1
    except SoundFileError as error:
        reason = str(error).rpartition(": ")[2]
        raise InputError(
            f"{path} is no audio file, or a damaged one ({reason}) If another program plays it, "
            "convert it to WAV."
        ) from error
    known = set(SUBTYPES.values()) | (set() if found else set(LOSSY))
    if file.subtype not in known or not (found or file.format in ("FLAC", "OGG")):
        raise InputError(
            f"{path} is a {file.format} of {file.subtype}, or has no samples; WAV, AIFF and AU of "
            f"{', '.join(SUBTYPES.values())}, FLAC and Ogg can be read."
        )
    if file.channels not in (1, 2):
        raise InputError(
            f"{path} has {file.channels} channels; two (I and Q) or one (a real signal) can be "
            "read."
        )
    kind, facts = file.format.removesuffix("EX"), {"datatype": file.subtype_info}
    if not found:
        samples, notes = _readable(path, file.frames), ()
        if samples != file.frames:
            notes = (
                f"The file was streamed or cut short: its first {samples:,} samples are read.",
            )
        elif file.subtype in LOSSY:
            notes = ("It was compressed for human ears: SNRs and spectrum are not those received.",)
        return Recording(path, kind, rate, samples, real, facts=facts, notes=notes)
    number = next(name for name, subtype in SUBTYPES.items() if subtype == file.subtype)
    order = {"LITTLE": "<", "BIG": ">"}.get(file.endian, found.order)
    datatype = f"{'r' if real else 'c'}{number}" + {"<": "_le", ">": "_be"}[order]
    block = sample_size(datatype)
    if found.block not in (None, block):
        raise InputError(
            f"{path}: its header is damaged: a sample takes {block} bytes, not the {found.block} "
            "that it declares."
        )
    samples, notes = found.size // block, ()
    if samples * block != found.declared:
        notes = (
            f"The header declares {found.declared:,} bytes of samples, but {found.size:,} are "
            f"there, as if it was streamed, cut short or larger than 4 GiB: all {samples:,} whole "
            "samples are read.",
        )
    return Recording(path, kind, rate, samples, real, datatype, found.offset, (), facts, notes)


def _readable(path: Path, declared: int) -> int:
    """Return how many samples of a compressed file can be read, one less if the end is missing."""
    from soundfile import SoundFile, SoundFileError

    def fails(place: int) -> bool:
        try:
            with SoundFile(path) as file:
                file.seek(place)
        except SoundFileError:
            return True
        return False

    if not fails(declared - 1):
        return declared
    return max(0, bisect_left(range(min(declared, MOST_SAMPLES)), True, key=fails) - 1)


def _find_samples(path: Path) -> Samples | None:
    """Return where a file's samples are; None: it is FLAC, Ogg or unknown, or has no samples."""
    with path.open("rb") as file:
        start = file.read(40)
        end = file.seek(0, 2)
        if start[:4] in CONTAINERS:
            return _in_chunks(file, start, end)
    if start[:4] not in AU or len(start) < 24:
        return None
    order = AU[start[:4]]
    offset, declared = struct.unpack(f"{order}II", start[4:12])
    header = start[:4] + struct.pack(f"{order}II", 24, 0) + start[12:24]
    size = max(0, end - offset)  # nothing follows the samples
    return Samples(header, order, offset, size, size if declared == UNKNOWN else declared, None)


def _in_chunks(file: BinaryIO, start: bytes, end: int) -> Samples | None:
    order, format_name, samples_name = CONTAINERS[start[:4]]
    wide, form, size_of_ds64 = start[:4] == b"riff", b"", None
    for name, place, length in _chunks(file, 40 if wide else 12, order, wide=wide):
        if name == samples_name:
            offset, declared = place, length
            break
        if name == format_name:
            form = file.read(min(length, 1024))
        elif name == b"ds64" and len(sizes := file.read(16)) == 16:
            size_of_ds64 = struct.unpack("<8xQ", sizes)[0]
    else:
        return None
    if declared == UNKNOWN and size_of_ds64 is not None:
        declared = size_of_ds64
    if samples_name == b"SSND":  # two numbers come first: bytes to skip, and an alignment
        skipped, block = 8 + int.from_bytes(file.read(4), "big"), None
        offset, declared = offset + skipped, max(0, declared - skipped)
        kind, last = start[8:12], b"SSND" + struct.pack(">III", 8, 0, 0)
    else:
        block = struct.unpack(f"{order}H", form[12:14].ljust(2, b"\0"))[0]
        kind, last = b"WAVE", b"data" + bytes(4)
    content = kind + format_name + struct.pack(f"{order}I", len(form)) + form + last
    family = start[:4] if order == ">" else b"RIFF"
    header = family + struct.pack(f"{order}I", len(content)) + content
    size = max(0, end - offset)
    # A length of 32 bits lacks a multiple of 4 GiB if the file is that large.
    for likely in range(declared, size + 1, 2**32):
        after = offset + likely
        following = _chunks(file, after + -after % (8 if wide else 2), order, wide=wide)
        last_end = max((place + length for _, place, length in following), default=after)
        if abs(end - last_end) < STRAY:
            size = likely
            break
    return Samples(header, order, offset, size, declared, block)


def _chunks(
    file: BinaryIO, place: int, order: str, *, wide: bool
) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, offset and declared size of chunks up to what cannot be one; read from there."""
    head = struct.Struct(f"{order}4s12xQ" if wide else f"{order}4sI")  # a GUID names those of W64
    for _ in range(MOST_CHUNKS):
        file.seek(min(place, 2**62))  # beyond any file's end
        found = file.read(head.size)
        if len(found) < head.size:
            return
        name, size = head.unpack(found)
        size -= head.size if wide else 0
        if size < 0 or not all(0x20 <= byte < 0x7F for byte in name):
            return
        yield name, place + head.size, size
        place += head.size + size
        place += -place % (8 if wide else 2)
