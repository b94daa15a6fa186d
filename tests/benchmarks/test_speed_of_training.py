"""What it costs a training step to draw its diagrams itself, instead of finding them ready.

Both steps alternate in one run, on one core, and their medians are compared: machines differ, and
what else runs on them, but it strikes both alike. Drawing must cost a tenth of a step at most.
"""

import statistics
import time

import pytest
import torch

from modsnr import diagrams
from modsnr.model import JointLoss, JointNet

FRAMES, BINS, ROUNDS = 8, 224, 9


@pytest.mark.parametrize("views", [("constellation",), diagrams.VIEWS], ids=["one", "three"])
def test_drawing_within_the_step_costs_a_tenth_of_it_at_most(benchmark, views):
    generator = torch.Generator().manual_seed(1)
    iq = torch.randn(FRAMES, 1024, dtype=torch.complex64, generator=generator)
    modulation = torch.randint(17, (FRAMES,), generator=generator)
    snr_db = 2.0 * torch.randint(16, (FRAMES,), generator=generator)
    grid = [2.0 * step for step in range(16)]
    net = JointNet(
        "resnet18", views=views, bins=BINS, classes=[*"abcdefghijklmnopq"], snrs_db=grid,
        pretrained=False,
    ).to(memory_format=torch.channels_last)  # fmt: skip
    loss = JointLoss(grid)
    optimizer = torch.optim.AdamW([*net.parameters(), *loss.parameters()])

    def draw():
        images = diagrams.render(iq, views=views, bins=BINS)
        return images.contiguous(memory_format=torch.channels_last)

    def step(images):
        optimizer.zero_grad()
        total, _, _ = loss(net(images), modulation, snr_db)
        total.backward()
        optimizer.step()

    ready, of_ready, rounds = draw(), [], []

    def step_on_ready_diagrams():
        start = time.perf_counter()
        step(ready)
        of_ready.append(time.perf_counter() - start)

    def step_that_draws():
        start = time.perf_counter()
        step(draw())
        rounds.append(time.perf_counter() - start)

    benchmark.pedantic(
        step_that_draws, setup=step_on_ready_diagrams, rounds=ROUNDS, warmup_rounds=2
    )
    ratio = statistics.median(rounds[-ROUNDS:]) / statistics.median(of_ready[-ROUNDS:])
    benchmark.extra_info["times the step on ready diagrams"] = round(ratio, 3)
    print(f"{len(views)} views: {ratio:.3f} times the step on ready diagrams")
    assert ratio < 1.10
