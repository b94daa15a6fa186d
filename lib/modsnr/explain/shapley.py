"""Attributions to regions: what parts of diagrams, rather than pixels, add to a score.

To captum the regions are the inputs, 1 where one is shown and 0 where it is black. They are so few
that most methods need the same sets of them again and again; the score of each is taken once.

``regions`` is int64 [view, bins, bins] and numbers the regions of all views together from 0 on.
Every pixel of a region carries the whole of what is attributed to the region: sum over regions, not
over pixels. torch's own generator is not touched.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from modsnr import InputError
from modsnr.explain.evidence import Score, check, seeded

EXACT = 4  # regions up to which Shapley values are summed over all orders instead of drawn ones


def feature_ablation(score: Score, diagrams: Tensor, regions: Tensor) -> Tensor:
    """Return what a score loses without each region (captum's FeatureAblation)."""
    from captum.attr import FeatureAblation  # here: it takes seconds to import

    play, everyone = _game(score, diagrams, regions)
    return FeatureAblation(play).attribute(everyone)[:, regions]


def shapley_values(
    score: Score, diagrams: Tensor, regions: Tensor, *, samples: int = 25, seed: int = 0
) -> Tensor:
    """Return each region's Shapley value: what it adds to a score, averaged over all orders.

    The values of a frame's regions sum to its score less that of a black diagram. Up to ``EXACT``
    regions all orders are tried, else ``samples`` drawn ones, the same for all frames (captum's
    ShapleyValueSampling, after Castro, Gomez and Tejada 2009).
    """
    from captum.attr import ShapleyValues, ShapleyValueSampling

    play, everyone = _game(score, diagrams, regions)
    if everyone.shape[1] <= EXACT:
        return ShapleyValues(play).attribute(everyone)[:, regions]
    with seeded(seed):
        values = ShapleyValueSampling(play).attribute(everyone, n_samples=samples)
    return values[:, regions]


def kernel_shap(
    score: Score, diagrams: Tensor, regions: Tensor, *, samples: int = 200, seed: int = 0
) -> Tensor:
    """Return each region's Shapley value as a weighted regression finds it (captum's KernelShap).

    The regression (Lundberg and Lee 2017) is fitted frame by frame to the score with ``samples``
    drawn sets of regions shown, the same sets for all frames: the score is taken once a set, of the
    whole batch.

    Raises InputError for samples whose sets do not determine the regression.
    """
    from captum.attr import KernelShap

    play, everyone = _game(score, diagrams, regions)
    players = everyone.shape[1]
    sets: list[Tensor] = []

    def of_frame(shown: Tensor, frame: int) -> Tensor:
        sets.append(shown)
        return play(shown)[frame : frame + 1]

    values = torch.zeros_like(everyone)
    for frame in range(len(diagrams)):
        method = KernelShap(partial(of_frame, frame=frame))
        with seeded(seed):
            values[frame] = method.attribute(everyone[:1], n_samples=samples)
    unknowns = nn.functional.pad(torch.cat(sets).double().unique(dim=0), (1, 0), value=1.0)
    if torch.linalg.matrix_rank(unknowns) <= players:
        raise InputError(
            f"{samples} samples do not determine the shares of {players} regions: take more."
        )
    return values[:, regions]


def _game(score: Score, diagrams: Tensor, regions: Tensor) -> tuple[Score, Tensor]:
    """Return a score as a game of regions shown [frame, region], all rows alike, and all shown."""
    check(diagrams)
    played: dict[tuple[float, ...], Tensor] = {}

    def play(shown: Tensor) -> Tensor:
        which = tuple(shown[0].tolist())
        if which not in played:
            with torch.no_grad():
                played[which] = score(diagrams * shown[0][regions])
        return played[which]

    return play, torch.ones(len(diagrams), int(regions.max()) + 1, device=diagrams.device)
