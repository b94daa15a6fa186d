"""What a foreign file offers: labels, known at once, and frames, read when they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from modsnr import InputError

# Of rows int64, modulation (integers), snr_db float32, each [frame]; complex64 [frame, sample].
Read = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Source:
    """Labelled frames in a file, the frames still unread.

    ``read(rows, modulation, snr_db)`` returns complex64 [frame, sample] for ascending ``rows`` of
    the file and their labels, which only a simulator looks at. It can be sent to another process:
    it holds a path and settings, no open file and no labels.
    """

    path: Path
    kind: str  # "RadioML 2018.01A", say: what people call such a file
    classes: tuple[str, ...]
    modulation: np.ndarray  # signed integers [frame], index into classes
    snr_db: np.ndarray  # float32 [frame], as the file labels it
    rows: np.ndarray  # int64 [frame], ascending: where each frame stands in the file
    samples: int  # a frame
    read: Read
    snr_definition: str  # what the file, or its documentation, says that its SNR means
    facts: dict[str, Any] = field(default_factory=dict)  # for the data card: names to numbers, text

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, classes: Collection[str] = (), snrs_db: Collection[float] = ()) -> Source:
        """Return the source restricted to ``classes``, in that order, and ``snrs_db``; none: all.

        Raises InputError for a class or an SNR of which the file has no frame.
        """
        classes, snrs_db = tuple(classes) or self.classes, tuple(snrs_db)
        if classes == self.classes and not snrs_db:
            return self
        for name in classes:
            if name not in self.classes:
                raise InputError(
                    f"{self.path} has no class {name!r}; it has {', '.join(self.classes)}."
                )
        number = np.full(len(self.classes), -1, self.modulation.dtype)
        number[[self.classes.index(name) for name in classes]] = np.arange(len(classes))
        kept = number[self.modulation] >= 0
        if snrs_db:
            present = np.unique(self.snr_db[kept])
            missing = [snr for snr in snrs_db if snr not in present]
            if missing:
                raise InputError(
                    f"{self.path} has no frame at {missing[0]:g} dB; it has frames at "
                    f"{', '.join(f'{snr:g}' for snr in present)} dB."
                )
            kept &= np.isin(self.snr_db, np.asarray(snrs_db, np.float32))
        renamed = replace(self, classes=classes, modulation=number[self.modulation])
        return renamed.keep(kept)

    def between(self, low_db: float, high_db: float) -> Source:
        """Return the source restricted to SNRs from ``low_db`` to ``high_db``.

        Raises InputError if no frame has such an SNR.
        """
        kept = (self.snr_db >= low_db) & (self.snr_db <= high_db)
        if not kept.any():
            raise InputError(
                f"{self.path} has no frame from {low_db:g} to {high_db:g} dB; its frames are at "
                f"{', '.join(f'{snr:g}' for snr in np.unique(self.snr_db))} dB."
            )
        return self.keep(kept)

    def keep(self, kept: np.ndarray) -> Source:
        """Return the source restricted to frames by a mask, bool [frame], or their places."""
        if kept.dtype == bool and kept.all():
            return self
        return replace(
            self,
            modulation=self.modulation[kept],
            snr_db=self.snr_db[kept],
            rows=self.rows[kept],
        )


def simulated(make: Any, modulation: np.ndarray, snr_db: np.ndarray, snr_definition: str) -> Source:
    """Return frames that a simulator makes when asked for as a source like any file.

    ``make`` is a ``signals.Simulator``; the labels are int64 and float32 [frame].
    """
    return Source(
        path=Path(),
        kind="simulated",
        classes=make.classes,
        modulation=modulation,
        snr_db=snr_db,
        rows=np.arange(len(modulation)),
        samples=make.samples,
        read=make,
        snr_definition=snr_definition,
    )


PIECE = 2**20  # bytes hashed at a time
PIECES = 64  # of a file that is not hashed whole


def fingerprint(path: Path | str, *, whole: bool = False) -> str:
    """Return a hash of a source's bytes, by which it is known again; empty if it is no file.

    Of a folder all files count, with their names. Unless ``whole``, only 64 pieces of 1 MiB of a
    large file are read, spread evenly from its first byte to its last, and its size: enough to
    tell two files apart, not to find a flipped bit. The result says which it is.

    Raises InputError if a file cannot be read.
    """
    path = Path(path)
    if path == Path():
        return ""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    total, sampled = hashlib.sha256(), False
    try:
        for file in files:
            size = file.stat().st_size
            if file != path:
                total.update(f"{file.relative_to(path)} {size}\n".encode())
            places = range(0, size, PIECE)
            if not whole and len(places) > PIECES:
                sampled = True
                total.update(str(size).encode())
                places = [round(k * (size - PIECE) / (PIECES - 1)) for k in range(PIECES)]
            with open(file, "rb", buffering=0) as opened:
                for place in places:
                    opened.seek(place)
                    total.update(opened.read(PIECE))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return f"{'sampled ' if sampled else ''}sha256:{total.hexdigest()}"
