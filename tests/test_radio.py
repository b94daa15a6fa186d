"""Explanations in the receiver's terms, on frames and networks whose answer is known by hand."""

from math import nan, pi

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from simulated import seeded, simulated
from torch.testing import assert_close

from modsnr import InputError, diagrams, explain, signals

SAMPLES = 512  # the residual view needs half as many


def made(modulation="16APSK", snr_db=15.0, *, frames=4, samples=SAMPLES, **channel):
    """Return frames of one modulation, always from the same seed."""
    return simulated(
        [modulation], frames, snr_db, channel=signals.Channel(**channel), samples=samples
    )


# Where the points of a frame are


@pytest.mark.parametrize("view", diagrams.POINT_VIEWS)
@pytest.mark.parametrize("bins", [2, 33])
@pytest.mark.parametrize("extent", [None, 0.4])
def test_places_are_those_that_the_diagram_counts(view, bins, extent):
    iq = made()
    places = diagrams.places(iq, view, bins, extent)
    counts = diagrams.render(iq, views=[view], bins=bins, extent=extent, scale="count")
    for frame, image in zip(places, counts[:, 0], strict=True):
        inside = frame[frame >= 0]
        assert_close(
            torch.bincount(inside, minlength=bins**2).float(), image.flatten(), rtol=0, atol=0
        )
    assert (places == -1).any() == (extent is not None)


def test_a_place_is_the_row_times_the_bins_and_the_column():
    # Unit power; of two bins the upper row is the second, of three the middle reaches from -1 to 1.
    iq = torch.tensor([[1 + 1j, 1 - 1j, -1 - 1j, -1 + 1j]]) / 2**0.5
    assert diagrams.places(iq, "constellation", 2).tolist() == [[3, 1, 0, 2]]
    assert diagrams.places(iq, "constellation", 3).tolist() == [[4, 4, 4, 4]]
    assert diagrams.places(iq, "constellation", 2, 0.5).tolist() == [[-1] * 4]


def test_a_click_is_seen_at_its_time_in_the_residual():
    iq, at = made(), 257
    clicked = iq.clone()
    clicked[:, at] += 30
    loudest = diagrams.points(clicked, "residual").abs().argmax(1)
    assert_array_equal(diagrams.times("residual", SAMPLES)[loudest], [at] * 4)


@pytest.mark.parametrize("view", ["synchronised", "aligned"])
def test_a_symbol_lies_within_half_a_symbol_of_its_time(view):
    strong = 40  # the symbol that is made larger stands out from the others by its radius
    frames = made("QPSK", 30, random_timing=False, clock_offset_std=0.0, samples=SAMPLES + 7)
    times = diagrams.times(view, SAMPLES)
    for shift in range(8):  # a symbol peaks on every eighth sample before
        iq, peak = frames[:, shift:][:, :SAMPLES], 8 * strong - shift
        near = (torch.arange(SAMPLES) - peak).abs() < 4
        points = diagrams.points(torch.where(near, 3 * iq, iq), view)
        assert times.shape == points.shape[1:]
        found = points.abs().argmax(1)
        assert (times[found] - peak).abs().max() <= 4


def test_views_without_points_have_no_times():
    with pytest.raises(InputError, match="residual view needs frames of 256 samples or more"):
        diagrams.times("residual", 128)
    with pytest.raises(InputError, match="no view is called 'spectrum'"):
        diagrams.times("spectrum", 1024)


# Pixels brought back to points


def test_the_points_of_a_pixel_share_its_value_and_those_outside_have_nothing():
    attribution = torch.tensor([[[6.0, -2.0], [5.0, 0.0]]])
    places = torch.tensor([[0, 0, 1, -1, 0, 3]])
    shares = explain.point_shares(attribution, places)
    assert shares.dtype == torch.float32
    assert shares.tolist() == [
        [2.0, 2.0, -2.0, 0.0, 2.0, 0.0]
    ]  # pixel 2 is empty: its 5 is nobody's


@pytest.mark.parametrize("view", diagrams.POINT_VIEWS)
def test_the_points_of_a_frame_have_together_what_its_occupied_pixels_have(view):
    iq = made()
    attribution = torch.randn(4, 32, 32, generator=seeded())
    counts = diagrams.render(iq, views=[view], bins=32, extent=0.4, scale="count")[:, 0]
    shares = explain.point_shares(attribution, diagrams.places(iq, view, 32, 0.4))
    assert_close(shares.sum(1), (attribution * (counts > 0)).sum((1, 2)), rtol=1e-4, atol=1e-4)


# The least change that turns an answer


def thresholds(change):
    """Frames: the first turns at 3, the second at -2, the third never, the fourth from 3 to 5."""
    return torch.tensor([change >= 3, change <= -2, False, 3 <= change < 5]).long() * 7 + 1


def test_the_first_change_that_turns_an_answer_is_reported_for_each_frame():
    change = explain.smallest_change(thresholds, [0, 1, 2, 4, 6])
    assert_array_equal(change, [4, nan, nan, 4])
    change = explain.smallest_change(thresholds, [0, -1, -2, -4])
    assert_array_equal(change, [nan, -2, nan, nan])
    # An answer that turns and turns back between two changes is not seen.
    assert_array_equal(explain.smallest_change(thresholds, [0, 2, 6]), [6, nan, nan, nan])


def test_the_share_turned_counts_each_frame_from_its_own_change_on():
    change = np.array([4, nan, 2, 4.0])
    shares = explain.share_turned(change, [0, 2, 4, 6]).set_index("by")
    assert shares.value.to_dict() == {0: 0, 2: 0.25, 4: 0.75, 6: 0.75}
    assert shares.low[0] == 0 < shares.high[0] < 0.5  # none of four
    assert shares.low[4] < 0.75 < shares.high[4]
    assert explain.share_turned(-change, [0, -2, -4, -6]).value.tolist() == [0, 0.25, 0.75, 0.75]


# Frames made again with one thing changed


def test_another_snr_scales_the_noise_and_nothing_else():
    clean, loud, soft = (made(snr_db=snr) for snr in (np.inf, 0, 20))
    assert_close(loud - clean, 10 * (soft - clean), rtol=1e-3, atol=1e-4)
    assert (loud - clean).abs().square().mean() == pytest.approx(1, rel=0.1)


def test_other_rings_keep_symbols_timing_and_noise():
    wide = signals.stretched(signals.DVB_RINGS, 1.3)
    clean, noisy = made(snr_db=np.inf), made(snr_db=5)
    clean_too, noisy_too = (made(snr_db=snr, rings=wide) for snr in (np.inf, 5))
    assert_close(noisy - clean, noisy_too - clean_too, rtol=0, atol=1e-5)
    assert not torch.allclose(clean, clean_too, atol=0.05)
    alike = (clean * clean_too.conj()).mean(1)  # both of unit power: 1 if they are the same
    assert alike.real.min() > 0.98
    assert alike.imag.abs().max() < 0.01


# Rings farther apart


def radii(modulation, rings):
    return signals.alphabet(modulation, rings).abs().unique().round(decimals=6).unique()


@pytest.mark.parametrize("modulation", signals.DVB_RINGS)
@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_the_outermost_radius_over_the_innermost_is_stretched_at_unit_power(modulation, factor):
    stretched = signals.stretched(signals.DVB_RINGS, factor)
    before, after = radii(modulation, signals.DVB_RINGS), radii(modulation, stretched)
    assert len(after) == len(before)
    assert after[-1] / after[0] == pytest.approx(factor * (before[-1] / before[0]).item(), rel=1e-4)
    symbols = signals.alphabet(modulation, stretched)
    assert symbols.abs().square().mean().item() == pytest.approx(1)
    original = signals.alphabet(modulation)
    assert_close(symbols.angle() % (2 * pi), original.angle() % (2 * pi))


@pytest.mark.parametrize(("rings", "fault"), [([1.0, 2.0], "above 1"), ([1.0], "two rings")])
def test_rings_that_would_meet_or_have_no_ratio_are_not_stretched(rings, fault):
    with pytest.raises(InputError, match=fault):
        signals.stretched({"16APSK": [(radius, [0.0]) for radius in rings]}, 0.5)
