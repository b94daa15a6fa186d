"""What a foreign file offers: labels that are known at once, frames that are read when asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from modsnr import InputError

# (rows int64 [frame], modulation int64 [frame], snr_db float32 [frame]) -> complex64 [frame, sample]
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
    modulation: np.ndarray  # int64 [frame], index into classes
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
        for name in classes:
            if name not in self.classes:
                raise InputError(
                    f"{self.path} has no class {name!r}; it has {', '.join(self.classes)}."
                )
        number = np.full(len(self.classes), -1, np.int64)
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
        return replace(
            self,
            classes=classes,
            modulation=number[self.modulation[kept]],
            snr_db=self.snr_db[kept],
            rows=self.rows[kept],
        )
