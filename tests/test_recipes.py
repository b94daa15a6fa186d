"""Every option of a recipe changes something, and does what its formula says."""

from math import log

import pytest
import torch
from toy_fits import fit, network, same_bits, weights

from modsnr import InputError
from modsnr.model.losses import distance_weighted, l1, ordinal

pytestmark = pytest.mark.usefixtures("one_thread")
GRID = torch.tensor([0.0, 10.0, 20.0])


# Losses of the SNR head


def test_l1_is_the_mean_error_in_steps_of_the_grid():
    found = l1(torch.tensor([5.0, 30.0]), torch.tensor([10.0, 10.0]), GRID)
    assert found.item() == pytest.approx((0.5 + 2.0) / 2)


def test_distance_weighted_is_cross_entropy_by_one_plus_the_expected_distance():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    found = distance_weighted(logits, torch.tensor([0.0]), GRID)
    assert found.item() == pytest.approx((1 + 0.3 * 1 + 0.2 * 2) * -log(0.5), rel=1e-6)


def test_distance_weighted_costs_a_far_miss_more_than_a_near_one():
    near, far = torch.tensor([[0.0, 9.0, 0.0]]), torch.tensor([[0.0, 0.0, 9.0]])
    truth = torch.tensor([0.0])
    assert distance_weighted(far, truth, GRID) > 1.4 * distance_weighted(near, truth, GRID)


def test_ordinal_is_the_squared_error_of_the_softmax_expectation():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))  # 7 dB
    found = ordinal(logits, torch.tensor([20.0]), GRID)
    assert found.item() == pytest.approx(1.3**2, rel=1e-6)


@pytest.mark.parametrize(
    ("snr_head", "snr_loss"),
    [("regression", "cross_entropy"), ("regression", "ordinal"), ("classification", "l1")],
)
def test_a_loss_that_does_not_fit_the_head_is_refused(tmp_path, snr_head, snr_loss):
    with pytest.raises(InputError, match=f"snr_loss '{snr_loss}' does not fit the {snr_head} head"):
        fit(tmp_path, net=network(snr_head=snr_head), snr_loss=snr_loss)


@pytest.mark.parametrize(
    ("snr_head", "named", "others"),
    [
        ("regression", "smooth_l1", ["l1"]),
        ("classification", "cross_entropy", ["distance_weighted", "ordinal"]),
    ],
)
def test_every_snr_loss_trains_other_weights_and_the_first_is_the_heads_own(
    tmp_path, snr_head, named, others
):
    for name in ("", named, *others):
        fit(tmp_path / f"_{name}", net=network(snr_head=snr_head), snr_loss=name)
    own = weights(tmp_path / "_")
    assert same_bits(own, weights(tmp_path / f"_{named}"))
    different = [weights(tmp_path / f"_{name}") for name in others]
    assert not any(same_bits(own, other) for other in different)
