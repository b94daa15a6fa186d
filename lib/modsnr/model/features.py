"""The last features of a backbone that have a place in the picture, for Grad-CAM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from modsnr import InputError
from modsnr.model.compact import Compact
from modsnr.model.network import JointNet


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
        return Features(backbone.layers[-1], lambda maps: maps)
    layer, shape = _trial(net)
    width = getattr(backbone, "num_features", 0)
    if len(shape) == 4 and shape[1] == width:
        return Features(layer, lambda maps: maps)
    if len(shape) == 4 and shape[3] == width:
        return Features(layer, lambda maps: maps.permute(0, 3, 1, 2))
    prefix = getattr(backbone, "num_prefix_tokens", 0)
    rows, columns = getattr(getattr(backbone, "patch_embed", None), "grid_size", None) or (0, 0)
    if getattr(backbone, "global_pool", None) == "token":
        layer = getattr(backbone.blocks[-1], "norm1", None)
    if layer is None or shape[1:] != (prefix + rows * columns, width):
        raise _unknown(net)
    return Features(
        layer, lambda tokens: tokens[:, prefix:].transpose(1, 2).unflatten(2, (rows, columns))
    )


def _unknown(net: JointNet) -> InputError:
    return InputError(
        f"No layer of {net.settings['backbone']} is known whose features have a place: choose one, "
        "and a function that turns its output into maps [frame, channel, row, column]."
    )


@torch.no_grad()
def _trial(net: JointNet) -> tuple[nn.Module, torch.Size]:
    """Return the outermost module that returns a backbone's last features, and their shape."""
    backbone: Any = net.backbone
    if not hasattr(backbone, "forward_features"):
        raise _unknown(net)
    bins = net.settings["bins"]
    diagrams = torch.zeros(1, len(net.settings["views"]), bins, bins, device=net.snrs_db.device)
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
    if not makers:
        raise _unknown(net)
    return makers[-1], features.shape
