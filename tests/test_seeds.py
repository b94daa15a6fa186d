"""Models that differ in their seed alone are one, with a spread; all others stay apart."""

from math import isnan, nan, sqrt

import pandas as pd
import pytest

from modsnr import metrics


def group(*models):
    """Return the groups of models, each given as name, seed and its other choices."""
    names = {model: model for model, _, _ in models}
    choices = {model: {"seed": seed, "epochs": 5} | others for model, seed, others in models}
    return metrics.seed_groups(names, choices)


def test_models_that_differ_in_their_seed_alone_are_a_group_called_by_their_common_beginning():
    assert group(
        ("constellation-0", 0, {}), ("constellation-1", 1, {}),
        ("all-views-0", 0, {"views": ["a"]}), ("all-views-1", 1, {"views": ["a"]}),
    ) == {
        "constellation": ["constellation-0", "constellation-1"],
        "all-views": ["all-views-0", "all-views-1"],
    }  # fmt: skip


def test_a_model_is_called_by_its_run_and_alone_as_it_was_referred_to():
    id_x, id_y = "20260101T000000Z-02_training-a", "20260102T000000Z-02_training-a"
    assert metrics.seed_groups({id_x: "a"}, {id_x: {"seed": 0}}) == {id_x: [id_x]}
    both = metrics.seed_groups({id_x: "a", id_y: "a"}, {id_x: {"seed": 0}, id_y: {"seed": 1}})
    assert both == {"a": [id_x, id_y]}


@pytest.mark.parametrize(
    ("names", "called"),
    [
        (("all-views-10", "all-views-11"), "all-views"),
        (("all-views", "all-views-1"), "all-views"),
        (("resnet18-0", "resnet18-1"), "resnet18"),
        (("alpha", "alfa"), "alpha"),  # no word in common: as the first
    ],
)
def test_a_groups_name_is_of_whole_words_and_numbers(names, called):
    assert group((names[0], 0, {}), (names[1], 1, {})) == {called: list(names)}


def test_no_two_groups_have_one_name_and_the_same_seed_again_is_no_seed_more():
    assert group(
        ("a-0", 0, {}), ("a-1", 1, {}), ("a-again", 1, {}),
        ("a-2", 0, {"epochs": 9}), ("a-3", 1, {"epochs": 9}),
        ("b-0", 0, {"epochs": 7}), ("b-1", 1, {"epochs": 7}), ("b", 0, {"epochs": 1}),
    ) == {
        "a": ["a-0", "a-1"], "a-again": ["a-again"], "a-2": ["a-2", "a-3"],
        "b-0": ["b-0", "b-1"], "b": ["b"],
    }  # fmt: skip


def test_the_spread_over_seeds_is_that_of_a_toy_counted_by_hand():
    rows = [("a", "x", 1.0), ("a", "y", 5.0), ("a", "x", 2.0), ("a", "y", nan), ("a", "x", 6.0),
            ("b", "x", 7.0), ("b", "z", nan)]  # fmt: skip
    found = metrics.over_seeds(pd.DataFrame(rows, columns=["group", "metric", "value"]))
    assert list(found) == ["group", "metric", "mean", "std", "low", "high", "n"]
    assert found.to_numpy().tolist()[0] == ["a", "x", 3.0, sqrt(7), 1.0, 6.0, 3]
    assert [(row.group, row.metric, row.mean, row.n) for row in found.itertuples()][1:] == [
        ("a", "y", 5.0, 1), ("b", "x", 7.0, 1)
    ]  # fmt: skip
    assert isnan(found["std"][1])  # of a single one


def test_a_curve_over_seeds_is_their_mean_between_the_least_and_the_greatest():
    rows = [
        ("g", "snr_accuracy_at_db", "0", 0.2), ("g", "snr_accuracy_at_db", "2", 0.5),
        ("g", "snr_accuracy_at_db", "0", 0.4), ("h", "snr_accuracy_at_db", "0", 0.5),
        ("h", "snr_accuracy", "", 0.5),
    ]  # fmt: skip
    scores = pd.DataFrame(rows, columns=["group", "metric", "part", "value"])
    scores = scores.assign(low=scores.value - 0.1, high=scores.value + 0.1)
    found = metrics.curves_over_seeds(scores)
    columns = ["task", "group", "snr_db", "value", "low", "high", "seeds"]
    assert found[columns].to_numpy().tolist() == [
        ["snr", "g", 0.0, pytest.approx(0.3), 0.2, 0.4, 2],  # 2 dB, which one seed lacks, is not in
        ["snr", "h", 0.0, 0.5, 0.4, 0.6, 1],
    ]
