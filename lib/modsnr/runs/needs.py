"""What must be there before a notebook starts: the frame stores, runs and files that it reads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from modsnr import InputError
from modsnr.files import did_you_mean
from modsnr.runs.parameters import ExistingFile, FrameStore, RunOf, check, marks, parameters
from modsnr.runs.profiles import command, load_profile, preset
from modsnr.runs.records import find
from modsnr.runs.repository import callers_path, notebook_path, root, store


def need(notebook: str, values: Mapping[str, Any], profile: str | None) -> None:
    """Raise InputError where what a notebook reads is missing; ``values`` are its parameters.

    ``profile`` is that of the run which is about to start.
    """
    for name, mark in _marked(notebook, ExistingFile):
        path = callers_path(values[name])
        if values[name] not in mark.but and not path.exists():
            near = did_you_mean(path.name, [p.name for p in path.parent.glob("*")])
            hint = f"; {near}" if near else ""
            raise InputError(f"{name}: there is no file or folder {values[name]!r}{hint}.")
    need_frames(notebook, values, profile)
    need_runs(notebook, values, profile)


def need_frames(notebook: str, values: Mapping[str, Any], profile: str | None = None) -> None:
    """Raise InputError where a notebook is to read a frame store that is not made yet.

    ``values`` are its parameters. The message names the nearest of the stores that there are, and
    the command that makes the missing one.
    """
    for name, mark in _marked(notebook, FrameStore):
        wanted = values.get(name)
        if mark.made_by == notebook_path(notebook).stem or not isinstance(wanted, str):
            continue
        path = store(wanted)
        if not path.exists():
            known = [found.parent.name for found in path.parents[1].glob("*/frames.h5")]
            hint = f" ({near})" if (near := did_you_mean(wanted, known)) else ""
            raise InputError(
                f"there is no frame store at {os.path.relpath(path, root())}{hint}: make it first, "
                f"by `{_making(mark.made_by, name, wanted, profile)}`"
            )


def need_runs(notebook: str, values: Mapping[str, Any], profile: str | None) -> None:
    """Raise InputError where a run that a parameter names is missing, or lacks what is read.

    ``profile`` is that of the run which is about to start.
    """
    for name, mark in _marked(notebook, RunOf):
        known = {"own": profile, "any": None}
        its_profile = known[mark.profile] if mark.profile in known else values[mark.profile] or None
        references = values[name] or []
        for reference in [references] if isinstance(references, str) else references:
            run = find(reference, notebook=mark.notebook, profile=its_profile)
            if mark.weights:
                _ = run.weights
            if mark.frames:
                need_frames(run.notebook, run.parameters, run.profile)


def _marked(notebook: str, kind: type) -> Iterator[tuple[str, Any]]:
    for name, field in parameters(notebook).items():
        for mark in marks(field):
            if isinstance(mark, kind):
                yield name, mark


def _making(notebook: str, parameter: str, value: str, profile: str | None) -> str:
    """Return the command that runs ``notebook`` with a value, with the profile if that has it."""
    steps = load_profile(profile).pipeline if profile else []
    own = [step.parameters for step in steps if notebook_path(step.notebook).stem == notebook]
    for given in ({}, *own):
        values = check(notebook, preset(profile, notebook) | given)
        if values.get(parameter) == value:
            return command(notebook, values, profile)
    return f"modsnr run {notebook} -p {parameter} {value}"
