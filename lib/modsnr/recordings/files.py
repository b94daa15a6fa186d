"""Recordings of a receiver as they lie on disk: SigMF, raw samples and audio files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from modsnr import InputError, files
from modsnr.recordings import audio, sigmf_files
from modsnr.recordings.samples import DATATYPE, Recording, of_datatype

# Their names in SigMF.
RAW_FORMATS = {
    form + name: form + number
    for form in "cr"
    for name, number in {
        "f32": "f32_le",
        "f64": "f64_le",
        "s16": "i16_le",
        "s8": "i8",
        "u8": "u8",
    }.items()
}
RAW_EXTENSIONS = {
    **dict.fromkeys((".cf32", ".fc32", ".cfile", ".c64", ".complex64", ".complex"), "cf32"),
    **dict.fromkeys((".cf64", ".complex128"), "cf64"),
    **dict.fromkeys((".cs16", ".sc16"), "cs16"),
    ".cs8": "cs8",
    ".cu8": "cu8",
}
RECORDING_EXTENSIONS = (*sigmf_files.EXTENSIONS, *audio.EXTENSIONS, *RAW_EXTENSIONS)


def open_recording(path: Path | str, *, iq_format: str = "", sample_rate: float = 0.0) -> Recording:
    """Return the recording in a file; its samples are read later, by ``Recording.read``.

    - SigMF by its .sigmf-meta, its .sigmf-data, the stem of both, or a .sigmf archive (a plain
      tar); the SHA-512 is checked if there is one. One channel of a conforming dataset only. Of
      captures at several frequencies the longest stretch at one of them.
    - raw samples by their extension, or with ``iq_format``: IQ as cf32 cf64 (floats) cs16 cs8
      (signed) cu8 (offset binary, as RTL-SDR writes it), little-endian pairs; real ones as rf32
      rf64 rs16 rs8 ru8; any other as SigMF names it.
    - audio files: WAV, RF64, BW64, W64, AIFF, AU, FLAC, Ogg. Two channels are I and Q, one is a
      real signal at an intermediate frequency.

    ``sample_rate`` in Hz is for files that do not hold their own; 0: unknown. What is left out, or
    differs from what the file says of itself, is in the recording's ``notes``.

    Raises InputError for anything that is none of these, or damaged, or contradicts itself.
    """
    path = Path(path)
    with files.reading(path):
        recording = _open(path, iq_format)
    if recording.samples < 2:
        raise InputError(f"{path} holds {recording.samples} samples: that is no recording.")
    if sample_rate and recording.sample_rate not in (None, sample_rate):
        raise InputError(
            f"{path} holds the sample rate {recording.sample_rate:g} Hz, but sample_rate is "
            f"{sample_rate:g}: leave it out, or mend the file."
        )
    facts = recording.facts | ({"notes": " ".join(recording.notes)} if recording.notes else {})
    rate = recording.sample_rate or sample_rate or None
    return replace(recording, sample_rate=rate, facts=facts)


def datatype_of(iq_format: str) -> str:
    """Return the SigMF datatype of a format of raw samples; raise InputError if it is none."""
    datatype = RAW_FORMATS.get(iq_format, iq_format)
    if not DATATYPE.fullmatch(datatype):
        raise InputError(
            f"iq_format must be one of {', '.join(RAW_FORMATS)}, or a SigMF datatype as ci16_be; "
            f"it is {iq_format!r}."
        )
    return datatype


def _open(path: Path, iq_format: str) -> Recording:
    suffix = path.suffix.lower()
    datatype_of(iq_format or "cf32")
    stem_of_sigmf = path.with_name(f"{path.name}.sigmf-meta").is_file()
    if not (path.is_file() or stem_of_sigmf):
        raise InputError(f"There is no file {path}.")
    if iq_format or suffix in RAW_EXTENSIONS:
        name = iq_format or RAW_EXTENSIONS[suffix]
        kind = "raw samples" if name[0] == "r" else "raw IQ"
        return of_datatype(path, kind, datatype_of(name), 0, path.stat().st_size)
    if suffix in sigmf_files.EXTENSIONS or stem_of_sigmf:
        return sigmf_files.open_sigmf(path)
    if suffix in audio.EXTENSIONS:
        return audio.open_audio(path)
    raise InputError(
        f"{path}: the format is not clear from the extension {path.suffix!r}. Known are "
        f"{' '.join(RECORDING_EXTENSIONS)}; for other raw samples pass iq_format: "
        f"{', '.join(RAW_FORMATS)}."
    )
