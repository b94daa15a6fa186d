"""Backbones from timm, with published weights, those of a file, or none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
from huggingface_hub import hf_hub_download
from timm.models import adapt_input_conv, get_pretrained_cfg
from torch import Tensor, nn

from modsnr import InputError, files
from modsnr.model.network import STUDY_BACKBONES, is_out_of_memory
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
    of_file = isinstance(pretrained, (str, Path))
    held: dict[str, Tensor] = {}
    if pretrained is not False:
        held = _tensors_of_file(Path(pretrained) if of_file else fetch_weights(full))
    wanted = Backbone(full, channels, bins)
    try:
        network, width = wanted.build()
    except ValueError as error:
        near = next((f"bins={size}" for size, _ in wanted.sizes_that_work()), "another backbone")
        raise InputError(
            f"{name} takes no diagrams of {bins} bins and {channels} views ({error}): "
            f"choose {near}."
        ) from error
    if held:
        _load(network, held, wanted, pretrained if of_file else None)
    return network, width


class Backbone(NamedTuple):
    """A name of timm's and the diagrams that it is to take."""

    name: str
    channels: int
    bins: int

    def build(self) -> tuple[nn.Module, int]:
        """Return the model, and how many features it gives a diagram.

        Raises ValueError where it does not take the diagram, or would leave some of it out.
        """
        options: dict[str, Any] = {"num_classes": 0, "in_chans": self.channels}
        try:
            try:
                network = timm.create_model(self.name, img_size=self.bins, **options)
            except TypeError:  # this family takes images of any size and knows no img_size
                network = timm.create_model(self.name, **options)
            hooks = [
                layer.register_forward_pre_hook(partial(_refuse_to_cut, self.bins))
                for layer in network.modules()
                if isinstance(layer, (nn.Conv2d, nn.Unfold))
            ]
            network.eval()
            with torch.no_grad():
                features = network(torch.zeros(1, self.channels, self.bins, self.bins))
        except Exception as error:  # each of timm's families refuses in a way of its own
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                raise
            raise ValueError(str(error) or type(error).__name__) from error
        for hook in hooks:
            hook.remove()
        return network.train(), features.shape[1]

    def sizes_that_work(self) -> Iterator[tuple[int, nn.Module]]:
        """Yield the nearest other numbers of bins that it takes, tried without arithmetic."""
        config, below = get_pretrained_cfg(self.name), self.bins // 32 * 32
        sizes = {below, below + 32, 224, config.input_size[-1] if config else 224}
        for bins in sorted(sizes - {0, self.bins}, key=lambda size: abs(size - self.bins)):
            try:
                with torch.device("meta"):
                    network, _ = self._replace(bins=bins).build()
            except ValueError:
                continue
            yield bins, network


def _refuse_to_cut(bins: int, layer: Any, given: tuple[Tensor]) -> None:
    """Refuse patches, of a diagram or of its first features, that leave out an edge."""
    side, kernel = given[0].shape[-1], int(np.max(layer.kernel_size))
    first = side == bins or isinstance(layer, nn.Unfold)
    if first and layer.kernel_size == layer.stride and side % kernel:
        raise ValueError(f"it cuts them into patches of {kernel * bins // side} bins")


def fetch_weights(name: str) -> Path:
    """Return the local path of a timm model's published weights, fetched from the hub if needed.

    Raises InputError where the hub cannot be reached or has no safetensors file: timm itself would
    then fall back to a pickle.
    """
    config = get_pretrained_cfg(name)
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


def _tensors_of_file(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a backbone from a file of timm's, or of a run."""
    if path.suffix != ".safetensors" or not path.exists():
        raise InputError(f"pretrained must name an existing .safetensors file; it is '{path}'.")
    held, header = read_tensors(path, problem=f"{path.name} holds no weights that can be read")
    if "net" not in header:
        return held
    prefix = "backbone."
    return {key.removeprefix(prefix): held[key] for key in held if key.startswith(prefix)}


def _load(network: Any, held: dict[str, Tensor], wanted: Backbone, file: object) -> None:
    """Load all weights of a network; timm's own loader leaves at random what it cannot fit."""
    source = f"{file or 'The published file'} holds the weights of"
    # timm renames or leaves out some weights of older files, and fits positions to the bins.
    adapt = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    try:
        tensors = dict(adapt(held, network)) if adapt else held
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{source} another backbone than {wanted.name}: {error}") from error
    with torch.device("meta"):
        classifier = timm.create_model(wanted.name).state_dict()
    missing = {key for key, _ in network.named_parameters()} - set(tensors)
    foreign = set(tensors) - set(network.state_dict()) - set(classifier) if file else set()
    if missing or foreign:
        raise InputError(
            f"{source} another backbone than {wanted.name}: it lacks {len(missing)} of its weights "
            f"and has {len(foreign)} others ({', '.join(sorted(missing or foreign)[:3])}, ...)."
        )
    _fit_channels(tensors, network, wanted.channels, source)
    misfit = _first_misfit(tensors, network)
    if misfit:
        fitting = (n for n, other in wanted.sizes_that_work() if not _first_misfit(tensors, other))
        advice = next((f"bins={bins}, which they fit" for bins in fitting), "other weights")
        raise InputError(
            f"{source} another backbone than {wanted.name} for {wanted.channels} views and "
            f"{wanted.bins} bins: {misfit}. Choose {advice}, or pretrained=False."
        )
    network.load_state_dict(tensors, strict=False)


def _fit_channels(tensors: dict[str, Tensor], network: Any, channels: int, source: str) -> None:
    """Adapt first layers that were published for three channels; refuse other numbers of them."""
    firsts = network.pretrained_cfg.get("first_conv") or ()
    firsts = {f"{name}.weight" for name in ((firsts,) if isinstance(firsts, str) else firsts)}
    for key in sorted(firsts & set(tensors) & set(network.state_dict())):
        own = network.state_dict()[key].shape
        there = tensors[key].shape[1] * channels // own[1]  # a layer may see each several times
        if there == 3:
            with suppress(NotImplementedError):
                tensors[key] = adapt_input_conv(channels, tensors[key])
        if tensors[key].shape[1] != own[1]:
            raise InputError(
                f"{source} a backbone for {there} channels: its {key} has the shape "
                f"{[*tensors[key].shape]}, and {channels} views need {[*own]}. Choose {there} "
                "views, weights for another number of channels, or pretrained=False."
            )


def _first_misfit(tensors: dict[str, Tensor], network: nn.Module) -> str:
    """Return which tensor is the first of another shape than the network's, or nothing."""
    for key, wanted in network.state_dict().items():
        if key in tensors and tensors[key].shape != wanted.shape:
            return f"its {key} has the shape {[*tensors[key].shape]}, not {[*wanted.shape]}"
    return ""
