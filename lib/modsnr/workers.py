"""Where large steps run: in this process, on this machine's cores, or on a cluster, by Dask.

    with workers.connect("slurm", count=8, queue="batch", cores=4, memory="8GB") as client:
        for result in workers.each(client, function, items):
            ...

``client`` is a ``distributed.Client``: ``client.map`` and ``distributed.as_completed`` work as
well, where all items may be sent at once. It is None for "here", which does without Dask.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import reprlib
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from logging import CRITICAL
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from modsnr import InputError
from modsnr.files import check_name

if TYPE_CHECKING:
    from distributed import Client, Future

Item = TypeVar("Item")
Result = TypeVar("Result")

QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster"}
ADDRESS = re.compile(r"(tcp|tls)://[^/]+:\d+")
CONNECT_WITHIN_S = 10.0
IN_FLIGHT = 3  # items a thread: one is worked on, the next are there already
DEATHS = 3  # of workers under an item until the item counts as the reason
LOST_AFTER_S = 60.0  # a worker that is restarted is back long before
# Workers of one thread do not fight for cores. The libraries read this when they are loaded.
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
SCHEDULER = {"allowed_failures": DEATHS, "dashboard": False}


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
def connect(where: str = "local", *, count: int = 0, **settings: Any) -> Iterator[Client | None]:
    """Yield a Dask client whose workers end with the block; None for "here", this process.

    ``where`` is "here", "local" (``count`` processes of one thread on this machine, as many as
    usable cores if 0), "slurm" or "pbs" (``count`` jobs), or a running Dask scheduler:
    tcp://host:port, tls://host:port, or the path of its scheduler file (.json). ``settings`` go to
    dask_jobqueue's cluster class (queue, account, walltime, cores, memory, security, ...). A job
    gets one worker of one thread a core. Workers have no memory limit of Dask's, which counts file
    pages that a worker has mapped.

    Whoever can reach a scheduler can run code in its workers. "local" listens on 127.0.0.1 only; a
    queue's scheduler listens to the cluster's network: where that is shared, set ``security``.

    Raises InputError for a place that does not exist, settings that the cluster class refuses, a
    scheduler that does not answer within ``CONNECT_WITHIN_S``, and jobs that the queue refuses.
    """
    is_address = ADDRESS.fullmatch(where) is not None or where.endswith(".json")
    if not is_address:
        places = ["here", "local", *QUEUES, "tcp://host:port", "tls://host:port", "FILE.json"]
        check_name("place for workers", where, places)
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise InputError(f"count must be a whole number, 0 or more; it is {count!r}.")
    if settings and where not in QUEUES:
        raise InputError(f"{', '.join(settings)}: settings are for slurm and pbs, not for {where}.")
    if count and where not in ("local", *QUEUES):
        raise InputError(f"count is for local, slurm and pbs; {where} has the workers that it has.")
    if where == "here":
        yield None
    elif is_address:
        with _reach(where) as client:
            yield client
    else:
        import dask.config
        from distributed import Client

        cluster = _local(count) if where == "local" else _queue(where, count, settings)
        with (
            tempfile.TemporaryDirectory(prefix="modsnr-workers-") as folder,
            dask.config.set({"temporary-directory": folder}),
            cluster as running,
            Client(running, set_as_default=False) as client,
        ):
            yield client


def each(
    client: Client | None, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Yield ``function(item)`` of every item once, in order of completion.

    ``items`` are drawn as workers get free: at most ``IN_FLIGHT`` a thread are under way, so memory
    stays constant. An error in ``function`` is raised here, and what has not begun is dropped. An
    item whose worker dies is done again on another, so doing it twice must do no harm. Function,
    items and results travel between processes: they must be picklable, and should be small.

    Raises RuntimeError for an item under which every worker dies, if all workers are gone for
    ``LOST_AFTER_S``, and if the connection to the scheduler is lost.
    """
    if client is None:
        yield from map(function, items)
        return
    from distributed import CancelledError, KilledWorker, TimeoutError, wait

    remaining, running = iter(items), dict[Any, Item]()
    seen = None  # when there was a worker last
    try:
        while True:
            counts: Any = client.nthreads()  # no coroutine, for the client is synchronous
            threads = sum(counts.values())
            if threads:
                seen = monotonic()
            elif seen and monotonic() > seen + LOST_AFTER_S:
                raise RuntimeError(
                    f"All workers have been gone for {LOST_AFTER_S:.0f} s: their jobs have ended. "
                    "Ask for more walltime, or look into the jobs' logs."
                )
            room = IN_FLIGHT * max(1, threads) - len(running)
            for item in islice(remaining, max(0, room)):
                running[_submit(client, function, item)] = item
            if not running:
                return
            with client.as_current(), suppress(TimeoutError):
                wait(list(running), 1.0, "FIRST_COMPLETED")
            for future in [one for one in running if one.done()]:
                item = running.pop(future)
                yield future.result()
    except KilledWorker as error:
        raise RuntimeError(
            f"{DEATHS + 1} workers, one after the other, died under item {reprlib.repr(item)}, or "
            "under one that waited beside it. Most often the memory does not suffice: take smaller "
            'items, fewer workers, or more memory a job. With "here" a crash shows itself.'
        ) from error
    except (CancelledError, OSError) as error:
        if client.status == "running":
            raise
        raise RuntimeError(
            "The connection to the scheduler was lost before all results were there: its process "
            "has ended, or the network failed."
        ) from error
    finally:
        if client.status == "running":
            client.cancel(list(running))


def _submit(client: Client, function: Callable[[Item], Result], item: Item) -> Future:
    try:
        return client.submit(function, item, pure=False)  # equal items are still two
    except TypeError as error:
        raise InputError(
            f"{function!r} with item {reprlib.repr(item)} cannot be sent to another process "
            f"({error.__cause__ or error}): give paths and numbers instead of open files or locks."
        ) from error


@contextmanager
def _reach(where: str) -> Iterator[Client]:
    from distributed import Client, TimeoutError

    address = _address_in(Path(where)) if where.endswith(".json") else where
    try:
        with ThreadPoolExecutor(1) as thread:  # a notebook's own thread has a loop that runs
            thread.submit(asyncio.run, _greet(address)).result()
        client = Client(address, timeout=CONNECT_WITHIN_S, set_as_default=False)
    # TypeError: tls:// without certificates; OverflowError: a port beyond 65,535; MemoryError:
    # the answer of another kind of server, read as a length
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
        address = json.loads(path.read_text(encoding="utf-8"))["address"]
        if ADDRESS.fullmatch(address):
            return address
        reason = f"it names {address!r}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = repr(error)
    raise InputError(
        f"{path} is no Dask scheduler file ({reason}): "
        f"`dask scheduler --scheduler-file {path}` writes one."
    )


@contextmanager
def _local(count: int) -> Iterator[Any]:
    import dask.config
    from dask.system import cpu_count  # sees affinity and a container's share
    from distributed import LocalCluster

    name = "distributed.nanny.pre-spawn-environ"
    variables = {**dask.config.get(name), **ONE_THREAD}
    # Dask leaves its workers' variables in this process, whose other children must not have them.
    names = (*variables, "PYTHONHASHSEED", "__DASK_PARENT_PID")
    before = {variable: os.environ.get(variable) for variable in names}
    try:
        os.environ.update(ONE_THREAD)  # which Dask's setting does not replace where they are set
        try:
            with dask.config.set({name: variables}):
                cluster = LocalCluster(
                    n_workers=count or cpu_count(),
                    threads_per_worker=1,
                    host="127.0.0.1",
                    memory_limit=None,
                    dashboard_address=":0",
                    silence_logs=CRITICAL,  # what fails in a worker is raised in the caller
                    scheduler_kwargs=SCHEDULER,
                )
        except RuntimeError as error:
            raise InputError(
                "No worker process could start: each loads the calling script first, which must "
                'do its work under `if __name__ == "__main__":`. Their own messages stand above.'
            ) from error
        with cluster:
            yield cluster
    finally:
        for variable, value in before.items():
            os.environ.pop(variable, None)
            if value is not None:
                os.environ[variable] = value


@contextmanager
def _queue(where: str, count: int, settings: dict[str, Any]) -> Iterator[Any]:
    try:
        import dask_jobqueue
    except ImportError as error:
        raise InputError(
            f'{where} needs dask_jobqueue: install the extra, `pip install "modsnr[cluster]"`.'
        ) from error
    kind = getattr(dask_jobqueue, QUEUES[where])
    submit = shlex.split(kind.job_cls.submit_command)[0]
    if not count:
        raise InputError(f"{where} needs count, the number of jobs to ask for.")
    if shutil.which(submit) is None:
        raise InputError(f"There is no {submit} on this machine: {where} takes jobs elsewhere.")
    settings = _job_settings(where, settings)
    try:
        # The cluster class makes the same check, but leaves an unclosed cluster behind.
        of_cluster = ("scheduler_options", "shared_temp_directory", "security")
        kind.job_cls("", "check", **{k: v for k, v in settings.items() if k not in of_cluster})
        cluster = kind(**settings)
    except (KeyError, ValueError, TypeError, RuntimeError, ImportError) as error:
        raise InputError(f"{where} cannot use these settings: {error}") from error
    with cluster:
        try:
            cluster.sync(_submit_jobs, cluster, count)
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{where} refused the jobs. {error}") from error
        yield cluster


def _job_settings(where: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings, over those of Dask's configuration files, with our defaults added."""
    import dask.config

    section = f"jobqueue.{settings.get('config_name', where)}"
    given = {**dask.config.get(section, {}), **settings}
    exports = [f"export {name}={value}" for name, value in ONE_THREAD.items()]
    return settings | {
        "processes": given.get("processes") or given.get("cores"),
        "job_script_prologue": [*exports, *(given.get("job_script_prologue") or [])],
        "worker_extra_args": ["--memory-limit", "0", *(given.get("worker_extra_args") or [])],
        "scheduler_options": {
            **SCHEDULER,
            "dashboard_address": ":0",
            **(given.get("scheduler_options") or {}),
        },
    }


async def _submit_jobs(cluster: Any, count: int) -> None:
    """Submit the jobs. ``cluster.scale`` would do so in the background and lose a refusal."""
    from distributed import Status

    for _ in range(count):
        cluster.worker_spec.update(cluster.new_worker_spec())
    try:
        await cluster
    except BaseException:
        for job in cluster.workers.values():
            job.status = Status.failed  # else the cluster asserts, when it closes, that it is
        raise
