"""Networks under other conditions and before unknown modulations: frames, numbers, figures."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from modsnr import InputError, figures, frames, generalisation, metrics, runs, signals
from modsnr.generalisation import Seen

CLASSES = ("BPSK", "16APSK")
TASKS = ("joint", "modulation", "snr")


def labels(count=64):
    return np.arange(count) % 2, np.full(count, 10.0)


def made(condition, *, seed=1, count=64):
    return signals.simulate_condition(condition, *labels(count), seed=seed, classes=CLASSES)


# Conditions


@pytest.mark.parametrize("condition", signals.CONDITIONS)
def test_every_condition_makes_a_frame_a_label_the_same_each_time(condition):
    found, again, other = (made(condition, seed=seed, count=8) for seed in (1, 1, 2))
    assert found.shape == (8, signals.CONDITIONS[condition].samples)
    assert found.dtype == np.complex64
    assert_array_equal(found, again)
    assert (found != other).mean() > 0.99
    others = [made(name, count=8)[:, :128] for name in signals.CONDITIONS if name != condition]
    assert not any(np.array_equal(found[:, :128], iq) for iq in others)


@pytest.mark.parametrize(
    ("condition", "channel", "samples"),
    [
        ("liquid_rings", {"name": "minor", "geometry": "liquid"}, 1024),
        ("fixed_rolloff", {"name": "minor", "rolloff": 0.22}, 1024),
        ("samples_512", {"name": "minor"}, 512),
        ("samples_4096", {"name": "minor"}, 4096),
        ("rayleigh_1_moderate", {"name": "moderate", "delay_spread": 1.0}, 1024),
    ],
)
def test_a_condition_is_the_channel_that_it_is_called_after(condition, channel, samples):
    wanted = signals.CONDITIONS[condition]
    assert (wanted.channel, wanted.samples) == (signals.channel(**channel), samples)


def test_no_frame_is_one_that_a_store_of_the_same_seed_has():
    rows = np.arange(64)
    make = signals.Simulator(1, CLASSES, signals.Channel())
    stored = make(rows, labels()[0], labels()[1].astype(np.float32))
    assert not np.isclose(made("minor"), stored).all(1).any()


def test_the_independent_generator_has_liquids_rings_at_the_label_s_snr():
    found = made("independent", count=200)
    assert_allclose(np.square(np.abs(found)).mean(), 1.1, rtol=0.02)
    assert len(np.unique(found[:, 0])) == 200


def test_a_condition_that_is_none_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="'samples_51'; did you mean 'samples_512'"):
        made("samples_51")


# Numbers


def answers(right, modulation=None):
    """Return answers of which the modulation is right as given, and the SNR where both are."""
    right = np.array(right, bool)
    named = right if modulation is None else modulation
    truth, wrong = np.zeros(len(right), int), np.ones(len(right), int)
    snrs = np.where(right, 0.0, 10.0)
    return metrics.Answers(truth, np.zeros(len(right)), np.where(named, 0, wrong), snrs, [0.0, 10])


GIVEN = {
    "minor": {"a": answers([1, 1, 1, 0]), "b": answers([1, 0, 0, 0], np.ones(4, bool))},
    "independent": {"a": answers([1, 1, 0, 0])},
}


def test_the_matrix_holds_each_networks_accuracy_under_each_condition_it_was_tested_under():
    matrix = generalisation.accuracy_matrix(GIVEN)
    cells = matrix.set_index(["task", "model", "condition"])
    assert cells.value["joint", "a", "minor"] == 0.75
    assert cells.value["joint", "a", "independent"] == 0.5
    assert cells.value["modulation", "b", "minor"] == 1.0
    assert len(matrix) == len(TASKS) * 3
    assert ((matrix.low >= 0) & (matrix.low <= matrix.value) & (matrix.value <= matrix.high)).all()


def test_the_loss_is_the_paired_difference_of_networks_tested_twice():
    loss = generalisation.losses(GIVEN, "minor", "independent")
    assert list(loss) == ["a"]
    assert loss["a"]["value"] == 0.25
    pair = [GIVEN[where]["a"].right() for where in ("minor", "independent")]
    assert loss["a"] == metrics.difference(*pair)
    assert generalisation.losses(GIVEN, "minor", "nowhere") == {}


def test_what_is_lost_of_the_possible_is_the_ceiling_less_the_joint_accuracy():
    matrix = generalisation.accuracy_matrix(GIVEN)
    whole = {"model": "ceiling", "task": "joint", "value": 0.9, "low": 0.86, "high": 0.93}
    possible = pd.DataFrame([{**whole, "condition": name} for name in ("minor", "independent")])
    below = generalisation.below_ceiling(matrix, possible)
    assert below.groupby("model").size().to_dict() == {"a": 2, "b": 1}
    row = below.set_index(["model", "condition"]).loc["a", "minor"]
    cell = matrix.set_index(["task", "model", "condition"]).loc["joint", "a", "minor"]
    assert row.value == pytest.approx(0.15)
    assert row.high == pytest.approx(0.15 + np.hypot(0.03, cell.value - cell.low))
    assert row.low == pytest.approx(0.15 - np.hypot(0.04, cell.high - cell.value))


def test_the_area_is_that_of_a_literal_count_over_all_pairs(rng):
    unknown, known = rng.integers(0, 6, 40).astype(float), rng.integers(-2, 4, 30).astype(float)
    pairs = [(u > k) + (u == k) / 2 for u in unknown for k in known]
    found = generalisation.auc(unknown, known, rng=rng)
    assert found["value"] == pytest.approx(np.mean(pairs))
    assert found["low"] < found["value"] < found["high"]


def test_the_areas_interval_covers_its_closed_form_as_often_as_it_says(rng):
    """Two Gaussians a standard deviation apart have an area of Phi(1 / sqrt 2) = 0.760."""
    covered = []
    for _ in range(20):
        found = generalisation.auc(rng.normal(1, 1, 100), rng.normal(0, 1, 80), rng=rng)
        covered.append(found["low"] <= 0.7602 <= found["high"])
    assert np.mean(covered) > 0.85


def test_separated_scores_have_an_area_of_one_and_equal_ones_of_a_half(rng):
    ones, noughts = np.ones(20), np.zeros(20)
    assert generalisation.auc(ones, noughts, rng=rng) == {"value": 1, "low": 1, "high": 1}
    assert generalisation.auc(noughts, ones, rng=rng)["value"] == 0
    assert generalisation.auc(ones, ones, rng=rng)["value"] == 0.5


def test_the_level_is_exceeded_by_the_share_asked_for(rng):
    threshold, known = rng.normal(size=4000), rng.normal(size=4000)
    unknown = rng.normal(2, 1, 4000)
    for share, wanted in ((0.05, 1.645), (0.2, 0.842)):
        table = generalisation.reject(threshold, known, unknown, false_alarm=share, rng=rng)
        found = table.set_index("measure").value
        assert share - 1 / 1000 < (threshold > found.level).mean() <= share
        assert found.level == pytest.approx(wanted, abs=0.1)
        assert found.false_alarms == pytest.approx(share, abs=0.02)
        assert found.detected == (unknown > found.level).mean()
        assert found.auc == pytest.approx(0.921, abs=0.01)  # Phi(sqrt 2)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"threshold": np.zeros(19)}, "19 known frames .* at least 20"),
        ({"unknown": np.array([0.0, np.nan])}, "1 scores are not finite"),
    ],
)
def test_scores_that_tell_nothing_are_refused(change, refusal, rng):
    given = {"threshold": np.zeros(30), "known": np.zeros(30), "unknown": np.ones(30)}
    with pytest.raises(InputError, match=refusal):
        generalisation.reject(**(given | change), false_alarm=0.05, rng=rng)


def seen(rng, count, centre, confidence):
    features = rng.normal(size=(count, 3)) + centre
    return Seen(rng.uniform(0, 30, count), rng.uniform(*confidence, count), features)


def test_each_score_rejects_what_differs_in_it_alone(rng):
    modulation = np.arange(400) % 2
    centre = np.where(modulation[:, None] == 0, [[0.0, 0, 0]], [[9.0, 0, 0]])
    usual = (0.5, 1.0)
    of = {role: seen(rng, 400, centre, usual) for role in ("learn", "threshold", "known")}
    strange = of | {"unknown": seen(rng, 400, np.array([4.5, 9, 0]), usual)}
    unsure = of | {"unknown": seen(rng, 400, centre, (0.1, 0.4))}
    options = {"false_alarm": 0.05, "rng": rng}
    found = generalisation.reject_by_each(strange, modulation, **options)
    value = found.set_index(["score", "measure"]).value
    assert value["novelty", "detected"] == 1
    assert value["confidence", "auc"] == pytest.approx(0.5, abs=0.08)
    found = generalisation.reject_by_each(unsure, modulation, **options)
    value = found.set_index(["score", "measure"]).value
    assert value["confidence", "detected"] == 1
    assert value["novelty", "auc"] == pytest.approx(0.5, abs=0.08)


def test_the_shift_profile_trains_every_network_that_its_08_names():
    profile = runs.load_profile("shift")
    trained = {s.name: s.parameters for s in profile.pipeline if s.notebook == "02_training"}
    stores = {s.parameters["frames"]: s.parameters for s in profile.pipeline[:7]}
    of_08 = profile.notebooks["08_generalisation"]
    assert {*of_08["models"], *of_08["left_out"]} <= set(trained)
    for name, given in trained.items():
        left = given.get("leave_out", [])
        assert name == (f"without-{left[0]}" if left else name)
        assert given["frames"] in stores
    for name in of_08["models"]:
        made = stores[f"shift-{name}"]
        air = signals.channel(made.get("channel", "minor"), made.get("apsk_geometry", ""))
        assert air == signals.CONDITIONS[name].channel


# Modulations left out of a store


@pytest.fixture
def store(tmp_path):
    classes = ("BPSK", "QPSK", "8PSK")
    modulation, snr_db = frames.grid_labels(classes, [0.0, 10.0], 20)
    make = signals.Simulator(1, classes, signals.Channel(), 64)
    part_of = frames.split(modulation, snr_db, seed=1)
    path = tmp_path / "frames.h5"
    frames.write(path, frames.simulated(make, modulation, snr_db), part_of, split_seed=1)
    return path


def test_the_frames_of_some_classes_are_read_with_labels_of_their_own(store):
    whole = frames.read(store, "train")
    some = frames.read_of(store, "train", ("8PSK", "BPSK"))
    kept = whole.modulation != 1
    assert some.classes == ("8PSK", "BPSK")
    assert_array_equal(some.iq, whole.iq[kept])
    assert_array_equal(some.snr_db, whole.snr_db[kept])
    assert_array_equal(
        np.array(some.classes)[some.modulation], np.array(whole.classes)[whole.modulation[kept]]
    )


def test_at_most_so_many_are_drawn(store, rng):
    drawn, others = (frames.read_of(store, "train", ("QPSK",), most=9, rng=rng) for _ in "ab")
    assert len(drawn) == 9
    assert (drawn.iq[:, 0] != others.iq[:, 0]).any()
    with pytest.raises(InputError, match=r"'16QAM'; .*known: BPSK, QPSK, 8PSK"):
        frames.read_of(store, "train", ("16QAM",))


def test_what_remains_keeps_its_order():
    assert frames.remaining(("BPSK", "QPSK", "8PSK"), ["QPSK"]) == ("BPSK", "8PSK")
    with pytest.raises(InputError, match="no class to leave out is called '16QAM'"):
        frames.remaining(("BPSK", "QPSK"), ["16QAM"])
    with pytest.raises(InputError, match="none remains"):
        frames.remaining(("BPSK", "QPSK"), ["BPSK", "QPSK"])


# Figures


def test_the_matrix_is_drawn_with_its_numbers_and_frames_each_networks_own_condition():
    conditions = ("minor", "rayleigh_1", "liquid_rings")
    networks = ("liquid_rings", "all-views")
    given = pd.DataFrame(
        {
            "task": task, "model": network, "condition": condition,
            "value": 0.1 + 0.05 * row + 0.04 * column,
        }
        for task in TASKS
        for row, network in enumerate(networks)
        for column, condition in enumerate(conditions)
        if (task, network, condition) != ("joint", "all-views", "rayleigh_1")
    )  # fmt: skip
    figure = figures.shift_matrix(given, conditions=conditions, titles={"snr": "SNR"})
    panels = figure.axes[:3]
    assert [ax.get_title() for ax in panels] == ["joint", "modulation", "SNR"]
    shown = np.ma.filled(panels[0].collections[0].get_array(), np.nan)
    assert np.argwhere(np.isnan(shown)).tolist() == [[1, 1]]
    assert len(panels[0].texts) == 5
    texts = {tuple(map(int, t.get_position())): t.get_text() for t in panels[1].texts}
    assert texts[2, 1] == "23.0"
    framed = {(round(p.get_x()), round(p.get_y())) for p in panels[0].patches}
    assert framed == {(2, 0)}


def test_rejection_bars_are_as_high_as_what_is_achieved():
    names = ("8PSK", "64QAM", "BPSK")
    given = pd.DataFrame(
        {
            "left out": name, "score": score, "measure": measure, "value": value,
            "low": value - 0.02, "high": value + 0.02,
        }
        for m, name in enumerate(names)
        for s, score in enumerate(("confidence", "novelty"))
        for measure, value in (("auc", 0.6 + 0.1 * s), ("detected", 0.1 + 0.2 * s + 0.1 * m))
    )  # fmt: skip
    area, detected = figures.rejection_bars(given, false_alarm=0.05).axes
    heights = [
        [bar.get_height() for bar in group]
        for group in detected.containers
        if len(group) == 3 and hasattr(group[0], "get_height")
    ]
    assert_allclose(heights, [[0.1, 0.2, 0.3], [0.3, 0.4, 0.5]])
    assert [label.get_text() for label in area.get_xticklabels()] == list(names)
    assert "5 %" in detected.get_ylabel()
