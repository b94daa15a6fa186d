"""Runs: one folder an execution of a notebook, with what went in and what came out.

``runs/<UTC time>-<notebook>-<name>/`` holds ``run.json`` (status, parameters, commit, seeds,
versions, hardware), ``README.md`` for people, ``metrics.json``, ``history.csv``,
``predictions.npz``, ``figures/``, ``tables/`` and ``notebook.ipynb`` as executed. A notebook writes
it with ``run = start(...)``, ``run.save_*(...)``, ``run.finish()``; ``execute`` runs a notebook
strictly with papermill; ``reproduce`` runs a profile's pipeline; ``find`` reads a run back.
``runs/RUNLOG.md`` leads to all runs and is written anew at the end of each.

A run is alive exactly while a process holds the lock on its ``.lock``: the system drops the lock
on any death, so a run with status "running" whose lock is free is shown as crashed.
"""

from modsnr.files import is_held
from modsnr.runs.execution import Stop, execute
from modsnr.runs.formatting import aligned, leaves, measured, shown
from modsnr.runs.needs import need_frames
from modsnr.runs.overview import OVERVIEW, Survey, overview, select, survey
from modsnr.runs.pages import readme, write_runlog
from modsnr.runs.parameters import (
    ChangesNoResult,
    ExistingFile,
    FrameStore,
    PositiveShare,
    PositiveShareBelowOne,
    RunOf,
    Share,
    ShareBelowOne,
    check,
    counting,
    parameters,
    parse_text,
)
from modsnr.runs.pipeline import NotCompletedError, reproduce
from modsnr.runs.profiles import Profile, Step, load_profile
from modsnr.runs.records import (
    CHECKPOINT,
    Record,
    Status,
    find,
    records,
    repeated,
    rows_of,
)
from modsnr.runs.repository import root, store
from modsnr.runs.run import Run, start
