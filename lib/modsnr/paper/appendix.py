"""What the appendix tells of the runs: how they were made, on what data, by which machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import metadata
from itertools import takewhile
from typing import Any, NamedTuple

from modsnr import runs
from modsnr.paper.pages import Rows

TABLES = ("runs", "commands", "data", "environment")
NONE = "–"
DIGITS = 12  # of a hash or a commit, which tell it from any other


class Group(NamedTuple):
    """Runs that are told in one line: one that the sources name, or many alike behind those."""

    name: str
    runs: list[runs.Record]


def tables_of(chosen: Mapping[str, runs.Record]) -> dict[str, Rows]:
    """Return the tables that the paper has whatever its sources name, by name.

    They tell of the chosen runs, and of all runs that these rest on: a sweep, or the runs of one
    notebook and profile, in one line. A run that is not under ``runs/`` is told as missing.
    """
    behind, missing = _behind(chosen)
    groups = [*(Group(alias, [run]) for alias, run in chosen.items()), *_alike(behind)]
    made = {
        "runs": _table_of_runs(groups, missing),
        "commands": _table_of_commands(groups),
        "data": _table_of_data([*chosen.values(), *behind]),
        "environment": _table_of_environment([*chosen.values(), *behind]),
    }
    return {name: made[name] for name in TABLES}


def is_dirty(run: runs.Record) -> bool:
    return run.git is None or run.git["dirty"]


def _behind(chosen: Mapping[str, runs.Record]) -> tuple[list[runs.Record], list[str]]:
    """Return the runs that the chosen ones rest on, oldest first, and the ids of lost ones."""
    known = {run.id: run for run in runs.records()}
    named = {run.id for run in chosen.values()}
    found: dict[str, runs.Record] = {}
    missing: dict[str, None] = {}
    asked = [parent for run in chosen.values() for parent in run.parents]
    while asked:
        parent = asked.pop()
        if parent in named or parent in found:
            continue
        if parent in known:
            found[parent] = known[parent]
            asked += known[parent].parents
        else:
            missing[parent] = None
    return [found[id] for id in sorted(found)], sorted(missing)


def _alike(behind: Iterable[runs.Record]) -> list[Group]:
    groups: dict[str, list[runs.Record]] = {}
    for run in behind:
        profile = f", profile {run.profile}" if run.profile else ""
        of = f", sweep {run.sweep['name']}" if run.sweep else profile
        groups.setdefault(f"{run.notebook}{of}", []).append(run)
    return [Group(name, group) for name, group in groups.items()]


def _table_of_runs(groups: list[Group], missing: list[str]) -> Rows:
    rows = [["used for", "run", "commit", "seed", "minutes"]]
    for name, group in groups:
        commits = _distinct(run.git["commit"][:DIGITS] if run.git else "none" for run in group)
        changed = " with uncommitted changes" if any(map(is_dirty, group)) else ""
        commit = f"{len(commits)} commits" if len(commits) > 2 else " ".join(commits)
        seeds = sorted({str(seed) for run in group for seed in run.seeds.values()})
        minutes = sum(run.wall_seconds or 0 for run in group) / 60
        seed = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 3 else ", ".join(seeds)
        ids = _first_and_more([run.id for run in group])
        rows.append([name, ids, commit + changed, seed, f"{minutes:.1f}"])
    if missing:
        rows.append(["not under runs/", _first_and_more(missing), "", "", ""])
    return rows


def _first_and_more(ids: list[str]) -> str:
    return ids[0] + (f" and {len(ids) - 1} more" if len(ids) > 1 else "")


def _table_of_commands(groups: list[Group]) -> Rows:
    """Return the commands, and the parameters that differ from the notebook's own defaults.

    Of many runs the command's common beginning is told, what their parameters share, and the names
    of those in which they differ.
    """
    rows = [["used for", "command", "parameters"]]
    for name, group in groups:
        command = _common([run.command.split(" ") for run in group])
        cut = " ..." if any(len(run.command.split(" ")) > len(command) for run in group) else ""
        changed = _distinct(name for run in group for name in run.changed)
        told, differ = [], []
        for parameter in changed:
            values = _distinct(_written(run.parameters.get(parameter)) for run in group)
            if len(values) == 1:
                told.append(f"{parameter}={values[0]}")
            else:
                differ.append(parameter)
        told += [f"{parameter}=*" for parameter in differ]
        rows.append([name, " ".join(command) + cut, "; ".join(told)])
    return rows


def _table_of_data(of: Iterable[runs.Record]) -> Rows:
    """Return the frame stores: their grid, generator and parts, seed and hashes.

    Frames that several runs made alike are told once.
    """
    head = ["frames", "classes", "SNR, dB", "length", "per symbol", "channel", "rings", "roll-off"]
    head += ["train", "validation", "test", "seed", "split", "content"]
    rows = [head]
    for run in of:
        if run.notebook != "01_preprocessing" or not run.data:
            continue
        told, metrics = run.parameters, run.metrics
        simulated = told.get("source") == "simulator"
        low_db, high_db = told["snr_low_db"], told["snr_high_db"]
        step = f":{told['snr_step_db']}:" if simulated else " to "  # a file has its own
        air = ("channel", "apsk_geometry", "rolloff_low", "rolloff_high", "samples_per_symbol")
        channel, rings, low, high, per_symbol = (
            str(told.get(name, NONE)) if simulated else NONE for name in air
        )
        default_rings = "mixed" if channel == "mixture" else "dvb"  # as the notebook's "" means
        parts = metrics.get("frames", {})
        row = [
            run.data["name"],
            str(metrics.get("modulations", "")),
            f"{low_db}{step}{high_db}".replace("-", "−"),
            f"{told.get('samples', 0):,}",
            per_symbol,
            channel.replace("_", " ") if simulated else str(metrics.get("source", "")),
            rings or default_rings,
            f"{low}–{high}" if simulated else NONE,
            *(f"{parts.get(part, 0):,}" for part in ("train", "validation", "test")),
            str(told.get("seed", "")),
            str(metrics.get("split_hash", ""))[:DIGITS],
            run.data["sha256"][:DIGITS],
        ]
        if row not in rows:
            rows.append(row)
    return rows


def _table_of_environment(of: list[runs.Record]) -> Rows:
    """Return the machines, with the hours that they worked, and the versions of the software.

    Last come the programs that set this paper.
    """
    import pypandoc  # here: what the paper says of constants is read where there is no pandoc

    rows = [["machine or package", "of the runs"]]
    machines: dict[str, list[runs.Record]] = {}
    for run in of:
        machines.setdefault(_machine(run.hardware), []).append(run)
    for machine, there in machines.items():
        hours = sum(run.wall_seconds or 0 for run in there) / 3600
        runs_ = "1 run" if len(there) == 1 else f"{len(there)} runs"
        rows.append([machine, f"{runs_}, {hours:.1f} hours"])
    if systems := _distinct(run.hardware["system"] for run in of if "system" in run.hardware):
        rows.append(["operating system", ", ".join(systems)])
    for package in _distinct(name for run in of for name in run.versions):
        versions = _distinct(run.versions[package] for run in of if package in run.versions)
        rows.append([package, ", ".join(versions)])
    rows.append(["pandoc", f"{pypandoc.get_pandoc_version()} (this paper)"])
    rows.append(["typst-py", f"{metadata.version('typst')} (this paper)"])
    return rows


def _machine(hardware: Mapping[str, Any]) -> str:
    if not hardware:
        return "not recorded"
    gpus = "".join(f", {gpu}" for gpu in hardware.get("gpus", []))
    parts = f"{hardware.get('cores')} cores, {hardware.get('memory_gb')} GB{gpus}"
    return f"{hardware.get('cpu')}, {parts}"


def _common(commands: list[list[str]]) -> list[str]:
    """Return the words with which all of the commands begin."""
    alike = takewhile(lambda words: len({*words}) == 1, zip(*commands, strict=False))
    return [words[0] for words in alike]


def _written(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
