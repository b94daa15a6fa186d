"""Attributions to regions: what parts of diagrams, rather than pixels, add to a score.

To captum the regions are the inputs, 1 where one is shown and 0 where it is black. They are so few
that most methods need the same sets of them again and again; the score of each is taken once.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from modsnr import InputError
from modsnr.explain.evidence import Score, at_least_one, check, seeded, value

EXACT = 4  # regions up to which Shapley values are summed over all orders instead of drawn ones


def feature_ablation(score: Score, diagrams: Tensor, regions: Tensor) -> Tensor:
    """Return what a score loses without each region (captum's FeatureAblation).

    ``regions`` is int64 [view, bins, bins] (or [1, view, bins, bins]) and numbers the regions of
    all views together from 0 on. Every pixel of a region carries the region's whole loss, as it
    does in all methods that hide regions: sum over regions, not over pixels.

    Raises InputError for regions that leave a number out or do not fit the diagrams, and for
    diagrams that are none.
    """
    from captum.attr import FeatureAblation  # here: it takes seconds to import

    play, everyone, regions = _game(score, diagrams, regions)
    return FeatureAblation(play).attribute(everyone)[:, regions]


def shapley_values(
    score: Score, diagrams: Tensor, regions: Tensor, *, samples: int = 25, seed: int = 0
) -> Tensor:
    """Return each region's Shapley value: what it adds to a score, averaged over all orders.

    ``regions`` as in ``feature_ablation``. The values of a frame's regions sum to its score less
    that of a black diagram. Up to ``EXACT`` regions all orders are tried, else ``samples`` drawn
    ones, the same for all frames (captum's ShapleyValueSampling, after Castro, Gomez and Tejada
    2009). torch's own generator is not touched.

    Raises InputError as ``feature_ablation``, and for samples below 1.
    """
    from captum.attr import ShapleyValues, ShapleyValueSampling

    at_least_one(samples=samples)
    play, everyone, regions = _game(score, diagrams, regions)
    if everyone.shape[1] <= EXACT:
        return ShapleyValues(play).attribute(everyone)[:, regions]
    with seeded(seed):
        values = ShapleyValueSampling(play).attribute(everyone, n_samples=samples)
    return values[:, regions]


def kernel_shap(
    score: Score, diagrams: Tensor, regions: Tensor, *, samples: int = 200, seed: int = 0
) -> Tensor:
    """Return each region's Shapley value as a weighted regression finds it (captum's KernelShap).

    ``regions`` as in ``feature_ablation``. The regression (Lundberg and Lee 2017) is fitted frame
    by frame to the score with ``samples`` drawn sets of regions shown, the same sets for all
    frames: the score is taken once a set, of the whole batch. torch's own generator is not touched.

    Raises InputError as ``feature_ablation``, for a lone region, and for samples whose sets do not
    determine the regression.
    """
    from captum.attr import KernelShap

    at_least_one(samples=samples)
    play, everyone, regions = _game(score, diagrams, regions)
    players = everyone.shape[1]
    if players < 2:
        raise InputError("Kernel SHAP shares a score out among regions; there is only one.")
    sets: list[Tensor] = []

    def of_frame(shown: Tensor, frame: int) -> Tensor:
        sets.append(shown)
        return play(shown)[frame : frame + 1]

    values = torch.zeros_like(everyone)
    for frame in range(len(diagrams)):
        method = KernelShap(partial(of_frame, frame=frame))
        with seeded(seed):
            values[frame] = method.attribute(everyone[:1], n_samples=samples)
    if _rank(torch.cat(sets)) <= players:
        raise InputError(
            f"{samples} samples do not determine the shares of {players} regions: take more."
        )
    return values[:, regions]


def _rank(sets: Tensor) -> int:
    """Return how many unknowns a regression on these sets of regions, with intercept, can tell."""
    unknowns = nn.functional.pad(sets.double().unique(dim=0), (1, 0), value=1.0)
    return int(torch.linalg.matrix_rank(unknowns))


def _game(score: Score, diagrams: Tensor, regions: Tensor) -> tuple[Score, Tensor, Tensor]:
    """Return a score as a game that regions play, everyone playing, and the regions, checked.

    The game maps float32 [frame, region], 1 where a region is shown and 0 where it is black, all
    rows alike, to values [frame], and remembers them.
    """
    check(diagrams)
    regions = regions[0] if regions.ndim == 4 and len(regions) == 1 else regions
    if regions.dtype != torch.int64 or regions.shape != diagrams.shape[1:]:
        raise InputError(
            f"Regions must be int64 {list(diagrams.shape[1:])}, a number for each pixel of a "
            f"diagram; they are {regions.dtype} {list(regions.shape)}."
        )
    regions = regions.to(diagrams.device)
    numbers = regions.unique()
    if not torch.equal(numbers, torch.arange(len(numbers), device=numbers.device)):
        raise InputError(
            f"Regions must be numbered from 0 on without a gap; {len(numbers)} numbers lie in "
            f"{int(numbers[0])}..{int(numbers[-1])}."
        )
    played: dict[tuple[float, ...], Tensor] = {}

    def play(shown: Tensor) -> Tensor:
        which = tuple(shown[0].tolist())
        if which not in played:
            with torch.no_grad():
                mask = shown[0].to(diagrams.dtype)[regions]
                played[which] = value(score, diagrams * mask)
        return played[which]

    everyone = torch.ones(len(diagrams), len(numbers), device=diagrams.device)
    return play, everyone, regions
