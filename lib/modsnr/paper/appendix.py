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
    made = (
        _table_of_runs(groups, missing),
        _table_of_commands(groups),
        _table_of_data(every),
        _table_of_environment(every),
    )
    return dict(zip(TABLES, made, strict=True))


def is_dirty(run: runs.Record) -> bool:
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
        seeds = sorted({str(seed) for run in group for seed in run.seeds.values()})
        commit = f"{len(commits)} commits" if len(commits) > 2 else " ".join(commits)
        changed = " with uncommitted changes" if any(map(is_dirty, group)) else ""
        seed = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 3 else ", ".join(seeds)
        minutes = f"{sum(run.wall_seconds or 0 for run in group) / 60:.1f}"
        rows.append([name, _first_and_more([r.id for r in group]), commit + changed, seed, minutes])
    if missing:
        rows.append(["not under runs/", _first_and_more(missing), "", "", ""])
    return pd.DataFrame(rows, columns=["used for", "run", "commit", "seed", "minutes"])


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
        cut = " ..." if any(len(command) > len(shared) for command in commands) else ""
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
    head = ["frames", "classes", "SNR, dB", "length", "per symbol", "channel", "rings", "roll-off"]
    head += ["train", "validation", "test", "seed", "split", "content"]
    rows = []
    for run in of:
        if run.notebook != "01_preprocessing" or not run.data:
            continue
        given, metrics = run.parameters, run.metrics
        simulated = given.get("source") == "simulator"
        low_db, high_db = given["snr_low_db"], given["snr_high_db"]
        step = f":{given['snr_step_db']}:" if simulated else " to "  # a file has its own
        air = ("channel", "apsk_geometry", "rolloff_low", "rolloff_high", "samples_per_symbol")
        channel, rings, low, high, per_symbol = (
            str(given.get(name, NONE)) if simulated else NONE for name in air
        )
        default_rings = "mixed" if channel == "mixture" else "dvb"  # as the notebook's "" means
        parts = metrics.get("frames", {})
        rows.append([
            run.data["name"],
            str(metrics.get("modulations", "")),
            f"{low_db}{step}{high_db}".replace("-", "−"),
            f"{given.get('samples', 0):,}",
            per_symbol,
            channel.replace("_", " ") if simulated else str(metrics.get("source", "")),
            rings or default_rings,
            f"{low}–{high}" if simulated else NONE,
            *(f"{parts.get(part, 0):,}" for part in ("train", "validation", "test")),
            str(given.get("seed", "")),
            str(metrics.get("split_hash", ""))[:DIGITS],
            run.data["sha256"][:DIGITS],
        ])  # fmt: skip
    return pd.DataFrame(rows, columns=head).drop_duplicates()


def _table_of_environment(of: list[runs.Record]) -> pd.DataFrame:
    """Return the machines, with the hours that they worked, and the versions of the software.

    Last come the programs that set this paper.
    """
    import pypandoc  # here: the constants are read where there is no pandoc

    machines: dict[str, list[float]] = {}
    versions: dict[str, dict[str, None]] = {"operating system": {}}
    for run in of:
        machines.setdefault(_machine(run.hardware), []).append((run.wall_seconds or 0) / 3600)
        system = {"operating system": run.hardware["system"]} if "system" in run.hardware else {}
        for package, version in (system | run.versions).items():
            versions.setdefault(package, {})[version] = None
    rows = {
        machine: f"{len(hours)} run{'s' * (len(hours) > 1)}, {sum(hours):.1f} hours"
        for machine, hours in machines.items()
    }
    rows |= {package: ", ".join(found) for package, found in versions.items() if found}
    rows["pandoc"] = f"{pypandoc.get_pandoc_version()} (this paper)"
    rows["typst-py"] = f"{metadata.version('typst')} (this paper)"
    return pd.DataFrame(rows.items(), columns=["machine or package", "of the runs"])


def _machine(hardware: Mapping[str, Any]) -> str:
    if not hardware:
        return "not recorded"
    gpus = "".join(f", {gpu}" for gpu in hardware.get("gpus", []))
    parts = f"{hardware.get('cores')} cores, {hardware.get('memory_gb')} GB{gpus}"
    return f"{hardware.get('cpu')}, {parts}"


def _written(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
