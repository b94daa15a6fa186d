"""Confidences are right as often as they say, or by a known amount not; intervals cover."""

from math import nan, sqrt

import numpy as np
import pytest
from numpy.testing import assert_allclose

from modsnr import InputError, metrics
from modsnr.metrics.conformal import LEVELS

GRID = np.arange(0.0, 32.0, 2.0)


def calibrated(rng, frames, low=0.2):
    """Return confidences, and outcomes that are right exactly as often as they say."""
    confidence = rng.uniform(low, 1.0, frames)
    return confidence, rng.random(frames) < confidence


def estimates(rng, frames, spread=1.0):
    """Return true SNRs on the grid, and estimates with a Gaussian error."""
    truth = rng.choice(GRID, frames)
    return truth, truth + rng.normal(0, spread, frames)


def covered(reach, truth, estimate):
    low, high = reach.interval(estimate)
    return (low <= truth) & (truth <= high)


# Reliability


def test_the_error_of_a_calibrated_head_vanishes_with_more_frames_as_chance_says(rng):
    few, many = (metrics.reliability(*calibrated(rng, frames)) for frames in (400, 10_000))
    assert many.ece["value"] < 0.02
    assert few.ece["value"] > 2 * many.ece["value"]
    for found in (few, many):
        assert 0.4 < found.ece["value"] / found.chance < 2
        assert found.ece["low"] == 0
    assert_allclose(few.chance / many.chance, 5, rtol=0.15)


def test_the_error_that_chance_makes_is_that_of_binomial_counts(rng):
    # One bin: |sum of right - confidence| / n is half-normal, its mean sqrt(2 p (1 - p) / (pi n)).
    confidence = np.full(900, 0.7)
    found = metrics.reliability(confidence, rng.random(900) < 0.7, bins=1)
    assert_allclose(found.chance, sqrt(2 * 0.21 / (np.pi * 900)), rtol=0.15)


@pytest.mark.parametrize("equal", ["frames", "width"])
def test_the_error_of_an_overconfident_head_is_the_excess_of_its_confidence(rng, equal):
    right_as_often = rng.uniform(0.3, 0.8, 8000)
    found = metrics.reliability(
        right_as_often + 0.15, rng.random(8000) < right_as_often, equal=equal
    )
    assert_allclose(found.ece["value"], 0.15, atol=0.016)
    assert found.ece["low"] < 0.15 < found.ece["high"]
    assert (found.bins.value < found.bins.confidence).all()


@pytest.mark.parametrize(("excess", "frames"), [(0.2, 400), (0.0, 200)])
def test_the_interval_of_the_error_covers_a_known_one_about_as_often_as_it_says(
    rng, excess, frames
):
    hits = 0
    for seed in range(30):
        truth = rng.uniform(0.2, 0.7, frames)
        right = rng.random(frames) < truth
        ece = metrics.reliability(truth + excess, right, bins=5, seed=seed).ece
        hits += ece["low"] <= excess <= ece["high"]  # of a calibrated head it begins at zero
    assert hits >= 25


def test_reliability_is_that_of_a_toy_counted_by_hand():
    confidence = np.array([0.2, 0.4, 0.6, 0.6, 0.9, 0.9])
    right = np.array([0, 1, 0, 1, 1, 1], bool)
    found = metrics.reliability(confidence, right, bins=2, equal="width")
    assert list(found.bins.frames) == [2, 4]
    assert_allclose(found.bins[["confidence", "value"]], [[0.3, 0.5], [0.75, 0.75]])
    assert_allclose(found.ece["value"], 2 / 6 * 0.2)
    assert_allclose(found.mce["value"], 0.2)
    assert_allclose(found.confidence, 3.6 / 6)


def test_the_error_is_that_of_a_literal_loop_over_bins(rng):
    confidence, right = rng.beta(4, 1, 700), rng.random(700) < 0.6
    found = metrics.reliability(confidence, right, bins=7, equal="width")
    ece, mce = 0.0, 0.0
    for k in range(7):
        here = [i for i in range(700) if k / 7 < confidence[i] <= (k + 1) / 7]
        if here:
            gap = abs(sum(right[here]) / len(here) - sum(confidence[here]) / len(here))
            ece, mce = ece + len(here) / 700 * gap, max(mce, gap)
    assert_allclose([found.ece["value"], found.mce["value"]], [ece, mce])


def test_bins_of_equal_frames_hold_as_many_and_bins_of_equal_width_do_not(rng):
    confidence, right = rng.beta(8, 1, 600), rng.random(600) < 0.8
    by_frames = metrics.reliability(confidence, right, bins=6).bins
    by_width = metrics.reliability(confidence, right, bins=6, equal="width").bins
    assert list(by_frames.frames) == [100] * 6
    assert by_width.frames.nunique() > 2
    for points in (by_frames, by_width):
        assert points.frames.sum() == 600
        assert points.confidence.is_monotonic_increasing


def test_frames_of_one_confidence_share_a_bin_whatever_their_order():
    confidence = np.repeat([0.5, 1.0], [10, 90])  # most are sure: quantiles coincide
    right = np.arange(100) % 2 == 0
    found = metrics.reliability(confidence, right, bins=10)
    assert list(found.bins.frames) == [10, 90]
    again = metrics.reliability(confidence[::-1], right[::-1], bins=10)
    assert found.ece["value"] == again.ece["value"]


def test_another_seed_makes_another_interval_and_the_same_one_the_same(rng):
    given = calibrated(rng, 500)
    one, again, other = (metrics.reliability(*given, seed=seed) for seed in (0, 0, 1))
    assert one[:4] == again[:4] != other[:4]
    assert one.ece["value"] == other.ece["value"]


def test_intervals_of_the_errors_hold_them_and_stay_within_0_and_1(rng):
    for confidence, right in (calibrated(rng, 60), (np.ones(20), np.zeros(20, bool))):
        found = metrics.reliability(confidence, right)
        for error in (found.ece, found.mce):
            assert 0 <= error["low"] <= error["value"] <= error["high"] <= 1


@pytest.mark.parametrize(
    ("confidence", "right", "options", "refusal"),
    [
        ([], [], {}, "one or more"),
        ([0.5], [True, False], {}, r"\(1,\), \(2,\)"),
        ([0.5, nan], [True, False], {}, "1 of 2 confidences"),
        ([0.5, 1.2], [True, False], {}, "no number in 0..1"),
        ([0.5], [True], {"bins": 0}, "at least one bin"),
        ([0.5], [True], {"equal": "size"}, "frames or width"),
    ],
)
def test_a_reliability_without_meaning_is_refused(confidence, right, options, refusal):
    with pytest.raises(InputError, match=refusal):
        metrics.reliability(np.array(confidence), np.array(right, bool), **options)


# Conformal intervals


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.99])
def test_intervals_cover_exchangeable_frames_at_least_as_often_as_they_say(rng, level):
    shares = []
    for _ in range(300):
        truth, estimate = estimates(rng, 300)
        reach = metrics.conformal(truth[:150], estimate[:150], GRID, level=level, fewest=150)
        shares.append(covered(reach, truth[150:], estimate[150:]).mean())
    # One group of n: the mean coverage is ceil((n + 1) level) / (n + 1).
    expected = np.ceil(151 * level - 1e-9) / 151
    assert expected >= level
    assert_allclose(np.mean(shares), expected, atol=3 * np.std(shares) / sqrt(300))


def test_the_coverage_over_calibration_sets_is_a_beta_about_the_level(rng):
    """With n in one group it is Beta(k, n + 1 - k), k = ceil((n + 1) level): Vovk 2012."""
    shares = []
    for _ in range(300):
        truth, estimate = estimates(rng, 99)
        reach = metrics.conformal(truth, estimate, GRID, level=0.8, fewest=99)
        shares.append(covered(reach, *estimates(rng, 4000)).mean())
    of_beta, of_test = 0.8 * 0.2 / 101, 0.8 * 0.2 / 4000
    assert_allclose(np.var(shares), of_beta + of_test, rtol=0.25)


def test_each_group_keeps_the_level_though_the_errors_grow_with_the_snr(rng):
    truth = rng.choice([0.0, 20.0], 8000)
    estimate = truth + rng.normal(0, 1, 8000) * np.where(truth > 10, 3.0, 0.3)
    half = slice(0, 4000), slice(4000, None)
    grouped = metrics.conformal(truth[half[0]], estimate[half[0]], [0.0, 20.0])
    alone = metrics.conformal(truth[half[0]], estimate[half[0]], [0.0, 20.0], fewest=4000)
    assert_allclose(grouped.reach_db, [1.645 * 0.3, 1.645 * 3], rtol=0.08)
    assert len(alone.reach_db) == 1
    low = truth[half[1]] < 10
    for reach, expected in ((grouped, (0.9, 0.9)), (alone, (1.0, 0.8))):
        hit = covered(reach, truth[half[1]], estimate[half[1]])
        assert_allclose([hit[low].mean(), hit[~low].mean()], expected, atol=0.03)


def test_a_shifted_distribution_loses_coverage(rng):
    reach = metrics.conformal(*estimates(rng, 2000), GRID, level=0.9)
    assert covered(reach, *estimates(rng, 4000)).mean() > 0.87
    assert covered(reach, *estimates(rng, 4000, spread=3.0)).mean() < 0.55
    truth, estimate = estimates(rng, 4000)
    assert covered(reach, truth, estimate + 2).mean() < 0.5


def test_the_reach_is_the_error_of_the_rank_counted_by_hand():
    error = np.array([5.0, 1, 4, 2, 3, 9, 8, 7, 6])
    for level, rank in ((0.9, 9), (0.5, 5), (0.51, 6), (0.1, 1)):
        reach = metrics.conformal(np.zeros(9), error, [0.0], level=level, fewest=9)
        assert reach.reach_db.tolist() == [rank]
        assert reach.frames.tolist() == [9]
    low, high = metrics.conformal(np.zeros(9), error, [0.0], fewest=9).interval(np.array([1.0]))
    assert (low[0], high[0]) == (-8.0, 10.0)


def test_small_groups_are_joined_upwards_and_what_is_left_over_downwards():
    estimate = np.repeat([0.0, 2.0, 4.0, 6.0, 8.0], [12, 3, 10, 20, 4])
    truth = estimate + 1
    reach = metrics.conformal(truth, estimate, [0.0, 2, 4, 6, 8], fewest=12)
    assert reach.frames.tolist() == [12, 13, 24]  # 0 dB; 2 and 4; 6 and the rest, 8
    assert reach.edges_db.tolist() == [1.0, 5.0]
    # A level of 0.95 needs 19 frames in a group, whatever fewest says.
    assert metrics.conformal(
        truth, estimate, [0.0, 2, 4, 6, 8], level=0.95, fewest=1
    ).frames.tolist() == [25, 24]  # fmt: skip


def test_a_higher_level_reaches_farther(rng):
    given = estimates(rng, 3000)
    reaches = [metrics.conformal(*given, GRID, level=level).reach_db for level in (0.5, 0.9, 0.95)]
    assert (reaches[0] < reaches[1]).all()
    assert (reaches[1] < reaches[2]).all()


def test_estimates_beyond_the_grid_belong_to_its_ends(rng):
    reach = metrics.conformal(*estimates(rng, 3000), GRID)
    low, high = reach.interval(np.array([-40.0, 0.0, 30.0, 90.0]))
    assert_allclose(high - low, 2 * reach.reach_db[[0, 0, -1, -1]])


@pytest.mark.parametrize(
    ("frames", "options", "refusal"),
    [
        (49, {}, "49 calibration frames are too few.*need 50"),
        (60, {"level": 0.99}, "level 0.99 need 99"),
        (60, {"level": 1.0}, "between 0 and 1"),
        (60, {"level": 0.0}, "between 0 and 1"),
        (60, {"fewest": 0}, "at least one frame"),
        (0, {}, "no frames"),
    ],
)
def test_intervals_that_no_frames_can_bear_are_refused(rng, frames, options, refusal):
    with pytest.raises(InputError, match=refusal):
        metrics.conformal(*estimates(rng, frames), GRID, **options)


def test_an_estimate_that_is_no_number_has_no_interval(rng):
    reach = metrics.conformal(*estimates(rng, 100), GRID)
    with pytest.raises(InputError, match="1 of 2 SNR estimates"):
        reach.interval(np.array([1.0, nan]))


# Measured coverage


def test_coverage_is_counted_over_all_frames_per_snr_and_per_modulation():
    truth, modulation = np.array([0.0, 0, 2, 2, 2, 2]), np.array([0, 2, 0, 2, 2, 2])
    low = np.array([-1.0, 1, 2, 0, 3, 3])
    answers = metrics.Answers(modulation, truth, modulation, truth, [0.0, 2, 4], ("a", "b", "c"))
    found = metrics.coverage(answers, low, low + np.array([2, 2, 2, 1, 1, 4]))
    assert found[["by", "part", "frames"]].to_numpy().tolist() == [
        ["", "", 6], ["at_db", "0", 2], ["at_db", "2", 4],
        ["of_modulation", "a", 2], ["of_modulation", "c", 4],
    ]  # fmt: skip
    assert_allclose(found.value, [2 / 6, 0.5, 0.25, 1, 0])  # the ends count: frames 0 and 2
    assert_allclose(found.width_db, [2, 2, 2, 2, 2])


def test_coverage_of_nothing_is_refused():
    nothing = np.array([])
    with pytest.raises(InputError, match="no frames"):
        metrics.coverage(metrics.Answers(*[nothing] * 4, GRID, ("a",)), nothing, nothing)


def test_the_measured_coverage_follows_the_nominal_level(rng):
    curve = metrics.coverage_curve(estimates(rng, 4000), estimates(rng, 8000), GRID)
    assert tuple(curve.level) == LEVELS
    # Binomial over the test frames, and beta in each of 16 groups of the calibration frames.
    spread = np.sqrt(curve.level * (1 - curve.level) * (1 / 8000 + 1 / 4000))
    assert ((curve.value - curve.level).abs() < 4 * spread + 16 / 4000).all()
    assert ((curve.low <= curve.value) & (curve.value <= curve.high)).all()
    assert curve.width_db.is_monotonic_increasing
    # Of a Gaussian error of 1 dB the middle 90 % are 2 * 1.645 dB wide.
    assert_allclose(curve.width_db[LEVELS.index(0.9)], 2 * 1.645, rtol=0.06)


def test_a_curve_is_drawn_at_the_levels_that_are_asked_for_with_groups_as_large(rng):
    given = estimates(rng, 800), estimates(rng, 800)
    short = metrics.coverage_curve(*given, GRID, levels=[0.5])
    assert list(short.level) == [0.5]
    joined = metrics.coverage_curve(*given, GRID, levels=[0.5], fewest=800)
    assert joined.width_db[0] != short.width_db[0]


# What a model saved


def saved(rng, *, frames=2000, classifying=False, validation=True):
    """Return the columns of a model whose every doubt is justified, as a run saves them."""
    columns = {"classes": np.array(["a", "b", "c"]), "grid_db": GRID}
    for prefix in ("", "validation_"):
        truth, estimate = estimates(rng, frames)
        modulation = rng.integers(3, size=frames)
        confidence, right = calibrated(rng, frames, low=0.4)
        sure, right_snr = calibrated(rng, frames)
        other = np.where(truth > 14, truth - 4, truth + 4)
        columns |= {
            f"{prefix}modulation": modulation,
            f"{prefix}snr_db": truth,
            f"{prefix}predicted_modulation": np.where(right, modulation, (modulation + 1) % 3),
            f"{prefix}predicted_snr_db": np.where(right_snr, truth, other)
            if classifying
            else estimate,
            f"{prefix}confidence": confidence,
            f"{prefix}snr_confidence": sure if classifying else np.full(frames, nan),
            f"{prefix}snr_mean_db": estimate,
        }
    old = {name for name in columns if name.startswith("validation_") or "snr_c" in name}
    return columns if validation else {k: v for k, v in columns.items() if k not in old}


def test_a_model_whose_doubts_are_justified_is_trusted_with_both_heads(rng):
    found = metrics.trust(saved(rng, classifying=True))
    for head in (found.modulation, found.snr):
        assert head.ece["value"] < 2 * head.chance
    assert abs(found.intervals.value[0] - 0.9) < 0.03
    assert tuple(found.curve.level) == LEVELS
    assert found.left_out == ""
    scores = metrics.nested(found.scores(), "metric", "part")
    assert scores["snr_ece"] == found.snr.ece
    assert scores["modulation_ece_by_chance"] == found.modulation.chance
    assert list(scores["snr_interval_coverage_at_db"]) == [f"{snr:g}" for snr in GRID]
    assert list(scores["snr_interval_coverage_of_modulation"]) == ["a", "b", "c"]
    kept = found.nested()
    assert kept["numbers"] == scores
    assert kept["intervals"]["coverage"] == scores["snr_interval_coverage"]
    assert set(kept["intervals"]["at_db"]["2"]) == {"frames", "coverage", "width_db"}
    assert set(kept["curve"][0]) == {"level", "coverage", "width_db"}
    assert set(kept["snr"]["bins"][0]) == {"frames", "confidence", "accuracy"}
    table = metrics.coverage_table({"new": found})
    parts = ["all", *(f"{snr:g} dB" for snr in GRID), "a", "b", "c"]
    assert list(table.part) == parts
    assert list(table)[2:] == ["coverage", "coverage_low", "coverage_high", "width_db"]
    points = found.points()
    assert set(points.panel) == {"modulation", "snr", "intervals"}
    assert points.note.iloc[-1].endswith("dB at 0.95")


def test_a_regressing_head_has_intervals_but_no_confidence(rng):
    found = metrics.trust(saved(rng))
    assert found.snr is None
    assert found.intervals.value[0] > 0.85
    assert found.left_out == ""


def test_an_older_model_keeps_its_modulation_confidence_and_says_what_it_lacks(rng):
    found = metrics.trust(saved(rng, validation=False))
    assert found.modulation.ece["value"] < 0.05
    assert found.snr is found.intervals is found.curve is None
    assert list(found.scores().metric) == [
        "modulation_ece", "modulation_mce", "modulation_ece_by_chance"
    ]  # fmt: skip
    assert "did not save snr_confidence" in found.left_out
    assert "validation_snr_db" in found.left_out
    assert found.nested()["intervals"] is None
    assert metrics.coverage_table({"old": found}).empty


def test_intervals_are_calibrated_on_validation_frames_and_never_on_test_frames(rng):
    columns = saved(rng)
    before = metrics.trust(columns).intervals
    worse = columns | {
        "snr_mean_db": columns["snr_db"] + 3 * (columns["snr_mean_db"] - columns["snr_db"])
    }
    after = metrics.trust(worse).intervals
    # The groups change, the reach does not.
    assert_allclose(after.width_db[0], before.width_db[0], rtol=0.05)
    assert after.value[0] < 0.6


def test_level_bins_and_seed_of_trust_change_what_they_name(rng):
    columns = saved(rng)
    plain = metrics.trust(columns)
    assert metrics.trust(columns, level=0.5).intervals.width_db[0] < plain.intervals.width_db[0]
    assert len(metrics.trust(columns, bins=4).modulation.bins) == 4
    by_width = metrics.trust(columns, equal="width").modulation
    assert not by_width.bins.equals(plain.modulation.bins)
    other = metrics.trust(columns, seed=1)
    assert other.modulation.ece["value"] == plain.modulation.ece["value"]
    assert other.modulation.ece != plain.modulation.ece
    assert other.intervals.equals(plain.intervals)  # shares of frames: nothing is drawn by lot
    assert other.curve.equals(plain.curve)
