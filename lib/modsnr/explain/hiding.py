"""Diagrams that are drawn with a share of their pixels hidden, for networks trained without them.

Remove and retrain (ROAR, after Hooker et al. 2019): a network that never saw the pixels that a mask
hides cannot be surprised by their absence, so what it loses is what they told.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modsnr import InputError
from modsnr.explain.masks import METHODS, masks
from modsnr.explain.perturbing import Draw


class Hidden:
    """Draws as ``draw`` does, and then blackens a share of the pixels of every view.

    ``method`` is one of ``METHODS`` and ``fraction`` its share. Which pixels a random mask hides
    follows from ``seed`` and the place in the batch alone, so that a drawing can be repeated.
    """

    def __init__(self, draw: Draw, method: str, fraction: float, *, seed: int = 0) -> None:
        if method not in METHODS:
            raise InputError(f"A mask is one of {', '.join(METHODS)}; it is {method!r}.")
        if not 0 < fraction <= 1:
            raise InputError(f"A mask's fraction lies above 0 and up to 1; it is {fraction}.")
        self.draw, self.method, self.fraction, self.seed = draw, method, fraction, seed

    def __call__(self, iq: Tensor) -> Tensor:
        """Return the diagrams of frames complex64 [frame, sample] without what is hidden."""
        images = self.draw(iq).clone()  # a canvas is to be read, not written
        for channel in range(images.shape[1]):
            generator = torch.Generator(images.device).manual_seed(self.seed + channel)
            covered = masks(images[:, channel], [self.fraction], generator=generator)
            images[:, channel].masked_fill_(covered[self.method, self.fraction].hidden, 0.0)
        return images
