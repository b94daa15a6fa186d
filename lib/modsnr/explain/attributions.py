"""Attributions: how much each pixel of a diagram holds up a score."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from modsnr import InputError

Score = Callable[[Tensor], Tensor]  # diagrams float32 [frame, view, bins, bins] -> values [frame]


def evidence(
    forward: Callable[[Tensor], Sequence[Tensor]],
    task: str,
    modulation: Tensor,
    snr_db: Tensor,
    grid_db: Tensor,
) -> Score:
    """Return the score of a task, diagrams to values [frame], for frames of these true labels.

    ``forward`` returns the modulation's logits [frame, class], and the SNR in dB [frame] or its
    logits [frame, SNR] over ``grid_db``; the score has its gradients. modulation: the
    log-probability of the true class. snr: minus the error of the estimate in dB, or the
    log-probability of the true SNR. Frames repeated as a whole, as captum does, keep their labels.
    """
    if task not in ("modulation", "snr"):
        raise InputError(f"There is evidence for modulation and snr; {task!r} is neither.")
    place = (snr_db.unsqueeze(1) - grid_db).abs().argmin(1)

    def of_modulation(diagrams: Tensor) -> Tensor:
        return _chosen(forward(diagrams)[0], modulation)

    def of_snr(diagrams: Tensor) -> Tensor:
        said = forward(diagrams)[1]
        if said.ndim == 2:
            return _chosen(said, place)
        return -(said - snr_db.repeat(len(said) // len(snr_db))).abs()

    return of_modulation if task == "modulation" else of_snr


def _chosen(logits: Tensor, of_frame: Tensor) -> Tensor:
    """Return the log-probability [row] of what each row's frame is; rows are frames, repeated."""
    column = of_frame.repeat(len(logits) // len(of_frame)).unsqueeze(1)
    return logits.float().log_softmax(1).gather(1, column).squeeze(1)


def occlusion(score: Score, diagrams: Tensor, *, window: int, stride: int) -> Tensor:
    """Return how much each pixel's surroundings hold up a score: float32, the shape of diagrams.

    ``score`` maps diagrams to values [frame]; a square window is blackened in one view at a time
    (captum's Occlusion, after Zeiler and Fergus 2014) and the score's loss is spread over it.

    Raises InputError for a window that does not fit, and where captum is not installed.
    """
    try:
        from captum.attr import Occlusion  # here: nothing else of this module needs it
    except ImportError as error:
        missing = f"Occlusion is captum's, which is not here ({error}): install it."
        raise InputError(missing) from error
    if not 0 < stride <= window <= diagrams.shape[-1]:
        raise InputError(
            f"Occlusion needs 0 < stride <= window <= bins; they are {stride}, {window}, "
            f"{diagrams.shape[-1]}."
        )
    with torch.no_grad():
        return Occlusion(score).attribute(
            diagrams,
            sliding_window_shapes=(1, window, window),
            strides=(1, stride, stride),
            baselines=0.0,
        )
