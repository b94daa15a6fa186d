"""Samples that keep coming: the answer for each second of them, as long as they come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from modsnr import InputError
from modsnr.classifier.answer import Answer
from modsnr.classifier.classify import classify
from modsnr.recordings.estimates import FEWEST_SAMPLES
from modsnr.recordings.files import datatype_of
from modsnr.recordings.samples import decode, sample_size

FRAMES = 32  # judged of a block
MOST_SAMPLES = 2**18  # looked at of a block, its last ones, so that the answer comes in time


class Heard(NamedTuple):
    """What a block of a stream holds, or why it says nothing."""

    start: float  # seconds from the stream's beginning
    answer: Answer | None
    trouble: str  # why there is no answer


def listen(
    stream: BinaryIO, iq_format: str, sample_rate: float, *, seconds: float = 1.0
) -> Iterator[Heard]:
    """Yield the answer for one block after the other of a stream of raw samples, until it ends.

    A block has so many ``seconds``, or as many samples as an answer needs; of a long one the last
    ``MOST_SAMPLES`` are looked at. One block is held at a time. ``iq_format`` is as
    ``recordings.open_recording`` takes it, ``sample_rate`` in Hz.

    Raises InputError for a format or a rate that cannot be used, and for a stream without samples.
    """
    datatype = datatype_of(iq_format)
    if not 0 < sample_rate < np.inf:
        raise InputError(f"A stream needs its sample rate in Hz; it is {sample_rate:g}.")
    size = sample_size(datatype)
    block = max(FEWEST_SAMPLES, round(seconds * sample_rate))
    start = 0
    while content := stream.read(block * size):
        parts = decode(content[-MOST_SAMPLES * size :], datatype)
        if len(parts):
            yield _heard(start / sample_rate, parts, sample_rate)
        start += len(content) // size
    if not start:
        raise InputError("The stream ended before its first sample.")


def _heard(start: float, parts: np.ndarray, sample_rate: float) -> Heard:
    samples = parts if parts.shape[1] == 2 else parts[:, 0]
    try:
        return Heard(start, classify(samples, sample_rate=sample_rate, frames=FRAMES), "")
    except InputError as error:
        return Heard(start, None, str(error))
