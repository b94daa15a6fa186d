"""Runs that were made elsewhere, taken into this repository: checked, then copied whole."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from modsnr import InputError
from modsnr.files import write
from modsnr.runs.log import write_runlog
from modsnr.runs.records import FOLDER, TEXT, Record
from modsnr.runs.repository import root

LIMIT = 12 * 2**20  # bytes a file: what a repository may be asked to carry
# Two names or more after a slash that nothing but a path would have before them.
ABSOLUTE = re.compile(r"(?<![\w.~/<)}$%*+-])(?:file://)?(?:/[\w.@+=~-]+)+/(?P<name>[\w.@+=~-]+)/?")
SECRET = re.compile(
    r"://[^/\s:@]+:[^/\s@]+@|-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b"
    r"|\b(?:gh[opsu]_|github_pat_|glpat-|hf_|sk-)\w{16,}"
    r"|(?i:api_?key|token|password|secret)[\"']?\s*[=:]\s*[\"']?[\w-]{16,}"
)


@dataclass(frozen=True)
class Kept:
    """A run that is kept: ``new`` unless it was here already, with the same content.

    ``size`` is in bytes; ``left_out`` are the files that did not come along, and ``mended`` those
    in which a path of the machine was shortened.
    """

    record: Record
    new: bool
    size: int
    left_out: tuple[str, ...]
    mended: tuple[str, ...]


def keep(folders: Iterable[str | Path], *, light: bool = False) -> list[Kept]:
    """Copy runs made elsewhere into this repository's ``runs/``, renew RUNLOG.md, and return them.

    Each of ``folders`` is a run's, or holds runs. What a run saves is taken, other files, hidden
    ones, checkpoints and whatever is over 12 MiB are not; with ``light`` only its text is:
    run.json, metrics.json, history.csv, tables, a data card. No path of the machine that it ran on
    comes along: ``/a/b/frames.h5`` becomes ``.../frames.h5``.

    Raises InputError, which says which and why, before anything is copied: for a folder that is no
    run's or holds none, a run under way or not whole, one whose id is not its folder's name, one
    that is here with other content, and for what looks like a password or a key.
    """
    sources = [run for folder in folders for run in _runs_in(Path(folder))]
    complaints = [complaint for source in sources if (complaint := _complaint(source, light))]
    ids = [source.name for source in sources]
    complaints += [f"{id} is given twice" for id in sorted(set(ids)) if ids.count(id) > 1]
    if complaints:
        more = f"; and {len(complaints) - 5} more" if len(complaints) > 5 else ""
        raise InputError(f"nothing was kept: {'; '.join(complaints[:5])}{more}")
    (root() / "runs" / ".locks").mkdir(parents=True, exist_ok=True)
    lock = os.open(root() / "runs" / ".locks" / "keep", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = [_take(source, light) for source in sources]
    finally:
        os.close(lock)
    write_runlog()
    return kept


def _runs_in(folder: Path) -> list[Path]:
    """Return the run folders that ``folder`` is, or holds."""
    folder = folder.resolve()
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    if FOLDER.fullmatch(folder.name) or (folder / "run.json").exists():
        return [folder]
    found = sorted(path for path in folder.glob("*/") if FOLDER.fullmatch(path.name))
    if not found:
        raise InputError(f"{folder} is no run's folder and holds none")
    return found


def _complaint(source: Path, light: bool) -> str | None:
    """Return why a run cannot be kept, or none."""
    try:
        _check(source)
        files, _ = _content(source, light)
        target = root() / "runs" / source.name
        if target.exists() and (other := _differing(target, files)):
            also = f" and {len(other) - 1} more" if len(other) > 1 else ""
            return f"{source.name} is here already with another {other[0]}{also}"
    except InputError as error:
        return str(error)
    return None


def _check(source: Path) -> None:
    id = source.name
    try:
        told = json.loads((source / "run.json").read_text(encoding="utf-8"))
        record = Record.model_validate({**told, "folder": source})
    except (OSError, ValueError, TypeError) as error:
        why = "is not a run's" if isinstance(error, ValidationError) else "cannot be read"
        raise InputError(f"{id}: run.json {why}") from error
    if record.id != id or not FOLDER.fullmatch(id):
        raise InputError(f"{id}: run.json is that of {record.id}; give the folder its name back")
    if source.parent == root() / "runs":
        raise InputError(f"{id} was made in this repository: there is nothing to copy")
    if Record.load(source).status == "running":
        raise InputError(f"{id} is under way: wait until it has ended")
    if record.status == "completed" and not (source / "metrics.json").exists():
        raise InputError(f"{id} is not whole: it completed, and has no metrics.json")


def _differing(target: Path, files: Mapping[str, bytes]) -> list[str]:
    return [
        name
        for name, content in files.items()
        if not (target / name).is_file() or (target / name).read_bytes() != content
    ]


def _take(source: Path, light: bool) -> Kept:
    """Copy a run under a temporary name, then give it its own: it is here whole or not at all."""
    files, mended = _content(source, light)
    target = root() / "runs" / source.name
    new = not target.exists()
    if new:
        copy = target.with_name(".keeping")
        shutil.rmtree(copy, ignore_errors=True)  # what a kill left
        for name, content in files.items():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            write(copy / name, content)
        copy.rename(target)
    visible = (str(path.relative_to(source)) for path in _visible(source))
    left_out = tuple(name for name in visible if name not in files)
    size = sum(map(len, files.values()))
    return Kept(Record.load(target), new, size, left_out, tuple(mended))


def _visible(source: Path) -> list[Path]:
    """Return a run's files but the hidden ones: locks, halves, the logs of W&B."""
    found = (path for path in sorted(source.rglob("*")) if path.is_file())
    return [p for p in found if not any(n.startswith(".") for n in p.relative_to(source).parts)]


def _is_wanted(name: Path, light: bool) -> bool:
    """Whether a file of a run's folder is one that runs save, and with ``light`` one of text."""
    match name.parts:
        case (_,) if name.suffix in TEXT:
            return True
        case ("tables", _):
            return name.suffix == ".csv"
        case ("figures", _):
            return not light and name.suffix in (".png", ".pdf")
        case (("notebook.ipynb" | "predictions.npz" | "weights.safetensors"),):
            return not light
    return False


def _content(source: Path, light: bool) -> tuple[dict[str, bytes], list[str]]:
    """Return what is kept of a run, each file's content, and the names of those that are mended."""
    files, mended = {}, []
    for path in _visible(source):
        name = path.relative_to(source)
        if not _is_wanted(name, light) or path.stat().st_size > LIMIT:
            continue
        content = path.read_bytes()
        where = f"{source.name}: {name}"
        if path.suffix in (*TEXT, ".ipynb"):
            files[str(name)] = _portable_text(content, path.suffix, where)
        else:
            files[str(name)] = content
            homes = (str(source.parent.parent), str(Path.home()))
            if any(len(home) > 1 and f"{home}/".encode() in content for home in homes):
                raise InputError(f"{where} holds a path of the machine it was made on")
        if files[str(name)] != content:
            mended.append(str(name))
    return files, mended


def _portable_text(content: bytes, suffix: str, where: str) -> bytes:
    """Return a text without paths of a machine; InputError if it is none or holds a secret."""
    try:
        text = content.decode()
        told = json.loads(text) if suffix in (".json", ".ipynb") else text
    except ValueError as error:
        raise InputError(f"{where} cannot be read: {error}") from error
    if SECRET.search(text) or any(secret in text for secret in _secrets()):
        raise InputError(f"{where} holds what looks like a password or a key: take it out")
    short = _shortened(told)
    if short == told:
        return content
    return (
        short if suffix in TEXT[1:] else json.dumps(short, indent=1, ensure_ascii=False) + "\n"
    ).encode()


def _shortened(told: Any) -> Any:
    """Return text, or what JSON holds of it, with no more of a path than its last name."""
    if isinstance(told, str):
        return ABSOLUTE.sub(r".../\g<name>", told)
    if isinstance(told, list):
        return [_shortened(one) for one in told]
    if isinstance(told, dict):
        # Base64 has slashes of its own.
        return {
            _shortened(key): value if key.startswith("image/") else _shortened(value)
            for key, value in told.items()
        }
    return told


def _secrets() -> list[str]:
    """Return the values of this process's variables that are secrets by their names."""
    name = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$", re.I)
    return [value for key, value in os.environ.items() if name.search(key) and len(value) >= 12]
