"""Joint modulation and SNR estimation from constellation diagrams.

The way of the data, one module a step: signals or recordings -> frames -> diagrams -> model,
training -> metrics, explain -> figures -> runs -> paper; networks has trained ones, workers runs
large steps, export draws for people, explorer shows one frame live, comparison sets runs beside
one another, classifier answers recordings. Modules do not call one another, but for the few edges
that ``tests/test_house.py`` names; they meet in the notebooks.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modsnr.classifier import Answer, classify, classify_frames

__version__ = "0.1.0"
OF_CLASSIFIER = ("Answer", "classify", "classify_frames")
__all__ = ["InputError", *OF_CLASSIFIER]


def __getattr__(name: str) -> Any:
    """Return what the package offers by its own name; torch comes with it, which takes seconds."""
    if name not in OF_CLASSIFIER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("modsnr.classifier"), name)


class InputError(ValueError):
    """What was handed in cannot be used; the message says what is wrong, where, and what to do."""
