"""What a model answers to frames, beside the truth: everything else is measured on this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modsnr import InputError

TASKS = ("joint", "modulation", "snr")


def snap(snr_db: np.ndarray, grid_db: np.ndarray) -> np.ndarray:
    """Return the index of the grid point nearest to each estimate, int64 [frame]; -1 for NaN."""
    middles = (np.asarray(grid_db)[1:] + np.asarray(grid_db)[:-1]) / 2
    return np.where(np.isnan(snr_db), -1, np.searchsorted(middles, snr_db))


def check_estimates(snr_db: np.ndarray) -> None:
    """Raise InputError for no frames at all, and for estimates that are not numbers."""
    if not len(snr_db):
        raise InputError("There are no frames to summarise.")
    if missing := int(np.isnan(snr_db).sum()):
        raise InputError(f"{missing} of {len(snr_db)} SNR estimates are not numbers.")


@dataclass(frozen=True)
class Answers:
    """True and predicted labels of the same frames; arrays, lists or tensors on the CPU.

    An SNR estimate is right where the grid point nearest to it is the true one.

    Raises InputError where the columns are not equally long.
    """

    modulation: Any  # int [frame], index into classes
    snr_db: Any  # float [frame]
    predicted_modulation: Any  # int [frame]
    predicted_snr_db: Any  # float [frame], before it is snapped to the grid
    grid_db: Any  # float64 [SNR], ascending
    classes: tuple[str, ...] = ()  # names of the modulations; only some metrics need them

    def __post_init__(self) -> None:
        columns = ("modulation", "snr_db", "predicted_modulation", "predicted_snr_db")
        for name in columns:
            object.__setattr__(self, name, np.asarray(getattr(self, name)))
        object.__setattr__(self, "grid_db", np.asarray(self.grid_db, np.float64))
        object.__setattr__(self, "classes", tuple(str(name) for name in self.classes))
        lengths = {name: len(getattr(self, name)) for name in columns}
        if len(set(lengths.values())) > 1:
            raise InputError(f"Labels and predictions must belong to the same frames: {lengths}.")

    @classmethod
    def from_predictions(cls, saved: Mapping[str, Any]) -> Answers:
        """Return the answers that a run of 02 saved as predictions.npz."""
        return cls(**{name: saved[name] for name in cls.__dataclass_fields__})

    def __len__(self) -> int:
        return len(self.modulation)

    def modulation_right(self) -> np.ndarray:
        """Return where the modulation is right, bool [frame]."""
        return self.predicted_modulation == self.modulation

    def snr_right(self) -> np.ndarray:
        """Return where the SNR is right, bool [frame]."""
        return self.predicted_bin() == self.true_bin()

    def right(self) -> np.ndarray:
        """Return where both are right, bool [frame]."""
        return self.modulation_right() & self.snr_right()

    def outcomes(self) -> dict[str, np.ndarray]:
        """Return task (joint, modulation, snr) -> where it is right, bool [frame]."""
        modulation, snr = self.modulation_right(), self.snr_right()
        return {"joint": modulation & snr, "modulation": modulation, "snr": snr}

    def accuracies(self) -> dict[str, float]:
        """Return joint_accuracy (both right), modulation_accuracy and snr_accuracy."""
        return {f"{task}_accuracy": float(hits.mean()) for task, hits in self.outcomes().items()}

    def true_bin(self) -> np.ndarray:
        """Return the index of each frame's SNR in the grid, int64 [frame]."""
        return snap(self.snr_db, self.grid_db)

    def predicted_bin(self) -> np.ndarray:
        """Return the index of the grid point nearest to each estimate, int64 [frame]."""
        return snap(self.predicted_snr_db, self.grid_db)
