"""What masks cost beyond the forward passes that they need: a fifth at most.

On 10,000 frames of 64 bins, every method at three fractions, all three tasks scored. The bare
passes, as many and on ready diagrams of the same frames, alternate with it chunk by chunk in one
run, on one core, and the medians are compared.
"""

import statistics
import time

import numpy as np
import torch

from modsnr import diagrams, explain, signals
from modsnr.model import JointNet

FRAMES, CHUNK, BATCH = 10_000, 500, 250
GRID = [2.0 * step for step in range(16)]


def test_masks_cost_a_fifth_of_the_forward_passes_at_most():
    torch.manual_seed(0)
    classes = signals.STUDY_CLASSES
    net = JointNet("compact", views=["constellation"], bins=64, classes=classes, snrs_db=GRID)
    net = net.to(memory_format=torch.channels_last).eval()  # pyright: ignore
    draw = diagrams.Canvas(views=["constellation"], bins=64)
    generator = torch.Generator().manual_seed(1)
    modulation = torch.randint(len(classes), (CHUNK,), generator=generator)
    snr_db = 2.0 * torch.randint(16, (CHUNK,), generator=generator)
    iq = signals.simulate(modulation, snr_db, generator=generator)
    subject = explain.Subject(net.estimate, draw, iq, modulation.numpy(), snr_db.numpy(), GRID)
    ready = [
        draw(batch).clone().contiguous(memory_format=torch.channels_last)
        for batch in iq.split(BATCH)
    ]
    passes = 1 + len(explain.METHODS) * len(explain.FRACTIONS)
    masked, bare = [], []
    for _ in range(FRAMES // CHUNK):
        start = time.perf_counter()
        explain.perturb(subject, view=0, batch_size=BATCH)
        between = time.perf_counter()
        for _ in range(passes):
            for batch in ready:
                net.estimate(batch)
        masked.append(between - start)
        bare.append(time.perf_counter() - between)
    ratio = statistics.median(np.array(masked) / np.array(bare))
    print(
        f"{passes} passes over {FRAMES:,} frames: {sum(masked):.0f} s with masks, "
        f"{sum(bare):.0f} s bare, ratio {ratio:.3f}"
    )
    assert ratio <= 1.2
