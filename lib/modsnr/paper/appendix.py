"""The appendix: how the paper's runs were made, on what data, by which machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import metadata
from itertools import takewhile
from typing import Any

import pandas as pd

from modsnr import runs

TABLES = ("runs", "commands", "data", "environment")
NONE = "–"
DIGITS = 12  # of a hash or a commit, which tell it from any other

Groups = Mapping[str, list[runs.Record]]  # name -> runs that share a line


def tables_of(chosen: Mapping[str, runs.Record]) -> dict[str, pd.DataFrame]:
    """Return the tables of text that every paper has, by name.

    They show the chosen runs, a line each, and all runs that these rest on: a sweep, or the runs of
    one notebook and profile, in one line. A run that is not under ``runs/`` is shown as missing.
    """
    behind, missing = _behind(chosen)
    groups = {alias: [run] for alias, run in chosen.items()}
    for run in behind:
        profile = f", profile {run.profile}" if run.profile else ""
        of = f", sweep {run.sweep['name']}" if run.sweep else profile
        groups.setdefault(f"{run.notebook}{of}", []).append(run)
    every = [*chosen.values(), *behind]
    return {
        "runs": _table_of_runs(groups, missing),
        "commands": _table_of_commands(groups),
        "data": _table_of_data(every),
        "environment": _table_of_environment(every),
    }


def is_dirty(run: runs.Record) -> bool:
    """Return whether a run was made by code that was not committed."""
    return run.git is None or run.git["dirty"]


def _behind(chosen: Mapping[str, runs.Record]) -> tuple[list[runs.Record], list[str]]:
    """Return the runs that the chosen ones rest on, oldest first, and the ids of lost ones."""
    known = {run.id: run for run in runs.records()}
    reached: set[str] = set()
    open_ids = {parent for run in chosen.values() for parent in run.parents}
    while open_ids:
        reached |= open_ids
        found = [known[parent] for parent in open_ids if parent in known]
        open_ids = {parent for run in found for parent in run.parents} - reached
    reached -= {run.id for run in chosen.values()}
    return [known[id] for id in sorted(reached & {*known})], sorted(reached - {*known})


def _table_of_runs(groups: Groups, missing: list[str]) -> pd.DataFrame:
    rows = []
    for name, group in groups.items():
        commits = _distinct(run.git["commit"][:DIGITS] if run.git else "none" for run in group)
        commit = f"{len(commits)} commits" if len(commits) > 2 else " ".join(commits)
        seeds = sorted({str(seed) for run in group for seed in run.seeds.values()})
        row = {
            "used for": name,
            "run": _first_and_more([run.id for run in group]),
            "commit": commit + " with uncommitted changes" * any(map(is_dirty, group)),
            "seed": f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 3 else ", ".join(seeds),
            "minutes": f"{sum(run.wall_seconds or 0 for run in group) / 60:.1f}",
        }
        rows.append(row)
    if missing:
        rows.append({"used for": "not under runs/", "run": _first_and_more(missing)})
    return pd.DataFrame(rows).fillna("")


def _first_and_more(ids: list[str]) -> str:
    return ids[0] + (f" and {len(ids) - 1} more" if len(ids) > 1 else "")


def _table_of_commands(groups: Groups) -> pd.DataFrame:
    """Return the commands, and the parameters that differ from the notebook's own defaults.

    A group of many runs is shown by the beginning that their commands share, by the values that
    their parameters share, and by a star for a parameter in which they differ.
    """
    rows = []
    for name, group in groups.items():
        commands = [run.command.split(" ") for run in group]
        alike = takewhile(lambda words: len({*words}) == 1, zip(*commands, strict=False))
        shared = [words[0] for words in alike]
        cut = " ..." if any(command != shared for command in commands) else ""
        same, differing = [], []
        for parameter in _distinct(name for run in group for name in run.changed):
            values = _distinct(_written(run.parameters.get(parameter)) for run in group)
            if len(values) == 1:
                same.append(f"{parameter}={values[0]}")
            else:
                differing.append(f"{parameter}=*")
        rows.append([name, " ".join(shared) + cut, "; ".join(same + differing)])
    return pd.DataFrame(rows, columns=["used for", "command", "parameters"])


def _table_of_data(of: Iterable[runs.Record]) -> pd.DataFrame:
    """Return the frame stores: their grid, generator and parts, seed and hashes.

    Frames that several runs made alike have one line.
    """
    rows = []
    for run in of:
        if run.notebook != "01_preprocessing" or not run.data:
            continue
        given, metrics, parts = run.parameters, run.metrics, run.metrics.get("frames", {})
        made = given if given.get("source") == "simulator" else {}  # a file has its own
        step = f":{made['snr_step_db']}:" if made else " to "
        default_rings = "mixed" if made.get("channel") == "mixture" else "dvb"  # 01's for ""
        rolloff = f"{made.get('rolloff_low', NONE)}–{made.get('rolloff_high', NONE)}"
        row = {
            "frames": run.data["name"],
            "classes": metrics.get("modulations", ""),
            "SNR, dB": f"{given['snr_low_db']}{step}{given['snr_high_db']}".replace("-", "−"),
            "length": f"{given.get('samples', 0):,}",
            "per symbol": made.get("samples_per_symbol", NONE),
            "channel": made.get("channel", metrics.get("source", NONE)).replace("_", " "),
            "rings": made.get("apsk_geometry", NONE) or default_rings,
            "roll-off": rolloff if made else NONE,
            **{part: f"{parts.get(part, 0):,}" for part in ("train", "validation", "test")},
            "seed": given.get("seed", ""),
            "split": metrics.get("split_hash", "")[:DIGITS],
            "content": run.data["sha256"][:DIGITS],
        }
        rows.append({name: str(value) for name, value in row.items()})
    return pd.DataFrame(rows or [{"frames": NONE}]).drop_duplicates()


def _table_of_environment(of: list[runs.Record]) -> pd.DataFrame:
    """Return the machines, with the hours that they worked, and the versions of the software.

    Last come the programs that set this paper.
    """
    import pypandoc  # here: the constants are read where there is no pandoc

    hours: dict[str, list[float]] = {}
    versions: dict[str, list[str]] = {"operating system": []}
    for run in of:
        hours.setdefault(_machine(run.hardware), []).append((run.wall_seconds or 0) / 3600)
        system = {"operating system": run.hardware["system"]} if "system" in run.hardware else {}
        for package, version in (system | run.versions).items():
            versions.setdefault(package, []).append(version)
    rows = {
        machine: f"{len(each)} run{'s' * (len(each) > 1)}, {sum(each):.1f} hours"
        for machine, each in hours.items()
    }
    rows |= {package: ", ".join(_distinct(found)) for package, found in versions.items() if found}
    rows["pandoc"] = f"{pypandoc.get_pandoc_version()} (this paper)"
    rows["typst-py"] = f"{metadata.version('typst')} (this paper)"
    return pd.DataFrame(rows.items(), columns=["machine or package", "of the runs"])


def _machine(hardware: Mapping[str, Any]) -> str:
    if not hardware:
        return "not recorded"
    parts = [f"{hardware.get('cores')} cores", f"{hardware.get('memory_gb')} GB"]
    return ", ".join([str(hardware.get("cpu")), *parts, *hardware.get("gpus", [])])


def _written(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
