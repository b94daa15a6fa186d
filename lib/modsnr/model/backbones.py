"""Backbones from timm, with published weights, those of a file, or none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import hf_hub_download
from torch import nn

from modsnr import InputError, files
from modsnr.model.network import STUDY_BACKBONES
from modsnr.model.tensors import read_tensors


def timm_backbone(
    name: str, channels: int, bins: int, pretrained: bool | str | Path | None
) -> tuple[nn.Module, int]:
    """Return a timm model without its classifier, and how many features it gives a diagram.

    ``name`` is timm's or one of the study's. Raises InputError as ``build_backbone``.
    """
    full = STUDY_BACKBONES.get(name, name)
    if not timm.is_model(full):
        files.check_name("backbone", name, [*STUDY_BACKBONES, "compact", *timm.list_models()])
    held: dict[str, Any] = {}
    if isinstance(pretrained, (str, Path)):
        weights = Path(pretrained)
        held = _tensors_of_file(weights)
    else:
        weights = None if pretrained is False else fetch_weights(full)
    try:
        network = _timm_model(full, weights, channels, bins)
        if held:
            _check_all_are_used(held, network)
    except (KeyError, RuntimeError) as error:
        raise InputError(
            f"{pretrained} holds the weights of another backbone than {name}: {error}"
        ) from error
    except (AssertionError, ZeroDivisionError) as error:
        raise _wrong_size(name, bins, error) from error
    try:
        return network, _width(network, channels, bins)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _wrong_size(name, bins, error) from error


def _wrong_size(name: str, bins: int, why: Exception) -> InputError:
    return InputError(
        f"{name} takes no diagrams of {bins} bins ({why}): give a multiple of 32, which fits most "
        "backbones, or 224, which fits the study's."
    )


def _timm_model(name: str, weights: Path | None, channels: int, bins: int) -> nn.Module:
    options: dict[str, Any] = {"num_classes": 0, "in_chans": channels}
    if weights:
        # timm adapts the first layer to the number of channels; the file is always safetensors.
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(weights)}}
    try:
        sized: dict[str, Any] = {} if "resnet" in name else {"img_size": bins}
        return timm.create_model(name, **options, **sized)
    except TypeError:  # this family takes images of any size and knows no img_size
        return timm.create_model(name, **options)


def _width(network: nn.Module, channels: int, bins: int) -> int:
    """Return how many features a network gives a diagram, by a trial.

    Raises an error where it does not take the diagram, or would leave some of it out.
    """
    patch, *_ = getattr(getattr(network, "patch_embed", None), "patch_size", None) or (1,)
    if bins % patch:
        raise ValueError(f"it cuts them into patches of {patch} bins")
    network.eval()
    with torch.no_grad():
        features = network(torch.zeros(1, channels, bins, bins))
    network.train()
    return features.shape[1]


def fetch_weights(name: str) -> Path:
    """Return the local path of a timm model's published weights, fetched from the hub if needed.

    Raises InputError where the hub cannot be reached or has no safetensors file: timm itself would
    then fall back to a pickle.
    """
    config = timm.models.get_pretrained_cfg(name)
    where = (config and config.hf_hub_id) or "no published weights"
    try:
        if where == "no published weights":
            raise FileNotFoundError(where)
        return Path(hf_hub_download(where, "model.safetensors"))
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"The pretrained weights of {name} ({where}) cannot be reached: "
            f"{type(error).__name__}. Pass pretrained=False to train from scratch, or the path of "
            "a safetensors file of them."
        ) from error


def _tensors_of_file(path: Path) -> dict[str, Any]:
    if path.suffix != ".safetensors" or not path.exists():
        raise InputError(f"pretrained must name an existing .safetensors file; it is '{path}'.")
    return read_tensors(path, problem=f"{path.name} holds no weights that can be read")[0]


def _check_all_are_used(held: dict[str, Any], network: Any) -> None:
    """Raise RuntimeError unless tensors are all the weights of a network, and no others.

    timm itself loads what fits and ignores the rest without an error.
    """
    # timm renames or leaves out some weights of older files on loading: they are not foreign.
    adapt = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    names = set(adapt(held, network) if adapt else held)
    classifier = network.pretrained_cfg["classifier"] or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    missing = {key for key, _ in network.named_parameters()} - names
    foreign = {key for key in names - set(network.state_dict()) if not key.startswith(heads)}
    if missing or foreign:
        raise RuntimeError(
            f"it lacks {len(missing)} of its weights and has {len(foreign)} others "
            f"({', '.join(sorted(missing or foreign)[:3])}, ...)"
        )
