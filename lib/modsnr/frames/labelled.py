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

# Of rows int64, modulation (integers), snr_db float32, each [frame]; complex64 [frame, sample].
Read = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Frames:
    """Frames with one label each.

    ``iq`` is complex64 [frame, sample], ``modulation`` int64 [frame] into ``classes``, ``snr_db``
    float32 [frame], dB per sample.
    """

    iq: np.ndarray
    modulation: np.ndarray
    snr_db: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.iq)

    def __getitem__(self, rows: np.ndarray | slice) -> Frames:
        return Frames(self.iq[rows], self.modulation[rows], self.snr_db[rows], self.classes)


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
        iq = self.read(self.rows, self.modulation, self.snr_db)
        return Frames(iq, self.modulation, self.snr_db, self.classes)

    def select(self, classes: Collection[str] = (), snrs_db: Collection[float] = ()) -> Source:
        """Return the source restricted to ``classes``, in that order, and ``snrs_db``; none: all.

        Raises InputError for a class or an SNR of which the file has no frame.
        """
        classes = tuple(classes) or self.classes
        for name in classes:
            files.check_name("class", name, self.classes, of=f" in {self.path}")
        number = np.full(len(self.classes), -1, self.modulation.dtype)
        number[[self.classes.index(name) for name in classes]] = np.arange(len(classes))
        kept = number[self.modulation] >= 0
        present = np.unique(self.snr_db[kept])
        if missing := [snr for snr in snrs_db if snr not in present]:
            raise InputError(
                f"{self.path} has no frame at {missing[0]:g} dB; it has frames at {_db(present)}."
            )
        if snrs_db:
            kept &= np.isin(self.snr_db, np.asarray([*snrs_db], np.float32))
        return replace(self, classes=classes, modulation=number[self.modulation])[kept]

    def between(self, low_db: float, high_db: float) -> Source:
        """Return the source restricted to SNRs from ``low_db`` to ``high_db``.

        Raises InputError if no frame has such an SNR.
        """
        kept = (self.snr_db >= low_db) & (self.snr_db <= high_db)
        if not kept.any():
            raise InputError(
                f"{self.path} has no frame from {low_db:g} to {high_db:g} dB; its frames are at "
                f"{_db(np.unique(self.snr_db))}."
            )
        return self[kept]


def _db(levels: np.ndarray) -> str:
    return f"{', '.join(f'{level:g}' for level in levels)} dB"


def simulated(make: Any, modulation: np.ndarray, snr_db: np.ndarray) -> Source:
    """Return a source of frames that a simulator makes whenever they are read.

    ``make`` is a ``signals.Simulator``; the labels are int64 and float32 [frame].
    """
    rows = np.arange(len(modulation))
    return Source(make, modulation, snr_db, make.classes, rows, make.samples)


def check(frames: Frames, *, samples: int | None = None, rows: np.ndarray | None = None) -> Frames:
    """Return the frames if they can be used; else raise InputError with the index and the count.

    Refused are IQ that is not complex [frame, sample] (of ``samples`` samples if given), label
    arrays of another length, NaN or infinite samples, frames without power, modulations outside
    the classes, and SNRs that are not finite. Messages name frames by ``rows``, their indices where
    they come from; 0, 1, 2, ... by default.
    """
    iq = frames.iq
    if iq.ndim != 2 or not np.iscomplexobj(iq):
        raise InputError(f"IQ must be complex [frame, sample]; it is {iq.dtype} {iq.shape}.")
    rows = np.arange(len(iq)) if rows is None else rows
    if samples is not None and iq.shape[1] != samples:
        raise InputError(
            f"Frames from index {rows[0] if len(rows) else 0} on have {iq.shape[1]} samples; "
            f"{samples} are expected."
        )
    if not iq.shape[:1] == frames.modulation.shape == frames.snr_db.shape:
        raise InputError(
            f"There are {len(iq)} frames, modulation labels of shape {frames.modulation.shape} and "
            f"SNR labels of shape {frames.snr_db.shape}; each frame needs one of each."
        )
    if not np.issubdtype(frames.modulation.dtype, np.integer):
        raise InputError(f"Modulation labels must be integers; they are {frames.modulation.dtype}.")
    power = np.concatenate(
        [_power(iq[start : start + 64]) for start in range(0, len(iq), 64)] or [np.empty(0)]
    )
    _refuse(~np.isfinite(power), "hold NaN or infinite samples", rows)
    _refuse(power < np.finfo(np.float32).tiny, "have no power at all", rows)
    outside = (frames.modulation < 0) | (frames.modulation >= len(frames.classes))
    what = f"have a modulation label outside the {len(frames.classes)} classes"
    _refuse(outside, what, rows, frames.modulation)
    _refuse(~np.isfinite(frames.snr_db), "have an SNR that is not finite", rows)
    return frames


def _power(iq: np.ndarray) -> np.ndarray:
    """Return each frame's mean power, in double precision, which no sample's square exceeds."""
    parts = np.ascontiguousarray(iq, np.complex64).view(np.float32).astype(np.float64)
    return np.einsum("fs,fs->f", parts, parts) / max(1, iq.shape[1])


def _refuse(bad: np.ndarray, what: str, rows: np.ndarray, values: np.ndarray | None = None) -> None:
    if bad.any():
        first = int(bad.argmax())
        value = "" if values is None else f" ({values[first]})"
        raise InputError(
            f"{int(bad.sum())} of {len(rows)} frames {what}, "
            f"the first at index {int(rows[first])}{value}."
        )
