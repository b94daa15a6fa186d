"""What hiding pixels costs: the perturbation impact score, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from modsnr import InputError
from modsnr.explain.fills import Fill, fill
from modsnr.explain.masks import Mask, masks
from modsnr.metrics import Answers, Interval, difference, share

TASKS = ("modulation", "snr", "joint")

Draw = Callable[[Tensor], Tensor]  # IQ complex64 [frame, sample] -> diagrams
# diagrams -> modulation, SNR in dB, [frame] each; what follows these two is not looked at
Decide = Callable[[Tensor], Sequence[Tensor]]
Key = TypeVar("Key", bound=Hashable)
KeyOut = TypeVar("KeyOut", bound=Hashable, covariant=True)


class Hide(Protocol[KeyOut]):
    """Images of one view, float32 [frame, bins, bins], to masks by name."""

    def __call__(self, images: Tensor, *, generator: torch.Generator) -> Mapping[KeyOut, Mask]: ...


class Impact(NamedTuple):
    """``right`` before and after hiding pixels, bool [frame] a task, and what was hidden of the
    frame's occupied pixels, of all its pixels and of its points, float64 [frame], means over the
    views masked."""

    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]
    share_of_occupied: np.ndarray
    share_of_image: np.ndarray
    share_of_points: np.ndarray

    def of(self, rows: np.ndarray) -> Impact:
        """Return the impact on some of the frames, bool or int64 [frame]."""
        before, after = (
            {task: values[rows] for task, values in outcomes.items()}
            for outcomes in (self.before, self.after)
        )
        return Impact(before, after, *(share[rows] for share in self[2:]))


def perturb(
    decide: Decide,
    draw: Draw,
    iq: Tensor,
    modulation: np.ndarray,
    snr_db: np.ndarray,
    *,
    view: int | None,
    grid_db: Sequence[float],
    hide: Hide[Key] = masks,
    how: Fill = "blackout",
    batch_size: int = 256,
    seed: int = 0,
    progress: bool = False,
) -> dict[Key, Impact]:
    """Return the impact of every mask on one view of the frames' diagrams.

    ``iq`` is complex64 [frame, sample] with its labels; ``view`` is the channel that is masked, the
    other channels stay; None masks each by itself and all at once. ``hide`` maps one view's images
    to masks by name, ``how`` fills what they hide. Nothing but one batch of diagrams is held at a
    time.
    """
    if not len(iq) == len(modulation) == len(snr_db) or not len(iq):
        raise InputError(
            f"Frames and their labels must be as many, and some: {len(iq)} frames, "
            f"{len(modulation)} modulations, {len(snr_db)} SNRs."
        )
    before: list[dict[str, np.ndarray]] = []
    after: dict[Key, list[dict[str, np.ndarray]]] = {}
    shares: dict[Key, list[np.ndarray]] = {}
    grid = np.asarray(grid_db)
    starts = range(0, len(iq), batch_size)
    for start in tqdm(starts, desc="perturb", unit="batch", disable=not progress):
        rows = slice(start, start + batch_size)
        truth = modulation[rows], snr_db[rows]
        diagrams = draw(iq[rows]).contiguous(memory_format=torch.channels_last)
        if view is not None and not 0 <= view < diagrams.shape[1]:
            raise InputError(f"The diagrams have {diagrams.shape[1]} views; there is no {view}.")
        generator = torch.Generator(diagrams.device).manual_seed(seed + start)
        before.append(_right(decide(diagrams), *truth, grid))
        channels = range(diagrams.shape[1]) if view is None else [view]
        covered = [hide(diagrams[:, channel], generator=generator) for channel in channels]
        for key in covered[0]:
            perturbed = diagrams.clone()
            for channel, found in zip(channels, covered, strict=True):
                perturbed[:, channel] = fill(
                    diagrams[:, channel], found[key].hidden, how, generator=generator
                )
            after.setdefault(key, []).append(_right(decide(perturbed), *truth, grid))
            both = [torch.stack(found[key][1:], 1) for found in covered]
            shares.setdefault(key, []).append(torch.stack(both).mean(0).cpu().numpy())
    whole = _joined(before)
    return {
        key: Impact(whole, _joined(after[key]), *np.concatenate(shares[key]).T) for key in after
    }


def _right(
    decisions: Sequence[Tensor], modulation: np.ndarray, snr_db: np.ndarray, grid: np.ndarray
) -> dict[str, np.ndarray]:
    decided = (part.cpu() for part in decisions[:2])
    return Answers(modulation, snr_db, *decided, grid).outcomes()


def _joined(pieces: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {task: np.concatenate([piece[task] for piece in pieces]) for task in TASKS}


def impact_scores(impact: Impact) -> dict[str, dict[str, Interval]]:
    """Return a task's accuracy, its accuracy_drop and its impact score in three conventions.

    PIS = (accuracy before - accuracy after) / share hidden: pis_of_occupied over the share of the
    occupied pixels that was really hidden, pis_of_image over the share of all pixels, the study's
    two; pis_of_points over the share of the points. Intervals are paired, over the
    frames.
    """
    result = {}
    for task in TASKS:
        drop = difference(impact.before[task], impact.after[task])
        left = share(impact.after[task])
        result[task] = {
            "accuracy": left,  # of what is left
            "accuracy_drop": drop,
            "pis_of_occupied": _scaled(drop, float(impact.share_of_occupied.mean())),
            "pis_of_image": _scaled(drop, float(impact.share_of_image.mean())),
            "pis_of_points": _scaled(drop, float(impact.share_of_points.mean())),
        }
    return result


def _scaled(drop: Interval, share: float) -> Interval:
    factor = 1 / share if share else 0.0  # a random mask that struck background only cost nothing
    return Interval(
        value=drop["value"] * factor, low=drop["low"] * factor, high=drop["high"] * factor
    )
