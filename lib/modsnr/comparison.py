"""Runs side by side: their parameters, circumstances and results, and the differences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modsnr import InputError, metrics, runs

if TYPE_CHECKING:
    from modsnr.metrics import Interval

DIFFERENT, SAME = 30, 10  # results that are shown unless all are wanted
LABELS = ("modulation", "snr_db", "classes", "grid_db")
PREDICTIONS = ("predicted_modulation", "predicted_snr_db")
MISSING = "–"
ROUNDING = 1e-9  # relative: sums in another order


def chosen(references: Sequence[str]) -> list[runs.Record]:
    """Return the runs called by id, the beginning of an id, folder, or a name that one run has.

    Raises InputError for fewer than two, for one that is unknown or named twice, and for a name of
    several runs, with their ids: a comparison with the wrong one would go unnoticed.
    """
    if len(references) < 2:
        raise InputError("a comparison is of two runs or more; `modsnr runs` lists them")
    known = runs.records()
    found: list[runs.Record] = []
    for reference in (Path(given).name for given in references):
        alike = [run for run in known if run.name == reference]
        if len(alike) > 1:
            listed = ", ".join(f"{r.id} (profile {r.profile or 'none'})" for r in alike[:8])
            raise InputError(
                f"{len(alike)} runs are called {reference!r}; give an id, or the beginning of one: "
                f"{listed}{', ...' * (len(alike) > 8)}"
            )
        run = runs.find(reference, status=None)
        if run in found:
            raise InputError(f"{run.id} is named twice: a comparison is of different runs")
        found.append(run)
    return found


def parameters(records: Sequence[runs.Record]) -> dict[str, list[str]]:
    """Return the parameters that differ, name -> a text of each run.

    Of runs of different notebooks only those that all have; else one that a run had not yet is "–".
    """
    names = dict.fromkeys(name for run in records for name in run.parameters)
    if len({run.notebook for run in records}) > 1:
        names = [name for name in names if all(name in run.parameters for run in records)]
    texts = [{n: runs.shown(value) for n, value in run.parameters.items()} for run in records]
    return _differing([name for name in names if name not in ("name", "note")], texts)


def circumstances(records: Sequence[runs.Record]) -> dict[str, list[str]]:
    """Return of profile, commit, versions and hardware what differs, name -> a text of each run."""
    texts = []
    for run in records:
        git = run.git or {}
        dirty = " with changes" if git.get("dirty") else ""
        texts.append(
            {"profile": run.profile or "", "commit": git.get("commit", "")[:12] + dirty}
            | run.versions
            | {name: json.dumps(value).strip('"') for name, value in run.hardware.items()}
        )
    return _differing(list(dict.fromkeys(name for one in texts for name in one)), texts)


def _differing(names: Sequence[str], texts: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    beside = {name: [one.get(name) or MISSING for one in texts] for name in names}
    return {name: values for name, values in beside.items() if len(set(values)) > 1}


def results(records: Sequence[runs.Record]) -> dict[str, list[Any]]:
    """Return the numbers and intervals that all runs have, path in metrics.json -> one of each."""
    known = [runs.leaves(run.metrics) for run in records]
    shared = [path for path in known[0] if all(path in one for one in known)]
    return {path: [one[path] for one in known] for path in shared}


def same_frames(records: Sequence[runs.Record]) -> bool | None:
    """Return whether all worked on the same frames, by their hash; None if one has none."""
    hashes = [run.data["sha256"] if run.data else None for run in records]
    return None if None in hashes else len(set(hashes)) == 1


def paired(first: runs.Record, second: runs.Record) -> tuple[dict[str, Interval], int]:
    """Return the second's accuracies less the first's on the test frames of both, and how many.

    The intervals are over frames resampled together, so what both find hard cancels out. Raises
    InputError with the reason where there is nothing to pair.
    """
    if not same_frames([first, second]):
        raise InputError("they were not tested on the same frames")
    outcomes, labels = [], []
    for run in (first, second):
        if not (run.folder / "predictions.npz").exists():
            raise InputError(f"{run.id} has no predictions.npz here")
        saved = run.predictions()
        if lacks := [name for name in (*LABELS, *PREDICTIONS) if name not in saved]:
            raise InputError(f"the predictions of {run.id} lack {', '.join(lacks)}")
        labels.append([saved[name] for name in LABELS])
        outcomes.append(metrics.Answers.from_predictions(saved).outcomes())
    if not all(np.array_equal(*pair) for pair in zip(*labels, strict=True)):
        raise InputError("their test frames have other labels")
    before, after = outcomes
    return {
        f"{task.replace('snr', 'SNR')} accuracy": metrics.difference(right, before[task])
        for task, right in after.items()
    }, len(before["joint"])


def page(references: Sequence[str], *, every: bool = False) -> str:
    """Return the comparison as text: what differs, then results side by side and differences.

    The first run is what the others are compared with. Thirty results are shown unless ``every``
    one is wanted.
    """
    records = chosen(references)
    names = [run.name for run in records]
    heads = names if len(set(names)) == len(names) else [run.id.split("-")[0] for run in records]
    blocks = [runs.aligned([[h, r.id, r.status] for h, r in zip(heads, records, strict=True)])]
    notebooks = list(dict.fromkeys(run.notebook for run in records))
    if len(notebooks) > 1:
        blocks.append([f"of different notebooks ({', '.join(notebooks)}): what all share is shown"])
    differing = {"parameters": parameters(records), "circumstances": circumstances(records)}
    for what, texts in differing.items():
        blocks.append(_beside(f"{what} that differ", heads, texts, f"{what}: the same"))
    blocks += [_frames(records, heads), _results(results(records), heads, every)]
    blocks += [
        _paired(records[0], other, f"{head} less {heads[0]}")
        for head, other in zip(heads[1:], records[1:], strict=True)
    ]
    return "\n\n".join("\n".join(block) for block in blocks)


def _beside(
    title: str, heads: Sequence[str], texts: Mapping[str, Sequence[str]], none: str
) -> list[str]:
    rows = [["", *heads], *([name, *values] for name, values in texts.items())]
    return [title, *runs.aligned(rows, "  ")] if texts else [none]


def _frames(records: Sequence[runs.Record], heads: Sequence[str]) -> list[str]:
    texts = [f"{r.data['name']}, {r.data['sha256'][:12]}" if r.data else MISSING for r in records]
    if same_frames(records):
        return [f"frames: the same ({texts[0]})"]
    if not any(run.data for run in records):
        return ["frames: none recorded"]
    return ["frames: not the same", *runs.aligned(list(zip(heads, texts, strict=True)), "  ")]


def _results(shared: Mapping[str, list[Any]], heads: Sequence[str], every: bool) -> list[str]:
    same = [f"{path} {runs.measured(v[0])}" for path, v in shared.items() if _alike(v)]
    differing = {path: values for path, values in shared.items() if not _alike(values)}
    shown = list(differing)[: None if every else DIFFERENT]
    columns = [*heads, *(f"{head} less {heads[0]}" for head in heads[1:])]
    texts = {path: [*map(runs.measured, shared[path]), *_changes(shared[path])] for path in shown}
    lines = _beside("results that differ", columns, texts, "results: none differs")
    if len(shown) < len(differing):
        lines.append(f"  {len(differing) - len(shown)} more by --all")
    if len(same) > SAME and not every:
        same = [*same[:SAME], f"{len(same) - SAME} more by --all"]
    return [*lines, f"  the same: {', '.join(same)}"] if same else lines


def _alike(values: Sequence[Any]) -> bool:
    """Return whether results are equal but for what sums in another order differ by."""
    if not all(isinstance(value, dict) for value in values):  # an interval, and none
        values = [_number(value) for value in values]
    first, *others = (list(v.values()) if isinstance(v, dict) else [v] for v in values)
    return all(
        one == another or (isinstance(one, float) and isclose(one, another, rel_tol=ROUNDING))
        for other in others
        for one, another in zip(first, other, strict=True)
    )


def _changes(values: Sequence[Any]) -> list[str]:
    """Return how much each but the first is above the first."""
    first, *others = map(_number, values)
    changes = [other - first for other in others]
    return [f"{c:+,}" if isinstance(c, int) else f"{c:+.4g}" for c in changes]


def _number(value: Any) -> Any:
    return value["value"] if isinstance(value, dict) else value


def _paired(first: runs.Record, second: runs.Record, title: str) -> list[str]:
    try:
        changes, frames = paired(first, second)
    except InputError as error:
        return [f"{title}: no paired difference, for {error}"]
    rows = [
        [name, f"{one['value']:+.4f}", f"({one['low']:+.4f} to {one['high']:+.4f})"]
        for name, one in changes.items()
    ]
    return [f"{title}, paired on {frames:,} test frames", *runs.aligned(rows, "  ")]
