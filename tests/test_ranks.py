"""A fit on several devices is the fit that one device makes, and ends as cleanly."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch
import toy_fits
from numpy.testing import assert_allclose
from torch.testing import assert_close
from toy_fits import At, header, same_bits, weights
from toy_ranks import Standing, fit, one_is_killed, stay

from modsnr import diagrams, runs, training
from modsnr.training import distributed

ROOT = Path(__file__).parents[1]
LOSSES = ["loss", "modulation_loss", "snr_loss"]


@pytest.fixture(scope="module")
def two_ranks():
    """Two processes that wait for one fit after the other."""
    ranks = Standing()
    yield ranks
    ranks.close()


@pytest.fixture
def ranks(two_ranks, monkeypatch):
    monkeypatch.setattr(distributed, "start_processes", two_ranks.start)


def assert_alike(one, other):
    """Assert that two fits went the same way, up to rounding."""
    assert_allclose(one.history[LOSSES], other.history[LOSSES], rtol=2e-4)
    same = ["epoch", "step", "learning_rate", "skipped_steps"]
    assert one.history[same].equals(other.history[same])
    first, second = (weights(folder.weights.parent) for folder in (one, other))
    for name, value in first.items():
        # A key's bias has no effect and no gradient but rounding, which Adam scales up.
        if not name.endswith("qkv.bias"):
            assert_close(value, second[name], atol=2e-4, rtol=1e-3, msg=name)


# The same fit


@pytest.mark.parametrize("weighting", ["uncertainty", "gradnorm"])
def test_two_processes_learn_as_one_does_from_the_same_batches(tmp_path, ranks, weighting):
    options = {"task_weighting": weighting, "rotate": True, "conjugate": True, "epochs": 6}
    options |= {"batch_size": 64, "draw": diagrams.Canvas(bins=16)}  # a step an epoch
    one = fit(tmp_path / "one", **options)
    rows = []
    two = fit(tmp_path / "two", devices=2, report=rows.append, **options)
    assert_alike(one, two)
    assert two.history.to_dict("records") == rows
    accuracies = [name for name in one.history if name.startswith("validation")]
    assert_allclose(one.history[accuracies], two.history[accuracies], atol=2 / 32)
    assert (one.micro_batch, two.micro_batch) == (64, 32)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        "checkpoint.safetensors", "history.csv", "weights.safetensors",
    ]  # fmt: skip


def test_two_processes_roll_back_together(tmp_path, ranks):
    spoilt = {"first": 18, "last": 37}  # 20 steps in a row, in the second epoch
    one = fit(tmp_path / "one", At("nan", **spoilt), batch_size=4)
    two = fit(tmp_path / "two", At("nan", rank=0, **spoilt), batch_size=4, devices=2)
    assert (two.skipped_steps, two.rollbacks) == (20, 1)
    assert two.trouble.startswith("step 18: the loss is not finite")
    assert_allclose(one.history[LOSSES], two.history[LOSSES], rtol=5e-3)
    rate = toy_fits.SMALL.learning_rate
    assert two.history.learning_rate.tolist() == [rate, rate / 2, rate / 2]


def test_two_processes_diverge_as_one(tmp_path, ranks):
    with pytest.raises(training.Diverged, match=r"step 6: the loss .* 6 steps in a row .* after 5"):
        fit(tmp_path, At("nan", 1, 1000), devices=2)


# Cut off and continued


def test_a_fit_of_two_processes_that_was_cut_ends_in_the_same_bits(tmp_path, ranks):
    options = {"rotate": True, "ema": 0.9, "schedule": "one_cycle", "devices": 2}
    fit(tmp_path / "whole", net=toy_fits.network(), **options)
    with pytest.raises(RuntimeError, match="failed: ConnectionError: the machine went away"):
        fit(tmp_path / "cut", At("die", 6), net=toy_fits.network(), **options)
    assert len(pd.read_csv(tmp_path / "cut" / "history.csv")) == 1
    fit(tmp_path / "new", net=toy_fits.network(), resume=tmp_path / "cut", **options)
    assert same_bits(weights(tmp_path / "whole"), weights(tmp_path / "new"))
    assert len(pd.read_csv(tmp_path / "new" / "history.csv")) == 3


def test_one_process_continues_what_two_began_and_two_what_one_began(tmp_path, ranks):
    whole = fit(tmp_path / "whole")
    with pytest.raises(ConnectionError):
        fit(tmp_path / "one", At("die", 6))
    assert_alike(whole, fit(tmp_path / "one then two", resume=tmp_path / "one", devices=2))
    with pytest.raises(RuntimeError, match="failed: ConnectionError"):
        fit(tmp_path / "two", At("die", 6), devices=2)
    assert_alike(whole, fit(tmp_path / "two then one", resume=tmp_path / "two"))


# Refused


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"devices": 3}, r"3 cannot share 16 evenly: give 15, say"),
        ({"devices": 32}, r"32 cannot share 16 evenly: give 32, say"),
        ({"devices": 4}, "devices is 4, but this machine has 1"),
        ({"devices": 0}, "(?s)devices.*greater than 0"),
        ({"strategy": "fsdp"}, "(?s)strategy.*'auto', 'ddp'"),
        ({"num_nodes": 2}, "num_nodes is 2: .* within a SLURM job only"),
        ({"num_nodes": 2, "draw": toy_fits.picture}, "make the draw again from its class"),
    ],
)
def test_devices_that_cannot_be_had_are_refused(tmp_path, monkeypatch, options, complaint):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if "draw" in options:
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        monkeypatch.setattr(distributed.shutil, "which", lambda _: "srun")
    with pytest.raises(ValueError, match=complaint):
        fit(tmp_path, **options)
    assert not list(tmp_path.iterdir())


# Processes that end, and those that must not stay


def left():
    """Return the processes of ranks that this one still has."""
    return [
        child
        for child in psutil.Process().children()
        if "spawn_main" in str(child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE
    ]


def test_the_end_of_one_process_ends_all_with_its_reason(tmp_path, monkeypatch):
    before = left()
    monkeypatch.setattr(distributed, "run_here", one_is_killed)
    with pytest.raises(RuntimeError, match="process of rank 1 was ended by SIGKILL"):
        fit(tmp_path, devices=2)
    assert left() == before
    assert not list(tmp_path.iterdir())


def test_an_interrupt_ends_all_processes(tmp_path, monkeypatch):
    before = left()

    def interrupt(row):
        assert len(left()) == len(before) + 2
        raise KeyboardInterrupt

    monkeypatch.setattr(distributed, "run_here", stay)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, devices=2, report=interrupt)
    assert left() == before
    assert not list(tmp_path.iterdir())


ABANDONED = """
import sys
from pathlib import Path
from toy_ranks import fit
fit(Path(sys.argv[1]), devices=2, batch_size=2, epochs=10_000)
"""


def until(met, seconds=240):
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.long
def test_a_killed_parent_leaves_no_process_and_no_hidden_file(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", ABANDONED, tmp_path], cwd=ROOT / "tests")
    until(lambda: (tmp_path / "history.csv").exists() or parent.poll() is not None)
    children = psutil.Process(parent.pid).children()
    assert len([child for child in children if "spawn_main" in str(child.cmdline())]) == 2
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    assert not (tmp_path / distributed.TASK).exists()
    assert len(pd.read_csv(tmp_path / "history.csv")) >= 1


SRUN = """#!{python}
import os, subprocess, sys
words = sys.argv[1:]
options = [word for word in words if word.startswith("--")]
open({told!r}, "w").write(" ".join(options))
tasks = int(next(word for word in options if word.startswith("--ntasks=")).partition("=")[2])
places = [dict(SLURM_PROCID=str(i), SLURM_LOCALID="0", SLURM_NODEID=str(i)) for i in range(tasks)]
command = words[len(options):]
done = [subprocess.Popen(command, env=os.environ | place) for place in places]
sys.exit(max(one.wait() for one in done))
"""


@pytest.mark.long
def test_a_fit_that_lost_a_process_goes_on_over_two_machines_by_srun(tmp_path, ranks, monkeypatch):
    options = {"batch_size": 4, "epochs": 2}
    whole = fit(tmp_path / "whole", devices=2, **options)
    monkeypatch.undo()  # real processes from here
    with pytest.raises(RuntimeError, match="process of rank 1 was ended by SIGKILL"):
        fit(tmp_path / "cut", At("kill", 20, rank=1), devices=2, **options)
    assert header(tmp_path / "cut")["epoch"] == 1
    assert len(pd.read_csv(tmp_path / "cut" / "history.csv")) == 1
    srun, told = tmp_path / "bin" / "srun", tmp_path / "told"
    srun.parent.mkdir()
    srun.write_text(SRUN.format(python=sys.executable, told=str(told)))
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{srun.parent}{os.pathsep}{os.environ['PATH']}")
    for name, value in {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "job"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    monkeypatch.setattr(distributed.socket, "gethostname", lambda: "localhost")
    again = fit(tmp_path / "new", num_nodes=2, resume=tmp_path / "cut", **options)
    assert again.history.drop(columns="seconds").equals(whole.history.drop(columns="seconds"))
    assert same_bits(weights(tmp_path / "whole"), weights(tmp_path / "new"))
    assert told.read_text().split() == [
        "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--kill-on-bad-exit=1", "--unbuffered",
        "--cpus-per-task=3",
    ]  # fmt: skip


def test_the_guides_job_requeues_itself_when_time_is_up_and_then_resumes(tmp_path, monkeypatch):
    readme = (ROOT / "notebooks/README.md").read_text()
    job = re.search(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", readme, re.S)
    for name, code in {
        ".venv/bin/modsnr": 'trap "exit 1" TERM; echo "$@" > given; sleep 60 & wait',
        "bin/scontrol": 'echo "$@" > queue',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/bash\n{code}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")

    def words_given(restarts):
        """Return the words of modsnr's command line; the job is then told that time is up."""
        monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
        quiet = subprocess.DEVNULL
        started = subprocess.Popen(
            ["bash", "-c", job[1]], cwd=tmp_path, start_new_session=True, stderr=quiet, stdout=quiet
        )
        given = tmp_path / "given"
        try:
            until(lambda: given.exists() and given.read_text())
            started.send_signal(signal.SIGUSR1)
            started.wait(30)
        finally:
            os.killpg(started.pid, signal.SIGKILL)  # what sleeps on
        words = given.read_text().split()
        given.unlink()
        return words

    first = words_given("")
    assert (tmp_path / "queue").read_text() == "requeue 7\n"
    assert first[:2] == ["run", "02_training"]
    parameters = dict(zip(first[5::3], first[6::3], strict=False))
    assert parameters == {"devices": "4", "num_nodes": "2"}
    assert parameters.keys() <= runs.parameters("02_training").keys()
    left = tmp_path / "runs" / "0-02_training-wide" / "checkpoint.safetensors"
    left.parent.mkdir(parents=True)
    left.touch()
    assert words_given("1") == [*first, "-p", "resume", "wide"]


def test_the_notebook_and_the_fit_have_one_set_of_defaults_for_devices_and_logs():
    declared, own = runs.parameters("02_training"), training.Execution()
    for name in ("devices", "num_nodes", "strategy", "wandb"):
        assert declared[name].default == getattr(own, name)


# History


def test_a_fit_that_diverges_leaves_its_history(tmp_path):
    with pytest.raises(training.Diverged, match="20 steps in a row"):
        fit(tmp_path, At("nan", 5, 100_000), epochs=60)
    rows = pd.read_csv(tmp_path / "history.csv")  # the epochs amid the trouble, too
    assert rows.epoch.tolist() == [1, 2, 3, 4, 5]
    assert rows.skipped_steps.tolist() == [0] + [5 * 20 + 4 * n for n in range(1, 5)]
