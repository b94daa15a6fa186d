"""Trials done: each a run in a process of its own, as many at once as there are seats."""

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
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from modsnr import InputError, runs
from modsnr.sweeps.space import Space
from modsnr.sweeps.study import (
    REPEATED,
    SURPLUS,
    Outcome,
    ask,
    give_back,
    open_study,
    owner,
    refuse_password,
    run_of,
    settle,
    values_of,
)
from modsnr.workers import ONE_THREAD, Pool

if TYPE_CHECKING:
    from optuna.trial import Trial

LOOK_EVERY_S = 0.3


@dataclass(frozen=True)
class Summary:
    """What became of a sweep's trials so far: how many of each status, and the best."""

    counts: dict[str, int]
    repeated: int
    under_way: int
    best: Outcome | None


@dataclass(frozen=True)
class _Task:
    """What a seat must know, wherever it is."""

    space: Space
    limit: int
    storage: str | None
    root: str
    environment: dict[str, str] = field(default_factory=dict)


def sweep(
    space: Space,
    *,
    trials: int | None = None,
    storage: str | None = None,
    workers: int = 1,
    pool: Pool | None = None,
    echo: Callable[[Outcome], object] | None = None,
) -> Summary:
    """Do the sweep, or go on with it, until it has so many trials; return what became of them.

    ``trials`` is how many there are in all (else the file says so, else a grid's points).
    ``workers`` trials run at once, each in a process of its own; with ``pool`` as many as it has.
    ``storage`` is a PostgreSQL address that several machines may share. ``echo`` is called with
    each trial that ends here. A trial that fails, diverges or crashes is counted and no more.

    Raises InputError before anything starts. On KeyboardInterrupt the trials under way are
    interrupted; they are done again when the sweep goes on.
    """
    limit = trials or space.trials or (space.size if space.sampler == "grid" else 0)
    if limit < 1 or workers < 1:
        raise InputError("a sweep needs --trials, 1 or more, and 1 worker or more")
    if space.sampler == "grid":
        limit = min(limit, space.size)
    if storage is not None:
        refuse_password(storage)
    _need_frames(space)
    _refuse_mixture(space, storage)
    task = _Task(space, limit, storage, str(runs.root()), _threads(workers))
    if pool is None:
        _here(task, workers, echo)
    else:
        ended = threading.Event()
        for outcome in pool.each(_away, _until(ended, task)):
            if outcome is None:
                ended.set()
            elif echo:
                echo(outcome)
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
    older = [run for run in runs.records() if (run.sweep or {}).get("name") == space.name]
    if older:
        raise InputError(
            f"runs/ holds {len(older)} runs of a sweep called {space.name} that was begun "
            "elsewhere, with which these trials would be mixed up: give this one a name of its "
            f"own, --name {space.name}-again, say"
        )


def summary(space: Space, storage: str | None = None) -> Summary:
    """Return what became of a sweep's trials so far."""
    from optuna.trial import TrialState

    study = open_study(space, storage)
    known = study.get_trials(deepcopy=False)
    outcomes = Counter(t.user_attrs.get("outcome") for t in known if t.state.is_finished())
    repeated = outcomes.pop(REPEATED, 0)
    outcomes.pop(SURPLUS, None)
    best = None
    if any(trial.state == TrialState.COMPLETE for trial in known):
        top = study.best_trial
        values = values_of(space, top.params)
        best = Outcome(top.number, "completed", top.value, top.user_attrs.get("run"), values)
    under_way = sum(trial.state == TrialState.RUNNING for trial in known)
    return Summary({str(k): n for k, n in outcomes.most_common()}, repeated, under_way, best)


def _here(task: _Task, workers: int, echo: Callable[[Outcome], object] | None) -> None:
    stop = threading.Event()

    def keep_at_it() -> None:
        while not stop.is_set() and (outcome := _do_one(task, stop)):
            if echo:
                echo(outcome)

    with ThreadPoolExecutor(workers) as seats:
        working = [seats.submit(keep_at_it) for _ in range(workers)]
        try:
            for seat in as_completed(working):
                seat.result()
        except BaseException:
            stop.set()
            raise


def _until(ended: threading.Event, task: _Task) -> Iterator[_Task]:
    while not ended.is_set():
        yield task


def _away(task: _Task) -> Outcome | None:
    """Do one trial in a worker of a pool, which may be on another machine."""
    os.environ["MODSNR_ROOT"] = task.root
    return _do_one(task, threading.Event())


def _do_one(task: _Task, stop: threading.Event) -> Outcome | None:
    """Do one trial from asking to telling; return none if there are no more, or it was stopped."""
    space = task.space
    study = open_study(space, task.storage)
    with owner() as name:
        trial, dying = ask(study, space, task.limit, name)
        while trial is None and dying and not stop.is_set():
            time.sleep(LOOK_EVERY_S)
            trial, dying = ask(study, space, task.limit, name)
        if trial is None:
            return None
        values = space.fixed | values_of(space, trial.params)
        order = {
            "notebook": space.notebook,
            "profile": space.profile,
            "parameters": values,
            "name": f"{space.name}-{trial.number:04d}",
            "sweep": {
                "name": space.name,
                "trial": trial.number,
                "owner": name,
                "again": trial.user_attrs.get("again"),
            },
        }
        why, said = _watch(task, order, trial, stop)
        run = run_of(space, trial)
        if stop.is_set() and (run is None or run.status in ("interrupted", "crashed")):
            give_back(study, trial.number)
            return None
        if why and run and run.status == "interrupted":
            run = runs.prune(run, why)
        if run is None:
            return settle(study, space, trial.number, None, said)
        return settle(study, space, trial.number, run)


def _watch(
    task: _Task, order: dict[str, Any], trial: Trial, stop: threading.Event
) -> tuple[str, str]:
    """Run a trial in a process of its own; return why it was pruned, if so, and its last words.

    The process ends as soon as this one is gone, however it went: it waits on a pipe from here.
    """
    code = "from modsnr.sweeps.trials import _run; _run()"
    why = ""
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=words,
            env=task.environment | os.environ,
            start_new_session=True,  # Ctrl-C reaches us first, who then interrupt it in good order
        )
        assert process.stdin
        with suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(json.dumps(order).encode() + b"\n")
            pipe.flush()
            reported = 0
            while _lives(process):
                if stop.is_set() or why:
                    process.send_signal(signal.SIGINT)
                    process.wait()
                elif task.space.pruner == "hyperband":
                    for epoch, value in _course(task.space, trial)[reported:]:
                        trial.report(value, epoch)
                        reported += 1
                        if trial.should_prune():
                            why = f"pruned by Hyperband after epoch {epoch}: {value:.4g}"
                            break
        process.wait()
        return why, _last_line(words)


def _course(space: Space, trial: Trial) -> list[tuple[int, float]]:
    """Return the metric of the epochs that a trial has behind it, as pairs (epoch, value).

    A run's history.csv tells of them; where it comes at the end only, training's checkpoint does.
    """
    import pandas as pd
    from safetensors import safe_open

    run = run_of(space, trial)
    if run is None:
        return []
    checkpoint = run.folder / runs.CHECKPOINT
    if (run.folder / "history.csv").exists():
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
    return next((line.strip() for line in reversed(lines) if line.strip()), "no run was begun")


def _threads(workers: int) -> dict[str, str]:
    """Return the variables by which trials at once share the cores instead of fighting for them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    share = str(max(1, (cores or 1) // workers))
    return dict.fromkeys(ONE_THREAD, share) if workers > 1 else {}


def _run() -> None:
    """Run what the sweep orders on standard input; end at once when the sweep is gone."""
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(KeyboardInterrupt):  # recorded as interrupted
        runs.execute(**order)


def _end_with_parent() -> None:
    os.read(0, 1)  # nothing more is ever written: this is the pipe's end
    os.kill(os.getpid(), signal.SIGKILL)
