"""Runs: one folder an execution of a notebook, with what went in and what came out.

``runs/<UTC time>-<notebook>-<name>/`` holds ``run.json`` (status, parameters, commit, seeds,
versions, hardware), ``metrics.json``, ``history.csv``, ``predictions.npz``, ``figures/``,
``tables/`` and ``notebook.ipynb`` as executed. A notebook writes it with ``run = start(...)``,
``run.save_*(...)``, ``run.finish()``; ``execute`` runs a notebook strictly with papermill, or
plainly without Jupyter; ``reproduce`` runs a profile's pipeline, in pieces if need be; ``find``
reads a run back; ``pack`` and ``keep`` take runs from one machine to another; ``runs/RUNLOG.md`` is
written anew from the folders at every end.

A run is alive exactly while a process holds the lock on its ``.lock``: the system drops the lock
on any death, so a run that says "running" and whose lock is free is shown as crashed.
"""

from modsnr.runs.execution import execute, prune
from modsnr.runs.keeping import Kept, keep
from modsnr.runs.log import write_runlog
from modsnr.runs.needs import need_frames
from modsnr.runs.overview import OVERVIEW, Survey, moment, overview, select, survey
from modsnr.runs.packing import Packed, pack
from modsnr.runs.page import aligned, leaves, page, shown
from modsnr.runs.parameters import (
    ChangesNoResult,
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
from modsnr.runs.pipeline import NotCompletedError, OutOfTimeError, of_step, reproduce
from modsnr.runs.profiles import Profile, Step, load_profile, read_yaml
from modsnr.runs.records import (
    CHECKPOINT,
    Record,
    Status,
    SweepRow,
    find,
    is_held,
    measured,
    records,
    repeated,
)
from modsnr.runs.repository import root, store
from modsnr.runs.under_way import Run, start

__all__ = [
    "CHECKPOINT",
    "OVERVIEW",
    "ChangesNoResult",
    "FrameStore",
    "Kept",
    "NotCompletedError",
    "OutOfTimeError",
    "Packed",
    "PositiveShare",
    "PositiveShareBelowOne",
    "Profile",
    "Record",
    "Run",
    "RunOf",
    "Share",
    "ShareBelowOne",
    "Status",
    "Step",
    "Survey",
    "SweepRow",
    "aligned",
    "check",
    "counting",
    "execute",
    "find",
    "is_held",
    "keep",
    "leaves",
    "load_profile",
    "measured",
    "moment",
    "need_frames",
    "of_step",
    "overview",
    "pack",
    "page",
    "parameters",
    "parse_text",
    "prune",
    "read_yaml",
    "records",
    "repeated",
    "reproduce",
    "root",
    "select",
    "shown",
    "start",
    "store",
    "survey",
    "write_runlog",
]
