"""Tensors and a header of text in one safetensors file, written whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from modsnr import InputError, files


def read_tensors(path: Path | str, *, problem: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a file's tensors by name, on the CPU, and its header.

    Raises InputError, ``problem`` and the reason, for a file that is absent, cut or no safetensors.
    """
    try:
        open(path, "rb").close()  # safe_open takes a file that may not be read for an absent one
        with safe_open(path, framework="pt") as file:
            # A file that is mapped into memory keeps its place on the disk when it is replaced.
            names = file.keys()
            return {name: file.get_tensor(name).clone() for name in names}, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{problem}: {error}") from error


def write_tensors(tensors: Mapping[str, Tensor], path: Path, header: dict[str, str]) -> None:
    """Write tensors and a header of text to a safetensors file, whole or not at all.

    Raises InputError, and leaves the file that was there, where there is no room.
    """
    kept = {
        name: value.detach().cpu().resolve_conj().contiguous() for name, value in tensors.items()
    }
    with replacing_file(path, sum(value.nbytes for value in kept.values())) as partial:
        save_file(kept, partial, metadata=header)


@contextmanager
def replacing_file(path: Path, size: int) -> Iterator[Path]:
    """Yield a temporary path for ``size`` bytes, which takes the place of ``path`` at the end.

    Raises InputError, and leaves the file that was there, where the disk refuses.
    """
    try:
        with files.replacing(path) as partial:
            yield partial
    except (OSError, SafetensorError) as error:
        free = shutil.disk_usage(path.parent).free
        raise InputError(
            f"{path.name} could not be written to {path.parent}: it takes {size / 1e6:.1f} MB, and "
            f"{free / 1e6:.1f} MB are free there ({error}). What was there before is left as it "
            "was: make room and continue from it."
        ) from error
