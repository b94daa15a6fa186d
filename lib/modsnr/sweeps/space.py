"""What a sweep searches: a YAML file, every name and value in it checked before anything starts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PositiveInt, model_validator

from modsnr import InputError, runs
from modsnr.files import check_name
from modsnr.runs.profiles import preset, read_yaml

OWN = ("name", "note")  # parameters that a sweep sets itself


class Range(BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Numbers from ``low`` to ``high``, both included, on a linear or a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError("log needs low above 0")
        return self


class Space(BaseModel, extra="forbid", frozen=True):
    """A sweep: the notebook, what is fixed, what is searched and how.

    ``metric`` is a dotted path into metrics.json; its parts joined by "_" name the column of the
    history by which Hyperband prunes. ``trials`` is how many there are in all; a grid, which takes
    lists of choices only, has no more than its points.
    """

    name: str = ""
    description: str = ""
    notebook: str = "02_training"
    profile: str | None = None
    fixed: dict[str, Any] = {}
    space: Annotated[dict[str, list[Any] | Range], Field(min_length=1)]
    sampler: Literal["grid", "random", "tpe"] = "random"
    pruner: Literal["none", "hyperband"] = "none"
    metric: str = "validation.joint_accuracy"
    seed: int = 0
    trials: PositiveInt | None = None

    @property
    def preset(self) -> dict[str, Any]:
        """The parameters that all trials have in common, those of the profile included."""
        return preset(self.profile, self.notebook) | self.fixed

    @property
    def grid(self) -> dict[str, list[Any]]:
        """The choices of each parameter that has a list of them."""
        return {name: part for name, part in self.space.items() if isinstance(part, list)}

    @property
    def size(self) -> int:
        """The number of the grid's points."""
        return math.prod(map(len, self.grid.values()))

    @property
    def epochs(self) -> int:
        """The number of epochs of a whole trial, which Hyperband divides up."""
        epochs = runs.check(self.notebook, self.preset).get("epochs")
        if not isinstance(epochs, int) or "epochs" in self.space:
            raise InputError(
                f"hyperband divides up a fixed number of epochs: {self.notebook} must have the "
                "parameter epochs, and the space must not"
            )
        return epochs

    def is_whole(self, name: str) -> bool:
        """Return whether the notebook takes whole numbers only for a parameter."""
        try:
            runs.check(self.notebook, {name: 0.5})
        except InputError:
            return True
        return False

    def point(self, index: int) -> dict[str, Any]:
        """Return a point of the grid; the seed decides the order in which they are visited."""
        import numpy as np

        place = np.random.default_rng(self.seed).permutation(self.size)[index]
        where = np.unravel_index(place, [len(choices) for choices in self.grid.values()])
        return {name: self.grid[name][i] for name, i in zip(self.grid, where, strict=True)}


def load_space(reference: str, name: str | None = None) -> Space:
    """Return the sweep in a YAML file, called by its path, or by its name in notebooks/sweeps.

    The sweep is called ``name``, or like its file.

    Raises InputError for an unknown file, key, notebook, profile or parameter, an ill-typed value,
    and a space that its sampler or pruner cannot use.
    """
    path = Path(reference)
    if path.suffix != ".yaml":
        folder = runs.root() / "notebooks" / "sweeps"
        check_name("sweep", reference, sorted(known.stem for known in folder.glob("*.yaml")))
        path = folder / f"{reference}.yaml"
    where = f"sweep {path.stem}"
    space = read_yaml(path, Space, where).model_copy(update={"name": name or path.stem})
    try:
        _check(space)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return space


def _check(space: Space) -> None:
    """Raise InputError for what the notebook, the sampler or the pruner could not take."""
    runs.check(space.notebook, space.preset | {"name": space.name})
    if own := [name for name in OWN if name in space.fixed or name in space.space]:
        raise InputError(f"{', '.join(own)}: a sweep names the runs of its trials itself")
    if twice := sorted(space.fixed.keys() & space.space.keys()):
        raise InputError(f"{', '.join(twice)}: both fixed and searched")
    for name, part in space.space.items():
        for value in _check_part(space, name, part):
            runs.check(space.notebook, space.preset | {name: value})
    if space.pruner == "hyperband":
        _ = space.epochs


def _check_part(space: Space, name: str, part: list[Any] | Range) -> list[Any]:
    """Return the values of a searched parameter that its notebook is to take."""
    if isinstance(part, Range):
        if space.sampler == "grid":
            raise InputError(f"a grid needs a list of choices for {name}")
        whole = space.is_whole(name)
        return [int(v) if whole and v.is_integer() else v for v in (part.low, part.high)]
    texts = [json.dumps(choice) for choice in part]
    if not texts:
        raise InputError(f"{name} has no choices")
    if again := sorted({text for text in texts if texts.count(text) > 1}):
        raise InputError(f"{name}: {', '.join(again)} is listed twice")
    return part
