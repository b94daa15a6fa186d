"""Scores of a network's answers, and what all methods of attribution check.

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
    check_task(task)
    with torch.no_grad():
        answer = forward(diagrams)[ANSWERS.index(task)]
    return _against(forward, task, answer.argmax(1) if answer.ndim == 2 else None, answer)


def _against(forward: Forward, task: str, column: Tensor | None, snr_db: Tensor) -> Score:
    """Return the score of a column of an answer's logits, int64 [frame], or, where the answer is
    an estimate in dB, of its distance to ``snr_db`` [frame]."""
    check_task(task)

    def score(diagrams: Tensor) -> Tensor:
        answer = forward(diagrams)[ANSWERS.index(task)]
        times = len(answer) // len(snr_db)  # rows are frames, repeated as a whole
        if column is not None and answer.ndim == 2:
            chosen = column.repeat(times).unsqueeze(1)
            return answer.float().log_softmax(1).gather(1, chosen).squeeze(1)
        return -(answer - snr_db.repeat(times)).abs()

    return score


def value(score: Score, diagrams: Tensor) -> Tensor:
    """Return the score of diagrams, float32 [frame]. Raises InputError for any other shape."""
    values = score(diagrams)
    if values.shape != diagrams.shape[:1]:
        raise InputError(
            f"A score must be one value a frame, [{len(diagrams)}]; it is {list(values.shape)}."
        )
    return values.float()


def value_with_gradients(score: Score, diagrams: Tensor) -> Tensor:
    """Return ``value``. Raises InputError also for a score without gradients."""
    values = value(score, diagrams)
    if not values.requires_grad:
        raise InputError("The score has no gradients: it decides, or is taken under no_grad.")
    return values


def check_task(task: str) -> None:
    """Raise InputError for what is no answer of a network."""
    if task not in ANSWERS:
        raise InputError(f"There is evidence for modulation and snr; {task!r} is neither.")


def check(diagrams: Tensor) -> None:
    """Raise InputError for what is no batch of diagrams."""
    if diagrams.ndim != 4 or not diagrams.is_floating_point() or not diagrams.numel():
        raise InputError(
            "Diagrams must be floats [frame, view, bins, bins] and some; they are "
            f"{diagrams.dtype} {list(diagrams.shape)}."
        )
    finite = diagrams.isfinite().flatten(1).all(1)
    if not finite.all():
        raise InputError(
            f"{int((~finite).sum())} diagrams hold NaN or infinite values, the first at index "
            f"{int((~finite).nonzero()[0])}."
        )


def at_least_one(**counts: int) -> None:
    """Raise InputError for a count below 1, by its name."""
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"{name} must be 1 or more; it is {count}.")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's own generator on the CPU by a seed, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs' as well
        yield
