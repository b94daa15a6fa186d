"""A set of runs described: which choices did best, how many runs were lost, what mattered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modsnr import InputError, runs
from modsnr.files import check_name
from modsnr.metrics import Interval, share_of
from modsnr.published import published
from modsnr.sweeps.study import measure

if TYPE_CHECKING:
    import pandas as pd

LOST = ("failed", "diverged", "crashed")
QUARTERS_FROM = 7  # different numbers of a parameter: so many are grouped by their quartiles


def table(
    sweep: str = "",
    *,
    notebook: str = "02_training",
    profile: str = "",
    metric: str = "validation.joint_accuracy",
) -> pd.DataFrame:
    """Return a row a run that has ended, oldest first: run, status, cause, value, seconds, ....

    Further columns are the parameters that change results; one that a run lacks has its default.
    ``sweep`` and ``profile``, where given, select.
    ``value`` is ``metric``, a dotted path of metrics.json, of completed runs. A run that was killed
    with its sweep, and whose trial was done again, is called repeated.

    Raises InputError where no run belongs to ``sweep`` or ``profile``.
    """
    import pandas as pd

    known = [*reversed(runs.records())]
    check_name("sweep of runs", sweep, ["", *((run.sweep or {}).get("name", "") for run in known)])
    check_name("profile of runs", profile, ["", *(run.profile or "" for run in known)])
    chosen = [
        run
        for run in known
        if run.notebook == notebook
        and run.status != "running"
        and sweep in ("", (run.sweep or {}).get("name"))
        and profile in ("", run.profile)
    ]
    again = runs.repeated(chosen)
    declared = {name: field.default for name, field in runs.parameters(notebook).items()}
    counting = runs.counting(notebook, {})
    searched = [name for name in declared if name == "frames" or name in counting]
    rows = []
    for run in chosen:
        row = {
            "run": run.id,
            "status": "repeated" if run.id in again else run.status,
            "cause": (run.error or "").split("\n")[0][:80],
            "value": measure(run, metric) if run.status == "completed" else None,
            "seconds": run.wall_seconds,
        }
        values = declared | run.parameters
        rows.append(row | {name: _group(values[name]) for name in searched})
    columns = ["run", "status", "cause", "value", "seconds", *searched]
    return pd.DataFrame(rows, columns=columns).astype({"value": float, "seconds": float})


def varied(trials: pd.DataFrame) -> list[str]:
    """Return the parameters that more than one value was taken of."""
    parameters = trials.columns[5:]
    return [name for name in parameters if len({json.dumps(v) for v in trials[name]}) > 1]


def ranking(trials: pd.DataFrame, parameters: Sequence[str]) -> pd.DataFrame:
    """Return a row a value of each parameter, the best mean first: mean, max, n, runs, lost.

    Mean and max are over the ``n`` runs that have a value; ``lost`` is the share of runs that
    failed, diverged or crashed.
    """
    import pandas as pd

    none = pd.DataFrame(columns=["parameter", "choice", "mean", "max", "n", "runs", "lost"])
    found = [_ranking(trials, parameter) for parameter in parameters]
    found = [part for part in found if len(part)]
    return pd.concat(found, ignore_index=True) if found else none


def _ranking(trials: pd.DataFrame, parameter: str) -> pd.DataFrame:
    import pandas as pd

    _known(trials, parameter)
    counted = trials.query("status != 'repeated'")
    groups = counted.assign(lost=counted.status.isin(LOST)).groupby(
        counted[parameter].map(str), sort=False
    )
    found = pd.DataFrame(
        {
            "mean": groups.value.mean(),
            "max": groups.value.max(),
            "n": groups.value.count(),
            "runs": groups.size(),
            "lost": groups.lost.mean(),
        }
    )
    found = found.rename_axis("choice").reset_index()
    found.insert(0, "parameter", parameter)
    return found.sort_values(["mean", "choice"], ascending=[False, True], ignore_index=True)


def outcomes(trials: pd.DataFrame) -> pd.DataFrame:
    """Return how runs ended, a row a status and cause, the most frequent first: runs, share."""
    counts = trials.groupby(["status", "cause"], as_index=False).agg(runs=("run", "size"))
    counts["share"] = counts.runs / max(len(trials), 1)
    return counts.sort_values(["runs", "status"], ascending=[False, True], ignore_index=True)


def lost(trials: pd.DataFrame) -> Interval | None:
    """Return the share of runs that failed, diverged or crashed, with its 95 % Wilson interval.

    Runs that were interrupted, or killed with their sweep and done again, are not counted; None if
    that leaves none.
    """
    counted = trials[~trials.status.isin(["repeated", "interrupted"])]
    if not len(counted):
        return None
    return share_of(int(counted.status.isin(LOST).sum()), len(counted))


def loss_rates(rate: Interval | None) -> pd.DataFrame:
    """Return the share of runs that were lost, these (as of ``lost``) and the study's, with 95 %.

    Both intervals are Wilson's; NaN stands where no runs are.
    """
    import pandas as pd

    found = {
        "these runs": rate or {},
        "the study": share_of(published("runs/lost"), published("runs/all")),
    }
    return pd.DataFrame(found, index=["value", "low", "high"], dtype=float).T


def hardships(trials: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each trouble that training overcame by itself: what, of, runs, times.

    ``of`` runs have the count in metrics.json; it is above zero in ``runs`` of them, and ``times``
    in all. Divided batches are those of runs whose micro-batch was smaller than their batch.
    """
    import pandas as pd

    ended = _records(trials.query("status != 'repeated'"))
    trained = [(run.parameters.get("batch_size"), run.metrics) for run in ended]
    counts = {
        "skipped steps": [metrics.get("skipped_steps") for _, metrics in trained],
        "rollbacks": [metrics.get("rollbacks") for _, metrics in trained],
        "divided batches": [
            int(metrics["micro_batch"] < batch)
            for batch, metrics in trained
            if isinstance(batch, int) and isinstance(metrics.get("micro_batch"), int)
        ],
    }
    rows = []
    for what, values in counts.items():
        known = [value for value in values if isinstance(value, int)]
        rows.append((what, len(known), sum(map(bool, known)), sum(known)))
    return pd.DataFrame(rows, columns=["what", "of", "runs", "times"])


def importance(trials: pd.DataFrame, parameters: Sequence[str]) -> dict[str, float]:
    """Return the share of the metric's variance that each parameter explains, largest first.

    It is epsilon squared (Kelley 1935) of a one-way analysis of variance, negative values as zero:
    ``(SSB - (k - 1) MSW) / SST`` for k groups. Unlike a forest's importance, and unlike eta
    squared, it does not grow with the number of choices and is near zero for a parameter that does
    nothing, even if runs are few. What two parameters do only together it does not see. A parameter
    of many different numbers is grouped by their quartiles. No parameter has an importance unless
    there are more runs with a value than groups.
    """
    import numpy as np
    import pandas as pd

    known = trials.dropna(subset=["value"])
    total = float(((known.value - known.value.mean()) ** 2).sum())
    found = {}
    for name in parameters:
        _known(trials, name)
        groups = known[name].map(str)
        numbers = [v for v in known[name] if isinstance(v, int | float)]
        if len(numbers) == len(known) and len(set(numbers)) >= QUARTERS_FROM:
            edges = np.quantile(numbers, [0.25, 0.5, 0.75])
            groups = pd.Series(np.searchsorted(edges, numbers), known.index)
        k = len(set(groups))
        if not 1 < k < len(known) or total == 0:
            continue
        means = known.value.groupby(groups).transform("mean")
        within = ((known.value - means) ** 2).sum()
        share = (total - within - (k - 1) * within / (len(known) - k)) / total
        found[name] = max(0.0, float(share))
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def histories(trials: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the history of each run that has one, by the run's id."""
    return {run.id: run.history for run in _records(trials) if run.has_history}


def _records(trials: pd.DataFrame) -> list[runs.Record]:
    # One reading of all folders: a look-up reads them all each time.
    known = {record.id: record for record in runs.records()}
    return [known[id] for id in trials.run]


def _group(value: Any) -> Any:
    """Return a parameter's value as a table can group it."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "none" if value is None else value


def _known(trials: pd.DataFrame, parameter: str) -> None:
    if parameter not in trials.columns[5:]:
        raise InputError(
            f"the runs have no parameter {parameter!r}: {', '.join(trials.columns[5:])}"
        )
