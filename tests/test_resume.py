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
    Counting,
    die,
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
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def cut(tmp_path, monkeypatch):
    """The folder of a fit that died at its sixth step of twelve, after a checkpoint of five."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(ConnectionError):
        fit(tmp_path / "cut", Counting(at=[6], act=die), rotate=True)
    return tmp_path / "cut"


# Taken over


CYCLE = {"schedule": "one_cycle"}
CUTS = [
    *((at, CYCLE) for at in (1, 6, 8, 9)),
    (6, CYCLE | {"precision": "bf16"}),
    *((at, {"ema": 0.9, "epochs": 2}) for at in (1, 5, 7)),
    (11, {"task_weighting": "fixed", "modulation_share": 0.9}),
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
        fit(tmp_path / "cut", Counting(at=[at], act=die), rotate=True, **options)
    again = fit(tmp_path / "cut", rotate=True, **options)
    assert same_bits(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    timed = ["seconds"]
    assert again.history.drop(columns=timed).equals(whole.history.drop(columns=timed))


def test_a_fit_taken_over_in_another_folder_ends_in_the_weights_of_an_undisturbed_one(
    cut, tmp_path
):
    before = (cut / CHECKPOINT).read_bytes()
    draw = Counting()
    again = fit(tmp_path / "new", draw, rotate=True, resume=cut)
    whole = fit(tmp_path / "whole", rotate=True)
    assert draw.calls == 12 - 5
    assert same_bits(weights(tmp_path / "new"), weights(tmp_path / "whole"))
    assert again.history.drop(columns="seconds").equals(whole.history.drop(columns="seconds"))
    assert (cut / CHECKPOINT).read_bytes() == before


def test_what_was_the_best_epoch_before_the_cut_may_be_the_best_of_all(tmp_path, monkeypatch):
    reached = iter([0.9, 0.2, 0.1])
    monkeypatch.setattr(loop, "_validate", lambda _: {"joint_accuracy": next(reached)})
    with pytest.raises(ConnectionError):
        fit(tmp_path / "cut", Counting(at=[6], act=die))
    best = weights(tmp_path / "cut")
    fit(tmp_path / "new", resume=tmp_path / "cut")
    assert same_bits(weights(tmp_path / "new"), best)


def test_a_folder_that_has_come_further_keeps_its_own_checkpoint(cut, tmp_path):
    fit(tmp_path / "new", rotate=True, resume=cut)
    draw = Counting()
    fit(tmp_path / "new", draw, rotate=True, resume=cut)
    assert draw.calls == 0


def test_two_cannot_go_on_from_the_same_checkpoint_at_once(cut, tmp_path):
    refused = []

    def another(iq):
        with pytest.raises(InputError, match="Another process already continues from cut") as it:
            fit(tmp_path / "second", rotate=True, resume=cut)
        refused.append(it)
        return picture(iq)

    fit(tmp_path / "first", Counting(at=[2], act=another), rotate=True, resume=cut)
    assert len(refused) == 1
    assert not (tmp_path / "second").exists()
    fit(tmp_path / "third", rotate=True, resume=cut)  # the lock goes with the fit


def test_a_folder_without_a_checkpoint_is_nothing_to_go_on_from(tmp_path):
    with pytest.raises(InputError, match=rf"old has no {CHECKPOINT} to continue from"):
        fit(tmp_path / "new", resume=tmp_path / "old")


def test_best_weights_that_were_lost_are_missed(cut, tmp_path):
    (cut / "weights.safetensors").unlink()
    with pytest.raises(InputError, match=r"cut lacks its weights\.safetensors: start anew"):
        fit(tmp_path / "new", rotate=True, resume=cut)
    assert not (tmp_path / "new" / CHECKPOINT).exists()


# Refused


def test_another_recipe_is_refused_naming_every_difference(cut, tmp_path):
    with pytest.raises(
        InputError, match="batch_size is 16 there and 8 here; seed is 0 there and 3 here"
    ):
        fit(tmp_path / "new", rotate=True, batch_size=8, seed=3, resume=cut)
    assert not (tmp_path / "new").exists()


def test_a_checkpoint_of_another_architecture_is_refused_naming_what_differs(cut, tmp_path):
    other = network()
    other.settings |= {"backbone": "resnet18", "snr_layer": "standard"}
    with pytest.raises(
        InputError,
        match="backbone is 'compact' there and 'resnet18' here; "
        "snr_layer is 'bottleneck_64' there and 'standard' here",
    ):
        fit(tmp_path / "new", net=other, rotate=True, resume=cut)


def test_a_checkpoint_whose_header_lies_about_its_network_is_refused(cut, tmp_path):
    tensors = load_file(cut / CHECKPOINT)
    with safe_open(cut / CHECKPOINT, framework="pt") as file:
        told = file.metadata()
    tensors["net.modulation_head.0.weight"] = torch.zeros(7, 128)
    save_file(tensors, cut / CHECKPOINT, metadata=told)
    with pytest.raises(InputError, match=r"(?s)does not hold the network.*modulation_head"):
        fit(tmp_path / "new", rotate=True, resume=cut)


@pytest.mark.parametrize("left", [0, 7, 1000, -50])
def test_a_truncated_checkpoint_is_refused(cut, tmp_path, left):
    (cut / CHECKPOINT).write_bytes((cut / CHECKPOINT).read_bytes()[:left])
    with pytest.raises(InputError, match=r"checkpoint\.safetensors is damaged or no checkpoint"):
        fit(tmp_path / "new", rotate=True, resume=cut)


def test_a_pickle_is_refused_and_nothing_in_it_is_executed(cut, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    (cut / CHECKPOINT).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match=r"checkpoint\.safetensors is damaged or no checkpoint"):
        fit(tmp_path / "new", rotate=True, resume=cut)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("told", [{}, {"recipe": "{}", "progress": "[]"}, {"recipe": "{"}])
def test_tensors_without_the_header_of_a_checkpoint_are_refused(cut, tmp_path, told):
    save_file(load_file(cut / CHECKPOINT), cut / CHECKPOINT, metadata=told)
    with pytest.raises(InputError, match="is no checkpoint of a fit"):
        fit(tmp_path / "new", rotate=True, resume=cut)


def rewritten(folder, act):
    """Have ``act`` change the recipe and the progress in a checkpoint's header."""
    tensors = load_file(folder / CHECKPOINT)
    with safe_open(folder / CHECKPOINT, framework="pt") as file:
        told = {name: json.loads(text) for name, text in file.metadata().items()}
    act(told["recipe"], told["progress"])
    text = {name: json.dumps(value) for name, value in told.items()}
    save_file(tensors, folder / CHECKPOINT, metadata=text)


def made_old(recipe, progress):
    """Tell a header as it was before weights were averaged and trouble was told."""
    for name in ("ema", "sampling", "conjugate", "channels_last", "compile", "warmup"):
        del recipe[name]
    for name in ("first_trouble", "first_loss", "ever_taken"):
        del progress[name]


def test_a_checkpoint_older_than_some_options_is_gone_on_from(cut, tmp_path):
    rewritten(cut, made_old)
    fit(tmp_path / "new", rotate=True, resume=cut)
    fit(tmp_path / "whole", rotate=True)
    assert same_bits(weights(tmp_path / "new"), weights(tmp_path / "whole"))
    rewritten(tmp_path / "whole", made_old)
    assert len(fit(tmp_path / "whole", rotate=True).history) == 3  # and is done


def test_a_checkpoint_of_another_choice_among_newer_options_is_refused(cut, tmp_path):
    rewritten(cut, made_old)
    with pytest.raises(InputError, match=r"ema is 0\.0 there and 0\.9 here\."):
        fit(tmp_path / "new", rotate=True, ema=0.9, resume=cut)


def test_a_checkpoint_that_knows_more_than_this_version_is_refused(cut, tmp_path):
    rewritten(cut, lambda _, progress: progress.update(mood="good"))
    with pytest.raises(InputError, match=r"no checkpoint of a fit.*'mood'"):
        fit(tmp_path / "new", rotate=True, resume=cut)


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


def test_a_checkpoint_that_finds_no_room_in_another_folder_is_not_taken_over(cut, tmp_path):
    with files_of_at_most(100_000), pytest.raises(InputError, match="could not be written"):
        fit(tmp_path / "new", rotate=True, resume=cut)
    assert not list((tmp_path / "new").iterdir())


@pytest.fixture
def small_disk(tmp_path):
    """A disk of twelve megabytes, room for two checkpoints and the weights."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("only root may mount a disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_fills_up_amid_a_fit_ends_it_with_the_checkpoint_before(
    small_disk, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    folder = small_disk / "fit"

    def fill(iq):
        with pytest.raises(OSError, match="No space left"):
            (small_disk / "other").write_bytes(bytes(12_000_000))
        return picture(iq)

    with pytest.raises(InputError, match=NO_ROOM + r" .*\(.*No space left.*make room and continue"):
        fit(folder, Counting(at=[3], act=fill))
    assert header(folder)["step"] == 2
    assert not list(folder.glob(".*"))
    (small_disk / "other").unlink()
    fit(folder)
    fit(tmp_path / "whole")
    assert same_bits(weights(folder), weights(tmp_path / "whole"))


# Killed outright

FORKS = """
import os, random, signal, sys, time
from pathlib import Path

import torch

torch.set_num_threads(1)
import lightning.fabric  # here, or most kills come while a child imports it
from toy_fits import Counting, digest, fit, picture
from modsnr import InputError
from modsnr.training import loop

loop.CHECKPOINT_SECONDS = -1.0
folder, kills = Path(sys.argv[1]), int(sys.argv[2])
options = {"rotate": True, "epochs": 4, "schedule": "one_cycle"}


def forked(folder, **more):
    child = os.fork()
    if not child:
        fit(folder, **options, **more)
        os._exit(0)
    return child


def resumed(folder, **more):
    child = os.fork()
    if not child:
        try:
            fit(folder, **options, **more)
            print("ended", digest(folder), flush=True)
        except InputError as error:
            print("refused", error, flush=True)
        os._exit(0)
    return child


began = time.monotonic()
os.waitpid(forked(folder / "whole"), 0)
lasted = time.monotonic() - began
print(digest(folder / "whole"), flush=True)
random.seed(4)
for number in range(kills):
    cut, new = folder / f"cut{number}", folder / f"new{number}"
    child = forked(cut)
    time.sleep(lasted * random.random())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    more = {"resume": cut} if (cut / "checkpoint.safetensors").exists() else {}
    os.waitpid(forked(new, **more), 0)
    print(digest(new), len(more), flush=True)

# The first of two holds the checkpoint, amid its first step, until the second has been refused.
cut = folder / "cut twice"
child = forked(cut)
while not (cut / "checkpoint.safetensors").exists():
    time.sleep(0.001)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
holding, let_go = os.pipe(), os.pipe()


def wait(iq):
    os.write(holding[1], b".")
    os.read(let_go[0], 1)
    return picture(iq)


first = resumed(folder / "first", resume=cut, draw=Counting(at=[1], act=wait))
os.read(holding[0], 1)
os.waitpid(resumed(folder / "second", resume=cut), 0)
os.write(let_go[1], b".")
os.waitpid(first, 0)
"""


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.long)])
def test_kills_at_random_instants_end_in_the_same_weights_and_two_never_continue_at_once(
    tmp_path, kills
):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS, tmp_path, str(kills)],
        cwd=ROOT / "tests", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    whole, *ends, refused, ended = done.stdout.splitlines()
    assert [line.split()[0] for line in ends] == [whole] * kills
    # The others died before the first step.
    assert sum(line.endswith("1") for line in ends) > 5 or kills < 20
    assert refused == "refused Another process already continues from cut twice: wait for its end."
    assert ended == f"ended {whole}"


# Through the notebook

MODSNR = [sys.executable, "-c", "from modsnr.cli import main; main()"]
SMALL = {"frames": "toy", "bins": 16, "epochs": 25, "batch_size": 32, "precision": "32"}


def environment():
    """One thread for each of the processes; they read it as they start."""
    return os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


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
    with subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL) as process:
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
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
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
