"""A set of runs described: which choices did best, how many runs were lost, what mattered."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modsnr import runs
from modsnr.files import check_name
from modsnr.metrics import Interval, share_of

if TYPE_CHECKING:
    import pandas as pd

LOST = ("failed", "diverged", "crashed")
QUARTERS_FROM = 7  # different numbers of a parameter: so many are grouped by their quartiles
BESIDE = ["run", "status", "cause", "value", "seconds"]  # columns that are no parameters


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

    known = [run for run in reversed(runs.records()) if run.notebook == notebook]
    check_name("sweep of runs", sweep, ["", *((run.sweep or {}).get("name", "") for run in known)])
    check_name("profile of runs", profile, ["", *(run.profile or "" for run in known)])
    chosen = [
        run
        for run in known
        if run.status != "running"
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
    found = pd.DataFrame(rows, columns=[*BESIDE, *searched])
    return found.astype({"value": float, "seconds": float})


def measure(run: runs.Record, metric: str) -> float | None:
    """Return the number at a dotted path of metrics.json, or of an interval its value."""
    value: Any = run.metrics
    for key in metric.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    value = value.get("value") if isinstance(value, dict) else value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None


def _group(value: Any) -> Any:
    """Return a parameter's value as a table can group it."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "none" if value is None else value


def varied(trials: pd.DataFrame) -> list[str]:
    """Return the parameters that more than one value was taken of."""
    parameters = trials.columns.drop(BESIDE)
    return [name for name in parameters if len(set(trials[name].map(json.dumps))) > 1]


def ranking(trials: pd.DataFrame, parameters: Sequence[str]) -> pd.DataFrame:
    """Return a row a value of each parameter, the best mean first: mean, max, n, runs, lost.

    Mean and max are over the ``n`` runs that have a value; ``lost`` is the share of runs that
    failed, diverged or crashed.
    """
    counted = trials[trials.status != "repeated"]
    choices = counted[list(parameters)].astype(str)
    choices = choices.assign(value=counted.value, lost=counted.status.isin(LOST))
    each = choices.melt(["value", "lost"], var_name="parameter", value_name="choice")
    found = each.groupby(["parameter", "choice"], as_index=False).agg(
        mean=("value", "mean"),
        max=("value", "max"),
        n=("value", "count"),
        runs=("lost", "size"),
        lost=("lost", "mean"),
    )
    order = found.parameter.map(list(parameters).index)
    found = found.assign(order=order).sort_values(["order", "mean"], ascending=[True, False])
    return found.drop(columns="order").reset_index(drop=True)


def lost(trials: pd.DataFrame) -> Interval | None:
    """Return the share of runs that failed, diverged or crashed, with its 95 % Wilson interval.

    Runs that were interrupted, or killed with their sweep and done again, are not counted; None if
    that leaves none.
    """
    counted = trials[~trials.status.isin(["repeated", "interrupted"])]
    if not len(counted):
        return None
    return share_of(int(counted.status.isin(LOST).sum()), len(counted))


def importance(trials: pd.DataFrame, parameters: Sequence[str]) -> dict[str, float]:
    """Return the share of the metric's variance that each parameter explains, largest first.

    It is epsilon squared (Kelley 1935) of a one-way analysis of variance, negative values as zero:
    ``(SSB - (k - 1) MSW) / SST`` for k groups. Unlike a forest's importance, and unlike eta
    squared, it does not grow with the number of choices. What two parameters do only together it
    does not see. A parameter of many different numbers is grouped by their quartiles. No parameter
    has an importance unless there are more runs with a value than groups.
    """
    import pandas as pd

    known = trials.dropna(subset=["value"])
    total = float(((known.value - known.value.mean()) ** 2).sum())
    found = {}
    for name in parameters:
        groups = known[name].astype(str)
        numbers = pd.to_numeric(known[name], errors="coerce")
        if numbers.notna().all() and numbers.nunique() >= QUARTERS_FROM:
            groups = pd.qcut(numbers, 4, labels=False, duplicates="drop")
        k = groups.nunique()
        if not 1 < k < len(known) or total == 0:
            continue
        means = known.value.groupby(groups).transform("mean")
        within = ((known.value - means) ** 2).sum()
        share = (total - within - (k - 1) * within / (len(known) - k)) / total
        found[name] = max(0.0, float(share))
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))
