"""Backbones from timm, with published weights, those of a file, or none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import timm
import torch
from huggingface_hub import hf_hub_download
from torch import nn

from modsnr import InputError, files
from modsnr.model.tensors import read_tensors


def timm_backbone(
    name: str,
    full: str,
    channels: int,
    bins: int,
    pretrained: bool | str | Path | None,
    *,
    short: tuple[str, ...],
) -> tuple[nn.Module, int]:
    """Return timm's model ``full``, which the user calls ``name``, without classifier; its width.

    ``short`` are the names besides timm's. Raises InputError as ``build_backbone``.
    """
    if not timm.is_model(full):
        hint = files.did_you_mean(name, [*short, *timm.list_models()], most=3)
        raise InputError(f"timm has no backbone {name!r}; {hint or ', '.join(short) + ' would do'}")
    options = {"in_chans": channels} | ({} if "resnet" in full else {"img_size": bins})
    try:
        if isinstance(pretrained, (str, Path)):
            network = _from_file(full, _weights_file(pretrained), name, **options)
        else:
            weights = None if pretrained is False else fetch_weights(full)
            network = _timm_model(full, weights, **options)
        return network, _width(network, channels, bins)
    except _WrongSize as error:
        fits = error.fits or _size_near(full, channels, bins)
        raise InputError(
            f"{name} takes no diagrams of {bins} bins; {fits} would do. ({error})"
        ) from error


class _WrongSize(Exception):
    """A network takes no diagrams of so many bins; it takes ``fits``, where that is known."""

    def __init__(self, why: str, fits: int = 0) -> None:
        super().__init__(why)
        self.fits = fits


def _width(network: nn.Module, channels: int, bins: int) -> int:
    """Return how many features a network gives a diagram, by a trial.

    Raises _WrongSize where it does not take the diagram, or would leave some of it out.
    """
    patch, *_ = getattr(getattr(network, "patch_embed", None), "patch_size", None) or (1,)
    if bins % patch:
        fits = patch * max(round(bins / patch), 1)
        raise _WrongSize(f"it cuts them into patches of {patch} bins", fits)
    network.eval()
    try:
        with torch.no_grad():
            features = network(torch.zeros(1, channels, bins, bins))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _WrongSize(str(error)) from error
    network.train()
    return features.shape[1]


def _size_near(name: str, channels: int, bins: int) -> str:
    """Return the multiple of 32 nearest ``bins`` of which a timm model takes diagrams."""
    for size in sorted(range(32, bins + 256, 32), key=lambda size: abs(size - bins)):
        try:
            _width(_timm_model(name, None, in_chans=channels, img_size=size), channels, size)
        except _WrongSize:
            continue
        return str(size)
    return "no multiple of 32 near it"


def _timm_model(name: str, weights: Path | None, **options: int) -> nn.Module:
    # timm adapts the first layer to the number of channels; the file is always safetensors.
    source: dict[str, Any] = {}
    if weights:
        source = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(weights)}}
    try:
        try:
            return timm.create_model(name, num_classes=0, **options, **source)
        except TypeError:  # this family takes images of any size and knows no img_size
            options.pop("img_size", None)
            return timm.create_model(name, num_classes=0, **options, **source)
    except (AssertionError, ZeroDivisionError) as error:
        raise _WrongSize(str(error)) from error


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


def _weights_file(path: str | Path) -> Path:
    if Path(path).suffix != ".safetensors" or not Path(path).exists():
        raise InputError(f"pretrained must name an existing .safetensors file; it is '{path}'.")
    return Path(path)


def _from_file(name: str, path: Path, called: str, **options: int) -> nn.Module:
    """Return a timm model with all the weights of a file, and no others.

    timm itself loads what fits and ignores the rest without an error.
    """
    held: Any = read_tensors(path, problem=f"{path.name} holds no weights that can be read")[0]
    try:
        network = _timm_model(name, path, **options)
    except (KeyError, RuntimeError) as error:
        raise InputError(
            f"{path.name} holds the weights of another backbone than {called}: {error}"
        ) from error
    # timm renames or leaves out some weights of older files on loading: they are not foreign.
    adapt = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    names = set(adapt(held, network) if adapt else held)
    classifier: Any = cast(Any, network).pretrained_cfg["classifier"] or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    missing = {key for key, _ in network.named_parameters()} - names
    foreign = {key for key in names - set(network.state_dict()) if not key.startswith(heads)}
    if missing or foreign:
        raise InputError(
            f"{path.name} holds the weights of another backbone than {called}: it lacks "
            f"{len(missing)} of its {len(list(network.parameters()))} weights and has "
            f"{len(foreign)} others ({', '.join(sorted(missing or foreign)[:3])}, ...)."
        )
    return network
