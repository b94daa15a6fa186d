"""What a sweep searches: a YAML file, every name and value in it checked before anything starts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError, model_validator

from modsnr import InputError, runs
from modsnr.files import check_name

OURS = ("name", "note")  # a trial's run is named by its sweep


class Range(BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Numbers from ``low`` to ``high``, both included, on a linear or a logarithmic scale."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs low above 0 and no step")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ValueError(f"step {self.step:g} is not above 0 and within low to high")
        return self


class Space(BaseModel, extra="forbid", frozen=True):
    """A sweep: the notebook, what is fixed, what is searched and how.

    ``metric`` is a path into metrics.json; its parts joined by "_" name the column of the history
    by which Hyperband prunes. ``trials`` is how many there are in all; a grid has no more than its
    points.
    """

    name: str
    description: str = ""
    notebook: str = "02_training"
    profile: str | None = None
    fixed: dict[str, Any] = {}
    space: dict[str, list[Any] | Range]
    sampler: Literal["grid", "random", "tpe"] = "random"
    pruner: Literal["none", "hyperband"] = "none"
    direction: Literal["maximize", "minimize"] = "maximize"
    metric: str = "validation.joint_accuracy"
    seed: int = 0
    trials: int | None = None

    @property
    def grid(self) -> dict[str, list[Any]]:
        """Each parameter's values on the grid."""
        return {name: self._points(name, part) for name, part in self.space.items()}

    @property
    def size(self) -> int:
        """The number of the grid's points."""
        return math.prod(map(len, self.grid.values()))

    @property
    def epochs(self) -> int:
        """The longest a trial trains, which is what Hyperband divides up."""
        values = runs.check(self.notebook, self.preset | self.fixed)
        epochs = values.get("epochs")
        if not isinstance(epochs, int) or "epochs" in self.space:
            raise InputError(
                f"sweep {self.name}: hyperband divides up a fixed number of epochs: {self.notebook}"
                " must have the parameter epochs, and the space must not."
            )
        return epochs

    def is_whole(self, name: str) -> bool:
        """Whether the notebook takes whole numbers only for a parameter."""
        try:
            runs.check(self.notebook, {name: 0.5})
        except InputError:
            return True
        return False

    def point(self, index: int) -> dict[str, Any]:
        """Return a point of the grid; the seed says in which order they are visited."""
        import numpy as np

        grid = self.grid
        place = np.random.default_rng(self.seed).permutation(self.size)[index]
        where = np.unravel_index(place, [len(points) for points in grid.values()])
        return {name: grid[name][i] for name, i in zip(grid, where, strict=True)}

    def _points(self, name: str, part: list[Any] | Range) -> list[Any]:
        if isinstance(part, list):
            return part
        whole = self.is_whole(name)
        step = part.step or (1 if whole and not part.log else None)
        if step is None:
            raise InputError(f"sweep {self.name}: a grid needs choices or a step for {name}")
        count = math.floor((part.high - part.low) / step + 1e-9) + 1
        points = [part.low + i * step for i in range(count)]
        return [round(point) for point in points] if whole else points

    @property
    def preset(self) -> dict[str, Any]:
        """What the profile sets of the notebook's parameters."""
        profile = runs.load_profile(self.profile) if self.profile else None
        return profile.notebooks.get(self.notebook, {}) if profile else {}


def load_space(reference: str, name: str | None = None) -> Space:
    """Return the sweep in a YAML file, called by its path, or by its name in notebooks/sweeps.

    It is called ``name``, or like its file.

    Raises InputError for an unknown file, key, notebook, profile or parameter (with the nearest
    one), an ill-typed value, and a space that its sampler or pruner cannot use.
    """
    path = Path(reference)
    if path.suffix != ".yaml":
        folder = runs.root() / "notebooks" / "sweeps"
        check_name("sweep", reference, sorted(known.stem for known in folder.glob("*.yaml")))
        path = folder / f"{reference}.yaml"
    where = f"sweep {path.stem}"
    try:
        content = runs.read_yaml(path)
        if not isinstance(content, dict):
            raise InputError("it is not a mapping of keys to values")
        for key in content:
            check_name("key", key, [field for field in Space.model_fields if field != "name"])
        space = Space(name=name or path.stem, **content)
        _check(space)
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"{where}: {'; '.join(wrong)}") from error
    except InputError as error:
        raise InputError(f"{where}: {error}".replace(f"{where}: {where}", where)) from error
    return space


def _check(space: Space) -> None:
    """Raise InputError for what the notebook, the sampler or the pruner could not take."""
    preset = space.preset
    runs.check(space.notebook, preset | space.fixed | {"name": space.name})
    if ours := [name for name in OURS if name in space.fixed or name in space.space]:
        raise InputError(f"{', '.join(ours)}: a trial's run is named by its sweep")
    if twice := sorted(space.fixed.keys() & space.space.keys()):
        raise InputError(f"{', '.join(twice)}: both fixed and searched")
    if not space.space:
        raise InputError("space names no parameter to search")
    for name, part in space.space.items():
        for value in part if isinstance(part, list) else (part.low, part.high):
            ends = isinstance(part, Range) and float(value).is_integer() and space.is_whole(name)
            runs.check(space.notebook, preset | space.fixed | {name: int(value) if ends else value})
        if isinstance(part, Range):
            if space.is_whole(name) and not float(part.step or 1).is_integer():
                raise InputError(f"{name} is a whole number; its step is {part.step}")
            continue
        texts = [json.dumps(choice) for choice in part]
        if not texts:
            raise InputError(f"{name} has no choices")
        if again := sorted({text for text in texts if texts.count(text) > 1}):
            raise InputError(f"{name}: {', '.join(again)} stands there twice")
    if space.trials is not None and space.trials < 1:
        raise InputError(f"trials must be 1 or more; it is {space.trials}")
    if space.sampler == "grid":
        _ = space.size  # which refuses a range that has no points
    if space.pruner == "hyperband":
        _ = space.epochs
