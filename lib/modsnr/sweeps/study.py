"""The Optuna study of a sweep: its storage, samplers, and the trials that a kill left behind.

The point of a trial is a pure function of the sweep's seed and the trial's index, and with TPE of
the trials that ended before. The index is the number of first attempts before it.

Each trial names the worker that does it, and a worker holds a lock on a file of that name. A
running trial whose worker's lock is free was left behind by a kill: if its run ended, that counts,
else the trial is tried again.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import optuna
from optuna.storages import JournalStorage, RDBStorage, RetryFailedTrialCallback
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from modsnr import InputError, files, runs
from modsnr.sweeps.analysis import measure
from modsnr.sweeps.space import Space

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

ATTEMPTS = 3  # at a trial until it counts as the reason why its sweeps were killed
CLAIMED_WITHIN_S = 20.0  # a running trial that names no worker is at most so old
SURPLUS = "surplus"  # a trial that one process too many began, and that is not done
HEARTBEAT_S = 60  # of a sweep on PostgreSQL, for other machines
ABANDONED_AFTER_S = 600
# How a trial ended whose run is on another machine, or was never begun.
STATUS = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "pruned"}


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: ``status`` as of a run, ``value`` of the metric if it completed."""

    number: int
    status: str
    value: float | None
    run: str | None
    parameters: dict[str, Any]
    error: str | None = None


def folder() -> Path:
    """Return the folder of journals and locks."""
    path = runs.root() / "runs" / ".sweeps"
    path.mkdir(parents=True, exist_ok=True)
    return path


def open_study(space: Space, storage: str | None) -> Study:
    """Return the sweep's study, made if there is none; InputError if it is of another space."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if space.pruner == "hyperband":
        pruner = optuna.pruners.HyperbandPruner(max_resource=space.epochs)
    study = optuna.create_study(
        study_name=space.name,
        storage=_postgresql(storage) if storage else JournalStorage(_Journal(space.name)),
        direction="maximize",
        pruner=pruner,
        load_if_exists=True,
    )
    wanted = space.model_dump(mode="json", exclude={"trials", "description"})
    if not study.user_attrs:
        study.set_user_attr("space", wanted)
    before = study.user_attrs["space"]
    if changed := [key for key in wanted if wanted[key] != before.get(key)]:
        raise InputError(
            f"sweep {space.name} was begun with another {', '.join(changed)}. Give the file a new "
            "name to begin another sweep; only trials may change while one goes on."
        )
    return study


def suggest(study: Study, space: Space, trial: Trial, index: int) -> dict[str, Any]:
    """Return the notebook's parameters at the point of the trial of that index."""
    study.sampler = _sampler(space, index)
    for name, part in space.space.items():
        if isinstance(part, list):
            trial.suggest_categorical(name, [json.dumps(choice) for choice in part])
        elif space.is_whole(name):
            trial.suggest_int(name, int(part.low), int(part.high), log=part.log)
        else:
            trial.suggest_float(name, part.low, part.high, log=part.log)
    return values_of(trial.params)


def _sampler(space: Space, index: int) -> optuna.samplers.BaseSampler:
    # A sampler's own generator would begin anew, and repeat itself, when a sweep goes on.
    seed = int(np.random.SeedSequence([space.seed, index]).generate_state(1)[0])
    if space.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    random = optuna.samplers.RandomSampler(seed)
    if space.sampler == "random":
        return random
    # Not Optuna's grid, which goes by a trial's number: attempts count, and trials of others.
    point = {name: json.dumps(value) for name, value in space.point(index).items()}
    with _experimental():
        return optuna.samplers.PartialFixedSampler(point, random)


def values_of(params: dict[str, Any]) -> dict[str, Any]:
    """Return the notebook's parameters of what the study keeps, choices as JSON."""
    return {n: json.loads(v) if isinstance(v, str) else v for n, v in params.items()}


def attempts_before(trial: FrozenTrial) -> list[int]:
    """Return the numbers of the trials that this one repeats, the first attempt first."""
    return trial.system_attrs.get("retry_history", [])


def index(trials: Iterable[FrozenTrial], trial: FrozenTrial) -> int:
    """Return how many first attempts were made before the first attempt at this trial."""
    first = [*attempts_before(trial), trial.number][0]
    return sum(_is_first(one) for one in trials if one.number < first)


def is_complete(study: Study, limit: int) -> bool:
    """Return whether so many trials were begun, and none waits to be done again."""
    trials = study.get_trials(deepcopy=False)
    waiting = any(trial.state == TrialState.WAITING for trial in trials)
    return not waiting and sum(map(_is_first, trials)) >= limit


def _is_first(trial: FrozenTrial) -> bool:
    return not attempts_before(trial) and SURPLUS not in trial.user_attrs


@contextmanager
def working() -> Iterator[str]:
    """Hold the lock of a worker, and yield the name that its trials bear."""
    name = uuid4().hex
    path = folder() / f"{name}.worker"
    with files.lock(path):
        yield name
        path.unlink(missing_ok=True)  # within: a file without a lock is what a kill leaves


def try_again(study: Study, number: int) -> None:
    """Queue a trial that was cut off, once; not if it was attempted ``ATTEMPTS`` times."""
    trials = study.get_trials()
    if not any(attempts_before(other)[-1:] == [number] for other in trials):
        trials[number].user_attrs = {}  # a new attempt has another worker
        with _experimental():
            RetryFailedTrialCallback(max_retry=ATTEMPTS - 1)(study, trials[number])


def revive(study: Study, space: Space) -> bool:
    """Settle the trials that a kill left behind; return whether one cannot be settled yet."""
    unsettled = False
    with files.lock(folder() / f"{space.name}.revive"):
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            run = run_of(space, trial)
            if not _is_left_behind(trial):
                unsettled |= "worker" not in trial.user_attrs
            elif run and run.status == "running":
                unsettled = True  # it ends by itself, as soon as it sees that its sweep is gone
            else:
                if run is None or run.status in ("crashed", "interrupted"):
                    try_again(study, trial.number)
                state, value = state_of(space, run)
                study.tell(trial.number, value, state=state)
    return unsettled


def _is_left_behind(trial: FrozenTrial) -> bool:
    """Return whether nobody works on a running trial; another machine's cannot be known here."""
    if worker := trial.user_attrs.get("worker"):
        # No file: it is another machine's, or its work ended in this very moment.
        return runs.is_held(folder() / f"{worker}.worker") is False
    begun = trial.datetime_start or datetime.min  # killed before it named its worker?
    return (datetime.now() - begun).total_seconds() > CLAIMED_WITHIN_S


def run_of(space: Space, trial: FrozenTrial | Trial) -> runs.Record | None:
    """Return the run of a trial, or none where its process did not come so far."""
    folders = (runs.root() / "runs").glob(f"*-{space.notebook}-{run_name(space, trial)}*/run.json")
    known = [runs.Record.load(path.parent) for path in folders] or runs.rows_of(space.name)
    return next((run for run in known if number_of(space, run) == trial.number), None)


def run_name(space: Space, trial: FrozenTrial | Trial) -> str:
    """Return the name of a trial's run."""
    return f"{space.name}-{trial.number:04d}"


def number_of(space: Space, run: runs.Record) -> int | None:
    """Return the number of the sweep's trial that a run belongs to, if it does."""
    sweep = run.sweep or {}
    return sweep.get("trial") if sweep.get("name") == space.name else None


def state_of(space: Space, run: runs.Record | None) -> tuple[TrialState, float | None]:
    """Return the state and value of the trial of a run that has ended, or was never begun."""
    if run and run.status == "pruned":
        return TrialState.PRUNED, None
    value = measure(run, space.metric) if run and run.status == "completed" else None
    return (TrialState.FAIL if value is None else TrialState.COMPLETE), value


def outcome_of(space: Space, trial: FrozenTrial, run: runs.Record | None) -> Outcome:
    """Return how a finished trial, of which this is the run if it is here, ended."""
    status, error = STATUS.get(trial.state, "crashed"), trial.user_attrs.get("error")
    if run:
        status, error = run.status, run.error
    if status == "completed" and trial.state == TrialState.FAIL:
        status, error = "failed", f"metrics.json has no finite {space.metric}"
    values = values_of(trial.params)
    return Outcome(trial.number, status, trial.value, run.id if run else None, values, error)


class _Journal(JournalFileBackend):
    """Optuna's journal, of which a line that a kill left half written is cut off."""

    def __init__(self, name: str) -> None:
        self.path = folder() / f"{name}.journal"
        self.lock = files.lock(self.path.with_suffix(".lock"))  # freed by any death at once
        super().__init__(str(self.path), lock_obj=self.lock)  # type: ignore[arg-type]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines to whole lines."""
        with self.lock:
            content = self.path.read_bytes()[-(2**20) :]
            if torn := len(content) - (content.rfind(b"\n") + 1):
                os.truncate(self.path, self.path.stat().st_size - torn)
            super().append_logs(logs)


def refuse_password(url: str) -> None:
    """Raise InputError for a storage that is not PostgreSQL, or whose address holds a password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        address = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise InputError("--storage is no address such as postgresql://user@host/name") from error
    if address.get_backend_name() != "postgresql":
        raise InputError(f"--storage takes postgresql://, not {address.get_backend_name()}://")
    if address.password is not None or "password" in address.query:
        raise InputError(
            "--storage holds a password, which would show in the list of processes: take it out "
            "and put it into a file that PGPASSFILE names (host:port:database:user:password, "
            "readable by you only), or into PGPASSWORD"
        )


def _postgresql(url: str) -> RDBStorage:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
    from sqlalchemy.pool import NullPool

    # The default driver is another one in another version of SQLAlchemy.
    address = make_url(url).set(drivername="postgresql+psycopg2").render_as_string()
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for last in (False, False, True):
        try:
            with _experimental():
                return RDBStorage(
                    address,
                    engine_kwargs={"poolclass": NullPool},
                    heartbeat_interval=HEARTBEAT_S,
                    grace_period=ABANDONED_AFTER_S,
                    failed_trial_callback=RetryFailedTrialCallback(max_retry=ATTEMPTS - 1),
                )
        except (IntegrityError, ProgrammingError):
            if last:  # two that make the tables at once get into each other's way
                raise
        except OperationalError as error:
            reason = str(error.orig).strip().replace("\n", " ")
            raise InputError(f"the storage of the sweep cannot be reached: {reason}") from error
        except ImportError as error:
            raise InputError(
                '--storage needs a driver: pip install "modsnr[postgresql]"'
            ) from error
    raise AssertionError


@contextmanager
def _experimental() -> Iterator[None]:
    """Use what Optuna calls experimental, or by a name that its newest version calls old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield
