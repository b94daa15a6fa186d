"""Trials of a sweep: each a run with a kernel of its own, as many at once as there are workers.

A trial runs in an ordinary run folder. When it ends it becomes a row of ``runs/sweeps/<name>.csv``,
and its folder goes, but for the best trial's.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna import TrialPruned
from optuna.trial import TrialState

from modsnr import InputError, runs
from modsnr.runs import sweep_tables
from modsnr.sweeps import study as studies
from modsnr.sweeps.space import Space
from modsnr.sweeps.study import Outcome, open_study
from modsnr.workers import ONE_THREAD, each

if TYPE_CHECKING:
    from distributed import Client
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

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
    workers: int = 1,
    client: Client | None = None,
    keep_folders: bool = False,
    echo: Callable[[Outcome], object] | None = None,
) -> Summary:
    """Do the sweep, or go on with it, until it has so many trials; return what became of them.

    ``trials`` is how many there are in all (else the file says so, else a grid's points).
    ``workers`` trials run at once, each in a kernel of its own; with a Dask ``client`` as many as
    it has workers. ``storage`` is a PostgreSQL address that several machines may share. ``echo`` is
    called with each trial that ends here. ``keep_folders`` keeps all run folders beside the table.
    A trial that fails, diverges or crashes is counted and no more.

    Raises InputError before anything starts. On KeyboardInterrupt the trials under way are
    interrupted; they are done again when the sweep goes on.
    """
    limit = trials or space.trials or (space.size if space.sampler == "grid" else 0)
    if limit < 1 or workers < 1:
        raise InputError("a sweep needs --trials, 1 or more, and 1 worker or more")
    if space.sampler == "grid":
        limit = min(limit, space.size)
    if storage is not None:
        studies.refuse_password(storage)
    if "frames" not in space.space:  # else each trial has its own
        runs.need_frames(space.notebook, runs.check(space.notebook, space.preset), space.profile)
    _refuse_mixture(space, storage)
    work = Work(space, limit, storage, str(runs.root()), keep_folders)
    if client is None:
        _here(work, workers, echo)
    else:
        done = threading.Event()
        for outcomes in each(client, _do_one, iter(lambda: None if done.is_set() else work, None)):
            if not outcomes:
                done.set()
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


def _here(work: Work, workers: int, echo: Callable[[Outcome], object] | None) -> None:
    """Do trials, ``workers`` at once, until the sweep has all."""
    from dask.system import cpu_count  # sees affinity and a container's share

    stop = threading.Event()
    threads = str(max(1, cpu_count() // workers))
    environment = dict.fromkeys(ONE_THREAD, threads) if workers > 1 else {}
    with ThreadPoolExecutor(workers) as pool:
        seats = [Worker(work, stop, echo, environment) for _ in range(workers)]
        working = [pool.submit(seat.do_trials) for seat in seats]
        try:
            for one in as_completed(working):
                one.result()
        except BaseException:
            stop.set()
            raise


def _do_one(work: Work) -> list[Outcome]:
    """Do one trial in a worker of a cluster and return how it ended; nothing if none is left."""
    os.environ["MODSNR_ROOT"] = work.root
    outcomes: list[Outcome] = []
    Worker(work, echo=outcomes.append).do_trials(most=1)
    return outcomes


@dataclass
class Worker:
    """Who does one trial after another; ``stop`` interrupts the trial and ends the work."""

    work: Work
    stop: threading.Event = field(default_factory=threading.Event)
    echo: Callable[[Outcome], object] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def do_trials(self, most: int | None = None) -> None:
        """Do trials until the sweep has all, or ``most`` were done here."""
        study = open_study(self.work.space, self.work.storage)
        with studies.working() as name:

            def objective(trial: Trial) -> float:
                trial.set_user_attr("worker", name)
                return self._run(study, trial)

            while not self.stop.is_set() and most != 0:
                unsettled = studies.revive(study, self.work.space)
                if not studies.is_complete(study, self.work.limit):
                    caught, after = (TrialEndedError,), [self._ended]
                    study.optimize(objective, n_trials=1, catch=caught, callbacks=after)
                    most = None if most is None else most - 1
                elif unsettled:
                    time.sleep(LOOK_EVERY_S)
                else:
                    break
        self._make_rows(study)

    def _run(self, study: Study, trial: Trial) -> float:
        """Run a trial and return its value."""
        space = self.work.space
        trials = study.get_trials(deepcopy=False)
        attempts = studies.attempts_before(trials[trial.number])
        index = studies.index(trials, trials[trial.number])
        if index >= self.work.limit:  # another process took the last one just before
            trial.set_user_attr(studies.SURPLUS, True)
            raise TrialEndedError
        again = attempts[-1] if attempts else None
        order = {
            "notebook": space.notebook,
            "profile": space.profile,
            "parameters": space.fixed | studies.suggest(study, space, trial, index),
            "name": studies.run_name(space, trial),
            "sweep": {"name": space.name, "trial": trial.number, "again": again},
            "environment": self.environment,
        }
        self._execute(order, trial)
        run = studies.run_of(space, trial)
        if self.stop.is_set() and (run is None or run.status in ("interrupted", "crashed")):
            studies.try_again(study, trial.number)
        state, value = studies.state_of(space, run)
        if state == TrialState.PRUNED:
            raise TrialPruned
        if value is None:
            raise TrialEndedError
        return value

    def _execute(self, order: dict[str, Any], trial: Trial) -> None:
        """Run a trial to its end, unless it is interrupted by ``stop`` or pruned by Hyperband."""
        space, reported, stop = self.work.space, 0, runs.Stop()
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(_execute_in_thread, **order, stop=stop)
            try:
                while not wait([running], LOOK_EVERY_S).done and not stop.status:
                    if self.stop.is_set():
                        stop.now()
                    elif space.pruner == "hyperband":
                        for epoch, value in course(space, studies.run_of(space, trial))[reported:]:
                            trial.report(value, epoch)
                            reported += 1
                            if trial.should_prune():
                                why = f"pruned by Hyperband after epoch {epoch}: {value:.4g}"
                                stop.now("pruned", why)
                                break
            except BaseException:
                stop.now()
                raise
        try:
            running.result()
        except KeyboardInterrupt:
            pass  # recorded as interrupted
        except (InputError, OSError, RuntimeError) as error:
            trial.set_user_attr("error", f"{type(error).__name__}: {error}")

    def _ended(self, study: Study, trial: FrozenTrial) -> None:
        """Make a row of the run of a trial that Optuna knows the end of."""
        if studies.SURPLUS in trial.user_attrs or self.stop.is_set():
            return
        space = self.work.space
        outcome = studies.outcome_of(space, trial, studies.run_of(space, trial))
        self._make_rows(study)
        if self.echo:
            self.echo(outcome)

    def _make_rows(self, study: Study) -> None:
        """Make rows of the runs of all finished trials; the best one's folder stays as well."""
        space, best = self.work.space, _best(study)
        trials = study.get_trials(deepcopy=False)
        finished = {trial.number for trial in trials if trial.state.is_finished()}
        for path in (runs.root() / "runs").glob(f"*-{space.notebook}-{space.name}-*"):
            with suppress(InputError):  # another process made a row of it
                run = runs.Record.load(path)
                number = studies.number_of(space, run)
                if number in finished:
                    kept = self.work.keep_folders or number == best
                    sweep_tables.add(space.name, [run], remove=not kept)


def _execute_in_thread(**order: Any) -> None:
    """Run a notebook in a thread that ends with it, as does the thread's event loop."""
    from jupyter_core.utils import ensure_event_loop

    try:
        runs.execute(**order)
    finally:
        ensure_event_loop().close()


def course(space: Space, run: runs.Record | None) -> list[tuple[int, float]]:
    """Return the metric of the epochs that a run has behind it, as pairs (epoch, value).

    They are those of the run's history.csv, or before it is written of training's checkpoint.
    """
    import pandas as pd
    from safetensors import safe_open

    if run is None:
        return []
    checkpoint = run.folder / runs.CHECKPOINT
    if run.has_history:
        rows = run.history
    elif checkpoint.exists():
        with safe_open(checkpoint, framework="np") as file:
            rows = pd.DataFrame(json.loads(file.metadata()["progress"])["history"])
    else:
        return []
    column = space.metric.replace(".", "_")
    if len(rows) and column not in rows:
        raise InputError(
            f"sweep {space.name}: hyperband needs {column} after each epoch; the history of "
            f"{run.id} has {', '.join(rows.columns)}"
        )
    return [(i, float(value)) for i, value in enumerate(rows[column], 1)] if len(rows) else []
