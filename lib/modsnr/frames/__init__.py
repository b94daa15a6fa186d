"""Labelled frames: what they are, how they are split, and their store on disk."""

from modsnr.frames.card import card, counts
from modsnr.frames.labelled import (
    PARTS,
    Frames,
    check,
    grid_labels,
    remaining,
    some_of,
    split,
    split_hash,
)
from modsnr.frames.store import (
    FORMAT_VERSION,
    SNR_DEFINITION,
    batches,
    dequantise,
    describe,
    digests,
    labels,
    quantise,
    read,
    read_of,
    stored_digests,
    verify,
)
from modsnr.frames.writing import digests_of_source, write

__all__ = [
    "FORMAT_VERSION",
    "PARTS",
    "SNR_DEFINITION",
    "Frames",
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
    "remaining",
    "some_of",
    "split",
    "split_hash",
    "stored_digests",
    "verify",
    "write",
]
