"""Where large steps run: in this process, on this machine's cores, or on a cluster, by Dask.

    with workers.connect("slurm", workers=8, queue="batch", cores=4, memory="8GB") as client:
        for result in workers.each(client, function, items):
            ...

``client`` is a ``distributed.Client``, or None for "here", which does without Dask.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from logging import CRITICAL
from typing import TYPE_CHECKING, Any, TypeVar

from modsnr import InputError
from modsnr.files import check_name

if TYPE_CHECKING:
    from distributed import Client

Item = TypeVar("Item")
Result = TypeVar("Result")

QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster"}
ADDRESS = re.compile(r"tcp://[^/]+:\d+")
CONNECT_WITHIN_S = 10.0
IN_FLIGHT = 3  # items a thread: one is worked on, the next are there already
# The workers of a machine do not fight for its cores.
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
SCHEDULER = {"allowed_failures": 3, "dashboard": False}  # workers that may die under an item
# Jobs that have ended do not come back, as a process of this machine does.
JOBS_GONE = {"distributed.scheduler.no-workers-timeout": "60 s"}


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
def connect(where: str = "local", *, workers: int = 0, **settings: Any) -> Iterator[Client | None]:
    """Yield a Dask client whose workers end with the block; None for "here", this process.

    ``where`` is "here", "local" (``workers`` processes on this machine, as many as usable cores if
    0, which share these), "slurm" or "pbs" (``workers`` jobs), or the address of a running Dask
    scheduler, tcp://host:port. ``settings`` go to dask_jobqueue's cluster class (queue, account,
    walltime, cores, memory, security, ...). A job gets one worker of one thread a core, without a
    memory limit of Dask's, which counts file pages that a worker has mapped.

    Whoever can reach a scheduler can run code in its workers. "local" listens on 127.0.0.1 only; a
    queue's scheduler listens to the cluster's network: where that is shared, set ``security``.

    Raises InputError for a place that does not exist, settings that the cluster class refuses, a
    scheduler that does not answer within ``CONNECT_WITHIN_S``, and jobs that the queue refuses.
    """
    is_address = ADDRESS.fullmatch(where) is not None
    if not is_address:
        check_name("place for workers", where, ["here", "local", *QUEUES, "tcp://host:port"])
    if settings and where not in QUEUES:
        raise InputError(f"{', '.join(settings)}: settings are for slurm and pbs, not for {where}.")
    if workers and where not in ("local", *QUEUES):
        raise InputError(f"workers is for local, slurm and pbs; {where} has those that it has.")
    if where == "here":
        yield None
    elif is_address:
        with _reach(where) as client:
            yield client
    else:
        import dask.config
        from distributed import Client

        with (
            tempfile.TemporaryDirectory(prefix="modsnr-workers-") as folder,
            dask.config.set(
                {"temporary-directory": folder} | (JOBS_GONE if where in QUEUES else {})
            ),
            _local(workers) if where == "local" else _queue(where, workers, settings) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            client.wait_for_workers(1)  # jobs may have to wait for their turn
            yield client


def each(
    client: Client | None, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Yield ``function(item)`` of every item once, in order of completion.

    ``items`` are drawn as workers get free: at most ``IN_FLIGHT`` a thread are under way, so memory
    stays constant. An error in ``function`` is raised here, and what has not begun is dropped. An
    item whose worker dies is done again on another, so doing it twice must do no harm. Function,
    items and results travel between processes: they must be picklable, and should be small.
    """
    if client is None:
        yield from map(function, items)
        return
    from distributed import as_completed

    remaining, under_way = iter(items), as_completed(loop=client.loop)

    def send() -> None:
        counts: Any = client.nthreads()  # no coroutine, for the client is synchronous
        room = IN_FLIGHT * max(1, sum(counts.values())) - under_way.count()
        for item in islice(remaining, max(0, room)):
            under_way.add(client.submit(function, item, pure=False))  # equal items are still two

    send()
    try:
        for future in under_way:
            yield future.result()
            send()
    finally:
        if client.status == "running":
            client.cancel(list(under_way.futures))


@contextmanager
def _reach(where: str) -> Iterator[Client]:
    from distributed import Client

    with ExitStack() as stack:
        try:
            client = Client(where, timeout=CONNECT_WITHIN_S, set_as_default=False)
            stack.enter_context(client).wait_for_workers(1, timeout=CONNECT_WITHIN_S)
        except (OSError, ValueError) as error:
            raise InputError(
                f"No Dask scheduler with workers answers at {where} within {CONNECT_WITHIN_S:.0f} "
                f"s ({error!r}): start them with `dask scheduler` and `dask worker`."
            ) from error
        yield client


def _local(count: int) -> Any:
    from dask.system import cpu_count  # sees affinity and a container's share
    from distributed import LocalCluster

    count = count or cpu_count()
    return LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        host="127.0.0.1",
        memory_limit=None,
        dashboard_address=":0",
        silence_logs=CRITICAL,  # what fails in a worker is raised in the caller
        scheduler_kwargs=SCHEDULER,
        env=dict.fromkeys(ONE_THREAD, str(max(1, cpu_count() // count))),
    )


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
        raise InputError(f"{where} needs workers, the number of jobs to ask for.")
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
    options = SCHEDULER | {"dashboard_address": ":0"} | (given.get("scheduler_options") or {})
    return settings | {
        "processes": given.get("processes") or given.get("cores"),
        "job_script_prologue": [*exports, *(given.get("job_script_prologue") or [])],
        "worker_extra_args": ["--memory-limit", "0", *(given.get("worker_extra_args") or [])],
        "scheduler_options": options,
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
