"""Impacts to scores, and scores to what tables, figures and verdicts need: mappings in and out.

Impacts may be nested by any names, such as model and view; what is made of them is nested alike.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from modsnr.explain.perturbing import TASKS, Impact, impact_scores
from modsnr.metrics import Interval

Quantity = Literal["accuracy", "accuracy_drop", "pis_of_occupied", "pis_of_image", "pis_of_points"]

# Joint and modulation PIS that the study reports, over its occupied pixels: mask, share, task.
STUDY_PIS: Mapping[tuple[str, float, str], float] = {
    ("brightest", 0.01, "joint"): 11.75,
    ("brightest", 0.05, "joint"): 4.07,
    ("brightest", 0.05, "modulation"): 2.07,
    ("dimmest", 0.01, "joint"): 48.67,
    ("dimmest", 0.05, "joint"): 9.72,
}
TOLERANCE = 0.25  # of a claimed score


def scored(impacts: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the scores of nested impacts: ``impact_scores`` of each, with the shares hidden."""
    return {
        key: (
            impact_scores(found)
            | {
                "share_of_occupied": float(found.share_of_occupied.mean()),
                "share_of_image": float(found.share_of_image.mean()),
                "share_of_points": float(found.share_of_points.mean()),
            }
            if isinstance(found, Impact)
            else scored(found)
        )
        for key, found in impacts.items()
    }


def named(scores: Mapping[Any, Any]) -> dict[str, Any]:
    """Return nested scores with text for keys: ("brightest", 0.05) becomes "brightest_5"."""
    return {
        _name(key): named(found) if isinstance(found, Mapping) else found
        for key, found in scores.items()
    }


def _name(key: Hashable) -> str:
    return f"{key[0]}_{100 * key[1]:g}" if isinstance(key, tuple) else str(key)


def score_rows(scores: Mapping[Any, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row a mask of scores nested by ``names``, the last of which is the mask.

    Of every task: the accuracy, the accuracy lost, and the score in each convention.
    """
    rows: list[dict[str, Any]] = []
    first, *rest = names
    for key, found in scores.items():
        if rest:
            rows += [{first: key, **row} for row in score_rows(found, rest)]
            continue
        row: dict[str, Any] = {first: key}
        if isinstance(key, tuple):
            row = {first: key[0], "fraction": key[1]}
        row |= {f"of {what}": found[f"share_of_{what}"] for what in ("occupied", "image", "points")}
        for task in TASKS:
            row |= {
                f"{task} accuracy": found[task]["accuracy"]["value"],
                f"{task} drop": found[task]["accuracy_drop"]["value"],
                f"{task} PIS": found[task]["pis_of_occupied"]["value"],
                f"{task} PIS of image": found[task]["pis_of_image"]["value"],
                f"{task} PIS of points": found[task]["pis_of_points"]["value"],
            }
        rows.append(row)
    return rows


def by_fraction(
    scores: Mapping[tuple[str, float], Mapping[str, Any]],
    quantity: Quantity = "pis_of_occupied",
    *,
    of: Literal["pixels", "points"] = "pixels",
) -> dict[str, dict[str, dict[float, Interval]]]:
    """Return method -> task -> fraction -> Interval from the scores of one view's masks.

    The fraction is that of the pixels asked for, or ``of`` the points really hidden.
    """
    result: dict[str, dict[str, dict[float, Interval]]] = {}
    for (method, fraction), found in scores.items():
        for task in TASKS:
            of_task = result.setdefault(method, {}).setdefault(task, {})
            hidden = fraction if of == "pixels" else found["share_of_points"]
            of_task[hidden] = found[task][quantity]
    return result


def by_label(
    impact: Impact, labels: Sequence[Any], order: Sequence[Any]
) -> dict[Any, dict[str, Any]]:
    """Return the scores of the frames of each label [frame], in the order given; a label that no
    frame has is left out."""
    of_frame = np.asarray(labels)
    return {
        label: impact_scores(impact.of(of_frame == label))
        for label in order
        if (of_frame == label).any()
    }


def claim_rows(scores: Mapping[tuple[str, float], Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the study's claims on masks: claimed, measured with its interval, and a verdict.

    ``scores`` are those of the masks on the study's view. A claimed score holds if the whole
    interval measured lies within a quarter of it, "about zero" within a quarter of the least score
    that is claimed; each is contradicted if the whole interval lies without, and else not decided:
    a wide interval decides nothing. That one mask costs more than another holds where the one's
    whole interval lies above the other's, and is contradicted where it lies below; what the
    brightest cost beyond as many points at random is told in accuracy lost.
    """
    rows = []
    for (method, fraction, task), claimed in STUDY_PIS.items():
        if (method, fraction) not in scores:
            continue
        found = scores[method, fraction][task]["pis_of_occupied"]
        verdict = _verdict(found, claimed, TOLERANCE * claimed)
        claim = f"{task} PIS, {method} {100 * fraction:g} %"
        rows.append({"claim": claim, "claimed": f"{claimed:g}", **found, "verdict": verdict})
    for fraction in sorted({fraction for _, fraction in scores}):
        at = {method: scores[method, fraction] for method, of in scores if of == fraction}
        percent = f"{100 * fraction:g} %"
        controls: tuple[tuple[str, Quantity, str], ...] = (
            ("random", "pis_of_occupied", "matched"),
            ("random_image", "pis_of_image", "the study's"),  # it counts all pixels
        )
        for method, share, control in controls:
            found = at[method]["joint"][share]
            verdict = _verdict(found, 0.0, TOLERANCE * min(STUDY_PIS.values()))
            claim = f"joint PIS, random {percent}, {control} control"
            rows.append({"claim": claim, "claimed": "about 0", **found, "verdict": verdict})
        orders = (
            ("dimmest", "brightest", "joint", "PIS"),
            ("brightest", "random", "joint", "PIS"),
            ("dimmest", "random", "joint", "PIS"),
            *(("brightest", "random_points", task, "accuracy lost") for task in TASKS),
        )
        for more, less, task, what in orders:
            quantity = "pis_of_occupied" if what == "PIS" else "accuracy_drop"
            found, other = at[more][task][quantity], at[less][task][quantity]
            verdict = "not decided"
            if found["low"] > other["high"]:
                verdict = "holds"
            elif found["high"] < other["low"]:
                verdict = "contradicted"
            claim = f"{task} {what}, {more} above {less}, {percent}"
            bound = f"above {other['value']:.3g}"
            rows.append({"claim": claim, "claimed": bound, **found, "verdict": verdict})
    return rows


def _verdict(found: Mapping[str, float], claimed: float, tolerance: float) -> str:
    low, high = claimed - tolerance, claimed + tolerance
    if low <= found["low"] and found["high"] <= high:
        return "holds"
    return "contradicted" if found["high"] < low or found["low"] > high else "not decided"
