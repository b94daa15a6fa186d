"""Work gives the same results wherever it is done, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from itertools import count, islice
from pathlib import Path

import psutil
import pytest
from dask.system import cpu_count
from notebook_runs import wait_for

from modsnr import InputError, workers

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


def threads(_):
    return {name: os.environ.get(name) for name in workers.ONE_THREAD}


@pytest.fixture(scope="module")
def local():
    with workers.connect("local", workers=2) as pool:
        yield pool


@pytest.fixture(params=["here", "local"])
def pool(request):
    return request.getfixturevalue("local") if request.param == "local" else None


def test_every_item_gives_one_result_the_first_done_first(pool, local, tmp_path):
    items = [3, 1, 2, 1, 1]  # equal ones too
    assert sorted(workers.each(pool, square, iter(items))) == [1, 1, 1, 4, 9]
    assert list(workers.each(pool, square, [])) == []
    tasks = [(tmp_path, "slow", 0.5), (tmp_path, "quick", 0)]
    assert list(workers.each(local, note, tasks)) == ["quick", "slow"]
    shared = dict.fromkeys(workers.ONE_THREAD, str(max(1, cpu_count() // 2)))
    assert list(workers.each(local, threads, range(3))) == [shared] * 3


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
    tasks = [(tmp_path / "missing", 0, 0), *((tmp_path, item, 0.4) for item in range(100))]
    with pytest.raises(FileNotFoundError):
        list(workers.each(local, note, tasks))
    time.sleep(1.3)
    assert len(list(tmp_path.iterdir())) <= 3  # of five that were under way


@pytest.mark.long
def test_an_item_that_kills_every_worker_is_an_error_and_the_others_go_on():
    with workers.connect("local", workers=2) as pool:
        with pytest.raises(Exception, match="on 4 different workers, but all those workers died"):
            list(workers.each(pool, die_at_five, range(10)))
        assert sorted(workers.each(pool, square, range(10))) == [number**2 for number in range(10)]


@pytest.mark.parametrize(
    ("where", "settings", "complaint"),
    [
        ("slrum", {}, "no place for workers is called 'slrum'; did you mean 'slurm'. known: here"),
        ("tcp://host", {}, "no place for workers"),
        ("here", {"workers": 2}, "workers is for local, .* here has those that it has"),
        ("tcp://host:1", {"workers": 2}, "tcp://host:1 has those that it has"),
        ("local", {"queue": "batch"}, "queue: settings are for slurm and pbs, not for local"),
        ("slurm", {"cores": 1, "memory": "1GB"}, "slurm needs workers, the number of jobs"),
        ("tcp://127.0.0.1:1", {}, "No Dask scheduler .*127.0.0.1:1 within 0 s"),
    ],
)
def test_a_place_or_setting_that_is_none_is_refused(where, settings, complaint, monkeypatch):
    monkeypatch.setattr(workers, "CONNECT_WITHIN_S", 0.2)
    with pytest.raises(InputError, match=complaint), workers.connect(where, **settings):
        pass


def test_settings_are_read_from_texts():
    pairs = ["queue=long", "cores=4", "job_extra_directives=-l a=b"]
    read = {"queue": "long", "cores": 4, "job_extra_directives": "-l a=b"}
    assert workers.settings_of(pairs) == read


@pytest.mark.parametrize("pair", ["queue", "=long", "queue=", ""])
def test_a_text_that_is_no_setting_is_refused(pair):
    with pytest.raises(InputError, match="A setting is NAME=VALUE"):
        workers.settings_of([pair])


def test_the_workers_of_a_running_scheduler_do_the_work_and_live_on(local):
    with workers.connect(local.scheduler.address) as pool:
        assert sorted(workers.each(pool, square, range(5))) == [0, 1, 4, 9, 16]
    assert len(local.nthreads()) == 2


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
JOB = {"queue": "batch", "account": "radio", "walltime": "01:02:03", "cores": 1, "memory": "1GB"}
LOCALLY = {"scheduler_options": {"host": "127.0.0.1"}}


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


@pytest.mark.long
@pytest.mark.parametrize(
    ("where", "submit", "cancel", "asked"),
    [
        ("slurm", "sbatch", "scancel", ["SBATCH -p batch", "SBATCH -A radio"]),
        ("pbs", "qsub", "qdel", ["PBS -q batch", "PBS -l walltime=01:02:03"]),
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
    with workers.connect(where, workers=2, **JOB, **LOCALLY, **prologue) as pool:
        seen = list(workers.each(pool, threads, range(30)))
        wait_for(lambda: len(pool.nthreads()) == 2)
        limits = pool.run(lambda dask_worker: dask_worker.memory_manager.memory_limit)
    assert seen == [workers.ONE_THREAD] * 30
    assert list(limits.values()) == [None, None]
    for path in folder.glob("*.job"):
        assert all(line in path.read_text() for line in [*asked, "export LATER=1\n"])
    jobs = [int(path.stem) for path in folder.glob("*.cancelled")]
    assert len(jobs) == len(list(folder.glob("*.job"))) == 2
    assert list(scratch.iterdir()) == []
    wait_for(lambda: not any(str(folder) in " ".join(command) for command in commands_of_all()))


def commands_of_all():
    return [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (LOCALLY, r"(?s)slurm refused the jobs\..*error: Invalid account"),
        ({"cores": None}, "must specify how much cores and memory"),
        ({"quue": "x"}, "unexpected keyword argument 'quue'"),
        ({"memory": "plenty"}, "slurm cannot use these settings: .*'plenty'"),
        ({"config_name": "none"}, "slurm cannot use these settings: 'none'"),
        ({"interface": "none0"}, "cannot use these settings: .*'none0' is not a valid network"),
    ],
)
def test_jobs_and_settings_that_a_queue_refuses_are_refused(settings, complaint, queue):
    _, play = queue
    play("sbatch", REFUSE)
    with (
        pytest.raises(InputError, match=complaint),
        workers.connect("slurm", workers=2, **JOB | settings),
    ):
        pass


def test_a_queue_that_is_not_here_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = pytest.raises(InputError, match="no qsub on this machine")
    with missing, workers.connect("pbs", workers=1, **JOB):
        pass
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    missing = pytest.raises(InputError, match=r"`pip install \"modsnr\[cluster\]\"`")
    with missing, workers.connect("pbs", workers=1, **JOB):
        pass


# Nothing is left behind

SCRIPT = """
import time
from modsnr import workers

if __name__ == "__main__":
    with workers.connect(workers=2) as client:
        for _ in workers.each(client, time.sleep, [0] * 10 + [100] * 10):
            print("done", flush=True)
"""


@pytest.mark.long
def test_an_interrupt_ends_the_workers_at_once(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", tmp_path / "script.py"],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "done\n"
    children = psutil.Process(process.pid).children(recursive=True)
    crew = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    assert len(crew) == 2
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to the workers too
    _, printed = process.communicate(timeout=30)
    assert time.monotonic() - start < 10
    assert printed.splitlines()[-1] == "KeyboardInterrupt"
    _, alive = psutil.wait_procs(crew, timeout=3)
    assert alive == []
    assert process.returncode != 0
