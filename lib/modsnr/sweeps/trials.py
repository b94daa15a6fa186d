"""Trials of a sweep: each a run with a kernel of its own, as many at once as there are workers.

A trial runs in an ordinary run folder. When it ends it becomes a row of ``runs/sweeps/<name>.csv``,
and its folder goes, but for the best trial's.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from optuna import TrialPruned
from optuna.trial import TrialState

from modsnr import InputError, runs
from modsnr.runs import sweep_tables
from modsnr.sweeps import study as studies
from modsnr.sweeps.space import Space
from modsnr.sweeps.study import Outcome, open_study
from modsnr.workers import each

if TYPE_CHECKING:
    from distributed import Client
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

INTERRUPTED = "interrupted"  # a trial that is done again, and whose process ends
LOOK_EVERY_S = 0.3


@dataclass(frozen=True)
class Summary:
    """What became of a sweep's trials so far: how many of each status, and the best."""

    counts: dict[str, int]
    repeated: int
    under_way: int
    best: Outcome | None


@dataclass(frozen=True)
class Work:
    """What a worker must know to do trials of a sweep, wherever it is."""

    space: Space
    limit: int
    storage: str | None
    root: str
    keep_folders: bool


class TrialEndedError(Exception):
    """A trial ended without a value."""


def sweep(
    space: Space,
    *,
    trials: int | None = None,
    storage: str | None = None,
    client: Client | None = None,
    keep_folders: bool = False,
    echo: Callable[[Outcome], object] | None = None,
) -> Summary:
    """Do the sweep, or go on with it, until it has so many trials; return what became of them.

    ``trials`` is how many there are in all (else the file says so, else a grid's points).
    Trials are done one by one, or by the workers of a Dask ``client``, each in a kernel of its own.
    ``storage`` is a PostgreSQL address that several machines may share. ``echo`` is called with
    each trial that ends here. ``keep_folders`` keeps all run folders beside the table. A trial that
    fails, diverges or crashes is counted and no more.

    Raises InputError before anything starts. KeyboardInterrupt ends the trials under way; they are
    done again when the sweep goes on.
    """
    limit = trials or space.trials or (space.size if space.sampler == "grid" else 0)
    if limit < 1:
        raise InputError("a sweep needs --trials, 1 or more")
    if space.sampler == "grid":
        limit = min(limit, space.size)
    if storage is not None:
        studies.refuse_password(storage)
    if "frames" not in space.space:  # else each trial has its own
        runs.need_frames(space.notebook, runs.check(space.notebook, space.preset), space.profile)
    _refuse_mixture(space, storage)
    work = Work(space, limit, storage, str(runs.root()), keep_folders)
    complete = Event()
    for outcomes in each(client, _do_one, iter(lambda: None if complete.is_set() else work, None)):
        if not outcomes:
            complete.set()
        elif echo:
            echo(*outcomes)
    return summary(space, storage)


def _refuse_mixture(space: Space, storage: str | None) -> None:
    """Raise InputError where a new sweep would be counted together with an older one's runs."""
    if open_study(space, storage).get_trials(deepcopy=False):
        return
    if older := [run for run in runs.records() if studies.number_of(space, run) is not None]:
        raise InputError(
            f"runs/ holds {len(older)} runs of a sweep called {space.name} that was begun "
            "elsewhere, with which these trials would be mixed up: give this one a name of its "
            f"own, --name {space.name}-again, say"
        )


def summary(space: Space, storage: str | None = None) -> Summary:
    """Return what became of a sweep's trials so far."""
    study = open_study(space, storage)
    known = study.get_trials(deepcopy=False)
    repeated = {number for trial in known for number in studies.attempts_before(trial)}
    by_number = {studies.number_of(space, run): run for run in runs.records()}
    outcomes = {
        trial.number: studies.outcome_of(space, trial, by_number.get(trial.number))
        for trial in known
        if trial.state.is_finished() and studies.SURPLUS not in trial.user_attrs
    }
    counts = Counter(o.status for number, o in outcomes.items() if number not in repeated)
    under_way = sum(trial.state == TrialState.RUNNING for trial in known)
    best = outcomes.get(_best(study))
    return Summary(dict(counts.most_common()), len(repeated), under_way, best)


def _best(study: Study) -> int:
    """Return the number of the best trial, -1 if none is complete."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return study.best_trial.number if complete else -1


def _do_one(work: Work) -> list[Outcome]:
    """Do one trial and return how it ended; nothing if none is left."""
    os.environ["MODSNR_ROOT"] = work.root  # of a worker elsewhere
    space, study = work.space, open_study(work.space, work.storage)
    outcomes: list[Outcome] = []

    def after(_: Study, trial: FrozenTrial) -> None:
        if INTERRUPTED in trial.user_attrs:
            raise KeyboardInterrupt("interrupted; the same command goes on with the sweep")
        if studies.SURPLUS not in trial.user_attrs:
            outcomes.append(studies.outcome_of(space, trial, studies.run_of(space, trial)))

    with studies.working() as worker:
        objective = partial(_value, work, study, worker)
        while not outcomes:
            unsettled = studies.revive(study, space)
            if not studies.is_complete(study, work.limit):
                study.optimize(objective, n_trials=1, catch=(TrialEndedError,), callbacks=[after])
            elif unsettled:
                time.sleep(LOOK_EVERY_S)
            else:
                break
    _make_rows(work, study)
    return outcomes


def _value(work: Work, study: Study, worker: str, trial: Trial) -> float:
    """Run a trial and return its value."""
    space, interrupted = work.space, False
    try:
        trial.set_user_attr("worker", worker)
        _execute(work, study, trial)
    except KeyboardInterrupt:
        interrupted = True
        trial.set_user_attr(INTERRUPTED, True)
    run = studies.run_of(space, trial)
    if interrupted and (run is None or run.status in ("interrupted", "crashed")):
        studies.try_again(study, trial.number)
    state, value = studies.state_of(space, run)
    if state == TrialState.PRUNED:
        raise TrialPruned
    if value is None:
        raise TrialEndedError
    return value


def _execute(work: Work, study: Study, trial: Trial) -> None:
    """Run a trial to its end, unless Hyperband prunes it."""
    space, trials = work.space, study.get_trials(deepcopy=False)
    attempts = studies.attempts_before(trials[trial.number])
    index = studies.index(trials, trials[trial.number])
    if index >= work.limit:  # another process took the last one just before
        trial.set_user_attr(studies.SURPLUS, True)
        return
    again = attempts[-1] if attempts else None
    stop, ended = runs.Stop(), Event()
    with ThreadPoolExecutor(1) as thread:
        pruning = thread.submit(_prune, space, trial, stop, ended)
        try:
            runs.execute(
                space.notebook,
                profile=space.profile,
                parameters=space.fixed | studies.suggest(study, space, trial, index),
                name=studies.run_name(space, trial),
                sweep={"name": space.name, "trial": trial.number, "again": again},
                stop=stop,
            )
        except (InputError, OSError, RuntimeError) as error:
            trial.set_user_attr("error", f"{type(error).__name__}: {error}")
        finally:
            ended.set()
        pruning.result()


def _prune(space: Space, trial: Trial, stop: runs.Stop, ended: Event) -> None:
    """Report the epochs of a trial's run to Hyperband as they end, and stop the run at its word."""
    reported = 0
    while space.pruner == "hyperband" and not ended.wait(LOOK_EVERY_S):
        try:
            epochs = course(space, studies.run_of(space, trial))[reported:]
        except InputError as error:
            stop.now("failed", str(error))
            raise
        for epoch, value in epochs:
            trial.report(value, epoch)
            reported += 1
            if trial.should_prune():
                stop.now("pruned", f"pruned by Hyperband after epoch {epoch}: {value:.4g}")
                return


def _make_rows(work: Work, study: Study) -> None:
    """Make rows of the runs of all finished trials; the best one's folder stays as well."""
    space, best = work.space, _best(study)
    trials = study.get_trials(deepcopy=False)
    finished = {trial.number for trial in trials if trial.state.is_finished()}
    for path in (runs.root() / "runs").glob(f"*-{space.notebook}-{space.name}-*"):
        with suppress(InputError):  # another process made a row of it
            run = runs.Record.load(path)
            number = studies.number_of(space, run)
            if number in finished:
                kept = work.keep_folders or number == best
                sweep_tables.add(space.name, [run], remove=not kept)


def course(space: Space, run: runs.Record | None) -> list[tuple[int, float]]:
    """Return the metric of the epochs that a run has behind it, as pairs (epoch, value)."""
    if run is None or not run.has_history:
        return []
    column, rows = space.metric.replace(".", "_"), run.history
    if column not in rows:
        raise InputError(
            f"sweep {space.name}: hyperband needs {column} after each epoch; the history of "
            f"{run.id} has {', '.join(rows.columns)}"
        )
    return list(enumerate(rows[column].astype(float), 1))
