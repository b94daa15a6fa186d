"""Known or not: what recordings of known signals look like, by medians over their frames.

A single frame of a known signal may show anything in noise; the median of a trait over several
frames may not. How far it may lie depends on their number and on the SNR, and is measured on
simulated recordings. Real receivers filter and drift in ways that no simulator has: limits are
wider by what ``REASONS`` says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from modsnr import InputError
from modsnr.receiver import TRAITS

SIZES = (1, 2, 4, 8, 16)  # numbers of frames for which limits are learned
REACH_DB = 3.0  # recordings so near in SNR count for a limit
CONFIDENCE = "confidence"  # the mean probability of the vote, beside the traits
COLUMNS = (*TRAITS, CONFIDENCE)
LEAST_CONFIDENCE = 0.2  # of a name, whatever known signals show at low SNR
# Of which side of which column a limit is made, by how much it is wider than what was simulated,
# and what it means to lie beyond. The noise's spectrum and lines beside the signal say nothing of
# the signal: many real receivers have their own.
REASONS = {
    ("misfit of the signal's spectrum", "high"): (0.5, "its spectrum is of another pulse"),
    ("strongest line in the signal's band", "high"): (1.0, "a carrier stands in its band"),
    ("E|s|^4 / (E|s|^2)^2 in the band", "low"): (0.12, "its envelope is too steady"),
    ("E|s|^4 / (E|s|^2)^2 in the band", "high"): (0.3, "its envelope is too uneven"),
    ("line at the symbol rate", "low"): (0.3, "it has no clock at the symbol rate"),
    ("likelihood of the symbols less the expected one, deviations", "low"): (
        10.0,
        "its symbols fit no alphabet",
    ),
    (CONFIDENCE, "low"): (0.2, "its frames agree on no modulation"),
}


@dataclass(frozen=True)
class Limits:
    """Of medians over so many frames: the least and the most of known signals.

    The limits, [size, place, column], are of ``sizes`` frames and ``snrs_db``.
    """

    sizes: np.ndarray  # int64 [size], ascending
    snrs_db: np.ndarray  # float32 [place], ascending
    low: np.ndarray  # float32 [size, place, column]
    high: np.ndarray  # float32 [size, place, column]

    def reasons(self, columns: np.ndarray, snr_db: float, frames: int) -> list[str]:
        """Return why a signal of so many ``frames`` is not known, nothing if it may be.

        ``columns`` is float [column], the medians over its frames, see ``summary``.
        """
        size = int(np.searchsorted(self.sizes, frames, "right")) - 1
        place = int(np.abs(self.snrs_db - snr_db).argmin())
        found = []
        for (name, side), (tolerance, reason) in REASONS.items():
            column, upper = COLUMNS.index(name), side == "high"
            limit = (self.high if upper else self.low)[size, place, column]
            beyond = columns[column] - limit if upper else limit - columns[column]
            vague = name == CONFIDENCE and columns[column] < LEAST_CONFIDENCE
            if beyond > tolerance or vague:
                found.append(reason)
        return found


def summary(traits: np.ndarray, likely: np.ndarray, vote: int) -> np.ndarray:
    """Return ``COLUMNS`` of a signal's frames, float32 [column].

    ``traits`` is [frame, trait], ``likely`` [frame, class], ``vote`` the class of the signal.
    """
    return np.append(np.median(traits, 0), likely[:, vote].mean()).astype(np.float32)


def learn(columns: np.ndarray, snr_db: np.ndarray, snrs_db: np.ndarray, share: float) -> Limits:
    """Return the limits by known recordings, of which such a share lies beyond each.

    ``columns`` is float [size, recording, column], summaries of the first frames of each for each
    of ``SIZES``; ``snr_db``, [size, recording], are the SNRs that go with them.

    Raises InputError where there are too few recordings about an SNR.
    """
    fewest = math.ceil(1 / share)
    edges = np.empty((2, len(SIZES), len(snrs_db), columns.shape[2]), np.float32)
    for size, place in np.ndindex(len(SIZES), len(snrs_db)):
        near = np.abs(snr_db[size] - snrs_db[place]) <= REACH_DB
        if near.sum() < fewest:
            raise InputError(
                f"{near.sum()} recordings near {snrs_db[place]:g} dB set no limit: {fewest} must."
            )
        edges[:, size, place] = np.quantile(columns[size][near], (share, 1 - share), axis=0)
    return Limits(np.array(SIZES), np.asarray(snrs_db, np.float32), *edges)
