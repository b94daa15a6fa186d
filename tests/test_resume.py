"""A run that was cut off is gone on with in a run of its own, as if nothing had happened."""

import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from toy_fits import (
    At,
    digest,
    fit,
    header,
    network,
    picture,
    same_bits,
    weights,
)

from modsnr import InputError, frames, runs, signals
from modsnr.training import loop

ROOT = Path(__file__).parents[1]
CHECKPOINT = "checkpoint.safetensors"


@pytest.fixture
def cut(tmp_path, monkeypatch):
    """The folder of a fit that died at its sixth step of twelve, after a checkpoint of five."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(ConnectionError):
        fit(tmp_path / "cut", At("die", 6), rotate=True)
    return tmp_path / "cut"


# Taken over


CYCLE = {"schedule": "one_cycle"}
CUTS = [
    *((at, CYCLE) for at in (1, 8, 9)),
    (6, CYCLE | {"precision": "bf16"}),
    (7, {"ema": 0.9, "epochs": 2}),
    (11, {"task_weighting": "dwa"}),
    (11, {"task_weighting": "gradnorm"}),
]


@pytest.mark.parametrize(("at", "options"), CUTS)
def test_a_fit_cut_off_anywhere_and_resumed_ends_in_the_same_weights(
    tmp_path, monkeypatch, at, options
):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    whole = fit(tmp_path / "whole", rotate=True, **options)
    with pytest.raises(ConnectionError):
        fit(tmp_path / "cut", At("die", at), rotate=True, **options)
    again = fit(tmp_path / "cut", rotate=True, **options)
    assert same_bits(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    timed = ["seconds"]
    assert again.history.drop(columns=timed).equals(whole.history.drop(columns=timed))


def test_a_fit_taken_over_in_another_folder_ends_in_the_weights_of_an_undisturbed_one(
    cut, tmp_path
):
    before = (cut / CHECKPOINT).read_bytes()
    draw = At()
    again = fit(tmp_path / "new", draw, rotate=True, resume=cut)
    whole = fit(tmp_path / "whole", rotate=True)
    fit(tmp_path / "new", draw, rotate=True, resume=cut)  # it has come further than cut
    assert draw.calls == 12 - 5
    assert same_bits(weights(tmp_path / "new"), weights(tmp_path / "whole"))
    assert again.history.drop(columns="seconds").equals(whole.history.drop(columns="seconds"))
    assert (cut / CHECKPOINT).read_bytes() == before


def test_what_was_the_best_epoch_before_the_cut_may_be_the_best_of_all(tmp_path, monkeypatch):
    reached = iter([0.9, 0.2, 0.1])
    monkeypatch.setattr(loop, "_validate", lambda _: {"joint_accuracy": next(reached)})
    with pytest.raises(ConnectionError):
        fit(tmp_path / "cut", At("die", 6))
    best = weights(tmp_path / "cut")
    fit(tmp_path / "new", resume=tmp_path / "cut")
    assert same_bits(weights(tmp_path / "new"), best)


def test_two_cannot_go_on_from_the_same_checkpoint_at_once(cut, tmp_path):
    refused = []

    def another(iq):
        with pytest.raises(InputError, match="Another process already continues from cut") as it:
            fit(tmp_path / "second", rotate=True, resume=cut)
        refused.append(it)
        return picture(iq)

    fit(tmp_path / "first", At(another, 2), rotate=True, resume=cut)
    assert len(refused) == 1
    assert not (tmp_path / "second").exists()
    fit(tmp_path / "third", rotate=True, resume=cut)  # the lock goes with the fit


# Refused


def test_another_recipe_or_network_is_refused_naming_every_difference(cut, tmp_path):
    other = network()
    other.settings["backbone"] = "resnet18"
    differences = (
        "backbone is 'compact' there and 'resnet18' here; batch_size is 16 there and 8 here; "
        "seed is 0 there and 3 here"
    )
    with pytest.raises(InputError, match=differences):
        fit(tmp_path / "new", net=other, rotate=True, batch_size=8, seed=3, resume=cut)
    assert not (tmp_path / "new").exists()


def rewrite(folder, *, recipe=(), progress=(), forget=(), **tensors):
    """Change a checkpoint's header and tensors; ``forget`` names values that it then lacks."""
    held = load_file(folder / CHECKPOINT)
    with safe_open(folder / CHECKPOINT, framework="pt") as file:
        header = {name: json.loads(text) for name, text in file.metadata().items()}
    for part, changes in (("recipe", recipe), ("progress", progress)):
        header[part].update(changes)
        header[part] = {name: v for name, v in header[part].items() if name not in forget}
    text = {name: json.dumps(value) for name, value in header.items()}
    save_file(held | tensors, folder / CHECKPOINT, metadata=text)


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path("sprung"),))


def truncate(left):
    return lambda folder: (folder / CHECKPOINT).write_bytes(
        (folder / CHECKPOINT).read_bytes()[:left]
    )


DAMAGES = {
    "absent": (lambda folder: (folder / CHECKPOINT).unlink(), f"cut has no {CHECKPOINT} to"),
    "no weights": (lambda folder: (folder / "weights.safetensors").unlink(), "start anew"),
    "empty": (truncate(0), "damaged or no checkpoint"),
    "cut": (truncate(-50), "damaged or no checkpoint"),
    "pickle": (
        lambda folder: (folder / CHECKPOINT).write_bytes(pickle.dumps(Trap())),
        "damaged or no checkpoint",
    ),
    "no header": (
        lambda folder: save_file(load_file(folder / CHECKPOINT), folder / CHECKPOINT),
        "is no checkpoint of a fit",
    ),
    "too new": (
        lambda folder: rewrite(folder, progress={"mood": "good"}),
        r"no checkpoint of a fit.*'mood'",
    ),
    "another network": (
        lambda folder: rewrite(folder, **{"net.modulation_head.0.weight": torch.zeros(7, 128)}),
        r"(?s)does not hold the network.*modulation_head",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused_and_nothing_in_it_is_executed(
    cut, tmp_path, monkeypatch, damage
):
    monkeypatch.chdir(tmp_path)
    act, complaint = DAMAGES[damage]
    act(cut)
    with pytest.raises(InputError, match=complaint):
        fit(tmp_path / "new", rotate=True, resume=cut)
    assert not Path("sprung").exists()


def test_a_checkpoint_older_than_some_options_is_continued(cut, tmp_path):
    rewrite(cut, forget=("ema", "sampling", "conjugate", "warmup", "first_trouble", "first_loss"))
    with pytest.raises(InputError, match=r"ema is 0\.0 there and 0\.9 here\."):
        fit(tmp_path / "other", rotate=True, ema=0.9, resume=cut)
    fit(tmp_path / "new", rotate=True, resume=cut)
    fit(tmp_path / "whole", rotate=True)
    assert same_bits(weights(tmp_path / "new"), weights(tmp_path / "whole"))


# No room


@contextmanager
def files_of_at_most(size):
    """A disk that takes no more bytes in one file, as a full one takes none."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


NO_ROOM = rf"{CHECKPOINT} could not be written to .*: it takes 5\.\d MB, and .* MB are free there"


def test_a_checkpoint_that_the_disk_has_no_room_for_leaves_the_one_before_whole(cut, tmp_path):
    fit(tmp_path / "whole", rotate=True)
    before = header(cut)
    with files_of_at_most(100_000), pytest.raises(InputError, match=NO_ROOM):
        fit(cut, rotate=True)
    assert header(cut) == before
    assert not list(cut.glob(".*"))
    fit(cut, rotate=True)
    assert same_bits(weights(cut), weights(tmp_path / "whole"))


# Killed outright

FORKS = """
import os, random, signal, sys, time
from pathlib import Path

import torch

import lightning.fabric  # here, or most kills come while a child imports it
from toy_fits import digest, fit
from modsnr.training import loop

loop.CHECKPOINT_SECONDS = -1.0
folder = Path(sys.argv[1])
options = {"rotate": True, "epochs": 4, "schedule": "one_cycle"}


def forked(folder, **more):
    child = os.fork()
    if not child:
        fit(folder, **options, **more)
        os._exit(0)
    return child


began = time.monotonic()
os.waitpid(forked(folder / "whole"), 0)
lasted = time.monotonic() - began
print(digest(folder / "whole"), flush=True)
random.seed(4)
for number in range(20):
    cut, new = folder / f"cut{number}", folder / f"new{number}"
    child = forked(cut)
    time.sleep(lasted * random.random())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    more = {"resume": cut} if (cut / "checkpoint.safetensors").exists() else {}
    os.waitpid(forked(new, **more), 0)
    print(digest(new), len(more), flush=True)
"""


@pytest.mark.long
def test_kills_at_random_instants_end_in_the_same_weights(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS, tmp_path],
        cwd=ROOT / "tests", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    whole, *ends = done.stdout.splitlines()
    assert [line.split()[0] for line in ends] == [whole] * 20
    assert sum(line.endswith("1") for line in ends) > 5  # the others died before the first step


# Through the notebook

MODSNR = [sys.executable, "-c", "from modsnr.cli import main; main()"]
SMALL = {"frames": "toy", "bins": 16, "epochs": 25, "batch_size": 32, "precision": "32"}


def words(name, **other):
    parameters = {**SMALL, **other}
    given = [word for key, value in parameters.items() for word in ("-p", key, str(value))]
    return ["run", "02_training", *given, "--name", name]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """The notebooks, and a store of 320 frames."""
    root = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    classes = ("BPSK", "16QAM")
    modulation, snr_db = frames.grid_labels(classes, (0, 20), 80)
    iq = signals.simulate(
        torch.from_numpy(modulation),
        torch.from_numpy(snr_db),
        generator=torch.Generator().manual_seed(1),
        classes=classes,
    ).numpy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODSNR_ROOT", str(root))
        frames.write(
            runs.store("toy"),
            frames.Source(
                lambda rows, *_: iq[rows], modulation, snr_db, classes, np.arange(len(iq))
            ),
            frames.split(modulation, snr_db, seed=1),
            split_seed=1,
        )
        yield root


@pytest.fixture(scope="module")
def killed(house):
    """A run of 02_training whose processes were all killed outright after an epoch or more."""
    command = [*MODSNR, *words("cut")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        patience = time.monotonic() + 240
        while not any(header(path.parent)["epoch"] for path in house.glob(f"runs/*/{CHECKPOINT}")):
            assert process.poll() is None
            assert time.monotonic() < patience
            time.sleep(0.02)
        family = psutil.Process(process.pid).children(recursive=True)
        for pid in (process.pid, *(member.pid for member in family)):
            os.kill(pid, signal.SIGKILL)
    psutil.wait_procs(family, timeout=60)
    record = runs.find("cut", status=None)
    assert record.status == "crashed"
    assert 0 < header(record.folder)["epoch"] < SMALL["epochs"]
    return record


def run(name, **other):
    """Return the run that a command line makes."""
    command = [*MODSNR, *words(name, **other)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return runs.find(done.stdout.splitlines()[-1].split()[0], status=None)


@pytest.mark.long
def test_a_run_that_was_killed_is_resumed_by_name_and_ends_as_if_it_was_not(killed):
    again = run("cut", resume="cut")  # called as the run that it goes on with
    assert again.status == "completed", again.error
    assert again.parents == [killed.id]
    whole = run("whole")
    assert digest(again.folder) == digest(whole.folder)
    assert again.metrics["joint_accuracy"] == whole.metrics["joint_accuracy"]
    timed = {"columns": ["seconds"]}
    assert again.history.drop(**timed).equals(whole.history.drop(**timed))
    for name, value in again.predictions().items():
        np.testing.assert_array_equal(value, whole.predictions()[name])  # NaN is equal to NaN
    done = run("done", resume=f"runs/{again.id}")
    assert done.status == "failed"
    assert f"run {again.id} is completed: nothing is left to do" in done.error


@pytest.mark.long
def test_a_run_is_resumed_with_its_own_parameters_only(killed):
    other = run(
        "other", resume=killed.id, learning_rate=1e-3, dropout=0.5, note="a note may differ"
    )
    assert other.status == "failed"
    assert "dropout was 0.1 and is 0.5" in other.error
    assert "learning_rate was 0.004 and is 0.001" in other.error
    assert "note" not in other.error.split("started by")[0]
    assert killed.command in other.error
