"""How fast diagrams are drawn, beside the usual way and beside the memory's own limit.

Ratios are of medians in the same run, on one core each, since numpy knows no other: machines
differ, and what else runs on them, the order of the three hardly does.
"""

import numpy as np
import pytest
import torch

from modsnr import diagrams

FRAMES, BINS = 512, 224


@pytest.fixture(scope="module")
def iq():
    return torch.randn(
        FRAMES, 1024, dtype=torch.complex64, generator=torch.Generator().manual_seed(1)
    )


@pytest.fixture(scope="module")
def out():
    return torch.empty(FRAMES, 1, BINS, BINS)


@pytest.fixture(scope="module")
def rates():
    """The diagrams a second of every way measured so far."""
    return {}


def measure(benchmark, rates, way, draw, rounds=30):
    benchmark.pedantic(draw, rounds=rounds, warmup_rounds=2)
    rates[way] = FRAMES / benchmark.stats.stats.median
    benchmark.extra_info["diagrams/s"] = round(rates[way])


def test_zero_filling_the_output(benchmark, out, rates):
    measure(benchmark, rates, "zeros", out.zero_)


def test_rendering_into_the_same_output(benchmark, iq, out, rates):
    measure(benchmark, rates, "render", lambda: diagrams.render(iq, bins=BINS, out=out))


def test_numpys_histogram_frame_by_frame(benchmark, iq, rates):
    """The same images: unit power, histogram, logarithm, single precision, in one array."""
    signals, images = iq.numpy(), np.empty((FRAMES, BINS, BINS), dtype=np.float32)
    limits = [[-3, 3], [-3, 3]]

    def draw():
        for signal, image in zip(signals, images, strict=True):
            unit = signal / np.sqrt(np.mean(np.abs(signal) ** 2))
            counts = np.histogram2d(unit.imag, unit.real, bins=BINS, range=limits)[0]
            np.log1p(counts, out=image, casting="same_kind")

    measure(benchmark, rates, "histogram2d", draw, rounds=5)


def test_drawing_runs_near_the_memorys_limit_and_far_ahead_of_histogram2d(rates):
    assert rates["render"] > 0.6 * rates["zeros"]
    assert rates["render"] > 6 * rates["histogram2d"]
