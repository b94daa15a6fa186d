"""The pictures in the receiver's terms show the maps, points and shares that went in."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose, assert_array_equal

from modsnr import figures, signals

ROWS, SNRS = ("QPSK", "16APSK", "128QAM"), ("0 dB", "10 dB", "20 dB", "30 dB")
CHANGES = ("SNR (dB)", "carrier phase (degrees)", "ring ratio (octaves)", "fourth", "fifth")


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


def turned(changes=CHANGES[:3], groups=("QPSK", "16APSK", "64QAM")):
    """Return shares that grow with the size of a change, to either side."""
    return {
        name: {
            group: {
                float(size): {
                    end: min(1.0, abs(size) * (n + 1) / 20 + more)
                    for end, more in (("value", 0.05), ("low", 0.0), ("high", 0.1))
                }
                for size in (0, 2, 4, 8, -2, -4, -8)
            }
            for n, group in enumerate(groups)
        }
        for name in changes
    }


def counterfactual_curves():
    return figures.counterfactual_curves(turned())


def panels_of(figure):
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]


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


def test_reach_shows_a_part_of_the_plane():
    assert panels_of(maps_over_alphabet())[0].get_xlim() == (-2, 2)
    assert panels_of(maps_over_alphabet(reach=1.5))[0].get_ylim() == (-1.5, 1.5)


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


def test_panels_share_the_time_axis():
    panels = panels_of(points_in_time())
    assert [ax.get_title(loc="left") for ax in panels] == [
        "constellation", "synchronised", "residual"
    ]  # fmt: skip
    assert {ax.get_xlim() for ax in panels} == {(0, 255)}
    assert panels[-1].get_xlabel() == "time (samples)"


def test_a_frame_of_points_that_hold_nothing_is_drawn():
    values = {"constellation": (np.arange(8.0), np.zeros(8))}
    figure = figures.points_in_time(np.ones(8, complex), values)
    assert panels_of(figure)[0].collections[0].get_clim() == (-1, 1)


# Changes


def test_curves_run_over_both_sides_in_order_with_their_intervals():
    figure = counterfactual_curves()
    assert [ax.get_xlabel() for ax in figure.axes] == list(CHANGES[:3])
    for ax, of_groups in zip(figure.axes, turned().values(), strict=True):
        lines = [line for line in ax.lines if line.get_marker() != "None"]
        for line, band, points in zip(lines, ax.collections, of_groups.values(), strict=True):
            assert_array_equal(line.get_xdata(), [-8, -4, -2, 0, 2, 4, 8])
            assert_allclose(line.get_ydata(), [points[size]["value"] for size in line.get_xdata()])
            edge = band.get_paths()[0].vertices[:, 1]
            assert edge.max() == pytest.approx(max(of["high"] for of in points.values()))
    assert figure.axes[0].get_ylabel() == "share of answers turned"


def test_a_group_has_one_colour_in_all_panels_and_one_entry_of_the_legend():
    given = turned()
    del given[CHANGES[2]]["QPSK"]  # it has no rings
    figure = figures.counterfactual_curves(given)
    colour = {
        (line.get_label(), to_hex(line.get_color()))
        for ax in figure.axes
        for line in ax.lines
        if line.get_marker() != "None"
    }
    assert len(colour) == 3
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["QPSK", "16APSK", "64QAM"]


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_any_number_of_changes_is_drawn(count):
    figure = figures.counterfactual_curves(turned(CHANGES[:count]))
    assert len(figure.axes) == count
    assert figure._repr_png_().startswith(b"\x89PNG")
    left = [ax for ax in figure.axes if ax.get_ylabel()]
    assert len(left) == -(-count // 3)
