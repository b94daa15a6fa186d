"""Models that differ only in their seed, taken together: mean and spread of what they reach."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

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
    names: Mapping[str, str], choices: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[str]]:
    """Return group -> its models, which differ in nothing but their seed.

    ``names`` is model -> name of its run, ``choices`` model -> the parameters that decide its
    results, "seed" among them; groups and models keep their order. A group of several is called by
    the common beginning of its runs' names (all-views-0, all-views-1: all-views); one model is
    called as it is, and so is the first of a group whose names have no beginning in common or one
    that is taken. What has no effect (``IDLE``) does not count as a difference. A second model with
    the same seed is a repetition, not a seed more, and goes to another group.
    """
    alike: dict[str, list[str]] = {}
    seen: dict[str, int] = {}
    for model, chosen in choices.items():
        fixed = sorted(
            (k, repr(v))
            for k, v in chosen.items()
            if k != "seed" and (k not in IDLE or chosen.get(IDLE[k][0]) in IDLE[k][1])
        )
        with_seed = repr((fixed, chosen.get("seed")))
        seen[with_seed] = seen.get(with_seed, 0) + 1
        alike.setdefault(repr((fixed, seen[with_seed])), []).append(model)
    groups: dict[str, list[str]] = {}
    for members in alike.values():
        common = _beginning([names[model] for model in members])
        taken = common in groups or common in set(choices) - set(members)
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


def headlines(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the main numbers of models, a row each: its columns but part, low and high.

    ``scores`` has the columns model, metric, part, value, low and high, and maybe more. The numbers
    are those of ``HEADLINES``, and snr_accuracy_worst, the accuracy at the SNR where it is least.
    """
    at_db = scores[scores.metric == "snr_accuracy_at_db"]
    worst = at_db.loc[at_db.groupby("model", sort=False).value.idxmin()]
    main = scores[scores.metric.isin(HEADLINES) & scores.value.notna()]
    both = pd.concat([main, worst.assign(metric="snr_accuracy_worst")])
    return both.drop(columns=["part", "low", "high"])


def over_seeds(numbers: pd.DataFrame) -> pd.DataFrame:
    """Return a row a group and metric: mean, std, low and high (least and greatest) and n.

    ``numbers`` has the columns group, metric and value, a row a model and metric. std is the
    standard deviation with n - 1, NaN of a single one. A number that a model lacks, or has as NaN,
    is taken over the others; what all of them lack is left out.
    """
    found = numbers.dropna(subset=["value"]).groupby(["group", "metric"], sort=False).value
    return found.agg(mean="mean", std="std", low="min", high="max", n="count").reset_index()


def curves_over_seeds(scores: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy over SNR, a row a task, group and SNR: task, group, snr_db, value, low, high
    and seeds, the number of models.

    ``scores`` has the columns group, metric, part, value, low and high, of which the accuracies
    _at_db are taken. Of several models, the value is their mean, low and high the least and the
    greatest of their values; of a single one, its own interval. An SNR that one of them lacks is
    left out.
    """
    at_db = scores[scores.metric.str.endswith("_accuracy_at_db")]
    at_db = at_db.assign(
        task=at_db.metric.str.removesuffix("_accuracy_at_db"), snr_db=at_db.part.astype(float)
    )
    rows = []
    for (task, group), of_group in at_db.groupby(["task", "group"], sort=False):
        members = of_group.groupby("snr_db", sort=False).value
        seeds = members.size().max()
        if seeds == 1:
            points = of_group.set_index("snr_db")[["value", "low", "high"]]
        else:
            points = members.agg(value="mean", low="min", high="max")[members.size() == seeds]
        rows.append(points.reset_index().assign(task=str(task), group=str(group), seeds=seeds))
    return pd.concat(rows, ignore_index=True)
