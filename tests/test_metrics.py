"""Metrics agree with hand-computed toys, with scikit-learn, and with slow resampling of frames."""

from math import isnan, nan, sqrt

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import confusion_matrix, f1_score

from modsnr import InputError, metrics
from modsnr.metrics import Answers
from modsnr.metrics.intervals import interval
from modsnr.metrics.scores import confusion, f1_per_class, macro_f1

GRID = np.array([0.0, 2.0, 4.0, 6.0])


def width(interval):
    return interval["high"] - interval["low"]


def random_labels(rng, frames=600, classes=5):
    """Return truth and predictions that agree in about half of the frames."""
    truth = rng.integers(classes, size=frames)
    guess = rng.integers(classes, size=frames)
    return truth, np.where(rng.random(frames) < 0.5, truth, guess)


def random_answers(rng, frames=400, grid=GRID):
    modulation, predicted = random_labels(rng, frames, 3)
    snr_db = rng.choice(grid, frames)
    estimate = snr_db + rng.normal(0, 1.5, frames)
    return Answers(modulation, snr_db, predicted, estimate, grid, ("a", "b", "c"))


def of_snrs(snr_db, estimate, grid=GRID):
    """Return answers that are all right in their modulation."""
    right = np.zeros(len(snr_db), int)
    return Answers(right, np.asarray(snr_db, float), right, np.asarray(estimate), grid, ("a",))


def values(answers, **options):
    """Return metric, or (metric, part), -> value of a summary."""
    table = metrics.summary(answers, **options)
    return {(m, p) if p else m: v for m, p, v in table[["metric", "part", "value"]].to_numpy()}


def test_an_estimate_goes_to_the_nearest_grid_point_and_beyond_the_grid_to_its_ends():
    estimates = np.array([-50.0, -0.1, 0.9, 1.1, 2.9, 3.1, 5.1, 99.0, nan])
    assert_array_equal(metrics.snap(estimates, GRID), [0, 0, 0, 1, 1, 2, 3, 3, -1])
    assert_array_equal(metrics.snap(GRID + 1, GRID), [0, 1, 2, 3])  # halfway goes to the lower
    assert_array_equal(metrics.snap(GRID, [4.0]), 0)  # a grid of one SNR takes every estimate


@pytest.mark.parametrize(
    ("modulation", "estimate", "right"),
    [
        ([0, 1, 0, 1], [6.0, 0.0, 4.4, 5.2], [0, 0, 0, 0]),  # half of either, but never both
        ([0, 1, 0, 1], [0.0, 2.0, 0.0, 0.0], [1, 1, 0, 0]),  # the errors coincide
        ([0, 1, 2, 0], [nan, nan, nan, nan], [0, 0, 0, 0]),  # no number is no SNR
    ],
)
def test_an_answer_is_right_where_both_are_and_joint_accuracy_is_no_product(
    modulation, estimate, right
):
    answers = Answers([0, 1, 2, 0], GRID, modulation, estimate, GRID)
    assert_array_equal(answers.right(), right)
    assert answers.accuracies() == {
        "joint_accuracy": np.mean(right),
        "modulation_accuracy": np.mean(np.equal(modulation, [0, 1, 2, 0])),
        "snr_accuracy": np.mean(np.abs(np.subtract(estimate, GRID)) < 1),
    }


# Confusion and F1


def test_both_confusions_are_those_of_scikit_learn_with_the_snr_snapped(rng):
    answers = random_answers(rng)
    of_modulation, of_snr = metrics.confusion_pair(answers)
    expected = confusion_matrix(answers.modulation, answers.predicted_modulation)
    assert_array_equal(of_modulation, expected)
    nearest = np.abs(answers.predicted_snr_db[:, None] - GRID).argmin(1)
    assert_array_equal(of_snr, confusion_matrix(answers.snr_db / 2, nearest))
    for no_class in (3, -1):
        with pytest.raises(InputError, match=r"0\.\.2"):
            confusion(np.array([0, 1]), np.array([0, no_class]), 3)


@pytest.mark.parametrize("absent", [0, 2])
def test_f1_is_that_of_scikit_learn_and_classes_that_never_occur_do_not_count(rng, absent):
    truth, predicted = random_labels(rng)
    matrix = confusion(truth, predicted, 5 + absent)
    of_class = [*f1_score(truth, predicted, average=None), *[0] * absent]
    assert_allclose(f1_per_class(matrix), of_class)
    assert_allclose(macro_f1(matrix), f1_score(truth, predicted, average="macro"))


def test_the_attractor_index_is_one_for_perfect_predictions_and_their_number_for_a_black_hole():
    assert metrics.attractor_index(np.diag([40, 40, 20, 7])) == 1.0
    hole = np.zeros((16, 16), int)
    hole[:, 14] = 25  # every frame of every SNR is called 28 dB
    assert metrics.attractor_index(hole) == 16.0
    found = values(of_snrs(np.repeat(GRID, 10), np.full(40, 4.0)))
    assert (found["attractor_snr_db"], found["attractor_index"]) == (4.0, 4.0)


# Intervals


@pytest.mark.parametrize(("right", "frames"), [(0, 5), (5, 5), (999, 1000)])
def test_the_interval_of_a_share_is_wilsons(right, frames):
    hits, z = np.arange(frames) < right, 1.959964
    found = metrics.share(hits)
    middle = (right + z**2 / 2) / (frames + z**2)
    reach = z * sqrt(right * (frames - right) / frames + z**2 / 4) / (frames + z**2)
    assert_allclose([found["low"], found["high"]], [middle - reach, middle + reach], atol=1e-6)
    assert found["value"] == right / frames
    assert found == metrics.share_of(right, frames) == metrics.mean_interval(hits)


def test_the_interval_of_real_values_is_as_wide_as_the_normal_approximation_says(rng):
    draws = rng.exponential(2.0, 2000)
    found = metrics.mean_interval(draws, rng)
    assert found["value"] == draws.mean()
    assert_allclose(width(found), 2 * 1.96 * draws.std() / sqrt(2000), rtol=0.08)
    constant = metrics.mean_interval(np.full(30, 2.5), rng)
    assert constant == {"value": 2.5, "low": 2.5, "high": 2.5}


def test_resampling_a_confusion_matrix_equals_resampling_its_frames(rng):
    truth, predicted = random_labels(rng, frames=300, classes=3)
    found = interval(macro_f1, confusion(truth, predicted, 3), rng)
    literal = []
    for _ in range(2000):
        rows = rng.integers(300, size=300)
        literal.append(macro_f1(confusion(truth[rows], predicted[rows], 3)))
    # The Monte Carlo error of a 2.5 % quantile of 2,000 draws is about a twentieth of the spread.
    slack = 0.3 * np.std(literal)
    assert_allclose([found["low"], found["high"]], np.quantile(literal, [0.025, 0.975]), atol=slack)


def test_the_interval_of_the_attractor_index_holds_where_no_snr_draws_more_than_its_share(rng):
    """Resampling inflates a maximum: percentiles would lie above one, which is the truth."""
    covered = 0
    for _ in range(40):
        truth = np.repeat(np.arange(16), 60)
        said = (truth + rng.choice([-1, 0, 1], len(truth), p=[0.2, 0.6, 0.2])) % 16
        matrix = confusion(truth, said, 16)
        found = interval(metrics.attractor_index, matrix, rng, least=1.0)
        assert 1.0 <= found["low"] <= found["value"] <= found["high"]
        covered += found["low"] <= 1.02
    assert covered > 30


def test_rates_are_those_of_all_and_of_each_label(rng):
    of, shares = np.repeat([10, 20], 20), rng.random(40)
    found = metrics.rates(shares < 0.5, of)
    assert list(found.label) == ["all", "10", "20"]
    assert metrics.nested(found, "label")["20"] == metrics.share(shares[20:] < 0.5)
    drawn = metrics.rates(shares, of, np.random.default_rng(3))
    whole = metrics.mean_interval(shares, np.random.default_rng(3))
    assert metrics.nested(drawn, "label")["all"] == whole


# The paired difference


def test_the_difference_is_paired_and_narrower_than_two_models_apart(rng):
    first = rng.random(2000) < 0.7
    second = first ^ (rng.random(2000) < 0.02)  # the same answers but for one in fifty
    paired, back = metrics.difference(first, second), metrics.difference(second, first)
    assert_allclose(paired["value"], first.mean() - second.mean())
    assert_allclose(back["value"], -paired["value"])
    assert_allclose(width(paired), 2 * 1.96 * sqrt(0.02 / 2000), rtol=0.2)
    same = metrics.difference(first[:200], first[:200])
    assert same["value"] == 0.0
    assert -0.015 < same["low"] == -same["high"] < 0  # on other frames they may differ: 1.96 / 202


@pytest.mark.parametrize("lost", [0.0, 0.01, 0.1])
def test_a_differences_interval_covers_it_though_few_answers_differ(rng, lost):
    """Of a model that is right on nine of ten, and another that loses some of them."""
    covered = 0
    for _ in range(2000):
        first = rng.random(100) < 0.9
        second = first & (rng.random(100) >= lost)
        found = metrics.difference(first, second)
        covered += found["low"] <= 0.9 * lost <= found["high"]
    assert covered > 0.92 * 2000


# Calibration


def test_calibration_of_four_frames_an_snr_is_what_a_hand_counts():
    truth = np.repeat([0.0, 2.0], 4)
    estimate = np.array([-2.0, -1.0, 1.0, 2.0, 2.0, 2.5, 3.0, 4.5])
    found = metrics.calibration(of_snrs(truth, estimate, [0.0, 2.0]))
    scores, at_db = found.scores.set_index("metric").value, found.at_db.set_index("snr_db")
    assert scores.bias_db == 0.5
    assert scores.slope == 1.5  # the means are 0 and 3 dB, 2 dB apart
    assert scores.within_half_step == 5 / 8  # half a step away is within
    assert at_db.frames.tolist() == [4, 4]
    assert at_db.median_db.tolist() == [0.0, 2.75]
    assert at_db.value.tolist() == [0.0, 1.0]
    assert_allclose(at_db.loc[0, ["low_db", "high_db"]].tolist(), [-1.85, 1.85])  # 0.15 inwards
    assert at_db[["from_db", "to_db"]].to_numpy().tolist() == [[-1, 1], [1, 3]]


@pytest.mark.parametrize(
    ("truth", "estimate", "grid", "within"),
    [
        (np.tile(GRID, 25), np.tile(GRID, 25), GRID, 1.0),  # perfect
        (np.tile(GRID, 25), np.full(100, 4.0), GRID, 0.25),  # a black hole
        (GRID, [-9.0, 2.0, 4.0, 40.0], GRID, 0.5),  # snapped right, but far beyond the grid
        ([0.0, 2.0, 10.0], [1.5, 5.9, 5.9], [0.0, 2.0, 10.0], 1 / 3),  # an uneven grid
        ([4.0, 4.0, 4.0], [3.0, 4.0, 50.0], [4.0], 1.0),  # one SNR: neither slope nor step
    ],
)
def test_how_many_estimates_are_within_half_a_step_and_how_they_follow_the_truth(
    truth, estimate, grid, within
):
    scores, at_db = metrics.calibration(of_snrs(truth, estimate, grid))
    found = scores.set_index("metric").value
    slope = np.polyfit(truth, estimate, 1)[0] if len(grid) > 1 else nan
    assert found.within_half_step == within
    assert found.slope == pytest.approx(slope, abs=1e-9, nan_ok=True)
    assert_allclose(at_db.to_db[:-1], grid[:-1] + np.diff(grid) / 2)
    assert_allclose(at_db.from_db[1:], at_db.to_db[:-1])
    assert at_db.from_db.isna().all() == (len(grid) == 1)


def test_the_slopes_interval_is_that_of_resampled_frames(rng):
    truth = rng.choice(GRID, 400)
    estimate = 0.8 * truth + rng.normal(0, 0.2 + truth / 3)  # a spread that grows with the SNR
    found = metrics.calibration(of_snrs(truth, estimate)).scores.iloc[0]
    literal = []
    for _ in range(2000):
        rows = rng.integers(400, size=400)
        literal.append(np.polyfit(truth[rows], estimate[rows], 1)[0])
    slack = 0.3 * np.std(literal)
    assert_allclose(found["value"], np.polyfit(truth, estimate, 1)[0])
    assert_allclose([found["low"], found["high"]], np.quantile(literal, [0.025, 0.975]), atol=slack)


NOTHING = np.zeros(0, bool)


@pytest.mark.parametrize(
    ("call", "refusal"),
    [
        (lambda: metrics.calibration(of_snrs([], [])), "no frames"),
        (lambda: metrics.summary(of_snrs([], [])), "no frames"),
        (lambda: metrics.summary(of_snrs(GRID, [0.0, nan, 1.0, 2.0])), "1 of 4 SNR estimates"),
        (lambda: metrics.share(NOTHING), "no frames to take a share of"),
        (lambda: metrics.rates(np.ones(2), np.ones(2)), "float64 need a generator"),
        (lambda: metrics.difference(GRID > 1, NOTHING), "4 and 0"),
        (lambda: Answers([0, 1], [0.0, 2.0], [0, 1], [0.0], GRID), "'predicted_snr_db': 1"),
    ],
)
def test_what_cannot_be_summarised_or_compared_is_refused(call, refusal):
    with pytest.raises(InputError, match=refusal):
        call()


# The summary


def test_the_summary_says_what_its_parts_say(rng):
    answers = random_answers(rng, 500)
    found = values(answers)
    for name, value in answers.accuracies().items():
        assert_allclose(found[name], value)
    of = answers.modulation, answers.predicted_modulation
    bins = answers.true_bin(), answers.predicted_bin()
    error = answers.predicted_snr_db - answers.snr_db
    assert_allclose(found["snr_mae_db"], np.abs(error).mean())
    assert_allclose(found["snr_rmse_db"], sqrt((error**2).mean()))
    assert_allclose(found["modulation_macro_f1"], f1_score(*of, average="macro"))
    assert_allclose(found["snr_macro_f1"], f1_score(*bins, average="macro"))
    of_class = [found["modulation_f1", name] for name in "abc"]
    assert_allclose(of_class, f1_score(*of, average=None))
    assert_allclose([found["snr_f1", snr] for snr in "0246"], f1_score(*bins, average=None))
    at_db = [answers.right()[answers.snr_db == snr].mean() for snr in GRID]
    assert_allclose([found["joint_accuracy_at_db", snr] for snr in "0246"], at_db)
    assert found["snr_accuracy_worst"] == min(found["snr_accuracy_at_db", snr] for snr in "0246")


def test_bands_are_the_studys_and_average_the_f1_of_their_snrs():
    edges = [-20, -2, 0, 14, 16, 30]
    truth = np.array(edges, float)
    found = values(of_snrs(truth, np.where(truth < 0, 0.0, truth), edges))  # low: never predicted
    assert found["snr_f1_low"] == 0.0
    assert_allclose(found["snr_f1_middle"], (2 * 1 / (3 + 1) + 1) / 2)
    assert found["snr_f1_high"] == 1.0
    assert isnan(values(of_snrs([8.0, 14.0], [8.0, 14.0], [8.0, 14.0]))["snr_f1_low"])  # no SNR


def test_every_interval_holds_its_value_and_the_same_seed_gives_the_same(rng):
    answers = random_answers(rng)
    first, again, other = (metrics.summary(answers, seed=seed) for seed in (5, 5, 6))
    found = first.dropna()
    assert (found.low <= found.value).all()
    assert (found.value <= found.high).all()
    pd.testing.assert_frame_equal(first, again)
    assert_array_equal(first.value, other.value)
    assert not first.equals(other)


# Tables


ROWS = pd.DataFrame(
    [
        ("x", "accuracy", "", 0.5, 0.25, 0.625),
        ("x", "at_db", "0", 0.5, 0.4, 0.6),
        ("x", "snr_db", "", 4.0, nan, nan),
        ("y", "accuracy", "", 0.75, 0.5, 1.0),
        ("y", "f1_low", "", nan, nan, nan),
        ("y", "ece", "", 0.1, 0.0, 0.2),
    ],
    columns=["model", "metric", "part", "value", "low", "high"],
)


def test_a_table_is_saved_as_nested_mappings():
    assert metrics.nested(ROWS, "model", "metric", "part") == {
        "x": {
            "accuracy": {"value": 0.5, "low": 0.25, "high": 0.625},
            "at_db": {"0": {"value": 0.5, "low": 0.4, "high": 0.6}},
            "snr_db": 4.0,
        },
        "y": {
            "accuracy": {"value": 0.75, "low": 0.5, "high": 1.0},
            "f1_low": None,
            "ece": {"value": 0.1, "low": 0.0, "high": 0.2},
        },
    }
    spread = pd.DataFrame({"group": ["g", "g"], "snr_db": [0.0, 2.5], "mean": [1.0, 2.0]})
    by_snr = {"0": {"mean": 1.0}, "2.5": {"mean": 2.0}}
    assert metrics.nested(spread, "group", "snr_db") == {"g": by_snr}


def test_models_stand_side_by_side_as_text():
    assert metrics.side_by_side(ROWS).to_dict("records") == [
        {"metric": "accuracy", "x": "0.500 [0.250, 0.625]", "y": "0.750 [0.500, 1.000]"},
        {"metric": "ece", "x": "", "y": "0.100 [0.000, 0.200]"},
    ]


def test_a_wide_table_has_a_column_for_each_end():
    found = metrics.wide(ROWS[ROWS.metric.isin(["accuracy", "ece"])].drop(columns="part"), "metric")
    ends = [f"{name}_{end}" for name in ("accuracy", "ece") for end in ("value", "low", "high")]
    assert list(found) == ["model", *ends]
    assert list(found.accuracy_low) == [0.25, 0.5]
    assert found.ece_high.isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("interval", "ends", "said"),
    [
        ((0.1, 0.3), {"above": 0}, "holds"),
        ((0.0, 0.0), {"above": 0}, "not decided"),
        ((-0.3, -0.1), {"above": 0}, "contradicted"),
        ((0.05, 0.20), {"above": 0.11, "below": 0.13}, "not decided"),
        ((0.14, 0.20), {"above": 0.11, "below": 0.13}, "contradicted"),
    ],
)
def test_a_verdict_follows_from_the_interval_and_the_claim(interval, ends, said):
    low, high = interval
    assert metrics.verdict({"low": low, "high": high}, **ends) == said
