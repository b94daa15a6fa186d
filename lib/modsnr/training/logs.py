"""What is written of a fit while it goes on: its history always, a mirror of it where asked for."""

from __future__ import annotations

import importlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from modsnr import InputError

HISTORY = "history.csv"
WANDB = ".wandb"  # beside what is committed of a run
Report = Callable[[dict[str, float]], None]


def write_history(folder: Path, rows: Sequence[dict[str, float]]) -> None:
    """Write history.csv, a row an epoch, whole or not at all."""
    partial = folder / f".{HISTORY}.partial"
    pd.DataFrame(rows).to_csv(partial, index=False)
    os.replace(partial, folder / HISTORY)


@contextmanager
def mirrored(
    project: str,
    report: Report | None,
    *,
    folder: Path,
    earlier: Path | None,
    settings: Mapping[str, Any],
) -> Iterator[Report | None]:
    """Yield ``report``, or if a Weights & Biases project is named one that tells it of epochs, too.

    Its files lie in ``folder``/.wandb, without a word of the machine or the environment. They are
    sent where wandb finds a key (WANDB_API_KEY, or a login), else kept for ``wandb sync``;
    WANDB_MODE decides where it is set. The fit that goes on with that in folder ``earlier`` goes on
    with its W&B run. Raises InputError where the package is missing or the service refuses.
    """
    if not project:
        yield report
        return
    try:
        wandb: Any = importlib.import_module("wandb")
    except ModuleNotFoundError as error:
        raise InputError(
            'wandb needs a package: install the extra, `pip install "modsnr[wandb]"`.'
        ) from error
    (folder / WANDB).mkdir(parents=True, exist_ok=True)  # where it is, wandb writes there
    try:
        mirror = wandb.init(
            project=project,
            name=folder.name,
            id=_same_run(folder, earlier),
            resume="allow",
            config=dict(settings),
            dir=str(folder),
            mode=os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline"),
            settings=wandb.Settings(
                console="off",
                silent=True,
                save_code=False,
                disable_code=True,
                disable_git=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
                x_disable_stats=True,
                x_save_requirements=False,
            ),
        )
    except wandb.errors.Error as error:
        raise InputError(
            f"Weights & Biases refuses the project {project!r}: {error}. With WANDB_MODE=offline "
            "in the environment its files are kept, to be sent later."
        ) from error
    mirror.define_metric("*", step_metric="epoch")  # an epoch may be done again after a rollback

    def tell(row: dict[str, float]) -> None:
        mirror.log(row)
        if report is not None:
            report(row)

    try:
        yield tell
    except BaseException:
        mirror.finish(exit_code=1)
        raise
    mirror.finish()


def _same_run(folder: Path, earlier: Path | None) -> str:
    """Return the id of the W&B run that the fit in ``folder`` has, or goes on with."""
    path = folder / WANDB / "id"
    if not path.exists():
        before = earlier / WANDB / "id" if earlier else path
        path.write_text(before.read_text() if before.exists() else secrets.token_hex(4))
    return path.read_text()


def _has_key() -> bool:
    from requests.utils import get_netrc_auth  # which wandb needs, too

    service = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    return bool(os.environ.get("WANDB_API_KEY") or get_netrc_auth(service))
