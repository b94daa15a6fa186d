"""Recordings of a receiver as they lie on disk: SigMF, raw IQ and WAV, read piece by piece.

All three come down to one thing: numbers of one type from some byte of a file on. RIFF headers are
read here, not by ``scipy.io.wavfile``, which takes a 24-bit file into memory as a whole and
believes the lengths that a header declares.

Integers are scaled to -1..1 by their type's range, offset binary (unsigned) after its middle is
taken off; floats stay as they are. No later step looks at the scale.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import tarfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from modsnr import InputError

RAW_FORMATS = {"cf32": "<f4", "cf64": "<f8", "cs16": "<i2", "cs8": "<i1", "cu8": "<u1"}
RAW_EXTENSIONS = {
    **dict.fromkeys((".cf32", ".fc32", ".cfile", ".c64", ".complex64"), "cf32"),
    **dict.fromkeys((".cf64", ".complex128"), "cf64"),
    **dict.fromkeys((".cs16", ".sc16"), "cs16"),
    ".cs8": "cs8",
    ".cu8": "cu8",
}
SIGMF_EXTENSIONS = (".sigmf-meta", ".sigmf-data", ".sigmf")
LARGEST_SAMPLE = 1e15  # no receiver's unit; sums of squares stay within single precision
LARGEST_METADATA = 64 * 2**20  # bytes; JSON takes many times its size in memory

Annotation = tuple[int, int, str | None]  # first sample, number of samples, label


@dataclass(frozen=True)
class Numbers:
    """Where the numbers of a recording lie, and of which type they are."""

    path: Path
    offset: int  # bytes before the first number
    size: int  # bytes of numbers
    dtype: str  # NumPy's name of one number, or "24" for three little-endian bytes

    @property
    def item_size(self) -> int:
        return 3 if self.dtype == "24" else np.dtype(self.dtype).itemsize

    def read(self, start: int, count: int) -> np.ndarray:
        """Return float32 [number], scaled. Raises InputError if the file has not so many now."""
        item = self.item_size
        raw = np.dtype("u1" if self.dtype == "24" else self.dtype)
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset + start * item)
                numbers = np.fromfile(file, raw, count * item // raw.itemsize)
        except OSError as error:
            raise InputError(f"{self.path} can no longer be read: {error.strerror}.") from error
        if numbers.nbytes != count * item:
            raise InputError(
                f"{self.path} was cut short while it was read: {count * item} bytes are expected "
                f"from byte {self.offset + start * item} on, {numbers.nbytes} are there."
            )
        if self.dtype == "24":
            wide = np.zeros((count, 4), np.uint8)
            wide[:, 1:] = numbers.reshape(count, 3)  # above a zero byte, so that the sign is right
            numbers = wide.view("<i4")[:, 0]
        with np.errstate(over="ignore", invalid="ignore"):  # ``Recording.read`` refuses the result
            scaled = numbers.astype(np.float32)
        if numbers.dtype.kind in "iu":
            half = 2.0 ** (8 * numbers.dtype.itemsize - 1)
            scaled -= np.float32(half if numbers.dtype.kind == "u" else 0)
            scaled /= np.float32(half)
        return scaled


@dataclass(frozen=True)
class Recording:
    """A recording that can be read; it holds no open file, so it can be sent to a process."""

    path: Path
    kind: str  # "SigMF", "raw IQ" or "WAV"
    sample_rate: float | None  # Hz; None: unknown
    samples: int
    real: bool  # a real signal at an intermediate frequency, not IQ
    numbers: Numbers
    annotations: tuple[Annotation, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)  # for the data card: names to numbers, text

    def read(self, start: int, count: int) -> np.ndarray:
        """Return samples ``start`` to ``start + count``: complex64 [sample], float32 if ``real``.

        Only these are read from the file. Raises InputError for samples outside the recording,
        for NaN, infinite and absurdly large ones, and if the file is gone or cut short.
        """
        if start < 0 or count < 0 or start + count > self.samples:
            raise InputError(
                f"{self.path} has samples 0 to {self.samples - 1}; {count} from {start} on are "
                "not there."
            )
        width = 1 if self.real else 2
        values = self.numbers.read(start * width, count * width)
        wrong = ~(np.abs(values) <= LARGEST_SAMPLE)
        if wrong.any():
            raise InputError(
                f"{self.path} holds samples that are NaN, infinite or beyond {LARGEST_SAMPLE:g}, "
                f"the first at index {start + int(wrong.argmax()) // width}: it is damaged, or of "
                "another format."
            )
        return values if self.real else values.view(np.complex64)


def open_recording(path: Path | str, *, iq_format: str = "", sample_rate: float = 0.0) -> Recording:
    """Return the recording in a file; its samples are read when asked for.

    - SigMF by its .sigmf-meta, its .sigmf-data, the stem of both, or a .sigmf archive (a plain
      tar); the SHA-512 is checked if there is one. One channel of a conforming dataset only.
    - raw IQ by its extension, or with ``iq_format``: cf32 cf64 (floats) cs16 cs8 (signed) cu8
      (offset binary, as RTL-SDR writes it), little-endian pairs.
    - WAV: two channels are I and Q, one is a real signal at an intermediate frequency.

    ``sample_rate`` in Hz is for files that do not say their own; 0: unknown.

    Raises InputError for anything that is none of these, or damaged, or contradicts itself.
    """
    path = Path(path)
    if not (math.isfinite(sample_rate) and sample_rate >= 0):
        raise InputError(f"sample_rate must be finite and not negative; it is {sample_rate}.")
    if iq_format and iq_format not in RAW_FORMATS:
        raise InputError(f"iq_format must be one of {_choices()}; it is {iq_format!r}.")
    suffix = path.suffix.lower()
    if iq_format or suffix in RAW_EXTENSIONS:
        name = iq_format or RAW_EXTENSIONS[suffix]
        recording = _raw(path, name)
    elif suffix in SIGMF_EXTENSIONS or _beside(path, ".sigmf-meta").is_file():
        recording = _sigmf_archive(path) if suffix == ".sigmf" else _sigmf(path)
    elif suffix in (".wav", ".wave"):
        recording = _wav(path)
    else:
        _size(path)  # a missing file is to be called missing
        raise InputError(
            f"{path}: the extension {path.suffix!r} does not tell what it holds. Known are "
            f"{' '.join((*SIGMF_EXTENSIONS, '.wav', *RAW_EXTENSIONS))}; for other raw IQ pass "
            f"iq_format: {_choices()}."
        )
    if recording.samples < 2:
        raise InputError(f"{path} holds {recording.samples} samples: that is no recording.")
    if sample_rate and recording.sample_rate not in (None, sample_rate):
        raise InputError(
            f"{path} says its sample rate is {recording.sample_rate:g} Hz, sample_rate says "
            f"{sample_rate:g}: leave it out, or mend the file."
        )
    rate = recording.sample_rate or sample_rate or None
    return Recording(**{**vars(recording), "sample_rate": rate})


def _choices() -> str:
    return ", ".join(RAW_FORMATS)


def _size(path: Path) -> int:
    try:
        if not path.is_file():
            raise InputError(f"There is no file {path}.")
        return path.stat().st_size
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def _samples(numbers: Numbers, real: bool) -> int:
    item = numbers.item_size * (1 if real else 2)
    if numbers.size % item:
        raise InputError(
            f"{numbers.path} holds {numbers.size} bytes of samples, which is not a multiple of "
            f"{item}, the size of one: it is cut short, or of another format."
        )
    return numbers.size // item


def _raw(path: Path, name: str) -> Recording:
    numbers = Numbers(path, 0, _size(path), RAW_FORMATS[name])
    samples = _samples(numbers, real=False)
    return Recording(path, "raw IQ", None, samples, False, numbers, facts={"datatype": name})


# SigMF


def _beside(path: Path, suffix: str) -> Path:
    """Return the path of the stem with another SigMF ending; other dots belong to the stem."""
    stem = path.with_suffix("") if path.suffix.lower() in SIGMF_EXTENSIONS else path
    return stem.with_name(stem.name + suffix)


def _sigmf(path: Path) -> Recording:
    meta, data = _beside(path, ".sigmf-meta"), _beside(path, ".sigmf-data")
    if _size(meta) > LARGEST_METADATA:
        raise InputError(f"{meta} is larger than {LARGEST_METADATA} bytes: no metadata is.")
    try:
        text = meta.read_bytes()
    except OSError as error:
        raise InputError(f"{meta} cannot be read: {error.strerror}.") from error
    return _described(_metadata(text, meta), data, 0, _size(data))


def _sigmf_archive(path: Path) -> Recording:
    _size(path)
    try:
        with tarfile.open(path, "r:") as archive:
            found = {}
            for suffix in (".sigmf-meta", ".sigmf-data"):
                members = [m for m in archive if m.isreg() and m.name.endswith(suffix)]
                if len(members) != 1 or members[0].issparse():
                    raise InputError(f"{path} holds {len(members)} files *{suffix}; one is needed.")
                found[suffix] = members[0]
            meta, data = found[".sigmf-meta"], found[".sigmf-data"]
            if meta.size > LARGEST_METADATA or data.offset_data + data.size > _size(path):
                raise InputError(f"{path} is cut short, or declares sizes that no archive has.")
            file = archive.extractfile(meta)
            text = file.read() if file else b""
    except (tarfile.TarError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no plain tar archive, or a damaged one: {error}.") from error
    return _described(_metadata(text, path), path, data.offset_data, data.size)


@lru_cache(1)
def _validator() -> Any:
    from jsonschema.validators import validator_for  # here: only SigMF needs them
    from sigmf.schema import get_schema

    schema = get_schema()
    return validator_for(schema)(schema)


def _metadata(text: bytes, path: Path) -> dict[str, Any]:
    from jsonschema.exceptions import best_match

    try:
        metadata = json.loads(text.decode("utf-8"))
        complaint = best_match(_validator().iter_errors(metadata))
    except (ValueError, RecursionError) as error:  # bad JSON, bad UTF-8, nested without end
        raise InputError(f"{path} holds no JSON that can be read: {error}.") from error
    if complaint is not None:
        place = "/".join(map(str, complaint.absolute_path)) or "the whole"
        raise InputError(f"{path} is no valid SigMF metadata: {place}: {complaint.message[:200]}.")
    return metadata


def _described(metadata: dict[str, Any], data: Path, offset: int, size: int) -> Recording:
    info, captures = metadata["global"], metadata["captures"]
    if info.get("core:num_channels", 1) != 1:
        raise InputError(
            f"{data} holds {info['core:num_channels']} interleaved channels; split it into one "
            "recording a channel."
        )
    headers = any(capture.get("core:header_bytes") for capture in captures)
    if headers or info.get("core:trailing_bytes") or info.get("core:dataset"):
        raise InputError(f"{data} is a non-conforming SigMF dataset; convert it to a plain one.")
    numbers = Numbers(data, offset, size, _dtype(info["core:datatype"], data))
    real = info["core:datatype"].startswith("r")
    samples = _samples(numbers, real)
    checked = _check_hash(numbers, info.get("core:sha512"))

    first = int(info.get("core:offset", 0))  # indices are absolute, counted from here
    for number, capture in enumerate(captures):
        if not 0 <= int(capture["core:sample_start"]) - first < max(samples, 1):
            raise InputError(
                f"{data} has {samples} samples from {first} on, but capture {number} starts at "
                f"{capture['core:sample_start']}: the file is cut short, or not the one described."
            )
    borders = [int(capture["core:sample_start"]) - first for capture in captures] + [samples]
    annotations = []
    for number, annotation in enumerate(metadata["annotations"]):
        start = int(annotation["core:sample_start"]) - first
        # Without a count an annotation reaches to the end of its capture, says the standard.
        end = min((border for border in borders if border > start), default=samples)
        count = int(annotation.get("core:sample_count", max(end - start, 0)))
        if start < 0 or start + count > samples:
            raise InputError(
                f"{data} has {samples} samples from {first} on, but annotation {number} covers "
                f"{count} from {start + first} on: the file is cut short, or not the one described."
            )
        annotations.append((start, count, annotation.get("core:label")))

    rate = info.get("core:sample_rate")
    if rate is not None and not 0 < rate < math.inf:
        raise InputError(f"{data}: core:sample_rate must be positive and finite; it is {rate}.")
    facts = {
        "datatype": info["core:datatype"],
        "SHA-512 checked": checked,
        "centre frequency, Hz": captures[0].get("core:frequency") if captures else None,
        "hardware": info.get("core:hw"),
        "description": info.get("core:description"),
        "author": info.get("core:author"),
        "licence": info.get("core:license"),
    }
    return Recording(
        path=data,
        kind="SigMF",
        sample_rate=None if rate is None else float(rate),
        samples=samples,
        real=real,
        numbers=numbers,
        annotations=tuple(annotations),
        facts={name: value for name, value in facts.items() if value is not None},
    )


def _dtype(datatype: str, path: Path) -> str:
    """Return NumPy's name of one number of a SigMF datatype."""
    order = {"_le": "<", "_be": ">"}
    kind, _, _ = datatype[1:].partition("_")
    if kind in ("i8", "u8") and datatype[3:] in ("", "_le", "_be"):
        return kind[0] + "1"
    if kind in ("f64", "f32", "i32", "u32", "i16", "u16") and datatype[4:] in order:
        return f"{order[datatype[4:]]}{kind[0]}{int(kind[1:]) // 8}"
    raise InputError(f"{path}: {datatype!r} is no SigMF datatype, which ends in _le or _be.")


def _check_hash(numbers: Numbers, expected: str | None) -> bool:
    """Return whether there was a hash to check. Raises InputError if it is another."""
    if expected is None:
        return False
    digest = hashlib.sha512()
    try:
        with open(numbers.path, "rb") as file:
            file.seek(numbers.offset)
            left = numbers.size
            while left and (block := file.read(min(left, 2**20))):
                digest.update(block)
                left -= len(block)
    except OSError as error:
        raise InputError(f"{numbers.path} cannot be read: {error.strerror}.") from error
    if digest.hexdigest() != expected.lower():
        raise InputError(
            f"{numbers.path} has not the SHA-512 that its metadata gives ({expected[:12]}...): it "
            "was changed or damaged; fetch it again."
        )
    return True


# WAV


def _wav(path: Path) -> Recording:
    size = _size(path)
    try:
        with open(path, "rb") as file:
            header, offset, length = _riff_chunks(file, size, path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    tag, channels, rate, _, block, bits = struct.unpack("<HHIIHH", header[:16])
    if tag == 0xFFFE and len(header) >= 26:  # extensible: the tag proper opens the sub-format
        (tag,) = struct.unpack("<H", header[24:26])
    dtypes = {(1, 8): "u1", (1, 16): "<i2", (1, 24): "24", (1, 32): "<i4"}
    dtypes |= {(3, 32): "<f4", (3, 64): "<f8"}
    if (tag, bits) not in dtypes:
        raise InputError(
            f"{path} is a WAV of {bits} bits of format {tag}; PCM of 8, 16, 24, 32 bits (format 1) "
            "and floats of 32, 64 bits (format 3) can be read."
        )
    if channels not in (1, 2):
        raise InputError(
            f"{path} has {channels} channels; two (I and Q) or one (a real signal) can be read."
        )
    if block != channels * bits // 8 or not rate:
        raise InputError(f"{path} has a WAV header that contradicts itself: it is damaged.")
    if length > size - offset:
        raise InputError(
            f"{path} is cut short: its header declares {length} bytes of samples, "
            f"{size - offset} are there."
        )
    numbers = Numbers(path, offset, length, dtypes[tag, bits])
    real = channels == 1
    facts = {"datatype": f"{'float' if tag == 3 else 'PCM'} {bits} bits, {channels} channels"}
    samples = _samples(numbers, real)
    return Recording(path, "WAV", float(rate), samples, real, numbers, facts=facts)


def _riff_chunks(file: BinaryIO, size: int, path: Path) -> tuple[bytes, int, int]:
    """Return the format chunk, and the first byte and the length of the samples."""
    opening = file.read(12)
    if len(opening) < 12 or opening[:4] not in (b"RIFF", b"RF64") or opening[8:] != b"WAVE":
        raise InputError(f"{path} is no WAV file: it does not begin with RIFF or RF64 and WAVE.")
    header, long_length, place = b"", None, 12
    for _ in range(1000):  # chunks; zeros where a file was damaged would make millions
        if place + 8 > size:
            break
        file.seek(place)
        name, length = struct.unpack("<4sI", file.read(8))
        if name == b"ds64":  # RF64 keeps lengths beyond 4 GB here
            body = file.read(16)
            long_length = struct.unpack("<8xQ", body)[0] if len(body) == 16 else None
        elif name == b"fmt ":
            header = file.read(min(length, 40))
        elif name == b"data":
            if len(header) < 16:
                raise InputError(f"{path} has no whole format chunk before its samples.")
            if opening[:4] == b"RF64" and long_length is not None and length == 0xFFFFFFFF:
                length = long_length
            return header, place + 8, length
        place += 8 + length + length % 2
    raise InputError(f"{path} has no samples: the WAV file is empty or cut short.")
