"""The last features of a backbone that have a place in the picture, for Grad-CAM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from modsnr import InputError
from modsnr.model.network import Compact, JointNet


class Features(NamedTuple):
    """``as_maps`` turns the output of module ``layer`` into maps [frame, channel, row, column]."""

    layer: nn.Module
    as_maps: Callable[[Tensor], Tensor]


def last_features(net: JointNet) -> Features:
    """Return the layer of the backbone that gives its last features with a place, before pooling.

    compact: its last ReLU. A timm backbone: the module whose output ``forward_features`` returns,
    found by a trial: channels first (ResNet), last (Swin), or tokens, without those that stand for
    no patch (ViT). Where the head reads the class token alone, that layer's other tokens have no
    effect: the layer is then the last block's ``norm1``, where they still have.

    Raises InputError for a backbone without such a layer.
    """
    backbone: Any = net.backbone
    if isinstance(backbone, Compact):
        return Features(backbone.layers[-1], _channels_first)
    name = net.settings["backbone"]
    unknown = InputError(
        f"No layer of {name} is known whose features have a place: choose one, and a function "
        "that turns its output into maps [frame, channel, row, column]."
    )
    if not hasattr(backbone, "forward_features"):
        raise unknown
    channels, bins = len(net.settings["views"]), net.settings["bins"]
    layer, shape = _trial(backbone, torch.zeros(1, channels, bins, bins, device=net.snrs_db.device))
    if layer is None:
        raise unknown
    width = backbone.num_features
    if len(shape) == 4 and shape[1] == width:
        return Features(layer, _channels_first)
    if len(shape) == 4 and shape[3] == width:
        return Features(layer, _channels_last)
    prefix = getattr(backbone, "num_prefix_tokens", 0)
    rows, columns = getattr(getattr(backbone, "patch_embed", None), "grid_size", None) or (0, 0)
    if shape[1:] != (prefix + rows * columns, width):
        raise unknown
    if getattr(backbone, "global_pool", None) == "token":
        layer = getattr(backbone.blocks[-1], "norm1", None)
        if layer is None:
            raise unknown
    return Features(
        layer, lambda tokens: tokens[:, prefix:].transpose(1, 2).unflatten(2, (rows, columns))
    )


def _channels_first(features: Tensor) -> Tensor:
    return features


def _channels_last(features: Tensor) -> Tensor:
    return features.permute(0, 3, 1, 2)


@torch.no_grad()
def _trial(backbone: Any, diagrams: Tensor) -> tuple[nn.Module | None, torch.Size]:
    """Return the outermost module that returns a backbone's last features, if any; their shape."""
    returned: list[tuple[nn.Module, Any]] = []
    hooks = [
        module.register_forward_hook(lambda module, _, output: returned.append((module, output)))
        for module in backbone.modules()
    ]
    was_training = backbone.training
    try:
        features = backbone.eval().forward_features(diagrams)
    finally:
        backbone.train(was_training)
        for hook in hooks:
            hook.remove()
    makers = [module for module, output in returned if output is features]
    return (makers[-1] if makers else None), features.shape
