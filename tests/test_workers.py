"""Work gives the same results wherever it is done, and leaves nothing behind."""

import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from itertools import count, islice
from pathlib import Path

import psutil
import pytest

from modsnr import InputError, workers

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}


# What workers do: functions of this module, which they import


def square(number):
    return number**2


def refuse_seven(number):
    if number == 7:
        raise InputError("Seven cannot be used.")
    return number


def note(task):
    """Leave a file that names the item and the process, then take a moment."""
    folder, item, seconds = task
    Path(folder, f"{item}-{os.getpid()}").touch()
    time.sleep(seconds)
    return item


def die_at_five(number):
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def surroundings(_):
    threads = {name: os.environ.get(name) for name in ONE_THREAD}
    return os.getpid(), threads, sorted({"torch", "lightning"} & set(sys.modules))


@pytest.fixture(scope="module")
def local():
    with workers.connect("local", count=2) as pool:
        yield pool


@pytest.fixture(params=["here", "local"])
def pool(request):
    if request.param == "local":
        yield request.getfixturevalue("local")
    else:
        with workers.connect("here") as pool:
            yield pool


# The same wherever


def test_every_item_gives_one_result(pool):
    items = [3, 1, 2, 1, 1]  # equal ones too
    assert sorted(workers.each(pool, square, iter(items))) == [1, 1, 1, 4, 9]
    assert list(workers.each(pool, square, [])) == []
    offset = 5
    assert sorted(workers.each(pool, lambda n: n + offset, range(4))) == [5, 6, 7, 8]
    assert len(set(workers.each(pool, os.urandom, [8] * 5))) == 5


def test_only_a_few_items_are_under_way(pool):
    drawn = 0

    def items():
        nonlocal drawn
        while True:
            drawn += 1
            yield drawn

    limit = 1 if pool is None else 2 * workers.IN_FLIGHT
    ahead = [drawn - done for done, _ in enumerate(islice(workers.each(pool, square, items()), 40))]
    assert max(ahead) == limit


def test_an_error_reaches_the_caller_as_it_is(pool):
    with pytest.raises(InputError, match=r"^Seven cannot be used\.$"):
        list(workers.each(pool, refuse_seven, count()))


def test_after_an_error_what_has_not_begun_is_dropped(local, tmp_path):
    def items():
        yield (tmp_path / "missing", 0, 0)
        yield from ((tmp_path, item, 0.4) for item in range(100))

    results = workers.each(local, note, items())
    with pytest.raises(FileNotFoundError):
        list(results)
    time.sleep(1.3)
    assert len(list(tmp_path.iterdir())) <= 3  # of five that were under way


def test_what_is_done_first_comes_first(local, tmp_path):
    tasks = [(tmp_path, "slow", 0.5), (tmp_path, "quick", 0)]
    assert list(workers.each(local, note, tasks)) == ["quick", "slow"]


def test_workers_have_one_thread_and_load_no_network(local):
    seen = list(workers.each(local, surroundings, range(20)))
    assert os.getpid() not in {process for process, _, _ in seen}
    for _, threads, loaded in seen:
        assert threads == ONE_THREAD
        assert loaded == []


def test_work_that_cannot_travel_is_refused(local):
    with open(os.devnull, "rb") as file, pytest.raises(InputError, match=r"lambda.*item 1 cannot"):
        list(workers.each(local, lambda _: file.read(), [1]))


@pytest.mark.long
def test_an_item_that_kills_every_worker_is_named_and_the_others_go_on():
    with workers.connect("local", count=2) as pool:
        named = r"4 workers, .* died under item \d, or under one that waited beside it\. .* memory"
        with pytest.raises(RuntimeError, match=named):
            list(workers.each(pool, die_at_five, range(10)))
        assert sorted(workers.each(pool, square, range(10))) == [number**2 for number in range(10)]


# What is refused


@pytest.mark.parametrize(
    ("where", "settings", "complaint"),
    [
        (
            "slrum",
            {},
            "no place for workers is called 'slrum'; did you mean 'slurm'. known: here",
        ),
        ("tcp:/host:1", {}, "no place for workers is called 'tcp:/host:1'"),
        ("tcp://host", {}, "no place for workers"),
        ("local", {"count": -1}, "count must be a whole number, 0 or more; it is -1"),
        ("local", {"count": 1.5}, "it is 1.5"),
        ("local", {"count": True}, "it is True"),
        ("here", {"count": 2}, "here has the workers that it has"),
        ("tcp://host:1", {"count": 2}, "tcp://host:1 has the workers that it has"),
        ("local", {"queue": "batch"}, "queue: settings are for slurm and pbs, not for local"),
        ("slurm", {"cores": 1, "memory": "1GB"}, "slurm needs count, the number of jobs"),
    ],
)
def test_a_place_or_setting_that_is_none_is_refused(where, settings, complaint):
    with pytest.raises(InputError, match=complaint), workers.connect(where, **settings):
        pass


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file.*: `dask scheduler --scheduler-file .*` writes one"),
        ("{", "is no Dask scheduler file"),
        ("[]", "is no Dask scheduler file"),
        ("{}", "is no Dask scheduler file .KeyError"),
        ('{"address": 5}', "is no Dask scheduler file .TypeError"),
        ('{"address": "host"}', "it names 'host'"),
    ],
)
def test_a_file_that_names_no_scheduler_is_refused(content, complaint, tmp_path):
    path = tmp_path / "scheduler.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=complaint), workers.connect(str(path)):
        pass


def refuses_soon(address):
    start = time.monotonic()
    with (
        pytest.raises(InputError, match=f"No Dask scheduler answers at {address} within 1 s"),
        workers.connect(address),
    ):
        pass
    return time.monotonic() - start < 5


@pytest.mark.long
def test_a_scheduler_that_does_not_answer_is_given_up_soon(monkeypatch):
    monkeypatch.setattr(workers, "CONNECT_WITHIN_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert refuses_soon(address)  # accepted, and then silence
        assert refuses_soon(address.replace("tcp", "tls"))  # no certificates
    assert refuses_soon(address)  # nobody listens any more


@pytest.mark.long
def test_a_server_of_another_kind_is_given_up_soon(monkeypatch):
    monkeypatch.setattr(workers, "CONNECT_WITHIN_S", 1.0)

    class Greeter(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.sendall(b"HTTP/1.0 400 Bad request\r\n\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Greeter) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert refuses_soon(f"tcp://127.0.0.1:{server.server_address[1]}")
        server.shutdown()


# A Dask cluster of others


@pytest.fixture
def start(tmp_path):
    """Start ``python -m module arguments``; all that was started is killed at the end."""
    processes = []
    modules = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])

    def begin(module, *arguments):
        with (tmp_path / f"log-{len(processes)}").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *map(str, arguments)],
                stdout=log,
                stderr=log,
                cwd=tmp_path,
                env=os.environ | {"PYTHONPATH": modules, "TMPDIR": str(tmp_path)},
            )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


@pytest.fixture
def scheduler(start, tmp_path):
    """Return a running scheduler's process and its file."""
    path = tmp_path / "scheduler.json"
    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    process = start("distributed.cli.dask_scheduler", *options, "--scheduler-file", path)
    until(lambda: path.exists() and path.read_text().endswith("}"))
    return process, path


def start_worker(start, path):
    options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
    return start("distributed.cli.dask_worker", "--scheduler-file", path, *options)


@pytest.mark.long
def test_all_results_come_once_though_a_worker_is_killed(start, scheduler, tmp_path):
    _, path = scheduler
    folder = tmp_path / "notes"
    folder.mkdir()
    crew = [start_worker(start, path) for _ in range(2)]
    with workers.connect(str(path)) as pool:
        until(lambda: len(pool.nthreads()) == 2)
        results = workers.each(pool, note, ((folder, item, 0.05) for item in range(60)))
        seen = list(islice(results, 20))
        crew[0].kill()
        seen += results
        assert len(pool.nthreads()) == 1
    assert sorted(seen) == list(range(60))
    notes = [entry.name.split("-") for entry in folder.iterdir()]
    assert {int(item) for item, _ in notes} == set(range(60))
    done_by = [sum(int(process) == one.pid for _, process in notes) for one in crew]
    assert done_by[0] >= 5  # it did take part
    assert done_by[1] > 30
    assert crew[1].poll() is None  # a cluster of others lives on


@pytest.mark.long
def test_work_ends_in_an_error_if_all_workers_or_the_scheduler_are_gone(
    start, scheduler, tmp_path, monkeypatch
):
    monkeypatch.setattr(workers, "LOST_AFTER_S", 1.0)
    monkeypatch.setattr(workers, "CONNECT_WITHIN_S", 1.0)
    process, path = scheduler
    address = json.loads(path.read_text())["address"]
    with (
        pytest.raises(
            InputError, match=f"{address} has no workers: start .* `dask worker {address}"
        ),
        workers.connect(address),
    ):
        pass
    monkeypatch.setattr(workers, "CONNECT_WITHIN_S", 30.0)  # a worker may take its time to come
    worker = start_worker(start, path)
    tasks = [(tmp_path, item, 0.1) for item in range(200)]
    with workers.connect(address) as pool:
        results = workers.each(pool, note, tasks)
        next(results)
        worker.kill()
        with pytest.raises(RuntimeError, match=r"All workers have been gone .* more walltime"):
            list(results)
        start_worker(start, path)
        results = workers.each(pool, note, tasks)
        next(results)
        process.kill()
        with pytest.raises(RuntimeError, match="connection to the scheduler was lost"):
            list(results)


# Queues, played by scripts that start a job's script at once

SUBMIT = """#!{python}
import os, pathlib, shutil, subprocess, sys
folder = pathlib.Path({folder!r})
job = folder / f"{{os.getpid()}}.job"
shutil.copy(sys.argv[1], job)
with job.with_suffix(".log").open("w") as log:
    process = subprocess.Popen(["bash", job], start_new_session=True, stdout=log, stderr=log)
print("Submitted batch job", process.pid)
"""
CANCEL = """#!{python}
import os, pathlib, signal, sys
pathlib.Path({folder!r}, sys.argv[1] + ".cancelled").touch()
os.killpg(int(sys.argv[1]), signal.SIGKILL)
"""
REFUSE = """#!/bin/sh
echo "error: Invalid account or account/partition combination" >&2
exit 1
"""


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """Return a folder of jobs, and a function that puts a command on the path."""
    folder, commands = tmp_path / "jobs", tmp_path / "commands"
    folder.mkdir()
    commands.mkdir()
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # the jobs' own

    def play(name, script):
        path = commands / name
        path.write_text(script.format(python=sys.executable, folder=str(folder)))
        path.chmod(0o755)

    return folder, play


JOB = {"queue": "batch", "account": "radio", "walltime": "01:02:03", "cores": 1, "memory": "1GB"}
LOCALLY = {"scheduler_options": {"host": "127.0.0.1"}}


@pytest.mark.long
@pytest.mark.parametrize(
    ("where", "submit", "cancel", "asked"),
    [
        ("slurm", "sbatch", "scancel", ["-p batch", "-A radio", "-t 01:02:03"]),
        ("pbs", "qsub", "qdel", ["-q batch", "-A radio", "-l walltime=01:02:03"]),
    ],
)
def test_jobs_of_a_queue_do_the_work_and_are_cancelled(
    where, submit, cancel, asked, queue, tmp_path, monkeypatch
):
    folder, play = queue
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    play(submit, SUBMIT)
    play(cancel, CANCEL)
    prologue = {"job_script_prologue": ["export LATER=1"]}
    with workers.connect(where, count=2, **JOB, **LOCALLY, **prologue) as pool:
        seen = list(workers.each(pool, surroundings, range(30)))
        until(lambda: len(pool.nthreads()) == 2)
        limits = pool.run(lambda dask_worker: dask_worker.memory_manager.memory_limit)
    assert len(seen) == 30
    assert all(threads == ONE_THREAD for _, threads, _ in seen)
    assert list(limits.values()) == [None, None]
    for path in folder.glob("*.job"):
        script = path.read_text()
        assert all(
            f"#{'SBATCH' if where == 'slurm' else 'PBS'} {line}\n" in script for line in asked
        )
        assert "export LATER=1\n" in script
    jobs = [int(path.stem) for path in folder.glob("*.cancelled")]
    assert len(jobs) == len(list(folder.glob("*.job"))) == 2
    assert list(scratch.iterdir()) == []
    until(lambda: not any(str(folder) in " ".join(command) for command in commands_of_all()))


def commands_of_all():
    return [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]


def test_jobs_that_a_queue_refuses_say_why(queue):
    _, play = queue
    play("sbatch", REFUSE)
    with (
        pytest.raises(InputError, match=r"(?s)slurm refused the jobs\..*error: Invalid account"),
        workers.connect("slurm", count=2, **JOB, **LOCALLY),
    ):
        pass


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"cores": None}, "must specify how much cores and memory"),
        ({"memory": None}, "must specify how much cores and memory"),
        ({"quue": "x"}, "unexpected keyword argument 'quue'"),
        ({"memory": "plenty"}, "slurm cannot use these settings: .*'plenty'"),
        ({"config_name": "none"}, "slurm cannot use these settings: 'none'"),
        ({"interface": "none0"}, "cannot use these settings: .*'none0' is not a valid network"),
    ],
)
def test_settings_that_make_no_job_are_refused(settings, complaint, queue):
    _, play = queue
    play("sbatch", REFUSE)
    with (
        pytest.raises(InputError, match=complaint),
        workers.connect("slurm", count=1, **JOB | settings),
    ):
        pass


def test_a_queue_that_is_not_here_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(InputError, match="no qsub on this machine"),
        workers.connect("pbs", count=1, **JOB),
    ):
        pass
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with (
        pytest.raises(InputError, match=r"install the extra, `pip install \"modsnr\[cluster\]\"`"),
        workers.connect("pbs", count=1, **JOB),
    ):
        pass


# Nothing is left behind

CLEAN = """
import os
import psutil
from modsnr import workers

def process(_):
    return os.getpid()

def main():
    before = dict(os.environ)
    with workers.connect(count=1) as client:
        assert sorted(workers.each(client, abs, range(50))) == list(range(50))
        psutil.Process(*workers.each(client, process, [0])).kill()
        for name in workers.ONE_THREAD:
            assert list(workers.each(client, os.getenv, [name])) == ["1"]  # after the restart too
        left = workers.each(client, abs, range(50))
        next(left)
    del left
    assert dict(os.environ) == before
    commands = [" ".join(one.cmdline()) for one in psutil.Process().children(recursive=True)]
    assert all("resource_tracker" in command for command in commands), commands

if __name__ == "__main__":
    main()
"""
LONG = """
import time
from modsnr import workers

def wait(seconds):
    time.sleep(seconds)

if __name__ == "__main__":
    with workers.connect(count=2) as client:
        print("up", flush=True)
        list(workers.each(client, wait, [100] * 10))
"""


def written(script, tmp_path):
    path = tmp_path / "script.py"
    path.write_text(script)
    return path


@pytest.mark.long
def test_a_pool_leaves_no_process_no_file_no_variable_and_no_word(tmp_path):
    work, scratch = tmp_path / "work", tmp_path / "scratch"
    work.mkdir()
    scratch.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", written(CLEAN, tmp_path)],
        cwd=work,
        env=os.environ | {"TMPDIR": str(scratch), "OMP_NUM_THREADS": "7"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(work.iterdir()) == list(scratch.iterdir()) == []


@pytest.mark.long
def test_an_interrupt_ends_the_workers_at_once(tmp_path):
    process = subprocess.Popen(
        [sys.executable, written(LONG, tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout.readline() == b"up\n"
    time.sleep(0.5)
    children = psutil.Process(process.pid).children(recursive=True)
    crew = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    assert len(crew) == 2
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to the workers too
    _, told = process.communicate(timeout=30)
    assert time.monotonic() - start < 10
    assert told.splitlines()[-1] == b"KeyboardInterrupt"
    _, alive = psutil.wait_procs(crew, timeout=3)
    assert alive == []
    assert process.returncode != 0


@pytest.mark.long
def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = LONG.replace('if __name__ == "__main__":', "if True:")
    done = subprocess.run(
        [sys.executable, written(script, tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "under `if __name__ ==" in done.stderr.splitlines()[-1]


def test_settings_are_read_from_texts():
    pairs = ["queue=long", "cores=4", "memory=16GB", "job_extra_directives=-l a=b"]
    assert workers.settings_of(pairs) == {
        "queue": "long",
        "cores": 4,
        "memory": "16GB",
        "job_extra_directives": "-l a=b",
    }


@pytest.mark.parametrize("pair", ["queue", "=long", "queue=", ""])
def test_a_text_that_is_no_setting_is_refused(pair):
    with pytest.raises(InputError, match="A setting is NAME=VALUE"):
        workers.settings_of([pair])
