"""The samples of a recording as they lie in a file, read piece by piece.

soundfile decodes them, those of audio files and raw ones alike. Integers are scaled to -1..1 by
their type's range, offset binary (unsigned) after its middle is taken off; floats stay as they are.
No later step depends on the scale.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from modsnr import InputError
from modsnr.recordings.sample_formats import doubt

# SigMF's numbers as libsndfile calls them; SigMF has none of 24 bits.
SUBTYPES = {
    "f32": "FLOAT",
    "f64": "DOUBLE",
    "i8": "PCM_S8",
    "u8": "PCM_U8",
    "i16": "PCM_16",
    "i24": "PCM_24",
    "i32": "PCM_32",
}
DATATYPE = re.compile(r"[cr]([iu]8(_[lb]e)?|([fiu]32|[iu]16|i24|f64)_[lb]e)")
LARGEST_SAMPLE = 1e15  # no receiver's unit; sums of squares stay within single precision

Annotation = tuple[int, int, str | None]  # first sample, number of samples, label


@dataclass(frozen=True)
class Recording:
    """A recording that can be read; it holds no open file, so it can be sent to a process."""

    path: Path
    kind: str  # "SigMF", "raw samples", "WAV", "FLAC" ...
    sample_rate: float | None  # Hz; None: unknown
    samples: int
    real: bool  # a real signal at an intermediate frequency, not IQ
    datatype: str = ""  # SigMF's name; empty for FLAC and Ogg
    offset: int = 0  # bytes before the first sample; 0 for FLAC and Ogg
    annotations: tuple[Annotation, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)  # for the data card: names to numbers, text
    notes: tuple[str, ...] = ()  # sentences: what is left out, or is not what the file says

    def read(self, start: int, count: int) -> np.ndarray:
        """Return samples ``start`` to ``start + count``: complex64 [sample], float32 if ``real``.

        Only these are read from the file. Raises InputError for NaN, infinite and absurdly large
        samples, and if the file is gone or cut short.
        """
        decode = _decode_raw if self.datatype else _decode_compressed
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # the result is looked at below
                parts = decode(self, start, count)
        except (OSError, RuntimeError) as error:
            raise InputError(f"{self.path} can no longer be read: {error}") from error
        if len(parts) != count:
            raise InputError(
                f"{self.path} was cut short while it was read: {count} samples are expected from "
                f"sample {start} on, {len(parts)} are there."
            )
        wrong = ~(np.abs(parts) <= LARGEST_SAMPLE).all(1)
        if wrong.any():
            first = start + int(wrong.argmax())
            raise InputError(
                f"{self.path} holds samples that are NaN, infinite or beyond {LARGEST_SAMPLE:g}, "
                f"the first at index {first}: it is damaged, or of another format."
            )
        return parts[:, 0] if self.real else parts.view(np.complex64)[:, 0]


def _decode_raw(recording: Recording, start: int, count: int) -> np.ndarray:
    """Return float32 [sample, part], as many as are there."""
    size = sample_size(recording.datatype)
    with recording.path.open("rb") as file:
        file.seek(recording.offset + start * size)
        content = file.read(max(0, min(count, recording.samples - start)) * size)
    return decode(content, recording.datatype)


def decode(content: bytes, datatype: str) -> np.ndarray:
    """Return the whole samples of a SigMF datatype in bytes, float32 [sample, part]."""
    import soundfile  # here and below: raw and audio files need no sigmf, which takes half a second

    number, order = datatype[1:].partition("_")[::2]
    size = sample_size(datatype)
    parts, _ = soundfile.read(
        BytesIO(content[: len(content) // size * size]),
        dtype="float32",
        always_2d=True,
        samplerate=1,
        channels=1 if datatype[0] == "r" else 2,
        format="RAW",
        subtype=SUBTYPES.get(number) or SUBTYPES[number.replace("u", "i")],
        endian="BIG" if order == "be" else "LITTLE",
    )
    if number not in SUBTYPES:  # 0 to 2**n - 1, read as if signed
        parts -= np.copysign(np.float32(1), parts)
    return parts


def _decode_compressed(recording: Recording, start: int, count: int) -> np.ndarray:
    """Return float32 [sample, part], as many as are there."""
    from soundfile import SoundFile

    with SoundFile(recording.path) as file:
        file.seek(start)
        return file.read(count, dtype="float32", always_2d=True)


def sample_size(datatype: str) -> int:
    """Return the bytes of one sample of a SigMF datatype."""
    bits = int(datatype[2:].partition("_")[0])
    return bits // 8 * (2 if datatype[0] == "c" else 1)


def of_datatype(path: Path, kind: str, datatype: str, offset: int, size: int) -> Recording:
    """Return a recording of ``size`` bytes of samples of a SigMF datatype, from ``offset`` on.

    A last part of a sample, which a crash leaves, is left out with a note.
    """
    if not DATATYPE.fullmatch(datatype):
        raise InputError(f"{path}: {datatype!r} is no SigMF datatype, which ends in _le or _be.")
    samples, rest = divmod(size, sample_size(datatype))
    real, facts = datatype[0] == "r", {"datatype": datatype}
    notes = doubt(path, datatype, offset, size)
    if rest:
        notes = (
            f"The last {rest} bytes are no whole sample of {datatype} and are left out: the file "
            "is cut short, or of another format.",
            *notes,
        )
    return Recording(path, kind, None, samples, real, datatype, offset, (), facts, notes)
