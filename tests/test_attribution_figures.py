"""Figures of attributions show the maps and points that went in."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from modsnr import figures, signals

ROWS, SNRS = ("QPSK", "16APSK", "128QAM"), ("0 dB", "10 dB", "20 dB", "30 dB")
VIEWS = ("constellation", "synchronised", "residual")


def alphabets(names=ROWS):
    return {name: signals.alphabet(name).numpy() for name in names}


def clouds(rows, columns, bins=32):
    """Return a disc that shrinks from column to column, [row, column, bins, bins]."""
    place = np.arange(bins) - (bins - 1) / 2
    radius = np.hypot(*np.meshgrid(place, place))
    return np.stack([[radius < bins / (3 + column) for column in range(columns)]] * rows) * 1.0


def maps_over_alphabet(names=ROWS, columns=SNRS, **options):
    seen = clouds(len(names), len(columns))
    maps = np.random.default_rng(3).normal(size=seen.shape) * seen
    return figures.maps_over_alphabet(
        seen, 1e-5 * maps, alphabets(names), columns=columns, extent=2.0, **options
    )


def points_in_time(panels=("constellation", "synchronised", "residual"), samples=256):
    rng = np.random.default_rng(4)
    iq = rng.normal(size=(samples, 2)) @ [1, 1j]
    values = {
        name: (np.arange(3 * n, samples - 3 * n, 1 + n), rng.normal(size=samples)[: -6 * n or None])
        for n, name in enumerate(panels)
    }
    values = {name: (times, value[: len(times)]) for name, (times, value) in values.items()}
    return figures.points_in_time(iq, values, title="64QAM at 16 dB")


def panels_of(figure):
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]


# Beside diagrams


def images(*leading, bins=24):
    return np.random.default_rng(2018).poisson(0.4, (*leading, bins, bins)).astype(np.float32)


def attribution_grid():
    maps = images(4, 3) - 0.5
    rows = ["4ASK\n0 dB", "16PSK\n10 dB", "128APSK\n20 dB", "OQPSK\n30 dB"]
    return figures.attribution_grid(
        images(4, 3), {"modulation": maps, "SNR": -maps}, rows=rows, views=VIEWS
    )


def test_attributions_stand_beside_their_diagram_on_a_symmetric_scale():
    given, maps = images(2, 3), images(2, 3) - 3.0
    figure = figures.attribution_grid(given, {"modulation": maps}, rows=["a", "b"], views=VIEWS)
    grid = np.array(figure.axes).reshape(2, 6)
    assert_array_equal(grid[1, 4].images[0].get_array(), given[1, 2])
    shown = grid[1, 5].images[0]
    assert_array_equal(shown.get_array(), maps[1, 2])
    limit = np.abs(maps[1, 2]).max()
    assert shown.get_clim() == (-limit, limit)
    assert [ax.get_title() for ax in grid[0]] == [
        name for view in VIEWS for name in (view, "modulation")
    ]


def test_blue_holds_up_and_red_holds_down():
    maps = np.zeros((1, 1, 2, 2))
    maps[0, 0, 0] = [1, -1]
    figure = figures.attribution_grid(images(1, 1, bins=2), {"x": maps}, rows=["a"], views=["v"])
    image = figure.axes[1].images[0]
    (up, down), (nothing, _) = image.to_rgba(image.get_array())[..., :3]
    assert up[2] > up[0]
    assert down[0] > down[2]
    assert_allclose(nothing, 1, atol=0.05)  # white


# Maps


def test_every_panel_shows_its_map_in_rms_units_upon_its_ideal_points():
    figure = maps_over_alphabet()
    panels = np.array(panels_of(figure)).reshape(3, 4)
    for row, points in zip(panels, alphabets().values(), strict=True):
        for ax in row:
            assert ax.images[0].get_extent() == [-2, 2, -2, 2]
            assert ax.images[0].origin == "lower"
            assert_allclose(ax.lines[0].get_xdata() + 1j * ax.lines[0].get_ydata(), points)
            assert ax.lines[0].get_markerfacecolor() == "none"
    assert [ax.get_title() for ax in panels[0]] == list(SNRS)
    assert [ax.get_ylabel() for ax in panels[:, 0]] == list(ROWS)


def test_a_pixel_lies_where_its_points_do():
    """The upper right quarter of a map of two bins is the quarter of I > 0 and Q > 0."""
    maps = np.zeros((1, 1, 2, 2))
    maps[0, 0, 1, 1] = 1
    figure = figures.maps_over_alphabet(
        np.abs(maps), maps, alphabets(["QPSK"]), columns=["0 dB"], extent=2.0
    )
    image = panels_of(figure)[0].images[0]
    assert_array_equal(image.get_array(), maps[0, 0])
    left, right, bottom, top = image.get_extent()
    assert (left < right, bottom < top, image.origin) == (True, True, "lower")


def test_a_panels_scale_is_its_own_symmetric_and_told():
    maps = np.zeros((1, 2, 20, 20))
    maps[0, 0, 3] = np.linspace(-1, 1, 20)
    maps[0, 1] = 100
    figure = figures.maps_over_alphabet(
        np.abs(maps), maps, alphabets(["QPSK"]), columns=["a", "b"], extent=2.0
    )
    first, second = panels_of(figure)
    limit = np.quantile(np.abs(np.linspace(-1, 1, 20)), 0.99)
    assert first.images[0].get_clim() == pytest.approx((-limit, limit))
    assert second.images[0].get_clim() == (-100, 100)
    assert [ax.texts[0].get_text() for ax in (first, second)] == ["±1", "±1e+02"]


def test_of_a_map_of_nothing_only_the_points_are_seen():
    nothing = np.zeros((1, 1, 8, 8))
    figure = figures.maps_over_alphabet(
        nothing, nothing, alphabets(["BPSK"]), columns=["0 dB"], extent=2.0
    )
    (ax,) = panels_of(figure)
    assert not [c for c in ax.collections if c.get_paths()]
    assert figure._repr_png_().startswith(b"\x89PNG")


# Points


def test_dots_lie_at_the_frames_magnitude_at_their_times_and_carry_their_values():
    iq = 5 * np.exp(1j * np.arange(16.0)) * np.sqrt([0.5, 1.5] * 8)
    times, value = np.array([2.0, 5.0, 7.5]), np.array([0.1, -3.0, 1.0])
    (ax,) = panels_of(figures.points_in_time(iq, {"synchronised": (times, value)}))
    assert_allclose(ax.lines[0].get_ydata(), np.sqrt([0.5, 1.5] * 8))
    (dots,) = ax.collections
    found = dict(zip(dots.get_offsets()[:, 0], dots.get_array(), strict=True))
    assert found == {2.0: 0.1, 5.0: -3.0, 7.5: 1.0}
    heights = dict(dots.get_offsets().tolist())
    assert heights[2.0] == pytest.approx(0.5**0.5)
    assert heights[7.5] == pytest.approx((0.5**0.5 + 1.5**0.5) / 2)
    sizes = dict(zip(dots.get_offsets()[:, 0], dots.get_sizes(), strict=True))
    assert sizes[5.0] > sizes[7.5] > sizes[2.0]
    assert dots.get_clim()[0] == -dots.get_clim()[1]


def test_a_frame_of_points_that_hold_nothing_is_drawn():
    values = {"constellation": (np.arange(8.0), np.zeros(8))}
    figure = figures.points_in_time(np.ones(8, complex), values)
    assert panels_of(figure)[0].collections[0].get_clim() == (-1, 1)
