"""Methods of attribution side by side: how faithful each is, how robust, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from modsnr.explain.attributions import Score, grad_cam, integrated_gradients, occlusion
from modsnr.explain.shapley import feature_ablation, kernel_shap, shapley_values
from modsnr.explain.trust import area, deletion, infidelity, insertion, rank_agreement, sensitivity
from modsnr.metrics import Interval, mean_interval

Attribute = Callable[[Score, Tensor], Tensor]  # score, diagrams -> attribution, of their shape
CONTROL = "random"
FOLLOWS = 0.5  # agreement with the maps of a network that learnt nothing, from which on it does not


def pixel_methods(
    layer: nn.Module,
    as_maps: Callable[[Tensor], Tensor] | None,
    regions: Tensor,
    *,
    window: int,
    steps: int,
    orders: int,
    sets: int,
    seed: int = 0,
) -> dict[str, Attribute]:
    """Return the methods of attribution by name, ready to be asked, and a random control.

    ``layer`` and ``as_maps`` are the network's last features, for Grad-CAM; ``regions`` int64
    [view, bins, bins] for ablation and Shapley values; ``window`` is occlusion's, in bins, at half
    of which it strides; ``steps`` are those of integrated gradients; ``orders`` and ``sets`` are
    the samples of the two ways to Shapley values.
    """
    return {
        "occlusion": partial(occlusion, window=window, stride=max(1, window // 2)),
        "integrated gradients": partial(integrated_gradients, steps=steps),
        "Grad-CAM": partial(grad_cam, layer=layer, as_maps=as_maps),
        "ablation of rings": partial(feature_ablation, regions=regions),
        "Shapley, sampled": partial(shapley_values, regions=regions, samples=orders, seed=seed),
        "kernel SHAP": partial(kernel_shap, regions=regions, samples=sets, seed=seed),
        CONTROL: partial(_at_random, seed=seed),
    }


def _at_random(_score: Score, diagrams: Tensor, *, seed: int) -> Tensor:
    generator = torch.Generator(diagrams.device).manual_seed(seed)
    return torch.rand(diagrams.shape, generator=generator, device=diagrams.device)


class Judgement(NamedTuple):
    """What is said of one method: float64 [frame] each, but for the last.

    ``deletion`` and ``insertion`` are areas under the curves of exp(score), which is 0 to 1 for
    evidence: the lower and the higher the better. ``infidelity`` is that of captum, ``sensitivity``
    the most that a map moves, relative to its norm; ``untrained`` is the rank agreement with the
    map for the score of a network that learnt nothing. ``seconds`` are those of a frame.
    """

    attribution: Tensor
    deletion: np.ndarray
    insertion: np.ndarray
    infidelity: np.ndarray
    sensitivity: np.ndarray
    untrained: np.ndarray
    seconds: float


def judge(
    attribute: Attribute,
    score: Score,
    diagrams: Tensor,
    *,
    untrained: tuple[Attribute, Score],
    shakes: int = 3,
    seed: int = 0,
) -> Judgement:
    """Return what one method is worth on diagrams float32 [frame, view, bins, bins].

    ``untrained`` is the same method, and the same score, for a network drawn anew. ``shakes`` are
    the samples of the sensitivity, each of which costs another attribution.
    """
    start = time.perf_counter()
    found = attribute(score, diagrams)
    seconds = (time.perf_counter() - start) / len(diagrams)

    def certainty(images: Tensor) -> Tensor:
        return score(images).exp()

    def of_frames(values: Tensor) -> np.ndarray:
        return values.double().cpu().numpy()

    other, of_other = untrained
    return Judgement(
        attribution=found,
        deletion=of_frames(area(deletion(certainty, diagrams, found, seed=seed))),
        insertion=of_frames(area(insertion(certainty, diagrams, found, seed=seed))),
        infidelity=of_frames(infidelity(score, diagrams, found, seed=seed)),
        sensitivity=of_frames(
            sensitivity(partial(attribute, score), diagrams, samples=shakes, seed=seed)
        ),
        untrained=of_frames(rank_agreement(found, other(of_other, diagrams), diagrams)),
        seconds=seconds,
    )


def judge_all(
    methods: Mapping[str, Attribute],
    score: Score,
    diagrams: Tensor,
    *,
    untrained: tuple[Mapping[str, Attribute], Score],
    shakes: int = 3,
    seed: int = 0,
) -> dict[str, Judgement]:
    """Return the judgement of each method by name; ``untrained`` has the same names."""
    others, of_other = untrained
    return {
        name: judge(
            attribute,
            score,
            diagrams,
            untrained=(others[name], of_other),
            shakes=shakes,
            seed=seed,
        )
        for name, attribute in methods.items()
    }


def agreements(
    attributions: Mapping[str, Tensor], diagrams: Tensor, *, seed: int = 0
) -> dict[str, Interval]:
    """Return the mean rank agreement over frames of every two attributions, by "one and other"."""
    return {
        f"{one} and {other}": mean_interval(
            rank_agreement(attributions[one], attributions[other], diagrams).numpy(),
            np.random.default_rng(seed),
        )
        for one, other in combinations(attributions, 2)
    }


def judgement_rows(judged: Mapping[str, Judgement], *, seed: int = 0) -> list[dict[str, Any]]:
    """Return a row a method: means with 95 % bootstrap intervals over the frames, and a verdict.

    "believed" asks three things. It is faithful: compared frame by frame with the random control,
    the area of deletion is lower and that of insertion higher, the whole interval of the mean
    difference. And it follows the network: its mean rank agreement with the map of an untrained
    one is below ``FOLLOWS`` in size. Otherwise the verdict says what fails.
    """
    generator = np.random.default_rng(seed)

    def mean(values: np.ndarray) -> Interval:
        return mean_interval(values, generator)

    rows = []
    control = judged[CONTROL]
    for method, found in judged.items():
        gain = {
            "deletion gain": mean(control.deletion - found.deletion),
            "insertion gain": mean(found.insertion - control.insertion),
        }
        agreement = mean(found.untrained)
        faults = [name.removesuffix(" gain") for name, of in gain.items() if of["low"] <= 0]
        if abs(agreement["value"]) >= FOLLOWS:
            faults.append("follows the picture")
        verdict = f"fails: {', '.join(faults)}" if faults else "believed"
        rows.append(
            {
                "method": method,
                "deletion": mean(found.deletion),
                "insertion": mean(found.insertion),
                **gain,
                "infidelity": mean(found.infidelity),
                "sensitivity": mean(found.sensitivity),
                "untrained agreement": agreement,
                "seconds a frame": found.seconds,
                "verdict": "control" if method == CONTROL else verdict,
            }
        )
    return rows
