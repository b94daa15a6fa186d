"""Frames that go through the receiver as they are read, or before they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from modsnr import InputError
from modsnr.receiver.findings import FINDINGS, findings
from modsnr.receiver.receiving import receive
from modsnr.receiver.timing import SAMPLES_PER_SYMBOL
from modsnr.signals import Simulator


@dataclass(frozen=True)
class Receiving:
    """What reads a source's frames and puts them through the receiver.

    It can be sent to another process where ``read`` can. A frame is what ``receive`` makes of it,
    of a simulator with ``lengths`` what it makes of its own samples, zeros behind them; one without
    power or with samples that are not finite stays as it is, for the store to refuse.

    Raises InputError for another number of samples a symbol than the receiver's.
    """

    read: Callable[..., np.ndarray]  # complex64 [frame, sample], of rows and their labels
    samples_per_symbol: int = SAMPLES_PER_SYMBOL
    findings: ClassVar = FINDINGS

    def __post_init__(self) -> None:
        if self.samples_per_symbol != SAMPLES_PER_SYMBOL:
            raise InputError(
                f"The receiver needs {SAMPLES_PER_SYMBOL} samples a symbol, not "
                f"{self.samples_per_symbol}: pass -p receiver false."
            )

    def __call__(
        self, rows: np.ndarray, modulation: np.ndarray, snr_db: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return received frames, complex64 [frame, sample], and their ``FINDINGS``, float32."""
        iq = np.array(self.read(rows, modulation, snr_db), np.complex64)
        known = np.zeros((len(iq), len(FINDINGS)), np.float32)
        good = np.isfinite(iq).all(1) & iq.any(1)
        whole = np.full(len(iq), iq.shape[1])
        lengths = self.read.lengths_of(rows) if isinstance(self.read, Simulator) else whole
        for samples in np.unique(lengths[good]).tolist():
            mine = np.flatnonzero(good & (lengths == samples))
            with torch.inference_mode():
                found = receive(torch.from_numpy(iq[mine, :samples]))
                iq[mine, :samples], known[mine] = found.iq.numpy(), findings(found).numpy()
        return iq, known


def as_trained(parameters: Mapping[str, Any]) -> Callable[[Tensor], tuple[Tensor, Tensor | None]]:
    """Return what a training's frames went through before they were drawn, by its parameters.

    It maps complex [frame, sample] to the same and ``FINDINGS`` [frame, finding]: by ``receive`` if
    ``parameters`` say ``receiver``, else to the frames as they are and None.
    """
    if not parameters.get("receiver"):  # trainings before the receiver lack it
        return lambda iq: (iq, None)

    def received(iq: Tensor) -> tuple[Tensor, Tensor]:
        found = receive(iq)
        return found.iq, findings(found)

    return received
