"""A run on one page: the README.md of its folder, which `modsnr runs show` prints as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from modsnr.files import write
from modsnr.runs.formatting import escaped, lasted, leaves, markdown_table, measured, shown
from modsnr.runs.headlines import USUAL
from modsnr.runs.overview import BEST, Survey, own_parameters
from modsnr.runs.records import Record

README = "README.md"
WIDTH = 640  # of the picture, in CSS pixels
RESULTS = 30  # results that the page shows
FEW, LINKS = 3, 12  # runs of a sweep that are named one by one, and links that a line has
VERSIONS = ("python", "torch", "timm", "lightning", "numpy")  # run.json has all


def write_readme(all_runs: Survey, run: Record) -> None:
    """Write README.md into a run's folder; a run that is a row of a table has none."""
    if run.sweep_name is None or (run.folder / "run.json").exists():
        write(run.folder / README, readme(all_runs, run))


def readme(all_runs: Survey, run: Record) -> str:
    """Return the page of one of the runs: what came of it first, then what made it.

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
    results = {path: measured(value) for path, value in leaves(run.metrics).items()}
    more = f"{len(results) - RESULTS} more in [metrics.json](metrics.json)."
    lines += _section("Results", ("result", "value"), list(results.items())[:RESULTS])
    lines += [more, ""] if len(results) > RESULTS else []
    lines += _section("Circumstances", ("", ""), _circumstances(all_runs, run).items())
    own = own_parameters(run)
    given = [
        (
            f"`{name}`",
            f"`{shown(run.parameters.get(name))}`",
            "command" if name in own else "profile",
        )
        for name in dict.fromkeys([*own, *run.changed])
    ]
    lines += _section("Parameters beside the defaults", ("parameter", "value", "from"), given)
    return "\n".join([*lines, "## Files", "", *_files(run), ""])


def place_of(run: Record, start: str = "") -> str:
    """Return the way from ``start`` (the folder runs/) to a run's folder, or its sweep's table."""
    return start + (f"sweeps/{run.sweep_table}.csv" if run.sweep_table else f"{run.id}/")


def _section(title: str, columns: tuple[str, ...], rows: Iterable[Iterable[str]]) -> list[str]:
    table = markdown_table(columns, [[escaped(cell) for cell in row] for row in rows if all(row)])
    return [f"## {title}", "", *table, ""] if len(table) > 2 else []


def _picture(all_runs: Survey, run: Record) -> list[str]:
    """Return the notebook's main figure, else its first, as a link to the full size."""
    names = sorted(path.stem for path in run.folder.glob("figures/*.png"))
    main = all_runs.headlines.get(run.notebook, USUAL).figure
    if not names:
        return []
    path = f"figures/{main if main in names else names[0]}.png"
    return [f'<a href="{path}"><img src="{path}" width="{WIDTH}" alt="{path}"></a>', ""]


def _circumstances(all_runs: Survey, run: Record) -> dict[str, str]:
    git, hardware = run.git, run.hardware
    units = {"cores": "cores", "memory_gb": "GB"}
    machine = [*hardware.get("gpus", []), hardware.get("cpu", "")]
    machine += [f"{hardware[name]} {unit}" for name, unit in units.items() if name in hardware]
    machine += [hardware.get("system", "")]
    return {
        "best": f"{BEST} of {run.notebook} on these frames" if run.id in all_runs.best else "",
        "in the paper as": ", ".join(all_runs.paper.get(run.id, [])),
        "profile": run.profile or "",
        "rests on": _linked(all_runs, run.parents),
        "used by": _linked(all_runs, all_runs.children.get(run.id, [])),
        "began": f"{run.started[:10]} {run.started[11:19]} UTC",
        "took": lasted([run.wall_seconds]),
        "machine": ", ".join(filter(None, machine)),
        "frames": f"{run.data['name']}, {run.data['sha256'][:12]}" if run.data else "",
        "commit": git["commit"][:12] + " with changes" * git["dirty"] if git else "",
        "versions": ", ".join(f"{n} {run.versions[n]}" for n in VERSIONS if n in run.versions),
        "seeds": ", ".join(f"{name} {value}" for name, value in run.seeds.items()),
    }


def _linked(all_runs: Survey, ids: Iterable[str]) -> str:
    """Return links to runs, many of one sweep as one; a run that is not here is named only."""
    known = {run.id: run for run in all_runs.runs}
    ids = list(ids)
    sweeps = Counter(known[id].sweep_name for id in ids if id in known)
    many = {name: n for name, n in sweeps.items() if name and n > FEW}
    links, done = [], set()
    for id in ids:
        run = known.get(id)
        if run is None:
            links.append(f"`{id}` (not here)")
        elif run.sweep_name not in many:
            links.append(f"[{run.name}]({place_of(run, '../')})")
        elif run.sweep_name not in done:
            done.add(run.sweep_name)
            place = place_of(run, "../")
            links.append(f"{many[run.sweep_name]} runs of [sweep {run.sweep_name}]({place})")
    more = [f"{len(links) - LINKS} more"] if len(links) > LINKS else []
    return ", ".join([*links[:LINKS], *more])


def _files(run: Record) -> list[str]:
    """Return links to what the folder holds, but for hidden files and this page."""
    if run.sweep_table:
        table = f"sweeps/{run.sweep_table}"
        return [f"- a row of {table}.csv, {table}.yaml and {table}-history.csv"]
    paths = sorted(path for path in run.folder.rglob("*") if path.is_file())
    names = [str(path.relative_to(run.folder)) for path in paths]
    return [f"- [{n}]({n})" for n in names if n != README and not f"/{n}".count("/.")]
