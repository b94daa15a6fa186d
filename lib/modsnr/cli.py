"""The ``modsnr`` command, thin over runs, sweeps and paper.

Exit codes: 0 done, 1 a run did not complete, 2 the input cannot be used, 75 the time is over and
the same command goes on, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections import Counter
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_args

import click

from modsnr import InputError, __version__, runs

if TYPE_CHECKING:
    from modsnr.sweeps import Outcome

PLAIN = click.option("--plain", is_flag=True, help="without papermill and Jupyter")
OF_PROFILE = "a file in notebooks/profiles, less .yaml"
PROFILE = click.option("--profile", metavar="P", help=OF_PROFILE)


class Refusal(click.ClickException):
    """One line on stderr instead of a traceback."""

    exit_code = 2


class Commands(click.Group):
    """Commands that tell a refusal in one line, and an interrupt by exit code 130."""

    def invoke(self, ctx: click.Context) -> object:
        """Return what the command does; a refusal or an interrupt ends it by its exit code."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            raise Refusal(" ".join(str(error).split())) from error
        except runs.NotCompletedError as error:
            raise click.ClickException(" ".join(str(error).split())) from error
        except KeyboardInterrupt as error:
            click.echo(str(error) or "interrupted", err=True)
            ctx.exit(130)


@click.group(cls=Commands)
@click.version_option(__version__)
def main() -> None:
    """Run the notebooks, keep their runs, and make the paper of them."""


def _show(text: str) -> None:
    click.echo(text, nl=False)


@main.command(short_help="Run a notebook, its parameters checked before anything starts.")
@click.argument("notebook")
@PROFILE
@click.option(
    "-p",
    "given",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="a parameter of the notebook's second cell; may be repeated",
)
@click.option("--name", help="what the run is called")
@click.option("--note", help="why the run was made")
@PLAIN
@click.pass_context
def run(
    ctx: click.Context,
    notebook: str,
    profile: str | None,
    given: tuple[tuple[str, str], ...],
    name: str | None,
    note: str | None,
    plain: bool,
) -> None:
    """Run NOTEBOOK with papermill, its parameters checked before anything starts."""
    if len({parameter for parameter, _ in given}) < len(given):
        raise InputError("a parameter is given twice")
    values = {key: runs.parse_text(notebook, key, text) for key, text in given}
    values |= {} if note is None else {"note": note}
    record = runs.execute(
        notebook, profile=profile, parameters=values, name=name, plain=plain, echo=_show
    )
    click.echo(os.path.relpath(record.folder))
    if record.status == "completed" and (found := runs.survey().headline(record)):
        click.echo(found)
    click.echo(f"{record.id} {record.status}{': ' + record.error if record.error else ''}")
    if record.status != "completed":
        ctx.exit(130 if record.status == "interrupted" else 1)


@main.command(short_help="Search a space of parameters; the same command goes on with it.")
@click.argument("space")
@click.option("--name", help="what the sweep is called, if not like its file")
@click.option("--trials", type=click.IntRange(1), metavar="N", help="how many there are in all")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="K",
    help="trials that run at once",
)
@click.option("--storage", metavar="URL", help="postgresql://user@host/name, for many machines")
@click.option("--cluster", metavar="WHERE", help="slurm, pbs, or a Dask scheduler's address")
@click.option(
    "-s",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="of the cluster, queue=long, say; may be repeated",
)
@click.pass_context
def sweep(
    ctx: click.Context,
    space: str,
    name: str | None,
    trials: int | None,
    workers: int,
    storage: str | None,
    cluster: str | None,
    settings: tuple[str, ...],
) -> None:
    """Search SPACE, a file or its name in notebooks/sweeps; the same command goes on with it."""
    from modsnr import sweeps
    from modsnr.workers import connect, settings_of

    wanted = sweeps.load_space(space, name)
    told = settings_of(settings)
    if told and not cluster:
        raise InputError("-s is for --cluster")
    # A running scheduler has the workers that it has.
    count = workers if cluster in ("local", "slurm", "pbs") else 0
    with connect(cluster, count=count, **told) if cluster else nullcontext() as pool:
        found = sweeps.sweep(
            wanted, trials=trials, storage=storage, workers=workers, pool=pool, echo=_tell
        )
    click.echo(", ".join(f"{n} {status}" for status, n in found.counts.items()) or "no trials")
    if found.repeated or found.under_way:
        click.echo(f"{found.repeated} begun again after a kill, {found.under_way} under way")
    if found.best:
        click.echo(f"best: {_shown(found.best)}")
    elif found.counts:
        ctx.exit(1)


def _tell(outcome: Outcome) -> None:
    click.echo(f"trial {_shown(outcome)}")


def _shown(outcome: Outcome) -> str:
    value = "" if outcome.value is None else f" {outcome.value:.4f}"
    why = f": {outcome.error}" if outcome.error else ""
    values = ", ".join(f"{name} {value}" for name, value in outcome.parameters.items())
    return f"{outcome.number} {outcome.status}{value} ({values}){why}"


@main.command(short_help="Run a profile's pipeline, then make the paper of its runs.")
@click.option("--profile", metavar="P", default="quick", show_default=True, help=OF_PROFILE)
@click.option("--resume", is_flag=True, help="keep what is done, go on with what was cut off")
@click.option(
    "--minutes",
    type=click.FloatRange(0),
    default=0.0,
    metavar="M",
    help="do so for at most M minutes, then stop in good order (exit code 75)",
)
@click.option(
    "--pack",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="write the runs into FILE after each step, as `modsnr runs pack` does",
)
@PLAIN
@click.pass_context
def reproduce(
    ctx: click.Context, profile: str, resume: bool, minutes: float, file: Path | None, plain: bool
) -> None:
    """Run the profile's pipeline, then make the paper of its runs (not with --plain)."""
    lacks = None if plain else _paper().lacks(profile)
    after = partial(_pack_anew, file) if file else None
    try:
        runs.reproduce(
            profile, plain=plain, resume=resume, minutes=minutes, echo=_show, after=after
        )
    except runs.OutOfTimeError as over:
        click.echo(f"profile {profile}: {over}; the same command goes on from here")
        ctx.exit(75)
    if lacks is None:
        click.echo(f"no paper is made plainly: `modsnr paper --profile {profile}` makes it")
    elif lacks:
        click.echo(
            f"profile {profile} makes no paper: it does not make the runs {', '.join(lacks)}"
        )
    else:
        _make_paper(profile)


def _pack_anew(file: Path, _: runs.Record) -> None:
    try:
        _pack(file)
    except InputError as error:  # the pipeline is worth more than the pack
        click.echo(f"not packed: {error}", err=True)


@main.command(short_help="Make the paper, PDF and web page, of its runs or of a profile's.")
@PROFILE
def paper(profile: str | None) -> None:
    """Make figures, tables, numbers, PDF and web page of the paper's runs, or of a profile's.

    Without a profile RUNLOG.md is renewed as well: it marks the runs that the paper rests on.
    """
    _make_paper(profile)


@main.group(
    "runs",
    invoke_without_command=True,
    short_help="List the runs, and show, compare, pack or keep them.",
)
@click.option("--notebook", default="*", metavar="PATTERN", help="02_training, or its number, 02")
@click.option("--name", default="*", metavar="PATTERN", help="such as 'views-*'")
@click.option("--profile", default="*", metavar="PATTERN", help="that they were made by")
@click.option(
    "--status",
    multiple=True,
    type=click.Choice(get_args(runs.Status)),
    help="one of these; may be repeated",
)
@click.option("--since", metavar="WHEN", help="2026-11-25, 2026-11-25T13:00 (UTC), 12h, 3d, 2w")
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=30,
    show_default=True,
    metavar="N",
    help="lines at most; 0: all",
)
@click.option("--all", "every", is_flag=True, help="no limit, a line for each trial of a sweep")
@click.pass_context
def runs_(
    ctx: click.Context,
    notebook: str,
    name: str,
    profile: str,
    status: tuple[str, ...],
    since: str | None,
    limit: int,
    every: bool,
) -> None:
    """List the runs, newest first, and renew RUNLOG.md: a killed run could not do so itself.

    In the second column, ★ is the best of its notebook on the same frames and modulations, and ¶
    stands in the paper. In a pipe, no line is cut short.
    """
    if ctx.invoked_subcommand:
        return
    begun = runs.moment(since) if since else None
    runs.write_runlog()
    known = runs.survey()
    for fault in known.faults:
        click.echo(f"not used: {fault}", err=True)
    wanted = runs.select(
        known.runs, notebook=notebook, name=name, profile=profile, status=status, since=begun
    )
    lines = runs.overview(known, wanted, every=every)
    shown = lines if every or not limit else lines[:limit]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in _fitted([list(runs.OVERVIEW), *shown], width):
        click.echo(line)
    if not lines:
        click.echo(f"none of {len(known.runs)} runs is like that", err=True)
    elif len(shown) < len(lines):
        click.echo(f"{len(lines) - len(shown)} older ones by --limit 0", err=True)


def _fitted(rows: list[list[str]], width: int | None) -> list[str]:
    """Return the overview's lines within ``width``, the last column cut short.

    Ids are cut to their time, which suffices to name most runs. Frames and time taken stay away
    where the outcome would have too little room, and long names are cut short.
    """
    if width is None:
        return runs.aligned(rows)
    rows = [[row[0].split("-")[0], *row[1:]] for row in rows]
    for column in ("frames", "took", None):
        lines = runs.aligned([row[:-1] for row in rows])
        room = width - max(map(len, lines)) - 2
        if room >= 20 or column is None:
            break
        place = rows[0].index(column)
        rows = [row[:place] + row[place + 1 :] for row in rows]
    if room < 16:
        rows = [[*row[:2], _short(row[2], 22), *row[3:]] for row in rows]
    return [_short(line, width) for line in runs.aligned(rows)]


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


@runs_.command(short_help="Show a run, called by its id, folder or name.")
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="all that the run tells, its metrics too")
def show(run: str, as_json: bool) -> None:
    """Show a run, called by its id or the beginning of it, its folder, or its name (the latest)."""
    record = runs.find(Path(run).name, status=None)
    if as_json:
        told = record.model_dump(mode="json") | {"metrics": record.metrics}
        click.echo(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        click.echo(runs.page(runs.survey(), record))


@runs_.command(short_help="Compare runs with the first, paired over frames.")
@click.argument("references", nargs=-1, metavar="RUN RUN...")
@click.option("--all", "every", is_flag=True, help="all results that they share, not the first 30")
def compare(references: tuple[str, ...], every: bool) -> None:
    """Compare runs with the first: what went in, what came out, and the paired difference."""
    # It brings numpy, which no other command on runs needs.
    from modsnr import comparison

    click.echo(comparison.page(references, every=every))


@runs_.command()
def log() -> None:
    """Write runs/RUNLOG.md anew from the run folders."""
    click.echo(runs.write_runlog())


@runs_.command(short_help="Write the runs into a tar that is light enough to carry.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--since", metavar="RUN", help="this one and all that began later, committed or not")
@click.option(
    "--megabytes", type=click.FloatRange(0), default=15.0, show_default=True, help="at most"
)
def pack(file: Path, since: str | None, megabytes: float) -> None:
    """Write the runs into FILE, a tar light enough to carry: no checkpoints, no heavy weights.

    They are those that are not committed here, for whoever cloned this repository has the others.
    """
    _pack(file, since=since, megabytes=megabytes)


def _pack(file: Path, **options: Any) -> None:
    packed = runs.pack(file, **options)
    for name, why in packed.left_out.items():
        click.echo(f"without {name}: {why}")
    count = len(packed.runs)
    click.echo(f"{count} run{'s' * (count > 1)}, {file.stat().st_size / 2**20:.1f} MB: {file}")


@runs_.command(short_help="Copy runs made elsewhere into this repository.")
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER...")
@click.option("--light", is_flag=True, help="text only: no weights, predictions, figures, notebook")
def keep(folders: tuple[str, ...], light: bool) -> None:
    """Copy runs made elsewhere, each a FOLDER or all in it, into this repository's runs/.

    The last line is the command that commits them: runs/ is not tracked but for what is added so.
    """
    kept = runs.keep(folders, light=light)
    size = sum(one.size for one in kept)
    here = sum(not one.new for one in kept)
    click.echo(f"{len(kept)} runs kept, {size / 1e6:.1f} MB; {here} of them were here already")
    parts = Counter(Path(name).parts[0] for one in kept for name in one.left_out)
    if parts:
        click.echo("left out: " + ", ".join(f"{n} {part}" for part, n in parts.most_common()))
    for one in kept:
        if one.mended:
            click.echo(f"paths shortened in {one.record.id}: {', '.join(one.mended)}")
    paths = ["runs/RUNLOG.md", *(f"runs/{one.record.id}" for one in kept)]
    click.echo(shlex.join(["git", "add", "-f", *paths]))


def _paper() -> ModuleType:
    # It brings pandoc, typst and matplotlib, which no other command needs.
    from modsnr import paper

    return paper


def _make_paper(profile: str | None) -> None:
    pdf = _paper().build(profile=profile)
    if profile is None:
        runs.write_runlog()
    else:
        click.echo("a draft of your runs; † marks what it takes of the committed ones")
    click.echo(pdf.with_suffix(".html"))
    click.echo(pdf)
