"""Every option of a recipe changes something, and does what its formula says."""

from dataclasses import fields
from functools import partial
from math import exp, log
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.testing import assert_close
from toy_fits import (
    TRAIN,
    At,
    fit,
    network,
    on_the_way,
    order,
    picture,
    same_bits,
    weights,
)

from modsnr import InputError
from modsnr.model import JointLoss, Output, dwa_weights
from modsnr.model.losses import distance_weighted, gradnorm_gradient, l1, ordinal
from modsnr.signals.alphabets import APSK_GEOMETRIES, STUDY_CLASSES, alphabet
from modsnr.training import Labelled, Recipe, rate_factor
from modsnr.training.sampling import ONE_SIDED

GRID = torch.tensor([0.0, 10.0, 20.0])


# Losses of the SNR head


def test_l1_is_the_mean_error_in_steps_of_the_grid():
    found = l1(torch.tensor([5.0, 30.0]), torch.tensor([10.0, 10.0]), GRID)
    assert found.item() == pytest.approx((0.5 + 2.0) / 2)


def test_distance_weighted_is_cross_entropy_by_one_plus_the_expected_distance():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    found = distance_weighted(logits, torch.tensor([0.0]), GRID)
    assert found.item() == pytest.approx((1 + 0.3 * 1 + 0.2 * 2) * -log(0.5), rel=1e-6)


def test_ordinal_is_the_squared_error_of_the_softmax_expectation():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))  # 7 dB
    found = ordinal(logits, torch.tensor([20.0]), GRID)
    assert found.item() == pytest.approx(1.3**2, rel=1e-6)


@pytest.mark.parametrize(
    ("snr_head", "snr_loss"),
    [("regression", "cross_entropy"), ("regression", "ordinal"), ("classification", "l1")],
)
def test_a_loss_that_does_not_fit_the_head_is_refused(tmp_path, snr_head, snr_loss):
    complaint = f"no snr_loss of the {snr_head} head is called '{snr_loss}'"
    with pytest.raises(InputError, match=complaint):
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


# Averaged weights


def snapshots(net):
    """Return a draw that notes the network's state before each step and at each validation."""
    before_steps, validated = [], []

    def draw(iq):
        state = {name: value.clone() for name, value in net.state_dict().items()}
        (before_steps if torch.is_grad_enabled() else validated).append(state)
        return picture(iq)

    return draw, before_steps, validated


def test_averaged_weights_are_the_recursion_over_those_after_each_step(tmp_path):
    net = network()
    draw, states, validated = snapshots(net)
    history = fit(tmp_path, draw, net=net, epochs=2, ema=0.3).history
    states.append(on_the_way(tmp_path))  # after the last step
    average, at_epochs = states[0], []
    for step, state in enumerate(states[1:]):
        kept = min(0.3, (1 + step) / (10 + step))  # 0.1, 0.18, 0.25, then 0.3
        average = {
            name: kept * average[name] + (1 - kept) * value if value.is_floating_point() else value
            for name, value in state.items()
        }
        if step in (3, 7):
            at_epochs.append(average)
    assert len(validated) == 2
    for found, wanted in zip(validated, at_epochs, strict=True):
        assert_close(found, wanted, atol=1e-6, rtol=1e-5)
    best = int(history.validation_joint_accuracy.argmax())
    assert same_bits(weights(tmp_path), validated[best])
    assert same_bits(net.state_dict(), validated[best])
    counted = [state["backbone.layers.2.num_batches_tracked"].item() for state in validated]
    assert counted == [4, 8]


# Which frames


def labelled(*counts):
    """Return frames of the cells (0, 0 dB), (0, 10 dB), (1, 0 dB), (1, 10 dB), ``counts`` each."""
    cells = np.repeat(np.arange(4), counts)
    iq = torch.zeros(len(cells), 1, dtype=torch.complex64)
    return cells, Labelled(iq, torch.from_numpy(cells // 2), torch.from_numpy(cells % 2 * 10.0))


def test_balanced_sampling_visits_every_cell_as_often_and_its_frames_alike():
    cells, frames = labelled(40, 15, 7, 4)
    visited = order(frames, epoch=1, sampling="balanced")
    assert (visited != order(frames, epoch=2, sampling="balanced")).any()
    assert len(visited) == 66
    assert sorted(np.bincount(cells[visited])) == [16, 16, 17, 17]
    times = np.bincount(visited, minlength=66)
    assert all(np.ptp(times[cells == cell]) <= 1 for cell in range(4))
    assert (np.diff(cells[visited]) != 0).mean() > 0.5  # mixed: 3/4 by chance


def test_a_curriculum_begins_with_the_highest_snrs_and_has_all_from_half_on():
    snr_db = torch.arange(8.0).repeat_interleave(5)
    frames = Labelled(torch.zeros(40, 1), torch.zeros(40, dtype=torch.int64), snr_db)
    # A quarter of eight SNRs, then 7/16, 10/16, 13/16 of them, then all.
    for epoch, levels in enumerate([2, 4, 5, 7, 8, 8, 8, 8]):
        visited = order(frames, epoch=epoch, epochs=8, sampling="curriculum")
        assert len(visited) == 40
        times = np.bincount(visited, minlength=40)
        seen = times > 0
        assert_array_equal(np.unique(snr_db[seen]), np.arange(8 - levels, 8))
        assert seen.sum() == 5 * levels
        assert np.ptp(times[seen]) <= 1
    only = order(frames, epoch=0, epochs=1, sampling="curriculum")
    assert_array_equal(np.sort(only), np.arange(40))


# Mirrored spectra


@pytest.mark.parametrize("rings", APSK_GEOMETRIES.values())
def test_the_mirror_image_of_an_alphabet_is_that_alphabet(rings):
    for modulation in (*STUDY_CLASSES, "OOK"):
        points = alphabet(modulation, rings)
        distance = (points.conj().unsqueeze(1) - points).abs()
        assert distance.min(1).values.max() < 1e-9, modulation


@pytest.mark.parametrize("one_sided", ONE_SIDED)
def test_half_of_the_spectra_are_mirrored_but_none_of_a_single_sideband(tmp_path, one_sided):
    draw, net = At(), network()
    net.settings["classes"] = ["left", one_sided]
    fit(tmp_path, draw, net=net, epochs=8, conjugate=True)
    seen = torch.cat(draw.drawn)
    number = seen.imag.abs()[:, 0].long()  # which frame it is; its own imaginary part is positive
    assert_close(seen.real, TRAIN.iq.real[number])
    assert_close(seen.imag.abs(), TRAIN.iq.imag[number])
    mirrored = (seen.imag[:, 0] < 0)[number > 0]
    of_one_sided = (TRAIN.modulation[number] == 1)[number > 0]
    assert not mirrored[of_one_sided].any()
    others = mirrored[~of_one_sided].float()
    assert abs(others.mean() - 0.5) < 4 * 0.5 / len(others) ** 0.5


# Speed


def test_what_is_compiled_is_what_is_trained_and_its_weights_keep_their_names(
    tmp_path, monkeypatch
):
    calls = []

    def backend(graph, _):
        def run(*arguments):
            calls.append(arguments[0])
            return graph(*arguments)

        return run

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    fit(tmp_path / "compiled", epochs=2, compile=True)
    assert len(calls) == 8
    fit(tmp_path / "plain", epochs=2)
    assert len(calls) == 8
    compiled, plain = weights(tmp_path / "compiled"), weights(tmp_path / "plain")
    assert compiled.keys() == plain.keys()
    assert_close(compiled, plain)


# Every option


def lopsided(iq):  # the mirror image looks otherwise
    return picture(iq * (1 - 1e-3j))


# The recipe that an option is changed in, where that is not the plain one, and to what.
CHANGES = [
    ({}, {"epochs": 2}),
    ({}, {"batch_size": 16}),
    ({}, {"learning_rate": 1e-3}),
    ({}, {"weight_decay": 0.3}),
    ({}, {"optimizer": "adam"}),
    *(({}, {"schedule": name}) for name in ("one_cycle", "cosine", "triangular2")),
    ({}, {"warmup": 1}),
    ({}, {"warmup": 0.5}),
    ({"schedule": "triangular2"}, {"lowest_rate": 0.1}),
    ({}, {"snr_loss": "l1"}),
    *(({}, {"task_weighting": name}) for name in ("fixed", "gradnorm")),
    ({"epochs": 3}, {"task_weighting": "dwa"}),
    ({"task_weighting": "fixed"}, {"modulation_share": 0.9}),
    ({}, {"ema": 0.9}),
    ({}, {"sampling": "balanced"}),
    ({"epochs": 2}, {"sampling": "curriculum"}),  # in its last epoch it has all frames
    ({}, {"rotate": True}),
    ({}, {"conjugate": True}),
    ({"epochs": 4, "learning_rate": 1e-12}, {"early_stopping": 1}),
    ({}, {"precision": "bf16"}),
    ({}, {"seed": 1}),
]
SPEED = ("channels_last", "compile")  # change no weights but by rounding


def after(folder, **options):
    """Return the best and the last weights of a fit, of two steps unless options say otherwise."""
    fit(folder, lopsided, **({"epochs": 1, "batch_size": 32} | options))
    best, last = weights(folder), on_the_way(folder)
    return best | {f"last {name}": value for name, value in last.items()}


@pytest.mark.parametrize(
    ("plain", "change"), CHANGES, ids=lambda part: "-".join(map(str, part.values()))
)
def test_every_choice_in_a_recipe_changes_the_weights(tmp_path, plain, change):
    one, other = after(tmp_path / "one", **plain), after(tmp_path / "other", **plain | change)
    assert not same_bits(one, other)


def test_the_memory_format_changes_what_is_learned_by_rounding_only(tmp_path):
    found = [
        fit(tmp_path / str(last), epochs=1, channels_last=last).history.iloc[0]
        for last in (True, False)
    ]
    # Not the weights: Adam makes a step of any gradient, however near to nothing.
    for loss in ("loss", "modulation_loss", "snr_loss"):
        assert_allclose(found[0][loss], found[1][loss], rtol=1e-3)


def test_no_option_of_a_recipe_is_left_untried():
    tried = {name for _, change in CHANGES for name in change}
    assert tried | set(SPEED) == {field.name for field in fields(Recipe)}
    for name, hint in get_type_hints(Recipe).items():
        values = {change[name] for _, change in CHANGES if name in change}
        left = set(get_args(hint)) - values - {getattr(Recipe(), name), "constant", "auto", "32"}
        assert name == "snr_loss" or not left  # each loss is tried with its head, above
