"""Masks: which pixels of a diagram are hidden. Pure functions of diagrams and a generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from modsnr import InputError

METHODS = ("brightest", "dimmest", "random", "random_image")
FRACTIONS = (0.01, 0.05, 0.10)


class Mask(NamedTuple):
    """``hidden`` is bool [frame, bins, bins]; the shares are float64 [frame]: of the view's
    occupied (non-zero) pixels and of all its pixels, how many are hidden."""

    hidden: Tensor
    share_of_occupied: Tensor
    share_of_image: Tensor


def masks(
    images: Tensor, fractions: Sequence[float] = FRACTIONS, *, generator: torch.Generator
) -> dict[tuple[str, float], Mask]:
    """Return every method's mask at every fraction for images float32 [frame, bins, bins].

    brightest, dimmest: that fraction of the occupied pixels, by value, ties broken at random.
    random: as many occupied pixels, drawn at random. random_image: that fraction of all pixels
    (the study's control). Counts are rounded, but no mask of an image that has points is empty.

    Raises InputError for fractions outside 0..1 (0 excluded), images that are not finite or empty.
    """
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions):
        raise InputError(
            f"Mask fractions must lie above 0 and up to 1, and be some; they are {list(fractions)}."
        )
    check(images)
    flat = images.flatten(1)
    occupied, pixels = flat > 0, flat.shape[1]
    count = occupied.sum(1, keepdim=True)
    chance = torch.rand(flat.shape, generator=generator, device=flat.device)
    shuffled = chance.argsort(1)  # [frame, place]: all pixels in random order
    # Sorted stably after the shuffle, so that ties stay in random order.
    values = torch.where(occupied, flat, -torch.inf).gather(1, shuffled)
    falling = shuffled.gather(1, values.argsort(dim=1, descending=True, stable=True))
    brightest = _inverse(falling)
    met = occupied.gather(1, shuffled).cumsum(1)  # occupied pixels up to a place of the shuffle
    ranks = {
        "brightest": brightest,
        "dimmest": torch.where(occupied, count - 1 - brightest, pixels),
        "random": torch.where(
            occupied, torch.empty_like(met).scatter_(1, shuffled, met) - 1, pixels
        ),
        "random_image": _inverse(shuffled),
    }
    result = {}
    for method in METHODS:
        whole = torch.full_like(count, pixels) if method == "random_image" else count
        for fraction in fractions:
            size = (whole * fraction).round().long().clamp(min=1)
            result[method, fraction] = _mask((ranks[method] < size).view(images.shape), occupied)
    return result


def _inverse(order: Tensor) -> Tensor:
    """Return the place at which each item stands in an order, int64 [frame, item]."""
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def random_like(images: Tensor, hidden: Tensor, *, generator: torch.Generator) -> Mask:
    """Return the mask that hides as many occupied pixels of each image, drawn at random.

    ``images`` is float32 and ``hidden`` bool, both [frame, bins, bins].
    """
    check(images)
    occupied = (images > 0).flatten(1)
    size = (hidden.flatten(1) & occupied).sum(1, keepdim=True)
    chance = torch.rand(occupied.shape, generator=generator, device=images.device)
    rank = torch.where(occupied, chance, 2.0).argsort(1).argsort(1)
    return _mask((rank < size).view(images.shape), occupied)


def masked(images: Tensor, hidden: Tensor) -> Mask:
    """Return the mask of ``hidden``, bool, with its shares; both are [frame, bins, bins]."""
    return _mask(hidden, (images > 0).flatten(1))


def _mask(hidden: Tensor, occupied: Tensor) -> Mask:
    """Return a mask with its shares; ``occupied`` is bool [frame, pixel]."""
    struck = (hidden.flatten(1) & occupied).sum(1).double()
    return Mask(hidden, struck / occupied.sum(1), hidden.flatten(1).double().mean(1))


def check(images: Tensor) -> None:
    """Raise InputError for images [frame, bins, bins] that cannot be ranked: none, not finite,
    empty."""
    if images.ndim != 3 or not len(images):
        raise InputError(
            f"Masks are for diagrams [frame, bins, bins] of one view, and some; these have the "
            f"shape {tuple(images.shape)}: there are no diagrams to mask."
        )
    if not torch.isfinite(images).all():
        raise InputError("A diagram holds NaN or infinite values; nothing can be ranked in it.")
    empty = (images.flatten(1).amax(1) <= 0).nonzero().flatten()
    if len(empty):
        raise InputError(f"{len(empty)} diagrams are empty, the first at index {int(empty[0])}.")
