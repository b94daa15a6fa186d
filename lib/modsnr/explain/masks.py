"""Masks: which pixels of a diagram are hidden. Pure functions of diagrams and a generator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from modsnr import InputError
from modsnr.explain.evidence import check

METHODS = ("brightest", "dimmest", "random", "random_points", "random_image")
FRACTIONS = (0.01, 0.05, 0.10)


class Mask(NamedTuple):
    """``hidden`` is bool [frame, bins, bins]; the shares are float64 [frame]: of the view's
    occupied (non-zero) pixels, of all its pixels, and of its points, how many are hidden."""

    hidden: Tensor
    share_of_occupied: Tensor
    share_of_image: Tensor
    share_of_points: Tensor


def masks(
    images: Tensor,
    fractions: Sequence[float] = FRACTIONS,
    *,
    generator: torch.Generator,
    over_maximum: bool = False,
) -> dict[tuple[str, float], Mask]:
    """Return every method's mask at every fraction for images float32 [frame, bins, bins].

    brightest, dimmest: that fraction of the occupied pixels, by value, ties broken at random.
    random: as many occupied pixels, drawn at random. random_points: occupied pixels at random, so
    many that they hold as many points as the brightest do, as nearly as whole pixels can.
    random_image: that fraction of all pixels (the study's control). Counts are rounded, but no mask
    of an image that has points is empty. Images are logarithms of counts, log(1 + n), or with
    ``over_maximum`` these over their maximum: then the least of an image is taken for one point.

    Raises InputError for fractions outside 0..1 (0 excluded), images that are not finite or empty.
    """
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions):
        raise InputError(
            f"Mask fractions must lie above 0 and up to 1, and be some; they are {list(fractions)}."
        )
    check(images)
    flat = images.flatten(1)
    occupied, pixels = flat > 0, flat.shape[1]
    held = _points(flat, over_maximum)
    count = occupied.sum(1, keepdim=True)
    most = int(count.max())
    chance = torch.rand(flat.shape, generator=generator, device=flat.device)
    # Ties are broken by a chance too small, at any scale, to reorder single-precision values.
    shaken = flat.double() * (1 + 1e-9 * chance.double())
    falling = shaken.topk(most, dim=1).indices  # [frame, place]: the occupied pixels come first
    place = torch.arange(most, device=flat.device)
    lot = torch.rand(falling.shape, generator=generator, device=flat.device)
    drawn = torch.where(place < count, lot, 2.0).argsort(1)
    anywhere = chance.topk(max(1, round(pixels * max(fractions))), dim=1).indices
    orders = {  # each method's pixels, the first to be hidden first
        "brightest": falling,
        "dimmest": falling.gather(1, torch.where(place < count, count - 1 - place, place)),
        "random": falling.gather(1, drawn),
        "random_points": falling.gather(1, drawn),
        "random_image": anywhere,
    }
    result = {}
    for method, order in orders.items():
        whole = torch.full_like(count, pixels) if method == "random_image" else count
        for fraction in fractions:
            size = (whole * fraction).round().long().clamp(min=1)  # [frame, 1]
            if method == "random_points":
                wanted = held.gather(1, falling).cumsum(1).gather(1, size - 1)
                # The fewest that hold so many, or one less if that is nearer.
                reached = held.gather(1, order).cumsum(1)
                middle = reached - held.gather(1, order) / 2
                size = (middle < wanted).sum(1, keepdim=True).clamp(min=1).minimum(count)
            first = slice(int(size.max()))
            hidden = torch.zeros_like(occupied)
            hidden.scatter_(1, order[:, first], torch.arange(first.stop, device=size.device) < size)
            result[method, fraction] = _mask(hidden.view(images.shape), occupied, held)
    return result


def random_like(images: Tensor, hidden: Tensor, *, generator: torch.Generator) -> Tensor:
    """Return as many occupied pixels of each image as are hidden, drawn at random.

    ``images`` is float32, ``hidden`` and the result are bool, [frame, bins, bins].
    """
    occupied = (images > 0).flatten(1)
    size = (hidden.flatten(1) & occupied).sum(1, keepdim=True)
    chance = torch.rand(occupied.shape, generator=generator, device=images.device)
    rank = torch.where(occupied, chance, 2.0).argsort(1).argsort(1)
    return (rank < size).view(images.shape)


def masked(images: Tensor, hidden: Tensor, over_maximum: bool = False) -> Mask:
    """Return the mask of ``hidden``, bool, with its shares; both are [frame, bins, bins]."""
    flat = images.flatten(1)
    return _mask(hidden, flat > 0, _points(flat, over_maximum))


def _mask(hidden: Tensor, occupied: Tensor, held: Tensor) -> Mask:
    """Return a mask with its shares; ``occupied`` is bool, ``held`` float64, [frame, pixel]."""
    flat = hidden.flatten(1)
    struck = (flat & occupied).sum(1).double()
    points = torch.where(flat, held, 0.0).sum(1)
    return Mask(hidden, struck / occupied.sum(1), flat.double().mean(1), points)


def _points(flat: Tensor, over_maximum: bool) -> Tensor:
    """Return which share of an image's points each pixel holds, float64 [frame, pixel]."""
    values = flat.double()
    if over_maximum:
        least = torch.where(values > 0, values, torch.inf).amin(1, keepdim=True)
        values = values * (math.log(2) / least)
    # exp(value) - 1, over exp(greatest): whatever the scale of the images, nothing overflows.
    held = -torch.expm1(-values) * (values - values.amax(1, keepdim=True)).exp()
    return held / held.sum(1, keepdim=True)
