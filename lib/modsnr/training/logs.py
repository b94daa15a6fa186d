"""A fit mirrored to Weights & Biases, where the user names a project."""

from __future__ import annotations

import importlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modsnr import InputError
from modsnr.training.learner import Task
from modsnr.training.recipe import Report

WANDB = ".wandb"  # beside what is committed of a run
# Nothing about the machine, the environment or the code leaves it.
PRIVATE = {
    **dict.fromkeys(("x_disable_meta", "x_disable_machine_info", "x_disable_stats"), True),
    **{"disable_code": True, "disable_git": True, "save_code": False},
    **{"x_save_requirements": False, "console": "off", "silent": True},
}


@contextmanager
def mirrored(task: Task, *, earlier: Path | None) -> Iterator[Report | None]:
    """Yield the execution's ``report``, or one that sends each epoch to its wandb project, too.

    The mirror's files lie in the fit's folder, in .wandb. They are sent where wandb finds a key
    (WANDB_API_KEY, or a login), else kept for ``wandb sync``; WANDB_MODE decides where it is set.
    A fit that continues the one in folder ``earlier`` continues its W&B run. Raises InputError
    where the package is missing or the service refuses.
    """
    project, report, folder = task.execution.wandb, task.execution.report, task.folder
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
            config=task.identity,
            dir=str(folder),
            mode=os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline"),
            settings=wandb.Settings(**PRIVATE),
        )
    except wandb.errors.Error as error:
        raise InputError(
            f"Weights & Biases refuses the project {project!r}: {error}. With WANDB_MODE=offline "
            "in the environment its files are kept, to be sent later."
        ) from error
    mirror.define_metric("*", step_metric="epoch")  # an epoch may be done again after a rollback

    def report_to_both(row: dict[str, float]) -> None:
        mirror.log(row)
        if report is not None:
            report(row)

    with mirror:  # on an error it is marked as failed
        yield report_to_both


def _same_run(folder: Path, earlier: Path | None) -> str:
    """Return the id of the W&B run that the fit in ``folder`` has, or continues."""
    path = folder / WANDB / "id"
    if not path.exists():
        before = earlier / WANDB / "id" if earlier else path
        path.write_text(before.read_text() if before.exists() else secrets.token_hex(4))
    return path.read_text()


def _has_key() -> bool:
    from requests.utils import get_netrc_auth  # which wandb needs, too

    service = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    return bool(os.environ.get("WANDB_API_KEY") or get_netrc_auth(service))
