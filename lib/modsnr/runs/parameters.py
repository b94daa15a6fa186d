"""What a notebook may be told: typed parameters, and profiles of them."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import tokenize
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)

from modsnr import InputError

# Of a notebook's parameters, beside pydantic's PositiveInt and its like.
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
PositiveShareBelowOne = Annotated[float, Field(gt=0, lt=1)]
NAME = re.compile(r"[A-Za-z0-9._-]+")


def root() -> Path:
    """Return the repository's folder, or that which ``MODSNR_ROOT`` names."""
    return Path(os.environ.get("MODSNR_ROOT") or Path(__file__).parents[3]).resolve()


def git(*words: str) -> list[str]:
    """Return the command line that asks git of the repository, whoever its files belong to."""
    return ["git", "--no-optional-locks", "-c", "safe.directory=*", "-C", str(root()), *words]


def store(name: str) -> Path:
    """Return where the frame store called ``name`` is, or will be: ``data/<name>/frames.h5``."""
    if not NAME.fullmatch(name):
        raise InputError(f"a frame store's name has letters, digits, '.', '_', '-' only: {name!r}")
    return root() / "data" / name / "frames.h5"


TYPES: dict[str, Any] = {
    **{kind.__name__: kind for kind in (int, float, str, bool, list, dict, tuple)},
    **{"Literal": Literal, "Optional": Optional},
    **{"PositiveInt": PositiveInt, "NonNegativeInt": NonNegativeInt},
    **{"PositiveFloat": PositiveFloat, "NonNegativeFloat": NonNegativeFloat},
    **{"Share": Share, "PositiveShare": PositiveShare},
    **{"ShareBelowOne": ShareBelowOne, "PositiveShareBelowOne": PositiveShareBelowOne},
}
MEANINGS = {  # of the names in an annotation, for who has met none of them
    "PositiveInt": "a whole number above 0",
    "NonNegativeInt": "a whole number, 0 or more",
    "PositiveFloat": "a number above 0",
    "NonNegativeFloat": "a number, 0 or more",
    "Share": "a number from 0 to 1",
    "PositiveShare": "a number above 0, up to 1",
    "ShareBelowOne": "a number from 0 on, below 1",
    "PositiveShareBelowOne": "a number above 0 and below 1",
}
TYPES_FROM = ("typing", "pydantic", "modsnr.runs")
# JSON is what a run keeps of its parameters, hence what they are checked as: lists and tuples
# are alike, numbers are finite. Strict: an int passes for a float, nothing else for another.
STRICT = ConfigDict(strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Parameter:
    """One line of a notebook's parameters cell: a typed literal and its comment."""

    notebook: str
    name: str
    annotation: str
    default: Any
    comment: str
    adapter: TypeAdapter[Any] = field(repr=False, compare=False)

    def cast(self, value: Any) -> Any:
        """Return ``value`` in the declared type; InputError says what was given and expected."""
        try:
            typed = self.adapter.validate_json(json.dumps(value))
        except (TypeError, ValueError):
            typed = NotImplemented
        # Literal[1, 2] would take True for 1.
        if typed is NotImplemented or (isinstance(value, bool) and typed is not value):
            given = f"given {value!r} ({type(value).__name__}), expected {self.annotation}"
            hint = _hint(self.annotation, value)
            raise InputError(f"parameter {self.name} of {self.notebook}: {given}{hint}")
        return typed

    def parse(self, text: str) -> Any:
        """Return the first reading of a command line's ``text`` that the declared type accepts."""
        refusals = []
        for reading in _readings(text):
            try:
                return self.cast(reading)
            except InputError as error:
                refusals.append(error)
        raise refusals[0]


def parameters(notebook: str) -> dict[str, Parameter]:
    """Return what the notebook's cell tagged ``parameters`` declares; nothing is executed.

    Raises InputError naming notebook and line where a line is no literal assignment.
    """
    path = _notebook(notebook)
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    tagged = [c for c in cells if "parameters" in c.get("metadata", {}).get("tags", [])]
    if len(tagged) != 1:
        raise InputError(f"{path.stem} has {len(tagged)} cells tagged 'parameters', not one")
    source = "".join(tagged[0]["source"])
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise InputError(f"{path.stem}, parameters, line {error.lineno}: {error.msg}") from error
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    found = [
        _parameter(path.stem, line, comments.get(line.end_lineno or 0, ""))
        for line in statements
        # Literal and PositiveInt have to come from somewhere.
        if not (isinstance(line, ast.ImportFrom) and line.module in TYPES_FROM)
    ]
    return {parameter.name: parameter for parameter in found}


def check(notebook: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the notebook's full set of parameters: ``values``, typed, over the defaults.

    Raises InputError for an unknown name (with the nearest one) and for an ill-typed value.
    """
    declared = parameters(notebook)
    for name in values:
        _known("parameter", name, declared, of=f" of {_notebook(notebook).stem}")
    typed = {name: p.cast(values.get(name, p.default)) for name, p in declared.items()}
    if not NAME.fullmatch(typed.get("name", "run")):
        raise InputError(f"a run's name has letters, digits, '.', '_', '-' only: {typed['name']!r}")
    return typed


def parse_text(notebook: str, name: str, text: str) -> Any:
    """Return a command line's ``text`` in the type that the notebook declares for ``name``."""
    declared = parameters(notebook)
    _known("parameter", name, declared, of=f" of {_notebook(notebook).stem}")
    return declared[name].parse(text)


def _notebook(name: str) -> Path:
    """Return the path of the notebook called ``name``, with or without folder and ending."""
    stem = Path(name).name.removesuffix(".ipynb")
    found = {path.stem: path for path in sorted((root() / "notebooks").glob("*.ipynb"))}
    numbered = [known for known in found if known.startswith(f"{stem}_")]  # 02 is 02_training
    if stem not in found and len(numbered) == 1:
        return found[numbered[0]]
    _known("notebook", stem, found)
    return found[stem]


def _known(kind: str, name: str, known: Iterable[str], of: str = "") -> None:
    """Raise InputError, naming the nearest and all, unless ``name`` is among the ``known``."""
    names = list(dict.fromkeys(known))
    if name in names:
        return
    nearest = get_close_matches(name, names, n=1, cutoff=0.5)
    shown = ", ".join(names[:40]) + ", ..." * (len(names) > 40)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ";"
    raise InputError(f"no {kind}{of} is called {name!r}{hint} known: {shown or 'none'}")


def _parameter(notebook: str, line: ast.stmt, comment: str) -> Parameter:
    """Return the parameter that one statement of the parameters cell declares."""
    where = f"{notebook}, parameters, line {line.lineno}: {ast.unparse(line)!r}"
    match line:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=node, value=ast.expr() as value):
            annotation = ast.unparse(node)
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            node = annotation = None
        case _:
            raise InputError(f"{where} is no literal assignment such as 'epochs: int = 10'")
    try:
        default = ast.literal_eval(value)
        declared = _type(node) if node else type(default)
    except (ValueError, TypeError) as error:
        raise InputError(f"{where} is not a plain literal of a plain type") from error
    adapter = TypeAdapter(declared, config=STRICT)
    kind = annotation or type(default).__name__
    parameter = Parameter(notebook, name, kind, default, comment, adapter)
    try:
        parameter.cast(default)
    except InputError as error:
        raise InputError(f"{where}: the default is not of the declared type") from error
    return parameter


def _hint(annotation: str, value: Any) -> str:
    """Return what the names in an annotation mean, and the choice that is nearest to ``value``."""
    hints = [
        f"{name} is {told}" for name, told in MEANINGS.items() if re.search(rf"\b{name}\b", annotation)
    ]
    choices = re.findall(r"'([^']+)'", annotation)
    for word in value if isinstance(value, list) else [value]:
        if isinstance(word, str) and word not in choices:
            hints += [f"did you mean {near!r}?" for near in get_close_matches(word, choices, n=1)]
    return f"; {'; '.join(hints)}" if hints else ""


def _type(node: ast.expr) -> Any:
    """Return the type that an annotation spells out of the few of ``TYPES``; else ValueError."""
    match node:
        case ast.Name(id=name) if name in TYPES:
            return TYPES[name]
        case ast.Constant(value=value) if value in (None, ...):
            return value
        case ast.Tuple(elts=inner):
            return tuple(_type(one) for one in inner)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _type(left) | _type(right)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            return TYPES["Literal"][ast.literal_eval(choices)]
        case ast.Subscript(value=base, slice=inner):
            return _type(base)[_type(inner)]
    raise ValueError(f"{ast.unparse(node)} is not a type that a parameter may have")


WORDS = {"true": True, "false": False, "null": None, "none": None}


def _readings(text: str) -> Iterator[Any]:
    """Yield what ``text`` may mean, text itself after what YAML would say; none of it is executed.

    Where text is all that the type accepts it stays text, however it looks.
    """
    if text.lower() in WORDS:
        yield WORDS[text.lower()]
    readings = []
    with suppress(yaml.YAMLError, ValueError):  # 2026-13-45 is no date
        readings.append(yaml.load(text, _Yaml))
    yield from (reading for reading in readings if not isinstance(reading, str | None))
    yield text
    yield from readings
    if not text.startswith(("[", "{")):
        parts = [part.strip() for part in text.split(",")]
        yield parts
        with suppress(yaml.YAMLError, ValueError):
            yield [yaml.load(part, _Yaml) for part in parts]


REPLACED = ("bool", "int", "float")


class _Yaml(yaml.SafeLoader):
    """YAML whose scalars mean what they seem to: 1e-3 is a number, ``on`` and 1:30 are text.

    So are 010, which YAML takes for eight, and 1_000.
    """

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := {str(key) for key in keys if keys.count(key) > 1}:
            raise yaml.MarkedYAMLError(problem=f"{', '.join(sorted(twice))} is given twice")
        return super().construct_mapping(node, deep)


_Yaml.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0].rpartition(":")[2] not in REPLACED]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("(true|false)$"), list("tf"))
_Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9]\d*)$"), list("-+0123456789")
)
_Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?$"),
    list("-+.0123456789"),
)


class Step(BaseModel, extra="forbid"):
    """One run of a profile's pipeline."""

    notebook: str
    name: str = "run"
    parameters: dict[str, Any] = {}


class Profile(BaseModel, extra="forbid"):
    """Named values of the notebooks' parameters, and the runs that ``reproduce`` makes of them."""

    description: str
    notebooks: dict[str, dict[str, Any]] = {}
    pipeline: list[Step] = []


def load_profile(name: str) -> Profile:
    """Return ``notebooks/profiles/<name>.yaml``, every value in it checked as its notebook asks.

    Raises InputError for an unknown profile, key, notebook or parameter and an ill-typed value.
    """
    folder = root() / "notebooks" / "profiles"
    _known("profile", name, sorted(path.stem for path in folder.glob("*.yaml")))
    try:
        profile = Profile.model_validate(read_yaml(folder / f"{name}.yaml"))
        for notebook, values in profile.notebooks.items():
            check(notebook, values)
        for step in profile.pipeline:
            values = _of(profile, step.notebook) | step.parameters
            check(step.notebook, values | {"name": step.name})
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"profile {name}: {'; '.join(wrong)}") from error
    except InputError as error:
        raise InputError(f"profile {name}: {' '.join(str(error).split())}") from error
    return profile


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds, 1e-3 as a number; InputError where it is no YAML."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Yaml)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(" ".join(str(error).split())) from error


def _of(profile: Profile | None, notebook: str) -> dict[str, Any]:
    return profile.notebooks.get(notebook, {}) if profile else {}
