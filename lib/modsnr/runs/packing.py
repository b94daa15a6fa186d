"""Runs in one file, light enough to be carried from machine to machine."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from modsnr import InputError
from modsnr.files import write
from modsnr.runs.keeping import LIMIT, _visible
from modsnr.runs.records import CHECKPOINT, Record, find, records
from modsnr.runs.repository import root

MEGABYTE = 2**20


class Packed(NamedTuple):
    """The runs that a file holds; the runs and files that it lacks, each with the reason."""

    runs: list[Record]
    left_out: dict[str, str]


def pack(path: str | Path, *, since: str | None = None, megabytes: float = 15.0) -> Packed:
    """Write the runs that are not committed, or those from ``since`` (id or name) on, into one tar.

    It holds a folder a run, without checkpoints, without weights over 12 MB, and without the runs
    that are still running. Where that is more than ``megabytes``, all weights are left out.

    Raises InputError where there are no runs, and where the rest is still too large: it names what
    is largest, and nothing is written.
    """
    known = records()
    if since is not None:
        first = find(since, status=None)
        chosen = [run for run in known if (run.started, run.id) >= (first.started, first.id)]
    else:
        committed = _committed()
        chosen = [run for run in known if run.id not in committed]
    running = [run for run in chosen if run.status == "running"]
    chosen = [run for run in chosen if run.status != "running"]
    if not chosen:
        why = ", all are running" if running else ""
        if known and not running:
            why = f": all {len(known)} are committed, and --since RUN packs those too"
        raise InputError(f"there is no run to pack{why}")
    left_out = {run.id: "it is running" for run in running}
    files = {name: path for run in chosen for name, path in _files(run)}
    sizes = {name: path.stat().st_size for name, path in files.items()}
    weights = [name for name in files if name.endswith(".safetensors")]
    left_out |= {name: "over 12 MB" for name in weights if sizes[name] > LIMIT}
    content = _tar(files, left_out)
    if len(content) > megabytes * MEGABYTE:
        left_out |= {name: "no room" for name in weights if name not in left_out}
        content = _tar(files, left_out)
    if len(content) > megabytes * MEGABYTE:
        largest = sorted(files.keys() - left_out.keys(), key=lambda name: -sizes[name])[:3]
        raise InputError(
            f"the runs take {len(content) / MEGABYTE:.1f} MB, not {megabytes:g}; the largest files "
            f"are {', '.join(largest)}: pack fewer runs (--since), or allow more (--megabytes)"
        )
    write(Path(path).absolute(), content)
    return Packed(chosen, left_out)


def _committed() -> set[str]:
    """Return the ids of the runs in the current commit: whoever cloned it has them."""
    words = ["git", "-C", str(root()), "ls-tree", "--name-only", "HEAD", "runs/"]
    try:
        told = subprocess.run(words, capture_output=True, text=True).stdout
    except OSError:
        return set()
    return {Path(line).name for line in told.splitlines()}  # none without a repository


def _files(run: Record) -> Iterator[tuple[str, Path]]:
    """Yield what a run's folder holds for others, with its name in the tar."""
    for path in _visible(run.folder):
        if path.name != CHECKPOINT:
            yield f"{run.id}/{path.relative_to(run.folder)}", path


def _tar(files: dict[str, Path], left_out: dict[str, str]) -> bytes:
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w") as tar:
        for name, path in files.items():
            if name not in left_out:
                tar.add(path, name, filter=_without_owner)
    return buffer.getvalue()


def _without_owner(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info
