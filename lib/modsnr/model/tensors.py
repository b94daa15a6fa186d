"""Tensors and a header of text in one safetensors file, written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from modsnr import InputError


def read_tensors(path: Path | str, *, problem: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a file's tensors by name, on the CPU, and its header.

    Raises InputError, ``problem`` and the reason, for a file that is absent, cut or no safetensors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{problem}: {error}") from error


def write_tensors(tensors: Mapping[str, Tensor], path: Path, header: dict[str, str]) -> None:
    """Write tensors and a header of text to a safetensors file, whole or not at all.

    Raises InputError, and leaves the file that was there, where there is no room.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with replacing(path, sum(value.nbytes for value in kept.values())) as partial:
        save_file(kept, partial, metadata=header)


@contextmanager
def replacing(path: Path, size: int) -> Iterator[Path]:
    """Give the name to write a file of ``size`` bytes under, which then takes the place of
    ``path``; where the disk refuses, clear it away and raise InputError."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        free = shutil.disk_usage(path.parent).free
        raise InputError(
            f"{path.name} could not be written to {path.parent}: it takes {size / 1e6:.1f} MB, and "
            f"{free / 1e6:.1f} MB are free there ({error}). What was there before is left as it "
            "was: make room and go on from it."
        ) from error
