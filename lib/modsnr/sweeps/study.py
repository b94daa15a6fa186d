"""The trials of a sweep in an Optuna study: asked for, told of, and found again after a kill.

A trial's parameters are a pure function of the sweep's seed and the trial's index, and with TPE of
the trials told of before. The index counts trials in the order in which the storage made them,
repetitions left out, so that any number of processes share a grid without a word to each other.

Whoever works on a trial holds a lock on a file that the trial names. A trial under way whose lock
is free was left behind by a kill: what its run says then counts, else it is done again.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from modsnr import InputError, runs
from modsnr.sweeps.space import Range, Space

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

DEATHS = 3  # of sweeps over a trial until the trial is held to be the reason
REPEATED, SURPLUS = "repeated", "surplus"  # outcomes that are no run's
ASKED_WITHIN_S = 60.0  # a trial that says not yet who works on it is at most so old


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
    """Return where journals and locks are; it is no run's."""
    path = runs.root() / "runs" / ".sweeps"
    path.mkdir(parents=True, exist_ok=True)
    return path


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


def open_study(space: Space, storage: str | None) -> Study:
    """Return the sweep's study, made if there is none; InputError if it is of another space."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if space.pruner == "hyperband":
        pruner = optuna.pruners.HyperbandPruner(max_resource=space.epochs)
    study = optuna.create_study(
        study_name=space.name,
        storage=_storage(space.name, storage),
        direction=space.direction,
        pruner=pruner,
        load_if_exists=True,
    )
    told = space.model_dump(mode="json", exclude={"trials", "description"})
    if not study.user_attrs:
        study.set_user_attr("space", told)
    before = study.user_attrs["space"]
    if changed := [key for key in told if told[key] != before.get(key)]:
        raise InputError(
            f"sweep {space.name} was begun with another {', '.join(changed)}. Give the file a new "
            "name to begin another sweep; only trials may change while one goes on."
        )
    return study


@contextmanager
def owner() -> Iterator[str]:
    """Hold a lock for as long as a trial is worked on, and yield its name."""
    name = uuid4().hex
    path = folder() / f"{name}.owner"
    with _locked(path):
        yield name
        path.unlink()  # within: a file without a lock is what a kill leaves


def ask(study: Study, space: Space, limit: int, owner: str) -> tuple[Trial | None, bool]:
    """Return the next trial for ``owner``, or none, and whether a trial left behind still runs."""
    from optuna.trial import TrialState

    with _locked(folder() / f"{space.name}.ask"):
        dying = _reconcile(study, space)
        trials = study.get_trials(deepcopy=False)
        waiting = any(trial.state == TrialState.WAITING for trial in trials)
        if not waiting and sum(map(_is_first, trials)) >= limit:
            return None, dying
        trial = study.ask()
        trial.set_user_attr("owner", owner)
        index = _index(study.get_trials(deepcopy=False), trial.number)
        if space.sampler == "grid" and index >= space.size:
            # Another machine took the last point between our look and our asking.
            trial.set_user_attr("outcome", SURPLUS)
            study.tell(trial, state=TrialState.FAIL)
            return None, dying
        study.sampler = _sampler(space, index)
        for name, part in space.space.items():
            _suggest(trial, name, part, whole=space.is_whole(name))
        return trial, dying


def values_of(space: Space, params: dict[str, Any]) -> dict[str, Any]:
    """Return the notebook's parameters of what the study keeps: text, numbers, true and false."""
    values = {}
    for name, kept in params.items():
        part = space.space[name]
        choices = part if isinstance(part, list) else []
        values[name] = next((choice for choice in choices if _kept(choice) == kept), kept)
    return values


def settle(
    study: Study, space: Space, number: int, run: runs.Record | None, said: str = ""
) -> Outcome:
    """Tell the study how a trial ended and return it; ``run`` is none where none was begun.

    ``said`` are then the last words of the trial's process.
    """
    from optuna.trial import TrialState

    status = run.status if run else "crashed"
    error = run.error if run else f"no run was begun: {said}"
    value = measure(run, space.metric) if run and status == "completed" else None
    if status == "completed" and value is None:
        status, error = "failed", f"metrics.json has no finite {space.metric}"
    state = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    params = study.get_trials(deepcopy=False)[number].params
    _note(study, number, outcome=status, run=run.id if run else None)
    study.tell(number, value, state.get(status, TrialState.FAIL))
    return Outcome(number, status, value, run.id if run else None, values_of(space, params), error)


def give_back(study: Study, number: int) -> None:
    """Have a trial done again that its sweep did not live to see end.

    The new trial is made first and once, so that a kill between the two steps loses nothing.
    """
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    tries = _root(trials, trials[number])[1] + 1
    if tries < DEATHS and not any(t.user_attrs.get("again") == number for t in trials):
        study.enqueue_trial(trials[number].params, user_attrs={"again": number})
    _note(study, number, outcome=REPEATED if tries < DEATHS else "crashed")
    study.tell(number, state=TrialState.FAIL, skip_if_finished=True)


def run_of(space: Space, trial: FrozenTrial | Trial) -> runs.Record | None:
    """Return the run of a trial, or none where its process did not come so far."""
    name = f"{space.name}-{trial.number:04d}"
    found = (runs.root() / "runs").glob(f"*-{space.notebook}-{name}*/run.json")
    records = (runs.Record.load(path.parent) for path in found)
    owner = trial.user_attrs.get("owner")
    return next((r for r in records if r.sweep and r.sweep["owner"] == owner), None)


def measure(run: runs.Record, metric: str) -> float | None:
    """Return the number at a dotted path of metrics.json, or of an interval its value."""
    value: Any = run.metrics
    for key in metric.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    value = value.get("value") if isinstance(value, dict) else value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None


def _reconcile(study: Study, space: Space) -> bool:
    """Settle the trials that a kill left behind; whether the run of one still holds on."""
    from optuna.trial import TrialState

    dying = False
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not _left_behind(study, trial):
            continue
        run = run_of(space, trial)
        if run and run.status == "running":
            dying = True  # it ends by itself, at the latest when it is done
            continue
        if run and run.status not in ("crashed", "interrupted"):
            settle(study, space, trial.number, run)
        else:
            give_back(study, trial.number)
        (folder() / f"{trial.user_attrs.get('owner')}.owner").unlink(missing_ok=True)
    return dying


def _left_behind(study: Study, trial: FrozenTrial) -> bool:
    """Whether nobody works on a running trial; of another machine's nothing is known here."""
    from datetime import datetime

    from optuna.storages import JournalStorage

    if name := trial.user_attrs.get("owner"):
        # No file: it is another machine's, or was let go in this very moment.
        return runs.is_held(folder() / f"{name}.owner") is False
    # Killed between the storage's two steps. Here they are under one lock, elsewhere under another.
    if isinstance(study._storage, JournalStorage) or trial.datetime_start is None:
        return True
    return (datetime.now() - trial.datetime_start).total_seconds() > ASKED_WITHIN_S


def _note(study: Study, number: int, **attributes: str | None) -> None:
    id = study.get_trials(deepcopy=False)[number]._trial_id
    for name, value in attributes.items():
        study._storage.set_trial_user_attr(id, name, value)


def _is_first(trial: FrozenTrial) -> bool:
    return "again" not in trial.user_attrs and trial.user_attrs.get("outcome") != SURPLUS


def _root(trials: Sequence[FrozenTrial], trial: FrozenTrial) -> tuple[FrozenTrial, int]:
    """Return the trial that this one repeats, and after how many repetitions."""
    tries = 0
    while "again" in trial.user_attrs:
        trial, tries = trials[trial.user_attrs["again"]], tries + 1
    return trial, tries


def _index(trials: Sequence[FrozenTrial], number: int) -> int:
    root = _root(trials, trials[number])[0]
    return sum(map(_is_first, trials[: root.number]))


def _sampler(space: Space, index: int) -> Any:
    import numpy as np
    import optuna

    if space.sampler == "grid":
        return _point_sampler({name: _kept(v) for name, v in space.point(index).items()})
    # A sampler's own generator would begin anew, and repeat itself, when a sweep goes on.
    seed = int(np.random.SeedSequence([space.seed, index]).generate_state(1)[0])
    kinds = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
    return kinds[space.sampler](seed=seed)


def _point_sampler(point: dict[str, Any]) -> Any:
    from optuna.samplers import BaseSampler

    class Point(BaseSampler):
        """One point: Optuna's grid takes its index from the trial's number, repeats and all."""

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:  # noqa: ARG002
            return {}

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:  # noqa: ARG002
            return {}

        def sample_independent(self, study: Any, trial: Any, param_name: str, _: Any) -> Any:  # noqa: ARG002
            return point[param_name]

    return Point()


def _suggest(trial: Trial, name: str, part: list[Any] | Range, *, whole: bool) -> None:
    if isinstance(part, list):
        trial.suggest_categorical(name, [_kept(choice) for choice in part])
    elif whole:
        step = int(part.step or 1)
        trial.suggest_int(name, int(part.low), int(part.high), log=part.log, step=step)
    else:
        trial.suggest_float(name, part.low, part.high, log=part.log, step=part.step)


def _kept(choice: Any) -> Any:
    """Return a choice as a study may keep it; lists and the like as JSON."""
    return json.dumps(choice) if isinstance(choice, list | dict) else choice


def _storage(name: str, url: str | None) -> BaseStorage:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
    from sqlalchemy.pool import NullPool

    if url is None:
        path = folder() / f"{name}.journal"
        return JournalStorage(JournalFileBackend(str(path), lock_obj=_journal_lock(path)))
    refuse_password(url)
    # The default driver is another one in another version of SQLAlchemy.
    address = make_url(url).set(drivername="postgresql+psycopg2").render_as_string()
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for last in (False, False, True):
        try:
            return RDBStorage(address, engine_kwargs={"poolclass": NullPool})
        except (IntegrityError, ProgrammingError):
            if last:  # two that make the tables at once get into each other's way
                raise
        except OperationalError as error:
            told = str(error.orig).strip().replace("\n", " ")
            raise InputError(f"the storage of the sweep cannot be reached: {told}") from error
        except ImportError as error:
            raise InputError(
                '--storage needs a driver: pip install "modsnr[postgresql]"'
            ) from error
    raise AssertionError


def _journal_lock(journal: Path) -> Any:
    from optuna.storages.journal._file import BaseJournalFileLock

    class Lock(BaseJournalFileLock):
        """A lock that the system drops on any death; Optuna's own ones would have to time out."""

        def acquire(self) -> bool:
            self.file = os.open(journal, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self.file, fcntl.LOCK_EX)
            # A kill amid writing leaves half a line, to which the next one must not be joined.
            content = journal.read_bytes()[-(2**20) :]
            if torn := len(content) - (content.rfind(b"\n") + 1):
                os.truncate(journal, os.path.getsize(journal) - torn)
            return True

        def release(self) -> None:
            os.close(self.file)

    return Lock()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
