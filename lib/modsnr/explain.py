"""Perturbations of diagrams and what they cost: the perturbation impact score, and attributions.

A mask says which pixels of one view are blackened. Masks are pure functions of diagrams and a
generator; accuracies come from the caller's model. The study counted p % of the occupied pixels
for its brightest and dimmest masks but p % of all pixels, mostly empty background, for its random
ones; here every mask reports the share it really hid in both conventions, and ``random`` hides as
many occupied pixels as the brightest and dimmest masks do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from modsnr import InputError
from modsnr.metrics import Interval, difference, right

METHODS = ("brightest", "dimmest", "random", "random_image")
FRACTIONS = (0.01, 0.05, 0.10)
TASKS = ("modulation", "snr", "joint")

Draw = Callable[[Tensor], Tensor]  # IQ complex64 [frame, sample] -> diagrams
# diagrams -> modulation, SNR in dB, [frame] each; what follows these two is not looked at
Decide = Callable[[Tensor], Sequence[Tensor]]


class Mask(NamedTuple):
    """``hidden`` is bool [frame, bins, bins]; the shares are float64 [frame]: of the view's
    occupied (non-zero) pixels and of all its pixels, how many are hidden."""

    hidden: Tensor
    share_of_occupied: Tensor
    share_of_image: Tensor


def masks(
    images: Tensor, fractions: Sequence[float], *, generator: torch.Generator
) -> dict[tuple[str, float], Mask]:
    """Return every method's mask at every fraction for images float32 [frame, bins, bins].

    brightest, dimmest: that fraction of the occupied pixels, by value, ties broken at random.
    random: as many occupied pixels, drawn at random. random_image: that fraction of all pixels
    (the study's control). Counts are rounded, but no mask of an image that has points is empty.

    Raises InputError for fractions outside 0..1 (0 excluded), images that are not finite or empty.
    """
    _check(images, fractions)
    flat = images.flatten(1).double()
    occupied, pixels = flat > 0, flat.shape[1]
    count = occupied.sum(1)
    chance = torch.rand(flat.shape, generator=generator, device=flat.device, dtype=torch.float64)
    # Ties are broken by a chance too small, at any scale, to reorder single-precision values.
    shaken = flat * (1 + 1e-9 * chance)
    nothing = torch.full_like(flat, -torch.inf)
    keys = {
        "brightest": torch.where(occupied, shaken, nothing),
        "dimmest": torch.where(occupied, -shaken, nothing),
        "random": torch.where(occupied, chance, nothing),
        "random_image": chance,
    }
    result = {}
    for method in METHODS:
        whole = torch.full_like(count, pixels) if method == "random_image" else count
        sizes = [(whole * fraction).round().long().clamp(min=1) for fraction in fractions]
        deepest = int(torch.stack(sizes).max())
        order = keys[method].topk(deepest, dim=1).indices  # [frame, place]
        places = torch.arange(deepest, device=flat.device)
        for fraction, size in zip(fractions, sizes, strict=True):
            chosen = places < size.unsqueeze(1)
            hidden = torch.zeros_like(occupied).scatter_(1, order, chosen)
            result[method, fraction] = Mask(
                hidden.view(images.shape),
                (hidden & occupied).sum(1).double() / count,
                size.double() / pixels,
            )
    return result


def _check(images: Tensor, fractions: Sequence[float]) -> None:
    if not all(0 < fraction <= 1 for fraction in fractions):
        raise InputError(f"Mask fractions must lie above 0 and up to 1; they are {fractions}.")
    if not len(images):
        raise InputError("There are no diagrams to mask.")
    if not torch.isfinite(images).all():
        raise InputError("A diagram holds NaN or infinite values; nothing can be ranked in it.")
    empty = (images.flatten(1).max(1).values <= 0).nonzero().flatten()
    if len(empty):
        raise InputError(f"{len(empty)} diagrams are empty, the first at index {int(empty[0])}.")


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


def evidence(
    forward: Callable[[Tensor], Sequence[Tensor]],
    decide: Decide,
    task: str,
    modulation: Tensor,
    snr_db: Tensor,
) -> Callable[[Tensor], Tensor]:
    """Return the score of a task, diagrams to values [frame], for frames of these true labels.

    modulation: the log-probability of the true class, from the logits that ``forward`` returns
    first. snr: minus the error of the estimate, in dB, from ``decide``.
    """
    if task == "modulation":
        rows = torch.arange(len(modulation), device=modulation.device)
        return lambda diagrams: forward(diagrams)[0].log_softmax(1)[rows, modulation]
    if task == "snr":
        return lambda diagrams: -(decide(diagrams)[1] - snr_db).abs()
    raise InputError(f"There is evidence for modulation and snr; {task!r} is neither.")


def occlusion(
    score: Callable[[Tensor], Tensor], diagrams: Tensor, *, window: int, stride: int
) -> Tensor:
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
