"""What the study reports of itself, read from ``published.yaml`` beside this module."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from modsnr.files import check_name


@cache
def _figures() -> dict[str, Any]:
    text = files("modsnr").joinpath("published.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def published(path: str) -> Any:
    """Return a figure of the study, or a mapping of several: ``published("runs/lost")`` is 133.

    Keys are joined by "/" and are as in the file: ``published("pis")`` has numbers as keys.
    Raises InputError, with the nearest name, for a path that the file does not have.
    """
    value: Any = _figures()
    for key in path.split("/"):
        here = (
            {str(name): inner for name, inner in value.items()} if isinstance(value, dict) else {}
        )
        check_name("published figure", key, here, of=f" of the path {path!r}")
        value = here[key]
    return value
