"""Runs beside one another: what went into each, what came out of it, and the differences."""

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

MOST, FEW = 30, 10  # results that are shown unless all are asked for, where they differ and not
TRUTH = ("modulation", "snr_db", "classes", "grid_db")
ANSWERS = ("predicted_modulation", "predicted_snr_db")
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
    found = []
    for reference in (Path(given).name for given in references):
        alike = [run for run in known if run.name == reference]
        if len(alike) > 1:
            listed = ", ".join(f"{r.id} (profile {r.profile or 'none'})" for r in alike[:8])
            more = ", ..." * (len(alike) > 8)
            raise InputError(
                f"{len(alike)} runs are called {reference!r}; give an id, or the beginning of one: "
                f"{listed}{more}"
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
    texts = {
        name: [
            runs.shown(run.parameters[name]) if name in run.parameters else MISSING
            for run in records
        ]
        for name in names
        if name not in ("name", "note")
    }
    return _differing(texts)


def circumstances(records: Sequence[runs.Record]) -> dict[str, list[str]]:
    """Return of profile, commit, versions and hardware what differs, name -> a text of each run."""
    told = []
    for run in records:
        git = run.git or {}
        dirty = " with changes" if git.get("dirty") else ""
        told.append(
            {"profile": run.profile or "", "commit": git.get("commit", "")[:12] + dirty}
            | run.versions
            | {name: json.dumps(value).strip('"') for name, value in run.hardware.items()}
        )
    names = dict.fromkeys(name for of_run in told for name in of_run)
    return _differing({name: [of_run.get(name) or MISSING for of_run in told] for name in names})


def _differing(texts: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {name: of_runs for name, of_runs in texts.items() if len(set(of_runs)) > 1}


def results(records: Sequence[runs.Record]) -> dict[str, list[Any]]:
    """Return the numbers and intervals that all runs have, path in metrics.json -> one of each."""
    known = [runs.leaves(run.metrics) for run in records]
    return {
        path: [of_run[path] for of_run in known]
        for path in known[0]
        if all(path in of_run for of_run in known)
    }


def same_frames(records: Sequence[runs.Record]) -> bool | None:
    """Return whether all worked on the same frames, by their hash; None where one tells of none."""
    hashes = [run.data["sha256"] if run.data else None for run in records]
    return None if None in hashes else len(set(hashes)) == 1


def paired(first: runs.Record, second: runs.Record) -> tuple[dict[str, Interval], int]:
    """Return the second's accuracies less the first's on the test frames of both, and how many.

    The intervals are over frames resampled together, so what both find hard cancels out. Raises
    InputError with the reason where there is nothing to pair.
    """
    if not same_frames([first, second]):
        raise InputError("they were not tested on the same frames")
    outcomes, truths = [], []
    for run in (first, second):
        if not (run.folder / "predictions.npz").exists():
            raise InputError(f"{run.id} has no predictions.npz here")
        saved = run.predictions()
        if lacks := [name for name in (*TRUTH, *ANSWERS) if name not in saved]:
            raise InputError(f"the predictions of {run.id} lack {', '.join(lacks)}")
        truths.append([saved[name] for name in TRUTH])
        outcomes.append(metrics.Answers.from_predictions(saved).outcomes())
    if not all(np.array_equal(*pair) for pair in zip(*truths, strict=True)):
        raise InputError("their test frames have other labels")
    of_first, of_second = outcomes
    return {
        f"{task.replace('snr', 'SNR')} accuracy": metrics.difference(right, of_first[task])
        for task, right in of_second.items()
    }, len(of_first["joint"])


def page(references: Sequence[str], *, every: bool = False) -> str:
    """Return the comparison as text: what differs, then results side by side and differences.

    The first run is what the others are compared with. Thirty results are shown unless ``every``
    one is asked for.
    """
    records = chosen(references)
    names = [run.name for run in records]
    heads = names if len(set(names)) == len(names) else [run.id.split("-")[0] for run in records]
    blocks = [runs.aligned([[h, r.id, r.status] for h, r in zip(heads, records, strict=True)])]
    notebooks = list(dict.fromkeys(run.notebook for run in records))
    if len(notebooks) > 1:
        blocks.append([f"of different notebooks ({', '.join(notebooks)}): what all share is shown"])
    for what, texts in {
        "parameters": parameters(records),
        "circumstances": circumstances(records),
    }.items():
        blocks.append(_beside(f"{what} that differ", heads, texts, f"{what}: the same"))
    blocks.append(_frames(records, heads))
    blocks.append(_results(records, heads, every))
    blocks += [
        _paired(records[0], other, f"{head} less {heads[0]}")
        for head, other in zip(heads[1:], records[1:], strict=True)
    ]
    return "\n\n".join("\n".join(block) for block in blocks)


def _beside(
    title: str, heads: Sequence[str], texts: Mapping[str, Sequence[str]], none: str
) -> list[str]:
    rows = [["", *heads], *([name, *of_runs] for name, of_runs in texts.items())]
    return [title, *runs.aligned(rows, "  ")] if texts else [none]


def _frames(records: Sequence[runs.Record], heads: Sequence[str]) -> list[str]:
    told = [f"{r.data['name']}, {r.data['sha256'][:12]}" if r.data else MISSING for r in records]
    if same_frames(records):
        return [f"frames: the same ({told[0]})"]
    if not any(run.data for run in records):
        return ["frames: none are told of"]
    return ["frames: not the same", *runs.aligned(list(zip(heads, told, strict=True)), "  ")]


def _results(records: Sequence[runs.Record], heads: Sequence[str], every: bool) -> list[str]:
    shared = results(records)
    alike = {path: values[0] for path, values in shared.items() if _alike(values)}
    differing = [path for path in shared if path not in alike]
    shown = differing[: None if every else MOST]
    columns = [*heads, *(f"{head} less {heads[0]}" for head in heads[1:])]
    texts = {path: [*map(runs.measured, shared[path]), *_changes(shared[path])] for path in shown}
    lines = _beside("results that differ", columns, texts, "results: none differs")
    if len(shown) < len(differing):
        lines.append(f"  {len(differing) - len(shown)} more by --all")
    same = [f"{path} {runs.measured(value)}" for path, value in alike.items()]
    if len(same) > FEW and not every:
        same = [*same[:FEW], f"{len(same) - FEW} more by --all"]
    return [*lines, f"  the same: {', '.join(same)}"] if same else lines


def _alike(values: Sequence[Any]) -> bool:
    """Return whether results are equal but for what sums in another order differ by."""
    if not all(isinstance(value, dict) for value in values):  # an interval, and none
        values = [value["value"] if isinstance(value, dict) else value for value in values]
    first, *others = (list(v.values()) if isinstance(v, dict) else [v] for v in values)
    return all(
        one == another or (isinstance(one, float) and isclose(one, another, rel_tol=ROUNDING))
        for other in others
        for one, another in zip(first, other, strict=True)
    )


def _changes(values: Sequence[Any]) -> list[str]:
    """Return how much each but the first is above the first."""
    first, *others = (value["value"] if isinstance(value, dict) else value for value in values)
    return [
        f"{other - first:+,}" if isinstance(other - first, int) else f"{other - first:+.4g}"
        for other in others
    ]


def _paired(first: runs.Record, second: runs.Record, title: str) -> list[str]:
    try:
        changes, frames = paired(first, second)
    except InputError as error:
        return [f"{title}: no paired difference, for {error}"]
    rows = [
        [name, f"{of['value']:+.4f}", f"({of['low']:+.4f} to {of['high']:+.4f})"]
        for name, of in changes.items()
    ]
    return [f"{title}, paired on {frames:,} test frames", *runs.aligned(rows, "  ")]
