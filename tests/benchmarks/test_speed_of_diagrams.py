"""How fast diagrams are drawn, beside the usual way and beside the memory's own limit.

The ways take turns in one run, in one process on all cores it has, and the medians of their turns
are compared: machines differ, and what else runs on them, but it strikes all alike.
"""

import statistics
import time
from itertools import cycle

import numba
import numpy as np
import pytest
import torch

from modsnr import diagrams, signals

BINS, TURNS, IN_A_ROW = 224, 9, 8
BY_NUMPY = 64  # frames a turn: it is slow, and its rate does not depend on their number


@pytest.fixture
def every_core(one_core):
    """The fixture of all benchmarks pins them to one core; this one lets go of it again."""
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    torch.set_num_threads(numba.config.NUMBA_NUM_THREADS)


def by_numpy(signals, images):
    """The same images: unit power, histogram, logarithm, single precision, in one array."""
    for signal, image in zip(signals, images, strict=True):
        unit = signal / np.sqrt(np.mean(np.abs(signal) ** 2))
        counts = np.histogram2d(unit.imag, unit.real, bins=BINS, range=[[-3, 3], [-3, 3]])[0]
        np.log1p(counts, out=image, casting="same_kind")


@pytest.mark.parametrize("frames", [128, 512])  # what a training step draws; what misses caches
def test_drawing_outruns_histogram2d_and_filling_with_zeros(frames, benchmark, every_core):
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(frames) % len(signals.STUDY_CLASSES), torch.arange(frames) % 16 * 2.0
    # No frame is drawn twice in a row to the same place, which would be easier than it ever is.
    batches = cycle([signals.simulate(*labels, generator=generator) for _ in range(3)])
    zeros = torch.empty(frames, 1, BINS, BINS)
    images = np.empty((BY_NUMPY, BINS, BINS), dtype=np.float32)
    canvas = diagrams.Canvas(bins=BINS)
    ways = {
        "zeros": lambda: zeros.zero_(),
        "canvas": lambda: canvas(next(batches)),
        "render": lambda: diagrams.render(next(batches), bins=BINS),
        "histogram2d": lambda: by_numpy(next(batches)[:BY_NUMPY].numpy(), images),
    }
    seconds = {way: [] for way in ways}

    def one_turn_of_each():
        for way, draw in ways.items():
            for _ in range(1 if way == "histogram2d" else IN_A_ROW):
                start = time.perf_counter()
                draw()
                seconds[way].append(time.perf_counter() - start)

    benchmark.pedantic(one_turn_of_each, rounds=TURNS, warmup_rounds=0)
    rates = {way: frames / statistics.median(each) for way, each in seconds.items()}
    rates["histogram2d"] *= BY_NUMPY / frames
    benchmark.extra_info |= {f"{way}, diagrams/s": round(rate) for way, rate in rates.items()}
    print(", ".join(f"{way} {rate:,.0f}/s" for way, rate in rates.items()))
    assert rates["canvas"] >= (40 if frames == 128 else 20) * rates["histogram2d"]
    assert rates["canvas"] >= 0.6 * rates["zeros"]
    assert rates["render"] >= 0.4 * rates["zeros"]
