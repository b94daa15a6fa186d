"""Every option of a recipe changes something, and does what its formula says."""

from math import exp, log

import pytest
import torch
from torch.testing import assert_close
from toy_fits import Counting, die, fit, network, same_bits, weights

from modsnr import InputError
from modsnr.model import JointLoss, Output, dwa_weights
from modsnr.model.losses import distance_weighted, gradnorm_gradient, l1, ordinal
from modsnr.training import Recipe, rate_factor, task

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


# Weighing the tasks


def test_a_fixed_share_weighs_the_two_losses_by_hand():
    output = Output(torch.tensor([[log(3.0), 0.0]]), torch.tensor([24.0]))
    loss = JointLoss(GRID.tolist(), weighting="fixed", modulation_share=0.8)
    total, *_ = loss(output, torch.tensor([0]), torch.tensor([20.0]))
    assert total.item() == pytest.approx(0.8 * log(4 / 3) + 0.2 * 0.08, rel=1e-5)


def test_dwa_weighs_most_the_task_that_falls_least():
    # The first task's loss halves, the second's stays: softmax of 1/2 / 2 and 1 / 2, times 2.
    found = dwa_weights([[9.0, 9.0], [4.0, 3.0], [2.0, 3.0]])
    share = exp(0.25) / (exp(0.25) + exp(0.5))
    assert_close(found, torch.tensor([2 * share, 2 * (1 - share)]))
    assert dwa_weights([[4.0, 3.0]]).tolist() == [1.0, 1.0]


def test_the_gradient_of_gradnorm_is_that_of_its_loss():
    norms, losses = torch.tensor([3.0, 0.5]), torch.tensor([0.2, 0.9])
    weights, first = torch.tensor([0.7, 1.3], requires_grad=True), torch.tensor([1.0, 1.5])
    of_task = weights * norms
    share = losses / first  # 0.2, 0.6: the rates are 0.5, 1.5
    target = (of_task.mean() * torch.tensor([0.5, 1.5]) ** 1.5).detach()
    (of_task - target).abs().sum().backward()
    assert_close(share / share.mean(), torch.tensor([0.5, 1.5]))
    assert_close(gradnorm_gradient(weights.detach(), norms, losses, first), weights.grad)


@pytest.mark.parametrize(
    "change",
    [
        {"task_weighting": "fixed"},
        {"task_weighting": "fixed", "modulation_share": 0.9},
        {"task_weighting": "dwa"},
        {"task_weighting": "gradnorm"},
    ],
)
def test_every_weighting_trains_other_weights_and_is_resumed_exactly(tmp_path, monkeypatch, change):
    monkeypatch.setattr(task, "CHECKPOINT_SECONDS", -1.0)
    fit(tmp_path / "uncertainty")
    fit(tmp_path / "even", task_weighting="fixed", modulation_share=0.4)
    fit(tmp_path / "whole", **change)
    with pytest.raises(ConnectionError):
        fit(tmp_path / "cut", Counting(at=[11], act=die), **change)
    fit(tmp_path / "new", resume=tmp_path / "cut", **change)
    whole = weights(tmp_path / "whole")
    assert same_bits(whole, weights(tmp_path / "new"))
    assert not same_bits(whole, weights(tmp_path / "uncertainty"))
    assert not same_bits(whole, weights(tmp_path / "even"))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_one_is_refused(share):
    with pytest.raises(InputError, match=f"modulation_share must lie in 0..1; it is {share}"):
        Recipe(modulation_share=share)


# Schedules


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "triangular2", "constant"])
@pytest.mark.parametrize("warmup", [20, 0.2])
def test_warmup_rises_linearly_and_the_schedule_fills_the_steps_left(schedule, warmup):
    warm = [rate_factor(schedule, step, 100, warmup=warmup) for step in range(100)]
    first = rate_factor(schedule, 0, 80)
    assert warm[:20] == pytest.approx([first * (step + 1) / 21 for step in range(20)])
    assert warm[20:] == [rate_factor(schedule, step, 80) for step in range(80)]


def test_the_lowest_rate_bounds_every_cycle():
    # As the study's: 1e-6 to 1e-3. A cycle is a quarter, its height halves each time.
    rates = [rate_factor("triangular2", step, 800, lowest=1e-3) for step in range(800)]
    assert min(rates) == pytest.approx(1e-3)
    assert [rates[step] for step in (0, 200, 400, 600)] == pytest.approx([1e-3] * 4)
    assert [rates[step] for step in (100, 300)] == pytest.approx([1.0, 0.001 + 0.999 / 2])


@pytest.mark.parametrize("change", [{"warmup": 3}, {"warmup": 0.5}, {"lowest_rate": 0.1}])
def test_warmup_and_the_lowest_rate_train_other_weights(tmp_path, change):
    fit(tmp_path / "one", schedule="triangular2")
    fit(tmp_path / "other", schedule="triangular2", **change)
    assert not same_bits(weights(tmp_path / "one"), weights(tmp_path / "other"))


@pytest.mark.parametrize(
    ("name", "value"), [("warmup", -1.0), ("lowest_rate", 0.0), ("lowest_rate", 2.0)]
)
def test_an_impossible_schedule_is_refused(name, value):
    with pytest.raises(InputError, match=f"{name} must .*{value}"):
        Recipe(**{name: value})
