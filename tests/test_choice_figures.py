"""Figures of choices show the accuracies, their intervals and the bounds that went in."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose
from test_impact_figures import TASKS, VIEWS

from modsnr import figures

SNRS = [float(value) for value in range(0, 32, 2)]
SETTINGS = {
    "bins": ["32", "64", "128", "256", "512"],
    "extent": ["1.5", "3", "4.5"],
    "samples": ["256", "1024", "4096"],
    "views": ["constellation", "synchronised", "aligned", "residual", " + ".join(VIEWS)],
}


def by_choice(choices=SETTINGS, apart=0.01, alike=0.0):
    """Return accuracies that fall over SNR; the bounds of lengths lie apart, others hardly."""
    rows = [
        {"choice": choice, "setting": setting, "snr_db": snr, "value": 0.9 - 0.005 * snr * (1 + n)}
        | {"possible": 0.99 - (apart if choice == "samples" else alike) * n}
        for choice in choices
        for (n, setting), snr in product(enumerate(SETTINGS[choice]), SNRS)
    ]
    table = pd.DataFrame(rows)
    return table.assign(low=table.value - 0.05, high=table.value + 0.05)


def of_subsets():
    subsets = [" + ".join(held) for n in (1, 2, 3) for held in combinations(VIEWS, n)]
    rows = [
        {"subset": subset, "task": task, "value": 0.1 + 0.1 * (n * (t + 2) % 7)}
        for (t, task), (n, subset) in product(enumerate(TASKS), enumerate(subsets))
    ]
    table = pd.DataFrame(rows)
    return table.assign(low=table.value - 0.05, high=table.value + 0.05)


def accuracy_by_choice():
    return figures.accuracy_by_choice(by_choice(), titles={"samples": "samples a frame"})


def ablation():
    return figures.ablation(of_subsets(), titles=TASKS)


def bounds_of(ax):
    return [line for line in ax.lines if line.get_marker() == "None"]


def test_a_choices_lines_hold_the_values_its_bands_the_intervals():
    given, figure = by_choice(), accuracy_by_choice()
    titles = [ax.get_title("left") for ax in figure.axes]
    assert titles == ["bins", "extent", "samples a frame", "views"]
    for ax, (choice, names) in zip(figure.axes, SETTINGS.items(), strict=True):
        for line, band, name in zip(ax.lines, ax.collections, names, strict=False):
            rows = given[(given.choice == choice) & (given.setting == name)]
            assert_allclose(line.get_xydata(), rows[["snr_db", "value"]])
            assert_allclose(band.get_paths()[0].vertices[:, 1].max(), rows.high.max())
        assert [" ".join(text.get_text().split()) for text in ax.get_legend().texts] == names


@pytest.mark.parametrize("alike", [0.0, 1e-4])
def test_a_bound_that_settings_share_in_print_is_one_black_line_others_have_their_colours(alike):
    figure = figures.accuracy_by_choice(by_choice(alike=alike))
    assert [text.get_text() for text in figure.legends[0].texts] == ["possible"]
    bins, _, samples, _ = figure.axes
    (shared,) = bounds_of(bins)
    assert to_hex(shared.get_color()) == "#000000"
    assert_allclose(shared.get_ydata(), 0.99, atol=1e-3)
    lines = samples.lines[:3]
    assert [line.get_color() for line in bounds_of(samples)] == [line.get_color() for line in lines]
    assert [line.get_ydata()[0] for line in bounds_of(samples)] == pytest.approx([0.99, 0.98, 0.97])
    assert all(line.get_linestyle() != "-" for ax in figure.axes for line in bounds_of(ax))


def test_subsets_are_sorted_by_the_first_task_and_their_dots_show_their_parts():
    given = of_subsets()
    held, *panels = ablation().axes
    joint = given[given.task == "joint"].sort_values("value", ascending=False, kind="stable")
    order = list(joint.subset)
    assert [label.get_text() for label in held.get_xticklabels()] == list(VIEWS)
    (parts,) = held.collections
    black = parts.get_offsets()[parts.get_facecolors()[:, 0] < 0.5]
    wanted = [[c, r] for r, subset in enumerate(order) for c, v in enumerate(VIEWS) if v in subset]
    assert_allclose(black, wanted)
    for ax, task in zip(panels, TASKS, strict=True):
        assert ax.get_title() == TASKS[task]
        wanted = given[given.task == task].set_index("subset").loc[order]
        dots, *intervals = (line for line in ax.lines if len(line.get_xdata()))
        assert_allclose(dots.get_xdata(), wanted.value)
        ends = [(np.nanmin(of.get_xdata()), np.nanmax(of.get_xdata())) for of in intervals]
        assert_allclose(ends, wanted[["low", "high"]])
    assert held.get_ylim()[0] > held.get_ylim()[1]  # the first row is at the top
