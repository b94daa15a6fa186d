"""Fan-out of work: in this process, over its cores, over a queue's jobs, over a Dask cluster.

    with workers.connect("slurm", count=8, queue="batch", cores=4, memory="8GB") as pool:
        for result in pool.each(function, items):
            ...

Dask is imported where it is used: "here" does without it, and it takes half a second.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
import json
import logging
import os
import re
import reprlib
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from modsnr import InputError

if TYPE_CHECKING:
    from distributed import Future, LocalCluster

Item = TypeVar("Item")
Result = TypeVar("Result")

QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster"}
ADDRESS = re.compile(r"(tcp|tls)://[^/]+:\d+")
CONNECT_WITHIN_S = 10.0
IN_FLIGHT = 3  # tasks a thread: one runs, the next are there already
DEATHS = 3  # of workers under a task before the task is held to be the reason
TOGETHER_S = 0.5  # what the scheduler gives up at once is told well within
LOST_AFTER_S = 60.0  # a worker that is restarted is back long before
# Workers of one thread do not fight for cores. The libraries read this when they are loaded.
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
# What fails in a worker is raised in the caller; its own log would say it a second time.
QUIET = {"DASK_LOGGING__DISTRIBUTED": "critical"}
# Decided here, or of no use to workers that only compute.
NO_SETTINGS = {
    *("self", "scheduler", "name", "n_workers", "job_cls", "loop", "asynchronous", "silence_logs"),
    *("scheduler_cls", "host", "dashboard_address"),
    *("project", "extra", "job_extra", "env_extra", "header_skip"),  # deprecated names
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pool:
    """Where work is done; ``where`` says so in words, for a data card."""

    where: str
    _client: Any = None  # distributed.Client; none in one process

    @property
    def count(self) -> int:
        """The number of workers; those of a queue count once their jobs run."""
        return 1 if self._client is None else len(self._client.nthreads())

    def each(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield ``function(item)`` of every item once, in order of completion.

        ``items`` are drawn as workers get free: at most ``IN_FLIGHT`` a thread are under way. What
        ``function`` raises is raised here, and what has not begun is dropped. A task whose worker
        dies runs again on another, so running twice must do no harm. Function, items and results
        travel between processes: they must be picklable, and should be small.

        Raises RuntimeError for an item under which every worker dies, and if all workers are gone.
        """
        if self._client is None:
            return map(function, items)
        return _each(self._client, function, iter(items))


def _each(
    client: Any, function: Callable[[Item], Result], items: Iterator[Item]
) -> Iterator[Result]:
    from distributed import CancelledError, KilledWorker

    crew = _Crew(client)
    running: dict[Future, Item] = {}
    done: SimpleQueue[Future] = SimpleQueue()
    try:
        while True:
            for item in islice(items, max(0, max(1, IN_FLIGHT * crew.threads()) - len(running))):
                future = _submit(client, function, item)
                running[future] = item
                future.add_done_callback(done.put)
            if not running:
                return
            try:
                future = done.get(timeout=1.0)
            except Empty:
                continue
            item = running.pop(future)
            try:
                result = future.result()
            except KilledWorker as error:
                suspects = [item, *_killers(done, running)]
                raise RuntimeError(
                    f"{error.allowed_failures + 1} workers, one after the other, died under "
                    f"{'item' if len(suspects) == 1 else 'one of the items'} "
                    f"{', '.join(map(reprlib.repr, suspects))}. Most often the memory does not "
                    "suffice: take smaller items, fewer workers, or more memory a job. With "
                    '"here" a crash shows itself.'
                ) from error
            except CancelledError as error:
                raise RuntimeError(
                    "The connection to the scheduler was lost before all results were there: its "
                    "process has ended, or the network failed."
                ) from error
            yield result
    finally:
        if client.status == "running":  # not if the pool was left before its results were taken
            client.cancel(list(running))


def _killers(done: SimpleQueue[Future], running: dict[Future, Item]) -> list[Item]:
    """Return the items that Dask gives up together with one: any of them may be the reason.

    Those that wait in a worker are blamed for its death like the one it computes. What kills a
    worker is under all the deaths of its neighbours, so it is given up with them at the latest.
    """
    from distributed import KilledWorker

    found = []
    while True:
        try:
            future = done.get(timeout=TOGETHER_S)
        except Empty:
            return found
        item = running.pop(future)
        if isinstance(future.exception(), KilledWorker):
            found.append(item)


def _submit(client: Any, function: Callable[[Item], Result], item: Item) -> Future:
    try:
        return client.submit(function, item, pure=False)  # equal items are still two
    except TypeError as error:
        raise InputError(
            f"{function!r} with item {reprlib.repr(item)} cannot be sent to another process "
            f"({error.__cause__ or error}): give paths and numbers instead of open files or locks."
        ) from error


class _Crew:
    """How many threads there are, asked once a second at most, and since when there are none."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.count = 0
        self.asked = -1.0
        self.waiting_since = monotonic()
        self.arrived = self.told = False

    def threads(self) -> int:
        now = monotonic()
        if now < self.asked + 1:
            return self.count
        self.asked, self.count = now, sum(self.client.nthreads().values())
        if self.count:
            self.arrived, self.waiting_since = True, now
        elif now > self.waiting_since + LOST_AFTER_S:
            if self.arrived:
                raise RuntimeError(
                    f"All workers have been gone for {LOST_AFTER_S:.0f} s: their jobs have ended. "
                    "Ask for more walltime, or look into the jobs' logs."
                )
            if not self.told:
                logger.warning("No worker has come yet; jobs may wait in their queue for long.")
                self.told = True
        return self.count


def settings_of(pairs: Iterable[str]) -> dict[str, Any]:
    """Return settings from NAME=VALUE texts: whole numbers as such, all else as text.

    Raises InputError for a text without a name or a value.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if not name or not value:
            raise InputError(f"A setting is NAME=VALUE, queue=long say; {pair!r} is not.")
        settings[name] = int(value) if value.isdigit() else value
    return settings


@contextmanager
def connect(where: str = "local", *, count: int = 0, **settings: Any) -> Iterator[Pool]:
    """Yield a pool of workers; with the block they end.

    ``where`` is "here" (this process, without Dask), "local" (``count`` processes of one thread on
    this machine, as many as usable cores if 0), "slurm" or "pbs" (``count`` jobs), or a running
    Dask scheduler: tcp://host:port, tls://host:port, or the path of its scheduler file (.json).
    ``settings`` go to dask_jobqueue's cluster (queue, account, walltime, cores, memory,
    log_directory, job_script_prologue, security, ...) and win over the user's Dask configuration
    files. A job gets one worker of one thread a core, unless they say otherwise. A tls:// address
    takes its certificates from those files.

    Workers have no memory limit of Dask's: it counts file pages that a worker has mapped and would
    kill the worker for them. What limits memory is the machine, or the queue.

    Whoever can reach a scheduler can run code in its workers. "local" listens on 127.0.0.1 only; a
    queue's scheduler listens to the cluster's network: where that is shared, set ``security``.

    Raises InputError for a place that does not exist, an unknown setting, a scheduler that does
    not answer within ``CONNECT_WITHIN_S``, and for jobs that the queue refuses.
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise InputError(f"count must be a whole number, 0 or more; it is {count!r}.")
    is_address = ADDRESS.fullmatch(where) is not None or where.endswith(".json")
    if where not in ("here", "local", *QUEUES) and not is_address:
        raise InputError(
            f"There is no place {where!r} for workers.{_nearest(where, ('here', 'local', *QUEUES))}"
            " Possible are here, local, slurm, pbs, tcp://host:port, tls://host:port, and the path "
            "of a scheduler file that ends in .json."
        )
    if settings and where not in QUEUES:
        raise InputError(f"{', '.join(settings)}: settings are for slurm and pbs, not for {where}.")
    if count and (where == "here" or is_address):
        raise InputError(f"count is for local, slurm and pbs; {where} has the workers that it has.")
    if where == "here":
        yield Pool("one process")
        return
    import dask.config
    from distributed import Client

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="modsnr-workers-"))
        stack.enter_context(dask.config.set({"temporary-directory": folder}))
        # What these tell of is raised in the caller; that a worker was restarted is still told.
        stack.enter_context(_quiet("distributed.scheduler", "distributed.client"))
        stack.enter_context(_quiet("distributed.protocol", "distributed.comm"))
        if is_address:
            client = stack.enter_context(_reach(where))
            yield Pool(f"Dask workers: {len(client.nthreads())}", client)
        elif where == "local":
            cluster = stack.enter_context(_local(count))
            client = stack.enter_context(Client(cluster, set_as_default=False))
            yield Pool(f"processes of one machine: {len(cluster.workers)}", client)
        else:
            cluster = stack.enter_context(_queue(where, count, settings))
            client = stack.enter_context(Client(cluster, set_as_default=False))
            yield Pool(f"{where.upper()} jobs: {count}", client)


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    return f" Did you mean {near[0]!r}?" if near else ""


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Let loggers tell of what is critical only."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


@contextmanager
def _reach(where: str) -> Iterator[Any]:
    from distributed import Client, TimeoutError

    address = _address_in(Path(where)) if where.endswith(".json") else where
    try:
        with ThreadPoolExecutor(1) as thread:  # a notebook's own thread has a loop that runs
            thread.submit(asyncio.run, _greet(address)).result()
        client = Client(address, timeout=CONNECT_WITHIN_S, set_as_default=False)
    # TypeError: tls:// without certificates; OverflowError: a port beyond 65,535; MemoryError:
    # what another kind of server says, read as a length
    except (OSError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise InputError(
            f"No Dask scheduler answers at {address} within {CONNECT_WITHIN_S:.0f} s: start one "
            "with `dask scheduler`, or see whether this machine can reach that one "
            f"({str(error) or type(error).__name__})."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_WITHIN_S)
        except TimeoutError as error:
            raise InputError(
                f"The scheduler at {address} has no workers: start some with "
                f"`dask worker {address}`."
            ) from error
        yield client


async def _greet(address: str) -> None:
    """Exchange greetings with a scheduler. ``Client`` would wait for the answer without end."""
    from distributed import Security, connect

    secrets = Security().get_connection_args("client")
    greeting = connect(address, timeout=CONNECT_WITHIN_S, **secrets)
    await (await asyncio.wait_for(greeting, CONNECT_WITHIN_S)).close()


def _address_in(path: Path) -> str:
    try:
        address = json.loads(path.read_text())["address"]
    except FileNotFoundError as error:
        raise InputError(
            f"There is no file {path}: `dask scheduler --scheduler-file {path}` writes it."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no Dask scheduler file: {error!r}.") from error
    if not isinstance(address, str) or not ADDRESS.fullmatch(address):
        raise InputError(f"{path} names {address!r}, which is no tcp:// or tls:// address.")
    return address


@contextmanager
def _local(count: int) -> Iterator[LocalCluster]:
    import dask.config
    from dask.system import cpu_count  # sees affinity and a container's share
    from distributed import LocalCluster

    with ExitStack() as stack:
        name = "distributed.nanny.pre-spawn-environ"
        variables = {**dask.config.get(name), **ONE_THREAD, **QUIET}
        # Dask writes its workers' variables into this process, and again when one is restarted;
        # this process and its children, a training with its threads say, must not keep them.
        restore = _environment(*variables, "PYTHONHASHSEED", "__DASK_PARENT_PID")
        stack.callback(restore)
        os.environ.update({**ONE_THREAD, **QUIET})
        with dask.config.set({name: variables, "distributed.worker.profile.enabled": False}):
            try:
                cluster = LocalCluster(
                    n_workers=count or cpu_count(),
                    threads_per_worker=1,
                    host="127.0.0.1",
                    memory_limit=None,
                    dashboard_address=":0",
                    scheduler_kwargs={"allowed_failures": DEATHS, "dashboard": False},
                )
            except RuntimeError as error:
                raise InputError(
                    "No worker process could start: each loads the calling script first, which "
                    'must do its work under `if __name__ == "__main__":`. What they said stands '
                    "above."
                ) from error
        restore()
        stack.enter_context(cluster)
        stack.callback(cluster.sync, _end, cluster)
        yield cluster


async def _end(cluster: LocalCluster) -> None:
    # Dask gives a worker that still computes four seconds to end; nobody waits for its result.
    with _quiet("distributed.nanny"):  # which tells of every worker that it kills
        await asyncio.gather(*(nanny.close(timeout=1) for nanny in cluster.workers.values()))


def _environment(*names: str) -> Callable[[], None]:
    """Return what gives environment variables the values again that they have now."""
    before = {name: os.environ.get(name) for name in names}

    def restore() -> None:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    return restore


@contextmanager
def _queue(where: str, count: int, settings: dict[str, Any]) -> Iterator[Any]:
    try:
        import dask_jobqueue
    except ImportError as error:
        raise InputError(
            f'{where} needs dask_jobqueue: install the extra, `pip install "modsnr[cluster]"`.'
        ) from error
    kind = getattr(dask_jobqueue, QUEUES[where])
    _refuse_unknown(where, kind, settings)
    submit = shlex.split(kind.job_cls.submit_command)[0]
    if not count:
        raise InputError(f"{where} needs count, the number of jobs to ask for.")
    if shutil.which(submit) is None:
        raise InputError(f"There is no {submit} on this machine: {where} takes jobs elsewhere.")
    settings = _job_settings(where, settings)
    try:
        # The cluster's class would find the same, but leave an unclosed cluster behind.
        of_cluster = ("scheduler_options", "shared_temp_directory", "security")
        kind.job_cls("", "check", **{k: v for k, v in settings.items() if k not in of_cluster})
        cluster = kind(**settings)
    except KeyError as error:
        raise InputError(f"Dask's configuration files have no jobqueue section {error}.") from error
    except (ValueError, TypeError, RuntimeError, ImportError) as error:
        raise InputError(f"{where} cannot use these settings: {error}") from error
    with cluster:
        try:
            cluster.sync(_submit_jobs, cluster, count)
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{where} refused the jobs. {error}") from error
        yield cluster


def _refuse_unknown(where: str, kind: Any, settings: dict[str, Any]) -> None:
    """Raise InputError for a setting that neither the cluster's class nor its jobs' class takes."""
    classes = [one for one in (*kind.__mro__, *kind.job_cls.__mro__) if "__init__" in vars(one)]
    taken = {
        parameter.name
        for one in classes
        if one.__module__.startswith("dask_jobqueue.")
        for parameter in inspect.signature(one.__init__).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD
    } - NO_SETTINGS
    for name in settings:
        if name not in taken:
            raise InputError(
                f"{where} has no setting {name!r}.{_nearest(name, taken)} It has "
                f"{', '.join(sorted(taken))}."
            )


def _job_settings(where: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with what jobs of ours have: one thread a worker, no limit of memory."""
    import dask.config

    section = f"jobqueue.{settings.get('config_name', where)}"

    def wanted(name: str, default: Any = None) -> Any:
        value = settings.get(name)
        value = dask.config.get(f"{section}.{name}", None) if value is None else value
        return default if value is None else value

    cores = wanted("cores")
    if not isinstance(cores, int) or wanted("memory") is None:
        raise InputError(
            f"{where} needs a job's cores, a whole number, and memory, '16GB' say, as settings or "
            f"under {section} in Dask's configuration files."
        )
    exports = [f"export {name}={value}" for name, value in ONE_THREAD.items()]
    return settings | {
        "processes": wanted("processes", cores),
        "job_script_prologue": [*exports, *wanted("job_script_prologue", [])],
        "worker_extra_args": ["--memory-limit", "0", *wanted("worker_extra_args", [])],
        "scheduler_options": {
            "dashboard": False,
            "dashboard_address": ":0",
            "allowed_failures": DEATHS,
            **wanted("scheduler_options", {}),
        },
    }


async def _submit_jobs(cluster: Any, count: int) -> None:
    from distributed import Status

    # Not by scale, which submits in the background, where a queue's refusal is lost.
    for _ in range(count):
        cluster.worker_spec.update(cluster.new_worker_spec())
    try:
        await cluster
    except BaseException:
        for job in cluster.workers.values():
            job.status = Status.failed  # else the cluster asserts, when it closes, that it is
        raise
