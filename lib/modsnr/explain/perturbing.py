"""What hiding pixels costs: the perturbation impact score, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from modsnr import InputError
from modsnr.explain.masks import FRACTIONS, masks
from modsnr.metrics import Interval, difference, right

TASKS = ("modulation", "snr", "joint")

Draw = Callable[[Tensor], Tensor]  # IQ complex64 [frame, sample] -> diagrams
# diagrams -> modulation, SNR in dB, [frame] each; what follows these two is not looked at
Decide = Callable[[Tensor], Sequence[Tensor]]


class Impact(NamedTuple):
    """``right`` before and after hiding pixels, bool [frame] a task; the mean shares hidden."""

    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]
    share_of_occupied: float
    share_of_image: float


def perturb(
    decide: Decide,
    draw: Draw,
    iq: Tensor,
    modulation: np.ndarray,
    snr_db: np.ndarray,
    *,
    view: int,
    grid_db: Sequence[float],
    fractions: Sequence[float] = FRACTIONS,
    batch_size: int = 256,
    seed: int = 0,
    progress: bool = False,
) -> dict[tuple[str, float], Impact]:
    """Return the impact of every mask on one view of the frames' diagrams.

    ``iq`` is complex64 [frame, sample] with its labels; ``view`` is the channel that is blackened,
    the other channels stay. Nothing but one batch of diagrams is held at a time.
    """
    if not len(iq) == len(modulation) == len(snr_db) or not len(iq):
        raise InputError(
            f"Frames and their labels must be as many, and some: {len(iq)} frames, "
            f"{len(modulation)} modulations, {len(snr_db)} SNRs."
        )
    before: list[dict[str, np.ndarray]] = []
    after: dict[tuple[str, float], list[dict[str, np.ndarray]]] = {}
    shares: dict[tuple[str, float], list[np.ndarray]] = {}
    grid = np.asarray(grid_db)
    starts = range(0, len(iq), batch_size)
    for start in tqdm(starts, desc="perturb", unit="batch", disable=not progress):
        rows = slice(start, start + batch_size)
        truth = modulation[rows], snr_db[rows]
        diagrams = draw(iq[rows]).contiguous(memory_format=torch.channels_last)
        if not 0 <= view < diagrams.shape[1]:
            raise InputError(f"The diagrams have {diagrams.shape[1]} views; there is no {view}.")
        generator = torch.Generator(diagrams.device).manual_seed(seed + start)
        before.append(_right(decide(diagrams), *truth, grid))
        covered = masks(diagrams[:, view], fractions, generator=generator)
        for key, mask in covered.items():
            perturbed = diagrams.clone()
            perturbed[:, view].masked_fill_(mask.hidden, 0.0)
            after.setdefault(key, []).append(_right(decide(perturbed), *truth, grid))
            both = torch.stack([mask.share_of_occupied, mask.share_of_image], 1)
            shares.setdefault(key, []).append(both.cpu().numpy())
    whole = _joined(before)
    return {
        key: Impact(whole, _joined(after[key]), *np.concatenate(shares[key]).mean(0).tolist())
        for key in after
    }


def _right(
    decisions: Sequence[Tensor], modulation: np.ndarray, snr_db: np.ndarray, grid: np.ndarray
) -> dict[str, np.ndarray]:
    decided, snr = (part.cpu().numpy() for part in decisions[:2])
    right_modulation, right_snr = right(modulation, snr_db, decided, snr, grid)
    return {
        "modulation": right_modulation,
        "snr": right_snr,
        "joint": right_modulation & right_snr,
    }


def _joined(pieces: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {task: np.concatenate([piece[task] for piece in pieces]) for task in TASKS}


def impact_scores(impact: Impact, *, seed: int = 0) -> dict[str, dict[str, Interval]]:
    """Return a task's accuracy_drop and its perturbation impact score in both conventions.

    PIS = (accuracy before - accuracy after) / share hidden: pis_of_occupied over the share of the
    occupied pixels that was really hidden, pis_of_image over the share of all pixels. Intervals
    are paired bootstraps over the frames.
    """
    result = {}
    for task in TASKS:
        drop = difference(impact.before[task], impact.after[task], seed=seed)
        result[task] = {
            "accuracy_drop": drop,
            "pis_of_occupied": _scaled(drop, impact.share_of_occupied),
            "pis_of_image": _scaled(drop, impact.share_of_image),
        }
    return result


def _scaled(drop: Interval, share: float) -> Interval:
    factor = 1 / share if share else 0.0  # a random mask that struck background only cost nothing
    return Interval(
        value=drop["value"] * factor, low=drop["low"] * factor, high=drop["high"] * factor
    )
