"""How much memory it takes to make a large file a store: hardly more for a larger one."""

import sys
import time
from pathlib import Path

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from radioml_files import write_2018

# All of one part: the file is made of few signals, so short frames may be the same.
PREPROCESS = """
import sys
from functools import partial
from modsnr import frames, recordings, workers

if __name__ == "__main__":
    opened = recordings.open_2018(sys.argv[1])
    part_of = 0 * frames.split(opened.modulation, opened.snr_db, seed=1)
    with workers.connect("local") as client:
        each = partial(workers.each, client)
        frames.write(sys.argv[2], opened, part_of, split_seed=1, each=each)
"""


def peak_of(words):
    """Return the most memory that a process and its children held together, sampled, bytes.

    Of what processes share, each counts its proportional share.
    """
    peak = 0
    with psutil.Popen(words) as process:
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


@pytest.mark.parametrize("frames_per_cell", [1024, 4096])  # the latter as many as RadioML 2018.01A
def test_the_memory_to_preprocess_hardly_depends_on_the_size(frames_per_cell, tmp_path):
    """Frames of 256 samples: what grows is what is kept of each, labels and digests."""
    script, file = tmp_path / "preprocess.py", tmp_path / "x.hdf5"
    script.write_text(PREPROCESS)
    write_2018(file, frames_per_cell=frames_per_cell, tile=64, samples=256)
    peak = peak_of([sys.executable, str(script), str(file), str(tmp_path / "frames.h5")])
    print(f"\n{624 * frames_per_cell:,} frames: peak {peak / 1e9:.2f} GB")
    assert peak <= 0.6e9
