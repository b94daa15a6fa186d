"""What a training step costs beyond the network's own work: its drawing, and the fit around it.

The two ways alternate in one run, on one core, and their medians are compared: machines differ, and
what else runs on them, but it strikes both alike. Drawing must cost a tenth of a step at most; the
fit, its drawing included, a twentieth at 64 bins.
"""

import statistics
import time

import numpy as np
import pytest
import torch

from modsnr import diagrams, training
from modsnr.model import JointLoss, JointNet
from modsnr.training import Labelled, Recipe

FRAMES, BINS, ROUNDS = 8, 224, 9
GRID = [2.0 * step for step in range(16)]


def labelled(frames):
    generator = torch.Generator().manual_seed(1)
    return Labelled(
        torch.randn(frames, 1024, dtype=torch.complex64, generator=generator),
        torch.randint(17, (frames,), generator=generator),
        2.0 * torch.randint(16, (frames,), generator=generator),
    )


def network(bins, views=("constellation",)):
    net = JointNet(
        "resnet18", views=views, bins=bins, classes=[*"abcdefghijklmnopq"], snrs_db=GRID,
        pretrained=False,
    )  # fmt: skip
    return net.to(memory_format=torch.channels_last)


def now():
    """Return what the wall clock says, and how long this process has computed: [clock] seconds."""
    return np.array([time.perf_counter(), time.process_time()])


class Between:
    """Draws for a fit, and at each of its steps first makes a bare one; times both: [step, clock].

    From one drawing to the next is one step of the fit, whatever it does in it. Its start, its
    validation and its checkpoints, which a bare loop knows nothing of, lie before the first drawing
    and after the last.
    """

    def __init__(self, draw, bare_step):
        self.draw, self.bare_step, self.of_fit, self.of_bare = draw, bare_step, [], []
        self.since = None

    def __call__(self, iq):
        if torch.is_grad_enabled():  # else it is validation that draws
            start = now()
            if self.since is not None:
                self.of_fit.append(start - self.since)
            self.bare_step()
            self.since = now()
            self.of_bare.append(self.since - start)
        return self.draw(iq)


def test_a_step_of_the_fit_costs_a_twentieth_more_than_a_bare_one_at_most(benchmark, tmp_path):
    """The process's own time is compared: any wait for the core is that of another's work."""
    batch_size, steps, rounds = 32, 7, []
    recipe = Recipe(
        epochs=1, batch_size=batch_size, learning_rate=1e-4, schedule="constant", precision="32"
    )

    def a_round():
        batch, net, loss = labelled(batch_size), network(64), JointLoss(GRID)
        images = diagrams.render(batch.iq, bins=64).contiguous(memory_format=torch.channels_last)
        weights = [*net.parameters(), *loss.parameters()]
        optimizer = torch.optim.AdamW(
            weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )

        def bare_step():
            optimizer.zero_grad()
            total, _, _ = loss(net(images), batch.modulation, batch.snr_db)
            total.backward()
            optimizer.step()

        between = Between(diagrams.Canvas(bins=64), bare_step)
        train, folder = labelled(batch_size * steps), tmp_path / str(len(rounds))
        training.fit(network(64), between, train, labelled(1), recipe, folder=folder)
        # The first steps make what the others find: compiled loops, the optimizers' moments.
        rounds.append([np.median(of[1:], 0) for of in (between.of_fit, between.of_bare)])

    benchmark.pedantic(a_round, rounds=3)
    of_fit, of_bare = np.swapaxes(rounds, 0, 1)  # [round, clock]
    by_clock, own = np.median(of_fit / of_bare, 0)
    benchmark.extra_info |= {
        "times the bare step": round(own, 3),
        "by the clock": round(by_clock, 3),
    }
    print(
        f"fit {1e3 * of_fit[:, 1]} ms, bare {1e3 * of_bare[:, 1]} ms of the process's own: "
        f"{own:.3f} times, {by_clock:.3f} by the clock"
    )
    assert own <= 1.05


@pytest.mark.parametrize("views", [("constellation",), diagrams.VIEWS], ids=["one", "three"])
def test_drawing_within_the_step_costs_a_tenth_of_it_at_most(benchmark, views):
    iq, modulation, snr_db = labelled(FRAMES)
    net, loss = network(BINS, views), JointLoss(GRID)
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
