"""Sweep tables: the runs of a sweep as rows of ``runs/sweeps/<name>.csv``.

A row holds what differs between the runs: their ids, status, parameters, metrics, wall time, and
the cause where a run failed. ``<name>.yaml`` holds what all of them share (parameters, versions,
hardware, frames), ``<name>-history.csv`` a row an epoch and run. Nested values are flattened: the
column ``metrics/validation/joint_accuracy`` is a path, with ``~1`` for a slash within a key and
``~0`` for a tilde (RFC 6901). A cell is JSON, or text that is not JSON; an empty cell is a value
that the run does not have.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from modsnr import files
from modsnr.runs.repository import root

if TYPE_CHECKING:
    import pandas as pd

    from modsnr.runs.records import Record

ALWAYS = ("id", "name", "status", "started", "wall_seconds")  # columns, alike or not
FIRST = (*ALWAYS, "error", "parameters/", "metrics/")  # columns, in order
MADE_BY = "made_by"  # the command that makes the table; it belongs to no run
PREDICTIONS = "predictions.npz"


def folder() -> Path:
    """Return the folder of all sweep tables."""
    return root() / "runs" / "sweeps"


def names() -> list[str]:
    """Return the names of all sweep tables, in alphabetical order."""
    return sorted(
        path.stem for path in folder().glob("*.yaml") if path.with_suffix(".csv").exists()
    )


def runs_of(name: str) -> Iterator[dict[str, Any]]:
    """Yield the runs of a table, oldest first: the content of run.json, and under "metrics" that
    of metrics.json."""
    for flat in _load(name).values():
        yield _nested(flat)


def history(name: str, id: str) -> pd.DataFrame | None:
    """Return the history of a run, a row an epoch; None if it has none."""
    import pandas as pd

    table = _histories(name)
    rows = table[table.id == id].drop(columns="id")
    rows = rows.loc[:, (rows != "").any()]
    return pd.read_csv(io.StringIO(rows.to_csv(index=False))) if len(rows) else None


def has_history(name: str, id: str) -> bool:
    """Return whether ``history`` has rows of a run."""
    return bool((_histories(name).id == id).any())


def _histories(name: str) -> pd.DataFrame:
    """Return the epochs of all runs of a table, as text."""
    path = folder() / f"{name}-history.csv"
    return _read_histories(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _read_histories(path: Path, _changed: int) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(path, dtype=str, keep_default_na=False)


def add(name: str, runs: Iterable[Record], *, remove: bool = False) -> None:
    """Add runs to a table, which is made if there is none; a run that it has already is replaced.

    Runs whose folder is gone are left out: they are rows already. ``remove`` removes the folders;
    predictions move to ``runs/sweeps/<name>/<id>/``, which git ignores.

    A kill at any instant leaves the table as it was or with the runs: the history is written
    first, and a column of the table goes before the value in ``<name>.yaml``.
    """
    with files.lock(root() / "runs" / ".locks" / f"sweep-{name}"):
        there = [run for run in runs if run.folder.exists()]
        if there:
            _add_history(name, there)
            _add_rows(name, there)
        for run in there if remove else ():
            _remove(name, run)


def _add_rows(name: str, runs: Iterable[Record]) -> None:
    import pandas as pd

    path = folder() / f"{name}.csv"
    rows = _load(name)
    for run in runs:
        content = run.model_dump()
        rows[run.id] = dict(_flat(content | ({"metrics": run.metrics} if run.metrics else {})))
    texts = [{key: _cell(value) for key, value in rows[id].items()} for id in sorted(rows)]
    table = pd.DataFrame(texts).fillna("")
    varying = {
        *(_rows(path)[0] if path.exists() else ALWAYS),
        *table.columns[(table != table.iloc[0]).any()],
    }
    columns = sorted(varying, key=lambda column: (_place(column), table.columns.get_loc(column)))
    shared = {k: v for k, v in next(iter(rows.values())).items() if k not in varying}
    writes = [
        (path, table[columns].to_csv(index=False)),
        (path.with_suffix(".yaml"), _yaml(name, _nested(shared))),
    ]
    for file, content in writes if path.exists() else reversed(writes):
        files.write(file, content)


def _remove(name: str, run: Record) -> None:
    with files.lock(root() / "runs" / ".locks" / "runlog"):  # whoever writes RUNLOG reads folders
        if (run.folder / PREDICTIONS).exists():
            kept = folder() / name / run.id
            kept.mkdir(parents=True, exist_ok=True)
            (run.folder / PREDICTIONS).replace(kept / PREDICTIONS)
        run.folder.rename(run.folder.with_name(f".{run.id}.removed"))
        for removed in run.folder.parent.glob(".*.removed"):
            shutil.rmtree(removed)


def _load(name: str) -> dict[str, dict[str, Any]]:
    """Return id -> path -> value of all runs of a table, none if there is no table yet.

    A column goes before ``<name>.yaml``.
    """
    path = folder() / f"{name}.csv"
    if not path.exists():
        return {}
    rows = _rows(path)
    shared = yaml.safe_load(path.with_suffix(".yaml").read_text(encoding="utf-8"))
    common = {key: v for key, v in _flat(shared) if key not in rows[0] and key != MADE_BY}
    own = ({key: _value(cell) for key, cell in row.items() if cell} for row in rows)
    return {values["id"]: values | common for values in own}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _yaml(name: str, shared: Mapping[str, Any]) -> str:
    profile = shared.get("profile")
    by_sweep = shared.get("sweep") or not profile
    made_by = f"modsnr sweep {name}" if by_sweep else f"modsnr reproduce --profile {profile}"
    head = f"# What all runs of {name}.csv have in common.\n"
    return head + yaml.safe_dump({MADE_BY: made_by, **shared}, sort_keys=False, width=100)


def _add_history(name: str, runs: Sequence[Record]) -> None:
    import pandas as pd

    path = folder() / f"{name}-history.csv"
    tables = [pd.DataFrame({"id": []}, dtype=str)]
    if path.exists():
        old = _histories(name)
        tables = [old[~old.id.isin([run.id for run in runs])]]
    for run in runs:
        if run.has_history:
            epochs = pd.read_csv(run.folder / "history.csv", dtype=str).fillna("nan")
            tables.append(epochs.assign(id=run.id))
    table = pd.concat(tables).fillna("").sort_values("id", kind="stable")
    files.write(path, table.to_csv(index=False))


def _place(column: str) -> int:
    starts = [place for place, first in enumerate(FIRST) if column.startswith(first)]
    return starts[0] if starts else len(FIRST)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path -> value of all that is no mapping, and of empty mappings."""
    if not isinstance(value, dict) or (path and not value):
        yield path, value
        return
    for key, inner in value.items():
        part = str(key).replace("~", "~0").replace("/", "~1")
        yield from _flat(inner, f"{path}/{part}" if path else part)


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, last = (p.replace("~1", "/").replace("~0", "~") for p in path.split("/"))
        level = nested
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = value
    return nested


def _cell(value: Any) -> str:
    """Return the text of a value from which ``_value`` reads it again."""
    if isinstance(value, str) and value and _value(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _value(cell: str) -> Any:
    try:
        return json.loads(cell)
    except ValueError:
        return cell
