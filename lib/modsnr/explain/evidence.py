"""Scores of a network's answers, for which methods of attribution look for reasons.

Every method takes a score and diagrams float32 [frame, view, bins, bins], and returns float32 of
the same shape. What is hidden is black. The score is taken of the whole batch at a time, in the
order of its frames, so it may hold their labels. Networks are expected in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from modsnr import InputError

ANSWERS = ("modulation", "snr")  # in the order in which a network returns them
Score = Callable[[Tensor], Tensor]  # diagrams float32 [frame, view, bins, bins] -> values [frame]
Forward = Callable[[Tensor], Sequence[Tensor]]  # diagrams -> modulation's logits, SNR or its logits


def evidence(
    forward: Forward, task: str, modulation: Tensor, snr_db: Tensor, grid_db: Tensor
) -> Score:
    """Return the score of a task, diagrams to values [frame], for frames of these true labels.

    ``forward`` returns the modulation's logits [frame, class], and the SNR in dB [frame] or its
    logits [frame, SNR] over ``grid_db``; the score has its gradients. modulation: the
    log-probability of the true class. snr: minus the error of the estimate in dB, or the
    log-probability of the true SNR. Frames repeated as a whole, as captum does, keep their labels.
    """
    place = (snr_db.unsqueeze(1) - grid_db).abs().argmin(1)
    return _against(forward, task, modulation if task == "modulation" else place, snr_db)


def own_answer(forward: Forward, task: str, diagrams: Tensor) -> Score:
    """Return the score of the answer that a network itself gives to whole diagrams.

    As ``evidence``, with the network's decisions in the place of the labels: its answer where
    pixels are missing is compared with its answer to all of them.
    """
    with torch.no_grad():
        answer = forward(diagrams)[ANSWERS.index(task)]
    return _against(forward, task, answer.argmax(1) if answer.ndim == 2 else None, answer)


def _against(forward: Forward, task: str, column: Tensor | None, snr_db: Tensor) -> Score:
    """Return the score of ``column`` of an answer's logits, or of its distance to ``snr_db``."""

    def score(diagrams: Tensor) -> Tensor:
        answer = forward(diagrams)[ANSWERS.index(task)].float()
        times = len(answer) // len(snr_db)  # rows are frames, repeated as a whole
        if column is not None and answer.ndim == 2:
            chosen = column.repeat(times).unsqueeze(1)
            return answer.log_softmax(1).gather(1, chosen).squeeze(1)
        return -(answer - snr_db.repeat(times)).abs()

    return score


def check(diagrams: Tensor) -> None:
    """Raise InputError for diagrams [frame, ..., bins, bins] that are not finite or empty."""
    flat = diagrams.flatten(1)
    faults = {
        "hold NaN or infinite values": ~flat.isfinite().all(1),
        "are empty": (flat == 0).all(1),
    }
    for fault, found in faults.items():
        if found.any():
            raise InputError(
                f"{int(found.sum())} diagrams {fault}, the first at index "
                f"{int(found.nonzero()[0])}."
            )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's own generator on the CPU by a seed, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs' as well
        yield
