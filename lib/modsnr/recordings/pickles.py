"""RadioML 2016.10a and b: Python 2 pickles of {(modulation, SNR): float32 [frame, 2, sample]}.

A pickle is a program for a stack machine, and the usual one can be made to call any function of
any module. The machine here knows the few opcodes that Python 2 wrote for a dict of arrays and
five names, for which it has entries of its own: nothing is imported, no class is looked up, and
nothing that the file names is ever called. Whatever else a file asks for is refused by its name.
"""

from __future__ import annotations

import codecs
import re
import struct
import warnings
from collections.abc import Callable
from functools import lru_cache, partial
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from modsnr import InputError
from modsnr.recordings.source import Source

# The names of 2016.10, where they are not those of 2018.01A.
CLASS_OF = {"QAM16": "16QAM", "QAM64": "64QAM", "PAM4": "4ASK"}
SNR_DEFINITION = (
    "not calibrated: the generator took the dB value for an amplitude and scaled frames by the sum "
    "of magnitudes, so that labels are neither Es/N0 nor SNR per sample"
)

MOST_STEPS = 1_000_000  # of a pickle; the published ones take some ten thousand
MOST_DIGITS = 20  # of an integer written as text
LONGEST_NAME = 64  # of a module, a type code, a modulation


def open_2016(path: Path | str) -> Source:
    """Return the frames of a RadioML 2016.10a or b pickle, protocols 0 to 2, unpacked.

    Rows are numbered through the cells, by class in alphabetical order of the file's own names,
    then by SNR. The whole pickle is read once in every process, its arrays are then kept.

    Raises InputError for anything that is not a dict of (modulation, SNR) and real arrays [frame,
    2, sample] of one frame length, and before any such thing is done for a pickle that asks for a
    class, a function or an opcode which these files do not need.
    """
    path = Path(path).absolute()
    status = _status_of(path)
    cells = _cells(path, status)
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
        read=partial(_read, path, status),
        snr_definition=SNR_DEFINITION,
        facts={
            "cells": len(cells),
            "frames_per_cell": frames[0] if len(set(frames)) == 1 else [min(frames), max(frames)],
            "snr_grid_db": grid,
            "grid_is_complete": len(cells) == len(names) * len(grid),
            "x_type": str(cells[0][1].dtype),
        },
    )


def _status_of(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"There is no file {path}, or it cannot be reached: {error}") from error
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the pickle in it.")
    return status.st_size, status.st_mtime_ns


def _read(
    path: Path,
    status: tuple[int, int],
    rows: np.ndarray,
    _modulation: np.ndarray,
    _snr_db: np.ndarray,
) -> np.ndarray:
    if _status_of(path) != status:
        raise InputError(f"{path} has changed since it was opened: open it again.")
    arrays = [array for _, array in _cells(path, status)]
    start = np.cumsum([0, *(len(array) for array in arrays)])
    if len(rows) and not 0 <= rows.min() <= rows.max() < start[-1]:
        raise InputError(f"{path} has {start[-1]} frames; rows up to {rows.max()} were asked for.")
    iq = np.empty((len(rows), arrays[0].shape[2]), np.complex64)
    cell = np.searchsorted(start, rows, side="right") - 1
    for number in np.unique(cell):
        mine = cell == number
        parts = arrays[number][rows[mine] - start[number]]
        iq.real[mine], iq.imag[mine] = parts[:, 0], parts[:, 1]
    return iq


@lru_cache(maxsize=1)  # 1.2 GB for 2016.10b
def _cells(path: Path, status: tuple[int, int]) -> list[tuple[tuple[str, int], np.ndarray]]:
    """Return ((modulation, SNR in dB), [frame, 2, sample]) of all cells, sorted; read-only.

    ``status`` is the file's size and time of change, which tell one state of it from the next.
    """
    size, _ = status
    with _Machine(path, size) as machine:
        content = machine.run()
    shape: tuple[int, ...] = ()
    cells = []
    for (name, snr), array in content.items():
        if not isinstance(array, _Array) or array.values is None:
            raise InputError(f"{path}: what stands under ({name}, {snr}) is no array.")
        values = array.values
        if values.dtype.kind != "f" or values.ndim != 3 or values.shape[1] != 2 or not values.size:
            raise InputError(
                f"{path}: frames must be real floating-point [frame, 2, sample]; those of "
                f"{name} at {snr} dB are {values.dtype} {list(values.shape)}."
            )
        shape = shape or values.shape
        if values.shape[2] != shape[2]:
            raise InputError(
                f"{path}: frames of {name} at {snr} dB have {values.shape[2]} samples, earlier "
                f"ones {shape[2]}."
            )
        cells.append(((name, snr), values))
    if not cells:
        raise InputError(f"{path} holds no frames.")
    if sum(values.nbytes for _, values in cells) > size:
        raise InputError(f"{path} gives the same array to several (modulation, SNR) cells.")
    return sorted(cells, key=lambda cell: cell[0])


# What the machine makes of the five names


class _DType:
    """A numpy type as pickled: its code, then its byte order."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, ""


class _Array:
    """An array as pickled: blank at first, then filled once."""

    def __init__(self) -> None:
        self.values: np.ndarray | None = None


class _Mark:
    """The start of a tuple's items, or of a dict's."""


_CORES = ("numpy.core.multiarray", "numpy._core.multiarray")
_NAMES = {
    **{(core, name): name for core in _CORES for name in ("_reconstruct", "scalar")},
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",  # how Python 3 writes bytes in protocols 0 to 2
}


class _Name(str):
    """One of the five names: a value of the machine, which can call it by its own ways only."""


class _Machine:
    """The stack machine; what it holds in memory stays within a small multiple of the file."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.place = 0  # bytes read

    def __enter__(self) -> _Machine:
        try:
            self.file = open(self.path, "rb")
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def run(self) -> dict[tuple[str, int], Any]:
        """Return the dict that the pickle holds."""
        for step in range(MOST_STEPS):
            code = self.take(1)
            if code == b".":
                break
            if not step and code == b"B":
                self.refuse("may be packed (bzip2): unpack it first, as with tar xjf")
            if code not in _STEPS:
                self.refuse(f"uses opcode {code!r}, which no RadioML pickle of protocol 0 to 2 has")
            _STEPS[code](self)
        else:
            self.refuse(f"takes more than {MOST_STEPS} steps")
        content = self.pop(dict)
        if self.stack:
            self.refuse(f"ends with {len(self.stack)} values too many")
        return content

    def refuse(self, what: str) -> NoReturn:
        raise InputError(
            f"{self.path}, byte {self.place}: it {what}. It is not a RadioML 2016.10 pickle, or a "
            "damaged one; nothing in it was executed."
        )

    # Bytes

    def take(self, count: int) -> bytes:
        if count < 0 or self.place + count > self.size:
            self.refuse(f"ends where {count} bytes should follow")
        content = self.file.read(count)
        self.place += len(content)
        if len(content) != count:
            self.refuse("ends early")
        return content

    def number(self, form: str) -> int:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> bytes:
        content = self.file.readline()
        self.place += len(content)
        if not content.endswith(b"\n"):
            self.refuse("ends in the middle of a line")
        return content[:-1]

    def digits(self) -> int:
        content = self.line().removesuffix(b"L")
        if not re.fullmatch(rb"-?\d{1,%d}" % MOST_DIGITS, content):
            self.refuse(f"has {content[:MOST_DIGITS]!r} for an integer")
        return int(content)

    def text(self, content: bytes) -> str:
        if len(content) > LONGEST_NAME or not re.fullmatch(rb"[\w.+-]*", content):
            self.refuse(f"has {content[:LONGEST_NAME]!r} for a name")
        return content.decode("ascii")

    # Values

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def top(self, kind: type = object) -> Any:
        if not self.stack or isinstance(self.stack[-1], _Mark):
            self.refuse("takes a value where there is none")
        if not isinstance(self.stack[-1], kind):
            self.refuse(f"has {type(self.stack[-1]).__name__} where {kind.__name__} must be")
        return self.stack[-1]

    def pop(self, kind: type = object) -> Any:
        value = self.top(kind)
        self.stack.pop()
        return value

    def items(self) -> list[Any]:
        """Take the values above the latest mark, and the mark."""
        place = len(self.stack) - 1
        while place >= 0 and not isinstance(self.stack[place], _Mark):
            place -= 1
        if place < 0:
            self.refuse("closes a tuple that it never began")
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def recall(self, number: int) -> None:
        if number not in self.memo:
            self.refuse(f"recalls value {number}, which it never kept")
        self.push(self.memo[number])

    def keep(self, number: int) -> None:
        self.memo[number] = self.top()

    # Steps

    def protocol(self) -> None:
        number = self.take(1)[0]
        if number > 2:
            self.refuse(
                f"has protocol {number}, and was thus written by Python 3; RadioML 2016.10 comes "
                "in protocols 0 to 2"
            )

    def quoted(self) -> None:
        content = self.line()
        if len(content) < 2 or content[0] != content[-1] or content[:1] not in (b"'", b'"'):
            self.refuse("has a string without quotes")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                value, _ = codecs.escape_decode(content[1:-1])
        except (ValueError, DeprecationWarning) as error:
            self.refuse(f"has a string with a bad escape ({error})")
        self.push(value)

    def integer_or_truth(self) -> None:
        # Protocols 0 and 1 write False and True as the integers 00 and 01.
        start, value = self.file.tell(), self.digits()
        two = self.file.tell() - start == 3 and value in (0, 1)
        self.push(bool(value) if two else value)

    def decoded(self, content: bytes, encoding: str) -> str:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError as error:
            self.refuse(f"has text that is no {encoding} ({error.reason})")

    def tuple_of(self, count: int) -> None:
        self.push(tuple(reversed([self.pop() for _ in range(count)])))

    def name(self) -> None:
        module, name = self.line(), self.line()
        known = _NAMES.get((self.text(module), self.text(name)))
        if known is None:
            self.refuse(f"asks for {module.decode()}.{name.decode()}, which is refused")
        self.push(_Name(known))

    def dict_of(self, pairs: list[Any]) -> None:
        self.push({})
        self.set_items(pairs)

    def set_items(self, pairs: list[Any]) -> None:
        content = self.top(dict)
        if len(pairs) % 2:
            self.refuse("has a key without a value")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            # Nothing else is ever hashed: a deep enough tuple would overflow the stack of C.
            if not isinstance(key, tuple) or len(key) != 2 or type(key[1]) is not int:
                self.refuse("has a key that is not (modulation, SNR)")
            if not isinstance(key[0], bytes | str) or abs(key[1]) > 1000:
                self.refuse("has a key that is not (modulation, SNR)")
            name = key[0] if isinstance(key[0], bytes) else key[0].encode("ascii", "replace")
            plain = self.text(name), key[1]
            if not plain[0] or plain in content:
                self.refuse(f"has no name, or two cells, for {plain}")
            content[plain] = value

    def call(self) -> None:
        arguments, name = self.pop(tuple), self.pop(_Name)
        if name == "_reconstruct" and len(arguments) == 3 and arguments[0] == "ndarray":
            self.push(_Array())
        elif name == "dtype" and arguments and isinstance(arguments[0], bytes | str):
            code = arguments[0]
            code = code.decode("latin-1") if isinstance(code, bytes) else code
            if code not in ("f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
                self.refuse(f"has numbers of type {code[:LONGEST_NAME]!r}")
            self.push(_DType(code))
        elif name == "scalar" and len(arguments) == 2 and isinstance(arguments[0], _DType):
            value = self.array(arguments[0], (), arguments[1], False)
            if value.dtype.kind == "f":
                self.refuse("has a floating-point number by itself")
            self.push(int(value[()]))
        elif name == "encode" and len(arguments) == 2 and arguments[1] in ("latin1", b"latin1"):
            self.push(self.latin1(arguments[0]))
        else:
            self.refuse(f"calls {name} in a way that no RadioML pickle does")

    def latin1(self, content: Any) -> bytes:
        if not isinstance(content, str):
            self.refuse("encodes what is no text")
        try:
            return content.encode("latin-1")
        except UnicodeEncodeError as error:
            self.refuse(f"holds no bytes where bytes must be ({error.reason})")

    def build(self) -> None:
        state, what = self.pop(tuple), self.top()
        if isinstance(what, _DType) and len(state) > 1 and not what.order:
            order = state[1].decode("latin-1") if isinstance(state[1], bytes) else state[1]
            if order not in ("<", ">", "|") or any(part is not None for part in state[2:5]):
                self.refuse("has a type of numbers with fields or without byte order")
            what.order = order
        elif isinstance(what, _Array) and len(state) == 5 and what.values is None:
            what.values = self.array(state[2], state[1], state[4], state[3])
        else:
            self.refuse("sets the state of what has none")

    def array(self, dtype: Any, shape: Any, content: Any, columns_first: Any) -> np.ndarray:
        """Return an array of exactly these bytes, which it shares."""
        if not isinstance(dtype, _DType) or not dtype.order or not isinstance(content, bytes):
            self.refuse("has an array without type or bytes")
        if columns_first not in (False, 0):
            self.refuse("has an array in Fortran's order")
        if not isinstance(shape, tuple) or len(shape) > 3:
            self.refuse("has an array of a strange shape")
        if any(type(length) is not int or length < 0 for length in shape):
            self.refuse("has an array of a strange shape")
        kind = np.dtype(dtype.order + dtype.code)
        if prod(shape) * kind.itemsize != len(content):
            self.refuse(f"has {len(content)} bytes for an array {list(shape)} of {kind}")
        return np.frombuffer(content, kind).reshape(shape)


_STEPS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": _Machine.protocol,
    b"(": lambda m: m.push(_Mark()),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": _Machine.integer_or_truth,
    b"L": lambda m: m.push(m.digits()),
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"\x8a": lambda m: m.push(int.from_bytes(m.take(m.number("<B")), "little", signed=True)),
    b"S": _Machine.quoted,
    b"T": lambda m: m.push(m.take(m.number("<i"))),
    b"U": lambda m: m.push(m.take(m.number("<B"))),
    b"V": lambda m: m.push(m.decoded(m.line(), "raw-unicode-escape")),
    b"X": lambda m: m.push(m.decoded(m.take(m.number("<I")), "utf-8")),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.items())),
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"}": lambda m: m.push({}),
    b"d": lambda m: m.dict_of(m.items()),
    b"s": lambda m: m.set_items([*reversed((m.pop(), m.pop()))]),
    b"u": lambda m: m.set_items(m.items()),
    b"c": _Machine.name,
    b"R": _Machine.call,
    b"b": _Machine.build,
    b"p": lambda m: m.keep(m.digits()),
    b"q": lambda m: m.keep(m.number("<B")),
    b"r": lambda m: m.keep(m.number("<I")),
    b"g": lambda m: m.recall(m.digits()),
    b"h": lambda m: m.recall(m.number("<B")),
    b"j": lambda m: m.recall(m.number("<I")),
}
