"""One run as a page for a terminal: what it is, what came of it, what made it, what it left."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from modsnr.runs.overview import BEST, Survey, lasted, own_parameters
from modsnr.runs.records import Record, SweepRow, measured

DEEPEST, MOST = 3, 30  # levels of metrics.json that are shown, and results
IDS = 8  # parents, or children, that are named
SHOWN = ("python", "torch", "timm", "lightning", "numpy")  # versions; --json tells all
UNITS = {"cores": "cores", "memory_gb": "GB"}


def page(all_runs: Survey, run: Record) -> str:
    """Return the page of one of the runs: a line of results first, then everything by name.

    Results are those of the first three levels of metrics.json, at most thirty.
    """
    also = [one.id for one in all_runs.runs if one.name == run.name and one.id != run.id]
    head = [run.id, f"{run.status}{': ' + run.error if run.error else ''}", all_runs.headline(run)]
    blocks = [
        [text for text in head if text],
        [run.note],
        _named(_facts(all_runs, run) | {"also of this name": _ids(also)}),
    ]
    own = own_parameters(run)
    told = [
        [name, "its own" if name in own else "profile", shown(run.parameters.get(name))]
        for name in dict.fromkeys([*own, *run.changed])
    ]
    results = {path: measured(value) for path, value in leaves(run.metrics).items()}
    kept = dict(list(results.items())[:MOST])
    more = f"  {len(results) - MOST} more in metrics.json, or by --json"
    blocks += [
        ["parameters beside the notebook's defaults", *aligned(told, "  ")] if told else [],
        ["results", *_named(kept, "  "), *([more] if len(results) > MOST else [])] if kept else [],
        _left(run),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if any(block))


def _facts(all_runs: Survey, run: Record) -> dict[str, str]:
    git = run.git
    code = git["commit"][:12] + (" with changes" if git["dirty"] else "") if git else "no commit"
    hardware = run.hardware
    machine = [*hardware.get("gpus", []), hardware.get("cpu", "")]
    machine += [f"{hardware[name]} {unit}" for name, unit in UNITS.items() if name in hardware]
    machine += [hardware.get("system", "")]
    data = f"{run.data['name']}, {run.data['sha256'][:12]}" if run.data else ""
    sweep = f"{run.sweep['name']}, trial {run.sweep['trial']}" if run.sweep else ""
    best = f"{BEST} of {run.notebook} on these frames" if run.id in all_runs.best else ""
    return {
        "best": best,
        "in the paper as": ", ".join(all_runs.paper.get(run.id, [])),
        "made by": run.command,
        "sweep": sweep,
        "began": f"{run.started[:10]} {run.started[11:19]} UTC",
        "took": lasted([run]),
        "on": ", ".join(filter(None, machine)),
        "frames": data,
        "commit": code,
        "versions": ", ".join(f"{n} {run.versions[n]}" for n in SHOWN if n in run.versions),
        "seeds": ", ".join(f"{name} {value}" for name, value in run.seeds.items()),
        "from": _ids(run.parents),
        "behind": _ids(all_runs.children.get(run.id, [])),
    }


def _ids(ids: list[str]) -> str:
    """Return a line each for the first ids, and how many more there are."""
    more = [f"{len(ids) - IDS} more"] if len(ids) > IDS else []
    return "\n".join(ids[:IDS] + more)


def _named(texts: Mapping[str, str], indent: str = "") -> list[str]:
    """Return the texts that are not empty below one another, each beside its name."""
    rows = [
        [name * (not number), line]
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines())
    ]
    return aligned(rows, indent)


def shown(value: Any) -> str:
    """Return a parameter's value as a command line would tell it: text bare, else JSON."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def leaves(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return path -> number, or interval of value, low and high, of the first levels of metrics.

    The parts of a path are joined by "/"; shorter paths come first.
    """
    numbers: dict[str, Any] = {}
    level: dict[str, Any] = dict(metrics)
    for _ in range(DEEPEST):
        deeper: dict[str, Any] = {}
        for path, value in level.items():
            if isinstance(value, dict) and not measured(value.get("value")):
                deeper |= {f"{path}/{name}": inner for name, inner in value.items()}
            elif measured(value):
                numbers[path] = value
        level = deeper
    return numbers


def aligned(rows: Sequence[Sequence[str]], indent: str = "") -> list[str]:
    """Return a line a row, its cells below one another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        (indent + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]


def _left(run: Record) -> list[str]:
    if not isinstance(run, SweepRow):
        return [f"files in runs/{run.id}", *_named(_sizes(run), "  ")]
    path = f"runs/sweeps/{run.sweep_table}"
    return [
        f"a row of {path}.csv; what all rows share is in {path}.yaml, the epochs in "
        f"{path}-history.csv",
        *_named(_sizes(run), "  "),
    ]


def _sizes(run: Record) -> dict[str, str]:
    files = sorted(p for p in run.folder.rglob("*") if p.is_file() and p.name[0] != ".")
    return {str(p.relative_to(run.folder)): size(p.stat().st_size) for p in files}


def size(count: int) -> str:
    """Return a number of bytes in kB or MB."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
