"""Fits learn, repeat to the bit, survive being killed, and say so when they cannot go on."""

import cmath
import weakref
from functools import partial
from math import cos, inf, nan, pi, sqrt

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.fabric import Fabric
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.torch import load_file
from torch.testing import assert_close
from toy_fits import (
    GRID,
    SMALL,
    TRAIN,
    VALIDATION,
    At,
    die,
    fit,
    header,
    network,
    not_a_number,
    on_the_way,
    order,
    picture,
    same_bits,
    weights,
)

from modsnr import InputError, diagrams, signals, training
from modsnr.model import JointLoss, JointNet
from modsnr.training import Labelled, Recipe, loop


@pytest.fixture
def at_every_step(monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)


# Learning


def test_a_fit_learns_an_easy_problem(tmp_path):
    net = network()
    history = fit(tmp_path, net=net, epochs=12).history
    for loss in ("modulation_loss", "snr_loss"):
        assert history[loss].iloc[-1] < history[loss].iloc[0] / 2
    assert history.validation_joint_accuracy.max() == 1.0
    prediction = training.predict(net, picture, VALIDATION.iq)
    assert torch.equal(prediction.modulation, VALIDATION.modulation)
    assert_close(prediction.snr_db, VALIDATION.snr_db, atol=4.9, rtol=0)


def test_a_classification_learns_from_constellations(tmp_path, generator):
    classes, count = ["BPSK", "4ASK", "16PSK"], 480
    modulation = torch.randint(3, (count,), generator=generator)
    snr_db = 20.0 * torch.randint(2, (count,), generator=generator) + 5
    iq = signals.simulate(modulation, snr_db, generator=generator, classes=classes)
    train, validation = (
        Labelled(iq[part], modulation[part], snr_db[part])
        for part in (slice(0, 384), slice(384, None))
    )
    torch.manual_seed(0)
    net = JointNet(
        "compact", views=["constellation"], bins=32, classes=classes, snrs_db=[5.0, 25.0],
        snr_head="classification", pretrained=False,
    )  # fmt: skip
    draw = partial(diagrams.render, views=["constellation"], bins=32)
    recipe = Recipe(epochs=8, batch_size=32, learning_rate=4e-3, precision="32")
    history = training.fit(net, draw, train, validation, recipe, tmp_path).history
    assert history.validation_joint_accuracy.max() > 0.85  # by guessing: 1/6
    assert history.loss.iloc[-1] < history.loss.iloc[0]


@pytest.mark.parametrize("sampling", ["shuffled", "balanced", "curriculum"])
def test_every_epoch_visits_frames_in_the_order_that_is_announced(tmp_path, sampling):
    draw, options = At(), {"epochs": 2, "seed": 5, "sampling": sampling}
    fit(tmp_path, draw, **options)
    visited = torch.cat(draw.drawn).imag[:, 0].long()
    announced = [order(TRAIN, epoch=epoch, **options) for epoch in range(2)]
    assert_array_equal(visited, np.concatenate(announced))


def test_frames_that_do_not_fill_a_batch_wait_for_another_epoch(tmp_path):
    draw = At()
    history = fit(tmp_path, draw, batch_size=24, epochs=2).history
    assert draw.calls == 2 * (64 // 24)
    assert history.step.tolist() == [2, 4]


def test_the_history_has_a_row_an_epoch_on_disk_and_is_reported_as_it_grows(tmp_path):
    rows = []

    def report(row):
        rows.append(row)
        assert len(pd.read_csv(tmp_path / "history.csv")) == len(rows)

    found = fit(tmp_path, report=report)
    assert list(found.history.columns) == [
        "epoch", "step", "loss", "modulation_loss", "snr_loss", "validation_joint_accuracy",
        "validation_modulation_accuracy", "validation_snr_accuracy", "learning_rate",
        "skipped_steps", "seconds",
    ]  # fmt: skip
    assert found.history.to_dict("records") == rows
    assert_allclose(pd.read_csv(tmp_path / "history.csv"), found.history)
    assert found.history.epoch.tolist() == [1, 2, 3]
    assert found.history.step.tolist() == [4, 8, 12]
    assert (found.history.learning_rate == SMALL.learning_rate).all()
    assert found.history.seconds.is_monotonic_increasing
    assert (found.skipped_steps, found.rollbacks) == (0, 0)
    assert (found.weights, found.device) == (tmp_path / "weights.safetensors", "cpu")


def test_an_epochs_line_shows_what_a_person_watches(tmp_path, capsys):
    fit(tmp_path, epochs=1, report=training.print_epoch)
    assert "epoch   1  loss" in (line := capsys.readouterr().out)
    assert "joint" in line


def test_the_weights_are_those_of_the_best_epoch_not_of_the_last(tmp_path, monkeypatch):
    reached, snapshots, net = iter([0.2, 0.9, 0.9, 0.5]), [], network()
    monkeypatch.setattr(loop, "_validate", lambda _: {"joint_accuracy": next(reached)})

    def report(row):
        snapshots.append({name: value.clone() for name, value in net.state_dict().items()})

    fit(tmp_path, net=net, epochs=4, report=report)
    assert same_bits(snapshots[1], weights(tmp_path))
    assert same_bits(snapshots[1], net.state_dict())
    assert not same_bits(snapshots[3], net.state_dict())
    assert not net.training


# Order and rate


def test_the_order_of_frames_is_a_permutation_pure_in_seed_and_epoch():
    visited = order(TRAIN, seed=3, epoch=7)
    assert_array_equal(np.sort(visited), np.arange(len(TRAIN.iq)))
    assert_array_equal(visited, order(TRAIN, seed=3, epoch=7))
    for other in ({"seed": 4, "epoch": 7}, {"seed": 3, "epoch": 8}, {"seed": 7, "epoch": 3}):
        assert (visited != order(TRAIN, **other)).any()


@pytest.mark.parametrize(
    ("schedule", "done", "share"),
    [
        ("constant", 0, 1.0), ("constant", 0.7, 1.0),
        ("cosine", 0, 1.0), ("cosine", 0.25, (1 + cos(pi / 4)) / 2), ("cosine", 0.5, 0.5),
        ("one_cycle", 0, 0.04), ("one_cycle", 0.075, 0.52), ("one_cycle", 0.15, 1.0),
        ("one_cycle", 0.575, 0.5), ("one_cycle", 1, 1e-4),
        ("triangular2", 0, 0.01), ("triangular2", 0.0625, 0.505), ("triangular2", 0.125, 1.0),
        ("triangular2", 0.25, 0.01), ("triangular2", 0.375, 0.505), ("triangular2", 0.625, 0.2575),
        ("triangular2", 0.875, 0.13375), ("triangular2", 1, 0.01),
    ],
)  # fmt: skip
def test_a_schedule_has_its_closed_form(schedule, done, share):
    assert_allclose(training.rate_factor(schedule, int(done * 4000), 4000), share, atol=1e-9)


def test_the_rate_of_each_step_is_the_schedules_share_of_the_recipes(tmp_path):
    history = fit(tmp_path, schedule="cosine", learning_rate=1e-3).history
    assert_allclose(history.learning_rate, [1e-3 * (1 + cos(pi * s / 12)) / 2 for s in (3, 7, 11)])


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_the_weights_are_those_of_the_optimizer_that_is_named_step_by_step(tmp_path, optimizer):
    fit(tmp_path, net=network(dropout=0), epochs=1, optimizer=optimizer, weight_decay=0.5)
    net, loss = network(dropout=0), JointLoss(GRID)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimizer]
    learned = [*net.parameters(), *loss.parameters()]
    by_hand = kind(learned, lr=SMALL.learning_rate, weight_decay=0.5, fused=False)
    for rows in torch.from_numpy(order(TRAIN, epoch=0)).split(SMALL.batch_size):
        by_hand.zero_grad()
        total, _, _ = loss(net(picture(TRAIN.iq[rows])), TRAIN.modulation[rows], TRAIN.snr_db[rows])
        total.backward()
        by_hand.step()
    for name, value in on_the_way(tmp_path).items():
        # Not the largest: Adam makes a step of any gradient, however near to nothing.
        assert (value.double() - net.state_dict()[name]).abs().mean() < 1e-5, name


# The same again


def test_the_same_seed_gives_the_same_weights_whatever_chance_did_before_and_another_others(
    tmp_path,
):
    fit(tmp_path / "one", rotate=True)
    net = network()
    torch.manual_seed(99)
    fit(tmp_path / "again", net=net, rotate=True)
    fit(tmp_path / "other", rotate=True, seed=1)
    assert same_bits(weights(tmp_path / "one"), weights(tmp_path / "again"))
    assert not same_bits(weights(tmp_path / "one"), weights(tmp_path / "other"))


def test_rotating_turns_each_frame_by_a_phase_of_its_own(tmp_path):
    draw = At()
    lit = Labelled(torch.ones(64, 256, dtype=torch.complex64), TRAIN.modulation, TRAIN.snr_db)
    fit(tmp_path, draw, train=lit, epochs=8, rotate=True)
    turned = torch.cat(draw.drawn)
    assert_close(turned.abs(), torch.ones(512, 256))
    assert_close(turned, turned[:, :1].expand(-1, 256))  # one phase a frame
    resultant = turned[:, 0].mean().abs()
    assert resultant < 3 / 512**0.5  # Rayleigh: uniform phases
    assert len(turned[:, 0].angle().unique()) > 500


def test_precision_is_named_and_auto_is_one_of_the_two(tmp_path):
    assert training.precision_of("32") == "32-true"
    assert training.precision_of("bf16") == "bf16-mixed"
    assert training.precision_of("auto") in ("32-true", "bf16-mixed")
    assert fit(tmp_path, epochs=1, precision="bf16").precision == "bf16-mixed"


# Cut off and gone on with


def test_a_fit_cut_off_in_validation_does_that_epoch_all_the_same(tmp_path, at_every_step):
    def dies_in_validation(iq):
        return picture(iq) if torch.is_grad_enabled() else die(iq)

    fit(tmp_path / "whole")
    with pytest.raises(ConnectionError):
        fit(tmp_path / "cut", dies_in_validation)
    assert len(fit(tmp_path / "cut").history) == 3
    assert same_bits(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_checkpoints_within_an_epoch_come_by_the_clock(tmp_path, monkeypatch):
    with pytest.raises(ConnectionError):
        fit(tmp_path / "rare", At("die", 7))
    assert header(tmp_path / "rare")["step"] == 4
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(ConnectionError):
        fit(tmp_path / "often", At("die", 7))
    assert header(tmp_path / "often")["step"] == 6


def test_a_finished_fit_is_not_done_again(tmp_path):
    first, net, draw = fit(tmp_path), network(), At()
    again = fit(tmp_path, draw, net=net)
    assert draw.calls == 0
    assert again.history.equals(first.history)
    assert same_bits(net.state_dict(), weights(tmp_path))


# Not a number


def all_finite(tensors):
    return all(torch.isfinite(value).all() for value in tensors.values())


def test_a_batch_whose_loss_is_no_number_is_skipped_counted_and_leaves_no_trace(tmp_path):
    def marked(iq):
        spoilt = (iq.imag[:, 0] == 17).any() and torch.is_grad_enabled()
        return not_a_number(iq) if spoilt else picture(iq)

    found = fit(tmp_path, marked, epochs=12)
    assert found.skipped_steps == 12  # frame 17 comes up once an epoch
    assert found.history.skipped_steps.tolist() == list(range(1, 13))
    assert found.rollbacks == 0
    assert all_finite(weights(tmp_path))
    assert found.history.loss.notna().all()
    assert found.history.validation_joint_accuracy.iloc[-1] > 0.9


def test_a_skipped_step_changes_neither_weights_nor_running_statistics(tmp_path):
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(training.Diverged, match=r"step 1: the loss is not finite \(loss nan"):
        fit(tmp_path, At("nan", 1, 99), net=net, epochs=1)
    assert same_bits(before, net.state_dict())


def test_a_gradient_that_is_no_number_counts_though_the_loss_is_one(tmp_path):
    net = network(plain=True)
    weight = net.modulation_head[0].weight
    weight.register_hook(lambda gradient: torch.full_like(gradient, inf))
    before = weight.detach().clone()
    with pytest.raises(
        training.Diverged,
        match=r"step 2: the gradient of net.*weight is not finite\. 2 steps in a row.* at step 1:",
    ):
        fit(tmp_path, net=net, epochs=1)
    assert torch.equal(weight, before)


def test_passing_trouble_rolls_back_at_half_the_rate_and_ends_with_every_epoch_done(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "PATIENCE_STEPS", 3)
    found = fit(tmp_path, At("nan", 6, 8), epochs=4)
    assert (found.skipped_steps, found.rollbacks) == (3, 1)
    assert found.history.epoch.tolist() == [1, 2, 3, 4]
    assert found.history.step.tolist() == [4, 8, 12, 16]
    rate = SMALL.learning_rate
    assert found.history.learning_rate.tolist() == [rate, rate / 2, rate / 2, rate / 2]
    assert all_finite(weights(tmp_path))


def test_a_rollback_goes_to_the_last_checkpoint_before_the_trouble(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "PATIENCE_STEPS", 3)
    # The trouble begins in the first epoch's last step and crosses into the second.
    draw = At("nan", 4, 6)
    found = fit(tmp_path, draw, epochs=2)
    assert draw.calls == 6 + 8
    assert found.history.learning_rate.tolist() == [SMALL.learning_rate / 2] * 2


def test_lasting_trouble_ends_in_divergence_after_every_rollback(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "PATIENCE_STEPS", 3)
    draw = At("nan", 3, 1000)
    with pytest.raises(
        training.Diverged, match=r"3 steps in a row.*after 5 rollbacks.*the last was 9\.38e-05"
    ) as caught:
        fit(tmp_path, draw)
    assert caught.value.run_status == "diverged"
    assert draw.calls == 2 + 3 * (loop.ROLLBACKS + 1)
    assert header(tmp_path)["step"] == 0


def test_a_rate_beyond_all_reason_diverges_saying_where_it_began_and_what_to_do(tmp_path):
    with pytest.raises(
        training.Diverged,
        match=r"at step \d+: the loss is .* the last was 31\.2\. It began at step 2: the loss is "
        r"not finite \(loss (inf|nan), .*\. Lower learning_rate\.",
    ):
        fit(tmp_path, learning_rate=1e3)


def test_the_same_in_a_fit_of_a_single_step_an_epoch(tmp_path):
    with pytest.raises(training.Diverged, match="1 steps in a row went wrong after 5 rollbacks"):
        fit(tmp_path, At("nan", 2, 99), batch_size=64, epochs=3)


def test_an_epoch_without_a_step_taken_has_no_loss(tmp_path):
    draw = At("nan", 2, 3)
    found = fit(tmp_path, draw, batch_size=64, epochs=6, task_weighting="dwa")
    assert found.history.loss.isna().tolist() == [False, True, True, False, False, False]
    assert all_finite(weights(tmp_path))


def explode(iq):
    return 1e4 * picture(iq)


@pytest.mark.parametrize("times", [2, 3])
def test_a_loss_far_above_the_first_is_trouble_that_is_told_and_rolled_back(
    tmp_path, monkeypatch, times
):
    monkeypatch.setattr(loop, "PATIENCE_STEPS", 3)
    net = network(plain=True)
    net.backbone = net.backbone[:2]  # linear
    found = fit(tmp_path, At(explode, 6, 5 + times), net=net, epochs=4)
    assert found.trouble.startswith("step 6: the loss is ")
    assert "at the first step it was" in found.trouble
    assert found.skipped_steps == 0  # a loss that is a number is learned from
    assert found.rollbacks == (times == 3)


# Memory


def limited(limit, error):
    """Return a draw for which a device has memory for ``limit`` frames, and the sizes it tries."""
    sizes = []

    def draw(iq):
        if torch.is_grad_enabled():
            sizes.append(len(iq))
            if len(iq) > limit:
                raise error
        return picture(iq)

    return draw, sizes


ON_A_CPU = RuntimeError("DefaultCPUAllocator: can't allocate memory")
NO_MEMORY = [
    ON_A_CPU,
    torch.cuda.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
]


@pytest.mark.parametrize("error", NO_MEMORY, ids=["cpu", "gpu", "cublas", "cudnn", "engine"])
def test_out_of_memory_halves_the_piece_and_adds_up_the_same_gradient(tmp_path, error):
    whole, pieces = network(plain=True, dropout=0.0), network(plain=True, dropout=0.0)
    fit(tmp_path / "whole", net=whole, batch_size=60, epochs=1)
    draw, sizes = limited(16, error)
    fit(tmp_path / "pieces", draw, net=pieces, batch_size=60, epochs=1)
    assert sizes == [60, 30, 15, 15, 15, 15]
    for one, other in zip(whole.parameters(), pieces.parameters(), strict=True):
        assert_close(one.grad, other.grad, atol=1e-7, rtol=1e-4)


def test_pieces_of_unequal_size_weigh_by_their_frames(tmp_path):
    whole, pieces = network(plain=True, dropout=0.0), network(plain=True, dropout=0.0)
    first = fit(tmp_path / "whole", net=whole, batch_size=21, epochs=1)
    draw, sizes = limited(10, ON_A_CPU)
    second = fit(tmp_path / "pieces", draw, net=pieces, batch_size=21, epochs=1)
    assert sizes == [21, 10, 10, 1, 10, 10, 1, 10, 10, 1]  # what fitted once is kept to
    assert_allclose(first.history.loss, second.history.loss, rtol=1e-5)


def test_a_fit_that_memory_cut_ends_the_same_when_gone_on_with(tmp_path):
    """Dropout is drawn piece by piece, and by the same chance in another try."""

    def short_of_memory(_net, given, _answer):  # after dropout was drawn
        if torch.is_grad_enabled() and len(given[0]) > 16:
            raise ON_A_CPU

    def fitted(name, **options):
        net = network(dropout=0.3)
        net.register_forward_hook(short_of_memory)
        fit(tmp_path / name, net=net, batch_size=60, epochs=3, **options)

    def stop(row):
        if row["epoch"] == 1:
            raise KeyboardInterrupt

    fitted("whole")
    with pytest.raises(KeyboardInterrupt):
        fitted("cut", report=stop)
    fitted("cut")
    whole, again = ((tmp_path / of / "checkpoint.safetensors") for of in ("whole", "cut"))
    for name, tensor in load_file(whole).items():
        assert torch.equal(tensor, load_file(again)[name]), name


def test_a_piece_that_is_drawn_again_counts_once_in_the_running_statistics(tmp_path):
    def no_memory(iq):
        if draw.calls in (1, 5):  # the first batch, and the second piece of the second batch
            raise ON_A_CPU
        return picture(iq)

    net = network()
    draw = At(no_memory, 1, 5)
    fit(tmp_path, draw, net=net, batch_size=32, epochs=1)
    assert [len(iq) for iq in draw.drawn] == [32, 16, 16, 16, 16, *[8] * 4]
    counted = net.state_dict()["backbone.layers.2.num_batches_tracked"]
    assert counted == 2 + 4


def test_before_another_try_what_the_first_one_held_is_given_back(tmp_path, monkeypatch):
    held, alive = [], []

    def draw(iq):
        alive.append([of() is not None for of in held])
        return picture(iq)

    net = network()
    net.register_forward_hook(lambda _, given, __: held.append(weakref.ref(given[0])))
    backward = Fabric.backward

    def short_of_memory(self, loss):
        if len(held) == 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")  # a new one: it holds frames
        backward(self, loss)

    monkeypatch.setattr(Fabric, "backward", short_of_memory)
    fit(tmp_path, draw, net=net, batch_size=32, epochs=1)
    assert alive[:2] == [[], [False]]


def test_diagrams_are_drawn_in_single_precision_whatever_the_network_computes_in(tmp_path):
    asked = []

    def draw(iq):
        asked.append(torch.is_autocast_enabled("cpu"))
        return picture(iq)

    outputs = []
    net = network()
    net.register_forward_hook(lambda _, __, said: outputs.append(said.modulation.dtype))
    fit(tmp_path, draw, net=net, epochs=1, precision="bf16")
    assert torch.bfloat16 in outputs
    assert set(asked) == {False}


@pytest.mark.parametrize(
    ("error", "tried"), [(ON_A_CPU, [16, 8, 4, 2, 1]), (RuntimeError("a kernel failed"), [16])]
)
def test_without_memory_for_a_single_frame_or_for_another_reason_the_fit_fails(
    tmp_path, error, tried
):
    draw, sizes = limited(0, error)
    with pytest.raises(RuntimeError, match=str(error)[-14:]):
        fit(tmp_path, draw)
    assert sizes == tried


# Stopping


def test_early_stopping_ends_after_as_many_epochs_without_progress_for_good(tmp_path):
    still = {"epochs": 5, "learning_rate": 1e-12}  # nothing is ever learned
    assert len(fit(tmp_path / "two", early_stopping=2, **still).history) == 1 + 2
    draw = At()
    assert len(fit(tmp_path / "two", draw, early_stopping=2, **still).history) == 1 + 2
    assert draw.calls == 0
    assert len(fit(tmp_path / "never", **still).history) == 5


# Refused


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"batch_size": 65}, "batch_size is 65, but there are only 64 training frames"),
        ({"validation": VALIDATION.each(lambda part: part[:0])}, "no validation frames"),
    ],
)
def test_frames_that_do_not_make_a_fit_are_refused(tmp_path, options, complaint):
    with pytest.raises(InputError, match=complaint):
        fit(tmp_path, **options)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0), ("batch_size", -1), ("learning_rate", 0.0), ("learning_rate", nan),
        ("weight_decay", inf), ("early_stopping", -1), ("seed", -1), ("optimizer", "sgd"),
        ("schedule", "cosin"), ("precision", "16"), ("modulation_share", 1.1), ("warmup", -1.0),
        ("lowest_rate", 0.0), ("ema", 1.0),
    ],
)  # fmt: skip
def test_a_recipe_with_an_impossible_value_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"(?s){name}.*input_value={value!r}"):
        Recipe(**{name: value})


# Prediction


def test_predicting_in_batches_equals_deciding_at_once():
    net = network().eval()
    at_once = net.estimate(picture(VALIDATION.iq))
    for batch_size in (5, 32, 512):
        found = net.decide(net.outputs(picture, VALIDATION.iq, batch_size=batch_size))
        assert torch.equal(found.modulation, at_once.modulation)
        assert_close(found.snr_db, at_once.snr_db, atol=1e-4, rtol=1e-5)
        assert_close(found.confidence, at_once.confidence)


@pytest.mark.parametrize(("limit", "sizes"), [(8, [20, 10, 5, 5, 5, 5, 5, 5, 2]), (1, [])])
def test_predicting_halves_its_batch_where_memory_does_not_hold_it(limit, sizes):
    net, tried, done = network().eval(), [], []

    def draw(iq):
        tried.append(len(iq))
        if len(iq) > limit:
            raise ON_A_CPU
        return picture(iq)

    found = net.outputs(draw, VALIDATION.iq, batch_size=20, progress=done.append)
    whole = net.outputs(picture, VALIDATION.iq)
    assert tried == (sizes or [20, 10, 5, 2, *[1] * 32])
    assert sum(done) == 32
    for one, other in zip(found, whole, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("snr_head", ["regression", "classification"])
def test_answers_are_averaged_over_rotations_of_the_carrier(snr_head):
    net = network(snr_head=snr_head).eval()
    once, thrice = (net.outputs(picture, VALIDATION.iq, rotations=turns) for turns in (1, 3))
    golden = pi * (3 - sqrt(5))  # radians
    with torch.no_grad():
        said = [net(picture(VALIDATION.iq * cmath.rect(1, turn * golden))) for turn in range(3)]
    modulation = torch.stack([output.modulation.log_softmax(1) for output in said]).mean(0)
    snr = [o.snr if snr_head == "regression" else o.snr.log_softmax(1) for o in said]
    assert_close(thrice.modulation, modulation, rtol=1e-4, atol=1e-4)
    assert_close(thrice.snr, torch.stack(snr).mean(0), rtol=1e-4, atol=1e-4)
    assert_close(once.modulation, said[0].modulation)
    assert (thrice.modulation - once.modulation.log_softmax(1)).abs().max() > 1e-3
    decided = training.predict(net, picture, VALIDATION.iq, rotations=3)
    assert torch.equal(decided.modulation, modulation.argmax(1))


@pytest.mark.parametrize(
    ("count", "options", "complaint"),
    [(0, {}, "There are no frames"), (1, {"rotations": 0}, "rotations must be 1 or more")],
)
def test_what_cannot_be_predicted_is_refused(count, options, complaint):
    with pytest.raises(InputError, match=complaint):
        training.predict(network(), picture, VALIDATION.iq[:count], **options)


def test_predicting_leaves_the_network_in_the_mode_it_was_in():
    net = network().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    training.predict(net, picture, VALIDATION.iq)
    assert net.training
    assert same_bits(before, net.state_dict())
