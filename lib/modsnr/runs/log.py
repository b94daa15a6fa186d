"""RUNLOG.md, written anew from the run folders."""

from __future__ import annotations

import fcntl
import html
import json
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from modsnr.files import write
from modsnr.runs.headlines import USUAL
from modsnr.runs.overview import (
    BEST,
    OF_PAPER,
    OVERVIEW,
    Survey,
    count,
    groups,
    lasted,
    line,
    outcomes,
    own_parameters,
    survey,
    told,
)
from modsnr.runs.records import Record, SweepRow, _results, _table, repeated
from modsnr.runs.repository import root

NEWEST = 30  # lines of the table before the others are folded
FEW, MANY = 3, 12  # runs of a sweep that are named one by one, and runs that are named at all
SHORT = 20  # characters of a result that stay on one line
WIDTH = 420  # of a figure that is shown small, in CSS pixels


def write_runlog() -> Path:
    """Write runs/RUNLOG.md anew from all folders and return its path.

    The folders are read under the lock: of many runs that end at once, the last one sees all.
    """
    folder = root() / "runs"
    (folder / ".locks").mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / ".locks" / "runlog", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write(folder / "RUNLOG.md", _runlog(survey()))
    finally:
        os.close(lock)
    return folder / "RUNLOG.md"


def _runlog(all_runs: Survey) -> str:
    """Return the log: a table with a line a run, then a section a run, newest first.

    The trials of a sweep share a line and a section.
    """
    known = groups(all_runs.runs)
    rows, sections = [], []
    for group in known:
        mark, name, notebook, frames, took, outcome = line(all_runs, group)
        sweep = group[0].sweep
        anchor = f"sweep-{sweep['name']}" if sweep else group[0].id
        parts = _text(outcome).split("; ")
        outcome = "; ".join(_unbroken(part) if len(part) < SHORT else part for part in parts)
        row = [_unbroken(group[0].started[:10]), mark, f"[{name}](#{anchor})", notebook, frames]
        rows.append([*row, _unbroken(took), outcome])
        section = _sweep_section(all_runs, group) if sweep else _section(all_runs, group[0])
        sections += [f'<a id="{anchor}"></a>', "", *section]
    columns, older = ("began", *OVERVIEW[1:]), rows[NEWEST:]
    overview = _table(columns, rows[:NEWEST])
    if older:
        overview += ["", *_folded(f"{len(older)} older", _table(columns, older))]
    faults = [text for fault in all_runs.faults for text in (f"**Not used:** {_text(fault)}", "")]
    return "\n".join(["# Runs", "", *_about(all_runs), "", *faults, *overview, "", *sections])


def _about(all_runs: Survey) -> list[str]:
    counts = Counter(run.status for run in all_runs.runs)
    ended = ", ".join(f"{n:,} {status}" for status, n in counts.most_common())
    return [
        f"{len(all_runs.runs):,} runs, newest first ({ended or 'none yet'}), written from their "
        "folders at every end of a run. Times are UTC; *frames* is the store that a run works on.",
        "",
        f"{BEST} is the best of its notebook on the same frames and modulations, where there are "
        f"several; {OF_PAPER} stands behind results in [the paper](../paper/PAPER.pdf).",
        "",
        *_best(all_runs),
    ]


def _best(all_runs: Survey) -> list[str]:
    """Return a line for each best run, and one that names those behind the paper."""
    best = [
        f"- {BEST} [{run.name}](#{run.id}), {run.notebook} on {run.data['name']}: "
        f"{all_runs.headline(run)}"
        for run in all_runs.runs
        if run.id in all_runs.best and run.data
    ]
    of_paper = [f"[{run.name}](#{run.id})" for run in all_runs.runs if run.id in all_runs.paper]
    return best + ([f"- {OF_PAPER} {', '.join(of_paper)}"] if of_paper else [])


def _text(text: str) -> str:
    """Return ``text`` on one line, no part of which Markdown takes for a tag."""
    return html.escape(" ".join(text.split()), quote=False)


def _unbroken(text: str) -> str:
    """Return ``text`` so that a narrow column of a table does not break it."""
    return text.replace(" ", "&nbsp;").replace("-", "&#8209;")


def _folded(summary: str, lines: Sequence[str]) -> list[str]:
    return [f"<details><summary>{summary}</summary>", "", *lines, "", "</details>"]


def _linked(all_runs: Survey, ids: Iterable[str]) -> str:
    """Return links to the runs' sections, many trials of one sweep by the sweep, many runs folded.

    A run that is not here is named, not linked.
    """
    ids = list(ids)
    known = {run.id: run for run in all_runs.runs}
    trials = Counter(all_runs.sweep_of[id] for id in ids if id in all_runs.sweep_of)
    many = {name: n for name, n in trials.items() if n > FEW}
    links = [
        f"[{known[id].name}](#{id})" if id in known else f"`{id}` (not here)"
        for id in ids
        if all_runs.sweep_of.get(id) not in many
    ]
    links += [f"{n} runs of [sweep {name}](#sweep-{name})" for name, n in many.items()]
    if len(links) <= MANY:
        return ", ".join(links)
    return f"<details><summary>{len(links)} runs</summary>{', '.join(links)}</details>"


def _section(all_runs: Survey, run: Record) -> list[str]:
    """Return the lines of a run's own section."""
    results, mark = all_runs.headline(run), all_runs.mark([run])
    lines = [f"## {run.notebook}, {run.name} {mark}".rstrip(), ""]
    if run.status != "completed":
        lines += [f"**{run.status}**{': ' + _text(run.error) if run.error else ''}", ""]
    lines += [f"**{_text(results)}**", ""] if results else []
    lines += [" · ".join(_circumstances(all_runs, run)), ""]
    lines += [f"> {_text(run.note)}", ""] if run.note else []
    lines += _thumbnail(all_runs, run)
    lines += ["```sh", run.command, "```", ""] if run.command else []
    own = own_parameters(run)
    preset = [name for name in run.changed if name not in own]
    others = f"From profile {run.profile}" if run.profile else "Given"
    facts = {
        "Its own": _values(run, own),
        others: _values(run, preset),
        "Rests on": _linked(all_runs, run.parents),
        "Behind": _linked(all_runs, all_runs.children.get(run.id, [])),
        "Left": _files(run),
    }
    lines += [*(f"- **{what}** {text}" for what, text in facts.items() if text), ""]
    metrics = _results(run)[:-1]
    return lines + ([*_folded("numbers", metrics), ""] if metrics else [])


def _circumstances(all_runs: Survey, run: Record) -> list[str]:
    commit = run.git["commit"][:7] + " with changes" * run.git["dirty"] if run.git else ""
    cores, cpu = run.hardware.get("cores"), run.hardware.get("cpu", "")
    machine = ", ".join(run.hardware.get("gpus", [])) or (f"{cores} cores, {cpu}" if cores else "")
    known = {
        "": f"{run.started[:10]} {run.started[11:16]}",
        "took": lasted([run]),
        "profile": run.profile,
        "frames": f"{run.data['name']}" if run.data else "",
        "on": machine,
        "commit": commit,
        "in the paper as": ", ".join(all_runs.paper.get(run.id, [])),
    }
    return [f"{what} {text}".lstrip() for what, text in known.items() if text]


def _values(run: Record, names: Iterable[str]) -> str:
    return ", ".join(
        f"`{name}` = `{json.dumps(run.parameters.get(name), ensure_ascii=False)}`" for name in names
    )


def _thumbnail(all_runs: Survey, run: Record) -> list[str]:
    """Return one figure, small, that leads to the large one."""
    names = sorted(path.stem for path in run.folder.glob("figures/*.png"))
    first = all_runs.headlines.get(run.notebook, USUAL).figure
    if not names:
        return []
    name = first if first in names else names[0]
    path = f"{run.id}/figures/{name}.png"
    return [f'<a href="{path}"><img src="{path}" width="{WIDTH}" alt="{name}"></a>', ""]


def _files(run: Record) -> str:
    """Return links to the run's folder and to what a reader would open there."""
    names = {"notebook": "notebook.ipynb", "metrics": "metrics.json", "history": "history.csv"}
    names |= {
        path.stem: f"figures/{path.name}" for path in sorted(run.folder.glob("figures/*.png"))
    }
    links = [f"[{n}]({run.id}/{f})" for n, f in names.items() if (run.folder / f).exists()]
    return ", ".join([f"[{run.id}]({_place(run)})", *links])


def _place(run: Record) -> str:
    """Return the run's folder, or the table whose row it is, as seen from runs/."""
    return f"sweeps/{run.sweep_table}.csv" if isinstance(run, SweepRow) else run.id


def _sweep_section(all_runs: Survey, group: Sequence[Record]) -> list[str]:
    """Return the lines of a sweep's section: what came of it, and folded a line a trial."""
    trials = sorted(group, key=lambda run: (run.sweep or {})["trial"])
    name = str((trials[0].sweep or {})["name"])
    best = next((run for run in trials if run.id in all_runs.best), None)
    notebook, mark = trials[0].notebook, all_runs.mark(group)
    lines = [f"## {notebook}, sweep {name} {mark}".rstrip(), "", f"**{outcomes(group)}**", ""]
    if best:
        lines += [f"Best: [{best.name}](#{best.id}), {all_runs.headline(best)}.", ""]
    lines += [f"{trials[0].started[:10]} · took {lasted(group)} in all", ""]
    if (root() / "notebooks" / "sweeps" / f"{name}.yaml").exists():
        command = ["modsnr", "sweep", name, "--trials", count(group).split()[0]]
        lines += ["```sh", shlex.join(command), "```", ""]
    given = {name for run in trials for name in run.changed}
    values = {
        name: [json.dumps(run.parameters.get(name)) for run in trials]
        for name in trials[0].parameters
        if name in given
    }
    fixed = [name for name, texts in values.items() if len(set(texts)) == 1]
    searched = {name: texts for name, texts in values.items() if len(set(texts)) > 1}
    children = [id for run in trials for id in all_runs.children.get(run.id, [])]
    facts = {
        "In all trials": _values(trials[0], fixed),
        "Searched": ", ".join(f"`{name}`" for name in searched),
        "Rests on": _linked(all_runs, dict.fromkeys(id for run in trials for id in run.parents)),
        "Behind": _linked(all_runs, dict.fromkeys(children)),
    }
    lines += [*(f"- **{what}** {text}" for what, text in facts.items() if text), ""]
    again = repeated(group)
    rows = [
        [
            f'<a id="{run.id}"></a>[{(run.sweep or {})["trial"]}]({_place(run)}) '
            + all_runs.mark([run]),
            _outcome(all_runs, run, run.id in again),
            *(value.strip('"') for value in chosen),
            _unbroken(lasted([run])),
        ]
        for run, *chosen in zip(trials, *searched.values(), strict=True)
    ]
    table = _table(["trial", "outcome", *searched, "took"], rows)
    return [*lines, *_folded(count(group), table), ""]


def _outcome(all_runs: Survey, trial: Record, again: bool) -> str:
    """Return a completed trial's first result, so that its line is one; of another what befell."""
    if trial.status == "completed":
        return _unbroken(_text(all_runs.headline(trial).split("; ")[0]))
    return "done again; " * again + _text(told(all_runs, trial))
