"""Labelled frames, their split, and their store on disk."""

from modsnr.frames.card import card, counts
from modsnr.frames.labelled import PARTS, SNR_DEFINITION, Frames, Source, simulated, usable
from modsnr.frames.split import grid_labels, remaining, some_of, split, split_hash
from modsnr.frames.store import (
    check_received,
    describe,
    labels,
    open_hdf5,
    read,
    read_of,
    read_rows,
    repeated,
    stored_digests,
    verify,
    whole,
)
from modsnr.frames.writing import cleaned, write
