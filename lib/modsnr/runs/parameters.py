"""The typed parameters that a notebook declares in its cell tagged ``parameters``.

The cell holds imports of types and literals with annotations, and nothing else of it is executed.
Its annotations and values become a pydantic model, which checks what a notebook is given.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
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
class RunOf:
    """Mark of a parameter that names completed runs of ``notebook``, or none where it is empty.

    The notebook reads these runs' ``weights``, or the ``frames`` that they worked on, too.
    ``profile`` is "own" for runs of the same profile, "any", or the parameter that has the profile.
    """

    notebook: str
    weights: bool = False
    frames: bool = False
    profile: str = "own"


TYPES_FROM = ("typing", "pydantic", "modsnr.runs")
BUILTINS = {kind.__name__: kind for kind in (int, float, str, bool, list, dict, tuple, __import__)}
CALLED = ("Field", "FrameStore", "RunOf")
IN_TYPES = (
    *(ast.Name, ast.Constant, ast.Subscript, ast.Tuple, ast.BinOp, ast.BitOr, ast.Load),
    *(ast.Call, ast.keyword, ast.UnaryOp, ast.USub),
)
# JSON is what a run keeps of its parameters, hence what they are checked as: lists and tuples
# are alike, numbers are finite. Strict: an int passes for a float, nothing else for another.
STRICT = ConfigDict(strict=True, allow_inf_nan=False, protected_namespaces=())
UNCOUNTED = ("name", "note")  # of every notebook: they are what a run is called
WORDS = {"true": True, "false": False, "none": None, "null": None}


def parameters(notebook: str) -> dict[str, FieldInfo]:
    """Return what the notebook's parameters cell declares: name -> field, with its default.

    Raises InputError naming notebook and line where a line is no literal of a plain type.
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
    tagged = [c for c in cells if "parameters" in c.get("metadata", {}).get("tags", [])]
    if len(tagged) != 1:
        raise InputError(f"{path.stem} has {len(tagged)} cells tagged 'parameters', not one")
    return _built(path.stem, "".join(tagged[0]["source"]))


@lru_cache(maxsize=64)
def _built(notebook: str, source: str) -> type[BaseModel]:
    """Return the model of a parameters cell; InputError for what is no literal of a plain type."""
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise InputError(f"{notebook}, parameters, line {error.lineno}: {error.msg}") from error
    scope: dict[str, Any] = {"__builtins__": BUILTINS}
    fields: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for line in statements:
        where = f"{notebook}, parameters, line {line.lineno}: {ast.unparse(line)!r}"
        try:
            found: dict[str, Any] = _declared(line, scope)
            defaults = {name: default for name, (_, default) in found.items()}
            model = create_model(notebook, __config__=STRICT, **found)
            model.model_validate_json(json.dumps(defaults))
        except ValidationError as error:
            raise InputError(f"{where}: {_complaint(error, defaults)}") from error
        except (ValueError, TypeError, NameError, ImportError, PydanticUserError) as error:
            raise InputError(
                f"{where} is not a plain literal of a plain type, such as 'epochs: int = 10'"
            ) from error
        fields |= found
    return create_model(notebook, __config__=STRICT, **fields)


def _declared(line: ast.stmt, scope: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return name -> type and default of one line of the cell; a name for a type goes to ``scope``.

    Raises ValueError for what is no literal, no plain type and no import of types.
    """
    match line:
        case ast.ImportFrom(module=module, level=0) if module in TYPES_FROM:
            exec(compile(ast.Module([line], []), "parameters", "exec"), scope)
            return {}
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript() as node):
            scope[name] = _type(node, scope)
            return {}
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            default = ast.literal_eval(value)
            return {name: (type(default), default)}
        case ast.AnnAssign(target=ast.Name(id=name), annotation=node, value=ast.expr() as value):
            return {name: (_type(node, scope), ast.literal_eval(value))}
    raise ValueError("no literal assignment")


def _type(node: ast.expr, scope: dict[str, Any]) -> Any:
    """Return the type that an annotation spells; ValueError if it could do anything else."""
    for part in ast.walk(node):
        called = isinstance(part, ast.Call)
        if not isinstance(part, IN_TYPES) or (called and ast.unparse(part.func) not in CALLED):
            raise ValueError(f"{ast.unparse(part)} is no part of a type")
    return eval(compile(ast.Expression(node), "parameters", "eval"), scope)


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
