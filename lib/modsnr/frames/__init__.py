"""Labelled frames, their split, and their store on disk."""

from modsnr.frames.card import card, counts
from modsnr.frames.labelled import PARTS, SNR_DEFINITION, Frames, Source, check, simulated
from modsnr.frames.split import grid_labels, remaining, some_of, split, split_hash
from modsnr.frames.store import (
    batches,
    dequantise,
    describe,
    digests,
    labels,
    quantise,
    read,
    read_of,
    read_rows,
    stored_digests,
    verify,
)
from modsnr.frames.writing import digests_of_source, write

__all__ = [
    "PARTS",
    "SNR_DEFINITION",
    "Frames",
    "Source",
    "batches",
    "card",
    "check",
    "counts",
    "dequantise",
    "describe",
    "digests",
    "digests_of_source",
    "grid_labels",
    "labels",
    "quantise",
    "read",
    "read_of",
    "read_rows",
    "remaining",
    "simulated",
    "some_of",
    "split",
    "split_hash",
    "stored_digests",
    "verify",
    "write",
]
