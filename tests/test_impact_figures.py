"""Figures of impacts show what they are given: cells, points and bars are read back."""

import matplotlib.image
import numpy as np
import pytest

from modsnr import figures

TASKS = {"modulation": "modulation", "snr": "SNR"}


def interval(value):
    return {"value": value, "low": value - 0.02, "high": value + 0.02}


def of_regions(scale):
    return {
        view: {
            region: {
                task: interval(scale * (0.1 + 0.3 * v + 0.1 * r + 0.05 * t))
                for t, task in enumerate(TASKS)
            }
            for r, region in enumerate(("ring_1", "whole"))
        }
        for v, view in enumerate(("constellation", "residual"))
    }


def region_matrix():
    return figures.region_matrix(of_regions(1.0), of_regions(-0.01), tasks=TASKS)


def impact_by_label():
    scores = {
        "modulation": {"brightest": {"BPSK": interval(0.3), "QPSK": interval(0.1)}},
        "snr": {"brightest": {0.0: interval(0.2), 2.0: interval(0.4)}},
    }
    return figures.impact_by_label(scores, xlabels={"modulation": "modulation", "snr": "SNR (dB)"})


def method_bars():
    areas = {
        f"{task}, {end}": {name: interval(0.1 * k + 0.2) for k, name in enumerate("abc")}
        for task in ("modulation", "SNR")
        for end in ("deletion", "insertion")
    }
    return figures.method_bars(areas, xlabel="area")


@pytest.fixture
def on_paper(tmp_path):
    """Save a figure, so that it is laid out, and return the picture."""

    def save(figure):
        figure.savefig(tmp_path / "figure.png")
        return matplotlib.image.imread(tmp_path / "figure.png")

    return save


def test_a_cell_of_the_region_matrix_tells_the_loss_and_what_chance_costs(on_paper):
    figure = region_matrix()
    on_paper(figure)
    left, right = figure.axes[:2]
    assert [text.get_text() for text in left.texts] == [
        "10 (0)", "40 (0)", "20 (0)", "50 (0)",
    ]  # fmt: skip
    np.testing.assert_allclose(right.images[0].get_array(), [[15, 45], [25, 55]])
    assert [label.get_text() for label in left.get_yticklabels()] == ["ring 1", "whole"]
    assert [ax.get_title() for ax in (left, right)] == ["modulation", "SNR"]


def test_a_score_stands_over_its_label(on_paper):
    figure = impact_by_label()
    on_paper(figure)
    first, second = figure.axes
    assert [label.get_text() for label in first.get_xticklabels()] == ["BPSK", "QPSK"]
    assert [label.get_text() for label in second.get_xticklabels()] == ["0", "2"]
    np.testing.assert_allclose(first.lines[0].get_ydata(), [0.3, 0.1])
    assert second.get_xlabel() == "SNR (dB)"


def test_bars_of_methods_stand_for_their_values_and_the_legend_is_whole(on_paper):
    figure = method_bars()
    on_paper(figure)
    (ax,) = figure.axes
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches[:3]], [0.2, 0.3, 0.4])
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
