"""Profiles: named values of the notebooks' parameters, and pipelines of runs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from modsnr import InputError
from modsnr.files import check_name
from modsnr.runs.parameters import PlainYaml, check
from modsnr.runs.repository import notebook_path, root


class Step(BaseModel, extra="forbid"):
    """One run of a profile's pipeline."""

    notebook: str
    name: str = "run"
    parameters: dict[str, Any] = {}


class Profile(BaseModel, extra="forbid"):
    """Named values of the notebooks' parameters, and the runs that ``reproduce`` makes of them.

    A pipeline that is a ``sweep`` ends with its trainings as rows of ``runs/sweeps/<sweep>.csv``;
    the folders of those remain whose names fit a pattern of ``keep``.
    """

    description: str
    sweep: str = ""
    keep: list[str] = []
    notebooks: dict[str, dict[str, Any]] = {}
    pipeline: list[Step] = []


def load_profile(name: str) -> Profile:
    """Return ``notebooks/profiles/<name>.yaml``, its values checked by their notebooks.

    Raises InputError for an unknown profile, key, notebook or parameter and an ill-typed value.
    """
    folder = root() / "notebooks" / "profiles"
    check_name("profile", name, sorted(path.stem for path in folder.glob("*.yaml")))
    try:
        profile = Profile.model_validate(read_yaml(folder / f"{name}.yaml"))
        for notebook, values in profile.notebooks.items():
            check(notebook, values)
        for step in profile.pipeline:
            values = profile.notebooks.get(step.notebook, {}) | step.parameters
            check(step.notebook, values | {"name": step.name})
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"profile {name}: {'; '.join(wrong)}") from error
    except InputError as error:
        raise InputError(f"profile {name}: {' '.join(str(error).split())}") from error
    return profile


def preset(profile: str | None, notebook: str) -> dict[str, Any]:
    """Return what a profile, if any, sets of a notebook's parameters."""
    return load_profile(profile).notebooks.get(notebook, {}) if profile else {}


def command(notebook: str, values: Mapping[str, Any], profile: str | None) -> str:
    """Return the command line that runs a notebook with these parameters."""
    usual = check(notebook, preset(profile, notebook))
    words = ["modsnr", "run", notebook, *(["--profile", profile] if profile else [])]
    for name, value in values.items():
        if value != usual[name]:
            option = [f"--{name}"] if name in ("name", "note") else ["-p", name]
            words += [*option, value if isinstance(value, str) else json.dumps(value)]
    return shlex.join(words)


def making_command(notebook: str, parameter: str, value: str, profile: str | None) -> str:
    """Return the command line by which ``notebook`` runs with ``value`` for one parameter.

    That is as a step of the profile has it, or the profile itself, if one of them does.
    """
    steps = load_profile(profile).pipeline if profile else []
    own = [step.parameters for step in steps if notebook_path(step.notebook).stem == notebook]
    for given in ({}, *own):
        values = check(notebook, preset(profile, notebook) | given)
        if values.get(parameter) == value:
            return command(notebook, values, profile)
    return f"modsnr run {notebook} -p {parameter} {value}"


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds, 1e-3 as a number; InputError where it is no YAML."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), PlainYaml)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(" ".join(str(error).split())) from error
