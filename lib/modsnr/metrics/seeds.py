"""Models that differ only in their seed, taken together: mean and spread of what they reach."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

import pandas as pd


def seed_groups(
    names: Mapping[str, str], choices: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[str]]:
    """Return group -> its models, which differ in nothing but their seed.

    ``names`` is model -> name of its run, ``choices`` model -> the parameters that decide its
    results, "seed" among them. A group of several is called by the whole words and numbers that its
    runs' names begin with (all-views-10, all-views-11: all-views); if there are none, or if
    another has that name, it is called as its first model. A second model with the same seed is a
    repetition, not a seed more, and goes to another group.
    """
    models = pd.DataFrame({
        "model": [*choices],
        "seed": [chosen.get("seed") for chosen in choices.values()],
        "others": [repr(sorted((dict(of) | {"seed": None}).items())) for of in choices.values()],
    })  # fmt: skip
    models["repetition"] = models.groupby(["others", "seed"], dropna=False).cumcount()
    groups: dict[str, list[str]] = {}
    for _, found in models.groupby(["others", "repetition"], sort=False):
        members = list(found.model)
        words = [re.findall(r"\d+|[^\d\-_. ]+|[-_. ]+", names[model]) for model in members]
        alike = takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))
        common = "".join(first for first, *_ in alike).rstrip("-_. ")
        taken = common in groups or common in set(choices) - set(members)
        alone = len(members) == 1 or not common or taken
        groups[members[0] if alone else common] = members
    return groups


def over_seeds(numbers: pd.DataFrame) -> pd.DataFrame:
    """Return a row a group and metric: mean, std, low and high (least and greatest) and n.

    ``numbers`` has the columns group, metric and value, a row a model and metric; NaN does not
    count. std is the standard deviation with n - 1, NaN of a single one.
    """
    found = numbers.dropna(subset=["value"]).groupby(["group", "metric"], sort=False).value
    return found.agg(mean="mean", std="std", low="min", high="max", n="count").reset_index()


def curves_over_seeds(scores: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy over SNR: task, group, snr_db, value, low, high, seeds (number of models).

    ``scores`` has the columns group, metric, part, value, low and high. Of several models, the
    value is their mean, low and high the least and the greatest of their values; of a single one,
    its own interval. An SNR that one of them lacks is left out.
    """
    at_db = scores[scores.metric.str.endswith("_accuracy_at_db")]
    task, snr_db = at_db.metric.str.removesuffix("_accuracy_at_db"), at_db.part.astype(float)
    points = at_db.assign(task=task, snr_db=snr_db).groupby(["task", "group", "snr_db"], sort=False)
    table = points.value.agg(value="mean", low="min", high="max", seeds="size")
    alone = table.seeds == 1
    table.loc[alone, ["low", "high"]] = points[["low", "high"]].first()[alone]
    most = table.groupby(["task", "group"]).seeds.transform("max")
    return table[table.seeds == most].reset_index()
