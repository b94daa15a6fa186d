"""A profile's pipeline, run in order; what was done before is kept where that is wanted.

A run belongs to a step if notebook, profile, name, counting parameters and code are the step's and
it began after the run of the step before.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from modsnr import InputError
from modsnr.runs import sweep_tables
from modsnr.runs.execution import execute
from modsnr.runs.formatting import measured
from modsnr.runs.parameters import check, counting, parameters
from modsnr.runs.profiles import Profile, Step, load_profile, preset
from modsnr.runs.records import CHECKPOINT, Record, records
from modsnr.runs.repository import commit, portable, same_code

TRAINING = "02_training"  # whose runs become rows where a profile is a sweep


class NotCompletedError(RuntimeError):
    """A step of a pipeline did not complete; the message says which, how, and where to look."""


def reproduce(
    profile: str, *, resume: bool = False, echo: Callable[[str], object] | None = None
) -> list[Record]:
    """Run the profile's pipeline in order and return its runs; ``echo`` gets a line a step.

    ``resume`` keeps the steps that are done already and goes on with a training that was cut off,
    from its checkpoint.

    Raises NotCompletedError at the first run that is not completed, and InputError while a step of
    this pipeline runs elsewhere.
    """
    steps = load_profile(profile).pipeline
    if not steps:
        raise InputError(f"profile {profile} has no pipeline")
    done: list[Record] = []
    for number, step in enumerate(steps, 1):
        which = f"step {number} of {len(steps)}: {step.notebook} ({step.name})"
        earlier = _attempts(profile, step, done[-1].started if done else "") if resume else []
        record = next((run for run in earlier if run.status == "completed"), None)
        if record is None:
            given = step.parameters | _checkpoint(step, earlier)
            record = execute(
                step.notebook, profile=profile, parameters=given, name=step.name, echo=echo
            )
            line = f"{which} {record.status}, {record.wall_seconds} s"
        else:
            line = f"{which} kept, run {record.id}"
        accuracy = measured(record.metrics.get("joint_accuracy"))
        if echo:
            echo(f"{line}, joint accuracy {accuracy}\n" if accuracy else f"{line}\n")
        if record.status != "completed":
            raise NotCompletedError(f"{line}: {record.error}; see runs/{record.id}/notebook.ipynb")
        done.append(record)
    return _folded(load_profile(profile), done)


def _folded(profile: Profile, done: list[Record]) -> list[Record]:
    """Make rows of the trainings of a profile that is a sweep; return the runs as they then are."""
    if not profile.sweep:
        return done
    trainings = [run for run in done if run.notebook == TRAINING and not run.sweep_table]
    for run in trainings:
        kept = any(fnmatchcase(run.name, pattern) for pattern in profile.keep)
        sweep_tables.add(profile.sweep, [run], remove=not kept)
    known = {run.id: run for run in records()}
    return [known[run.id] for run in done]


def _attempts(profile: str, step: Step, after: str) -> list[Record]:
    """Return the runs of a step, newest first; InputError if one is running."""
    values = check(step.notebook, preset(profile, step.notebook) | step.parameters)
    values = json.loads(portable(json.dumps(values)))  # as a record has them
    wanted = counting(step.notebook, values)
    now = commit()
    found = [
        run
        for run in records()
        if (run.notebook, run.profile, run.name) == (step.notebook, profile, step.name)
        and run.started >= after
        and counting(step.notebook, run.parameters) == wanted
        and run.parameters.get("frames") == values.get("frames")
        and same_code(run.git, now)
    ]
    if running := [run.id for run in found if run.status == "running"]:
        raise InputError(f"run {running[0]} of this pipeline is running: wait for its end")
    return found


def _checkpoint(step: Step, earlier: list[Record]) -> dict[str, Any]:
    """Return the parameter by which a step goes on from the newest checkpoint, if there is one."""
    if "resume" not in parameters(step.notebook):
        return {}
    cut_off = ("interrupted", "crashed", "failed")
    left = [r for r in earlier if r.status in cut_off and (r.folder / CHECKPOINT).exists()]
    return {"resume": left[0].id} if left else {}
