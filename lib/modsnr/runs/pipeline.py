"""A profile's pipeline, in one go or in pieces that each go on where the last one stopped.

What was done is read from the runs themselves. A run is a step's if notebook, profile, name,
parameters and code are the step's and it began after the run of the step before. The code is the
same if commit and dirty flag are, or if no file of it differs between two clean commits.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from typing import Any

from modsnr import InputError
from modsnr.runs.execution import execute
from modsnr.runs.parameters import check, counting, parameters
from modsnr.runs.profiles import Step, load_profile, preset
from modsnr.runs.records import CHECKPOINT, Record, measured, records
from modsnr.runs.repository import commit, portable, same_code

GOES_ON_BY_ITSELF = ("01_preprocessing",)  # from a journal beside the frame store


class NotCompletedError(RuntimeError):
    """A step of a pipeline did not complete; the message says which, how, and where to look."""


class OutOfTimeError(RuntimeError):
    """The time of a piece is over; the message says how far the pipeline is."""


def reproduce(
    profile: str,
    *,
    plain: bool = False,
    resume: bool = False,
    minutes: float = 0.0,
    echo: Callable[[str], object] | None = None,
    after: Callable[[Record], object] | None = None,
) -> list[Record]:
    """Run the profile's pipeline in order and return its runs; ``echo`` gets a line a step, and
    ``after`` each run that has ended, however it ended, before anything else is begun.

    ``resume`` keeps the steps that are done already and goes on with a training that was cut off,
    from its checkpoint. ``minutes``, if not 0, does so and stops in good order after so many: a
    training is told a tenth of them earlier (a parameter ``minutes`` that 02 declares), no step is
    begun in that tenth, and a notebook that is not done by then is interrupted. One that cannot be
    cut is not begun in less time than it had when it was.

    Raises OutOfTimeError when the time is over, NotCompletedError at the first run that is not
    completed, and InputError while a step of this pipeline runs elsewhere.
    """
    steps = load_profile(profile).pipeline
    if not steps:
        raise InputError(f"profile {profile} has no pipeline")
    if not (math.isfinite(minutes) and minutes >= 0):
        raise InputError(f"minutes must be 0 (no limit) or more; they are {minutes}")
    limit = 60 * minutes or math.inf
    until = time.monotonic() + limit
    done: list[Record] = []
    for number, step in enumerate(steps, 1):
        which = f"step {number} of {len(steps)}: {step.notebook} ({step.name})"
        record = None
        given = dict(step.parameters)
        if resume or minutes:
            earlier = _attempts(profile, step, done[-1].started if done else "")
            record = next((run for run in earlier if run.status == "completed"), None)
            given |= _to_go_on(step, earlier)
        if record is None:
            if minutes:
                left = until - time.monotonic()
                _enough(left, limit, which, step, earlier)
                given |= _told_earlier(step, left - limit / 10)
            record = execute(
                step.notebook,
                profile=profile,
                parameters=given,
                name=step.name,
                plain=plain,
                seconds=max(until - time.monotonic(), 1.0) if minutes else None,
                echo=echo,
            )
            if after:
                after(record)
            if minutes and record.status == "interrupted":
                raise OutOfTimeError(f"the time is over in {which}")
            line = f"{which} {record.status}, {record.wall_seconds} s"
        else:
            line = f"{which} kept, run {record.id}"
        accuracy = measured(record.metrics.get("joint_accuracy"))
        if echo:
            echo(f"{line}, joint accuracy {accuracy}\n" if accuracy else f"{line}\n")
        if record.status != "completed":
            where = "output.txt" if plain else "notebook.ipynb"
            raise NotCompletedError(f"{line}: {record.error}; see runs/{record.id}/{where}")
        done.append(record)
    return done


def of_step(profile: str, step: Step, among: Iterable[Record]) -> list[Record]:
    """Return the runs among these that have notebook, profile, name and parameters of the step.

    Parameters that say how a run is cut or called are not compared, nor is the code.
    """
    values = check(step.notebook, preset(profile, step.notebook) | step.parameters)
    wanted = counting(step.notebook, json.loads(portable(json.dumps(values))))
    return [
        run
        for run in among
        if (run.notebook, run.profile, run.name) == (step.notebook, profile, step.name)
        and counting(step.notebook, run.parameters) == wanted
        and run.parameters.get("frames") == values.get("frames")
    ]


def _attempts(profile: str, step: Step, after: str) -> list[Record]:
    """Return the runs of a step, newest first; InputError if one is running."""
    named = of_step(profile, step, (run for run in records() if run.started >= after))
    now = commit() if named else None
    found = [run for run in named if same_code(run.git, now)]
    if running := [run.id for run in found if run.status == "running"]:
        raise InputError(f"run {running[0]} of this pipeline is running: wait for its end")
    return found


def _to_go_on(step: Step, earlier: list[Record]) -> dict[str, Any]:
    """Return the parameter by which a step goes on from the newest checkpoint, if there is one."""
    if "resume" not in parameters(step.notebook):
        return {}
    cut = ("interrupted", "crashed", "failed")
    left = [r for r in earlier if r.status in cut and (r.folder / CHECKPOINT).exists()]
    return {"resume": left[0].id} if left else {}


def _told_earlier(step: Step, seconds: float) -> dict[str, Any]:
    """Return the parameter by which a training that knows of time is told how much it has."""
    if "minutes" not in parameters(step.notebook):
        return {}
    return {"minutes": max(round(seconds / 60, 3), 0.001)}  # 0 is no limit


def _enough(left: float, limit: float, which: str, step: Step, earlier: list[Record]) -> None:
    """Raise unless the seconds ``left`` are enough to begin the step."""
    usable = left - limit / 10
    if usable <= 0:
        raise OutOfTimeError(f"the time is over before {which}")
    if step.notebook in GOES_ON_BY_ITSELF or "resume" in parameters(step.notebook):
        return
    had = max((r.wall_seconds or 0 for r in earlier if r.status == "interrupted"), default=0)
    if had <= usable:
        return
    if had > limit * 0.9:
        raise NotCompletedError(
            f"{which} cannot be cut and was not done after {had:.0f} s: give it more --minutes"
        )
    raise OutOfTimeError(f"{left:.0f} s are left, too little for {which}")
