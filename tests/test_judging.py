"""Methods judged on a network whose answer is known, the study's claims, hidden drawings."""

from functools import partial
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from simulated import seeded
from torch import nn
from torch.testing import assert_close

from modsnr import InputError, explain

# A toy network of two views of 8 x 8: its certainty is the share of the pixels of one corner of the
# first view that are lit, so those pixels are the answer.

CORNER = torch.zeros(2, 8, 8)
CORNER[0, :3, :3] = 1.0


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.look = nn.Conv2d(2, 1, 8, bias=False)
        with torch.no_grad():
            self.look.weight.copy_(CORNER / CORNER.sum())

    def forward(self, diagrams):
        return self.look(diagrams).flatten()


def certain(net):
    return lambda diagrams: 3 * net(diagrams) - 3


@pytest.fixture
def lit(generator):
    """Diagrams of ones and zeros, the corner lit, float32 [frame, view, bins, bins]."""
    images = (torch.rand(12, 2, 8, 8, generator=generator) < 0.5).float()
    return torch.where(CORNER > 0, 1.0, images)


@pytest.fixture
def judged(lit):
    net, other = Toy(), explain.randomised(Toy(), 3)
    methods = {
        "gradients": partial(explain.integrated_gradients, steps=8),
        "the picture": lambda _score, images: images * torch.linspace(0, 1, 8),
        "random": lambda _score, images: torch.rand(images.shape, generator=seeded(5)),
    }
    return explain.judge(methods, certain(net), lit, untrained=(methods, certain(other)), shakes=2)


def test_what_finds_the_answer_is_believed_and_what_repeats_the_picture_is_not(judged):
    verdicts = {row["method"]: row["verdict"] for row in explain.judgement_rows(judged[1])}
    assert verdicts["gradients"] == "believed"
    assert verdicts["random"] == "control"
    assert "follows the picture" in verdicts["the picture"]


def test_a_judgement_holds_what_each_test_finds_by_itself(judged, lit):
    attributions, table = judged
    found = attributions["gradients"]
    score = certain(Toy())
    assert_close(found, explain.integrated_gradients(score, lit, steps=8))
    curve = explain.deletion(lambda images: score(images).exp(), lit, found)
    merits = {name: rows.reset_index() for name, rows in table.groupby("method")}
    wanted = explain.area(curve).double()
    assert_close(torch.tensor(merits["gradients"].deletion), wanted)
    assert (merits["gradients"].insertion > merits["random"].insertion).all()
    assert merits["the picture"].untrained.tolist() == pytest.approx(np.ones(12))
    assert (table.seconds > 0).all()


def test_a_method_agrees_with_itself_and_the_names_tell_the_pair(judged, lit):
    found = judged[0]["gradients"]
    pairs = explain.agreements({"a": found, "b": found * 2, "c": -found}, lit)
    assert pairs["a and b"]["value"] == pytest.approx(1.0)
    assert pairs["b and c"]["value"] == pytest.approx(-1.0)
    assert list(pairs) == ["a and b", "a and c", "b and c"]


def test_all_methods_are_ready_and_each_gives_a_map(lit):
    net = Toy()
    regions = explain.players(2, 8)
    methods = explain.pixel_methods(
        net.look, None, regions, window=4, steps=4, orders=2, sets=60, seed=0
    )
    for name, attribute in methods.items():
        found = attribute(net, lit)
        assert found.shape == lit.shape, name
        assert found.isfinite().all(), name
    first, again = (methods["random"](net, lit) for _ in range(2))
    assert torch.equal(first, again)


# The study's claims


@pytest.fixture
def scores(rng):
    """Scores of masks of which the brightest costs half of the accuracy, the others nothing."""
    impacts = []
    for mask, fraction in product(explain.METHODS, (0.01, 0.05)):
        left = rng.random(400) < 0.5 if mask == "brightest" else np.ones(400, bool)
        shares = dict.fromkeys(explain.SHARES, fraction)
        outcomes = {f"before_{task}": True for task in explain.TASKS}
        outcomes |= {f"after_{task}": left for task in explain.TASKS}
        impacts.append(pd.DataFrame({"mask": mask, "fraction": fraction, **outcomes, **shares}))
    return explain.impact_scores(pd.concat(impacts), ["mask", "fraction"])


def test_each_claim_on_masks_has_its_verdict_by_the_rule(scores):
    claims = explain.claim_rows(scores).set_index("claim")
    # Half of the accuracy by a hundredth of the pixels is a score of 50, by a twentieth 10.
    assert claims.verdict["joint PIS, brightest 1 %"] == "contradicted"
    assert claims.verdict["joint PIS, dimmest above brightest, 1 %"] == "contradicted"
    assert claims.verdict["joint PIS, brightest above random, 5 %"] == "holds"
    assert claims.verdict["joint PIS, dimmest above random, 5 %"] == "not decided"
    assert claims.verdict["joint PIS, random 5 %, matched control"] == "holds"
    for task in explain.TASKS:
        claim = f"{task} accuracy lost, brightest above random_points, 5 %"
        assert claims.verdict[claim] == "holds"
        assert claims.value[claim] == pytest.approx(0.5, abs=0.08)
    assert claims.claimed["joint PIS, brightest 1 %"] == "11.75"
    assert claims.value["joint PIS, brightest 1 %"] == pytest.approx(50, abs=8)


@pytest.mark.parametrize(
    ("mask", "low", "high", "verdict"),
    [
        # A claimed score is judged by the whole interval: 9.72 for the dimmest, within a quarter.
        ("dimmest", 9.0, 10.0, "holds"),
        ("dimmest", -5.0, 30.0, "not decided"),
        ("dimmest", 2.0, 7.0, "contradicted"),
        # About zero is within half a point a percent.
        ("random", -0.3, 0.4, "holds"),
        ("random", 0.6, 1.4, "contradicted"),
    ],
)
def test_a_claimed_score_is_judged_by_the_whole_interval(scores, mask, low, high, verdict):
    chosen = (scores["mask"] == mask) & (scores.fraction == 0.05) & (scores.task == "joint")
    chosen &= scores.quantity == "pis_of_occupied"
    scores.loc[chosen, ["low", "high"]] = low, high
    claims = explain.claim_rows(scores).set_index("claim")
    control = ", matched control" if mask == "random" else ""
    assert claims.verdict[f"joint PIS, {mask} 5 %{control}"] == verdict


# Drawings with pixels hidden


def toy_draw(iq):
    return torch.arange(1.0, 17).view(1, 1, 4, 4).repeat(len(iq), 2, 1, 1)


def test_a_hidden_drawing_lacks_the_share_of_each_view_and_keeps_the_rest():
    iq = torch.zeros(3, 8, dtype=torch.complex64)
    canvas = toy_draw(iq)
    seen = explain.hidden(lambda _iq: canvas, "brightest", 0.25)(iq)
    assert torch.equal(seen, torch.where(toy_draw(iq) > 12, 0.0, toy_draw(iq)))
    assert torch.equal(canvas, toy_draw(iq))
    random = explain.hidden(toy_draw, "random", 0.25)
    assert ((random(iq) == 0).sum((2, 3)) == 4).all()
    assert torch.equal(random(iq), random(iq))
    assert not torch.equal(random(iq), explain.hidden(toy_draw, "random", 0.25, seed=9)(iq))


def one_pixel_each(images):
    """A network whose modulation rests on one pixel of the first view, its SNR on another."""
    first, second = images[:, 0, 3, 3], images[:, 0, 1, 2]
    return torch.stack([first, -first], 1), 10 * second


@pytest.mark.parametrize(("what", "place"), [("modulation", (3, 3)), ("snr", (1, 2))])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_what_an_answer_rests_on_is_hidden_first(what, place, mode):
    iq = torch.zeros(3, 8, dtype=torch.complex64)
    with mode():
        whole = toy_draw(iq)
        seen = explain.hidden(toy_draw, what, 1 / 32, forward=one_pixel_each)(iq)
    assert (whole != seen).nonzero().tolist() == [[frame, 0, *place] for frame in range(3)]
    assert (seen[:, 0, *place] == 0).all()


def test_an_answer_of_classes_is_its_likeliest_class():
    def of_classes(images):
        level = images[:, 0, 3, 3]
        return one_pixel_each(images)[0], torch.stack([level, 2 * level], 1)

    seen = explain.hidden(toy_draw, "snr", 1 / 32, forward=of_classes)(torch.zeros(1, 8))
    assert seen[0, 0, 3, 3] == 0


def test_hiding_from_an_answer_needs_a_network_and_a_share():
    with pytest.raises(InputError, match=r"the snr rests on, .* \(hide_by\)"):
        explain.hidden(toy_draw, "snr", 0.5)
    with pytest.raises(InputError, match="not 'random'"):
        explain.hidden(toy_draw, "random", 0.5, forward=one_pixel_each)
    assert explain.hidden(toy_draw, "", 0.5) is toy_draw
