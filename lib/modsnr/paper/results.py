"""Results of the paper's runs, as they are printed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from modsnr import InputError, runs
from modsnr.paper.appendix import is_dirty
from modsnr.paper.pages import Node
from modsnr.paper.sources import NumberSource, RunSource, Sources, TableSource


def chosen_runs(sources: Sources, profile: str | None) -> dict[str, runs.Record]:
    """Return the run behind each alias of the sources.

    Without a profile these are the canonical ones. With one they are its latest completed ones,
    except for runs aside that its pipeline does not make and runs of another profile.

    Raises InputError where there is none. Each parent of a chosen run that has the notebook,
    profile and name of another chosen run must be that run, unless both wrote the same frames or
    the chosen run resumed the parent.
    """
    known = runs.records()
    made = _made_by(profile) if profile else set()
    chosen = {}
    for alias, wanted in sources.runs.items():
        name, what = (wanted.notebook, wanted.name), f"run {alias!r} of {wanted.notebook}"
        alike = [run for run in known if (run.notebook, run.name) == name]
        elsewhere = wanted.aside and name not in made
        if profile is None or elsewhere or wanted.profile not in (None, profile):
            chosen[alias] = _canonical(what, wanted, alike)
            continue
        drafts = [run for run in alike if (run.profile, run.status) == (profile, "completed")]
        if not drafts:
            raise InputError(f"{what}: no completed run of profile {profile!r}; make it first")
        chosen[alias] = drafts[0]
    _refuse_mixed_origins(chosen, known)
    return chosen


def _refuse_mixed_origins(chosen: Mapping[str, runs.Record], known: Sequence[runs.Record]) -> None:
    by_id = {run.id: run for run in known}
    by_name = {(run.notebook, run.profile, run.name): run for run in chosen.values()}
    for alias, run in chosen.items():
        for parent in filter(None, map(by_id.get, run.parents)):
            other = by_name.get((parent.notebook, parent.profile, parent.name), parent)
            resumed = other is run  # a training that was interrupted
            same_data = parent.data and parent.data == other.data
            same_frames = parent.notebook == "01_preprocessing" and same_data
            if not (other.id == parent.id or resumed or same_frames):
                fault = f"rests on {parent.id}, the paper on {other.id}: make it again"
                raise InputError(f"run {alias!r}, {run.id}, {fault}")


def missing_runs(sources: Sources, profile: str) -> list[str]:
    """Return the aliases of runs that a draft needs and the profile's pipeline does not make."""
    made = _made_by(profile)
    return [
        alias
        for alias, run in sources.runs.items()
        if not run.aside and run.profile in (None, profile) and (run.notebook, run.name) not in made
    ]


def _made_by(profile: str) -> set[tuple[str, str]]:
    return {(step.notebook, step.name) for step in runs.load_profile(profile).pipeline}


def _canonical(what: str, wanted: RunSource, alike: Sequence[runs.Record]) -> runs.Record:
    identity = wanted.id
    if identity is None:
        raise InputError(f"{what} has no canonical run: commit one, write its id in sources.yaml")
    record = next((record for record in alike if record.id == identity), None)
    if record is None:
        raise InputError(f"{what}: {identity} is missing under runs/, or of another name")
    faults = {
        f"not in {wanted.run}": wanted.row and wanted.run != f"sweeps/{record.sweep_table}",
        f"{record.status}, not completed": record.status != "completed",
        f"of profile {record.profile}, not {wanted.profile}": wanted.profile
        not in (None, record.profile),
        "of the smoke profile, which proves nothing": record.profile == "smoke",
        "dirty, made by code that was not committed": is_dirty(record),
    }
    for fault in (fault for fault, present in faults.items() if present):
        raise InputError(f"{what}: {identity} is {fault}")
    return record


def number(name: str, source: NumberSource, run: runs.Record) -> dict[str, Any]:
    """Return a number as it is printed, its value, and the run and key that it comes from."""
    value: Any = run.metrics if source.source == "metrics" else run.model_dump(mode="json")
    for part in source.key.split("/"):
        if isinstance(value, list):  # by its place: hardware/gpus/0
            value = {str(place): item for place, item in enumerate(value)}
        if not isinstance(value, dict) or part not in value:
            there = ", ".join(map(str, value)) if isinstance(value, dict) else repr(value)
            raise InputError(f"{name}: {run.id} has no {source.key}; instead of {part}, {there}")
        value = value[part]
    where = f"{name} ({source.key} of {run.id})"
    leaves = value if isinstance(value, dict) else {"value": value}
    for leaf in leaves.values():
        if leaf is None or (isinstance(leaf, float) and not math.isfinite(leaf)):
            raise InputError(f"{where} is {leaf}: there is nothing to print")
    if source.scale != 1.0:
        if not all(isinstance(leaf, int | float) for leaf in leaves.values()):
            raise InputError(f"{where} is no number to be scaled: {value!r}")
        leaves = {key: leaf * source.scale for key, leaf in leaves.items()}
    value = leaves if isinstance(value, dict) else leaves["value"]
    printed = printed_as(where, value, source.format)
    return {"printed": printed, "value": value, "run": run.id, "key": source.key}


def printed_as(where: str, value: Any, form: str) -> str:
    """Return a value, or several by their names, in a format; InputError if it does not fit."""
    try:
        named = value if isinstance(value, dict) else {"value": value}
        unnamed = [named["value"]] if "value" in named else []
        text = form.format(*unnamed, **named)
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(f"{where}: {value!r} cannot be printed as {form!r}: {error}") from error
    return re.sub(r"(?<![\w-])-(?=\d)", "−", text)


def table(source: TableSource, run: runs.Record) -> pd.DataFrame:
    """Return a table of a run as it is printed: text, selected and titled as the source says."""
    path = run.folder / "tables" / f"{source.table}.csv"
    if not path.exists():
        raise InputError(f"{run.id} has no tables/{path.name}")
    found = pd.read_csv(path, dtype=str, keep_default_na=False)
    columns = source.columns or {str(name): str(name) for name in found}
    if unknown := sorted(({*columns} - {*found}) | ({*source.formats} - {*columns})):
        raise InputError(
            f"tables/{path.name} of {run.id} has no column {unknown}, but {list(found)}"
        )

    shown = found[[*columns]].replace(source.words)
    for name, form in source.formats.items():
        where = f"{name} of {path}"
        shown[name] = [text and printed_as(where, float(text), form) for text in found[name]]
    return shown.rename(columns=columns)


def date_and_mark(chosen: Mapping[str, runs.Record], profile: str | None) -> dict[str, Node]:
    """Return the metadata that come from the runs: the date of the newest, the mark of a draft."""
    day = max(datetime.fromisoformat(run.started) for run in chosen.values())
    parts = {"year": day.year, "month": day.month, "day": day.day, "iso": f"{day:%Y-%m-%d}"}
    date = {key: {"t": "MetaString", "c": str(part)} for key, part in parts.items()}
    meta = {"date": {"t": "MetaMap", "c": date}}
    if profile is not None:
        dirty = any(is_dirty(run) for run in chosen.values())
        mark = f"{profile} profile: not the canonical results; † taken from those"
        mark += "; made by code that was not committed" if dirty else ""
        meta["mark"] = {"t": "MetaString", "c": mark}
    return meta
