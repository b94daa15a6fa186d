"""SigMF recordings: their metadata, read by the package sigmf, checked against the samples."""

from __future__ import annotations

import errno
import math
import tarfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from modsnr import InputError
from modsnr.recordings.samples import Annotation, Recording, of_datatype, sample_size

EXTENSIONS = (".sigmf-meta", ".sigmf-data", ".sigmf")


def open_sigmf(path: Path) -> Recording:
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
                file = SigMFFile(metadata=names["meta_fn"].read_text("utf-8-sig"))
                file.validate()
                info = file.get_global_info()
                if not (info.get("core:dataset") or info.get("core:metadata_only")):
                    file.set_data_file(names["data_fn"])
    except Exception as error:  # the package raises many kinds of them for damaged metadata
        if getattr(error, "errno", None) not in (None, errno.ENOENT):
            raise  # the machine's reasons
        reason = f"{getattr(error, 'json_path', '')} {getattr(error, 'message', error)}"[:200]
        raise InputError(
            f"{path} is no SigMF recording, or a damaged one: {reason.strip()}."
        ) from error
    info, captures = file.get_global_info(), file.get_captures()
    headers = any(capture.get("core:header_bytes") for capture in captures)
    if headers or info.get("core:trailing_bytes") or info.get("core:dataset"):
        raise InputError(f"{path} is a non-conforming SigMF dataset; convert it to a plain one.")
    if info.get("core:metadata_only"):
        raise InputError(f"{path} is SigMF metadata only (core:metadata_only): it has no samples.")
    if file.num_channels != 1:
        raise InputError(
            f"{path} holds {file.num_channels} interleaved channels; split it into one recording "
            "a channel."
        )
    rate = info.get("core:sample_rate")
    if rate is not None and not 0 < rate < math.inf:
        raise InputError(f"{path}: core:sample_rate must be positive and finite; it is {rate}.")
    size = file.data_size_bytes or file.data_file.stat().st_size
    whole = of_datatype(file.data_file, "SigMF", file.datatype, file.data_offset, size)
    facts = whole.facts | {
        "hardware": info.get("core:hw"),
        "description": info.get("core:description"),
        "author": info.get("core:author"),
        "licence": info.get("core:license"),
    }
    labelled = replace(
        whole,
        sample_rate=None if rate is None else float(rate),
        annotations=_annotations(file, whole.samples),
        facts={name: value for name, value in facts.items() if value is not None},
    )
    return _longest_stretch(file, labelled)


def _longest_stretch(file: Any, whole: Recording) -> Recording:
    """Return the longest part of the recording whose captures have one centre frequency."""
    zero, end = int(file.get_global_info().get("core:offset", 0)), whole.samples
    captures = sorted(file.get_captures(), key=lambda capture: capture["core:sample_start"])
    starts, frequencies = [0], [None]
    for capture in captures:
        frequency = capture.get("core:frequency", frequencies[-1])
        if frequencies[-1] not in (None, frequency):
            starts.append(int(capture["core:sample_start"]) - zero)
            frequencies.append(frequency)
        frequencies[-1] = frequency
    stretches = list(zip(starts, [*starts[1:], end], frequencies, strict=True))
    first, last, frequency = max(stretches, key=lambda stretch: stretch[1] - stretch[0])
    inside = [c for c in captures if first <= c["core:sample_start"] - zero < last]
    numbered = [c for c in inside if "core:global_index" in c]
    shifts = [c["core:global_index"] - c["core:sample_start"] for c in numbered]
    notes = list(whole.notes)
    if len(stretches) > 1:
        notes.append(
            f"The receiver was tuned to {len(stretches)} centre frequencies in turn. Only the "
            f"longest stretch is read: samples {first:,} to {last:,} of {end:,}, at "
            f"{frequency:,} Hz. To read another, cut it out as a recording of its own."
        )
    if gaps := len(set(shifts[1:]) - set(shifts[:1])):
        notes.append(
            f"Samples were lost {gaps} times (core:global_index jumps between captures): phase and "
            "symbol clock jump there."
        )
    of_captures = {
        "centre frequency, Hz": frequency,
        "recorded at": inside[0].get("core:datetime") if inside else None,
    }
    return replace(
        whole,
        samples=last - first,
        offset=whole.offset + first * sample_size(whole.datatype),
        annotations=tuple(
            (max(start, first) - first, min(start + count, last) - max(start, first), label)
            for start, count, label in whole.annotations
            if start < last and start + count > first
        ),
        facts=whole.facts | {name: fact for name, fact in of_captures.items() if fact is not None},
        notes=tuple(notes),
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
        # A blank label is none, and two that differ in blanks only are one.
        label = " ".join(annotation.get("core:label", "").replace("\0", " ").split())
        annotations.append((start, count, label or None))
    spans = [(start, 1, None) for start in starts] + annotations
    if any(start < 0 or start + count > samples for start, count, _ in spans):
        raise InputError(
            f"{file.data_file} has {samples} samples from {first} on, but its captures and "
            "annotations describe others: it is cut short, or not the file described."
        )
    return tuple(annotations)
