"""RadioML 2016.10a and b: pickles of {(modulation, SNR): float32 [frame, 2, sample]}.

A pickle is a program for a stack machine, and the usual loader can be made to call any function of
any module. The loader here is Python's own, the slow one that is written in Python, with two
restrictions. It takes only the opcodes that Python 2 or 3 wrote for a dict of arrays. For a name in
the file, and for a call of it, it makes a record: no module is imported, no class is looked up, and
nothing that the file names is ever called. Arrays are made of the records afterwards.
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
from typing import Any, BinaryIO, ClassVar

import numpy as np

from modsnr import InputError, files
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
NAMES = (
    *("numpy.ndarray", "numpy.dtype", "_codecs.encode"),
    # NumPy 2 has an underscore before its core.
    *("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"),
    *("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
    *("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"),
)
TYPES = ("<f4", ">f4", "<f8", ">f8")
SAVE_AGAIN = (
    "A file of your own can be saved again as a dict of (modulation, SNR): float32 [frame, 2, "
    "sample] in C's order, by pickle.dump with protocol=2."
)
OPCODES = (
    *("PROTO", "MARK", "STOP", "NONE", "NEWTRUE", "NEWFALSE"),
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
    *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET", "FRAME"),
)


def open_2016(path: Path | str) -> Source:
    """Return the frames of a RadioML 2016.10a or b pickle, of any protocol, unpacked.

    Rows are numbered through the cells, by class in alphabetical order of the file's own names,
    then by SNR. Every process reads the whole pickle once and then keeps its arrays.

    Raises InputError for anything that is not a dict of (modulation, SNR) and real arrays [frame,
    2, sample] of one frame length, and for a pickle with a class, a function or an opcode which
    these files do not need.
    """
    path = Path(path).absolute()
    state = state_of(path)
    cells = _cells(path, state)
    names = sorted({name for name, _ in cells})
    grid = sorted({snr for _, snr in cells})
    classes = tuple(CLASS_OF.get(name, name) for name in names)
    if len(set(classes)) < len(names):
        raise InputError(f"{path} has one class under two names: {', '.join(names)}.")
    frames = [len(array) for array in cells.values()]
    one = next(iter(cells.values()))
    return Source(
        path=path,
        kind="RadioML 2016.10",
        classes=classes,
        modulation=np.repeat([names.index(name) for name, _ in cells], frames),
        snr_db=np.repeat(np.array([snr for _, snr in cells], np.float32), frames),
        rows=np.arange(sum(frames)),
        samples=one.shape[2],
        read=partial(_read, path, state),
        snr_definition=SNR_DEFINITION,
        facts={
            "cells": len(cells),
            "frames_per_cell": frames[0] if len(set(frames)) == 1 else [min(frames), max(frames)],
            "snr_grid_db": grid,
            "grid_is_complete": len(cells) == len(names) * len(grid),
            "x_type": str(one.dtype),
        },
    )


def _read(path: Path, state: FileState, rows: np.ndarray, *_labels: np.ndarray) -> np.ndarray:
    """Read rows, numbered through the cells, as complex64 [frame, sample]."""
    refuse_change(path, state)
    arrays = list(_cells(path, state).values())
    start = np.cumsum([0, *map(len, arrays)])
    iq = np.empty((len(rows), arrays[0].shape[2]), np.complex64)
    cell = np.searchsorted(start, rows, side="right") - 1
    for number in np.unique(cell):
        mine = cell == number
        parts = arrays[number][rows[mine] - start[number]]
        iq.real[mine], iq.imag[mine] = parts[:, 0], parts[:, 1]
    return iq


@lru_cache(maxsize=1)  # 1.2 GB for 2016.10b
def _cells(path: Path, state: FileState) -> dict[tuple[str, int], np.ndarray]:
    """Return (modulation, SNR in dB) -> [frame, 2, sample] of all cells, sorted; read-only.

    The memory that this takes is a small multiple of the file's size.
    """
    with files.reading(path), open(path, "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("error")  # Python only warns of a bad escape in a string
        try:
            unpickler = _Unpickler(_BoundedFile(file, state.size), encoding="bytes")
            content = unpickler.load()
            if not isinstance(content, dict) or unpickler.stack or unpickler.metastack:
                raise pickle.UnpicklingError("it is not one dict")
            cells = _arrays(content, state.size)
        except OSError:
            raise
        except Exception as error:  # Python's loader raises many kinds of them for a damaged file
            plain = {
                IndexError: "it takes a value where there is none",
                EOFError: "it is cut short",
                KeyError: "it uses an opcode that no dict of arrays needs",
            }
            raise InputError(
                f"{path} is no RadioML 2016.10 pickle, or a damaged one; at byte {file.tell()}: "
                f"{plain.get(type(error), str(error)[:200])}. Nothing in it was executed. "
                f"{SAVE_AGAIN}"
            ) from error
    if not cells:
        raise InputError(f"{path} holds no frames.")
    lengths = {values.shape[2] for values in cells.values()}
    if len(lengths) > 1:
        raise InputError(f"{path} has frames of different lengths: {sorted(lengths)} samples.")
    return dict(sorted(cells.items()))


class _BoundedFile:
    """A file that is read in steps whose memory and number are bounded."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size, self.reads = file, size, 0
        self.readline = file.readline

    def read(self, count: int) -> bytes:
        self.reads += 1
        if self.reads > MOST_READS:
            raise pickle.UnpicklingError(f"it takes more than {MOST_READS} reads")
        return self.file.read(min(count, self.size))  # a larger one would allocate that much first


@dataclass(eq=False)
class _Record:
    """Stands for a name of the file, or for what a call of it would make; it does nothing."""

    name: str
    arguments: tuple[Any, ...] | None = None
    state: Any = None


class _Unpickler(_PYTHONS_OWN):
    """Python's loader with the opcodes and names of a dict of arrays."""

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {}  # a code beyond it is a KeyError

    def find_class(self, module: str, name: str) -> _Record:
        if f"{module}.{name}" not in NAMES:
            full = f"{module}.{name}"[:100]
            raise pickle.UnpicklingError(f"it names {full!r}, which is refused")
        return _Record(name)

    def load_frame(self) -> None:
        self.read(8)  # its size; it is not read at once, so that its steps count as any others

    def load_bytearray8(self) -> None:
        self.append(self.read(int.from_bytes(self.read(8), "little")))

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
        if self.pop_mark():
            raise pickle.UnpicklingError("it makes a dict otherwise than Python does")
        self.append({})

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
        case (bytes() | str() as name, snr) if re.fullmatch(r"[A-Za-z0-9_.+-]{1,64}", _text(name)):
            level = _whole(snr)
            if abs(level) > HIGHEST_DB:
                raise pickle.UnpicklingError(f"a key has an SNR beyond {HIGHEST_DB} dB")
            return _text(name), level
    raise pickle.UnpicklingError("a key is not (modulation, SNR)")


def _whole(value: Any) -> int:
    """Return an integer, of Python's own or of NumPy's."""
    match value:
        case int():
            return int(value)
        case _Record("scalar", (_Record("dtype", (code, *_), (_, order, *_)), content), None):
            content, kind = _bytes(content, most=8), _text(order) + _text(code)
            if re.fullmatch("[<>][iu][248]|[|][iu]1", kind) and len(content) == int(kind[2]):
                return int(np.frombuffer(content, kind)[0])
    raise pickle.UnpicklingError("a key has no whole number for its SNR")


def _text(value: Any) -> str:
    """Return the first letters of a string, of Python 2 or 3."""
    if not isinstance(value, bytes | str):
        raise pickle.UnpicklingError(f"it has a {type(value).__name__} for a name")
    few = value[:100]
    return few.decode("latin1") if isinstance(few, bytes) else few


def _bytes(value: Any, most: int) -> bytes:
    """Return bytes, which Python 3 writes as a call of ``encode`` where the protocol has none."""
    match value:
        case bytes() if len(value) <= most:
            return value
        case _Record("encode", (str() as text, "latin1"), None) if len(text) <= most:
            return text.encode("latin1")
    raise pickle.UnpicklingError("its numbers are no bytes, or more than the file has")


def _arrays(content: dict[tuple[str, int], Any], size: int) -> dict[tuple[str, int], np.ndarray]:
    """Return the cells of a file of ``size`` bytes with their arrays."""
    cells, total = {}, 0
    for cell, value in content.items():
        cells[cell] = _array(value, size)
        total += cells[cell].nbytes
        if total > size:
            raise pickle.UnpicklingError("several (modulation, SNR) cells have the same array")
    return cells


def _array(value: Any, size: int) -> np.ndarray:
    """Return the array that a record describes, of exactly the bytes in the file.

    The records are those of a call of ``_reconstruct`` and of its state: version, shape, type,
    whether the order is Fortran's, and bytes; or, in protocol 5, of a call of ``_frombuffer``. A
    type is the call of ``dtype`` and its state.
    """
    shape = kind = content = None
    match value:
        case _Record(
            "_reconstruct", (_Record("ndarray", None), *_), (_, shape, kind, False, content)
        ) | _Record("_frombuffer", (content, kind, shape, "C"), None):
            pass
    match shape, kind:
        case (
            (int() as frames, int() as parts, int() as samples),
            _Record("dtype", (code, *_), (_, order, None, None, None, *_)),
        ):
            name, content = _text(order) + _text(code), _bytes(content, size)
        case _:
            raise pickle.UnpicklingError("a value is no array [frame, 2, sample] in C's order")
    if name not in TYPES:
        raise pickle.UnpicklingError(f"its numbers are of type {name[:20]!r}")
    if parts != 2 or not 0 < frames < 2**40 or not 0 < samples < 2**40:
        raise pickle.UnpicklingError(f"an array is {list(shape)}, not [frame, 2, sample]")
    numbers = np.dtype(name)
    if len(content) != prod(shape) * numbers.itemsize:
        raise pickle.UnpicklingError(
            f"the bytes of an array {list(shape)} of {numbers} are too many or too few"
        )
    return np.frombuffer(content, numbers).reshape(shape)
