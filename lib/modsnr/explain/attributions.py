"""Attributions: how much each pixel of a diagram holds up a score.

Every method, here and in ``shapley``, takes a score and diagrams float32 [frame, view, bins, bins],
and returns float32 of the same shape. What is hidden is black. The score is asked about the whole
batch at a time, in the order of its frames, so it may know their labels. Networks are expected in
evaluation mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from modsnr import InputError

ANSWERS = ("modulation", "snr")  # as a network gives them
Score = Callable[[Tensor], Tensor]  # diagrams float32 [frame, view, bins, bins] -> values [frame]


def evidence(
    forward: Callable[[Tensor], Sequence[Tensor]],
    task: str,
    modulation: Tensor,
    snr_db: Tensor,
    grid_db: Tensor,
) -> Score:
    """Return the score of a task, diagrams to values [frame], for frames of these true labels.

    ``forward`` returns the modulation's logits [frame, class], and the SNR in dB [frame] or its
    logits [frame, SNR] over ``grid_db``; the score has its gradients. modulation: the
    log-probability of the true class. snr: minus the error of the estimate in dB, or the
    log-probability of the true SNR. Frames repeated as a whole, as captum does, keep their labels.
    """
    if task not in ANSWERS:
        raise InputError(f"There is evidence for modulation and snr; {task!r} is neither.")
    place = (snr_db.unsqueeze(1) - grid_db).abs().argmin(1)
    return _held_against(forward, task, modulation if task == "modulation" else place, snr_db)


def own_answer(forward: Callable[[Tensor], Sequence[Tensor]], task: str, diagrams: Tensor) -> Score:
    """Return the score of the answer that a network itself gives to whole diagrams.

    As ``evidence``, with the network's decisions in the place of the labels: what it says where
    pixels are missing is held against what it says of all of them.
    """
    if task not in ANSWERS:
        raise InputError(f"There are answers for modulation and snr; {task!r} is neither.")
    with torch.no_grad():
        said = forward(diagrams)[ANSWERS.index(task)]
    return _held_against(forward, task, said.argmax(1) if said.ndim == 2 else None, said)


def _held_against(
    forward: Callable[[Tensor], Sequence[Tensor]], task: str, column: Tensor | None, snr_db: Tensor
) -> Score:
    """Return the score of an answer held against ``column`` of its logits, int64 [frame], or, where
    it is an estimate in dB, against ``snr_db`` [frame]."""

    def score(diagrams: Tensor) -> Tensor:
        said = forward(diagrams)[ANSWERS.index(task)]
        if column is not None and said.ndim == 2:
            return _chosen(said, column)
        return -(said - snr_db.repeat(len(said) // len(snr_db))).abs()

    return score


def _chosen(logits: Tensor, of_frame: Tensor) -> Tensor:
    """Return the log-probability [row] of what each row's frame is; rows are frames, repeated."""
    column = of_frame.repeat(len(logits) // len(of_frame)).unsqueeze(1)
    return logits.float().log_softmax(1).gather(1, column).squeeze(1)


def occlusion(score: Score, diagrams: Tensor, *, window: int, stride: int) -> Tensor:
    """Return how much each pixel's surroundings hold up a score: float32, the shape of diagrams.

    ``score`` maps diagrams to values [frame]; a square window is blackened in one view at a time
    (captum's Occlusion, after Zeiler and Fergus 2014) and the score's loss is spread over it.

    Raises InputError for a window that does not fit, for diagrams that are none, and where captum
    is not installed.
    """
    check(diagrams)
    if not 0 < stride <= window <= diagrams.shape[-1]:
        raise InputError(
            f"Occlusion needs 0 < stride <= window <= bins; they are {stride}, {window}, "
            f"{diagrams.shape[-1]}."
        )
    method = needed("captum.attr").Occlusion(lambda inputs: ask(score, inputs))
    with torch.no_grad():
        return method.attribute(
            diagrams,
            sliding_window_shapes=(1, window, window),
            strides=(1, stride, stride),
            baselines=0.0,
        )


def integrated_gradients(score: Score, diagrams: Tensor, *, steps: int = 32) -> Tensor:
    """Return each pixel's share in a score by its gradients on the way from black.

    Sundararajan, Taly and Yan 2017, by captum with Gauss-Legendre quadrature over ``steps``
    points, one batch of diagrams at a time. A frame's shares sum to its score less that of a black
    diagram, as near as the steps allow.

    Raises InputError for steps below 1, for diagrams that are none, and for a score without
    gradients.
    """
    at_least_one(steps=steps)
    check(diagrams)
    method = needed("captum.attr").IntegratedGradients(
        lambda inputs: _ask_for_gradients(score, inputs)
    )
    shares = method.attribute(
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

    ``layer`` is a part of the network that the score asks; ``as_maps`` turns what it returns into
    maps [frame, channel, row, column], where it returns anything else. Each map is weighted by the
    mean of its gradients; the positive part of their sum is enlarged to the bins bilinearly. A
    layer has no views left to tell apart: all views carry the same map.

    Raises InputError for diagrams that are none, for a score without gradients or that does not
    pass through the layer just once, and for features that are no maps.
    """
    check(diagrams)
    outputs: list[Tensor] = []

    def keep(_layer: nn.Module, _inputs: Any, output: Any) -> None:
        outputs.append(output)

    hook = layer.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            total = _ask_for_gradients(score, diagrams.detach().requires_grad_()).sum()
    finally:
        hook.remove()
    if len(outputs) != 1:
        raise InputError(
            f"The score passes {len(outputs)} times through the layer that Grad-CAM is to look at; "
            "it must be a part of the score's network that is run once."
        )
    (gradients,) = torch.autograd.grad(total, outputs)
    maps, slopes = outputs[0].detach(), gradients
    if as_maps:
        maps, slopes = as_maps(maps), as_maps(slopes)
    if maps.ndim != 4:
        raise InputError(
            f"Grad-CAM needs maps [frame, channel, row, column]; the layer gives "
            f"{list(maps.shape)}: pass as_maps."
        )
    found = (slopes.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu().float()
    found = nn.functional.interpolate(found, diagrams.shape[2:], mode="bilinear")
    return found.expand_as(diagrams).contiguous()


def _ask_for_gradients(score: Score, diagrams: Tensor) -> Tensor:
    values = ask(score, diagrams)
    if not values.requires_grad:
        raise InputError("The score has no gradients: it decides, or is taken under no_grad.")
    return values


# What all methods have in common


def needed(module: str) -> Any:
    """Return a module that only explaining needs. Raises InputError where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(f"Explaining needs {module}, which is not here ({error}).") from error


def ask(score: Score, diagrams: Tensor) -> Tensor:
    """Return the score of diagrams, float32 [frame]. Raises InputError where it is of any other
    shape."""
    values = score(diagrams)
    if values.shape != diagrams.shape[:1]:
        raise InputError(
            f"A score must be one value a frame, [{len(diagrams)}]; it is {list(values.shape)}."
        )
    return values.float()


def check(diagrams: Tensor) -> None:
    """Raise InputError for what is no batch of diagrams."""
    if diagrams.ndim != 4 or not diagrams.is_floating_point() or not diagrams.numel():
        raise InputError(
            "Diagrams must be floats [frame, view, bins, bins] and some; they are "
            f"{diagrams.dtype} {list(diagrams.shape)}."
        )
    finite = diagrams.isfinite().flatten(1).all(1)
    if not finite.all():
        raise InputError(
            f"{int((~finite).sum())} diagrams hold NaN or infinite values, the first at index "
            f"{int((~finite).nonzero()[0])}."
        )


def at_least_one(**counts: int) -> None:
    """Raise InputError for a count below 1, by its name."""
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"{name} must be 1 or more; it is {count}.")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Have what is drawn from torch's own generator on the CPU follow a seed, and then undo it."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs' as well
        yield
