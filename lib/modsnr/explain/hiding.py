"""Diagrams that are drawn with a share of their pixels hidden, for networks trained without them.

Remove and retrain (ROAR, after Hooker et al. 2019): a network that never saw the pixels that a mask
hides cannot be surprised by their absence, so what it loses is what they told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from modsnr import InputError
from modsnr.explain.attributions import ANSWERS, integrated_gradients, own_answer
from modsnr.explain.masks import METHODS, masks
from modsnr.explain.perturbing import Draw

STEPS = 4  # of integrated gradients: they are asked for in every step of a training


def hidden(
    draw: Draw,
    what: str,
    fraction: float,
    *,
    forward: Callable[[Tensor], Sequence[Tensor]] | None = None,
    seed: int = 0,
) -> Draw:
    """Return a drawing without a share of the pixels: those of a mask, or those an answer needs.

    ``what`` is a mask of ``METHODS``; or "modulation" or "snr": a trained network, ``forward``,
    says which pixels hold its answer up; or "", then ``draw`` is returned as it is.

    Raises InputError for anything else, for a fraction outside 0..1, for an answer without a
    network, and for a network that would not be asked.
    """
    if what not in ANSWERS and forward is not None:
        raise InputError(f"A network is asked where an answer of it is hidden, not {what!r}.")
    if not what:
        return draw
    if what not in ANSWERS:
        return Hidden(draw, what, fraction, seed=seed)
    if forward is None:
        raise InputError(
            f"To hide what the {what} rests on takes a trained network that says so (hide_by)."
        )
    return HiddenFrom(draw, forward, what, fraction)


class HiddenFrom:
    """Draws as ``draw`` does, and then blackens the pixels that hold a network's answer up most.

    They are ranked, over all views of a frame together, by integrated gradients of the network's
    own answer, so that no label is needed. ``forward`` is as for ``own_answer``; the share counts
    occupied pixels.
    """

    def __init__(
        self,
        draw: Draw,
        forward: Callable[[Tensor], Sequence[Tensor]],
        task: str,
        fraction: float,
    ) -> None:
        _check_fraction(fraction)
        self.draw, self.forward, self.task, self.fraction = draw, forward, task, fraction

    def __call__(self, iq: Tensor) -> Tensor:
        """Return the diagrams of frames complex64 [frame, sample] without what is hidden."""
        # A fit draws under no_grad or in inference mode; gradients need tensors of neither.
        with torch.inference_mode(False), torch.enable_grad():
            images = self.draw(iq).clone()
            score = own_answer(self.forward, self.task, images)
            shares = integrated_gradients(score, images, steps=STEPS).flatten(1)
        occupied = images.flatten(1) > 0
        turn = shares.masked_fill(~occupied, -torch.inf).argsort(1, descending=True).argsort(1)
        count = (self.fraction * occupied.sum(1, keepdim=True)).round()
        return images.masked_fill((turn < count).view_as(images), 0.0)


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction <= 1:
        raise InputError(f"A mask's fraction lies above 0 and up to 1; it is {fraction}.")


class Hidden:
    """Draws as ``draw`` does, and then blackens a share of the pixels of every view.

    ``method`` is one of ``METHODS`` and ``fraction`` its share. Which pixels a random mask hides
    follows from ``seed`` and the place in the batch alone, so that a drawing can be repeated.
    """

    def __init__(self, draw: Draw, method: str, fraction: float, *, seed: int = 0) -> None:
        if method not in METHODS:
            raise InputError(f"A mask is one of {', '.join(METHODS)}; it is {method!r}.")
        _check_fraction(fraction)
        self.draw, self.method, self.fraction, self.seed = draw, method, fraction, seed

    def __call__(self, iq: Tensor) -> Tensor:
        """Return the diagrams of frames complex64 [frame, sample] without what is hidden."""
        images = self.draw(iq).clone()  # a canvas is to be read, not written
        for channel in range(images.shape[1]):
            generator = torch.Generator(images.device).manual_seed(self.seed + channel)
            covered = masks(images[:, channel], [self.fraction], generator=generator)
            images[:, channel].masked_fill_(covered[self.method, self.fraction].hidden, 0.0)
        return images
