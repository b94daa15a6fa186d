"""Models that differ only in their seed, taken together: mean and spread of what they reach."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modsnr import InputError

# Parameters that change no result, or only by chance.
APART = ("seed", "name", "note", "resume", "minutes", "wandb")
HEADLINES = (
    "joint_accuracy",
    "modulation_accuracy",
    "snr_accuracy",
    "snr_mae_db",
    "attractor_index",
    "modulation_ece",
    "snr_ece",
    "snr_interval_coverage",
    "snr_interval_width_db",
)
# parameter -> the one that it waits for, and the values of that one with which it has an effect
IDLE: Mapping[str, tuple[str, Sequence[Any]]] = {
    "modulation_share": ("task_weighting", ("fixed",)),
    "hide_fraction": (
        "hide",
        ("brightest", "dimmest", "random", "random_points", "random_image", "modulation", "snr"),
    ),
    "hide_by": ("hide", ("modulation", "snr")),
}


def seed_groups(
    models: Mapping[str, Mapping[str, Any]], *, apart: Sequence[str] = APART
) -> dict[str, list[str]]:
    """Return group -> its models, which differ in nothing but the parameters ``apart``.

    ``models`` is model -> parameters of its run, of which "name" is the run's; groups and models
    keep their order. A group of several is called by the common beginning of its runs' names
    (all-views-0, all-views-1: all-views); one model is called as it is, and so is the first of a
    group whose names have no beginning in common or one that is taken. What has no effect
    (``IDLE``) does not count as a difference. A second model with the same seed is a repetition,
    not a seed more, and goes to another group.
    """
    alike: dict[str, list[str]] = {}
    seen: dict[str, int] = {}
    for model, parameters in models.items():
        fixed = sorted(
            (k, repr(v))
            for k, v in parameters.items()
            if k not in apart and (k not in IDLE or parameters.get(IDLE[k][0]) in IDLE[k][1])
        )
        with_seed = repr((fixed, parameters.get("seed")))
        seen[with_seed] = seen.get(with_seed, 0) + 1
        alike.setdefault(repr((fixed, seen[with_seed])), []).append(model)
    groups: dict[str, list[str]] = {}
    for members in alike.values():
        common = _beginning([str(models[model].get("name", model)) for model in members])
        taken = common in groups or common in set(models) - set(members)
        alone = len(members) == 1 or not common or taken
        groups[members[0] if alone else common] = members
    return groups


def _beginning(names: Sequence[str]) -> str:
    """Return the words and numbers that all names begin with, whole ones: a-10, a-11: a."""
    words = [re.findall(r"\d+|[^\d\-_. ]+|[-_. ]+", name) for name in names]
    common = ""
    for number, word in enumerate(min(words, key=len)):
        if any(of_name[number] != word for of_name in words):
            break
        common += word
    return common.rstrip("-_. ")


def headlines(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the main numbers of a model's ``summary``, with those of ``trust`` beside it.

    They are those of ``HEADLINES`` that it has, an ``Interval`` by its value, and
    snr_accuracy_worst, the SNR accuracy at the SNR where it is least.
    """
    worst = min(point["value"] for point in summary["snr_accuracy_at_db"].values())
    found = {name: summary[name] for name in HEADLINES if summary.get(name) is not None}
    plain = {k: v["value"] if isinstance(v, Mapping) else v for k, v in found.items()}
    return plain | {"snr_accuracy_worst": worst}


def over_seeds(results: Sequence[Mapping[str, float | None]]) -> dict[str, dict[str, Any]]:
    """Return metric -> mean, std, low, high (the least and the greatest) and n, over the seeds.

    ``results`` is metric -> number, of each seed. std is the standard deviation with n - 1, None of
    a single one. A metric that some seed lacks, or has as None, is taken over the others.

    Raises InputError for no seeds at all.
    """
    if not results:
        raise InputError("There is no model to take a mean of.")
    spread = {}
    for name in dict.fromkeys(name for result in results for name in result):
        values = np.array([r[name] for r in results if r.get(name) is not None], np.float64)
        if len(values):
            spread[name] = {
                "mean": float(values.mean()),
                "std": float(values.std(ddof=1)) if len(values) > 1 else None,
                "low": float(values.min()),
                "high": float(values.max()),
                "n": len(values),
            }
    return spread


def curve_over_seeds(
    curves: Sequence[Mapping[str, Mapping[str, float]]],
) -> dict[str, dict[str, Any]]:
    """Return SNR (as text) -> value, low and high, from such a curve of each seed.

    Of several, the value is their mean, low and high the least and the greatest of their values,
    and seeds their number; a single one is returned as it is, with its own interval. An SNR that
    one of them lacks is left out.

    Raises InputError for no curves at all.
    """
    if not curves:
        raise InputError("There is no curve to take a mean of.")
    if len(curves) == 1:
        return {snr: dict(point) for snr, point in curves[0].items()}
    points = {}
    for snr in (snr for snr in curves[0] if all(snr in curve for curve in curves)):
        values = [curve[snr]["value"] for curve in curves]
        points[snr] = {
            "value": float(np.mean(values)), "low": min(values), "high": max(values),
            "seeds": len(values),
        }  # fmt: skip
    return points
