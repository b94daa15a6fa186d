"""Likelihood classifiers agree with slow loops, closed forms and their problem's symmetries."""

from cmath import exp, phase
from functools import partial
from math import inf, log, nan, pi

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.testing import assert_close

from modsnr import InputError, limits, signals

WITHOUT_OFFSET = tuple(name for name in signals.STUDY_CLASSES if name != "OQPSK")


def send(modulation, es_n0_db, generator, *, frames=8, symbols=40, **options):
    """Return samples and late ones of one modulation at one Es/N0."""
    return limits.symbol_samples(
        torch.zeros(frames, dtype=torch.long),
        torch.full((frames,), float(es_n0_db)),
        [modulation],
        symbols=symbols,
        generator=generator,
        **options,
    )


def turned(samples, angle):
    return samples * exp(1j * angle)


def literal_log_likelihood(samples, es_n0_db, modulation):
    """Return the log of the mean over every symbol sent of exp(-distance^2 / noise), by loops."""
    noise = 10 ** (-es_n0_db / 10)
    points = signals.alphabet(modulation).tolist()
    found = []
    for frame in samples.tolist():
        total = 0.0
        for sample in frame:
            exponents = [-(abs(sample - point) ** 2) / noise for point in points]
            largest = max(exponents)
            total += largest + log(sum(np.exp(e - largest) for e in exponents) / len(points))
        found.append(total)
    return torch.tensor(found)


# Average likelihood


@pytest.mark.parametrize("es_n0_db", [-20.0, 3.0, 12.0, 40.0])
@pytest.mark.parametrize("sent", ["BPSK", "QPSK"])
def test_bpsk_and_qpsk_have_the_likelihoods_of_a_slow_loop(sent, es_n0_db, generator):
    samples, _ = send(sent, es_n0_db, generator, frames=3)
    scores = limits.average_log_likelihood(samples, es_n0_db, ("BPSK", "QPSK"))
    assert scores.dtype == torch.float32
    for column, name in enumerate(("BPSK", "QPSK")):
        literal = literal_log_likelihood(samples, es_n0_db, name)
        assert_close(scores[:, column], literal, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("name", [*WITHOUT_OFFSET, "OOK"])
def test_every_alphabet_has_the_likelihood_of_a_slow_loop(name, generator):
    samples, _ = send(name, 15.0, generator, frames=2)  # the crosses and squares by their levels
    found = limits.average_log_likelihood(samples, 15.0, [name])[:, 0]
    assert_close(found, literal_log_likelihood(samples, 15.0, name), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("score", [limits.average_log_likelihood, limits.hybrid_log_likelihood])
def test_scores_are_finite_from_twenty_below_to_forty_above_for_every_class(score, generator):
    es_n0_db = torch.tensor([-11.0, 49.0]).repeat_interleave(17)
    samples, late = limits.symbol_samples(
        torch.arange(17).repeat(2), es_n0_db, signals.STUDY_CLASSES, symbols=8, generator=generator
    )
    assert score(samples, es_n0_db, signals.STUDY_CLASSES, late=late).isfinite().all()


def test_one_symbol_of_bpsk_or_4ask_is_mistaken_as_often_as_the_densities_overlap(generator):
    es_n0_db, frames = 6.0, 20_000
    spread = (10 ** (-es_n0_db / 10) / 2) ** 0.5

    def density(x, name):
        points = signals.alphabet(name).real.numpy()
        return stats.norm.pdf(x, points, spread).mean()

    overlap, _ = integrate.quad(
        lambda x: min(density(x, "BPSK"), density(x, "4ASK")) / 2, -4, 4, limit=200
    )
    wrong = 0
    for column, name in enumerate(("BPSK", "4ASK")):
        samples, _ = send(name, es_n0_db, generator, frames=frames, symbols=1)
        scores = limits.average_log_likelihood(samples, es_n0_db, ("BPSK", "4ASK"))
        wrong += int((scores.argmax(1) != column).sum())
    found = stats.binomtest(wrong, 2 * frames).proportion_ci(0.999)
    assert found.low < overlap < found.high


def test_pure_noise_makes_every_class_as_likely_as_any_other(generator):
    samples, late = send("16QAM", -20.0, generator)
    scores = limits.average_log_likelihood(samples, -inf, signals.STUDY_CLASSES, late=late)
    assert_close(scores, torch.zeros_like(scores))


@pytest.mark.parametrize("score", [limits.average_log_likelihood, limits.hybrid_log_likelihood])
def test_relabelling_the_classes_relabels_the_scores(score, generator):
    classes = ("BPSK", "8PSK", "32APSK", "32QAM", "OQPSK")
    samples, late = send("32QAM", 12.0, generator)
    there = score(samples, 12.0, classes, late=late)
    back = score(samples, 12.0, classes[::-1], late=late)
    assert torch.equal(back, there.flip(1))


def test_each_frame_is_judged_by_its_own_snr_and_alone(generator):
    samples, late = send("8PSK", 10.0, generator, frames=4)
    levels = torch.tensor([0.0, 10.0, 20.0, 30.0])
    classes = ("8PSK", "16QAM", "OQPSK")
    together = limits.hybrid_log_likelihood(samples, levels, classes, late=late)
    for frame in range(4):
        alone = limits.hybrid_log_likelihood(
            samples[frame : frame + 1],
            levels[frame].item(),
            classes,
            late=late[frame : frame + 1],
        )
        assert_close(together[frame : frame + 1], alone, rtol=1e-5, atol=1e-2)


def test_more_frames_than_are_held_at_a_time_change_nothing(generator, monkeypatch):
    samples, late = send("OQPSK", 8.0, generator, frames=7)
    scored = partial(limits.hybrid_log_likelihood, samples, 8.0, ("16QAM", "OQPSK"), late=late)
    at_once = scored()
    monkeypatch.setattr(limits.classifiers, "FRAMES_AT_A_TIME", 3)
    monkeypatch.setattr(limits.mixtures, "PIECE", 50)
    assert_close(scored(), at_once)


# OQPSK


def test_oqpsk_and_qpsk_differ_by_the_correlations_with_what_either_sends(generator):
    # With the waveform's own energy left out, each is scored by its own matched filter's output:
    # the log of the mean of exp((2 Re z* s - 1) / noise), here at one symbol.
    es_n0_db, noise = 5.0, 10**-0.5
    samples, late = send("QPSK", es_n0_db, generator, frames=5, symbols=1)
    scores = limits.average_log_likelihood(samples, es_n0_db, ("QPSK", "OQPSK"), late=late)
    for frame in range(5):
        expected = []
        y, z = samples[frame, 0], samples[frame, 0].real + 1j * late[frame, 0].imag
        for output in (y, z):
            correlations = (output.conj() * signals.alphabet("QPSK")).real
            expected.append(((2 * correlations - 1) / noise).exp().mean().log())
        assert_close(
            (scores[frame, 1] - scores[frame, 0]).item(), (expected[1] - expected[0]).item(),
            rtol=1e-4, atol=1e-4,
        )  # fmt: skip


@pytest.mark.parametrize("score", [limits.average_log_likelihood, limits.hybrid_log_likelihood])
@pytest.mark.parametrize("sent", ["QPSK", "OQPSK"])
def test_oqpsk_and_qpsk_are_told_apart(score, sent, generator):
    samples, late = send(sent, 9.0, generator, frames=40, symbols=126)
    scores = score(samples, 9.0, ("QPSK", "OQPSK"), late=late)
    assert (scores.argmax(1) == ("QPSK", "OQPSK").index(sent)).all()


def test_the_ring_holds_symbols_in_white_noise_of_the_power_named(generator):
    for name in ("16QAM", "OQPSK"):
        samples, late = send(name, 60.0, generator, symbols=126, rolloff=0.1)
        seen = samples if name == "16QAM" else samples.real + 1j * late.imag
        apart = (seen.unsqueeze(2) - signals.alphabet(name)).abs().amin(2)
        assert apart.max() < 0.01
    noise, late = send("QPSK", -60.0, generator, frames=400, symbols=126)
    for part in (noise, late):
        assert_close(part.abs().square().mean().item(), 1e6, rtol=0.02, atol=0.0)
    assert (noise[:, 1:] * noise[:, :-1].conj()).mean().abs() < 0.02e6


def test_a_turning_carrier_passes_phase_zero_in_the_middle(generator):
    samples, _ = send("BPSK", 60.0, generator, frames=4, symbols=101, turn_std=1e-3)
    angle = samples.square().angle() / 2
    steps = np.unwrap(2 * angle.numpy(), axis=1) / 2
    assert np.abs(np.diff(steps, 2)).max() < 0.01  # steady
    assert np.abs(steps[:, 50] % pi - pi / 2).min() > pi / 2 - 0.02
    assert (np.abs(np.diff(steps)).mean(1) > 1e-4).all()


# Hybrid likelihood


@pytest.mark.parametrize("es_n0_db", [5.0, 38.0])
@pytest.mark.parametrize("name", signals.STUDY_CLASSES)
def test_the_own_class_is_as_likely_whatever_the_phase(name, es_n0_db, generator):
    samples, late = send(name, es_n0_db, generator, frames=6, symbols=126)
    score = partial(limits.hybrid_log_likelihood, es_n0_db=es_n0_db, classes=[name])
    upright = score(samples, late=late)
    known = limits.average_log_likelihood(samples, es_n0_db, [name], late=late)
    assert (upright > known - 0.1).all()  # a maximum is no less than its value at the truth
    for angle in (0.4, 2.9):
        found = score(turned(samples, angle), late=turned(late, angle))
        assert_close(found, upright, rtol=0, atol=1.5)  # nats, of 126 symbols; half of it float32


@pytest.mark.parametrize("name", ["8ASK", "16APSK", "64QAM", "OQPSK"])
def test_the_maximum_over_the_phase_is_that_of_a_fine_grid(name, generator):
    samples, late = send(name, 14.0, generator, frames=4)
    samples, late = turned(samples, 0.7), turned(late, 0.7)
    angles = torch.linspace(0, 2 * pi, 1500)
    back = torch.polar(torch.ones(1500), -angles).view(-1, 1, 1)
    fine = limits.average_log_likelihood(
        (back * samples).flatten(0, 1), 14.0, [name], late=(back * late).flatten(0, 1)
    )
    found = limits.hybrid_log_likelihood(samples, 14.0, [name], late=late)
    assert_close(found, fine.view(1500, 4, 1).amax(0), rtol=0, atol=0.02)


def test_the_maximum_for_bpsk_at_high_snr_is_the_energy_left_by_the_squared_mean(generator):
    # The best phase of +-1 makes |sum y^2| real; what is left of the energy is the quadrature's.
    samples, _ = send("BPSK", 25.0, generator, frames=5, symbols=60)
    found = limits.hybrid_log_likelihood(turned(samples, 1.1), 25.0, ["BPSK"])[:, 0]
    noise = 10**-2.5
    for frame, score in zip(samples.tolist(), found.tolist(), strict=True):
        angle = phase(sum(sample**2 for sample in frame)) / 2
        upright = [sample * exp(-1j * angle) for sample in frame]
        left = sum((abs(s.real) - 1) ** 2 + s.imag**2 for s in upright)
        assert score == pytest.approx(-left / noise - 60 * log(2), abs=0.05)


# Monte Carlo


def test_the_genie_tells_the_study_s_classes_apart_as_often_as_was_measured_before(generator):
    found = limits.genie_accuracy(
        signals.STUDY_CLASSES, (0, 4, 8, 12), frames=20, generator=generator
    )
    # 0.67 0.86 0.98 1.00 with OQPSK among the hard ones; four deviations of 340 frames.
    assert_close(found, np.array([0.68, 0.87, 0.985, 1.0]), rtol=0, atol=0.08)
    assert found[-1] == 1.0


def test_the_genie_guesses_where_there_is_noise_only(generator):
    classes, frames = ("QPSK", "8PSK", "16QAM"), 100
    found = limits.genie_accuracy(classes, (-60,), frames=frames, generator=generator)
    assert found[0] == pytest.approx(1 / 3, abs=4 * (2 / 9 / len(classes) / frames) ** 0.5)


def test_a_carrier_that_the_genie_does_not_know_costs_accuracy(generator):
    classes, es_n0_db = ("16QAM", "64QAM", "256QAM"), torch.full((90,), 23.0)
    labels = torch.arange(3).repeat(30)
    accuracy = []
    for turn_std in (0.0, 2e-3):
        samples, _ = limits.symbol_samples(
            labels, es_n0_db, classes, symbols=126, generator=generator, turn_std=turn_std
        )
        scores = limits.average_log_likelihood(samples, es_n0_db, classes)
        accuracy.append((scores.argmax(1) == labels).double().mean())
    assert accuracy[0] == 1.0
    assert accuracy[1] < 0.9


# Without learning

# One of each set of classes whose cumulants differ (Swami and Sadler 2000, Table I).
APART = ("BPSK", "4ASK", "QPSK", "8PSK", "16QAM")


@pytest.mark.parametrize("name", [*APART, "OOK"])
def test_many_symbols_have_the_cumulants_of_their_alphabet(name, generator):
    samples, _ = send(name, 8.0, generator, symbols=8000)
    for scale in (1.0, 7.0):
        found = limits.cumulant_tree(turned(scale * samples, 0.3), 8.0, (*APART, "OOK"))
        # OOK is BPSK beside a constant, which cumulants do not see.
        assert (found == APART.index("BPSK" if name == "OOK" else name)).all()


def test_the_tree_takes_noise_off_the_power(generator):
    samples, _ = send("QPSK", 3.0, generator, symbols=4000)
    classes = ("QPSK", "16QAM", "8PSK")
    assert (limits.cumulant_tree(samples, 3.0, classes) == 0).all()
    # Taken for free of noise, |C40| shrinks from 1 to (1 + 10^-0.3)^-2 = 0.44, C42 likewise.
    assert (limits.cumulant_tree(samples, 40.0, classes) == 1).all()


def test_a_line_is_never_taken_for_a_plane_unless_nothing_else_is_offered(generator):
    samples, _ = send("8ASK", 15.0, generator, symbols=1000)
    tree = partial(limits.cumulant_tree, samples, 15.0)
    assert (tree(("QPSK", "BPSK", "16QAM")) == 1).all()  # though QPSK's |C40| is nearer
    assert (tree(("QPSK", "16QAM")) == 0).all()


def test_the_psks_are_one_to_the_tree(generator):
    samples, _ = send("32PSK", 20.0, generator, symbols=1000)
    assert (limits.cumulant_tree(samples, 20.0, ("QPSK", "8PSK", "16PSK", "32PSK")) == 1).all()


def test_the_cascade_ignores_scale_and_phase(generator):
    for place, name in enumerate(("8PSK", "16QAM", "OQPSK")):
        samples, late = (turned(3 * part, 2.2) for part in send(name, 17.0, generator, symbols=126))
        found = limits.cascade(samples, 17.0, ("8PSK", "16QAM", "OQPSK"), late=late)
        assert (found == place).all()


def test_the_cascade_stands_and_falls_with_the_snr_it_is_given(generator):
    samples, _ = send("16QAM", 16.0, generator, frames=12, symbols=126)
    classes = ("QPSK", "16QAM", "64QAM", "256QAM")
    right, low, high = (limits.cascade(samples, given, classes) for given in (16.0, 2.0, 30.0))
    assert (right == 1).all()
    assert (low == 1).double().mean() < 0.5
    assert (high == 3).all()  # the finest alphabet explains noise best


@pytest.mark.parametrize("decide", [limits.cumulant_tree, limits.cascade])
def test_a_frame_without_any_signal_is_judged_all_the_same(decide, generator):
    samples, _ = send("QPSK", -60.0, generator)
    found = decide(samples, -inf, ("QPSK", "8PSK"))
    assert ((found == 0) | (found == 1)).all()


# Inputs that cannot be


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"samples": torch.zeros(2, 3)}, r"Samples must be complex .* torch.float32 \(2, 3\)"),
        ({"samples": torch.zeros(3, dtype=torch.complex64)}, r"complex \[frame, symbol\]"),
        ({"samples": torch.full((2, 3), nan + 0j)}, "Samples of 2 frames are not finite, first 0"),
        ({"classes": ("QPSK", "OQPSK")}, "needs the samples half a symbol later"),
        ({"late": torch.zeros(2, 4, dtype=torch.complex64)}, r"\(2, 4\) and \(2, 3\)"),
        ({"classes": ()}, "no class"),
        ({"classes": ("GMSK",)}, "GMSK is not linear"),
        ({"es_n0_db": torch.zeros(3)}, r"there are \(3,\) for 2 frames"),
        ({"es_n0_db": nan}, "NaN or inf"),
        ({"es_n0_db": inf}, "NaN or inf"),
    ],
)
@pytest.mark.parametrize("score", [limits.average_log_likelihood, limits.hybrid_log_likelihood])
def test_samples_that_cannot_be_judged_are_refused(score, changes, complaint):
    given = {
        "samples": torch.zeros(2, 3, dtype=torch.complex64), "es_n0_db": 0.0, "classes": ("QPSK",)
    }  # fmt: skip
    with pytest.raises(InputError, match=complaint):
        score(**(given | changes))
    if "late" not in changes and "OQPSK" not in changes.get("classes", ()):
        with pytest.raises(InputError, match=complaint):
            limits.cumulant_tree(**(given | changes))


@pytest.mark.parametrize(("snrs", "frames"), [((), 1), ((nan,), 1), ((0,), 0)])
def test_counting_nothing_is_refused(snrs, frames, generator):
    with pytest.raises(InputError, match="at least one frame"):
        limits.genie_accuracy(("QPSK",), snrs, frames=frames, generator=generator)
