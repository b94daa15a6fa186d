"""Joint modulation and SNR estimation from constellation diagrams.

The way of the data, one module a step: signals or recordings -> frames -> diagrams -> model,
training -> metrics, explain -> figures -> runs -> paper; workers is where large steps run, export
draws for people, explorer shows one frame live, comparison sets runs beside one another. Modules do
not call one another, but for the few edges that ``tests/test_house.py`` names; they meet in the
notebooks.
"""

__version__ = "0.1.0"


class InputError(ValueError):
    """What was handed in cannot be used; the message says what is wrong, where, and what to do."""
