"""Profiles: named values of the notebooks' parameters, and pipelines of runs."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from modsnr import InputError
from modsnr.files import check_name
from modsnr.runs.parameters import check
from modsnr.runs.repository import root


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
    profile = read_yaml(folder / f"{name}.yaml", Profile, f"profile {name}")
    try:
        for notebook, values in profile.notebooks.items():
            check(notebook, values)
        for step in profile.pipeline:
            values = profile.notebooks.get(step.notebook, {}) | step.parameters
            check(step.notebook, values | {"name": step.name})
    except InputError as error:
        raise InputError(f"profile {name}: {error}") from error
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


class Yaml(yaml.CSafeLoader):  # which is ten times as fast as the one in Python
    """YAML in which 1e-3 is a number, and no key is given twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping's content; YAMLError for a key that is given twice."""
        keys = [key.value for key, _ in node.value]
        if twice := {str(key) for key in keys if keys.count(key) > 1}:
            raise yaml.MarkedYAMLError(problem=f"{', '.join(sorted(twice))} is given twice")
        return super().construct_mapping(node, deep)


Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9.]+[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


def read_yaml(path: Path, kind: Any, what: str) -> Any:
    """Return the content of a YAML file, of a type that pydantic knows.

    Raises InputError, which begins with ``what``, where it is no YAML or of another type.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Yaml)
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"{what}: {'; '.join(wrong)}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{what}: {' '.join(str(error).split())}") from error
