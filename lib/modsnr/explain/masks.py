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
        "random_image": anywhere,
    }
    result = {}
    for method, order in orders.items():
        of_image = method == "random_image"
        whole = torch.full_like(count, pixels) if of_image else count
        struck = occupied.gather(1, order).cumsum(1) if of_image else None
        for fraction in fractions:
            size = (whole * fraction).round().long().clamp(min=1)  # [frame, 1]
            first = slice(int(size.max()))
            hidden = torch.zeros_like(occupied)
            hidden.scatter_(1, order[:, first], torch.arange(first.stop, device=size.device) < size)
            of_occupied = size if struck is None else struck.gather(1, size - 1)
            result[method, fraction] = Mask(
                hidden.view(images.shape),
                (of_occupied.double() / count)[:, 0],
                (size.double() / pixels)[:, 0],
            )
    return result


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
