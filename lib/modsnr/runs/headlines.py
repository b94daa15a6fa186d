"""A run's main results in a line, and which runs are best, as ``headlines.yaml`` defines them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, field_validator

from modsnr.runs.profiles import read_yaml
from modsnr.runs.records import Record
from modsnr.runs.repository import root

MOST = 4  # names that a `*` stands for; a comparison of twenty models is no headline


class Headline(BaseModel, frozen=True, extra="forbid"):
    """The key of a result in metrics.json, and the format of its number."""

    key: str
    format: str = "{}"

    @field_validator("format")
    @classmethod
    def _prints_numbers(cls, value: str) -> str:
        # A run that ends must not fail for it, so it is tried where it is read.
        try:
            value.format(0.5)
        except (ValueError, IndexError, KeyError) as error:
            raise ValueError(f"{value!r} prints no number: {error}") from error
        return value

    def text(self, metrics: Mapping[str, Any]) -> str:
        """Return the results under ``key``, after the names of its ``*``; "" if there are none."""
        texts = []
        for name, value in found(metrics, self.key).items():
            value = value.get("value") if isinstance(value, dict) else value
            if isinstance(value, int | float):
                value = self.format.format(value)
            if isinstance(value, str):
                texts.append(f"{name} {value}".lstrip())
        more = [f"{len(texts) - MOST} more"] if len(texts) > MOST else []
        return ", ".join(texts[:MOST] + more)


class Headlines(BaseModel, frozen=True, extra="forbid"):
    """The main results of a notebook, label -> headline; the key that ranks its runs; a figure."""

    results: dict[str, Headline] = {}
    best: str | None = None
    figure: str | None = None

    def line(self, metrics: Mapping[str, Any]) -> str:
        """Return the results in a line: "joint 93.0%; SNR: a 99.9%, b 40.1%"; "" if none is there.

        Of a key with a ``*`` the line has four names, and how many more there are.
        """
        texts = {label: headline.text(metrics) for label, headline in self.results.items()}
        colon = {label: ":" * ("*" in headline.key) for label, headline in self.results.items()}
        return "; ".join(f"{label}{colon[label]} {text}" for label, text in texts.items() if text)


JOINT = Headline(key="joint_accuracy", format="{:.1%}")
USUAL = Headlines(results={"joint accuracy": JOINT}, best="joint_accuracy")


def read_headlines() -> dict[str, Headlines]:
    """Return notebook -> headlines, as ``notebooks/headlines.yaml`` has them; empty without it.

    Raises InputError where it cannot be read or is not what it should be.
    """
    path = root() / "notebooks" / "headlines.yaml"
    return read_yaml(path, dict[str, Headlines], f"notebooks/{path.name}") if path.exists() else {}


def found(metrics: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the results in ``metrics`` under ``key``, by the names that its ``*`` stand for.

    ``models/*/snr`` of {"models": {"a": {"snr": 1}, "b": {}}} is {"a": 1}; a key without a ``*``
    has one result, called "", or none.
    """
    level: dict[str, Any] = {"": metrics}
    for part in key.split("/"):
        level = {
            f"{name} {one}".strip() if part == "*" else name: inner[one]
            for name, inner in level.items()
            if isinstance(inner, dict)
            for one in (inner if part == "*" else [part])
            if one in inner
        }
    return level


def best_runs(
    runs: Iterable[Record],
    metrics: Mapping[str, Mapping[str, Any]],
    headlines: Mapping[str, Headlines],
) -> set[str]:
    """Return the ids of runs that are best of their notebook's completed ones on the same frames.

    The highest is best, of equals the last id; a run alone on its frames is not compared. Runs
    that left out the same modulations are compared with one another: fewer classes are easier.
    """
    rivals: dict[tuple[str, ...], list[tuple[float, str]]] = {}
    for run in runs:
        key = headlines.get(run.notebook, USUAL).best
        value = found(metrics[run.id], key).get("") if key else None
        value = value.get("value") if isinstance(value, dict) else value
        if run.status == "completed" and isinstance(value, int | float):
            left_out = sorted(run.parameters.get("leave_out") or ())
            group = (run.notebook, (run.data or {}).get("sha256", ""), *left_out)
            rivals.setdefault(group, []).append((value, run.id))
    return {max(known)[1] for known in rivals.values() if len(known) > 1}
