"""Models that differ in their seed alone are one, with a spread; all others stay apart."""

from math import sqrt

import pytest

from modsnr import InputError, metrics


def parameters(name, seed=0, **others):
    return {"name": name, "seed": seed, "note": "", "resume": "", "epochs": 5} | others


def models(*runs):
    return {run["name"]: run for run in runs}


# Which are one


def test_models_that_differ_in_their_seed_alone_are_a_group_called_by_their_common_beginning():
    given = models(
        parameters("constellation-0", 0),
        parameters("constellation-1", 1),
        parameters("all-views-0", 0, views=["a"]),
        parameters("all-views-1", 1, views=["a"]),
    )
    assert metrics.seed_groups(given) == {
        "constellation": ["constellation-0", "constellation-1"],
        "all-views": ["all-views-0", "all-views-1"],
    }


@pytest.mark.parametrize(
    "change", [{"note": "again"}, {"resume": "a-0"}, {"minutes": 9.0}, {"wandb": "mine"}]
)
def test_what_changes_no_result_keeps_no_models_apart(change):
    given = models(parameters("a-0"), parameters("a-1", 1, **change))
    assert metrics.seed_groups(given) == {"a": ["a-0", "a-1"]}


def test_any_other_parameter_keeps_models_apart_unless_it_is_named():
    given = models(parameters("a-0"), parameters("a-1", 1, epochs=6))
    assert metrics.seed_groups(given) == {"a-0": ["a-0"], "a-1": ["a-1"]}
    together = metrics.seed_groups(given, apart=("name", "seed", "epochs"))
    assert together == {"a": ["a-0", "a-1"]}


def test_a_model_alone_keeps_the_name_by_which_it_was_asked_for():
    assert metrics.seed_groups({"20260101T000000Z-02_training-a": parameters("a")}) == {
        "20260101T000000Z-02_training-a": ["20260101T000000Z-02_training-a"]
    }


def test_models_of_one_name_asked_for_by_their_ids_are_called_by_it():
    given = {"id-x": parameters("all-views", 0), "id-y": parameters("all-views", 1)}
    assert metrics.seed_groups(given) == {"all-views": ["id-x", "id-y"]}


@pytest.mark.parametrize(
    ("names", "group"),
    [
        (("all-views-10", "all-views-11"), "all-views"),
        (("all-views", "all-views-1"), "all-views"),
        (("resnet18-0", "resnet18-1"), "resnet18"),
        (("resnet18_seed0", "resnet18_seed1"), "resnet18_seed"),
        (("alpha", "alfa"), "alpha"),  # no word in common: as the first
    ],
)
def test_a_groups_name_is_of_whole_words_and_numbers(names, group):
    given = models(parameters(names[0], 0), parameters(names[1], 1))
    assert metrics.seed_groups(given) == {group: list(names)}


def test_no_two_groups_have_one_name():
    given = models(
        parameters("a-0", 0), parameters("a-1", 1),
        parameters("a-2", 0, epochs=9), parameters("a-3", 1, epochs=9),
        parameters("b-0", 0, epochs=7), parameters("b-1", 1, epochs=7), parameters("b", epochs=1),
    )  # fmt: skip
    assert metrics.seed_groups(given) == {
        "a": ["a-0", "a-1"], "a-2": ["a-2", "a-3"], "b-0": ["b-0", "b-1"], "b": ["b"]
    }  # fmt: skip


def test_the_same_seed_again_is_no_seed_more():
    given = models(parameters("a-0"), parameters("a-1", 1), parameters("again"))
    assert metrics.seed_groups(given) == {"a": ["a-0", "a-1"], "again": ["again"]}


# What they reach


def test_the_spread_over_seeds_is_that_of_a_toy_counted_by_hand():
    found = metrics.over_seeds([{"x": 1.0, "y": 5}, {"x": 2.0, "y": None}, {"x": 6.0}])
    assert found["x"] == {"mean": 3.0, "std": sqrt(7), "low": 1.0, "high": 6.0, "n": 3}
    assert found["y"] == {"mean": 5.0, "std": None, "low": 5.0, "high": 5.0, "n": 1}


def test_a_metric_that_no_seed_has_is_left_out():
    assert metrics.over_seeds([{"x": None}, {}]) == {}


def test_of_no_seeds_there_is_no_mean():
    with pytest.raises(InputError, match="no model"):
        metrics.over_seeds([])
    with pytest.raises(InputError, match="no curve"):
        metrics.curve_over_seeds([])


def test_headlines_are_the_values_that_there_are_and_the_worst_snr():
    point = {"value": 0.5, "low": 0.4, "high": 0.6}
    summary = {
        "joint_accuracy": point,
        "snr_ece": None,
        "snr_interval_width_db": 1.5,
        "modulation_macro_f1": point,
        "snr_accuracy_at_db": {"0": point, "2": {**point, "value": 0.125}, "4": point},
    }
    assert metrics.headlines(summary) == {
        "joint_accuracy": 0.5, "snr_interval_width_db": 1.5, "snr_accuracy_worst": 0.125
    }  # fmt: skip


def test_a_curve_over_seeds_is_their_mean_between_the_least_and_the_greatest():
    one = {"0": {"value": 0.2, "low": 0.1, "high": 0.3}, "2": {"value": 0.5, "low": 0, "high": 1}}
    other = {"0": {"value": 0.4, "low": 0.0, "high": 0.9}}
    assert metrics.curve_over_seeds([one]) == one
    found = metrics.curve_over_seeds([one, other])
    assert found == {
        "0": {"value": pytest.approx(0.3), "low": 0.2, "high": 0.4, "seeds": 2}
    }  # 2 dB, which one seed lacks, is left out


# As tables


def test_results_stand_in_a_row_a_metric_and_a_column_a_model():
    point = {"value": 0.5, "low": 0.25, "high": 0.625}
    rows = metrics.results_rows({
        "old": {"joint_accuracy": point, "attractor_snr_db": 4.0, "at_db": {"0": point}},
        "new": {"joint_accuracy": point | {"value": 0.6}, "snr_ece": point},
    })  # fmt: skip
    assert rows == [
        {"metric": "joint_accuracy", "old": "0.500 [0.250, 0.625]", "new": "0.600 [0.250, 0.625]"},
        {"metric": "snr_ece", "old": "", "new": "0.500 [0.250, 0.625]"},
    ]


def test_each_group_has_the_spread_of_its_own_models():
    found = metrics.spreads(
        {"a": ["a-0", "a-1"], "b": ["b"]}, {"a-0": {"x": 1.0}, "a-1": {"x": 3.0}, "b": {"x": 7.0}}
    )
    assert found["a"]["x"] == {"mean": 2.0, "std": sqrt(2), "low": 1.0, "high": 3.0, "n": 2}
    assert found["b"]["x"]["mean"] == 7.0
    rows = metrics.spread_rows(found)
    assert rows[0] == {"group": "a", "metric": "x"} | found["a"]["x"]
    assert [row["group"] for row in rows] == ["a", "b"]


def test_coverage_has_a_row_for_all_frames_each_snr_and_each_modulation_that_there_is():
    def point(value):
        return {
            "coverage": {"value": value, "low": value - 0.1, "high": 1.0},
            "width_db": 3 * value,
        }

    found = point(0.9) | {"at_db": {"-2": point(0.8)}, "of_modulation": {"BPSK": point(0.7)}}
    rows = metrics.coverage_rows({"new": {"intervals": found}, "old": {"intervals": None}})
    assert [(row["model"], row["part"], row["coverage"]) for row in rows] == [
        ("new", "all", 0.9), ("new", "-2 dB", 0.8), ("new", "BPSK", 0.7)
    ]  # fmt: skip
    assert rows[0]["coverage_low"] == pytest.approx(0.8)
    assert rows[0]["coverage_high"] == 1.0
    assert rows[0]["width_db"] == pytest.approx(2.7)


def test_a_parameter_without_effect_does_not_part_two_seeds():
    runs = {
        f"net-{seed}": {"name": f"net-{seed}", "seed": seed, "task_weighting": way} | {
            "modulation_share": share
        }
        for seed, way, share in ((0, "uncertainty", 0.5), (1, "uncertainty", 0.7))
    }  # fmt: skip
    assert list(metrics.seed_groups(runs)) == ["net"]
    fixed = {name: of | {"task_weighting": "fixed"} for name, of in runs.items()}
    assert list(metrics.seed_groups(fixed)) == ["net-0", "net-1"]


@pytest.mark.parametrize(("hide", "parts"), [("", False), ("random", False), ("snr", True)])
def test_the_network_that_says_what_to_hide_parts_models_only_where_it_is_asked(hide, parts):
    given = models(
        parameters("a-0", hide=hide, hide_by="one"), parameters("a-1", 1, hide=hide, hide_by="two")
    )
    assert (len(metrics.seed_groups(given)) == 2) is parts
