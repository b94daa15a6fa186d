"""How fast diagrams are drawn, beside the usual way, the memory's limit, and a training step."""

from itertools import cycle

import numba
import numpy as np
import pytest
import torch

from modsnr import diagrams, signals
from modsnr.model import JointLoss, JointNet

BINS = 224
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
def test_drawing_outruns_histogram2d_and_filling_with_zeros(frames, medians, every_core):
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
    found = medians(ways, turns=9, in_a_row=8)
    rates = {way: frames / seconds for way, seconds in found.items()}
    rates["histogram2d"] *= BY_NUMPY / frames
    assert rates["canvas"] >= (40 if frames == 128 else 20) * rates["histogram2d"]
    assert rates["canvas"] >= 0.6 * rates["zeros"]
    assert rates["render"] >= 0.4 * rates["zeros"]


@pytest.mark.parametrize("views", [("constellation",), diagrams.VIEWS], ids=["one", "all"])
def test_drawing_within_a_training_step_costs_a_tenth_of_it_at_most(views, medians):
    generator, grid_db = torch.Generator().manual_seed(1), [2.0 * step for step in range(16)]
    labels = torch.arange(8) % len(signals.STUDY_CLASSES), 4.0 * torch.arange(8)
    iq = signals.simulate(*labels, generator=generator)
    options = {"views": views, "bins": BINS}
    known = {"classes": signals.STUDY_CLASSES, "snrs_db": grid_db, "pretrained": False}
    net = JointNet("resnet18", **options, **known).to(memory_format=torch.channels_last)
    loss = JointLoss(grid_db)
    optimizer = torch.optim.AdamW([*net.parameters(), *loss.parameters()])

    def draw():
        images = diagrams.render(iq, **options)
        return images.contiguous(memory_format=torch.channels_last)

    def step(images):
        optimizer.zero_grad()
        total, _, _ = loss(net(images), *labels)
        total.backward()
        optimizer.step()

    ready = draw()
    step(ready)
    found = medians({"ready": lambda: step(ready), "drawn": lambda: step(draw())}, turns=9)
    assert found["drawn"] < 1.1 * found["ready"]
