"""Labelled frames: in memory, and still unread; and whether they can be used."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from modsnr import InputError, files

PARTS = ("train", "validation", "test")
SNR_DEFINITION = "signal power over noise power per sample, dB"
LEAST_POWER = np.finfo(np.float32).tiny  # of a frame that can be used

# Of rows int64, modulation (integers), snr_db float32, each [frame]; complex64 [frame, sample].
# Of received frames a pair: that, and findings, float32 [frame, finding].
Read = Callable[[np.ndarray, np.ndarray, np.ndarray], Any]


@dataclass(frozen=True)
class Frames:
    """Frames with one label each.

    ``iq`` is complex64 [frame, sample], ``modulation`` int64 [frame] into ``classes``, ``snr_db``
    float32 [frame], dB per sample; ``findings`` float32 [frame, finding], what the receiver found
    of each, None if none has been through it.
    """

    iq: np.ndarray
    modulation: np.ndarray
    snr_db: np.ndarray
    classes: tuple[str, ...]
    findings: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.iq)

    def __getitem__(self, rows: np.ndarray | slice) -> Frames:
        found = None if self.findings is None else self.findings[rows]
        return Frames(self.iq[rows], self.modulation[rows], self.snr_db[rows], self.classes, found)


@dataclass(frozen=True)
class Source:
    """Labelled frames that are still unread, in a file or a simulator.

    ``read(rows, modulation, snr_db)`` returns complex64 [frame, sample] for ascending ``rows`` of
    the file and their labels, which only a simulator uses. It can be sent to another process: it
    holds a path and settings, no open file and no labels.
    """

    read: Read
    modulation: np.ndarray  # integers [frame], index into classes
    snr_db: np.ndarray  # float32 [frame], as the file labels it
    classes: tuple[str, ...]
    rows: np.ndarray  # int64 [frame], ascending: where each frame stands in the file
    samples: int = 1024  # a frame
    kind: str = "simulated"  # or what people call the file: "RadioML 2018.01A"
    path: Path = Path()  # of the file; none for a simulator
    snr_definition: str = SNR_DEFINITION  # what the file, or its documentation, means by its SNR
    facts: dict[str, Any] = field(default_factory=dict)  # for the data card: names to numbers, text
    findings: tuple[str, ...] = ()  # their names, if ``read`` puts frames through the receiver

    @property
    def received(self) -> bool:
        """Return whether ``read`` puts the frames through the receiver."""
        return bool(self.findings)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, frames: np.ndarray | slice) -> Source:
        """Return the source restricted to frames by a mask, their places or a slice."""
        return replace(
            self,
            modulation=self.modulation[frames],
            snr_db=self.snr_db[frames],
            rows=self.rows[frames],
        )

    def frames(self) -> Frames:
        """Read all frames."""
        read = self.read(self.rows, self.modulation, self.snr_db)
        iq, found = read if self.findings else (read, None)
        return Frames(iq, self.modulation, self.snr_db, self.classes, found)

    def select(self, classes: Collection[str] = ()) -> Source:
        """Return the source restricted to ``classes``, in that order; none: all.

        Raises InputError for a class that the file does not have.
        """
        classes = tuple(classes) or self.classes
        for name in classes:
            files.check_name("class", name, self.classes, of=f" in {self.path}")
        number = np.full(len(self.classes), -1, self.modulation.dtype)
        number[[self.classes.index(name) for name in classes]] = np.arange(len(classes))
        renumbered = number[self.modulation]
        return replace(self, classes=classes, modulation=renumbered)[renumbered >= 0]

    def between(self, low_db: float, high_db: float) -> Source:
        """Return the source restricted to SNRs from ``low_db`` to ``high_db``.

        Raises InputError if no frame has such an SNR.
        """
        kept = (self.snr_db >= low_db) & (self.snr_db <= high_db)
        if not kept.any():
            present = ", ".join(f"{level:g}" for level in np.unique(self.snr_db))
            raise InputError(
                f"{self.path} has no frame from {low_db:g} to {high_db:g} dB; its frames are at "
                f"{present} dB."
            )
        return self[kept]


def simulated(make: Any, modulation: np.ndarray, snr_db: np.ndarray) -> Source:
    """Return a source of frames that a simulator makes whenever they are read.

    ``make`` is a ``signals.Simulator``; the labels are int64 and float32 [frame].
    """
    rows = np.arange(len(modulation))
    of_make = {"samples": make.samples, "snr_definition": make.snr_definition}
    return Source(make, modulation, snr_db, make.classes, rows, **of_make)


def check(frames: Frames, *, samples: int, rows: np.ndarray) -> Frames:
    """Return the frames if they can be used; else raise InputError with the index and the count.

    Refused are IQ that is not complex [frame, sample] of ``samples`` samples, NaN or infinite
    samples, frames without power, modulations outside the classes, and SNRs that are not finite.
    Messages name frames by ``rows``, their indices where they come from.
    """
    iq = frames.iq
    if iq.shape != (len(rows), samples) or not np.iscomplexobj(iq):
        raise InputError(
            f"Frames from index {rows[0]} on must be complex [{len(rows)}, {samples}]; they are "
            f"{iq.dtype} {list(iq.shape)}."
        )
    power = _power(iq)
    outside = (frames.modulation < 0) | (frames.modulation >= len(frames.classes))
    left_out = "; pass -p drop_unusable true to leave all such frames out"
    for (what, way_on), bad in {
        ("hold NaN or infinite samples", left_out): ~np.isfinite(power),
        ("have no power at all", left_out): power < LEAST_POWER,
        (f"have a modulation label outside the {len(frames.classes)} classes", ""): outside,
        ("have an SNR that is not finite", ""): ~np.isfinite(frames.snr_db),
    }.items():
        if bad.any():
            raise InputError(
                f"{int(bad.sum())} of {len(rows)} frames {what}, the first at index "
                f"{int(rows[bad.argmax()])}{way_on}."
            )
    return frames


def usable(iq: np.ndarray) -> np.ndarray:
    """Return which frames, complex [frame, sample], have power and finite samples, bool [frame]."""
    power = _power(iq)
    return np.isfinite(power) & (power >= LEAST_POWER)


def _power(iq: np.ndarray) -> np.ndarray:
    """Return each frame's mean power, in double precision, which no sample's square exceeds."""
    power = np.empty(len(iq))
    for start in range(0, len(iq), 64):
        parts = np.ascontiguousarray(iq[start : start + 64], np.complex64).view(np.float32)
        parts = parts.astype(np.float64)
        power[start : start + 64] = np.einsum("fs,fs->f", parts, parts) / iq.shape[1]
    return power
