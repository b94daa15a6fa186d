"""Recordings of a receiver as they lie on disk: SigMF, raw IQ and WAV, read piece by piece.

The package sigmf decodes SigMF and raw IQ, which differ in where the datatype is written;
soundfile decodes WAV. Both believe what a header declares, so sizes, hashes and contradictions
are checked here.

Integers are scaled to -1..1 by their type's range, offset binary (unsigned) after its middle is
taken off; floats stay as they are. No later step depends on the scale.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tarfile
from dataclasses import dataclass, field, replace
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from modsnr import InputError

# Their names in SigMF.
RAW_FORMATS = {"cf32": "cf32_le", "cf64": "cf64_le", "cs16": "ci16_le", "cs8": "ci8", "cu8": "cu8"}
RAW_EXTENSIONS = {
    **dict.fromkeys((".cf32", ".fc32", ".cfile", ".c64", ".complex64"), "cf32"),
    **dict.fromkeys((".cf64", ".complex128"), "cf64"),
    **dict.fromkeys((".cs16", ".sc16"), "cs16"),
    ".cs8": "cs8",
    ".cu8": "cu8",
}
SIGMF_EXTENSIONS = (".sigmf-meta", ".sigmf-data", ".sigmf")
SIGMF_DATATYPE = re.compile(r"[cr]([iu]8(_[lb]e)?|([fiu]32|[iu]16|f64)_[lb]e)")
WAV_EXTENSIONS = (".wav", ".wave")
WAV_WIDTHS = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}  # bytes
LARGEST_SAMPLE = 1e15  # no receiver's unit; sums of squares stay within single precision
LARGEST_METADATA = 64 * 2**20  # bytes; JSON takes many times its size in memory

Annotation = tuple[int, int, str | None]  # first sample, number of samples, label


@dataclass(frozen=True)
class Recording:
    """A recording that can be read; it holds no open file, so it can be sent to a process."""

    path: Path
    kind: str  # "SigMF", "raw IQ" or "WAV"
    sample_rate: float | None  # Hz; None: unknown
    samples: int
    real: bool  # a real signal at an intermediate frequency, not IQ
    datatype: str = ""  # SigMF's name; empty for WAV
    offset: int = 0  # bytes before the first sample; 0 for WAV
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
        if not count:
            return np.zeros(0, np.float32 if self.real else np.complex64)
        decode = _decode if self.datatype else _decode_wav
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # the result is looked at below
                values = decode(self, start, count)
        except (OSError, RuntimeError) as error:
            raise InputError(f"{self.path} can no longer be read: {error}") from error
        if len(values) != count:
            raise InputError(
                f"{self.path} was cut short while it was read: {count} samples are expected from "
                f"sample {start} on, {len(values)} are there."
            )
        wrong = ~(np.abs(values.view(np.float32)) <= LARGEST_SAMPLE)
        if wrong.any():
            first = start + int(wrong.argmax()) // (1 if self.real else 2)
            raise InputError(
                f"{self.path} holds samples that are NaN, infinite or beyond {LARGEST_SAMPLE:g}, "
                f"the first at index {first}: it is damaged, or of another format."
            )
        return values


def _decode(recording: Recording, start: int, count: int) -> np.ndarray:
    """Return samples of SigMF or raw IQ, as many as are there."""
    from sigmf import SigMFFile  # here: it takes half a second, and WAV needs none of it

    file = SigMFFile(global_info={"core:datatype": recording.datatype})
    size = file.get_sample_size()
    first = recording.offset + start * size
    there = min(count, max(0, recording.path.stat().st_size - first) // size)
    if not there:
        return np.zeros(0, np.complex64)
    file.set_data_file(recording.path, offset=first, size_bytes=there * size, skip_checksum=True)
    return file.read_samples()


def _decode_wav(recording: Recording, start: int, count: int) -> np.ndarray:
    """Return samples of a WAV file, as many as are there."""
    from soundfile import SoundFile

    with SoundFile(recording.path) as file:
        file.seek(min(start, file.frames))
        values = file.read(count, dtype="float32", always_2d=True)
    return values[:, 0] if recording.real else values.view(np.complex64)[:, 0]


def open_recording(path: Path | str, *, iq_format: str = "", sample_rate: float = 0.0) -> Recording:
    """Return the recording in a file; its samples are read later, by ``Recording.read``.

    - SigMF by its .sigmf-meta, its .sigmf-data, the stem of both, or a .sigmf archive (a plain
      tar); the SHA-512 is checked if there is one. One channel of a conforming dataset only.
    - raw IQ by its extension, or with ``iq_format``: cf32 cf64 (floats) cs16 cs8 (signed) cu8
      (offset binary, as RTL-SDR writes it), little-endian pairs.
    - WAV: two channels are I and Q, one is a real signal at an intermediate frequency.

    ``sample_rate`` in Hz is for files that do not hold their own; 0: unknown.

    Raises InputError for anything that is none of these, or damaged, or contradicts itself.
    """
    path = Path(path)
    if not (math.isfinite(sample_rate) and sample_rate >= 0):
        raise InputError(f"sample_rate must be finite and not negative; it is {sample_rate}.")
    if iq_format and iq_format not in RAW_FORMATS:
        raise InputError(f"iq_format must be one of {', '.join(RAW_FORMATS)}; it is {iq_format!r}.")
    suffix = path.suffix.lower()
    try:
        if iq_format or suffix in RAW_EXTENSIONS:
            datatype = RAW_FORMATS[iq_format or RAW_EXTENSIONS[suffix]]
            recording = _of_datatype(path, "raw IQ", datatype, 0, _size(path))
        elif suffix == ".sigmf":
            recording = _open_archive(path)
        elif suffix in SIGMF_EXTENSIONS or path.with_name(f"{path.name}.sigmf-meta").is_file():
            recording = _open_sigmf(path)
        elif suffix in WAV_EXTENSIONS:
            recording = _open_wav(path)
        else:
            _size(path)  # a missing file is reported as missing
            raise InputError(
                f"{path}: the format is not clear from the extension {path.suffix!r}. Known are "
                f"{' '.join((*SIGMF_EXTENSIONS, *WAV_EXTENSIONS, *RAW_EXTENSIONS))}; for other raw "
                f"IQ pass iq_format: {', '.join(RAW_FORMATS)}."
            )
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if recording.samples < 2:
        raise InputError(f"{path} holds {recording.samples} samples: that is no recording.")
    if sample_rate and recording.sample_rate not in (None, sample_rate):
        raise InputError(
            f"{path} holds the sample rate {recording.sample_rate:g} Hz, but sample_rate is "
            f"{sample_rate:g}: leave it out, or mend the file."
        )
    return replace(recording, sample_rate=recording.sample_rate or sample_rate or None)


def _size(path: Path) -> int:
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    return path.stat().st_size


def _of_datatype(path: Path, kind: str, datatype: str, offset: int, size: int) -> Recording:
    """Return a recording of ``size`` bytes of samples of a SigMF datatype, from ``offset`` on."""
    from sigmf.sigmffile import dtype_info

    if not SIGMF_DATATYPE.fullmatch(datatype):
        raise InputError(f"{path}: {datatype!r} is no SigMF datatype, which ends in _le or _be.")
    item = dtype_info(datatype)["sample_size"]
    if size % item:
        raise InputError(
            f"{path} holds {size} bytes of samples, which is not a multiple of {item}, the size "
            "of one: it is cut short, or of another format."
        )
    real, facts = datatype[0] == "r", {"datatype": datatype}
    return Recording(path, kind, None, size // item, real, datatype, offset, facts=facts)


# SigMF


def _open_sigmf(path: Path) -> Recording:
    from sigmf.sigmffile import get_sigmf_filenames  # of the stem; other dots belong to it

    names = get_sigmf_filenames(path)
    meta, data = names["meta_fn"], names["data_fn"]
    if _size(meta) > LARGEST_METADATA:
        raise InputError(f"{meta} is larger than {LARGEST_METADATA} bytes: no metadata is.")
    metadata = _metadata(meta.read_bytes(), meta)
    size = _size(data)
    with data.open("rb") as file:
        return _described(metadata, data, 0, size, file)


def _open_archive(path: Path) -> Recording:
    size = _size(path)
    try:
        with tarfile.open(path, "r:") as archive:
            meta, data = (_member(archive, ending) for ending in (".sigmf-meta", ".sigmf-data"))
            if meta.size > LARGEST_METADATA or data.offset_data + data.size > size:
                raise InputError(f"{path} is cut short, or declares sizes that no archive has.")
            text, samples = (archive.extractfile(member) for member in (meta, data))
            # Both are regular files, of which tarfile gives such a reader.
            assert isinstance(text, BufferedReader)
            assert isinstance(samples, BufferedReader)
            metadata = _metadata(text.read(), path)
            return _described(metadata, path, data.offset_data, data.size, samples)
    except tarfile.TarError as error:
        raise InputError(f"{path} is no plain tar archive, or a damaged one: {error}.") from error


def _member(archive: tarfile.TarFile, ending: str) -> tarfile.TarInfo:
    members = [member for member in archive if member.isreg() and member.name.endswith(ending)]
    if len(members) != 1 or members[0].issparse():
        raise InputError(f"{archive.name} holds {len(members)} files *{ending}; one is needed.")
    return members[0]


def _metadata(text: bytes, path: Path) -> dict[str, Any]:
    from jsonschema import exceptions, validators
    from sigmf.schema import get_schema

    schema = get_schema()
    try:
        metadata = json.loads(text.decode("utf-8"))
        errors = validators.validator_for(schema)(schema).iter_errors(metadata)
        complaint = exceptions.best_match(errors)
    except (ValueError, RecursionError) as error:  # bad JSON, bad UTF-8, nested without end
        raise InputError(f"{path} holds no JSON that can be read: {error}.") from error
    if complaint is not None:
        place = "/".join(map(str, complaint.absolute_path)) or "the whole"
        raise InputError(f"{path} is no valid SigMF metadata: {place}: {complaint.message[:200]}.")
    return metadata


def _described(
    metadata: dict[str, Any], data: Path, offset: int, size: int, file: BufferedReader
) -> Recording:
    """Return the recording that valid metadata describe; ``file`` holds its samples, no more.

    Raises InputError if the metadata contradict the samples or themselves.
    """
    info, captures = metadata["global"], metadata["captures"]
    if info.get("core:num_channels", 1) != 1:
        raise InputError(
            f"{data} holds {info['core:num_channels']} interleaved channels; split it into one "
            "recording a channel."
        )
    headers = any(capture.get("core:header_bytes") for capture in captures)
    if headers or info.get("core:trailing_bytes") or info.get("core:dataset"):
        raise InputError(f"{data} is a non-conforming SigMF dataset; convert it to a plain one.")
    rate = info.get("core:sample_rate")
    if rate is not None and not 0 < rate < math.inf:
        raise InputError(f"{data}: core:sample_rate must be positive and finite; it is {rate}.")
    plain = _of_datatype(data, "SigMF", info["core:datatype"], offset, size)
    expected = info.get("core:sha512")
    if expected and hashlib.file_digest(file, "sha512").hexdigest() != expected.lower():
        raise InputError(
            f"{data} has not the SHA-512 that its metadata gives ({expected[:12]}...): it was "
            "changed or damaged; fetch it again."
        )
    facts = plain.facts | {
        "SHA-512 checked": expected is not None,
        "centre frequency, Hz": captures[0].get("core:frequency") if captures else None,
        "hardware": info.get("core:hw"),
        "description": info.get("core:description"),
        "author": info.get("core:author"),
        "licence": info.get("core:license"),
    }
    return replace(
        plain,
        sample_rate=None if rate is None else float(rate),
        annotations=_annotations(metadata, data, plain.samples),
        facts={name: value for name, value in facts.items() if value is not None},
    )


def _annotations(metadata: dict[str, Any], data: Path, samples: int) -> tuple[Annotation, ...]:
    """Return the annotations, counted from the first sample; all lie within the samples."""
    first = int(metadata["global"].get("core:offset", 0))  # indices are absolute, counted from here
    short = f"{data} has {samples} samples from {first} on, but"
    hint = "the file is cut short, or not the one described."
    borders = [samples]
    for number, capture in enumerate(metadata["captures"]):
        start = int(capture["core:sample_start"]) - first
        if not 0 <= start < max(samples, 1):
            raise InputError(f"{short} capture {number} starts at {start + first}: {hint}")
        borders.append(start)
    annotations = []
    for number, annotation in enumerate(metadata["annotations"]):
        start = int(annotation["core:sample_start"]) - first
        # By the standard, an annotation without a count reaches to the end of its capture.
        end = min((border for border in borders if border > start), default=samples)
        count = int(annotation.get("core:sample_count", max(end - start, 0)))
        if start < 0 or start + count > samples:
            raise InputError(
                f"{short} annotation {number} covers {count} from {start + first} on: {hint}"
            )
        annotations.append((start, count, annotation.get("core:label")))
    return tuple(annotations)


# WAV


def _open_wav(path: Path) -> Recording:
    from soundfile import SoundFile, SoundFileError

    _size(path)
    try:
        with SoundFile(path) as file:
            header = file.extra_info  # what the parser found, a line a field
    except SoundFileError as error:
        raise InputError(f"{path} is no WAV file, or a damaged one: {error}") from error
    if file.format not in ("WAV", "WAVEX", "RF64") or file.subtype not in WAV_WIDTHS:
        raise InputError(
            f"{path} is a {file.format} of {file.subtype}; WAV of {', '.join(WAV_WIDTHS)} can be "
            "read."
        )
    if file.channels not in (1, 2):
        raise InputError(
            f"{path} has {file.channels} channels; two (I and Q) or one (a real signal) can be "
            "read."
        )
    block = file.channels * WAV_WIDTHS[file.subtype]
    if re.findall(r"^ *Block Align *: (\d+)", header, re.M) != [str(block)]:
        raise InputError(f"{path} has a WAV header that contradicts itself: it is damaged.")
    declared = re.search(r"^ *(?:data|Data size) *: (\d+)\b", header, re.M)  # the latter in RF64
    if declared is None or int(declared[1]) != file.frames * block:
        raise InputError(
            f"{path} is cut short, or its header is damaged: it declares "
            f"{declared[1] if declared else 'no'} bytes of samples, of {block} bytes each; "
            f"{file.frames * block} are there."
        )
    facts = {"datatype": f"{file.subtype_info}, {file.channels} channels"}
    rate, real = float(file.samplerate), file.channels == 1
    return Recording(path, "WAV", rate, file.frames, real, facts=facts)
