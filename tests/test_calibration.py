"""Confidences are right as often as they say, or by a known amount not; intervals cover."""

from math import nan, sqrt

import numpy as np
import pytest
from numpy.testing import assert_allclose

from modsnr import InputError, metrics
from modsnr.metrics.conformal import LEVELS, conformal, coverage, coverage_curve
from modsnr.metrics.reliability import reliability

GRID = np.arange(0.0, 32.0, 2.0)


def calibrated(rng, frames, low=0.2):
    """Return confidences, and outcomes that are right exactly as often as they say."""
    confidence = rng.uniform(low, 1.0, frames)
    return confidence, rng.random(frames) < confidence


def estimates(rng, frames, spread=1.0, grid=GRID):
    """Return true SNRs on the grid, and estimates with a Gaussian error."""
    truth = rng.choice(grid, frames)
    return truth, truth + rng.normal(0, spread, frames)


def covered(known, test, grid=GRID, **options):
    low, high = conformal(known, test[1], grid, **options)
    return (low <= test[0]) & (test[0] <= high)


# Reliability


def test_the_error_of_a_calibrated_head_vanishes_with_more_frames_as_chance_says(rng):
    few, many = (reliability(*calibrated(rng, frames)) for frames in (400, 10_000))
    assert many.ece["value"] < 0.02
    assert few.ece["value"] > 2 * many.ece["value"]
    for found in (few, many):
        assert 0.4 < found.ece["value"] / found.chance < 2
        assert found.ece["low"] == 0
    assert_allclose(few.chance / many.chance, 5, rtol=0.15)


def test_the_error_that_chance_makes_is_that_of_binomial_counts(rng):
    # One bin: |sum of right - confidence| / n is half-normal, its mean sqrt(2 p (1 - p) / (pi n)).
    found = reliability(np.full(900, 0.7), rng.random(900) < 0.7, bins=1)
    assert_allclose(found.chance, sqrt(2 * 0.21 / (np.pi * 900)), rtol=0.15)


@pytest.mark.parametrize("equal", ["frames", "width"])
def test_the_error_of_an_overconfident_head_is_the_excess_of_its_confidence(rng, equal):
    right_as_often = rng.uniform(0.3, 0.8, 8000)
    found = reliability(right_as_often + 0.15, rng.random(8000) < right_as_often, equal=equal)
    assert_allclose(found.ece["value"], 0.15, atol=0.016)
    assert found.ece["low"] < 0.15 < found.ece["high"]
    assert (found.bins.value < found.bins.confidence).all()


@pytest.mark.parametrize(("excess", "frames"), [(0.2, 400), (0.0, 200)])
def test_the_interval_of_the_error_covers_a_known_one_about_as_often_as_it_says(
    rng, excess, frames, monkeypatch
):
    monkeypatch.setattr("modsnr.metrics.reliability.RESAMPLES", 400)
    hits = 0
    for seed in range(30):
        truth = rng.uniform(0.2, 0.7, frames)
        right = rng.random(frames) < truth
        ece = reliability(truth + excess, right, bins=5, seed=seed).ece
        hits += ece["low"] <= excess <= ece["high"]  # of a calibrated head it begins at zero
    assert hits >= 25


def test_the_error_is_that_of_a_literal_loop_over_bins(rng):
    confidence, right = rng.beta(4, 1, 700), rng.random(700) < 0.6
    found = reliability(confidence, right, bins=7, equal="width")
    ece, mce, frames = 0.0, 0.0, []
    for k in range(7):
        here = [i for i in range(700) if k / 7 < confidence[i] <= (k + 1) / 7]
        if here:
            gap = abs(sum(right[here]) / len(here) - sum(confidence[here]) / len(here))
            ece, mce = ece + len(here) / 700 * gap, max(mce, gap)
            frames.append(len(here))
    assert_allclose([found.ece["value"], found.mce["value"]], [ece, mce])
    assert list(found.bins.frames) == frames
    assert list(reliability(confidence, right, bins=7).bins.frames) == [100] * 7


def test_frames_of_one_confidence_share_a_bin_whatever_their_order():
    confidence = np.repeat([0.5, 1.0], [10, 90])  # most are sure: quantiles coincide
    right = np.arange(100) % 2 == 0
    found = reliability(confidence, right, bins=10)
    assert list(found.bins.frames) == [10, 90]
    again = reliability(confidence[::-1], right[::-1], bins=10)
    assert found.ece["value"] == again.ece["value"]


@pytest.mark.parametrize(
    ("confidence", "right", "refusal"),
    [
        ([], [], "one or more"),
        ([0.5], [True, False], r"\(1,\), \(2,\)"),
        ([0.5, nan], [True, False], "1 of 2 confidences"),
        ([0.5, 1.2], [True, False], "no number in 0..1"),
    ],
)
def test_a_reliability_without_meaning_is_refused(confidence, right, refusal):
    with pytest.raises(InputError, match=refusal):
        reliability(np.array(confidence), np.array(right, bool))


# Conformal intervals


@pytest.mark.parametrize("level", [0.5, 0.8, 0.99])
def test_the_coverage_over_calibration_sets_is_a_beta_about_the_level(rng, level):
    """With n in one group it is Beta(k, n + 1 - k), k = ceil((n + 1) level): Vovk 2012."""
    shares = []
    for _ in range(300):
        known, test = (estimates(rng, frames, grid=[0.0]) for frames in (150, 1000))
        shares.append(covered(known, test, [0.0], level=level).mean())
    expected = np.ceil(151 * level - 1e-9) / 151
    variance = expected * (1 - expected) * (1 / 152 + 1 / 1000)
    assert expected >= level
    assert_allclose(np.mean(shares), expected, atol=3 * np.std(shares) / sqrt(300))
    assert_allclose(np.var(shares), variance, rtol=0.35)


def test_each_group_keeps_the_level_though_the_errors_grow_with_the_snr(rng):
    truth = rng.choice([0.0, 20.0], 8000)
    estimate = truth + rng.normal(0, 1, 8000) * np.where(truth > 10, 3.0, 0.3)
    known, test = (truth[:4000], estimate[:4000]), (truth[4000:], estimate[4000:])
    low, high = conformal(known, np.array([0.0, 20.0]), [0.0, 20.0])
    assert_allclose((high - low) / 2, [1.645 * 0.3, 1.645 * 3], rtol=0.08)
    at_low = test[0] < 10
    for grid, expected in (([0.0, 20.0], (0.9, 0.9)), ([0.0], (1.0, 0.8))):  # one group: not
        hit = covered(known, test, grid)
        assert_allclose([hit[at_low].mean(), hit[~at_low].mean()], expected, atol=0.03)


def test_a_shifted_distribution_loses_coverage(rng):
    known, test = estimates(rng, 2000), estimates(rng, 4000)
    assert covered(known, test).mean() > 0.87
    assert covered(known, estimates(rng, 4000, spread=3.0)).mean() < 0.55
    assert covered(known, (test[0], test[1] + 2)).mean() < 0.5


@pytest.mark.parametrize(("level", "rank"), [(0.9, 9), (0.5, 5), (0.51, 6), (0.1, 1)])
def test_the_reach_is_the_error_of_the_rank_counted_by_hand(monkeypatch, level, rank):
    monkeypatch.setattr("modsnr.metrics.conformal.FEWEST", 9)
    known = np.zeros(9), np.array([5.0, 1, 4, 2, 3, 9, 8, 7, 6])
    low, high = conformal(known, np.array([1.0]), [0.0], level=level)
    assert (low[0], high[0]) == (1 - rank, 1 + rank)


def test_small_groups_are_joined_upwards_and_what_is_left_over_downwards(monkeypatch):
    monkeypatch.setattr("modsnr.metrics.conformal.FEWEST", 12)
    grid = np.array([0.0, 2.0, 4.0, 6.0, 8.0])
    estimate = np.repeat(grid, [12, 3, 10, 20, 4])
    known = estimate + estimate, estimate  # the error is the estimate
    beyond = np.array([-40.0, *grid, 90.0])  # estimates beyond the grid belong to its ends
    # 0 dB; 2 and 4 dB; 6 dB and the rest, 8 dB.
    _, high = conformal(known, beyond, grid, level=0.1)
    assert_allclose(high - beyond, [0, 0, 2, 2, 6, 6, 6])
    # A level of 0.95 needs 19 frames in a group, whatever FEWEST says: up to 4 dB, and the rest.
    _, high = conformal(known, beyond, grid, level=0.95)
    assert_allclose(high - beyond, [4, 4, 4, 4, 8, 8, 8])


@pytest.mark.parametrize(
    ("frames", "level", "refusal"),
    [
        (49, 0.9, "49 calibration frames are too few.*need 50"),
        (60, 0.99, "level 0.99 need 99"),
        (0, 0.9, "no frames"),
        (100, 0.9, "1 of 2 SNR estimates"),
    ],
)
def test_intervals_that_no_frames_can_bear_are_refused(rng, frames, level, refusal):
    with pytest.raises(InputError, match=refusal):
        conformal(estimates(rng, frames), np.array([1.0, nan]), GRID, level=level)


def test_coverage_is_counted_over_all_frames_per_snr_and_per_modulation():
    truth, modulation = np.array([0.0, 0, 2, 2, 2, 2]), np.array([0, 2, 0, 2, 2, 2])
    low = np.array([-1.0, 1, 2, 0, 3, 3])
    answers = metrics.Answers(modulation, truth, modulation, truth, [0.0, 2, 4], ("a", "b", "c"))
    found = coverage(answers, low, low + np.array([2, 2, 2, 1, 1, 4]))
    named = found.metric.str.removeprefix("snr_interval_coverage") + found.part
    assert named.tolist() == ["", "_at_db0", "_at_db2", "_of_modulationa", "_of_modulationc"]
    assert_allclose(found.value, [2 / 6, 0.5, 0.25, 1, 0])  # the ends count: frames 0 and 2
    assert_allclose(found.width_db, [2, 2, 2, 2, 2])


def test_the_measured_coverage_follows_the_nominal_level(rng):
    curve = coverage_curve(estimates(rng, 4000), estimates(rng, 8000), GRID)
    assert tuple(curve.level) == LEVELS
    # Binomial over the test frames, and beta in each of 16 groups of the calibration frames.
    spread = np.sqrt(curve.level * (1 - curve.level) * (1 / 8000 + 1 / 4000))
    assert ((curve.value - curve.level).abs() < 4 * spread + 16 / 4000).all()
    assert ((curve.low <= curve.value) & (curve.value <= curve.high)).all()
    assert curve.width_db.is_monotonic_increasing
    # Of a Gaussian error of 1 dB the middle 90 % are 2 * 1.645 dB wide.
    assert_allclose(curve.width_db[LEVELS.index(0.9)], 2 * 1.645, rtol=0.06)


# What a model saved


def saved(rng, *, frames=2000, classifying=False):
    """Return the columns of a model whose every doubt is justified, as a run saves them."""
    columns = {"classes": np.array(["a", "b", "c"]), "grid_db": GRID}
    for prefix in ("", "validation_"):
        truth, estimate = estimates(rng, frames)
        modulation = rng.integers(3, size=frames)
        confidence, right = calibrated(rng, frames, low=0.4)
        sure, right_snr = calibrated(rng, frames)
        other = np.where(truth > 14, truth - 4, truth + 4)
        decided = np.where(right_snr, truth, other)
        columns |= {
            f"{prefix}modulation": modulation,
            f"{prefix}snr_db": truth,
            f"{prefix}predicted_modulation": np.where(right, modulation, (modulation + 1) % 3),
            f"{prefix}predicted_snr_db": decided if classifying else estimate,
            f"{prefix}confidence": confidence,
            f"{prefix}snr_confidence": sure if classifying else np.full(frames, nan),
            f"{prefix}snr_mean_db": estimate,
        }
    return columns


def test_a_model_whose_doubts_are_justified_is_trusted_with_both_heads(rng):
    found = metrics.trust(saved(rng, classifying=True))
    scores = metrics.nested(found.scores, "metric", "part")
    for head in ("modulation", "snr"):
        assert scores[f"{head}_ece"]["value"] < 2 * scores[f"{head}_ece_by_chance"]
    assert abs(scores["snr_interval_coverage"]["value"] - 0.9) < 0.03
    assert list(scores["snr_interval_coverage_at_db"]) == [f"{snr:g}" for snr in GRID]
    assert list(scores["snr_interval_coverage_of_modulation"]) == ["a", "b", "c"]
    parts = ["all", *(f"{snr:g} dB" for snr in GRID), "a", "b", "c"]
    assert list(found.intervals.part) == parts
    columns = ["part", "coverage", "coverage_low", "coverage_high", "width_db"]
    assert list(found.intervals) == columns
    assert found.intervals.width_db[0] == scores["snr_interval_width_db"]
    assert set(found.points.panel) == {"modulation", "snr", "intervals"}
    assert found.points.note.iloc[-1].endswith("dB at 0.95")
    assert found.left_out == ""
    regressing = metrics.trust(saved(rng, frames=500))
    assert set(regressing.points.panel) == {"modulation", "intervals"}


def test_intervals_are_calibrated_on_validation_frames_and_never_on_test_frames(rng):
    columns = saved(rng)
    before = metrics.trust(columns).intervals
    worse = columns["snr_db"] + 3 * (columns["snr_mean_db"] - columns["snr_db"])
    after = metrics.trust(columns | {"snr_mean_db": worse}).intervals
    # The groups change, the reach does not.
    assert_allclose(after.width_db[0], before.width_db[0], rtol=0.05)
    assert after.coverage[0] < 0.6


def test_level_bins_and_seed_of_trust_change_what_they_name(rng):
    columns = saved(rng, frames=800)
    plain = metrics.trust(columns)
    narrow = metrics.trust(columns, level=0.5)
    assert narrow.intervals.width_db[0] < plain.intervals.width_db[0]
    assert (metrics.trust(columns, bins=4).points.panel == "modulation").sum() == 4
    assert not metrics.trust(columns, equal="width").points.equals(plain.points)
    again, other = (metrics.trust(columns, seed=seed).scores for seed in (0, 1))
    assert again.equals(plain.scores)
    changed = other.metric[(other != plain.scores).fillna(False).any(axis=1) & other.low.notna()]
    assert set(changed) == {"modulation_ece", "modulation_mce"}  # the others draw nothing by lot
