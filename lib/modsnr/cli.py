"""The ``modsnr`` command, thin over runs, sweeps and paper.

Exit codes: 0 done, 1 a run did not complete, 2 the input cannot be used, 130 interrupted.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from io import TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_args

import click

from modsnr import InputError, __version__, runs
from modsnr.cli_classify import classify, export

if TYPE_CHECKING:
    from datetime import datetime

    from modsnr.sweeps import Outcome

IN_PROFILES = "a file in notebooks/profiles, less .yaml"
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
PROFILE = click.option("--profile", metavar="P", help=IN_PROFILES)


class Refusal(click.ClickException):
    """One line on stderr instead of a traceback."""

    exit_code = 2


def _not_written(error: OSError) -> str:
    """Return what cannot be written for want of a right or of space; raise any other error."""
    if error.errno not in NOT_WRITABLE:
        raise error
    return f"cannot write {error.filename or 'a file'}"  # a full disk names none


class Commands(click.Group):
    """Commands that print a refusal in one line and end an interrupt by exit code 130."""

    def invoke(self, ctx: click.Context) -> object:
        """Return what the command does; a refusal or an interrupt ends it by its exit code."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # a terminal may know no letter such as ★
                stream.reconfigure(errors="replace")
        try:
            return super().invoke(ctx)
        except InputError as error:
            raise Refusal(" ".join(str(error).split())) from error
        except runs.NotCompletedError as error:
            raise click.ClickException(" ".join(str(error).split())) from error
        except OSError as error:
            raise Refusal(
                f"{_not_written(error)}: {error.strerror}; make its folder writable, free space on "
                "its disk, or set MODSNR_ROOT to a copy of the repository"
            ) from error
        except KeyboardInterrupt as error:
            click.echo(str(error) or "interrupted", err=True)
            ctx.exit(130)


@click.group(cls=Commands)
@click.version_option(__version__)
def main() -> None:
    """Run the notebooks, keep their runs, make the paper of them; classify recordings."""


main.add_command(classify)
main.add_command(export)


def _show(text: str) -> None:
    click.echo(text, nl=False)


@main.command()
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
@click.pass_context
def run(
    ctx: click.Context,
    notebook: str,
    profile: str | None,
    given: tuple[tuple[str, str], ...],
    name: str | None,
    note: str | None,
) -> None:
    """Run NOTEBOOK, its parameters checked before anything starts."""
    if len({parameter for parameter, _ in given}) < len(given):
        raise InputError("a parameter is given twice")
    values = {key: runs.parse_text(notebook, key, text) for key, text in given}
    values |= {} if note is None else {"note": note}
    record = runs.execute(notebook, profile=profile, parameters=values, name=name, echo=_show)
    click.echo(os.path.relpath(record.folder))
    if record.status == "completed" and (found := runs.survey().headline(record)):
        click.echo(found)
    click.echo(f"{record.id} {record.status}{': ' + record.error if record.error else ''}")
    if record.status != "completed":
        ctx.exit(130 if record.status == "interrupted" else 1)


@main.command()
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
@click.option("--keep-folders", is_flag=True, help="keep the trials' folders beside their rows")
@click.pass_context
def sweep(
    ctx: click.Context,
    space: str,
    name: str | None,
    workers: int,
    cluster: str | None,
    settings: tuple[str, ...],
    **options: Any,
) -> None:
    """Search a space of parameters; the same command goes on with it.

    SPACE is a file, or its name in notebooks/sweeps.
    """
    from modsnr import sweeps
    from modsnr.workers import connect, settings_of

    wanted = sweeps.load_space(space, name)
    where = cluster or ("local" if workers > 1 else "here")
    # A running scheduler has the workers that it has.
    count = workers if where in ("local", "slurm", "pbs") else 0
    with connect(where, workers=count, **settings_of(settings)) as client:
        found = sweeps.sweep(wanted, client=client, echo=_echo, **options)
    click.echo(", ".join(f"{n} {status}" for status, n in found.counts.items()) or "no trials")
    if found.repeated or found.under_way:
        click.echo(f"{found.repeated} begun again after a kill, {found.under_way} under way")
    if found.best:
        _echo(found.best, "best:")
    elif found.counts:
        ctx.exit(1)


def _echo(outcome: Outcome, what: str = "trial") -> None:
    value = "" if outcome.value is None else f" {outcome.value:.4f}"
    why = f": {outcome.error}" if outcome.error else ""
    values = ", ".join(f"{name} {value}" for name, value in outcome.parameters.items())
    click.echo(f"{what} {outcome.number} {outcome.status}{value} ({values}){why}")


@main.command()
@click.option("--profile", metavar="P", default="quick", show_default=True, help=IN_PROFILES)
@click.option("--resume", is_flag=True, help="keep what is done, go on with what was cut off")
def reproduce(profile: str, resume: bool) -> None:
    """Run a profile's pipeline, then make the paper of its runs."""
    lacks = _paper().lacks(profile)
    runs.reproduce(profile, resume=resume, echo=_show)
    if lacks:
        click.echo(
            f"profile {profile} makes no paper: it does not make the runs {', '.join(lacks)}"
        )
    else:
        _make_paper(profile)


@main.command()
@PROFILE
def paper(profile: str | None) -> None:
    """Make the paper, PDF and web page, of its runs or a profile's.

    Without a profile RUNLOG.md is renewed as well: it marks the runs that the paper rests on.
    """
    _make_paper(profile)


@main.group("runs", invoke_without_command=True)
@click.option("--notebook", default="*", metavar="PATTERN", help="02_training, or its number, 02")
@click.option("--name", default="*", metavar="PATTERN", help="such as 'views-*'")
@click.option("--profile", default="*", metavar="PATTERN", help="that they were made by")
@click.option(
    "--status",
    multiple=True,
    type=click.Choice(get_args(runs.Status)),
    help="one of these; may be repeated",
)
@click.option("--since", type=click.DateTime(), metavar="WHEN", help="2026-11-25, say, UTC")
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
    ctx: click.Context, since: datetime | None, limit: int, every: bool, **patterns: Any
) -> None:
    """List the runs, show one, compare several.

    The list begins with the newest run, and RUNLOG.md is renewed: a killed run could not do so.
    Where RUNLOG.md cannot be written, the runs are listed all the same.

    In the second column, ★ is the best of its notebook on the same frames and modulations, and ¶
    stands in the paper. A terminal shows the time of each id, and cuts lines to its width.
    """
    if ctx.invoked_subcommand:
        return
    begun = since.isoformat() if since else ""
    try:
        known = runs.write_runlog()
    except OSError as error:
        click.echo(f"RUNLOG.md is as it was: {_not_written(error)}", err=True)
        known = runs.survey()
    for fault in known.faults:
        click.echo(f"not used: {fault}", err=True)
    wanted = runs.select(known.runs, since=begun, **patterns)
    lines = runs.overview(known, wanted, every=every)
    shown = lines if every or not limit else lines[:limit]
    rows = [list(runs.OVERVIEW), *shown]
    if sys.stdout.isatty():  # the time of an id suffices to name most runs
        rows = [[row[0].split("-")[0], *row[1:]] for row in rows]
        width = shutil.get_terminal_size().columns
        texts = [_short(line, width) for line in runs.aligned(rows)]
    else:
        texts = runs.aligned(rows)
    click.echo("\n".join(texts))
    if not lines:
        click.echo(f"none of {len(known.runs)} runs is like that", err=True)
    elif len(shown) < len(lines):
        click.echo(f"{len(lines) - len(shown)} older ones by --limit 0", err=True)


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


@runs_.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="all of run.json, and the metrics")
def show(run: str, as_json: bool) -> None:
    """Show a run, called by its id, folder or name (the latest)."""
    record = runs.find(Path(run).name, status=None)
    if as_json:
        content = record.model_dump(mode="json") | {"metrics": record.metrics}
        click.echo(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        click.echo(runs.readme(runs.survey(), record))


@runs_.command()
@click.argument("references", nargs=-1, metavar="RUN RUN...")
@click.option("--all", "every", is_flag=True, help="all results that they share, not the first 30")
def compare(references: tuple[str, ...], every: bool) -> None:
    """Compare runs with the first, paired over frames."""
    # It brings numpy, which no other command on runs needs.
    from modsnr import comparison

    click.echo(comparison.page(references, every=every))


@runs_.command()
def log() -> None:
    """Write RUNLOG.md and every run's README.md anew."""
    runs.write_runlog(readmes=True)
    click.echo(runs.root() / "runs" / "RUNLOG.md")


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
