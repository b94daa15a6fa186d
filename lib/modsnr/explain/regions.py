"""Regions of a diagram with a meaning in the radio: masks by place and by density."""

from __future__ import annotations

import torch
from torch import Tensor

from modsnr.explain.evidence import check
from modsnr.explain.masks import Mask, masked, random_like

RINGS = 4  # of equal width, out to the diagram's edge; the last takes the corners
TAIL = 0.1  # share of the diagram's sum in its innermost pixels, and in its outermost


def regions(
    images: Tensor, *, generator: torch.Generator | None = None, over_maximum: bool = False
) -> dict[str, Mask]:
    """Return the masks that hide one region each of images float32 [frame, bins, bins].

    ring_1 .. ring_4: rings of equal width about the origin. quadrant_1 .. quadrant_4, counted
    counterclockwise from I, Q > 0. centre and tail: the occupied pixels nearest to the origin and
    farthest from it that hold a tenth of the diagram's sum. clusters: the occupied pixels in the
    densest neighbourhoods (means over 3 x 3) that hold half of the sum, which is where symbols
    gather; transitions: the other occupied pixels. whole: all. With a ``generator``, each comes a
    second time as "... at random": as many occupied pixels drawn at random. ``over_maximum`` is
    that of ``masks``.

    Raises InputError for images that are not finite or empty.
    """
    check(images)
    bins = images.shape[-1]
    occupied = images > 0
    radius = radii(bins, images.device)
    ring, quadrant = rings(bins, images.device), quadrants(bins, images.device)
    near = torch.nn.functional.avg_pool2d(images.unsqueeze(1), 3, 1, 1).squeeze(1)
    clusters = _first(images, near, 0.5)
    hidden = {
        **{f"ring_{k + 1}": (ring == k).expand_as(images) for k in range(RINGS)},
        **{f"quadrant_{k + 1}": (quadrant == k).expand_as(images) for k in range(4)},
        "centre": _first(images, -radius.expand_as(images), TAIL),
        "tail": _first(images, radius.expand_as(images), TAIL),
        "clusters": clusters,
        "transitions": occupied & ~clusters,
        "whole": torch.ones_like(occupied),
    }
    if generator is not None:
        hidden |= {
            f"{name} at random": random_like(images, where, generator=generator)
            for name, where in hidden.items()
        }
    return {name: masked(images, where, over_maximum) for name, where in hidden.items()}


def centres(bins: int, device: torch.device | None = None) -> Tensor:
    """Return the centres of the pixels along an axis [bins], -1 .. 1 from edge to edge."""
    return (2 * torch.arange(bins, device=device) + 1 - bins) / bins


def radii(bins: int, device: torch.device | None = None) -> Tensor:
    """Return how far each pixel's centre is from the origin [bins, bins], 1 at an edge's middle."""
    square = centres(bins, device).square()
    return (square.unsqueeze(1) + square).sqrt()


def rings(bins: int, device: torch.device | None = None) -> Tensor:
    """Return the number of the ring that each pixel lies in, int64 [bins, bins], 0 the inmost."""
    return (radii(bins, device) * RINGS).long().clamp(max=RINGS - 1)


def quadrants(bins: int, device: torch.device | None = None) -> Tensor:
    """Return the quadrant that each pixel's centre lies in, int64 [bins, bins], 0 for I, Q >= 0."""
    left = centres(bins, device) < 0
    below = left.unsqueeze(1)
    return torch.where(below, torch.where(left, 2, 3), torch.where(left, 1, 0))


def players(views: int, bins: int, device: torch.device | None = None) -> Tensor:
    """Return the rings of every view, numbered through: int64 [view, bins, bins].

    Ablation and Shapley values share a score out among them.
    """
    ring = rings(bins, device)
    return torch.stack([ring + RINGS * view for view in range(views)])


def _first(images: Tensor, key: Tensor, share: float) -> Tensor:
    """Return the fewest occupied pixels of greatest ``key`` that hold a share of each image."""
    flat = images.flatten(1)
    order = torch.where(flat > 0, key.flatten(1), -torch.inf).argsort(1, descending=True)
    before = flat.gather(1, order).cumsum(1) - flat.gather(1, order)
    within = before < share * flat.sum(1, keepdim=True)
    chosen = torch.zeros_like(within).scatter_(1, order, within)
    return (chosen & (flat > 0)).view(images.shape)
