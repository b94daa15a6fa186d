"""Whether attributions can be believed: curves and agreements counted by hand on toys."""

from functools import partial
from math import nan, sqrt

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from modsnr import InputError, explain
from modsnr.explain import faithfulness


@pytest.fixture
def images(generator):
    images = torch.rand(3, 2, 4, 4, generator=generator)
    return images * (images > 0.4)


@pytest.fixture
def weights(generator):
    return torch.randn(2, 4, 4, generator=generator)


def linear(weights):
    return lambda diagrams: (diagrams * weights).sum((1, 2, 3))


def total(diagrams):
    return diagrams.sum((1, 2, 3))


# Deletion and insertion. Two frames of two views of 1 x 3 pixels: the occupied ones are 4, 3, 2, 1
# in the one and 4, 3 in the other, and the score is their sum.

PIXELS = torch.tensor(
    [[[[0.0, 4.0, 2.0]], [[3.0, 0.0, 1.0]]], [[[4.0, 0.0, 0.0]], [[3.0, 0.0, 0.0]]]]
)
EVEN = torch.ones_like(PIXELS)


@pytest.mark.parametrize(
    ("curve", "sign", "steps", "wanted"),
    [
        (explain.deletion, 1, 2, [[10, 3, 0], [7, 3, 0]]),
        # Two pixels in four steps: 0, 1/2, 1, 3/2 and 2, halves rounded to the even count.
        (explain.deletion, 1, 4, [[10, 6, 3, 1, 0], [7, 7, 3, 0, 0]]),
        (explain.insertion, 1, 4, [[0, 4, 7, 9, 10], [0, 0, 4, 7, 7]]),
        # An attribution turned round takes the lowest pixels first.
        (explain.deletion, -1, 2, [[10, 7, 0], [7, 4, 0]]),
        (explain.insertion, -1, 2, [[0, 3, 10], [0, 3, 7]]),
    ],
)
def test_curves_take_the_highest_attribution_first_over_all_views(
    curve, sign, steps, wanted, monkeypatch
):
    monkeypatch.setattr(faithfulness, "STEPS", steps)
    on_black = torch.where(PIXELS == 0, 100.0, sign * PIXELS)  # which changes no curve
    for attribution in (sign * PIXELS, on_black):
        found = curve(total, PIXELS, attribution)
        assert found.dtype == torch.float32
        assert found.tolist() == wanted


def test_ties_are_taken_at_random_and_the_same_for_the_same_seed(monkeypatch):
    image = torch.arange(1.0, 33).view(1, 2, 4, 4)
    even = torch.zeros_like(image)
    first, again, other = (explain.deletion(total, image, even, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    monkeypatch.setattr(faithfulness, "STEPS", 2)
    half = [explain.deletion(total, image, even, seed=s)[0, 1].item() for s in range(200)]
    # 16 of 32 pixels are left, half of the sum 528 on average; one draw varies by 26.5.
    assert sum(half) / 200 == pytest.approx(264, abs=4 * 26.5 / sqrt(200))


def test_the_true_terms_of_a_linear_score_fall_faster_and_rise_faster_than_chance(
    images, weights, generator
):
    score, terms = linear(weights), images * weights
    chance = torch.rand(images.shape, generator=generator)
    for curve, sign in ((explain.deletion, 1), (explain.insertion, -1)):
        by_terms, by_chance = (explain.area(curve(score, images, a)) for a in (terms, chance))
        assert (sign * by_terms < sign * by_chance).all()


def test_the_area_is_that_of_the_trapezoids_over_zero_to_one():
    curve = torch.tensor([[10.0, 6.0, 3.0, 1.0, 0.0], [2.0, 2.0, 2.0, 2.0, 2.0]])
    assert_close(explain.area(curve), torch.tensor([(8 + 4.5 + 2 + 0.5) / 4, 2.0]))


# Infidelity


def test_the_terms_of_a_linear_score_are_not_unfaithful_at_all_and_a_factor_is_forgiven(
    images, weights, monkeypatch
):
    for factor in (1, 2):
        found = explain.infidelity(linear(weights), images, factor * images * weights)
        assert found.shape == (3,)
        assert_close(found, torch.zeros(3), atol=1e-5, rtol=0)
    monkeypatch.setattr(faithfulness, "HIDDEN", 1.0)
    found = explain.infidelity(total, PIXELS, torch.zeros_like(PIXELS))
    assert_close(found, torch.tensor([100.0, 49.0]))  # nothing: all that hiding everything costs


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_infidelity_hides_its_share_of_occupied_pixels(share, monkeypatch):
    monkeypatch.setattr(faithfulness, "HIDDEN", share)
    image = torch.ones(2, 1, 20, 20)
    image[1, :, :10] = 0
    left = []
    explain.infidelity(lambda d: (left.append(total(d)), total(d))[1], image, image)
    found = 1 - torch.stack(left[::2]).mean(0) / torch.tensor([400.0, 200.0])
    # 4 sigma of 50 draws of 200 pixels is at most 0.02.
    assert_close(found, torch.full((2,), share), atol=0.02, rtol=0)


def test_the_seed_decides_infidelity_and_sensitivity_and_more_draws_find_more(images, weights):
    unfaithful = partial(explain.infidelity, total, images, images * weights)
    sensitive = partial(explain.sensitivity, lambda d: d, images)
    for found in (unfaithful, sensitive):
        assert torch.equal(found(seed=1), found(seed=1))
        assert not torch.equal(found(seed=1), found(seed=2))
    assert (sensitive(samples=100) > sensitive(samples=1)).all()


def test_every_frame_keeps_its_label_while_its_infidelity_and_sensitivity_are_drawn(images):
    sign = torch.tensor([1.0, -1.0, 2.0])

    def score(diagrams):
        return total(diagrams) * sign  # only a batch of these frames in this order will do

    attribution = images * sign.view(-1, 1, 1, 1)
    found = explain.infidelity(score, images, attribution)
    assert_close(found, torch.zeros(3), atol=1e-5, rtol=0)
    by_gradients = explain.sensitivity(
        lambda d: explain.integrated_gradients(score, d, steps=2), images
    )
    assert_close(by_gradients, explain.sensitivity(lambda d: d, images))


# Sensitivity


def test_shaken_diagrams_stay_black_where_they_were_and_twice_the_radius_moves_twice(
    images, monkeypatch
):
    seen, moved = [], []
    for radius in (0.01, 0.02):
        monkeypatch.setattr(faithfulness, "RADIUS", radius)
        moved.append(explain.sensitivity(lambda d: (seen.append(d), d)[1], images))
    assert all(torch.equal(shaken == 0, images == 0) for shaken in seen)
    assert_close(moved[1], 2 * moved[0], rtol=1e-3, atol=0)
    assert explain.sensitivity(torch.ones_like, images).tolist() == [0.0] * 3  # it never moves


# Networks that have learnt nothing


class Tokens(nn.Module):
    """A layer with a parameter that it cannot reset, as a class token is."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.arange(8.0))

    def forward(self, features):
        return features + self.token


@pytest.fixture
def trained(generator):
    net = nn.Sequential(
        nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 8), Tokens(),
        nn.Linear(8, 2),
    )  # fmt: skip
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if "token" not in name and value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 5)
    net[1].num_batches_tracked.fill_(7)
    return net.eval()


def learnt(net, other):
    """Return the names of parameters and statistics that are the same in both networks."""
    before = net.state_dict()
    return {name for name, value in other.state_dict().items() if torch.equal(value, before[name])}


def test_a_randomised_network_has_kept_no_weight_and_no_statistic(trained):
    drawn = explain.randomised(trained, 1)
    assert not learnt(trained, drawn)
    assert drawn[1].running_mean.tolist() == [0.0] * 3
    assert drawn[0].weight.abs().max() <= 1 / sqrt(8)  # as torch draws a layer of eight inputs
    assert sorted(drawn[5].token.tolist()) == list(range(8))
    again, other = (explain.randomised(trained, seed) for seed in (1, 2))
    assert learnt(drawn, again) == set(drawn.state_dict())
    fixed = {name for name in drawn.state_dict() if name.startswith("1.")}  # all start batch norm
    assert learnt(drawn, other) == fixed


def test_randomising_leaves_the_network_its_mode_and_torchs_own_generator_alone(trained):
    weights = {name: value.clone() for name, value in trained.state_dict().items()}
    state = torch.get_rng_state()
    assert not explain.randomised(trained, 1).training
    assert all(torch.equal(value, weights[name]) for name, value in trained.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert explain.randomised(trained.train(), 1).training


# Agreement


def test_agreement_is_one_for_the_same_order_and_minus_one_for_the_reverse(images, weights):
    attribution = images * weights
    found = explain.rank_agreement(attribution, attribution.exp(), images)
    assert found.dtype == torch.float64
    assert_close(found, torch.ones(3, dtype=torch.float64))
    found = explain.rank_agreement(attribution, -(attribution**3), images)
    assert_close(found, -torch.ones(3, dtype=torch.float64))


def test_agreement_looks_at_occupied_pixels_only_and_shares_the_ranks_of_ties():
    image = torch.tensor([[[[1.0, 1.0, 1.0, 1.0, 0.0]]]])
    first = torch.tensor([[[[1.0, 2.0, 3.0, 4.0, 99.0]]]])
    second = torch.tensor([[[[5.0, 5.0, 7.0, 6.0, -99.0]]]])
    # Ranks 1 2 3 4 and 1.5 1.5 4 3: covariance 3.5, variances 5 and 4.5.
    found = explain.rank_agreement(first, second, image)
    assert found.item() == pytest.approx(3.5 / sqrt(5 * 4.5))


def test_a_constant_attribution_and_a_lone_pixel_agree_with_nothing():
    lonely = torch.tensor([[[[0.0, 3.0]]]])
    assert explain.rank_agreement(EVEN, PIXELS, PIXELS).tolist() == [0.0, 0.0]
    assert explain.rank_agreement(lonely, lonely, lonely).tolist() == [0.0]


# What all of them refuse

METHODS = {
    "deletion": lambda images, attribution: explain.deletion(total, images, attribution),
    "infidelity": lambda images, attribution: explain.infidelity(total, images, attribution),
    "rank_agreement": lambda images, other: explain.rank_agreement(
        torch.ones_like(images), other, images
    ),
}


def not_finite(images):
    images = images.clone()
    images[2, 0, 0, 0] = nan
    return images


def without_points(images):
    images = images.clone()
    images[1] = 0
    return images


REFUSED = {
    "NaN": (lambda i: (i, not_finite(i)), "attribution holds NaN or infinite values"),
    "NaN diagrams": (lambda i: (not_finite(i), i), "1 diagrams hold NaN or infinite values"),
    "no points": (lambda i: 2 * (without_points(i),), "1 diagrams are empty, the first at index 1"),
}


@pytest.mark.parametrize(("made", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_attributions_and_diagrams_that_do_not_fit_are_refused(method, made, message, images):
    diagrams, attribution = made(images)
    with pytest.raises(InputError, match=message):
        method(diagrams, attribution)
