"""Metrics agree with hand-computed toys, with scikit-learn, and with slow resampling of frames."""

from math import isnan, nan, sqrt

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import confusion_matrix, f1_score

from modsnr import InputError, metrics
from modsnr.metrics import Answers
from modsnr.metrics.scores import f1_per_class, macro_f1

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


# Snapping


@pytest.mark.parametrize(
    ("estimates", "grid", "found"),
    [
        ([-50.0, -0.1, 0.9, 1.1, 2.9, 3.1, 5.1, 99.0], GRID, [0, 0, 0, 1, 1, 2, 3, 3]),
        ([1.0, 3.0, 5.0], GRID, [0, 1, 2]),  # halfway goes to the lower
        ([-9.0, 3.0, 80.0], [4.0], [0, 0, 0]),  # a grid of one SNR takes every estimate
        ([nan], GRID, [-1]),
    ],
)
def test_an_estimate_goes_to_the_nearest_grid_point_and_beyond_the_grid_to_its_ends(
    estimates, grid, found
):
    assert_array_equal(metrics.snap(np.array(estimates), np.array(grid)), found)


def test_snapping_equals_a_literal_search_on_an_uneven_grid(rng):
    grid = np.sort(rng.normal(0, 10, 9))
    estimates = rng.normal(0, 15, 200)
    literal = [min(range(9), key=lambda i, x=x: abs(grid[i] - x)) for x in estimates]
    assert_array_equal(metrics.snap(estimates, grid), literal)


# Answers


@pytest.mark.parametrize(
    ("modulation", "estimate", "modulation_right", "snr_right"),
    [
        ([0, 1, 0, 1], [6.0, 0.0, 4.4, 5.2], [1, 1, 0, 0], [0, 0, 1, 1]),  # never both
        ([0, 1, 0, 1], [0.0, 2.0, 0.0, 0.0], [1, 1, 0, 0], [1, 1, 0, 0]),  # the errors coincide
        ([0, 1, 2, 0], [nan, nan, nan, nan], [1, 1, 1, 1], [0, 0, 0, 0]),  # no number is no SNR
    ],
)
def test_an_answer_is_right_where_both_are_and_joint_accuracy_is_no_product(
    modulation, estimate, modulation_right, snr_right
):
    answers = Answers([0, 1, 2, 0], GRID, modulation, estimate, GRID)
    both = np.array(modulation_right) * np.array(snr_right)
    assert_array_equal(answers.modulation_right(), modulation_right)
    assert_array_equal(answers.snr_right(), snr_right)
    assert_array_equal(answers.right(), both)
    assert answers.accuracies() == {
        "joint_accuracy": both.mean(),
        "modulation_accuracy": np.mean(modulation_right),
        "snr_accuracy": np.mean(snr_right),
    }


def test_answers_of_a_run_are_those_of_its_saved_columns_and_tensors_are_taken_as_they_are():
    columns = {
        "modulation": [0, 1], "snr_db": [0.0, 10.0],
        "predicted_modulation": torch.tensor([0, 1]), "predicted_snr_db": torch.tensor([4.9, 0.0]),
        "grid_db": [0.0, 10.0], "classes": np.array(["a", "b"]),
    }  # fmt: skip
    answers = Answers.from_predictions(columns)
    assert (len(answers), answers.classes) == (2, ("a", "b"))
    assert_array_equal(answers.outcomes()["joint"], [True, False])


def test_answers_to_other_frames_are_refused():
    with pytest.raises(InputError, match=r"the same frames.*'predicted_snr_db': 1"):
        Answers([0, 1], [0.0, 2.0], [0, 1], [0.0], GRID)


# Confusion and F1


def test_confusion_is_that_of_scikit_learn(rng):
    truth, predicted = random_labels(rng)
    assert_array_equal(metrics.confusion(truth, predicted, 5), confusion_matrix(truth, predicted))


def test_both_confusions_are_those_of_the_two_answers_with_the_snr_snapped():
    of_modulation, of_snr = metrics.confusion_pair(
        Answers([0, 1], [0.0, 6.0], [1, 1], [1.2, 99.0], [0.0, 2.0, 6.0], ("a", "b"))
    )
    assert_array_equal(of_modulation, [[0, 1], [0, 1]])
    assert_array_equal(of_snr, [[0, 1, 0], [0, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize("predicted", [[0, 3], [0, -1]])
def test_confusion_refuses_labels_that_are_no_class(predicted):
    with pytest.raises(InputError, match=r"0\.\.2"):
        metrics.confusion(np.array([0, 1]), np.array(predicted), 3)


@pytest.mark.parametrize("absent", [0, 2])
def test_f1_is_that_of_scikit_learn_and_classes_that_never_occur_do_not_count(rng, absent):
    truth, predicted = random_labels(rng)
    matrix = metrics.confusion(truth, predicted, 5 + absent)
    of_class = [*f1_score(truth, predicted, average=None), *[0] * absent]
    assert_allclose(f1_per_class(matrix), of_class)
    assert_allclose(macro_f1(matrix), f1_score(truth, predicted, average="macro"))


@pytest.mark.parametrize("statistic", [f1_per_class, macro_f1, metrics.attractor_index])
def test_a_statistic_of_a_stack_of_matrices_is_the_stack_of_their_statistics(rng, statistic):
    stack = rng.integers(20, size=(7, 4, 4))
    assert_array_equal(statistic(stack), [statistic(matrix) for matrix in stack])


def test_the_attractor_index_is_one_for_perfect_predictions_and_their_number_for_a_black_hole():
    assert metrics.attractor_index(np.diag([40, 40, 20, 7])) == 1.0
    hole = np.zeros((16, 16), int)
    hole[:, 14] = 25  # every frame of every SNR is called 28 dB
    assert metrics.attractor_index(hole) == 16.0
    found = values(of_snrs(np.repeat(GRID, 10), np.full(40, 4.0)))
    assert (found["attractor_snr_db"], found["attractor_index"]) == (4.0, 4.0)


# Intervals


@pytest.mark.parametrize(("right", "frames"), [(0, 5), (5, 5), (3, 50), (999, 1000), (7, 20)])
def test_the_interval_of_a_share_is_wilsons(right, frames):
    found = metrics.share(np.arange(frames) < right)
    z = 1.959964
    middle = (right + z**2 / 2) / (frames + z**2)
    reach = z * sqrt(right * (frames - right) / frames + z**2 / 4) / (frames + z**2)
    assert_allclose([found["low"], found["high"]], [middle - reach, middle + reach], atol=1e-6)
    assert 0 <= found["low"] <= found["value"] == right / frames <= found["high"] <= 1
    assert found == metrics.share_of(right, frames) == metrics.mean_interval(
        np.arange(frames) < right
    )  # fmt: skip


def test_of_no_frames_there_is_no_share():
    with pytest.raises(InputError, match="no frames to take a share of"):
        metrics.share(np.zeros(0, bool))


@pytest.mark.parametrize(("truth", "frames"), [(0.998, 50), (0.995, 100), (0.02, 50), (0.7, 40)])
def test_a_shares_interval_covers_it_though_nearly_all_frames_are_alike(rng, truth, frames):
    counts = rng.binomial(frames, truth, 2000)
    found = {count: metrics.share_of(int(count), frames) for count in np.unique(counts)}
    covered = np.mean([found[count]["low"] <= truth <= found[count]["high"] for count in counts])
    assert covered > 0.9


def test_the_interval_of_real_values_is_as_wide_as_the_normal_approximation_says(rng):
    draws = rng.exponential(2.0, 2000)
    found = metrics.mean_interval(draws, rng)
    assert found["value"] == draws.mean()
    assert_allclose(width(found), 2 * 1.96 * draws.std() / sqrt(2000), rtol=0.08)
    constant = metrics.mean_interval(np.full(30, 2.5), rng)
    assert constant == {"value": 2.5, "low": 2.5, "high": 2.5}
    few, many = (metrics.mean_interval(np.arange(n) % 2, rng) for n in (400, 6400))
    assert_allclose(width(few) / width(many), 4.0, rtol=0.15)


def test_resampling_a_confusion_matrix_equals_resampling_its_frames(rng):
    truth, predicted = random_labels(rng, frames=300, classes=3)
    found = metrics.interval(macro_f1, metrics.confusion(truth, predicted, 3), rng)
    literal = []
    for _ in range(2000):
        rows = rng.integers(300, size=300)
        literal.append(macro_f1(metrics.confusion(truth[rows], predicted[rows], 3)))
    # The Monte Carlo error of a 2.5 % quantile of 2,000 draws is about a twentieth of the spread.
    slack = 0.3 * np.std(literal)
    assert_allclose([found["low"], found["high"]], np.quantile(literal, [0.025, 0.975]), atol=slack)


def test_the_interval_of_the_attractor_index_holds_where_no_snr_draws_more_than_its_share(rng):
    """Resampling inflates a maximum: percentiles would lie above one, which is the truth."""
    covered = 0
    for _ in range(40):
        truth = np.repeat(np.arange(16), 60)
        said = (truth + rng.choice([-1, 0, 1], len(truth), p=[0.2, 0.6, 0.2])) % 16
        matrix = metrics.confusion(truth, said, 16)
        found = metrics.interval(metrics.attractor_index, matrix, rng, least=1.0)
        assert 1.0 <= found["low"] <= found["value"] <= found["high"]
        covered += found["low"] <= 1.02
    assert covered > 30


def test_rates_are_those_of_all_and_of_each_label_and_real_values_need_a_generator(rng):
    of, shares = np.repeat([10, 20], 20), rng.random(40)
    found = metrics.rates(shares < 0.5, of)
    assert list(found.label) == ["all", "10", "20"]
    assert metrics.nested(found, "label")["20"] == metrics.share(shares[20:] < 0.5)
    drawn = metrics.rates(shares, of, np.random.default_rng(3))
    whole = metrics.mean_interval(shares, np.random.default_rng(3))
    assert metrics.nested(drawn, "label")["all"] == whole
    with pytest.raises(InputError, match="float64 need a generator"):
        metrics.rates(shares, of)


# The paired difference


def test_the_difference_is_that_of_the_means_and_changes_sign_with_the_order(rng):
    first, second = rng.random(500) < 0.8, rng.random(500) < 0.6
    gap, back = metrics.difference(first, second), metrics.difference(second, first)
    assert_allclose(gap["value"], first.mean() - second.mean())
    assert_allclose(back["value"], -gap["value"])
    assert gap["low"] > 0 > back["high"]


def test_the_difference_is_paired_and_narrower_than_two_models_apart(rng):
    first = rng.random(2000) < 0.7
    second = first ^ (rng.random(2000) < 0.02)  # the same answers but for one in fifty
    paired = metrics.difference(first, second)
    apart = sqrt(sum(width(metrics.share(one)) ** 2 for one in (first, second)))
    assert_allclose(width(paired), 2 * 1.96 * sqrt(0.02 / 2000), rtol=0.2)
    assert width(paired) < apart / 4
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


def test_models_tested_on_different_frames_are_not_compared():
    with pytest.raises(InputError, match="3 and 1"):
        metrics.difference(np.array([True, False, True]), np.array([True]))


# Calibration


def test_calibration_of_four_frames_an_snr_is_what_a_hand_counts():
    truth = np.repeat([0.0, 2.0], 4)
    estimate = np.array([-2.0, -1.0, 1.0, 2.0, 2.0, 2.5, 3.0, 4.5])
    found = metrics.calibration(of_snrs(truth, estimate, [0.0, 2.0])).nested()
    assert found["bias_db"]["value"] == 0.5
    assert found["slope"]["value"] == 1.5  # the means are 0 and 3 dB, 2 dB apart
    assert found["within_half_step"]["value"] == 5 / 8  # half a step away is within
    low, high = found["at_db"]["0"], found["at_db"]["2"]
    assert (low["frames"], low["median_db"], low["bias_db"]["value"]) == (4, 0.0, 0.0)
    assert (high["frames"], high["median_db"], high["bias_db"]["value"]) == (4, 2.75, 1.0)
    assert_allclose([low["low_db"], low["high_db"]], [-1.85, 1.85])  # 0.15 of a gap inwards
    assert (low["from_db"], low["to_db"], high["from_db"], high["to_db"]) == (-1, 1, 1, 3)


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
    found = metrics.calibration(of_snrs(truth, estimate)).nested()["slope"]
    literal = []
    for _ in range(2000):
        rows = rng.integers(400, size=400)
        literal.append(np.polyfit(truth[rows], estimate[rows], 1)[0])
    slack = 0.3 * np.std(literal)
    assert_allclose(found["value"], np.polyfit(truth, estimate, 1)[0])
    assert_allclose([found["low"], found["high"]], np.quantile(literal, [0.025, 0.975]), atol=slack)


@pytest.mark.parametrize("measure", [metrics.calibration, metrics.summary])
def test_nothing_and_what_is_no_number_cannot_be_summarised(measure):
    with pytest.raises(InputError, match="no frames"):
        measure(of_snrs([], []))
    with pytest.raises(InputError, match="1 of 4 SNR estimates"):
        measure(of_snrs(GRID, [0.0, nan, 1.0, 2.0]))


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


def test_accuracy_at_an_snr_is_that_of_its_frames_alone_and_needs_some():
    answers = Answers(
        [0, 1, 0, 1], [0.0, 0.0, 2.0, 2.0], [0, 0, 0, 1], [0.0, 0.5, 9.0, 1.5], [0.0, 2.0, 4.0],
        ("a", "b"),
    )  # fmt: skip
    found = values(answers)
    assert {key: value for key, value in found.items() if key[0].endswith("_at_db")} == {
        ("joint_accuracy_at_db", "0"): 0.5, ("joint_accuracy_at_db", "2"): 0.5,
        ("modulation_accuracy_at_db", "0"): 0.5, ("modulation_accuracy_at_db", "2"): 1.0,
        ("snr_accuracy_at_db", "0"): 1.0, ("snr_accuracy_at_db", "2"): 0.5,
    }  # fmt: skip


def test_bands_are_the_studys_and_average_the_f1_of_their_snrs():
    edges = [-20, -2, 0, 14, 16, 30]
    truth = np.array(edges, float)
    found = values(of_snrs(truth, np.where(truth < 0, 0.0, truth), edges))  # low: never predicted
    assert found["snr_f1_low"] == 0.0
    assert_allclose(found["snr_f1_middle"], (2 * 1 / (3 + 1) + 1) / 2)
    assert found["snr_f1_high"] == 1.0
    assert isnan(values(of_snrs([8.0, 14.0], [8.0, 14.0], [8.0, 14.0]))["snr_f1_low"])  # no SNR


def test_the_interval_of_the_rms_error_is_the_root_of_that_of_the_mean_square():
    truth = np.full(3000, 2.0)
    error = np.random.default_rng(3).normal(0, 2.0, 3000)
    table = metrics.summary(of_snrs(truth, truth + error)).set_index("metric")
    rmse = table.loc["snr_rmse_db"]
    assert rmse.low < 2.0 < rmse.high
    # The standard error of a Gaussian's standard deviation is sigma / sqrt(2 n).
    assert_allclose(width(rmse), 2 * 1.96 * 2.0 / sqrt(2 * 3000), rtol=0.1)


def test_every_interval_holds_its_value_and_the_same_seed_gives_the_same(rng):
    answers = random_answers(rng)
    first, again, other = (metrics.summary(answers, seed=seed) for seed in (5, 5, 6))
    found = first.dropna()
    assert len(found) == 3 + 2 + 2 + 1 + 3 + 4 + 3 * 4 + 1
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
    named = ROWS.drop(columns=["metric", "part"]).head(1)
    interval = {"value": 0.5, "low": 0.25, "high": 0.625}
    assert metrics.records(named, "share") == [{"model": "x", "share": interval}]


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
