"""Metrics agree with hand-computed toys, with scikit-learn, and with slow resampling of frames."""

from math import isnan, nan, sqrt

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, f1_score

from modsnr import InputError, metrics
from modsnr.metrics import Answers

GRID = np.array([0.0, 2.0, 4.0, 6.0])


def outcome(values):
    return {
        name: values[name] for name in ("joint_accuracy", "modulation_accuracy", "snr_accuracy")
    }


def width(interval):
    return interval["high"] - interval["low"]


def random_labels(rng, frames=600, classes=5):
    """Return truth and predictions that agree in about half of the frames."""
    truth = rng.integers(classes, size=frames)
    guess = rng.integers(classes, size=frames)
    return truth, np.where(rng.random(frames) < 0.5, truth, guess)


def summarise(rng, *, seed=0, frames=400, grid=GRID):
    modulation, predicted = random_labels(rng, frames, 3)
    snr_db = rng.choice(grid, frames)
    estimate = snr_db + rng.normal(0, 1.5, frames)
    return metrics.summary(
        Answers(modulation, snr_db, predicted, estimate, grid, ["a", "b", "c"]), seed=seed
    )


def calibration(snr_db, estimate, grid):
    nothing = np.zeros(len(snr_db), int)
    return metrics.calibration(Answers(nothing, snr_db, nothing, estimate, grid))


# Snapping


def test_an_estimate_goes_to_the_nearest_grid_point_and_beyond_the_grid_to_its_ends():
    estimates = np.array([-50.0, -0.1, 0.9, 1.1, 2.9, 3.1, 5.1, 99.0])
    assert_array_equal(metrics.snap(estimates, GRID), [0, 0, 0, 1, 1, 2, 3, 3])


def test_an_estimate_halfway_between_two_grid_points_goes_to_the_lower():
    assert_array_equal(metrics.snap(np.array([1.0, 3.0, 5.0]), GRID), [0, 1, 2])


def test_snapping_equals_a_literal_search_on_an_uneven_grid(rng):
    grid = np.sort(rng.normal(0, 10, 9))
    estimates = rng.normal(0, 15, 200)
    literal = [min(range(9), key=lambda i, x=x: abs(grid[i] - x)) for x in estimates]
    assert_array_equal(metrics.snap(estimates, grid), literal)


def test_a_grid_of_one_snr_takes_every_estimate():
    assert_array_equal(metrics.snap(np.array([-9.0, 3.0, 80.0]), np.array([4.0])), [0, 0, 0])


def test_an_estimate_that_is_no_number_is_right_at_no_snr():
    truth, estimates = GRID, np.full(4, nan)
    reached = Answers(np.zeros(4), truth, np.zeros(4), estimates, GRID).accuracies()
    assert outcome(reached) == {
        "joint_accuracy": 0.0, "modulation_accuracy": 1.0, "snr_accuracy": 0.0
    }  # fmt: skip


# Accuracies


def test_joint_accuracy_counts_frames_with_both_right_and_is_not_a_product():
    # Modulation is right in the first half, the SNR in the second: never both.
    modulation, snr_db = np.array([0, 1, 2, 0]), np.array([0.0, 2.0, 4.0, 6.0])
    reached = Answers(modulation, snr_db, [0, 1, 0, 1], [6.0, 0.0, 4.4, 5.2], GRID).accuracies()
    assert reached == {"joint_accuracy": 0.0, "modulation_accuracy": 0.5, "snr_accuracy": 0.5}


def test_joint_accuracy_is_the_smaller_one_where_the_errors_coincide():
    reached = Answers([0, 1, 2, 0], GRID, [0, 1, 0, 1], [0.0, 2.0, 0.0, 0.0], GRID).accuracies()
    assert reached["joint_accuracy"] == reached["modulation_accuracy"] == 0.5


def test_right_says_of_each_frame_which_answer_is_right():
    answers = Answers([0, 1, 2], [0.0, 2.0, 4.0], [0, 2, 2], [0.5, 2.5, 9.0], GRID)
    assert_array_equal(answers.modulation_right(), [True, False, True])
    assert_array_equal(answers.snr_right(), [True, True, False])
    assert_array_equal(answers.right(), [True, False, False])


def test_answers_of_a_run_are_those_of_its_saved_columns_and_tensors_are_taken_as_they_are():
    columns = {
        "modulation": [0, 1], "snr_db": [0.0, 10.0],
        "predicted_modulation": torch.tensor([0, 1]), "predicted_snr_db": torch.tensor([4.9, 0.0]),
        "grid_db": [0.0, 10.0], "classes": np.array(["a", "b"]),
    }  # fmt: skip
    answers = Answers.from_predictions(columns)
    assert answers.classes == ("a", "b")
    assert_array_equal(answers.outcomes()["joint"], [True, False])


def test_answers_to_other_frames_are_refused():
    with pytest.raises(InputError, match=r"the same frames.*'predicted_snr_db': 1"):
        Answers([0, 1], [0.0, 2.0], [0, 1], [0.0], GRID)


# Confusion and F1


def test_confusion_counts_true_rows_and_predicted_columns():
    matrix = metrics.confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    assert_array_equal(matrix, [[1, 1, 0], [0, 1, 0], [1, 0, 0]])


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


def test_f1_is_that_of_scikit_learn_per_class_and_macro(rng):
    truth, predicted = random_labels(rng)
    matrix = metrics.confusion(truth, predicted, 5)
    assert_allclose(metrics.f1_per_class(matrix), f1_score(truth, predicted, average=None))
    assert_allclose(metrics.macro_f1(matrix), f1_score(truth, predicted, average="macro"))


def test_macro_f1_leaves_out_a_class_that_neither_occurs_nor_is_predicted(rng):
    truth, predicted = random_labels(rng, classes=4)
    matrix = metrics.confusion(truth, predicted, 6)
    assert_array_equal(metrics.f1_per_class(matrix)[4:], [0, 0])
    assert_allclose(metrics.macro_f1(matrix), f1_score(truth, predicted, average="macro"))


def test_f1_of_a_stack_of_matrices_is_the_stack_of_their_f1(rng):
    stack = rng.integers(20, size=(7, 4, 4))
    assert_array_equal(metrics.f1_per_class(stack), [metrics.f1_per_class(m) for m in stack])
    assert_array_equal(metrics.macro_f1(stack), [metrics.macro_f1(m) for m in stack])
    assert_array_equal(metrics.attractor_index(stack), [metrics.attractor_index(m) for m in stack])


# The attractor


def test_the_attractor_index_of_perfect_predictions_is_one():
    assert metrics.attractor_index(np.diag([40, 40, 20, 7])) == 1.0


def test_the_attractor_index_of_a_black_hole_is_the_number_of_snrs():
    matrix = np.zeros((16, 16), int)
    matrix[:, 14] = 25  # every frame of every SNR is called 28 dB
    assert metrics.attractor_index(matrix) == 16.0


def test_the_attractor_is_named_by_its_snr():
    truth = np.repeat(GRID, 10)
    result = metrics.summary(
        Answers(np.zeros(40, int), truth, np.zeros(40, int), np.full(40, 4.0), GRID, ["a"])
    )
    assert result["attractor_snr_db"] == 4.0
    assert result["attractor_index"]["value"] == 4.0


# Intervals


def test_the_interval_of_a_share_is_as_wide_as_the_normal_approximation_says(rng):
    hits = np.arange(1000) < 300
    found = metrics.mean_interval(hits, rng)
    assert found["value"] == 0.3
    assert_allclose(width(found), 2 * 1.96 * sqrt(0.3 * 0.7 / 1000), rtol=0.06)
    assert_allclose((found["low"] + found["high"]) / 2, 0.3, atol=0.003)


def test_the_interval_covers_a_known_share_about_as_often_as_it_says(rng):
    def covers(hits):
        found = metrics.mean_interval(hits, rng)
        return found["low"] <= 0.7 <= found["high"]

    covered = np.mean([covers(rng.random(200) < 0.7) for _ in range(400)])
    assert 0.92 <= covered <= 0.98


def test_the_interval_of_real_values_is_as_wide_as_the_normal_approximation_says(rng):
    values = rng.exponential(2.0, 2000)
    found = metrics.mean_interval(values, rng)
    assert found["value"] == values.mean()
    assert_allclose(width(found), 2 * 1.96 * values.std() / sqrt(2000), rtol=0.08)


def test_the_interval_of_a_constant_has_no_width(rng):
    for value in (0.5, 2.5):
        assert metrics.mean_interval(np.full(30, value), rng) == {
            "value": value, "low": value, "high": value
        }  # fmt: skip


def test_resampling_a_confusion_matrix_equals_resampling_its_frames(rng):
    truth, predicted = random_labels(rng, frames=300, classes=3)
    found = metrics.interval(metrics.macro_f1, metrics.confusion(truth, predicted, 3), rng)
    literal = []
    for _ in range(2000):
        rows = rng.integers(300, size=300)
        literal.append(metrics.macro_f1(metrics.confusion(truth[rows], predicted[rows], 3)))
    # The Monte Carlo error of a 2.5 % quantile of 2,000 draws is about a twentieth of the spread.
    slack = 0.3 * np.std(literal)
    assert_allclose([found["low"], found["high"]], np.quantile(literal, [0.025, 0.975]), atol=slack)


def test_the_shortcut_for_hits_and_misses_equals_resampling_the_values(rng):
    change = rng.choice([-1, 0, 1], size=500, p=[0.1, 0.6, 0.3])
    fast = metrics.mean_interval(change, rng)
    literal = [change[rng.integers(500, size=500)].mean() for _ in range(2000)]
    slack = 0.3 * np.std(literal)
    assert_allclose([fast["low"], fast["high"]], np.quantile(literal, [0.025, 0.975]), atol=slack)


def test_more_frames_make_the_interval_narrower_as_the_square_root(rng):
    few, many = (metrics.mean_interval(np.arange(n) % 2, rng) for n in (400, 6400))
    assert_allclose(width(few) / width(many), 4.0, rtol=0.15)


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
    apart = sqrt(sum(width(metrics.mean_interval(one, rng)) ** 2 for one in (first, second)))
    assert_allclose(width(paired), 2 * 1.96 * sqrt(0.02 / 2000), rtol=0.2)
    assert width(paired) < apart / 4


def test_two_models_with_the_same_answers_differ_by_nothing_but_may_on_other_frames(rng):
    hits = rng.random(200) < 0.5
    same = metrics.difference(hits, hits)
    assert same["value"] == 0.0
    assert -0.015 < same["low"] == -same["high"] < 0  # 1.96 / 202


@pytest.mark.parametrize(("right", "frames"), [(0, 5), (5, 5), (3, 50), (999, 1000), (7, 20)])
def test_the_interval_of_a_share_is_wilsons(right, frames):
    found = metrics.share(np.arange(frames) < right)
    ends = binomtest(right, frames).proportion_ci(0.95, "wilson")
    assert_allclose([found["low"], found["high"]], [ends.low, ends.high], atol=1e-12)
    assert found["low"] <= found["value"] == right / frames <= found["high"]
    with pytest.raises(InputError, match="no frames to take a share of"):
        metrics.share(np.zeros(0, bool))


def test_what_is_not_right_or_wrong_is_resampled_and_asks_for_a_generator(rng):
    of, shares = np.zeros(40, int), rng.random(40)
    assert metrics.rates(shares < 0.5, of)["0"] == metrics.share(shares < 0.5)
    found = metrics.rates(shares, of, np.random.default_rng(3))
    assert found["all"] == metrics.mean_interval(shares, np.random.default_rng(3))
    with pytest.raises(InputError, match="float64 need a generator"):
        metrics.rates(shares, of)


@pytest.mark.parametrize(("truth", "frames"), [(0.998, 50), (0.995, 100), (0.02, 50), (0.7, 40)])
def test_a_shares_interval_covers_it_though_nearly_all_frames_are_alike(rng, truth, frames):
    found = [metrics.share(rng.random(frames) < truth) for _ in range(2000)]
    covered = np.mean([of["low"] <= truth <= of["high"] for of in found])
    assert covered > 0.9


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


def test_the_interval_of_the_attractor_index_holds_where_no_snr_draws_more_than_its_share(rng):
    """Resampling inflates a maximum: percentiles would lie above one, which is the truth."""
    covered = 0
    for _ in range(40):
        truth = np.repeat(np.arange(16), 60)
        said = (truth + rng.choice([-1, 0, 1], len(truth), p=[0.2, 0.6, 0.2])) % 16
        found = metrics.interval(
            metrics.attractor_index, metrics.confusion(truth, said, 16), rng, least=1.0
        )
        assert 1.0 <= found["low"] <= found["value"] <= found["high"]
        covered += found["low"] <= 1.02
    assert covered > 30


def test_models_asked_about_different_frames_are_not_compared():
    with pytest.raises(InputError, match="3 and 1"):
        metrics.difference(np.array([True, False, True]), np.array([True]))


# Calibration


def test_calibration_of_four_frames_an_snr_is_what_a_hand_counts():
    truth = np.repeat([0.0, 2.0], 4)
    estimate = np.array([-2.0, -1.0, 1.0, 2.0, 2.0, 2.5, 3.0, 4.5])
    found = calibration(truth, estimate, [0.0, 2.0])
    assert found["bias_db"]["value"] == 0.5
    assert found["slope"]["value"] == 1.5  # the means are 0 and 3 dB, 2 dB apart
    assert found["within_half_step"]["value"] == 5 / 8  # half a step away is within
    low, high = found["at_db"]["0"], found["at_db"]["2"]
    assert (low["frames"], low["median_db"], low["bias_db"]["value"]) == (4, 0.0, 0.0)
    assert (high["frames"], high["median_db"], high["bias_db"]["value"]) == (4, 2.75, 1.0)
    assert_allclose([low["low_db"], low["high_db"]], [-1.85, 1.85])  # 0.15 of a gap inwards
    assert (low["from_db"], low["to_db"], high["from_db"], high["to_db"]) == (-1, 1, 1, 3)


def test_an_estimate_far_beyond_the_grid_is_snapped_right_but_not_within_half_a_step():
    estimate = np.array([-9.0, 2.0, 4.0, 40.0])
    assert metrics.snap(estimate, GRID).tolist() == [0, 1, 2, 3]
    found = calibration(GRID, estimate, GRID)
    assert found["within_half_step"]["value"] == 0.5


def test_a_perfect_head_is_on_the_diagonal_and_a_black_hole_is_flat():
    truth = np.tile(GRID, 25)
    perfect = calibration(truth, truth, GRID)
    assert perfect["slope"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert perfect["bias_db"]["value"] == 0.0
    assert perfect["within_half_step"]["value"] == 1.0
    hole = calibration(truth, np.full(100, 4.0), GRID)
    assert hole["slope"]["value"] == 0.0
    assert hole["within_half_step"]["value"] == 0.25
    assert [point["bias_db"]["value"] for point in hole["at_db"].values()] == [4, 2, 0, -2]


def test_a_classification_heads_estimates_are_within_half_a_step_where_they_are_right(rng):
    truth, estimate = rng.choice(GRID, (2, 500))
    found = calibration(truth, estimate, GRID)
    assert found["within_half_step"]["value"] == (truth == estimate).mean()


def test_half_a_step_follows_an_uneven_grid():
    grid = np.array([0.0, 2.0, 10.0])
    found = calibration(grid, np.array([1.5, 5.9, 5.9]), grid)
    assert [(at["from_db"], at["to_db"]) for at in found["at_db"].values()] == [
        (-1, 1), (1, 6), (6, 14)
    ]  # fmt: skip
    assert found["within_half_step"]["value"] == 1 / 3


def test_a_grid_of_one_snr_has_neither_slope_nor_step():
    found = calibration(np.full(3, 4.0), np.array([3.0, 4.0, 50.0]), [4.0])
    assert found["slope"] is None
    assert found["within_half_step"]["value"] == 1.0
    assert found["at_db"]["4"]["from_db"] is None


def test_the_slopes_interval_is_that_of_resampled_frames(rng):
    truth = rng.choice(GRID, 400)
    estimate = 0.8 * truth + rng.normal(0, 0.2 + truth / 3)  # a spread that grows with the SNR
    found = calibration(truth, estimate, GRID)["slope"]
    literal = []
    for _ in range(2000):
        rows = rng.integers(400, size=400)
        literal.append(np.polyfit(truth[rows], estimate[rows], 1)[0])
    slack = 0.3 * np.std(literal)
    assert_allclose(found["value"], np.polyfit(truth, estimate, 1)[0])
    assert_allclose([found["low"], found["high"]], np.quantile(literal, [0.025, 0.975]), atol=slack)


def test_calibration_of_nothing_or_of_what_is_no_number_is_refused():
    with pytest.raises(InputError, match="no frames"):
        calibration(np.array([]), np.array([]), GRID)
    with pytest.raises(InputError, match="1 of 4 SNR estimates"):
        calibration(GRID, np.array([0.0, nan, 1.0, 2.0]), GRID)


# The summary


def test_the_summary_says_what_its_parts_say(rng):
    modulation, predicted = random_labels(rng, 500, 3)
    snr_db = rng.choice(GRID, 500)
    estimate = snr_db + rng.normal(0, 1.5, 500)
    result = metrics.summary(
        Answers(modulation, snr_db, predicted, estimate, GRID, ["a", "b", "c"])
    )
    reached = Answers(modulation, snr_db, predicted, estimate, GRID).accuracies()
    for name, value in reached.items():
        assert_allclose(result[name]["value"], value)
    bins, said = (snr_db / 2).astype(int), metrics.snap(estimate, GRID)
    assert_allclose(result["snr_mae_db"]["value"], np.abs(estimate - snr_db).mean())
    assert_allclose(result["snr_rmse_db"]["value"], sqrt(((estimate - snr_db) ** 2).mean()))
    assert_allclose(
        result["modulation_macro_f1"]["value"], f1_score(modulation, predicted, average="macro")
    )
    assert_allclose(result["snr_macro_f1"]["value"], f1_score(bins, said, average="macro"))
    of_class = [result["modulation_f1"][name]["value"] for name in ("a", "b", "c")]
    assert_allclose(of_class, f1_score(modulation, predicted, average=None))
    of_snr = [result["snr_f1"][name]["value"] for name in ("0", "2", "4", "6")]
    assert_allclose(of_snr, f1_score(bins, said, average=None))


def test_accuracy_at_an_snr_is_that_of_its_frames_alone(rng):
    modulation, snr_db = np.array([0, 1, 0, 1]), np.array([0.0, 0.0, 2.0, 2.0])
    predicted, estimate = np.array([0, 0, 0, 1]), np.array([0.0, 0.5, 9.0, 1.5])
    result = metrics.summary(
        Answers(modulation, snr_db, predicted, estimate, [0.0, 2.0], ["a", "b"])
    )
    at = {
        task: {snr: point["value"] for snr, point in result[f"{task}_accuracy_at_db"].items()}
        for task in ("modulation", "snr", "joint")
    }
    assert at == {
        "modulation": {"0": 0.5, "2": 1.0},
        "snr": {"0": 1.0, "2": 1.0},  # 9 dB is beyond a grid that ends at 2
        "joint": {"0": 0.5, "2": 1.0},
    }


def test_an_snr_without_frames_has_no_accuracy(rng):
    result = metrics.summary(
        Answers(
            np.zeros(4, int), np.array([0.0, 0, 4, 4]), np.zeros(4, int), np.zeros(4), GRID, ["a"]
        )
    )
    assert list(result["snr_accuracy_at_db"]) == ["0", "4"]


def test_bands_average_the_f1_of_their_snrs_and_are_absent_where_the_grid_is(rng):
    grid = np.array([8.0, 14.0, 16.0])
    result = summarise(rng, grid=grid)
    assert result["snr_f1_low"] is None
    of_snr = {name: point["value"] for name, point in result["snr_f1"].items()}
    assert_allclose(result["snr_f1_middle"]["value"], (of_snr["8"] + of_snr["14"]) / 2)
    assert_allclose(result["snr_f1_high"]["value"], of_snr["16"])


def test_the_bands_are_the_studys():
    edges = [-20, -2, 0, 14, 16, 30]
    truth = np.array(edges, float)
    predicted = np.where(truth < 0, 0.0, truth)  # the low band is never predicted
    result = metrics.summary(
        Answers(np.zeros(6, int), truth, np.zeros(6, int), predicted, edges, ["a"])
    )
    assert result["snr_f1_low"]["value"] == 0.0
    assert_allclose(result["snr_f1_middle"]["value"], (2 * 1 / (3 + 1) + 1) / 2)
    assert result["snr_f1_high"]["value"] == 1.0


def test_the_interval_of_the_rms_error_is_the_root_of_that_of_the_mean_square():
    rng = np.random.default_rng(3)
    error = rng.normal(0, 2.0, 3000)
    result = metrics.summary(
        Answers(
            np.zeros(3000, int), np.full(3000, 2.0), np.zeros(3000, int), 2.0 + error, GRID, ["a"]
        )
    )
    rmse = result["snr_rmse_db"]
    assert rmse["low"] < 2.0 < rmse["high"]
    # The standard error of a Gaussian's standard deviation is sigma / sqrt(2 n).
    assert_allclose(width(rmse), 2 * 1.96 * 2.0 / sqrt(2 * 3000), rtol=0.1)


def test_every_interval_holds_its_value_and_no_number_is_missing(rng):
    def intervals(node):
        if isinstance(node, dict) and "value" in node:
            yield node
        elif isinstance(node, dict):
            for child in node.values():
                yield from intervals(child)

    found = list(intervals(summarise(rng)))
    assert len(found) == 3 + 2 + 2 + 1 + 3 + 4 + 3 * 4 + 1
    for one in found:
        assert not any(isnan(value) for value in one.values())
        assert one["low"] <= one["value"] <= one["high"] or one["value"] == 1.0


def test_the_same_seed_gives_the_same_intervals_and_another_gives_others():
    first, again, other = (
        summarise(np.random.default_rng(1), seed=seed) for seed in (5, 5, 6)
    )  # fmt: skip
    assert first == again
    assert first["joint_accuracy"]["value"] == other["joint_accuracy"]["value"]
    assert first != other


def test_a_summary_of_no_frames_is_refused():
    nothing = np.array([], int)
    with pytest.raises(InputError, match="no frames"):
        metrics.summary(Answers(nothing, nothing, nothing, nothing, GRID, ["a"]))


def test_a_summary_of_estimates_that_are_no_numbers_is_refused():
    with pytest.raises(InputError, match="1 of 2 SNR estimates"):
        metrics.summary(
            Answers(
                np.zeros(2, int), np.zeros(2), np.zeros(2, int), np.array([0.0, nan]), GRID, ["a"]
            )
        )
