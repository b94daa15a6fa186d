"""Trials of a sweep: each a run in a process of its own, as many at once as there are workers.

A trial runs in an ordinary run folder. When it ends it becomes a row of ``runs/sweeps/<name>.csv``,
and its folder goes, but for the best trial's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from optuna import TrialPruned
from optuna.trial import TrialState

from modsnr import InputError, files, runs
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
    ``workers`` trials run at once, each in a process of its own; with a Dask ``client`` as many as
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
    _need_frames(space)
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


def _need_frames(space: Space) -> None:
    """Raise InputError where the frames that all trials train on are not made yet."""
    values = runs.check(space.notebook, space.preset | space.fixed)
    if "frames" in space.space:
        return  # each trial has its own
    try:
        runs.need_frames(space.notebook, values, space.profile)
    except InputError as error:
        raise InputError(f"sweep {space.name}: {error}") from error


def _refuse_mixture(space: Space, storage: str | None) -> None:
    """Raise InputError where a new sweep would be counted together with an older one's runs."""
    if open_study(space, storage).get_trials(deepcopy=False):
        return
    if older := [run for run in runs.records() if (run.sweep or {}).get("name") == space.name]:
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
    by_owner = {run.sweep.get("owner"): run for run in runs.records() if run.sweep}
    outcomes = {
        trial.number: studies.outcome_of(space, trial, by_owner.get(trial.user_attrs.get("owner")))
        for trial in known
        if trial.state.is_finished() and not trial.user_attrs.get(studies.SURPLUS)
    }
    counts = Counter(o.status for number, o in outcomes.items() if number not in repeated)
    complete = any(trial.state == TrialState.COMPLETE for trial in known)
    return Summary(
        dict(counts.most_common()),
        len(repeated),
        sum(trial.state == TrialState.RUNNING for trial in known),
        outcomes[study.best_trial.number] if complete else None,
    )


def _here(work: Work, workers: int, echo: Callable[[Outcome], object] | None) -> None:
    """Do trials, ``workers`` at once, until the sweep has all."""
    stop = threading.Event()
    threads = str(max(1, _cores() // workers))
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
    held: ExitStack = field(default_factory=ExitStack)  # the lock of the trial's owner

    def do_trials(self, most: int | None = None) -> None:
        """Do trials until the sweep has all, or ``most`` were done here."""
        study = open_study(self.work.space, self.work.storage)
        while not self.stop.is_set() and most != 0:
            unsettled = studies.revive(study, self.work.space)
            if not studies.is_complete(study, self.work.limit):
                caught, after = (TrialEndedError,), [self._ended]
                objective = partial(self._run, study)
                study.optimize(objective, n_trials=1, catch=caught, callbacks=after)
                most = None if most is None else most - 1
            elif unsettled:
                time.sleep(LOOK_EVERY_S)
            else:
                break
        self._fold(study)

    def _run(self, study: Study, trial: Trial) -> float:
        """Run a trial in a process of its own and return its value."""
        space = self.work.space
        owner = self.held.enter_context(studies.owning(trial))
        trials = study.get_trials(deepcopy=False)
        attempts = studies.attempts_before(trials[trial.number])
        index = studies.index(trials, trials[trial.number])
        if index >= self.work.limit:  # another process took the last one just before
            trial.set_user_attr(studies.SURPLUS, True)
            raise TrialEndedError
        values = space.fixed | studies.suggest(study, space, trial, index)
        again = attempts[-1] if attempts else None
        order = {
            "notebook": space.notebook,
            "profile": space.profile,
            "parameters": values,
            "name": f"{space.name}-{trial.number:04d}",
            "sweep": {"name": space.name, "trial": trial.number, "owner": owner, "again": again},
        }
        why, last_words = self._watch(order, trial)
        run = studies.run_of(space, trial)
        if self.stop.is_set() and (run is None or run.status in ("interrupted", "crashed")):
            studies.try_again(study, trial.number)
        if why and run and run.status == "interrupted":
            run = runs.prune(run, why)
        if run is None:
            trial.set_user_attr("error", f"no run was begun: {last_words}")
        elif run.status == "pruned":
            raise TrialPruned
        _, value = studies.state_of(space, run)
        if value is None:
            raise TrialEndedError
        return value

    def _watch(self, order: dict[str, Any], trial: Trial) -> tuple[str, str]:
        """Run a trial; return why it was pruned, if so, and its process's last words."""
        code = "from modsnr.sweeps.trials import run_ordered; run_ordered()"
        why, reported, space = "", 0, self.work.space
        with tempfile.TemporaryFile() as words:
            process = subprocess.Popen(
                [sys.executable, "-c", code, str(os.getpid()), json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=words,
                env=self.environment | os.environ,
                start_new_session=True,  # Ctrl-C reaches this process, which then interrupts it
            )
            while _lives(process):
                if self.stop.is_set() or why:
                    process.send_signal(signal.SIGINT)
                    process.wait()
                elif space.pruner == "hyperband":
                    for epoch, value in course(space, studies.run_of(space, trial))[reported:]:
                        trial.report(value, epoch)
                        reported += 1
                        if trial.should_prune():
                            why = f"pruned by Hyperband after epoch {epoch}: {value:.4g}"
                            break
            return why, _last_line(words)

    def _ended(self, study: Study, trial: FrozenTrial) -> None:
        """Let go of a trial that Optuna knows the end of, and make a row of its run."""
        self.held.close()
        if studies.SURPLUS in trial.user_attrs or self.stop.is_set():
            return
        space = self.work.space
        outcome = studies.outcome_of(space, trial, studies.run_of(space, trial))
        self._fold(study)
        if self.echo:
            self.echo(outcome)

    def _fold(self, study: Study) -> None:
        """Make rows of the runs of all finished trials; the best one's folder stays as well."""
        space = self.work.space
        trials = study.get_trials(deepcopy=False)
        finished = {t.user_attrs.get("owner") for t in trials if t.state.is_finished()}
        complete = any(trial.state == TrialState.COMPLETE for trial in trials)
        best = study.best_trial.user_attrs["owner"] if complete else None
        for path in (runs.root() / "runs").glob(f"*-{space.notebook}-{space.name}-*"):
            with suppress(InputError):  # another process made a row of it
                run = runs.Record.load(path)
                owner = (run.sweep or {}).get("owner")
                if owner in finished:
                    kept = self.work.keep_folders or owner == best
                    sweep_tables.add(space.name, [run], remove=not kept)


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


def _lives(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(LOOK_EVERY_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def _last_line(words: IO[bytes]) -> str:
    words.seek(0)
    lines = words.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_ordered() -> None:
    """Run the trial that the command line orders; end as soon as the sweep's process is gone."""
    parent, order = sys.argv[1:]
    files.end_with_parent(int(parent))
    with suppress(KeyboardInterrupt):  # recorded as interrupted
        runs.execute(**json.loads(order))
