"""How fast the receiver is, alone and with its views, and what its own view costs an epoch."""

from functools import partial

import pytest
import torch

from modsnr import diagrams, receiver, signals

FRAMES = 136
VIEWS = ("constellation", "synchronised", "aligned", "residual", "likelihood")


def frames_of(condition):
    labels = torch.arange(FRAMES) % len(signals.STUDY_CLASSES), torch.arange(FRAMES) % 16 * 2.0
    made = signals.simulate_condition(condition, *(each.numpy() for each in labels), seed=1)
    return torch.as_tensor(made)


@pytest.mark.parametrize("condition", ["minor", "moderate", "rayleigh_1"])
def test_drawing_five_views_costs_less_than_receiving(condition, medians):
    iq, draw = frames_of(condition), diagrams.Canvas(views=VIEWS, bins=64)

    def received_and_drawn():
        found = receiver.receive(iq)
        draw(found.iq, receiver.findings(found))

    ways = {"receiver": lambda: receiver.receive(iq), "and views": received_and_drawn}
    found = {name: FRAMES / seconds for name, seconds in medians(ways, turns=2).items()}
    print({name: f"{rate:.0f} frames/s" for name, rate in found.items()})
    assert found["and views"] > 0.5 * found["receiver"]


def test_an_epoch_with_the_likelihood_view_is_drawn_in_little_more_time(medians):
    found = receiver.receive(frames_of("minor"))
    ways = {
        name: partial(diagrams.Canvas(views=views, bins=64), found.iq, receiver.findings(found))
        for name, views in (("without", VIEWS[:-1]), ("with", VIEWS))
    }
    for draw in ways.values():
        draw()
    found = medians(ways, turns=7)
    ratio = found["with"] / found["without"]
    print(f"ratio {ratio:.2f}")
    assert ratio < 1.2


def test_the_compiled_search_outruns_torchs(medians):
    iq = frames_of("minor")
    symbols, share = receiver.synchronise(iq), receiver.symbol_noise(iq)
    offsets = receiver.likelihood.offset_grid(receiver.likelihood.LEAST_REACH, iq.device)
    prior = offsets.expand(FRAMES, -1).log_softmax(1)
    given = symbols, share, offsets, prior, receiver.tables.FINE_DB
    ways = {
        "compiled": lambda: receiver.likelihood._likelihoods(*given),
        "torch": lambda: receiver.likelihood.searched(*given),
    }
    for way in ways.values():
        way()
    found = medians(ways, turns=5)
    assert found["compiled"] < 0.2 * found["torch"]
