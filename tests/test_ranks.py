"""A fit on several devices is the fit that one device makes, and ends as cleanly."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch
import toy_fits
from numpy.testing import assert_allclose
from torch.testing import assert_close
from toy_fits import header, picture, same_bits, weights
from toy_ranks import At, be_killed, brightened, fit, leave, standing, stay

from modsnr import InputError, diagrams, runs, training
from modsnr.training import distributed, rank

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).parents[1]
LOSSES = ["loss", "modulation_loss", "snr_loss"]


@pytest.fixture(scope="module")
def two_ranks():
    """Two processes that wait for one fit after the other."""
    with standing() as ranks:
        yield ranks


@pytest.fixture
def ranks(two_ranks, monkeypatch):
    monkeypatch.setattr(distributed, "start_processes", two_ranks.start)


def alike(one, other, folders=()):
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


@pytest.mark.parametrize("weighting", ["uncertainty", "fixed", "dwa", "gradnorm"])
def test_two_processes_learn_as_one_does_from_the_same_batches(tmp_path, ranks, weighting):
    options = {"task_weighting": weighting, "rotate": True, "conjugate": True, "epochs": 12}
    options |= {"batch_size": 64, "modulation_share": 0.7}  # a step an epoch
    one = fit(tmp_path / "one", **options)
    rows = []
    two = fit(tmp_path / "two", devices=2, report=rows.append, **options)
    assert len(two.history) == 12
    alike(one, two)
    assert two.history.to_dict("records") == rows
    accuracies = [name for name in one.history if name.startswith("validation")]
    assert_allclose(one.history[accuracies], two.history[accuracies], atol=2 / 32)
    assert (one.micro_batch, two.micro_batch) == (64, 32)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        "checkpoint.safetensors", "history.csv", "weights.safetensors",
    ]  # fmt: skip


def test_a_step_that_one_process_cannot_take_is_skipped_by_both(tmp_path, ranks):
    one = fit(tmp_path / "one", At("nan", 2))
    two = fit(tmp_path / "two", At("nan", 2, rank=1), devices=2)
    assert two.skipped_steps == 1
    assert two.trouble.startswith("step 2: the loss is not finite")
    alike(one, two)


def test_two_processes_roll_back_together(tmp_path, ranks):
    spoilt = {"first": 18, "last": 37}  # 20 steps in a row, in the second epoch
    one = fit(tmp_path / "one", At("nan", **spoilt), batch_size=4)
    two = fit(tmp_path / "two", At("nan", rank=0, **spoilt), batch_size=4, devices=2)
    assert two.rollbacks == 1
    assert_allclose(one.history[LOSSES], two.history[LOSSES], rtol=5e-3)
    rate = toy_fits.SMALL.learning_rate
    assert two.history.learning_rate.tolist() == [rate, rate / 2, rate / 2]


def test_two_processes_diverge_as_one(tmp_path, ranks):
    with pytest.raises(training.Diverged, match=r"step 6: the loss .* 6 steps in a row .* after 5"):
        fit(tmp_path, At("nan", 1, 1000), devices=2)


def test_two_processes_stop_early_together(tmp_path, ranks):
    still = {"epochs": 9, "learning_rate": 1e-12, "early_stopping": 2}
    found = fit(tmp_path, devices=2, **still)
    assert len(found.history) == 1 + 2
    assert fit(tmp_path, devices=2, **still).history.equals(found.history)


# Cut off and gone on with


def test_a_fit_of_two_processes_that_was_cut_ends_in_the_same_bits(tmp_path, ranks):
    options = {"rotate": True, "ema": 0.9, "schedule": "one_cycle", "devices": 2}
    fit(tmp_path / "whole", net=toy_fits.network(), **options)
    with pytest.raises(RuntimeError, match="failed: ConnectionError: the machine went away"):
        fit(tmp_path / "cut", At("die", 6), net=toy_fits.network(), **options)
    assert len(pd.read_csv(tmp_path / "cut" / "history.csv")) == 1
    fit(tmp_path / "new", net=toy_fits.network(), resume=tmp_path / "cut", **options)
    assert same_bits(weights(tmp_path / "whole"), weights(tmp_path / "new"))
    assert len(pd.read_csv(tmp_path / "new" / "history.csv")) == 3


def test_what_one_process_began_two_go_on_with_and_the_other_way_round(tmp_path, ranks):
    whole = fit(tmp_path / "whole")
    with pytest.raises(ConnectionError):
        fit(tmp_path / "cut1", At("die", 6))
    alike(whole, fit(tmp_path / "one then two", resume=tmp_path / "cut1", devices=2))
    with pytest.raises(RuntimeError, match="failed: ConnectionError"):
        fit(tmp_path / "cut2", At("die", 6), devices=2)
    assert header(tmp_path / "cut2")["step"] == 4
    alike(whole, fit(tmp_path / "two then one", resume=tmp_path / "cut2"))


def test_a_finished_fit_starts_no_processes(tmp_path, monkeypatch):
    done = fit(tmp_path, epochs=1)
    monkeypatch.setattr(distributed, "start_processes", None)
    assert fit(tmp_path, epochs=1, devices=2).history.equals(done.history)


# Refused


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"devices": 3}, r"3 cannot share 16 evenly: give 15, say"),
        ({"devices": 32}, r"32 cannot share 16 evenly: give 32, say"),
        ({"devices": 0}, "devices must be a whole number, 1 or more; it is 0"),
        ({"devices": True}, "devices must be a whole number, 1 or more; it is True"),
        ({"num_nodes": 0}, "num_nodes must be a whole number"),
        ({"strategy": "fsdp"}, "strategy is one of auto, ddp, .* it is 'fsdp'"),
        ({"num_nodes": 2}, "num_nodes is 2: .* within a SLURM job only"),
    ],
)
def test_devices_that_cannot_be_had_are_refused(tmp_path, monkeypatch, options, complaint):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(InputError, match=complaint):
        fit(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_more_devices_than_the_machine_has_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="devices is 2, but this machine has 1"):
        fit(tmp_path, devices=2)


def nested():
    def draw(iq):
        return picture(iq)

    return draw


@pytest.mark.parametrize(
    "draw",
    [nested(), lambda iq: picture(iq), toy_fits.Counting(), partial(brightened, by={1}),
     partial(picture, 3)],
    ids=["nested", "lambda", "state", "settings", "positional"],
)  # fmt: skip
def test_a_draw_without_a_name_is_refused(tmp_path, draw):
    with pytest.raises(InputError, match="make the draw again by its name"):
        fit(tmp_path, draw, devices=2)
    assert not list(tmp_path.iterdir())


def test_a_draw_is_made_again_from_its_name(generator):
    iq = torch.randn(4, 256, dtype=torch.complex64, generator=generator)
    canvas = diagrams.Canvas(views=["constellation"], bins=16, extent=2.0, normalization="max")
    for draw in (picture, partial(brightened, by=3), canvas):
        told = json.loads(json.dumps(distributed.name_of(draw)))
        assert torch.equal(rank.make_draw(**told)(iq), draw(iq))


def test_a_network_that_its_settings_do_not_build_is_refused(tmp_path, ranks):
    with pytest.raises(InputError, match=r"built from its settings, and this one is another"):
        fit(tmp_path, net=toy_fits.network(plain=True), devices=2)


def test_want_of_memory_on_several_devices_is_told_with_what_to_do(tmp_path, ranks):
    with pytest.raises(InputError, match=r"for 8 frames a device, .* batch_size of 16"):
        fit(tmp_path, At("memory", 3), devices=2)


# Processes that end, and those that must not stay


def left():
    """Return the processes of ranks that this one still has."""
    return [
        child
        for child in psutil.Process().children()
        if "spawn_main" in str(child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE
    ]


@pytest.mark.parametrize(
    ("act", "complaint"),
    [
        (be_killed, "process of rank 1 was ended by SIGKILL"),
        (leave, r"ended with the codes \[(3|-15), (3|-15)\], unexplained"),
    ],
)
def test_the_end_of_one_process_ends_all_with_its_reason(tmp_path, monkeypatch, act, complaint):
    before = left()
    monkeypatch.setattr(rank, "run_here", act)
    with pytest.raises(RuntimeError, match=complaint):
        fit(tmp_path, devices=2)
    assert left() == before
    assert not list(tmp_path.iterdir())


def test_an_interrupt_ends_all_processes(tmp_path, monkeypatch):
    before = left()

    def interrupt(row):
        assert len(left()) == len(before) + 2
        raise KeyboardInterrupt

    monkeypatch.setattr(rank, "run_here", stay)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, devices=2, report=interrupt)
    assert left() == before
    assert not list(tmp_path.iterdir())


ABANDONED = """
import sys, torch
torch.set_num_threads(1)
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
def test_a_killed_parent_leaves_no_process_and_no_hidden_folder(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", ABANDONED, tmp_path], cwd=ROOT / "tests")
    until(lambda: (tmp_path / "history.csv").exists() or parent.poll() is not None)
    children = psutil.Process(parent.pid).children()
    assert len([child for child in children if "spawn_main" in str(child.cmdline())]) == 2
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    assert not (tmp_path / ".ranks").exists()
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
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
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


def words(path):
    return path.read_text().split() if path.exists() else []


def test_the_readmes_job_requeues_itself_when_time_is_up_and_then_resumes(tmp_path, monkeypatch):
    job = re.search(
        r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", (ROOT / "README.md").read_text(), re.S
    )
    for name, code in {
        ".venv/bin/modsnr": 'trap "exit 1" TERM; echo "$@" > asked; sleep 60 & wait',
        "bin/scontrol": 'echo "$@" > queue',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/bash\n{code}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)

    def begin():
        return subprocess.Popen(
            ["bash", "-c", job[1]], cwd=tmp_path, start_new_session=True, stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    first = begin()
    try:
        until(lambda: words(tmp_path / "asked"))
        asked = words(tmp_path / "asked")
        first.send_signal(signal.SIGUSR1)
        first.wait(30)
    finally:
        os.killpg(first.pid, signal.SIGKILL)  # what sleeps on
    assert words(tmp_path / "queue") == ["requeue", "7"]
    assert asked[:2] == ["run", "02_training"]
    given = dict(zip(asked[5::3], asked[6::3], strict=False))
    assert given == {"devices": "4", "num_nodes": "2"}
    assert given.keys() <= runs.parameters("02_training").keys()
    (tmp_path / "asked").unlink()
    left = tmp_path / "runs" / "0-02_training-wide" / "checkpoint.safetensors"
    left.parent.mkdir(parents=True)
    left.touch()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    again = begin()
    try:
        until(lambda: words(tmp_path / "asked"))
        assert words(tmp_path / "asked") == [*asked, "-p", "resume", "wide"]
    finally:
        os.killpg(again.pid, signal.SIGKILL)
        again.wait()


def test_the_notebook_and_the_fit_have_one_set_of_defaults_for_devices_and_logs():
    declared, own = runs.parameters("02_training"), training.Execution()
    for name in ("devices", "num_nodes", "strategy", "wandb"):
        assert declared[name].default == getattr(own, name)


# History


def test_the_history_is_on_disk_after_every_epoch_and_reads_as_the_fits(tmp_path):
    lengths = []

    def report(row):
        lengths.append(len(pd.read_csv(tmp_path / "history.csv")))

    found = fit(tmp_path, report=report)
    assert lengths == [1, 2, 3]
    assert_allclose(pd.read_csv(tmp_path / "history.csv"), found.history)


def test_a_fit_that_diverges_leaves_its_history(tmp_path):
    with pytest.raises(training.Diverged, match="20 steps in a row"):
        fit(tmp_path, At("nan", 5, 100_000), epochs=60)
    rows = pd.read_csv(tmp_path / "history.csv")  # the epochs amid the trouble, too
    assert rows.epoch.tolist() == [1, 2, 3, 4, 5]
    assert rows.skipped_steps.tolist() == [0] + [5 * 20 + 4 * n for n in range(1, 5)]
