"""Where the repository is, what it holds, and what git knows of its code."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

from modsnr import InputError
from modsnr.files import check_name

NAME = re.compile(r"[A-Za-z0-9._-]+")
CODE = ("lib", "notebooks", "pyproject.toml", "requirements.lock")


def root() -> Path:
    """Return the repository's folder, or that which ``MODSNR_ROOT`` names."""
    return Path(os.environ.get("MODSNR_ROOT") or Path(__file__).parents[3]).resolve()


def plain_name(name: str, what: str = "a name") -> str:
    """Return ``name``; InputError unless it can be part of a file's name."""
    if not NAME.fullmatch(name):
        raise InputError(f"{what} has letters, digits, '.', '_' and '-' only, not {name!r}")
    return name


def store(name: str) -> Path:
    """Return where the frame store called ``name`` is, or will be: ``data/<name>/frames.h5``."""
    return root() / "data" / plain_name(name, "the name of a frame store") / "frames.h5"


def callers_path(given: str) -> Path:
    """Return a path given as a parameter; a relative one begins where the caller stood."""
    return Path(os.environ.get("MODSNR_CALLED_FROM", "."), given).absolute()


def notebook_path(name: str) -> Path:
    """Return the path of a notebook, called with or without folder and ending, or by its number.

    Raises InputError, with the nearest name, if there is no such notebook.
    """
    stem = Path(name).name.removesuffix(".ipynb")
    found = {path.stem: path for path in sorted((root() / "notebooks").glob("*.ipynb"))}
    numbered = [known for known in found if known.startswith(f"{stem}_")]  # 02 is 02_training
    if stem not in found and len(numbered) == 1:
        return found[numbered[0]]
    check_name("notebook", stem, found)
    return found[stem]


def portable(text: str) -> str:
    """Return ``text`` with paths from the repository's folder, and none that names the user."""
    home = str(Path.home())
    text = text.replace(f"{root()}/", "")
    return text.replace(f"{home}/", "~/") if home != "/" else text


def commit() -> dict[str, Any] | None:
    """Return the commit, and whether the code differs from it; None where git tracks no code.

    A copy in an ignored folder of another repository has no commit: that repository's is not its.
    """
    try:
        if not _git("ls-files", "--", *CODE):
            return None
        id = _git("rev-parse", "HEAD").strip()
        new = _git("ls-files", "--others", "--exclude-standard", "--", *CODE)
        return {
            "commit": id,
            "dirty": bool(new or _git("diff", "--name-only", "HEAD", "--", *CODE)),
        }
    except (OSError, subprocess.CalledProcessError):
        return None


def committed_runs() -> set[str] | None:
    """Return the ids of runs, and the names of sweep tables, that git tracks; None without git."""
    try:
        paths = [Path(name) for name in _git("ls-files", "--", "runs").splitlines()]
    except (OSError, subprocess.CalledProcessError):
        return None
    return {path.stem if path.parts[1] == "sweeps" else path.parts[1] for path in paths} or None


def same_code(then: dict[str, Any] | None, now: dict[str, Any] | None) -> bool:
    """Return whether two results of ``commit`` have the same code, as far as git knows."""
    if then == now:
        return True
    if then is None or now is None or then["dirty"] or now["dirty"]:
        return False
    try:
        _git("diff", "--quiet", then["commit"], now["commit"], "--", *CODE)
    except subprocess.CalledProcessError:
        return False  # they differ, or this repository lacks one of the commits
    return True


def _git(*words: str) -> str:
    """Return what git prints about the repository, whoever its files belong to."""
    command = ["git", "--no-optional-locks", "-c", "safe.directory=*", "-C", str(root()), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
