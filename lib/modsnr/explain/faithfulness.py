"""Tests of attributions: does a score follow them, and do they follow the network?

Attributions, like diagrams, are [frame, view, bins, bins]; all views count together. Only occupied
(non-zero) pixels count: black ones cannot be hidden. Scores as in ``evidence``.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from itertools import chain
from typing import Any, TypeVar

import torch
from scipy import stats
from torch import Tensor, nn

from modsnr import InputError
from modsnr.explain.evidence import Score, check, seeded

Network = TypeVar("Network", bound=nn.Module)
STEPS = 20  # of the curves of deletion and insertion
HIDDEN, DRAWS = 0.1, 50  # of infidelity: share of the occupied pixels, and how often it is drawn
RADIUS = 0.02  # of sensitivity: share of a pixel's value

# Does the score follow the attribution?


def deletion(score: Score, diagrams: Tensor, attribution: Tensor, *, seed: int = 0) -> Tensor:
    """Return a score while pixels are blackened, the highest attribution first.

    float32 [frame, step + 1]: from the whole diagram to a black one, in equal shares of a frame's
    occupied pixels, rounded (Petsiuk, Das and Saenko 2018). Ties are broken at random by ``seed``.
    The control is the same curve of a random attribution; a steeper fall is better.

    Raises InputError for attributions and diagrams that are not finite or empty.
    """
    return _curve(score, diagrams, attribution, seed, shown=False)


def insertion(score: Score, diagrams: Tensor, attribution: Tensor, *, seed: int = 0) -> Tensor:
    """Return a score while pixels are shown on black, the highest attribution first.

    As ``deletion``, from a black diagram to the whole one; a steeper rise is better.
    """
    return _curve(score, diagrams, attribution, seed, shown=True)


def area(curve: Tensor) -> Tensor:
    """Return the area under curves [frame, step + 1] over 0..1 by trapezoids, [frame]."""
    return torch.trapezoid(curve, dx=1 / (curve.shape[1] - 1), dim=1)


@torch.no_grad()
def _curve(
    score: Score, diagrams: Tensor, attribution: Tensor, seed: int, *, shown: bool
) -> Tensor:
    occupied = _occupied(diagrams, attribution).flatten(1)
    generator = torch.Generator(diagrams.device).manual_seed(seed)
    chance = torch.rand(occupied.shape, generator=generator, device=diagrams.device).argsort(1)
    key = attribution.flatten(1).masked_fill(~occupied, -torch.inf).gather(1, chance)
    order = chance.gather(1, key.argsort(dim=1, descending=True, stable=True))
    turn = order.argsort(1).view_as(diagrams)  # each pixel's place in the order
    count = occupied.sum(1).double().view(-1, 1, 1, 1)
    points = []
    for step in range(STEPS + 1):
        reached = turn < (count * step / STEPS).round()
        points.append(score(diagrams * (reached if shown else ~reached)))
    return torch.stack(points, 1)


def infidelity(score: Score, diagrams: Tensor, attribution: Tensor, *, seed: int = 0) -> Tensor:
    """Return how far the attribution of hidden pixels is from what their hiding costs, squared.

    float32 [frame], by captum after Yeh et al. 2019: the mean over ``DRAWS``, each of which
    blackens every occupied pixel with probability ``HIDDEN``, of (sum of their attribution - loss
    of the score) squared. The attribution is first scaled by the factor that suits a frame best, so
    that methods without a unit, such as Grad-CAM, can be compared. Raises as ``deletion``.
    """
    from captum.metrics import infidelity as captum_infidelity  # here: it takes seconds to import

    occupied = _occupied(diagrams, attribution)
    generator = torch.Generator(diagrams.device).manual_seed(seed)

    def hide(inputs: Tensor) -> tuple[Tensor, Tensor]:
        chance = torch.rand(inputs.shape, generator=generator, device=inputs.device)
        hidden = (chance < HIDDEN) & occupied
        return hidden.float(), inputs.masked_fill(hidden, 0.0)

    # A batch is the frames in their order.
    given: Any = {"n_perturb_samples": DRAWS, "max_examples_per_batch": len(diagrams)}
    found = captum_infidelity(score, hide, diagrams, attribution, normalize=True, **given)
    return found.clamp(min=0)  # a difference of sums, which may round below 0


def sensitivity(
    attribute: Callable[[Tensor], Tensor], diagrams: Tensor, *, samples: int = 10, seed: int = 0
) -> Tensor:
    """Return how far an attribution moves at most when diagrams hardly do, relative to its norm.

    float32 [frame], by captum (max-sensitivity, Yeh et al. 2019). ``attribute`` maps diagrams to
    attributions. In each of ``samples`` draws every pixel is changed by a share of its value drawn
    evenly from -RADIUS..RADIUS: what is black stays black.
    """
    from captum.metrics import sensitivity_max

    generator = torch.Generator(diagrams.device).manual_seed(seed)

    def shake(inputs: Tensor) -> Tensor:
        chance = torch.rand(inputs.shape, generator=generator, device=inputs.device)
        return inputs * (1 + RADIUS * (2 * chance - 1))

    def explain(given: Any) -> Any:
        # captum passes the diagrams themselves in a tuple, and expects one back
        return (attribute(given[0]),) if isinstance(given, tuple) else attribute(given)

    given: Any = {"n_perturb_samples": samples, "max_examples_per_batch": len(diagrams)}
    return sensitivity_max(explain, diagrams, shake, **given)


def _occupied(diagrams: Tensor, attribution: Tensor) -> Tensor:
    """Return which pixels are occupied, bool; diagrams and their attribution are checked."""
    check(diagrams)
    if not attribution.isfinite().all():
        raise InputError("The attribution holds NaN or infinite values; it ranks nothing.")
    return diagrams != 0


# Does the attribution follow the network?


@torch.no_grad()
def randomised(net: Network, seed: int) -> Network:
    """Return a copy of a network that has learnt nothing, in the same mode and on its device.

    An attribution that stays as it was does not explain the network (Adebayo et al. 2018). Layers
    with ``reset_parameters`` are drawn anew, and batch norm forgets its statistics; a parameter
    that no such layer holds, such as a class token, has its values shuffled. The same seed draws
    the same weights on all devices; torch's own generator is not touched.
    """
    drawn = copy.deepcopy(net).cpu()
    with seeded(seed):
        for layer in drawn.modules():
            parameters = list(layer.parameters(recurse=False))
            reset: Any = getattr(layer, "reset_parameters", None)
            if reset is not None:
                if parameters or list(layer.buffers(recurse=False)):
                    reset()
                continue
            for parameter in parameters:
                flat = parameter.flatten()
                parameter.copy_(flat[torch.randperm(len(flat))].view_as(parameter))
    return drawn.to(next(chain(net.parameters(), net.buffers())).device)


def rank_agreement(first: Tensor, second: Tensor, diagrams: Tensor) -> Tensor:
    """Return Spearman's rank correlation of two attributions of each frame, float64 [frame].

    It is taken over the frame's occupied pixels, ties sharing their mean rank: 1 the same order,
    0 none in common, -1 the reverse. An attribution that is constant there ranks nothing: 0.
    Raises as ``deletion``, for either attribution.
    """
    occupied = (_occupied(diagrams, first) & _occupied(diagrams, second)).cpu()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        found: list[Any] = [
            stats.spearmanr(one[pixels].numpy(), other[pixels].numpy())
            for pixels, one, other in zip(occupied, first.cpu(), second.cpu(), strict=True)
        ]
    agreements = torch.tensor([of.statistic for of in found], dtype=torch.float64)
    return agreements.nan_to_num(0.0)
