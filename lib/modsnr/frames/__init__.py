"""Labelled frames, their split, and their store on disk."""

from modsnr.frames.card import card, counts
from modsnr.frames.labelled import PARTS, SNR_DEFINITION, Frames, Source, simulated, usable
from modsnr.frames.split import grid_labels, remaining, some_of, split, split_hash
from modsnr.frames.store import (
    describe,
    labels,
    open_hdf5,
    read,
    read_of,
    read_rows,
    repeated,
    stored_digests,
    verify,
)
<<<<<<< HEAD
from modsnr.frames.writing import cleaned, write

__all__ = [
    "PARTS",
    "SNR_DEFINITION",
    "Frames",
    "Source",
    "card",
    "cleaned",
    "counts",
    "describe",
    "grid_labels",
    "labels",
    "open_hdf5",
    "read",
    "read_of",
    "read_rows",
    "remaining",
    "repeated",
    "simulated",
    "some_of",
    "split",
    "split_hash",
    "stored_digests",
    "usable",
    "verify",
    "write",
]
=======
from modsnr.frames.writing import digests_of_source, write
>>>>>>> 769981a (A package's public names are its imports: the lists that repeated them go)
