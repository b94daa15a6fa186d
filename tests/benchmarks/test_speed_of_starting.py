"""How long a training takes from its command to its first step, beside merely importing its stack.

The ways take turns in one run, each in a new process and cold: what the system has cached of the
environment's files is dropped before, but for what other processes have in use. The step is taken
for done when the line of its epoch is printed, that is with a validation and a checkpoint of the
compact network, which take hundredths of a second. Loops are compiled before, as after any first
run.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np

from modsnr import frames

ROOT, TURNS = Path(__file__).parents[2], 3
BATCH = 32


def forget_the_environment():
    """Have the system drop the files of Python, of what is installed, and of modsnr, uncopied."""
    os.sync()
    paths = sysconfig.get_paths()
    for folder in {paths["purelib"], paths["platlib"], paths["stdlib"], str(ROOT / "lib")}:
        for path in Path(folder).rglob("*"):
            if path.is_file():
                with open(path, "rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def stand_in(root):
    """Make a house with one batch of frames to train on."""
    (root / "runs").mkdir()
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    rng, count = np.random.default_rng(1), 3 * BATCH
    iq = rng.normal(size=(count, 1024)) + 1j * rng.normal(size=(count, 1024))
    source = frames.Source(
        lambda rows, *_: iq[rows].astype(np.complex64),
        np.arange(count) % 2,
        10.0 * (np.arange(count) // 2 % 2).astype(np.float32),
        ("BPSK", "QPSK"),
        np.arange(count),
    )
    store = root / "data" / "frames" / "frames.h5"
    frames.write(store, source, np.arange(count) // BATCH, split_seed=1)


def seconds_until(words, line, environment=None):
    """Return the time until a command prints a line that begins so, after letting it end."""
    start, took = time.perf_counter(), None
    with subprocess.Popen(
        words, env=os.environ | (environment or {}), stdout=subprocess.PIPE, text=True
    ) as process:
        for text in process.stdout:
            if took is None and text.startswith(line):
                took = time.perf_counter() - start
    assert process.returncode == 0
    assert took is not None, f"no line begins with {line!r}"
    return took


def test_the_first_step_is_done_within_twelve_seconds_of_the_command(benchmark, tmp_path):
    stand_in(tmp_path)
    train = [sys.executable, "-c", "from modsnr.cli import main; main()", "run", "02_training"]
    train += ["-p", "epochs", "1", "-p", "bins", "32", "-p", "batch_size", str(BATCH)]
    house = {"MODSNR_ROOT": str(tmp_path)}
    imports = [sys.executable, "-c", "import torch, timm, lightning; print('imported')"]
    seconds_until(train, "epoch   1", house)
    took = {"imports alone": [], "first step": []}
    own = {way: [] for way in took}

    def a_turn():
        for way, words, line, environment in [
            ("imports alone", imports, "imported", None),
            ("first step", train, "epoch   1", house),
        ]:
            forget_the_environment()
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            took[way].append(seconds_until(words, line, environment))
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            own[way].append(spent)

    benchmark.pedantic(a_turn, rounds=TURNS)
    middle = {way: statistics.median(turns) for way, turns in took.items()}
    benchmark.extra_info |= {way: round(value, 1) for way, value in middle.items()}
    print(f"seconds {took}; of computing until the end {own}")
    assert middle["first step"] <= 12
