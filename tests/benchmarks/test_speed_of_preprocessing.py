"""How fast a large file becomes a store, and a store frames, beside merely moving their bytes.

The file has the shape of RadioML 2018.01A and 5 GB; it is made anew, which takes half a minute, as
does each turn. The ways take turns in one run and the medians of their rates are compared. The
system's cache of the file is dropped before every turn: a file of 20 GB would not be in it.
"""

import inspect
import os
import shutil
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import h5py
import psutil
import pytest

from modsnr import frames, recordings, workers

sys.path.insert(0, str(Path(__file__).parents[1]))
from radioml_files import write_2018

TURNS, PIECE, ROOT = 3, 2**25, Path(__file__).parents[2]
GB = 1e9


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    write_2018(folder / "gold.hdf5", frames_per_cell=1026, tile=16)
    return folder


def forget(path):
    """Have the system write a file out and drop it from its cache."""
    os.sync()
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_plainly(path):
    buffer = bytearray(PIECE)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def move_bytes(source, target, size):
    """Merely read the source and write as many bytes as a store of it has."""
    read_plainly(source)
    piece = os.urandom(PIECE)
    with open(target, "wb", buffering=0) as file:
        for start in range(0, size, PIECE):
            file.write(piece[: size - start])


def preprocess(source, store):
    opened = recordings.open_2018(source)
    part_of = frames.split(opened.modulation, opened.snr_db, seed=1)
    with workers.connect("local") as client:
        frames.write(store, opened, part_of, split_seed=1, each=partial(workers.each, client))


def seconds(action, *arguments):
    start = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - start


def test_a_file_is_preprocessed_nearly_as_fast_as_its_bytes_are_moved(benchmark, place):
    source, store = place / "gold.hdf5", place / "frames.h5"
    preprocess(source, store)
    size, took = store.stat().st_size, {"bytes moved": [], "preprocessed": []}

    def a_turn():
        for way, action in [
            ("bytes moved", lambda: move_bytes(source, place / "bytes", size)),
            ("preprocessed", lambda: preprocess(source, store)),
        ]:
            for old in (place / "bytes", store):
                old.unlink(missing_ok=True)
            forget(source)
            took[way].append(seconds(action))

    benchmark.pedantic(a_turn, rounds=TURNS)
    middle = {way: statistics.median(turns) for way, turns in took.items()}
    ratio = middle["bytes moved"] / middle["preprocessed"]
    benchmark.extra_info |= {"ratio": round(ratio, 2)} | {w: round(s, 1) for w, s in middle.items()}
    print(f"{source.stat().st_size / GB:.1f} GB: {took}, ratio of the medians {ratio:.2f}")
    assert ratio >= 0.7


def test_a_store_is_read_back_nearly_as_fast_as_its_bytes(benchmark, place):
    store, took = place / "frames.h5", {"bytes": [], "frames": []}
    with h5py.File(store) as file:
        size = sum(file[part]["iq"].nbytes for part in frames.PARTS)

    def read_frames():
        for part in frames.PARTS:
            for batch in frames.batches(store, part):
                assert batch.iq[-1, -1] == batch.iq[-1, -1]

    # Else the system would have to clear its cache of the large files to make room for the frames.
    (place / "bytes").unlink(missing_ok=True)
    forget(place / "gold.hdf5")

    def a_turn():
        for way, action in [("bytes", lambda: read_plainly(store)), ("frames", read_frames)]:
            forget(store)
            took[way].append(seconds(action))

    benchmark.pedantic(a_turn, rounds=2 * TURNS + 1)
    ratio = statistics.median(took["bytes"]) / statistics.median(took["frames"])
    benchmark.extra_info["ratio"] = round(ratio, 2)
    print(f"{size / GB:.1f} GB of samples: {took}, ratio of the medians {ratio:.2f}")
    assert ratio >= 0.8


def peak_of(words, environment=()):
    """Return the most memory that a process and its children held together, sampled, bytes.

    Of what processes share, each counts its proportional share.
    """
    peak = 0
    with psutil.Popen(words, env=os.environ | dict(environment)) as process:
        while process.poll() is None:
            total = 0
            for each in [process, *process.children(recursive=True)]:
                try:
                    total += each.memory_full_info().pss
                except psutil.Error:  # it ended meanwhile
                    continue
            peak = max(peak, total)
            time.sleep(0.1)
        assert process.returncode == 0
    return peak


def test_the_notebook_takes_at_most_a_gigabyte_of_memory(benchmark, place, tmp_path):
    (tmp_path / "runs").mkdir()
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    words = [sys.executable, "-c", "from modsnr.cli import main; main()", "run"]
    words += ["01_preprocessing", "-p", "snr_low_db", "-20"]
    words += ["-p", "source", str(place / "gold.hdf5")]
    peaks = []
    benchmark.pedantic(
        lambda: peaks.append(peak_of(words, {"MODSNR_ROOT": str(tmp_path)})), rounds=1
    )
    benchmark.extra_info["peak, MB"] = round(peaks[0] / 1e6)
    print(f"peak {peaks[0] / GB:.2f} GB")
    assert peaks[0] <= 1.0 * GB


@pytest.mark.parametrize("frames_per_cell", [1024, 4096])  # the latter as many as the real file
def test_the_memory_to_preprocess_hardly_depends_on_the_size(benchmark, frames_per_cell, tmp_path):
    """Frames of 256 samples: what grows is what is kept of each, labels and digests."""
    script = tmp_path / "preprocess.py"
    body = "".join(inspect.getsource(preprocess).splitlines(keepends=True))
    script.write_text(
        "import sys\nfrom functools import partial\n"
        "from modsnr import frames, recordings, workers\n\n"
        # All of one part: made of few signals, so short frames may be the same.
        + body.replace("seed=1)", "seed=1) * 0")
        + "\nif __name__ == '__main__':\n    preprocess(*sys.argv[1:])\n"
    )
    write_2018(tmp_path / "x.hdf5", frames_per_cell=frames_per_cell, tile=64, samples=256)
    words = [sys.executable, str(script), str(tmp_path / "x.hdf5"), str(tmp_path / "frames.h5")]
    peaks = []
    benchmark.pedantic(lambda: peaks.append(peak_of(words)), rounds=1)
    benchmark.extra_info["peak, MB"] = round(peaks[0] / 1e6)
    print(f"{624 * frames_per_cell:,} frames: peak {peaks[0] / GB:.2f} GB")
    assert peaks[0] <= 0.6 * GB
