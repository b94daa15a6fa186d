"""Runs side by side: their parameters, circumstances and results, and the differences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modsnr import InputError, runs
from modsnr.metrics import Answers, Interval, difference

MOST = 30  # results that are shown unless all are wanted
LABELS = ("modulation", "snr_db", "classes", "grid_db")
PREDICTIONS = ("predicted_modulation", "predicted_snr_db")


def chosen(references: Sequence[str]) -> list[runs.Record]:
    """Return the runs called by id, the beginning of an id, folder, or a name that one run has.

    Raises InputError for fewer than two, for one that is unknown or named twice, and for a name of
    several runs, with their ids: a comparison with the wrong one would go unnoticed.
    """
    if len(references) < 2:
        raise InputError("a comparison is of two runs or more; `modsnr runs` lists them")
    found: list[runs.Record] = []
    for reference in (Path(given).name for given in references):
        alike = [run for run in runs.records() if run.name == reference]
        if len(alike) > 1:
            ids = ", ".join(f"{run.id} (profile {run.profile or 'none'})" for run in alike)
            raise InputError(f"{len(alike)} runs are called {reference!r}; give an id: {ids}")
        run = runs.find(reference, status=None)
        if run in found:
            raise InputError(f"{run.id} is named twice: a comparison is of different runs")
        found.append(run)
    return found


def parameters(records: Sequence[runs.Record]) -> pd.DataFrame:
    """Return the parameters that differ, as text, a row each and a column a run.

    Of runs of different notebooks only parameters that all have are compared.
    """
    texts = [{n: runs.shown(value) for n, value in run.parameters.items()} for run in records]
    given = pd.DataFrame(texts).drop(columns=["name", "note"], errors="ignore").T
    return _differing(given if len({run.notebook for run in records}) == 1 else given.dropna())


def circumstances(records: Sequence[runs.Record]) -> pd.DataFrame:
    """Return of profile, commit, frames, versions and hardware what differs, a column a run."""
    texts = [
        {"profile": run.profile, "commit": run.commit, "frames": run.frames}
        | run.versions
        | {name: json.dumps(value).strip('"') for name, value in run.hardware.items()}
        for run in records
    ]
    return _differing(pd.DataFrame(texts).T)


def _differing(texts: pd.DataFrame) -> pd.DataFrame:
    filled = texts.fillna("–").replace("", "–")
    return filled[filled.ne(filled.iloc[:, 0], axis="index").any(axis="columns")]


def results(records: Sequence[runs.Record]) -> pd.DataFrame:
    """Return what all runs have in metrics.json, numbers and intervals: [path, run]."""
    return pd.DataFrame([runs.leaves(run.metrics) for run in records], dtype=object).T.dropna()


def paired(first: runs.Record, second: runs.Record) -> dict[str, Interval]:
    """Return the second's accuracies less the first's on the test frames of both.

    The intervals are over frames resampled together, so what both find hard cancels out. Raises
    InputError with the reason where there is nothing to pair.
    """
    if first.data is None or first.data != second.data:
        raise InputError("they were not tested on the same frames")
    before, after = first.predictions(), second.predictions()
    for run, saved in ((first, before), (second, after)):
        if lacks := {*LABELS, *PREDICTIONS} - {*saved}:
            raise InputError(f"the predictions of {run.id} lack {', '.join(sorted(lacks))}")
    if not all(np.array_equal(before[name], after[name]) for name in LABELS):
        raise InputError("their test frames have other labels")
    right, was_right = (Answers.from_predictions(saved).outcomes() for saved in (after, before))
    return {task: difference(right[task], was_right[task]) for task in right}


def page(references: Sequence[str], *, every: bool = False) -> str:
    """Return as text what differs between runs, and the others' differences from the first.

    Thirty lines of each kind are shown unless ``every`` one is wanted.
    """
    records = chosen(references)
    names = [run.name for run in records]
    heads = names if len({*names}) == len(names) else [run.id.split("-")[0] for run in records]
    heads_of_changes = [f"{head} less {heads[0]}" for head in heads[1:]]
    ids = pd.DataFrame([[run.id, run.status] for run in records], heads)
    blocks = [ids.to_string(header=False)]
    for what, texts in {
        "parameters": parameters(records).set_axis(heads, axis="columns"),
        "circumstances": circumstances(records).set_axis(heads, axis="columns"),
        "results": _with_changes(results(records), [*heads, *heads_of_changes]),
    }.items():
        shown = texts if every else texts[:MOST]
        title = f"{what} that differ\n{shown.to_string()}" if len(texts) else f"{what}: the same"
        blocks.append(title)
        if len(shown) < len(texts):
            blocks.append(f"{len(texts) - len(shown)} more by --all")
    for head, other in zip(heads_of_changes, records[1:], strict=True):
        title = f"{head}, paired over test frames"
        try:
            changes = pd.DataFrame(paired(records[0], other)).T
        except InputError as error:
            blocks.append(f"{title}: none, for {error}")
        else:
            blocks.append(f"{title}\n{changes.to_string(float_format='{:+.4f}'.format)}")
    return "\n\n".join(blocks)


def _with_changes(numbers: pd.DataFrame, heads: list[str]) -> pd.DataFrame:
    """Return the results that differ as text, and how much each run is above the first."""
    texts = _differing(numbers.map(runs.measured))
    values = numbers.loc[texts.index].map(lambda v: v["value"] if isinstance(v, dict) else v)
    changes = values.iloc[:, 1:].sub(values.iloc[:, 0], axis="index").map(_signed)
    return pd.concat([texts, changes], axis="columns").set_axis(heads, axis="columns")


def _signed(change: Any) -> str:
    return f"{change:+,}" if isinstance(change, int) else f"{change:+.4g}"
