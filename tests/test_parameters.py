"""What a notebook is given has the types of its parameters cell, or is refused before it runs."""

import re

import pytest
from notebook_runs import write_notebook

from modsnr import InputError, metrics, runs

CELL = """\
from typing import Annotated, Literal
from pydantic import PositiveInt
from modsnr.runs import ChangesNoResult, FrameStore, RunOf

Network = Annotated[str, RunOf("02_training", weights=True)]
name: str = "run"  # what the run is called
note: str = ""
frames: Annotated[str, FrameStore("01_preprocessing")] = "frames"
devices: Annotated[PositiveInt, ChangesNoResult] = 1
models: list[Network] = ["a"]
epochs: int = 2
rate: float = 1e-3
pretrained: bool = False
snr_head: Literal["regression", "classification"] = "regression"
resume: str | None = None
split_seed = 11
"""
PROFILE = """\
description: small
notebooks:
  01_work: {rate: 1e-2, epochs: 1}
pipeline:
  - {notebook: 01_work, name: first, parameters: {devices: 1}}
"""


@pytest.fixture
def declare(tmp_path, monkeypatch):
    """Write a notebook of these parameters."""
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))
    return lambda cell: write_notebook(tmp_path, "01_work", cell)


@pytest.fixture
def house(declare, tmp_path):
    declare(CELL)
    (tmp_path / "notebooks" / "profiles").mkdir()
    (tmp_path / "notebooks" / "profiles" / "small.yaml").write_text(PROFILE)
    return tmp_path


def test_parameters_are_read_with_type_and_default(house):
    declared = runs.parameters("01_work")
    assert list(declared)[:3] == ["name", "note", "frames"]
    assert (declared["epochs"].annotation, declared["epochs"].default) == (int, 2)
    assert declared["split_seed"].annotation is int


def test_the_parameters_that_decide_results_are_known_by_their_types(house):
    one = {"name": "b", "note": "c", "frames": "d", "devices": 2, "models": ["e"], "gone": 1}
    counting = runs.counting("01_work", one)
    assert counting["models"] == ["e"]
    assert counting["epochs"] == 2
    assert not counting.keys() & {"name", "note", "frames", "devices", "gone"}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("x: int", "x must be set to a number, a text"),
        ("x: object = object()", "x must be set to a number, a text"),
        ("x: int =", "SyntaxError: invalid syntax .*line 2"),
        ("x: int = 'a'", r"x: given 'a' \(str\), input should be a valid integer"),
        ("x: Wrong = 1", "NameError: name 'Wrong' is not defined"),
        ("x: 3 = 1", "PydanticSchemaGenerationError"),
        ("x: list = [1j]", "TypeError: .*not JSON serializable"),
    ],
)
def test_a_cell_that_declares_no_parameters_is_refused(declare, line, complaint):
    declare(f"epochs: int = 1\n{line}")
    with pytest.raises(InputError, match=f"parameters of 01_work: {complaint}"):
        runs.parameters("01_work")


def test_values_are_laid_over_the_defaults(house):
    values = runs.check("01_work", {"rate": 1, "models": ("a", "b")})
    assert (values["rate"], type(values["rate"])) == (1.0, float)
    assert values["models"] == ["a", "b"]
    assert values["epochs"] == 2


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"epoch": 3}, "no parameter of 01_work is called 'epoch'; did you mean 'epochs'?.*seed"),
        ({"epochs": "3"}, r"epochs of 01_work: given '3' \(str\), input should be a valid integer"),
        ({"epochs": True}, "given True"),
        ({"rate": float("nan")}, "given nan"),
        ({"devices": 0}, r"given 0 \(int\), input should be greater than 0"),
        ({"pretrained": 1}, "should be a valid boolean"),
        ({"snr_head": "bothe"}, "should be 'regression' or 'classification'$"),
        ({"snr_head": "regresion"}, "did you mean 'regression'"),
        ({"models": "constellation"}, "should be a valid array"),
        ({"note": object()}, "a parameter of 01_work is no JSON"),
        ({"name": "a/b"}, "a run's name has letters"),
    ],
)
def test_misspelt_and_ill_typed_values_are_refused_and_nothing_is_made(
    house, monkeypatch, values, complaint
):
    monkeypatch.setattr("modsnr.runs.run._current", None)
    with pytest.raises(InputError, match=complaint):
        runs.execute("01_work", parameters=values)
    with pytest.raises(InputError, match=complaint):
        runs.start("01_work", values)
    assert not (house / "runs").exists()


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        *(("str", text, text) for text in ("true", "12", "2026-11-27", "a,b", "010", '"a"')),
        ("bool", "True", True),
        ("int", "12", 12),
        *(("float", text, float(text)) for text in ("1e-3", "-2", ".5")),
        ("list[str]", "residual", ["residual"]),
        ("list[str]", "residual, 2", ["residual", "2"]),
        ("list[str]", '["a", "b,c"]', ["a", "b,c"]),
        ("list[float]", "1,2.5", [1.0, 2.5]),
        ("bool | str | None", "false", False),
        ("bool | str | None", "none", None),
        ("bool | str | None", "data/w.safetensors", "data/w.safetensors"),
        ("bool | str | None", "12", "12"),
        ("str | None", "None", None),
        ("str | None", "false", "false"),
        ("int | str", "1.5", "1.5"),
        ("PositiveFloat | None", "1e-3", 1e-3),
        ("list[str] | None", "null", None),
        ("Literal['none', 'png']", "none", "none"),
        ("Literal['auto', '32', 'bf16']", "32", "32"),
        ("Literal[1, 2] | None", "2", 2),
        ("Annotated[int, Field(ge=-1)]", "-1", -1),
    ],
)
def test_text_of_a_command_line_becomes_the_declared_type(declare, kind, text, value):
    types = "from typing import Annotated, Literal\nfrom pydantic import Field, PositiveFloat"
    declare(f"{types}\nx: {kind} = {value!r}")
    read = runs.parse_text("01_work", "x", text)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "text", "given"),
    [
        ("bool", "1", "1 (int)"),
        ("int", "2.0", "2.0 (float)"),
        ("int", "1_0", "10.0 (float)"),
        ("float", "1:30", "'1:30' (str)"),
        ("float | None", "[", "'[' (str)"),
        ("list[str]", "[a, b]", "'[a, b]' (str)"),
    ],
)
def test_text_that_the_declared_type_cannot_be_is_refused(declare, kind, text, given):
    default = {"bool": False, "list[str]": []}.get(kind, 1)
    declare(f"x: {kind} = {default}")
    with pytest.raises(InputError, match=re.escape(f"given {given}")):
        runs.parse_text("01_work", "x", text)


def test_a_profile_means_what_it_seems_to(house):
    known = runs.load_profile("small")
    assert known.notebooks["01_work"] == {"rate": 0.01, "epochs": 1}
    assert known.pipeline[0].name == "first"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("description: a\nsweeps: b", "profile small: sweeps: Extra inputs"),
        ("description: a\nnotebooks: {01_work: {epoch: 1}}", "small: no parameter.*'epochs'"),
        ("description: a\nnotebooks: {01_work: {epochs: 1e1}}", "small: .*given 10.0"),
        ("description: a\nnotebooks: {01_word: {}}", "small: no notebook.*did you mean '01_work'"),
        ("description: a\npipeline: [{notebook: 01_work, parameters: {x: 1}}]", "called 'x'"),
        ("description: a\npipeline: [{notebook: 01_work, name: a b}]", "a run's name"),
        ("description: a\ndescription: b", "profile small: description is given twice"),
        ("description: [", "profile small: while parsing"),
        ("notebooks: {}", "description: Field required"),
    ],
)
def test_an_error_anywhere_in_a_profile_is_refused(house, text, complaint):
    (house / "notebooks" / "profiles" / "small.yaml").write_text(text)
    with pytest.raises(InputError, match=complaint):
        runs.load_profile("small")


def test_an_unknown_notebook_or_profile_is_refused_with_the_nearest(house):
    with pytest.raises(InputError, match="no notebook is called '01_wrok'; did you mean '01_work'"):
        runs.execute("01_wrok")
    with pytest.raises(InputError, match="no profile is called 'smal'; did you mean 'small'"):
        runs.execute("01_work", profile="smal")


def test_seeds_trained_on_one_and_on_two_devices_are_one_group(monkeypatch):
    monkeypatch.delenv("MODSNR_ROOT", raising=False)
    trained = {"a-0": {"seed": 0, "devices": 1}, "a-1": {"seed": 1, "devices": 2, "wandb": "mine"}}
    choices = {name: runs.counting("02_training", values) for name, values in trained.items()}
    assert metrics.seed_groups({name: name for name in trained}, choices) == {"a": ["a-0", "a-1"]}
    choices["a-1"]["epochs"] += 1
    assert len(metrics.seed_groups({name: name for name in trained}, choices)) == 2
