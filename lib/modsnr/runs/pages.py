"""Runs as pages: a README.md in each run's folder, and two lists that lead to them.

RUNLOG.md lists the runs that git tracks, LOCAL.md the others; without git RUNLOG.md lists all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from modsnr.files import lock, write
from modsnr.runs.formatting import escaped, lasted, leaves, markdown_table, measured, shown
from modsnr.runs.overview import BEST, IN_PAPER, USUAL, Survey, groups, line, survey
from modsnr.runs.records import Record, records
from modsnr.runs.repository import committed_runs, root

README, RUNLOG, LOCAL = "README.md", "RUNLOG.md", "LOCAL.md"
COLUMNS = ("began", "", "run", "notebook", "frames", "took", "outcome")  # of RUNLOG.md
WIDTH = 640  # of the picture, in CSS pixels
RESULTS = 30  # results that a run's page shows
LINKS = 12  # that a line has
VERSIONS = ("python", "torch", "timm", "lightning", "numpy")  # run.json has all


def write_runlog(*, readmes: bool = False) -> Survey:
    """Write RUNLOG.md and LOCAL.md anew from all folders, and return all runs.

    The folders are read under the lock: of many runs that end at once, the last one sees all.
    ``readmes`` writes the README.md of every run's folder as well. What is written about committed
    runs rests on those alone, so it stays the same whatever else is run.
    """
    folder = root() / "runs"
    with lock(folder / ".locks" / "runlog"):
        known, tracked = records(), committed_runs()
        all_runs = committed = survey(known)
        own = [r for r in known if tracked is not None and (r.sweep_table or r.id) not in tracked]
        its_own = {run.id for run in own}
        if own:
            committed = survey([run for run in known if run.id not in its_own])
            write(folder / LOCAL, runlog(replace(all_runs, runs=own)))
        else:
            (folder / LOCAL).unlink(missing_ok=True)
        write(folder / RUNLOG, runlog(committed))
        for run in known if readmes else ():
            write_readme(all_runs if run.id in its_own else committed, run)
    return all_runs


def runlog(all_runs: Survey) -> str:
    """Return the text of RUNLOG.md: the best, the paper's runs, the other ones, the sweeps."""
    counts = Counter(run.status for run in all_runs.runs)
    ended = ", ".join(f"{n:,} {status}" for status, n in counts.most_common()) or "none yet"
    lines = [
        "# Runs",
        "",
        f"{len(all_runs.runs):,} runs, newest first ({ended}), written from their folders and "
        "tables at every end of a run. Times are UTC; *frames* is the frame store. "
        f"{BEST} is the best of its notebook on the same frames and modulations, where there are "
        f"several; {IN_PAPER} stands behind results in [the paper](../paper/PAPER.pdf). "
        "`modsnr runs` lists the runs in a terminal.",
        "",
    ]
    for fault in all_runs.faults:
        lines += [f"**Not used:** {escaped(fault)}", ""]
    best = [
        f"- {BEST} [{run.name}]({place_of(run)}), {run.notebook} on {run.data['name']}: "
        f"{escaped(all_runs.headline(run))}"
        for run in all_runs.runs
        if run.id in all_runs.best and run.data
    ]
    lines += ["## Best", "", *best, ""] if best else []
    parts: dict[str, list[list[str]]] = {"In the paper": [], "Other runs": [], "Sweeps": []}
    for group in groups(all_runs.runs):
        first = group[0]
        alone = "In the paper" if first.id in all_runs.paper else "Other runs"
        mark, name, *texts = line(all_runs, group)
        link = f"[{name}]({place_of(next((run for run in group if run.sweep_table), first))})"
        row = [first.started[:10], mark, link, *map(escaped, texts)]
        parts["Sweeps" if first.sweep_name else alone].append(row)
    for title, rows in parts.items():
        lines += _section(title, COLUMNS, rows)
    return "\n".join(lines)


def place_of(run: Record, start: str = "") -> str:
    """Return the way from ``start`` (the folder runs/) to a run's folder, or its sweep's table."""
    return start + (f"sweeps/{run.sweep_table}.csv" if run.sweep_table else f"{run.id}/")


def write_readme(all_runs: Survey, run: Record) -> None:
    """Write README.md into a run's folder; a run that is a row of a table has none."""
    if run.sweep_table is None:
        write(run.folder / README, readme(all_runs, run))


def readme(all_runs: Survey, run: Record) -> str:
    """Return the page of one of the runs: its results first, then what made it.

    Results are those of the first three levels of metrics.json, at most thirty.
    """
    headline, mark = all_runs.headline(run), all_runs.mark([run])
    lines = [f"# {run.notebook}, {run.name} {mark}".rstrip(), ""]
    if run.status != "completed":
        lines += [f"**{run.status}**{': ' + escaped(run.error) if run.error else ''}", ""]
    lines += [f"**{escaped(headline)}**", ""] if headline else []
    lines += [f"> {escaped(run.note)}", ""] if run.note else []
    lines += _picture(all_runs, run)
    lines += ["```sh", run.command, "```", ""] if run.command else []
    results = [[escaped(path), measured(value)] for path, value in leaves(run.metrics).items()]
    lines += _section("Results", ("result", "value"), results[:RESULTS])
    if len(results) > RESULTS:
        lines += [f"{len(results) - RESULTS} more in [metrics.json](metrics.json).", ""]
    made = [[name, text] for name, text in _circumstances(all_runs, run).items() if text]
    lines += _section("Circumstances", ("", ""), made)
    given = [[f"`{name}`", f"`{escaped(shown(run.parameters.get(name)))}`"] for name in run.changed]
    lines += _section("Parameters beside the defaults", ("parameter", "value"), given)
    return "\n".join(lines)


def _section(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"## {title}", "", *markdown_table(columns, rows), ""] if rows else []


def _picture(all_runs: Survey, run: Record) -> list[str]:
    """Return the notebook's main figure, else its first, as a link to the full size."""
    names = sorted(path.stem for path in run.folder.glob("figures/*.png"))
    main = all_runs.headlines.get(run.notebook, USUAL).figure
    if not names:
        return []
    path = f"figures/{main if main in names else names[0]}.png"
    return [f'<a href="{path}"><img src="{path}" width="{WIDTH}" alt="{path}"></a>', ""]


def _circumstances(all_runs: Survey, run: Record) -> dict[str, str]:
    hardware = run.hardware
    units = {"cores": "cores", "memory_gb": "GB"}
    machine = [*hardware.get("gpus", []), hardware.get("cpu", "")]
    machine += [f"{hardware[name]} {unit}" for name, unit in units.items() if name in hardware]
    machine += [hardware.get("system", "")]
    return {
        "best": f"{BEST} of {run.notebook} on these frames" if run.id in all_runs.best else "",
        "in the paper as": ", ".join(all_runs.paper.get(run.id, [])),
        "profile": run.profile or "",
        "given, not used": ", ".join(f"{n} {escaped(shown(v))}" for n, v in run.overridden.items()),
        "rests on": _linked(all_runs, run.parents),
        "a row of": f"[{run.sweep_table}.csv]({place_of(run, '../')})" if run.sweep_table else "",
        "began": f"{run.started[:10]} {run.started[11:19]} UTC",
        "took": lasted([run.wall_seconds]),
        "machine": escaped(", ".join(filter(None, machine))),
        "frames": run.frames,
        "commit": run.commit,
        "versions": ", ".join(f"{n} {run.versions[n]}" for n in VERSIONS if n in run.versions),
        "seeds": ", ".join(f"{name} {value}" for name, value in run.seeds.items()),
    }


def _linked(all_runs: Survey, ids: Iterable[str]) -> str:
    """Return links to runs, those of a sweep as one; a run that is not here is named only."""
    known = {run.id: run for run in all_runs.runs}
    links: dict[str, None] = {}
    for id in ids:
        run = known.get(id)
        if run is None:
            links[f"`{id}` (not here)"] = None
        else:
            name = f"sweep {run.sweep_table}" if run.sweep_table else run.name
            links[f"[{name}]({place_of(run, '../')})"] = None
    more = [f"{len(links) - LINKS} more"] if len(links) > LINKS else []
    return ", ".join([*list(links)[:LINKS], *more])
