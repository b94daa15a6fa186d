"""Recordings of a receiver as they lie on disk: SigMF, raw IQ and WAV, read piece by piece.

The package sigmf decodes SigMF and raw IQ, which differ in where the datatype is written;
soundfile decodes WAV. Both believe what a header declares, so sizes and contradictions are checked
here.

Integers are scaled to -1..1 by their type's range, offset binary (unsigned) after its middle is
taken off; floats stay as they are. No later step depends on the scale.
"""

from __future__ import annotations

import math
import re
import tarfile
import warnings
from dataclasses import dataclass, field, replace
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

        Only these are read from the file. Raises InputError for NaN, infinite and absurdly large
        samples, and if the file is gone or cut short.
        """
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
    suffix = path.suffix.lower()
    if iq_format and iq_format not in RAW_FORMATS:
        raise InputError(f"iq_format must be one of {', '.join(RAW_FORMATS)}; it is {iq_format!r}.")
    stem_of_sigmf = path.with_name(f"{path.name}.sigmf-meta").is_file()
    if not (path.is_file() or stem_of_sigmf):
        raise InputError(f"There is no file {path}.")
    if iq_format or suffix in RAW_EXTENSIONS:
        datatype = RAW_FORMATS[iq_format or RAW_EXTENSIONS[suffix]]
        recording = _of_datatype(path, "raw IQ", datatype, 0, path.stat().st_size)
    elif suffix in SIGMF_EXTENSIONS or stem_of_sigmf:
        recording = _open_sigmf(path)
    elif suffix in WAV_EXTENSIONS:
        recording = _open_wav(path)
    else:
        raise InputError(
            f"{path}: the format is not clear from the extension {path.suffix!r}. Known are "
            f"{' '.join((*SIGMF_EXTENSIONS, *WAV_EXTENSIONS, *RAW_EXTENSIONS))}; for other raw "
            f"IQ pass iq_format: {', '.join(RAW_FORMATS)}."
        )
    if recording.samples < 2:
        raise InputError(f"{path} holds {recording.samples} samples: that is no recording.")
    if sample_rate and recording.sample_rate not in (None, sample_rate):
        raise InputError(
            f"{path} holds the sample rate {recording.sample_rate:g} Hz, but sample_rate is "
            f"{sample_rate:g}: leave it out, or mend the file."
        )
    return replace(recording, sample_rate=recording.sample_rate or sample_rate or None)


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


def _open_sigmf(path: Path) -> Recording:
    """Return the recording that SigMF metadata describe.

    Raises InputError if the metadata contradict the samples or themselves.
    """
    from sigmf.sigmffile import SigMFFile, fromarchive, get_sigmf_filenames

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is refused below, or harmless
            if path.suffix == ".sigmf":
                tarfile.open(path, "r:").close()  # refuses a packed one, as the samples are mapped
                file: Any = fromarchive(path)
            else:
                names = get_sigmf_filenames(path)  # of the stem; other dots belong to it
                file = SigMFFile(metadata=names["meta_fn"].read_text("utf-8"))
                file.validate()
                file.set_data_file(names["data_fn"])
    except Exception as error:  # the package raises many kinds of them for damaged metadata
        reason = f"{getattr(error, 'json_path', '')} {getattr(error, 'message', error)}"[:200]
        raise InputError(
            f"{path} is no SigMF recording, or a damaged one: {reason.strip()}."
        ) from error
    info, captures = file.get_global_info(), file.get_captures()
    if file.num_channels != 1:
        raise InputError(
            f"{path} holds {file.num_channels} interleaved channels; split it into one recording "
            "a channel."
        )
    headers = any(capture.get("core:header_bytes") for capture in captures)
    if headers or info.get("core:trailing_bytes") or info.get("core:dataset"):
        raise InputError(f"{path} is a non-conforming SigMF dataset; convert it to a plain one.")
    rate = info.get("core:sample_rate")
    if rate is not None and not 0 < rate < math.inf:
        raise InputError(f"{path}: core:sample_rate must be positive and finite; it is {rate}.")
    size = file.data_size_bytes or file.data_file.stat().st_size
    plain = _of_datatype(file.data_file, "SigMF", file.datatype, file.data_offset, size)
    facts = plain.facts | {
        "centre frequency, Hz": captures[0].get("core:frequency") if captures else None,
        "hardware": info.get("core:hw"),
        "description": info.get("core:description"),
        "author": info.get("core:author"),
        "licence": info.get("core:license"),
    }
    return replace(
        plain,
        sample_rate=None if rate is None else float(rate),
        annotations=_annotations(file, plain.samples),
        facts={name: value for name, value in facts.items() if value is not None},
    )


def _annotations(file: Any, samples: int) -> tuple[Annotation, ...]:
    """Return the annotations, counted from the first sample; all lie within the samples."""
    # Their indices are absolute, counted from here.
    first = int(file.get_global_info().get("core:offset", 0))
    starts = [int(capture["core:sample_start"]) - first for capture in file.get_captures()]
    annotations = []
    for annotation in file.get_annotations():
        start = int(annotation["core:sample_start"]) - first
        # By the standard, an annotation without a count reaches to the end of its capture.
        end = min((border for border in starts if border > start), default=max(samples, start))
        count = int(annotation.get("core:sample_count", end - start))
        annotations.append((start, count, annotation.get("core:label")))
    spans = [(start, 1, None) for start in starts] + annotations
    if any(start < 0 or start + count > samples for start, count, _ in spans):
        raise InputError(
            f"{file.data_file} has {samples} samples from {first} on, but its captures and "
            "annotations describe others: it is cut short, or not the file described."
        )
    return tuple(annotations)


def _open_wav(path: Path) -> Recording:
    from soundfile import SoundFile, SoundFileError

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
    there = file.frames * block
    # The size of the samples is the latter in RF64.
    declared = re.findall(r"^ *(?:Block Align|data|Data size) *: (\d+)\b", header, re.MULTILINE)
    if not {str(block), str(there)} <= set(declared):
        raise InputError(
            f"{path} is cut short, or its header is damaged: {there} bytes of samples are there, "
            f"{block} each, which is not what it declares."
        )
    facts = {"datatype": f"{file.subtype_info}, {file.channels} channels"}
    rate, real = float(file.samplerate), file.channels == 1
    return Recording(path, "WAV", rate, file.frames, real, facts=facts)
