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
