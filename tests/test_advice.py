"""What a message advises can be done: the parameters, options and notebooks in it exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from modsnr import runs

ROOT = Path(__file__).parents[1]
LIB = ROOT / "lib" / "modsnr"
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
MODULES = sorted(LIB.rglob("*.py"))
EXAMPLE = re.compile(r'"[^"]*"|\S+=\S+,? say|needs \w+: install|datatype as \w+')
# A parameter as messages name it: "-p NAME", "pass NAME", "NAME=value", a word with underscores.
PARAMETER = re.compile(
    r"-p ([a-z]\w*)|\b[Pp]ass (?!-p|its?\b|them|with)([a-z]\w*)|\b([a-z]\w*)=\w"
    r"|(?<![\w:./-])([a-z][a-z0-9]*(?:_[a-z0-9]+)+)"
)


def package_of(path):
    return path.relative_to(LIB).parts[0].removesuffix(".py")


@cache
def imported(path):
    """Return the packages of the library that a module or a notebook imports by itself."""
    text = path.read_text(encoding="utf-8")
    lines = re.findall(r"from modsnr import ([\w, ]+)", text)
    return {*re.findall(r"\w+", " ".join(lines)), *re.findall(r"modsnr\.(\w+)", text)}


@cache
def beneath(notebook):
    """Return the packages that a notebook imports, and those that they import."""
    found, new = set(), imported(NOTEBOOKS[notebook])
    while new - found:
        found |= new
        new = {name for path in MODULES if package_of(path) in found for name in imported(path)}
    return found


def advice(node, arguments=frozenset()):
    """Yield line, text and the arguments of the functions around it, of each message of an error.

    Texts that advise to pass something count wherever they stand.
    """
    match node:
        case ast.FunctionDef(args=own):
            named = [*own.posonlyargs, *own.args, *own.kwonlyargs]
            arguments = arguments | {argument.arg for argument in named}
        case ast.Expr(value=ast.Constant()):  # a docstring
            return
        case ast.Call(func=ast.Name(id=name)) if name.endswith(("Error", "Refusal")):
            inner = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
            yield node.lineno, " ".join(filter(lambda v: isinstance(v, str), inner)), arguments
            return
        case ast.Constant(value=str() as text) if re.search(r"\bpass |-p ", text):
            yield node.lineno, text, arguments
    for child in ast.iter_child_nodes(node):
        yield from advice(child, arguments)


def unknown_in(code, declared, options):
    """Return what the messages of a module's code name and nobody can give."""
    found = []
    for line, text, arguments in advice(ast.parse(code)):
        text = EXAMPLE.sub("", text)
        names = {name for groups in PARAMETER.findall(text) for name in groups if name}
        unknown = names - declared - arguments
        unknown |= {name for name in re.findall(r" (--[a-z][a-z-]+)", text) if name not in options}
        unknown |= {name for name in re.findall(r"\b\d\d_[a-z]+", text) if name not in NOTEBOOKS}
        found += [(line, name, text) for name in sorted(unknown)]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIB)))
def test_what_a_message_names_is_a_parameter_where_it_is_raised(path):
    over = [name for name in NOTEBOOKS if package_of(path) in beneath(name)]
    declared = {name for notebook in over for name in runs.parameters(notebook)}
    options = "".join(path.read_text(encoding="utf-8") for path in LIB.glob("cli*.py"))
    assert unknown_in(path.read_text(encoding="utf-8"), declared, options) == []


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("pass its SNR as snr_db", "snr_db"),
        ("pass -p class_ordre fixed", "class_ordre"),
        ("pass weights", "weights"),
        ("pass pretrained=False", "pretrained"),
        ("give it by --plain", "--plain"),
        ("run 01_simulator first", "01_simulator"),
    ],
)
def test_advice_that_nobody_can_follow_is_found(message, named):
    code = f"def read(path):\n    raise InputError(f'{{path}}: {message}, or set class_order.')"
    assert [name for _, name, _ in unknown_in(code, {"class_order"}, "--name")] == [named]
