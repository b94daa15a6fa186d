"""Attributions to pixels: how much each pixel of a diagram holds up a score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from modsnr import InputError
from modsnr.explain.evidence import Score, check


def occlusion(score: Score, diagrams: Tensor, *, window: int, stride: int) -> Tensor:
    """Return how much each pixel's surroundings hold up a score: float32, the shape of diagrams.

    A square window is blackened in one view at a time (captum's Occlusion, after Zeiler and Fergus
    2014) and the score's loss is spread over it.

    Raises InputError for a window that does not fit.
    """
    from captum.attr import Occlusion  # here: it takes seconds to import

    check(diagrams)
    if not 0 < stride <= window <= diagrams.shape[-1]:
        raise InputError(
            f"Occlusion needs 0 < stride <= window <= bins; they are {stride}, {window}, "
            f"{diagrams.shape[-1]}."
        )
    shapes: Any = {"sliding_window_shapes": (1, window, window), "strides": (1, stride, stride)}
    with torch.no_grad():
        return Occlusion(score).attribute(diagrams, baselines=0.0, **shapes)


def integrated_gradients(score: Score, diagrams: Tensor, *, steps: int = 32) -> Tensor:
    """Return each pixel's share in a score by its gradients on the way from black.

    Sundararajan, Taly and Yan 2017, by captum with Gauss-Legendre quadrature over ``steps``
    points, one batch of diagrams at a time. A frame's shares sum to its score less that of a black
    diagram, as near as the steps allow.
    """
    from captum.attr import IntegratedGradients

    check(diagrams)
    shares = IntegratedGradients(score).attribute(
        diagrams.detach(), baselines=0.0, n_steps=steps, internal_batch_size=len(diagrams)
    )
    return shares.float()


def grad_cam(
    score: Score,
    diagrams: Tensor,
    layer: nn.Module,
    as_maps: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return where the features of a layer speak for a score (Grad-CAM, Selvaraju et al. 2017).

    ``layer`` is a part of the score's network that runs once; ``as_maps`` turns what it returns
    into maps [frame, channel, row, column], where it returns anything else, which captum's
    LayerGradCam cannot use. Each map is weighted by the mean of its gradients; the positive part of
    their sum is enlarged to the bins bilinearly. All views carry the same map.

    Raises InputError for a score that does not pass through the layer just once.
    """
    check(diagrams)
    outputs: list[Tensor] = []

    def keep(_layer: nn.Module, _inputs: Any, output: Any) -> None:
        outputs.append(output)

    hook = layer.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            total = score(diagrams.detach().requires_grad_()).sum()
    finally:
        hook.remove()
    if len(outputs) != 1:
        raise InputError(
            f"The score passes {len(outputs)} times through the layer that Grad-CAM uses; it must "
            "be a part of the score's network that runs once."
        )
    (slopes,) = torch.autograd.grad(total, outputs)
    maps = outputs[0].detach()
    if as_maps:
        maps, slopes = as_maps(maps), as_maps(slopes)
    found = (slopes.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu().float()
    found = nn.functional.interpolate(found, diagrams.shape[2:], mode="bilinear")
    return found.expand_as(diagrams).contiguous()
