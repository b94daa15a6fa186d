"""RadioML 2016.10a and b: Python 2 pickles of {(modulation, SNR): float32 [frame, 2, sample]}.

A pickle is a program for a stack machine, and the usual loader can be made to call any function of
any module. The loader here is Python's own, the one in Python, with two restrictions. It takes only
the opcodes that Python 2 wrote for a dict of arrays. For a name in the file, and for a call of it,
it makes a record: no module is imported, no class is looked up, and nothing that the file names is
ever called. Arrays are made of the records afterwards.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from modsnr import InputError
from modsnr.frames import Source
from modsnr.recordings.file_state import FileState, refuse_change, state_of

# The names of 2016.10, where they are not those of 2018.01A.
CLASS_OF = {"QAM16": "16QAM", "QAM64": "64QAM", "PAM4": "4ASK"}
SNR_DEFINITION = (
    "not calibrated: the generator took the dB value for an amplitude and scaled frames by the sum "
    "of magnitudes, so that labels are neither Es/N0 nor SNR per sample"
)

_PYTHONS_OWN: Any = pickle._Unpickler  # pyright: ignore[reportAttributeAccessIssue]
MOST_READS = 1_000_000  # of a file; the published ones take some ten thousand
HIGHEST_DB = 1000  # beyond it no number is an SNR
NAMES = {
    *("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"),
    *("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
    *("numpy.ndarray", "numpy.dtype"),
    "_codecs.encode",  # how Python 3 writes bytes in protocols 0 to 2
}
NUMBERS = ("f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
OPCODES = (
    *("PROTO", "MARK", "STOP", "NONE", "NEWTRUE", "NEWFALSE"),
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "GLOBAL", "REDUCE", "BUILD"),
    *("PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET"),
)


def open_2016(path: Path | str) -> Source:
    """Return the frames of a RadioML 2016.10a or b pickle, protocols 0 to 2, unpacked.

    Rows are numbered through the cells, by class in alphabetical order of the file's own names,
    then by SNR. Every process reads the whole pickle once and then keeps its arrays.

    Raises InputError for anything that is not a dict of (modulation, SNR) and real arrays [frame,
    2, sample] of one frame length, and for a pickle with a class, a function or an opcode which
    these files do not need.
    """
    path = Path(path).absolute()
    state = state_of(path)
    cells = _cells(path, state)
    names = sorted({name for (name, _), _ in cells})
    classes = tuple(CLASS_OF.get(name, name) for name in names)
    if len(set(classes)) < len(names):
        raise InputError(f"{path} has one class under two names: {', '.join(names)}.")
    frames = [len(array) for _, array in cells]
    grid = sorted({snr for (_, snr), _ in cells})
    return Source(
        path=path,
        kind="RadioML 2016.10",
        classes=classes,
        modulation=np.repeat([names.index(name) for (name, _), _ in cells], frames),
        snr_db=np.repeat(np.array([snr for (_, snr), _ in cells], np.float32), frames),
        rows=np.arange(sum(frames)),
        samples=cells[0][1].shape[2],
        read=partial(_read, path, state),
        snr_definition=SNR_DEFINITION,
        facts={
            "cells": len(cells),
            "frames_per_cell": frames[0] if len(set(frames)) == 1 else [min(frames), max(frames)],
            "snr_grid_db": grid,
            "grid_is_complete": len(cells) == len(names) * len(grid),
            "x_type": str(cells[0][1].dtype),
        },
    )


def _read(path: Path, state: FileState, rows: np.ndarray, *_labels: np.ndarray) -> np.ndarray:
    refuse_change(path, state)
    arrays = [array for _, array in _cells(path, state)]
    start = np.cumsum([0, *(len(array) for array in arrays)])
    if len(rows) and not 0 <= rows.min() <= rows.max() < start[-1]:
        raise InputError(
            f"{path} has {start[-1]} frames; rows {rows.min()} to {rows.max()} were requested."
        )
    iq = np.empty((len(rows), arrays[0].shape[2]), np.complex64)
    cell = np.searchsorted(start, rows, side="right") - 1
    for number in np.unique(cell):
        mine = cell == number
        parts = arrays[number][rows[mine] - start[number]]
        iq.real[mine], iq.imag[mine] = parts[:, 0], parts[:, 1]
    return iq


@lru_cache(maxsize=1)  # 1.2 GB for 2016.10b
def _cells(path: Path, state: FileState) -> list[tuple[tuple[str, int], np.ndarray]]:
    """Return ((modulation, SNR in dB), [frame, 2, sample]) of all cells, sorted; read-only.

    The memory that this takes is a small multiple of the file's size.
    """
    with open(path, "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("error")  # Python only warns of a bad escape in a string
        try:
            if file.read(3) == b"BZh":
                raise pickle.UnpicklingError("it is packed (bzip2): unpack it first, as by tar xjf")
            file.seek(0)
            unpickler = _Unpickler(_BoundedFile(file, state.size), encoding="bytes")
            content = unpickler.load()
            if not isinstance(content, dict) or unpickler.stack or unpickler.metastack:
                raise pickle.UnpicklingError("it is not one dict")
            cells = _arrays(content, state.size)
        except Exception as error:  # Python's loader raises many kinds of them for a damaged file
            missing = isinstance(error, IndexError)
            reason = "it takes a value where there is none" if missing else str(error)[:200]
            raise InputError(
                f"{path} is no RadioML 2016.10 pickle, or a damaged one; at byte {file.tell()}: "
                f"{reason}. Nothing in it was executed."
            ) from error
    if not cells:
        raise InputError(f"{path} holds no frames.")
    _, first = cells[0]
    for (name, snr), values in cells:
        if values.dtype.kind != "f" or values.ndim != 3 or values.shape[1] != 2 or not values.size:
            raise InputError(
                f"{path}: frames must be real floating-point [frame, 2, sample]; those of "
                f"{name} at {snr} dB are {values.dtype} {list(values.shape)}."
            )
        if values.shape[2] != first.shape[2]:
            raise InputError(
                f"{path}: frames of {name} at {snr} dB have {values.shape[2]} samples, earlier "
                f"ones {first.shape[2]}."
            )
    return sorted(cells, key=lambda cell: cell[0])


class _BoundedFile:
    """A file that refuses what lies beyond its end before it allocates memory for it."""

    def __init__(self, file: Any, size: int) -> None:
        self.file, self.size, self.reads = file, size, 0

    def read(self, count: int) -> bytes:
        self._count()
        left = self.size - self.file.tell()
        if not 0 <= count <= left:
            raise pickle.UnpicklingError(f"{count} bytes should follow, and {left} do")
        return self.file.read(count)

    def readline(self) -> bytes:
        self._count()
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise pickle.UnpicklingError("it ends in the middle of a line")
        return line

    def _count(self) -> None:
        self.reads += 1
        if self.reads > MOST_READS:
            raise pickle.UnpicklingError(f"it takes more than {MOST_READS} reads")


@dataclass(eq=False)
class _Record:
    """Stands for a name of the file, or for what a call of it would make; it does nothing."""

    name: str
    arguments: tuple[Any, ...] | None = None
    state: Any = None


class _Steps(dict[int, Callable[..., None]]):
    """What each opcode does; an opcode that is not listed is refused."""

    def __missing__(self, code: int) -> None:
        raise pickle.UnpicklingError(
            f"it uses opcode {bytes([code])!r}, which no RadioML pickle of protocols 0 to 2 has"
        )


class _Unpickler(_PYTHONS_OWN):
    """Python's loader with the opcodes and names of a dict of arrays, and strings as bytes."""

    dispatch = _Steps()

    def find_class(self, module: str, name: str) -> _Record:
        if f"{module}.{name}" not in NAMES:
            full = f"{module}.{name}"[:100]
            raise pickle.UnpicklingError(f"it names {full!r}, which is refused")
        return _Record(name)

    def load_proto(self) -> None:
        number = self.read(1)[0]
        if number > 2:
            raise pickle.UnpicklingError(f"its protocol is {number}; RadioML 2016.10 has 0 to 2")

    def load_reduce(self) -> None:
        arguments, record = self.stack.pop(), self.stack.pop()
        if not isinstance(record, _Record) or not isinstance(arguments, tuple):
            kinds = type(record).__name__, type(arguments).__name__
            raise pickle.UnpicklingError("it calls a {} with a {}".format(*kinds))
        self.append(_Record(record.name, arguments))

    def load_build(self) -> None:
        state, record = self.stack.pop(), self.stack[-1]
        if not isinstance(record, _Record) or record.state is not None:
            raise pickle.UnpicklingError(f"it sets the state of a {type(record).__name__}")
        record.state = state

    def load_dict(self) -> None:
        pairs = self.pop_mark()
        self.append({})
        self.set_items(pairs)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def load_setitems(self) -> None:
        self.set_items(self.pop_mark())

    def set_items(self, pairs: list[Any]) -> None:
        content = self.stack[-1]
        if not isinstance(content, dict) or len(pairs) % 2:
            raise pickle.UnpicklingError("a key has no value, or there is no dict for it")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            cell = _cell(key)  # nothing else is hashed: a deep tuple would overflow C's stack
            if cell in content:
                raise pickle.UnpicklingError(f"there are two cells {cell}")
            content[cell] = value


for _opcode in OPCODES:
    _code = getattr(pickle, _opcode)[0]
    _Unpickler.dispatch[_code] = getattr(_Unpickler, _PYTHONS_OWN.dispatch[_code].__name__)


# Arrays from records. Patterns compare types and lengths, and never look into a deep tuple.


def _cell(key: Any) -> tuple[str, int]:
    """Return (modulation, SNR in dB) of a key."""
    match key:
        case (bytes() | str() as name, _Record("scalar", (kind, content))):
            snr = _values(kind, (), content)[()].item()
        case (bytes() | str() as name, snr):
            pass
        case _:
            name = snr = None
    name = _text(name)
    if not re.fullmatch(r"[\w.+-]{1,64}", name, re.ASCII) or type(snr) is not int:
        raise pickle.UnpicklingError("a key is not (modulation, SNR)")
    if abs(snr) > HIGHEST_DB:
        raise pickle.UnpicklingError(f"a key has an SNR beyond {HIGHEST_DB} dB")
    return name, snr


def _arrays(content: dict[tuple[str, int], Any], size: int) -> list[tuple[Any, np.ndarray]]:
    """Return the cells of a file of ``size`` bytes with their arrays."""
    cells, total = [], 0
    for cell, value in content.items():
        cells.append((cell, _array(value)))
        total += cells[-1][1].nbytes
        if total > size:
            raise pickle.UnpicklingError("several (modulation, SNR) cells have the same array")
    return cells


def _array(value: Any) -> np.ndarray:
    """Return the array that a record describes."""
    match value:
        case _Record("_reconstruct", (_Record("ndarray", None), *_), (_, shape, kind, order, data)):
            if order not in (False, 0):
                raise pickle.UnpicklingError("an array is in Fortran's order")
            return _values(kind, shape, data)
    raise pickle.UnpicklingError("a value is no array")


def _values(kind: Any, shape: Any, content: Any) -> np.ndarray:
    """Return an array of exactly these bytes, which it shares."""
    match kind:
        case _Record("dtype", (code, *_), (_, order, None, None, None, *_)):
            code, order = _text(code), _text(order)
        case _:
            code = order = ""
    if code not in NUMBERS or order not in ("<", ">", "|"):
        raise pickle.UnpicklingError(f"its numbers are of type {order}{code}"[:99])
    match content:
        case _Record("encode", (str() as text, "latin1" | b"latin1")):
            content = text.encode("latin-1")
    sizes = shape if isinstance(shape, tuple) and len(shape) <= 3 else (-1,)
    if any(type(size) is not int or not 0 <= size < 2**40 for size in sizes):
        raise pickle.UnpicklingError("an array has a strange shape")
    numbers = np.dtype(order + code)
    if not isinstance(content, bytes) or len(content) != prod(sizes) * numbers.itemsize:
        raise pickle.UnpicklingError(
            f"the bytes of an array {list(sizes)} of {numbers} are missing, or too many or too few"
        )
    return np.frombuffer(content, numbers).reshape(sizes)


def _text(value: Any) -> str:
    """Return a string of Python 2 or 3 as text; "" for anything else."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else ""
