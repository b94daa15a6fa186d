"""The typed parameters that a notebook declares in its cell tagged ``parameters``.

Those that are rarely changed may stand in a cell tagged ``more-parameters`` above it. The cells are
run in a scope of their own. Their annotations and values become a pydantic model, which checks what
a notebook is given.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from modsnr import InputError
from modsnr.files import check_name, did_you_mean
from modsnr.runs.repository import notebook_path, plain_name

# Types of parameters, beside Python's own and pydantic's PositiveInt and its like.
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
PositiveShareBelowOne = Annotated[float, Field(gt=0, lt=1)]


class ChangesNoResult:
    """Mark of a parameter that only decides how a run is carried out: ``Annotated[int, ...]``."""


@dataclass(frozen=True)
class FrameStore:
    """Mark of a parameter that names a frame store, written by runs of ``made_by``."""

    made_by: str


@dataclass(frozen=True)
class ExistingFile:
    """Mark of a parameter that is the path of a file or folder, or one of the words ``but``."""

    but: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class RunOf:
    """Mark of a parameter that names completed runs of ``notebook``, or none where it is empty.

    The notebook reads these runs' ``weights``, or the ``frames`` that they worked on, too.
    ``profile`` is "own" for runs of the same profile, "any", or the parameter that has the profile.
    """

    notebook: str
    weights: bool = False
    frames: bool = False
    profile: str = "own"


LITERALS = (int, float, str, list, tuple, dict, type(None))
# JSON is what a run keeps of its parameters, hence what they are checked as: lists and tuples
# are alike, numbers are finite. Strict: an int passes for a float, nothing else for another.
STRICT = ConfigDict(strict=True, allow_inf_nan=False, protected_namespaces=())
UNCOUNTED = ("name", "note")  # of every notebook: they are what a run is called
WORDS = {"true": True, "false": False, "none": None, "null": None}


def parameters(notebook: str) -> dict[str, FieldInfo]:
    """Return what the notebook's parameters cell declares: name -> field, with its default.

    Raises InputError, which names the notebook, for a cell that cannot be run and for a default
    that is no JSON or not of its type.
    """
    return dict(_model(notebook).model_fields)


def check(notebook: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the notebook's full set of parameters: ``values``, typed, over the defaults.

    Raises InputError for an unknown name (with the nearest one) and for an ill-typed value.
    """
    stem, model = notebook_path(notebook).stem, _model(notebook)
    for name in values:
        check_name("parameter", name, model.model_fields, of=f" of {stem}")
    try:
        typed = model.model_validate_json(json.dumps(dict(values))).model_dump()
    except ValidationError as error:
        raise InputError(f"parameter {_complaint(error, values, f' of {stem}')}") from error
    except TypeError as error:
        raise InputError(f"a parameter of {stem} is no JSON: {error}") from error
    plain_name(typed.get("name", "run"), "a run's name")
    return typed


def parse_text(notebook: str, name: str, text: str) -> Any:
    """Return a command line's ``text`` in the type that the notebook declares for ``name``.

    It may be JSON, none, a number, the text itself, or a list with commas; the first of these that
    the type accepts counts.
    """
    readings: list[Any] = [_value(text), text]
    if not text.startswith(("[", "{")):
        parts = [part.strip() for part in text.split(",")]
        readings += [parts, [_value(part) for part in parts]]
    refusals = []
    for reading in readings:
        try:
            return check(notebook, {name: reading})[name]
        except InputError as error:
            refusals.append(error)
    raise refusals[0]


def _value(text: str) -> Any:
    """Return the JSON, none or number that ``text`` spells, else the text."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    for read in (json.loads, float):
        with suppress(ValueError):
            value = read(text)
            return text if isinstance(value, str) else value
    return text


def counting(notebook: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those parameters of a run that decide its results: declared ones, over the defaults.

    Left out are its name and note, those marked ``ChangesNoResult``, and the names of frame stores,
    since a run records the hash of its frames. Two runs on the same frames, of which this is the
    same, differ by chance and code only.
    """
    return {
        name: values.get(name, field.default)
        for name, field in parameters(notebook).items()
        if name not in UNCOUNTED
        and ChangesNoResult not in marks(field)
        and not any(isinstance(mark, FrameStore) for mark in marks(field))
    }


def marks(field: FieldInfo) -> list[Any]:
    """Return the marks of a parameter's type, and of its elements where it is a list."""
    inner = (getattr(one, "__metadata__", ()) for one in get_args(field.annotation))
    return [*field.metadata, *(mark for metadata in inner for mark in metadata)]


def _model(notebook: str) -> type[BaseModel]:
    path = notebook_path(notebook)
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    tags = {tag: [] for tag in ("more-parameters", "parameters")}
    for cell in cells:
        for tag in tags.keys() & cell.get("metadata", {}).get("tags", []):
            tags[tag].append("".join(cell["source"]))
    if len(tags["parameters"]) != 1:
        count = len(tags["parameters"])
        raise InputError(f"{path.stem} has {count} cells tagged 'parameters', not one")
    return _built(path.stem, "\n".join(source for cells in tags.values() for source in cells))


@lru_cache(maxsize=64)
def _built(notebook: str, source: str) -> type[BaseModel]:
    """Return the model of a parameters cell; InputError for a cell that makes none."""
    cell, found = ModuleType("parameters"), {}
    try:
        exec(compile(source, f"parameters of {notebook}", "exec", dont_inherit=True), vars(cell))
        kinds = inspect.get_annotations(cell)
        found = {
            name: value
            for name, value in vars(cell).items()
            if isinstance(value, LITERALS) and not name.startswith("__")
        }
        fields: dict[str, Any] = {n: (kinds.get(n, type(v)), v) for n, v in found.items()}
        model = create_model(notebook, __config__=STRICT, **fields)
        model.model_validate_json(json.dumps(found))
    except ValidationError as error:
        raise InputError(f"parameters of {notebook}: {_complaint(error, found)}") from error
    except Exception as error:  # whatever a cell may raise
        raise InputError(f"parameters of {notebook}: {type(error).__name__}: {error}") from error
    if unset := kinds.keys() - found.keys():
        raise InputError(
            f"parameters of {notebook}: {', '.join(sorted(unset))} must be set to a number, a "
            "text, a list, a dict or None, such as 'epochs: int = 10'"
        )
    return model


def _complaint(error: ValidationError, values: Mapping[str, Any], of: str = "") -> str:
    """Return the first refused parameter, its value, what it takes, and the nearest choice."""
    name = str(error.errors()[0]["loc"][0])
    wrong = [one for one in error.errors() if one["loc"][0] == name]
    expected = " or ".join(dict.fromkeys(one["msg"][0].lower() + one["msg"][1:] for one in wrong))
    choices = re.findall(
        r"'([^']+)'", " ".join(one.get("ctx", {}).get("expected", "") for one in wrong)
    )
    hint = did_you_mean(wrong[0]["input"], choices)
    given = f"given {values[name]!r} ({type(values[name]).__name__})"
    return f"{name}{of}: {given}, {expected}" + (f"; {hint}" if hint else "")
