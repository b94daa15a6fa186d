"""Frames that go through the receiver as they are read, so that a store holds them received."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from modsnr import InputError
from modsnr.receiver.receiving import receive
from modsnr.receiver.timing import SAMPLES_PER_SYMBOL


@dataclass(frozen=True)
class Receiving:
    """What reads a source's frames and puts them through the receiver.

    It can be sent to another process where ``read`` can. A frame is what ``receive`` makes of it;
    one without power or with samples that are not finite stays as it is, for the store to refuse.

    Raises InputError for another number of samples a symbol than the receiver's.
    """

    read: Callable[..., np.ndarray]  # complex64 [frame, sample], of rows and their labels
    samples_per_symbol: int = SAMPLES_PER_SYMBOL

    def __post_init__(self) -> None:
        if self.samples_per_symbol != SAMPLES_PER_SYMBOL:
            raise InputError(
                f"The receiver needs {SAMPLES_PER_SYMBOL} samples a symbol, not "
                f"{self.samples_per_symbol}: pass -p receiver false."
            )

    def __call__(self, rows: np.ndarray, modulation: np.ndarray, snr_db: np.ndarray) -> np.ndarray:
        """Return received frames, complex64 [frame, sample]."""
        iq = np.array(self.read(rows, modulation, snr_db), np.complex64)
        good = np.isfinite(iq).all(1) & iq.any(1)
        if good.any():
            with torch.inference_mode():
                iq[good] = receive(torch.from_numpy(iq[good])).iq.numpy(force=True)
        return iq
