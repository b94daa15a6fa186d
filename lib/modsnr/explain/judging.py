"""Methods of attribution side by side: how faithful each is, how robust, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from modsnr.explain.attributions import grad_cam, integrated_gradients, occlusion
from modsnr.explain.evidence import Score
from modsnr.explain.faithfulness import (
    area,
    deletion,
    infidelity,
    insertion,
    rank_agreement,
    sensitivity,
)
from modsnr.explain.shapley import feature_ablation, kernel_shap, shapley_values
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
    """Return the methods of attribution by name, ready to be called, and a random control.

    ``layer`` and ``as_maps`` are the network's last features, for Grad-CAM; ``regions`` int64
    [view, bins, bins] for ablation and Shapley values; ``window`` is occlusion's, in bins, at half
    of which it strides; ``steps`` are those of integrated gradients; ``orders`` and ``sets`` are
    the samples of the two ways to Shapley values.
    """

    def at_random(_score: Score, diagrams: Tensor) -> Tensor:
        generator = torch.Generator(diagrams.device).manual_seed(seed)
        return torch.rand(diagrams.shape, generator=generator, device=diagrams.device)

    return {
        "occlusion": partial(occlusion, window=window, stride=max(1, window // 2)),
        "integrated gradients": partial(integrated_gradients, steps=steps),
        "Grad-CAM": partial(grad_cam, layer=layer, as_maps=as_maps),
        "ablation of rings": partial(feature_ablation, regions=regions),
        "Shapley, sampled": partial(shapley_values, regions=regions, samples=orders, seed=seed),
        "kernel SHAP": partial(kernel_shap, regions=regions, samples=sets, seed=seed),
        CONTROL: at_random,
    }


def judge(
    methods: Mapping[str, Attribute],
    score: Score,
    diagrams: Tensor,
    *,
    untrained: tuple[Mapping[str, Attribute], Score],
    shakes: int = 3,
    seed: int = 0,
) -> tuple[dict[str, Tensor], pd.DataFrame]:
    """Return each method's attribution by name, and a table of merits, a row a method and frame.

    ``diagrams`` are float32 [frame, view, bins, bins]. ``untrained`` are methods of the same names,
    and the same score, for a network drawn anew. ``shakes`` are the samples of the sensitivity,
    each of which costs another attribution.

    Columns: method, frame; deletion and insertion, the areas under the curves of exp(score), which
    is 0 to 1 for evidence, the lower and the higher the better; infidelity; sensitivity, the most
    that a map moves, relative to its norm; untrained, the rank agreement with the map for the
    network that learnt nothing; seconds a frame.
    """
    others, other_score = untrained

    def certainty(images: Tensor) -> Tensor:
        return score(images).exp()

    found, tables = {}, {}
    for name, attribute in methods.items():
        start = time.perf_counter()
        maps = found[name] = attribute(score, diagrams)
        seconds = (time.perf_counter() - start) / len(diagrams)
        explain = partial(attribute, score)
        merits = {
            "deletion": area(deletion(certainty, diagrams, maps, seed=seed)),
            "insertion": area(insertion(certainty, diagrams, maps, seed=seed)),
            "infidelity": infidelity(score, diagrams, maps, seed=seed),
            "sensitivity": sensitivity(explain, diagrams, samples=shakes, seed=seed),
            "untrained": rank_agreement(maps, others[name](other_score, diagrams), diagrams),
        }
        columns = {merit: of.double().cpu().numpy() for merit, of in merits.items()}
        tables[name] = pd.DataFrame({"seconds": seconds, **columns})
    return found, pd.concat(tables, names=["method", "frame"]).reset_index()


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


def judgement_rows(judged: pd.DataFrame, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return a row a method: means with 95 % bootstrap intervals over the frames, and a verdict.

    ``judged`` is the table of ``judge``. "believed" takes three things. The method is faithful:
    compared frame by frame with the random control, the area of deletion is lower and that of
    insertion higher, the whole interval of the mean difference. And it follows the network: its
    mean rank agreement with the map of an untrained one is below ``FOLLOWS`` in size. Otherwise
    the verdict names what fails.
    """
    generator = np.random.default_rng(seed)

    def mean(values: pd.Series) -> Interval:
        return mean_interval(values.to_numpy(), generator)

    rows = []
    by_method = {
        name: frames.set_index("frame") for name, frames in judged.groupby("method", sort=False)
    }
    control = by_method[CONTROL]
    for method, found in by_method.items():
        row: dict[str, Any] = {"method": method}
        row["deletion gain"] = mean(control.deletion - found.deletion)
        row["insertion gain"] = mean(found.insertion - control.insertion)
        row["untrained agreement"] = mean(found.untrained)
        for merit in ("deletion", "insertion", "infidelity", "sensitivity"):
            row[merit] = mean(found[merit])
        row["seconds a frame"] = float(found.seconds.iloc[0])
        faults = [test for test in ("deletion", "insertion") if row[f"{test} gain"]["low"] <= 0]
        if abs(row["untrained agreement"]["value"]) >= FOLLOWS:
            faults.append("follows the picture")
        verdict = f"fails: {', '.join(faults)}" if faults else "believed"
        rows.append(row | {"verdict": "control" if method == CONTROL else verdict})
    return rows
