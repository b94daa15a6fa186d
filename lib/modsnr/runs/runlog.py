"""RUNLOG.md: one screen that leads to the runs' folders and the sweeps' tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from modsnr.files import lock, write
from modsnr.runs.formatting import escaped, markdown_table
from modsnr.runs.overview import BEST, IN_PAPER, Survey, groups, line, survey
from modsnr.runs.readme import place_of, write_readme
from modsnr.runs.records import Record
from modsnr.runs.repository import root

COLUMNS = ("began", "", "run", "notebook", "frames", "took", "outcome")
PATH = "RUNLOG.md"


def write_runlog(*, readmes: bool = False) -> Survey:
    """Write runs/RUNLOG.md anew from all folders, and return what it was written from.

    The folders are read under the lock: of many runs that end at once, the last one sees all.
    ``readmes`` writes the README.md of every run's folder as well.
    """
    folder = root() / "runs"
    with lock(folder / ".locks" / "runlog"):
        all_runs = survey()
        write(folder / PATH, runlog(all_runs))
        for run in all_runs.runs if readmes else ():
            write_readme(all_runs, run)
    return all_runs


def runlog(all_runs: Survey) -> str:
    """Return the text of RUNLOG.md: the best, the paper's runs, the other ones, the sweeps."""
    together = groups(all_runs.runs)
    alone = [group for group in together if group[0].sweep_name is None]
    parts = {
        "In the paper": [group for group in alone if group[0].id in all_runs.paper],
        "Other runs": [group for group in alone if group[0].id not in all_runs.paper],
        "Sweeps": [group for group in together if group[0].sweep_name],
    }
    lines = ["# Runs", "", *_about(all_runs), *_best(all_runs)]
    for title, chosen in parts.items():
        if chosen:
            table = markdown_table(COLUMNS, [_row(all_runs, group) for group in chosen])
            lines += [f"## {title}", "", *table, ""]
    return "\n".join(lines)


def _about(all_runs: Survey) -> list[str]:
    counts = Counter(run.status for run in all_runs.runs)
    ended = ", ".join(f"{n:,} {status}" for status, n in counts.most_common())
    faults = [text for fault in all_runs.faults for text in (f"**Not used:** {escaped(fault)}", "")]
    return [
        f"{len(all_runs.runs):,} runs, newest first ({ended or 'none yet'}), written from their "
        "folders and tables at every end of a run. Times are UTC; *frames* is the frame store. "
        f"{BEST} is the best of its notebook on the same frames and modulations, where there are "
        f"several; {IN_PAPER} stands behind results in [the paper](../paper/PAPER.pdf). "
        "`modsnr runs` lists the runs in a terminal.",
        "",
        *faults,
    ]


def _best(all_runs: Survey) -> list[str]:
    best = [
        f"- {BEST} [{run.name}]({place_of(run)}), {run.notebook} on {run.data['name']}: "
        f"{escaped(all_runs.headline(run))}"
        for run in all_runs.runs
        if run.id in all_runs.best and run.data
    ]
    return ["## Best", "", *best, ""] if best else []


def _row(all_runs: Survey, group: Sequence[Record]) -> list[str]:
    mark, name, notebook, frames, took, outcome = line(all_runs, group)
    shown = next((run for run in group if run.sweep_table), group[0])
    link = f"[{name}]({place_of(shown)})"
    began = _unbroken(group[0].started[:10])
    return [began, mark, link, notebook, frames, _unbroken(took), escaped(outcome)]


def _unbroken(text: str) -> str:
    """Return ``text`` so that a narrow column of a table does not break it."""
    return text.replace(" ", "\N{NO-BREAK SPACE}").replace("-", "\N{NON-BREAKING HYPHEN}")
