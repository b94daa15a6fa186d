"""What stands in the place of hidden pixels.

Blackened pixels make a picture that no signal draws, and a network may err over that alone. The
other fills hide a pixel's value too, and leave the picture nearer to those of the training.
"""

from __future__ import annotations

from math import pi
from typing import Literal, get_args

import torch
from torch import Tensor

from modsnr.explain.regions import centres

Fill = Literal["blackout", "mean", "resampled"]
FILLS: tuple[Fill, ...] = get_args(Fill)
TURNS = 8  # angles tried for a pixel that is not hidden


def fill(images: Tensor, hidden: Tensor, how: Fill, *, generator: torch.Generator) -> Tensor:
    """Return images float32 [frame, bins, bins] with the pixels of ``hidden``, bool, replaced.

    blackout: by zero, the study's way. mean: by the mean of the image's pixels that are not
    hidden. resampled: each by a pixel of the same image at the same radius, at an angle drawn for
    it, so that the density over the radius stays; of ``TURNS`` angles the first whose pixel is not
    hidden, and zero where none is.
    """
    if how == "blackout":
        return images.masked_fill(hidden, 0.0)
    if how == "mean":
        shown = (~hidden).sum((1, 2)).clamp(min=1)
        mean = images.masked_fill(hidden, 0.0).sum((1, 2)) / shown
        return torch.where(hidden, mean.view(-1, 1, 1), images)
    return _resampled(images, hidden, generator)


def _resampled(images: Tensor, hidden: Tensor, generator: torch.Generator) -> Tensor:
    frames, bins = images.shape[0], images.shape[-1]
    frame, row, column = hidden.nonzero(as_tuple=True)  # [hidden pixel]
    centre = centres(bins, images.device)
    x, y = centre[column], centre[row]
    flat, covered = images.reshape(frames, -1), hidden.reshape(frames, -1)
    found = torch.zeros_like(x)
    missing = torch.ones_like(x, dtype=torch.bool)
    for _ in range(TURNS):
        turn = 2 * pi * torch.rand(x.shape, generator=generator, device=x.device)
        there = x * turn.cos() - y * turn.sin(), x * turn.sin() + y * turn.cos()
        # Corners turn out of the picture: what lies there is taken for empty.
        inside = (there[0].abs() < 1) & (there[1].abs() < 1)
        to = [((part + 1) / 2 * bins).long().clamp(0, bins - 1) for part in there]
        pixel = to[1] * bins + to[0]
        usable = missing & ~(covered[frame, pixel] & inside)
        found = torch.where(usable & inside, flat[frame, pixel], found)
        missing &= ~usable
    result = images.clone()
    result[frame, row, column] = found
    return result
