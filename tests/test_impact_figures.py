"""Figures of impacts show the scores they are given: cells, bars, lines and dots are read back."""

from itertools import product

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose, assert_array_equal

from modsnr import figures

TASKS = {"joint": "joint", "modulation": "modulation", "snr": "SNR"}
MASKS = ("brightest", "dimmest", "random", "random_image")
VIEWS = ("constellation", "synchronised", "residual")
CHANGES = ("SNR (dB)", "carrier phase (degrees)", "ring ratio (octaves)", "fourth", "fifth")
ENDS = ["low", "value", "high"]


def table(column, spread=0.05, **names):
    """Return intervals about ``column(row)``, a row for each combination of names."""
    rows = pd.DataFrame(product(*names.values()), columns=list(names))
    value = rows.apply(column, axis=1)
    return rows.assign(value=value, low=value - spread, high=value + spread)


def scores(masks=MASKS, fractions=(0.01, 0.05, 0.1), tasks=TASKS, **names):
    def score(row):
        place = list(masks).index(row["mask"]) + list(tasks).index(row.task)
        return (1 + place) / (1 + 10 * row.fraction) - 2

    found = table(score, 0.4, **names, mask=masks, fraction=fractions, task=tasks)
    return found.assign(share_of_points=found.fraction)


def of_regions():
    names = ["ring_1", "whole", "ring_1 at random", "whole at random"]

    def lost(row):
        loss = 0.1 + 0.3 * (row["view"] == "residual") + 0.1 * (row.region.startswith("whole"))
        return (loss + 0.05 * (row.task == "snr")) * (-0.01 if "random" in row.region else 1)

    return table(lost, view=["constellation", "residual"], region=names, task=["modulation", "snr"])


def of_labels():
    series = [f"{task}, {mask}" for task in ("modulation", "SNR") for mask in MASKS[::2]]
    labels = {"modulation": ["BPSK", "QPSK", "8PSK"], "snr": [0.0, 2.0]}
    return pd.concat(
        table(lambda row: 0.1 * len(row.series), kind=[kind], series=series, label=of)
        for kind, of in labels.items()
    )


def turned(changes=CHANGES[:3], modulations=("QPSK", "16APSK", "64QAM")):
    """Return shares that grow with the size of a change, to either side."""
    sizes = (0, 2, 4, 8, -2, -4, -8)

    def share(row):
        return 0.1 + abs(row.by) * (1 + list(modulations).index(row.modulation)) / 40

    return table(share, change=changes, modulation=modulations, by=sizes)


def impact_bars():
    return figures.impact_bars(scores(), tasks=TASKS)


def impact_panels():
    return figures.impact_panels(scores(view=VIEWS), rows="view", tasks=TASKS)


def region_matrix():
    return figures.region_matrix(of_regions(), tasks={"modulation": "modulation", "snr": "SNR"})


def impact_by_label():
    labels = {"modulation": "modulation", "snr": "SNR (dB)"}
    return figures.impact_by_label(of_labels(), xlabels=labels)


def method_bars():
    quantities = [f"{t}, {end}" for t in ("modulation", "SNR") for end in ("deletion", "insertion")]
    areas = table(
        lambda row: 0.1 * "abc".index(row.method) + 0.2, quantity=quantities, method="abc"
    )
    return figures.method_bars(areas)


def counterfactual_curves():
    return figures.counterfactual_curves(turned())


def bars_of(ax):
    return [group for group in ax.containers if isinstance(group, mpl.container.BarContainer)]


def lines_of(ax):
    """Return the lines of a panel's series, not those of its intervals and axes."""
    return [line for line in ax.lines if line.get_marker() in figures.MARKERS]


def legend_of(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def whiskers(ax):
    """Return the ends of the upright intervals of bars or dots, sorted, [interval, 2]."""
    drawn = [line.get_ydata() for line in ax.lines if line.get_marker() == "None"]
    ends = np.array([[np.nanmin(of), np.nanmax(of)] for of in drawn])
    return np.sort(ends[ends[:, 0] < ends[:, 1]], axis=0)  # without the line at nothing


# Scores


def test_bars_are_as_high_as_the_scores_with_their_intervals_and_named_once():
    given, figure = scores(), impact_bars()
    assert [ax.get_title() for ax in figure.axes] == list(TASKS.values())
    for ax, task in zip(figure.axes, TASKS, strict=True):
        for group, mask in zip(bars_of(ax), MASKS, strict=True):
            wanted = given[(given["mask"] == mask) & (given.task == task)]
            assert_allclose([bar.get_height() for bar in group], wanted.value)
        wanted = given[given.task == task]
        assert_allclose(whiskers(ax), np.sort(wanted[["low", "high"]], axis=0))
        assert ticks(ax.xaxis) == ["1 %", "5 %", "10 %"]
    assert legend_of(figure) == ["brightest", "dimmest", "random", "random image"]
    first = [group[0] for group in bars_of(figure.axes[0])]
    assert len({to_hex(bar.get_facecolor()) for bar in first}) == 4
    assert len({bar.get_hatch() for bar in first}) == 4
    assert_allclose(np.diff([bar.get_x() for bar in first]), first[0].get_width())


@pytest.mark.parametrize(("masks", "fractions"), [("abcdefghi", (0.01, 0.1)), ("a", (0.05,))])
def test_any_number_of_masks_and_fractions_is_drawn(masks, fractions):
    given = scores(masks=masks, fractions=fractions, view=["residual"])
    assert len(bars_of(figures.impact_bars(given, tasks=TASKS).axes[0])) == len(masks)
    panels = figures.impact_panels(given, rows="view", tasks=TASKS)
    assert len(lines_of(panels.axes[0])) == len(masks)


def test_panels_hold_a_row_a_view_a_column_a_task_and_their_own_scales_unless_shared():
    given = scores(view=VIEWS)
    odd = (given["view"] == "residual") & (given["mask"] == "dimmest") & (given.task == "snr")
    given.loc[odd, ENDS] = [-7.4, -7.0, 39.0]
    figure = figures.impact_panels(given, rows="view", tasks=TASKS)
    grid = np.array(figure.axes).reshape(3, 3)
    assert [ax.get_ylabel() for ax in grid[:, 0]] == list(VIEWS)
    assert [ax.get_title() for ax in grid[0]] == list(TASKS.values())
    dimmest = lines_of(grid[2, 2])[1]
    assert_allclose(dimmest.get_xdata(), [1, 5, 10], rtol=0.06)  # moved aside a little
    assert_allclose(dimmest.get_ydata(), -7)
    assert ticks(grid[2, 0].xaxis) == ["1", "5", "10"]
    assert grid[1, 2].get_ylim() != grid[2, 2].get_ylim()
    shared = figures.impact_panels(given, rows="view", tasks=TASKS, sharey=True).axes
    assert shared[5].get_ylim() == shared[8].get_ylim()


def test_over_points_each_mask_stands_at_the_share_that_it_hid():
    given = pd.concat(
        [scores(masks=["dimmest"]), scores(masks=["brightest"], fractions=[0.03, 0.9])]
    )
    figure = figures.impact_panels(
        given.assign(model="net"), rows="model", tasks={"joint": "joint"}, over="points"
    )
    (ax,) = figure.axes
    shown = [line.get_xdata().tolist() for line in lines_of(ax)]
    assert shown == [pytest.approx([1, 5, 10]), pytest.approx([3, 90])]
    assert ticks(ax.xaxis) == ["1", "2", "5", "10", "20", "50", "100"]
    assert ax.get_xlabel() == "points hidden (%)"


def test_a_cell_of_the_region_matrix_shows_the_loss_and_what_chance_costs():
    left, right, _ = region_matrix().axes
    assert [text.get_text() for text in left.texts] == ["10 (0)", "40 (0)", "20 (0)", "50 (0)"]
    assert_allclose(right.collections[0].get_array(), [[15, 45], [25, 55]])
    assert ticks(left.yaxis) == ["ring 1", "whole"]
    assert [ax.get_title() for ax in (left, right)] == ["modulation", "SNR"]


def test_a_score_stands_over_its_label_with_its_interval():
    first, second = impact_by_label().axes
    assert ticks(first.xaxis) == ["BPSK", "QPSK", "8PSK"]
    assert ticks(second.xaxis) == ["0", "2"]
    series = of_labels().series.unique()
    for line, name in zip(lines_of(first), series, strict=True):
        assert_allclose(line.get_ydata().astype(float), 0.1 * len(name))
        assert_allclose(line.get_xdata(), range(3), atol=0.45)
    wanted = of_labels().query("kind == 'snr'")
    assert_allclose(whiskers(second), np.sort(wanted[["low", "high"]], axis=0))
    assert second.get_xlabel() == "SNR (dB)"


def test_bars_of_methods_stand_for_their_values_the_first_on_top():
    (ax,) = method_bars().axes
    assert len(bars_of(ax)) == 4
    for group in bars_of(ax):
        assert_allclose([bar.get_width() for bar in group], [0.2, 0.3, 0.4])
    assert ticks(ax.yaxis) == ["a", "b", "c"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


# Changes


def test_curves_run_over_both_sides_in_order_with_their_intervals():
    given, figure = turned(), counterfactual_curves()
    assert [ax.get_xlabel() for ax in figure.axes] == list(CHANGES[:3])
    for ax, (_, rows) in zip(figure.axes, given.groupby("change", sort=False), strict=True):
        series = [of.sort_values("by") for _, of in rows.groupby("modulation", sort=False)]
        for line, band, wanted in zip(lines_of(ax), ax.collections, series, strict=True):
            assert_array_equal(line.get_xydata(), wanted[["by", "value"]])
            edge = band.get_paths()[0].vertices[:, 1]
            assert_allclose([edge.min(), edge.max()], [wanted.low.min(), wanted.high.max()])
    assert figure.axes[0].get_ylabel() == "share of answers turned"


def test_a_modulation_has_one_colour_in_all_panels_and_one_entry_of_the_legend():
    given = turned()
    given = given[(given.change != CHANGES[2]) | (given.modulation != "QPSK")]  # it has no rings
    figure = figures.counterfactual_curves(given)
    colours = [[to_hex(line.get_color()) for line in lines_of(ax)] for ax in figure.axes]
    assert colours == [colours[0], colours[0], colours[0][1:]]
    assert legend_of(figure) == ["QPSK", "16APSK", "64QAM"]


@pytest.mark.parametrize("count", [1, 4])
def test_any_number_of_changes_is_drawn(count):
    figure = figures.counterfactual_curves(turned(CHANGES[:count]))
    assert len(figure.axes) == count
    assert len([ax for ax in figure.axes if ax.get_ylabel()]) == -(-count // 3)
