"""Diagrams that are drawn with a share of their pixels hidden, for networks trained without them.

Remove and retrain (ROAR, after Hooker et al. 2019): a network that never saw the pixels that a mask
hides cannot be surprised by their absence, so what it loses is the information in them.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from modsnr import InputError
from modsnr.explain.attributions import integrated_gradients
from modsnr.explain.evidence import ANSWERS, Forward, own_answer
from modsnr.explain.impact import Draw
from modsnr.explain.masks import masks

STEPS = 4  # of integrated gradients: they are computed in every step of a training


def hidden(
    draw: Draw, what: str, fraction: float, *, forward: Forward | None = None, seed: int = 0
) -> Draw:
    """Return a drawing without a share of the pixels: those of a mask, or those an answer needs.

    ``what`` is a mask of ``METHODS``, which hides its share of every view; which pixels a random
    mask hides follows from ``seed`` and the place in the batch alone, so that a drawing can be
    repeated. Or it is "modulation" or "snr": then the pixels are hidden that hold up that answer
    of a trained network, ``forward``, most: over all views of a frame together, by integrated
    gradients of the network's own answer, so that no label is needed. Shares count occupied
    pixels. Or it is "": then ``draw`` is returned as it is.

    Raises InputError for an answer without a network, and for a network that would not be used.
    """
    if what not in ANSWERS and forward is not None:
        raise InputError(f"A network is needed only to hide its answer's pixels, not {what!r}.")
    if what in ANSWERS and forward is None:
        raise InputError(
            f"To hide the pixels that the {what} rests on, give a trained network (hide_by)."
        )
    if forward is not None:
        return partial(_without_evidence, draw, forward, what, fraction)
    return partial(_without_mask, draw, what, fraction, seed) if what else draw


def _without_mask(draw: Draw, method: str, fraction: float, seed: int, *frames: Tensor) -> Tensor:
    images = draw(*frames).clone()  # a canvas is to be read, not written
    for channel in range(images.shape[1]):
        generator = torch.Generator(images.device).manual_seed(seed + channel)
        covered = masks(images[:, channel], [fraction], generator=generator)
        images[:, channel].masked_fill_(covered[method, fraction].hidden, 0.0)
    return images


def _without_evidence(
    draw: Draw, forward: Forward, task: str, fraction: float, *frames: Tensor
) -> Tensor:
    # A fit draws under no_grad or in inference mode; gradients need tensors of neither.
    with torch.inference_mode(False), torch.enable_grad():
        images = draw(*frames).clone()
        score = own_answer(forward, task, images)
        shares = integrated_gradients(score, images, steps=STEPS).flatten(1)
    occupied = images.flatten(1) > 0
    turn = shares.masked_fill(~occupied, -torch.inf).argsort(1, descending=True).argsort(1)
    count = (fraction * occupied.sum(1, keepdim=True)).round()
    return images.masked_fill((turn < count).view_as(images), 0.0)
