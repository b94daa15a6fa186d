"""The figure of fidelity sets simulated and recorded frames beside theory, number by number."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose, assert_array_equal

from modsnr import figures

# The 24 of RadioML 2018.01A: as many as a figure must hold, the longest names among them.
NAMES = (
    *("OOK", "4ASK", "8ASK", "BPSK", "QPSK", "8PSK", "16PSK", "32PSK", "16APSK", "32APSK"),
    *("64APSK", "128APSK", "16QAM", "32QAM", "64QAM", "128QAM", "256QAM", "AM-SSB-WC"),
    *("AM-SSB-SC", "AM-DSB-WC", "AM-DSB-SC", "FM", "GMSK", "OQPSK"),
)
SERIES = ("theory", "simulated", "RadioML 2018.01A", "coloured noise")
FREQUENCY = np.linspace(-0.5, 0.5, 65)


def densities(measured=1):
    density = -30 + 40 * np.exp(-((FREQUENCY / 0.07) ** 6))
    return pd.DataFrame(
        {name: density + level for level, name in enumerate(SERIES[: 1 + measured])}, FREQUENCY
    )


def moments(measured=1, modulations=5, quantities=2):
    rows = [
        (quantity, series, name, -2 + index / modulations + 0.1 * place)
        for quantity in ("C42", "|C40|", "kurtosis")[:quantities]
        for place, series in enumerate(SERIES[: 1 + measured])
        for index, name in enumerate(NAMES[:modulations])
    ]
    table = pd.DataFrame(rows, columns=["quantity", "series", "modulation", "value"])
    return table.assign(low=table.value - 0.1, high=table.value + 0.3)


def draw(measured=1, modulations=5, quantities=2):
    return figures.fidelity(densities(measured), moments(measured, modulations, quantities))


def bars(ax):
    """Return (value, low, high, place, colour, marker) of every series but theory, as drawn."""
    found = []
    for container in ax.containers:
        line, _, (ranges,) = container.lines
        value, place = line.get_data()
        low, high = np.array(ranges.get_segments())[:, :, 0].T
        found.append(
            (value.astype(float), low, high, place, to_hex(line.get_color()), line.get_marker())
        )
    return found


def test_the_power_densities_are_those_given_and_theory_is_dashed_black():
    left = draw(measured=3).axes[0]
    for line, (name, density) in zip(left.lines, densities(3).items(), strict=True):
        assert_array_equal(line.get_xydata(), np.stack([FREQUENCY, density], 1))
        assert (to_hex(line.get_color()) == "#000000") == (name == "theory")
        assert line.is_dashed() == (name == "theory")
    assert left.get_xlabel() == "frequency (cycles/sample)"
    assert left.get_xlim() == (-0.5, 0.5)


def test_every_quantity_has_a_panel_with_a_tick_of_theory_and_a_marker_of_each_series():
    panels = moments(measured=2).groupby("quantity", sort=False)
    for ax, (quantity, given) in zip(draw(measured=2).axes[1:], panels, strict=True):
        assert ax.get_xlabel() == quantity
        theory, *others = (rows for _, rows in given.groupby("series", sort=False))
        at = np.array([segment[:, 0] for segment in ax.collections[0].get_segments()])
        assert_allclose(at, np.tile(theory.value, (2, 1)).T)
        for rows, (value, low, high, *_) in zip(others, bars(ax), strict=True):
            assert_allclose([value, low, high], rows[["value", "low", "high"]].T)


def test_a_series_has_one_colour_in_all_panels_and_no_two_share_a_colour_or_a_marker():
    left, *panels = draw(measured=3).axes
    colours = [to_hex(line.get_color()) for line in left.lines[1:]]
    for ax in panels:
        assert [colour for *_, colour, _ in bars(ax)] == colours
        assert len({marker for *_, marker in bars(ax)}) == 3
    assert len(set(colours)) == 3
    (legend,) = left.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*SERIES]
    assert [to_hex(handle.get_color()) for handle in legend.legend_handles[1:]] == colours


@pytest.mark.parametrize("modulations", [2, 24])
def test_the_series_of_a_modulation_stand_around_its_tick_one_below_the_other(modulations):
    ax = draw(measured=3, modulations=modulations).axes[1]
    places = np.stack([place for *_, place, _, _ in bars(ax)])
    assert_allclose(places.mean(0), range(modulations), atol=1e-12)
    assert (np.diff(places, axis=0) > 0).all()
    spans = np.array([segment[:, 1] for segment in ax.collections[0].get_segments()])
    assert (spans[:, 0] < places).all()
    assert (places < spans[:, 1]).all()
    assert [label.get_text() for label in ax.get_yticklabels()] == [*NAMES[:modulations]]
    assert ax.get_ylim() == (modulations - 0.5, -0.5)  # the first on top


def test_a_series_may_lack_modulations_that_others_have():
    table = moments(measured=1)
    lacking = (table.series == "simulated") & (table.modulation == "BPSK")
    ax = figures.fidelity(densities(), table[~lacking]).axes[1]
    ((_, _, _, places, *_),) = bars(ax)
    assert_array_equal(places.round(), [0, 1, 2, 4])


def test_a_crowded_figure_keeps_its_panels_wide():
    figure = draw(3, 24, 3)
    figure.canvas.draw()
    assert figure.get_figwidth() == figures.PAGE
    assert all(ax.get_window_extent().width > 60 for ax in figure.axes)


def test_without_moments_there_is_no_panel_but_that_of_densities():
    assert len(figures.fidelity(densities(), moments()[:0]).axes) == 1
