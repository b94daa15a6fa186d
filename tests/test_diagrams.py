"""A diagram counts the points that its view says, on every device and at every size alike."""

from math import floor, inf, log10, pi, sqrt

import numpy as np
import pytest
import torch
from simulated import simulated
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from modsnr import InputError, diagrams, receiver, signals
from modsnr.diagrams import aligning, bands, drawing
from modsnr.diagrams import views as of_views
from modsnr.receiver import likelihood, tables


def assert_equal(found, wanted):
    assert_close(found, wanted, rtol=0, atol=0)


def frames_of(modulation, count, snr_db, generator, **channel):
    air = signals.Channel(**channel)
    return simulated([modulation], count, snr_db, generator=generator, channel=air)


@pytest.fixture
def noisy_16qam(generator):
    return frames_of("16QAM", 12, 15, generator)


def literal_counts(points, bins, extent):
    """Return the counts of points [frame, point], one point at a time in double precision."""
    counts = np.zeros((len(points), bins, bins), dtype=int)
    for frame, cloud in enumerate(points.tolist()):
        for point in cloud:
            column = floor((point.real + extent) / (2 * extent) * bins)
            row = floor((point.imag + extent) / (2 * extent) * bins)
            if 0 <= column < bins and 0 <= row < bins:
                counts[frame, row, column] += 1
    return counts


# Counting


@pytest.mark.parametrize("view", diagrams.POINT_VIEWS)
@pytest.mark.parametrize(("bins", "extent"), [(2, None), (7, 5.0), (33, 0.7), (224, 5.0)])
def test_compiled_loop_scatter_and_literal_loop_count_alike(view, bins, extent, noisy_16qam):
    iq, reach = noisy_16qam[:4], extent or diagrams.EXTENTS[view]
    options = {"bins": bins, "extent": extent, "scale": "count"}
    compiled = diagrams.render(iq, views=[view], **options)[:, 0]
    points = diagrams.points(iq, view)
    scattered = drawing.scatter_counts(points, float(np.float32(bins / (2 * reach))), bins)
    assert_equal(compiled, scattered)
    assert_equal(compiled.long(), torch.from_numpy(literal_counts(points, bins, reach)))


def test_a_handmade_frame_is_counted_by_hand():
    # Unit power already: two points right, one above, one below and left of the middle.
    iq = torch.tensor([[1 + 0.5j, 1 + 0.5j, -0.5 + 1j, -0.5 - 0.5j]]) * sqrt(4 / 4.25)
    lower_left, lower_right, upper_left, upper_right = 1, 0, 1, 2
    found = diagrams.render(iq, bins=2, scale="count")
    assert found.tolist() == [[[[lower_left, lower_right], [upper_left, upper_right]]]]
    # Of three bins the middle one reaches from -1 to 1: all points fall into it, at 3 RMS a side.
    assert diagrams.render(iq, bins=3, scale="count")[0, 0, 1, 1] == 4


def test_the_diagram_is_the_logarithm_of_one_more_than_the_count(noisy_16qam):
    counts = diagrams.render(noisy_16qam, bins=32, scale="count")
    assert counts.max() > 10
    assert_equal(diagrams.render(noisy_16qam, bins=32), counts.log1p())


def test_counts_sum_to_the_points_inside(noisy_16qam):
    points = torch.view_as_real(diagrams.points(noisy_16qam, "constellation"))
    for extent in (0.5, 1.0, 10.0):
        inside = (points.abs() < extent).all(-1).sum(1)
        found = diagrams.render(noisy_16qam, bins=48, extent=extent, scale="count")
        assert_equal(found.sum((1, 2, 3)).long(), inside)
    assert_equal(inside, torch.full((12,), 1024))


def test_more_points_than_sixteen_bits_count_are_counted():
    iq = torch.ones(1, 70_000, dtype=torch.complex64)
    assert diagrams.render(iq, bins=2, scale="count").max() == 70_000


def test_the_number_of_threads_changes_nothing(noisy_16qam, monkeypatch):
    usual = diagrams.render(noisy_16qam, bins=48)
    monkeypatch.setattr("modsnr.diagrams.counting.get_num_threads", lambda: 5)
    assert_equal(diagrams.render(noisy_16qam, bins=48), usual)


# Symmetries


@pytest.mark.parametrize("bins", [32, 33, 224])
def test_a_quarter_turn_of_the_signal_turns_the_diagram(bins, noisy_16qam):
    upright = diagrams.render(noisy_16qam, bins=bins)
    turned = diagrams.render(1j * noisy_16qam, bins=bins)
    assert_equal(turned, upright.rot90(-1, (-2, -1)))


@pytest.mark.parametrize("bins", [32, 33])
def test_conjugating_the_signal_mirrors_the_rows(bins, noisy_16qam):
    upright, mirrored = (diagrams.render(iq, bins=bins) for iq in (noisy_16qam, noisy_16qam.conj()))
    assert_equal(mirrored, upright.flip(-2))


@pytest.mark.parametrize("view", ["synchronised", "residual"])
def test_the_other_views_turn_with_the_signal_too(view, noisy_16qam):
    upright, turned = diagrams.points(noisy_16qam, view), diagrams.points(1j * noisy_16qam, view)
    assert_close(turned, 1j * upright, rtol=0, atol=1e-4)


@pytest.mark.parametrize("scale", [2.0**-40, 2.0**40])
def test_the_scale_of_the_signal_does_not_matter(scale, noisy_16qam):
    views = ["constellation", "residual"]
    assert_equal(
        diagrams.render(scale * noisy_16qam, views=views, bins=64),
        diagrams.render(noisy_16qam, views=views, bins=64),
    )


def test_points_have_unit_power(noisy_16qam):
    for view in ("constellation", "synchronised", "aligned"):
        power = diagrams.points(37 * noisy_16qam, view).abs().square().mean(1)
        assert_close(power, torch.ones(12))


def test_rows_are_quadrature_and_columns_in_phase_from_the_lowest_on():
    iq = torch.tensor([[2 + 1j, 0, 0, 0, 0]])  # five samples: at 2 + 1j its own power is one
    found = diagrams.render(iq, bins=6, scale="count")[0, 0]
    assert found[4, 5] == 1
    assert found[3, 3] == 4  # zero belongs to the bin above it


# Options


def test_a_wider_extent_draws_the_cloud_smaller(noisy_16qam):
    wide = diagrams.render(noisy_16qam, bins=64, extent=6.0, scale="count")
    narrow = diagrams.render(noisy_16qam, bins=32, extent=3.0, scale="count")
    assert_equal(wide[..., 16:48, 16:48], narrow)  # the same bins, an empty frame around them


@pytest.mark.parametrize("view", diagrams.POINT_VIEWS)
def test_each_view_has_its_own_extent_by_default(view, noisy_16qam):
    extent = diagrams.EXTENTS[view]
    usual, same, other = (
        diagrams.render(noisy_16qam, views=[view], bins=32, extent=reach)
        for reach in (None, extent, 1.1 * extent)
    )
    assert_equal(usual, same)
    assert (usual != other).any()


def test_views_come_as_channels_in_the_order_asked_for(noisy_16qam):
    views = ("residual", "constellation", "synchronised")
    together = diagrams.render(noisy_16qam, views=views, bins=40)
    assert together.shape == (12, 3, 40, 40)
    for channel, view in enumerate(views):
        assert_equal(together[:, [channel]], diagrams.render(noisy_16qam, views=[view], bins=40))
    assert (together[:, 0] != together[:, 1]).any()


def test_the_studys_normalisation_brings_every_maximum_to_one(noisy_16qam):
    views = ["constellation", "residual"]
    usual = diagrams.render(noisy_16qam, views=views, bins=32)
    found = diagrams.render(noisy_16qam, views=views, bins=32, normalization="max")
    assert_equal(found.amax((2, 3)), torch.ones(12, 2))
    assert_close(found * usual.amax((2, 3), keepdim=True), usual)
    assert usual.max() > 1


@pytest.mark.parametrize(("scale", "normalization"), [("log1p", "power"), ("count", "max")])
def test_a_canvas_drawn_again_and_again_holds_what_rendering_afresh_gives(
    scale, normalization, generator
):
    options = {"bins": 33, "scale": scale, "normalization": normalization}
    views = diagrams.VIEWS if normalization == "power" else diagrams.POINT_VIEWS
    canvas = diagrams.Canvas(views=views, **options)
    for count, modulation, samples in [(6, "16QAM", 1024), (6, "BPSK", 1024), (3, "8PSK", 512),
                                       (9, "QPSK", 512), (2, "32APSK", 1024)]:  # fmt: skip
        iq = frames_of(modulation, count, 20, generator)[:, :samples]
        assert_equal(canvas(iq), diagrams.render(iq, views=views, **options))


def test_a_canvas_uses_the_same_images_again(noisy_16qam):
    canvas = diagrams.Canvas(bins=32)
    first = canvas(noisy_16qam)
    assert canvas(noisy_16qam[:5]).data_ptr() == first.data_ptr()


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_numpy_frames_are_drawn_like_tensors(dtype, noisy_16qam):
    found = diagrams.render(noisy_16qam.numpy().astype(dtype), bins=32)
    assert isinstance(found, torch.Tensor)
    assert found.dtype == torch.float32
    assert_equal(found, diagrams.render(noisy_16qam, bins=32))


def test_frames_need_not_lie_side_by_side_in_memory(noisy_16qam):
    for view in (noisy_16qam[::2], noisy_16qam[:, 300:812], noisy_16qam.T.contiguous().T):
        assert_equal(diagrams.render(view, bins=32), diagrams.render(view.clone(), bins=32))


def test_drawing_leaves_the_frames_as_they_were(noisy_16qam):
    before = noisy_16qam.clone()
    diagrams.render(noisy_16qam, views=diagrams.POINT_VIEWS, bins=32, normalization="max")
    assert_equal(noisy_16qam, before)


def test_no_frames_give_no_diagrams():
    assert diagrams.render(torch.zeros(0, 64, dtype=torch.complex64), bins=8).shape == (0, 1, 8, 8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_cpu_and_gpu_agree_on_the_counts(noisy_16qam):
    assert_equal(
        diagrams.render(noisy_16qam.cuda(), bins=128, scale="count").cpu(),
        diagrams.render(noisy_16qam, bins=128, scale="count"),
    )


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"views": ["residal"]}, "no view is called 'residal'; did you mean 'residual'"),
        ({"bins": 1}, "bins must be 2 or more and extent positive; they are 1, None"),
        ({"extent": float("nan")}, "extent positive"),
        ({"scale": "log"}, "scale is log1p or count .* they are 'log' and 'power'"),
        ({"views": ["likelihood"], "bins": 20}, "likelihood view needs 22 bins or more; it has 20"),
        ({"views": ["likelihood"], "normalization": "max"}, "numbers by their grey.* leave the"),
        ({"normalization": "none"}, "normalization power or max; they are 'log1p' and 'none'"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, complaint, noisy_16qam):
    with pytest.raises(InputError, match=complaint):
        diagrams.render(noisy_16qam, **options)


@pytest.mark.parametrize(
    ("iq", "complaint"),
    [
        (np.zeros((4, 1024, 2)), "complex .* it is torch.float64"),
        (torch.zeros(1024, dtype=torch.complex64), r"it is torch.complex64 \(1024,\)"),
    ],
)
def test_what_is_not_complex_frames_is_refused(iq, complaint):
    with pytest.raises(InputError, match=complaint):
        diagrams.render(iq)


@pytest.mark.parametrize("samples", [1, 56, 64, 100, 256, 257, 1021, 1024])
def test_frames_have_the_views_that_they_are_long_enough_for(samples, noisy_16qam):
    by_symbol = {"synchronised", "aligned", "log_polar", "likelihood"}
    by_symbol = by_symbol if samples in (64, 256, 1024) else ()
    residual = ("residual",) if samples >= 256 else ()
    assert set(diagrams.views_of(samples)) == {"constellation", *by_symbol, *residual}
    for view in diagrams.VIEWS:
        if view in diagrams.views_of(samples):
            diagrams.render(noisy_16qam[:2, :samples], views=[view], bins=24)
        else:
            with pytest.raises(InputError, match=f"{view} view needs .* these have {samples}"):
                diagrams.render(noisy_16qam[:2, :samples], views=[view], bins=24)


# The synchronised view


def error_vector(points, modulation):
    """Return each frame's RMS distance from the points to the alphabet, unit power both."""
    symbols = signals.alphabet(modulation).to(torch.complex64)
    return (points.unsqueeze(-1) - symbols).abs().amin(-1).square().mean(1).sqrt()


CLEAN = {
    "rolloff": 0.25,
    "random_phase": False,
    "carrier_offset_std": 0.0,
    "clock_offset_std": 0.0,
}


def test_qpsk_at_any_timing_gathers_at_four_spots(generator):
    iq = frames_of("QPSK", 200, inf, generator, **CLEAN)
    assert (
        error_vector(diagrams.points(iq, "constellation"), "QPSK").min() > 0.2
    )  # transitions everywhere
    error = error_vector(diagrams.points(iq, "synchronised"), "QPSK")
    assert error.median() < 0.01
    assert error.max() < 0.05


@pytest.mark.parametrize("shift", [1, 4, 8])
def test_the_same_symbols_are_found_whichever_sample_comes_first(shift, generator):
    iq = signals.simulate(
        torch.zeros(100, dtype=torch.long),
        torch.full((100,), inf),
        generator=generator,
        classes=["16QAM"],
        channel=signals.Channel(**CLEAN),
        samples=1024 + shift,
    )
    early, late = (diagrams.points(part, "synchronised") for part in (iq[:, :1024], iq[:, shift:]))
    # A frame that starts later may start with the next symbol, or with the same one.
    apart = torch.stack(
        [
            (early[:, 1 + lag : -1 - lag or None] - late[:, 1 : early.shape[1] - 1 - 2 * lag])
            .abs().square().mean(1).sqrt()
            for lag in (0, 1)
        ]
    ).amin(0)  # fmt: skip
    assert apart.median() < 0.04


def test_frames_of_128_samples_are_synchronised_too(generator):
    iq = frames_of("QPSK", 400, inf, generator, **CLEAN)[:, :128]
    points = diagrams.points(iq, "synchronised")
    assert points.shape == (400, 10)
    assert error_vector(points, "QPSK").median() < 0.05


# The aligned view


def coherence(points, order):
    """Return how far the points' phases fall together at a power, 0 .. 1: [frame]."""
    line = torch.polar(points.abs(), order * points.angle()).sum(1).abs()
    return line / points.abs().sum(1)


@pytest.mark.parametrize(
    ("modulation", "order", "before"), [("16APSK", 12, 0.5), ("32PSK", 32, 0.3)]
)
def test_a_carrier_offset_that_smears_the_phases_is_turned_back(
    modulation, order, before, generator
):
    iq = frames_of(modulation, 80, 30.0, generator)  # of the simulator's usual carrier offset
    assert coherence(diagrams.points(iq, "synchronised"), order).median() < before
    assert coherence(diagrams.points(iq, "aligned"), order).median() > 0.9


@pytest.mark.parametrize(("modulation", "most"), [("QPSK", 0.05), ("128QAM", 0.06)])
def test_aligned_symbols_lie_on_their_alphabet(modulation, most, generator):
    iq = frames_of(modulation, 80, 25.0, generator)
    assert error_vector(diagrams.points(iq, "aligned"), modulation).median() < most
    unaligned = error_vector(diagrams.points(iq, "synchronised"), modulation)
    # Of a dense alphabet some point is always near.
    assert unaligned.median() > 1.2 * most


def log_likelihood(symbols, modulation, noise):
    """Return that of unit-power symbols [frame, symbol] in noise of so much power: [frame]."""
    apart = (symbols.unsqueeze(2) - signals.alphabet(modulation)).abs().square()
    return torch.logsumexp(-apart / noise, 2).sum(1)


@pytest.mark.parametrize("modulation", ["8PSK", "16APSK", "256QAM"])
def test_the_carrier_found_is_as_likely_as_the_true_one(modulation, generator):
    noise, frames, symbols = 0.02, 40, 122
    points = signals.alphabet(modulation).to(torch.complex64)
    sent = points[torch.randint(len(points), (frames, symbols), generator=generator)]
    added = torch.randn(frames, symbols, dtype=torch.complex64, generator=generator) * noise**0.5
    time = torch.arange(symbols)
    turn = 1.0 + 2 * pi * 8e-4 * torch.randn(frames, 1, generator=generator) * time
    received = (sent + added) * torch.polar(torch.ones_like(turn), turn)
    found = aligning.align(received, torch.full((frames,), noise / (1 + noise)))
    truth = log_likelihood(sent + added, modulation, noise)
    # What little is missing is the offset's prior and the grid; blindly turned it is a hundred.
    assert (log_likelihood(found, modulation, noise) - truth).median() > -3
    assert (log_likelihood(received, modulation, noise) - truth).median() < -30


def test_a_callers_autocast_changes_no_diagram(generator):
    modulation = torch.arange(17).repeat_interleave(3)
    snr_db = torch.tensor([0.0, 14.0, 30.0]).repeat(len(modulation) // 3)
    iq = signals.simulate(modulation, snr_db, generator=generator)
    drawn = diagrams.render(iq, views=diagrams.VIEWS, bins=32)
    with torch.autocast("cpu", torch.bfloat16):
        again = diagrams.render(iq, views=diagrams.VIEWS, bins=32)
    assert again.dtype == torch.float32
    assert_equal(again, drawn)


def test_frames_are_aligned_alike_whatever_stands_beside_them(generator):
    iq = torch.cat([frames_of(name, 3, snr, generator) for name in ("QPSK", "64QAM", "8ASK")
                    for snr in (0, 20)])  # fmt: skip
    alone = torch.cat([diagrams.points(frame, "aligned") for frame in iq.split(1)])
    assert_close(diagrams.points(iq, "aligned"), alone, rtol=0, atol=2e-3)


class Called(TorchDispatchMode):
    """Lists the operations called."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.name().removeprefix("aten::"))
        return func(*args, **(kwargs or {}))


def test_a_device_is_never_waited_for_and_asked_few_things_a_batch(noisy_16qam, monkeypatch):
    """A GPU stands still at each value that is read back from it and each one written to it."""

    def as_on_a_device(*given):
        return tables.of_alphabets(likelihood.searched(*given))

    monkeypatch.setattr(likelihood, "_likelihoods", as_on_a_device)
    monkeypatch.setattr(aligning, "compiled_search", aligning.searched)
    for view in diagrams.POINT_VIEWS:  # what is the same for all frames is made once
        diagrams.points(noisy_16qam, view)
    bands.greys(receiver.findings_unreceived(noisy_16qam))
    with Called() as called:
        for view in diagrams.POINT_VIEWS:
            diagrams.points(noisy_16qam, view)
    with Called() as by_bands:
        bands.drawn(bands.greys(receiver.findings_unreceived(noisy_16qam)), 32)
    waits = {"_local_scalar_dense", "nonzero", "_unique2", "masked_select", "lift_fresh"}
    assert not waits & {*called.names, *by_bands.names}
    assert "mul.Tensor" in called.names
    assert len(called.names) < 2700  # log_polar aligns anew here


def test_where_no_line_stands_out_the_carrier_is_left_nearly_as_it_is(generator):
    noise = torch.randn(300, 122, dtype=torch.complex64, generator=generator)
    aligned = aligning.align(noise, torch.full((300,), 0.9))
    assert_close(aligned.abs(), noise.abs())
    steps = (aligned * noise.conj()).angle().diff()  # the offset found, radians a symbol
    turned = ((steps + pi) % (2 * pi) - pi).mean(1).abs() / (2 * pi)
    assert turned.square().mean().sqrt() < 0.0015
    nothing = aligning.align(torch.zeros(1, 122, dtype=torch.complex64), torch.ones(1))
    assert nothing.abs().max() == 0


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 10.0, 20.0])
def test_the_noise_of_symbols_is_an_eighth_of_that_of_samples(snr_db, generator):
    share = of_views.symbol_noise(frames_of("QPSK", 200, snr_db, generator))
    noise = 10 ** (-snr_db / 10) / 8
    assert share.mean().item() == pytest.approx(noise / (1 + noise), rel=0.05)


@pytest.mark.parametrize("view", diagrams.VIEWS)
def test_a_frame_without_power_is_an_empty_image_and_leaves_the_others_as_they_are(
    view, noisy_16qam
):
    holed = noisy_16qam.clone()
    holed[[0, 5]], holed[11] = 0, float("nan")
    empty = torch.isin(torch.arange(12), torch.tensor([0, 5, 11]))
    drawn, images = (
        diagrams.render(iq, views=[view], bins=64, scale="count")[:, 0]
        for iq in (noisy_16qam, holed)
    )
    assert not images[empty].any()
    assert_equal(images[~empty], drawn[~empty])
    if view not in diagrams.POINT_VIEWS:
        return
    scattered = drawing.scatter_counts(
        diagrams.points(holed, view), 32 / diagrams.EXTENTS[view], 64
    )
    assert_equal(scattered, images)
    assert (diagrams.places(holed, view, 64)[empty] == -1).all()


# The residual view


def radius_at(snr_db):
    """Return the radius of noise of this SNR: its share of the power, of which the stop band
    beyond 0.11 cycles/sample holds 1 - 2 x 0.11."""
    low, high = of_views.RESIDUAL_DB
    return (10 * log10((1 - 2 * 0.11) / (1 + 10 ** (snr_db / 10))) - low) / (high - low)


def radius_of(points):
    """Return the radius of the cloud's mean power, each point's own power read off its radius."""
    low, high = of_views.RESIDUAL_DB
    power = 10 ** ((points.abs() * (high - low) + low) / 10)
    return (10 * power.mean(1).log10() - low) / (high - low)


@pytest.mark.parametrize("snr_db", [0, 10, 20, 30])
def test_the_residuals_radius_is_the_snr_whatever_the_modulation(snr_db, generator):
    iq = signals.simulate(
        torch.arange(17).repeat(20), torch.full((340,), float(snr_db)), generator=generator
    )
    radius = radius_of(diagrams.points(iq, "residual")).view(20, 17).mean(0)
    wanted = radius_at(snr_db)
    # 0.5 dB of the 55 dB between centre and rim.
    assert_close(radius, torch.full((17,), wanted), rtol=0, atol=0.5 / 55)


def test_noise_alone_lies_at_the_radius_of_no_signal(generator):
    noise = torch.randn(100, 1024, dtype=torch.complex64, generator=generator)
    points = diagrams.points(noise, "residual")
    assert points.shape == (100, 1024 - 128)
    assert_close(radius_of(points).mean().item(), radius_at(-200), rtol=0, atol=0.01)
    assert points.mean().abs() < 0.01  # no direction preferred


def test_nothing_of_a_signal_without_noise_is_left(generator):
    iq = signals.simulate(torch.arange(170) % 17, torch.full((170,), inf), generator=generator)
    assert of_views.out_of_band(iq).abs().square().mean(1).max() < 1e-6
    assert diagrams.points(iq, "residual").abs().max() == 0  # all in the centre


def test_the_logarithmic_radius_keeps_angles_and_has_centre_and_rim():
    low, high = of_views.RESIDUAL_DB
    decibels = torch.tensor([low - 20, low, (low + high) / 2, high])
    residual = torch.polar(10 ** (decibels / 20), torch.tensor([0.3, 0.3, -2.0, 1.0])).unsqueeze(0)
    found = of_views.log_radius(residual)[0]
    assert_close(found.abs(), torch.tensor([0.0, 0.0, 0.5, 1.0]), rtol=0, atol=1e-5)
    assert_close(torch.angle(found[2:]), torch.tensor([-2.0, 1.0]))
    assert of_views.log_radius(torch.zeros(1, 3, dtype=torch.complex64)).abs().max() == 0


def test_a_training_is_drawn_as_its_parameters_say(noisy_16qam):
    options = {"views": ["residual", "constellation"], "bins": 16, "normalization": "max"}
    drawn = diagrams.as_trained(options | {"epochs": 3})(noisy_16qam)
    assert_equal(drawn, diagrams.render(noisy_16qam, **options))
    wider = diagrams.as_trained(options | {"extent": 5.0})(noisy_16qam)
    assert not torch.equal(drawn, wider)
    with pytest.raises(InputError, match=r"trained with pixels hidden .*'brightest'"):
        diagrams.as_trained(options | {"hide": "brightest", "hide_fraction": 0.5})


def test_a_ring_is_a_column_of_the_log_polar_view_and_an_angle_is_a_row(generator):
    turned = torch.exp(1j * torch.linspace(-3.1, 3.1, 40)).to(torch.complex64)
    ring = of_views.log_polar((0.5 * turned).unsqueeze(0))
    low, high = of_views.POLAR_DB
    assert_close(ring.real, torch.full((1, 40), 2 * (20 * np.log10(0.5) - low) / (high - low) - 1))
    assert_close(ring.imag[0], torch.linspace(-3.1, 3.1, 40) / pi)
    assert of_views.log_polar(torch.zeros(1, 1, dtype=torch.complex64)).isfinite().all()
    # The view is that of the aligned points, so a carrier's phase moves it by a symmetry at most.
    iq = frames_of("QPSK", 4, 25, generator)
    upright = diagrams.render(iq, views=["log_polar"], bins=16, scale="count")
    turned = diagrams.render(1j * iq, views=["log_polar"], bins=16, scale="count")
    assert_equal(upright.sum(2), turned.sum(2))


def test_the_compiled_alignment_ends_where_torchs_does(generator, monkeypatch):
    iq = simulated(signals.STUDY_CLASSES, 17 * 4, 16, generator=generator)
    compiled = diagrams.points(iq, "aligned")
    monkeypatch.setattr(aligning, "compiled_search", aligning.searched)
    assert_close(compiled, diagrams.points(iq, "aligned"), rtol=0, atol=1e-5)


def test_a_gpu_tries_alike_alphabets_at_once_to_the_same_end(generator, monkeypatch):
    monkeypatch.setattr(aligning, "compiled_search", aligning.searched)  # as on any but a CPU
    iq = simulated(signals.STUDY_CLASSES, 17 * 4, 16, generator=generator)
    diagrams.render(iq[:1], views=["aligned"], bins=32)
    with Called() as one_by_one:
        apart = diagrams.render(iq, views=["aligned"], bins=32)
    tables = likelihood.tables
    tables(
        aligning.LEVELS_DB, likelihood.PER_ALPHABET, iq.device, at_once=True
    )  # made once, whatever is drawn
    monkeypatch.setattr(likelihood, "tables", lambda *of, **_: tables(*of, at_once=True))
    with Called() as together:
        at_once = diagrams.render(iq, views=["aligned"], bins=32)
    assert (apart == at_once).flatten(1).all(1).float().mean() > 0.98  # products may round
    assert len(together.names) < 0.6 * len(one_by_one.names)


def test_views_that_share_the_alignment_are_aligned_once(generator, monkeypatch):
    iq = torch.randn(3, 1024, dtype=torch.complex64, generator=generator)
    alone = [diagrams.render(iq, views=[view], bins=16) for view in ("log_polar", "aligned")]
    aligned = []
    original = of_views.align
    monkeypatch.setattr(of_views, "align", lambda *given: aligned.append(given) or original(*given))
    both = {"views": ["log_polar", "aligned"], "bins": 16}
    assert_equal(diagrams.render(iq, **both), torch.cat(alone, 1))
    assert_equal(diagrams.Canvas(**both)(iq), torch.cat(alone, 1))
    assert len(aligned) == 2


def test_a_view_may_have_more_points_than_a_frame_has_samples(generator, monkeypatch):
    def twice(iq):
        scaled = of_views.unit_power(iq)
        return torch.cat([scaled, 0.5 * scaled], 1)

    monkeypatch.setitem(of_views._VIEWS, "twice", of_views.View(twice, 3.0))
    monkeypatch.setitem(drawing.EXTENTS, "twice", 3.0)
    canvas = diagrams.Canvas(views=["constellation", "twice"], bins=16, scale="count")
    for samples in (40, 10, 90):
        iq = torch.randn(3, samples, dtype=torch.complex64, generator=generator)
        once, doubled = canvas(iq).unbind(1)
        halved = diagrams.render(iq, bins=16, scale="count", extent=6.0)[:, 0]
        assert_equal(doubled, once + halved)


# Frames of other lengths


@pytest.mark.parametrize("view", ["constellation", "synchronised", "residual"])
def test_counts_are_scaled_to_frames_of_1024_samples(view, generator):
    options = {"views": [view], "bins": 32}
    for samples in (256, 1024, 4096):
        iq = simulated(["QPSK"], 4, 20, generator=generator, samples=samples)
        counts = diagrams.render(iq, scale="count", **options)
        points = {"constellation": samples, "synchronised": samples / 8 - 6,
                  "residual": samples - 128}[view]  # fmt: skip
        usual = {"constellation": 1024, "synchronised": 122, "residual": 896}[view]
        assert_close(diagrams.render(iq, **options), (counts * (usual / points)).log1p())
        assert of_views.weight(view, samples) == pytest.approx(usual / points)
    assert of_views.weight(view, 1024) == 1


# The likelihood view


@pytest.mark.parametrize("bins", [22, 32, 33, 64, 224])
def test_the_numbers_of_the_likelihood_view_are_read_back_from_its_image(bins, generator):
    greys = torch.rand(5, bands.BANDS, generator=generator)
    image = bands.drawn(greys, bins)
    assert image.shape == (5, bins, bins)
    assert_close(bands.read(image), greys)
    found = bands.findings_of(greys)
    assert_close(bands.greys(found), greys)
    assert_close(found[:, bands.SNR], -10 + 50 * greys[:, 4])
    nats = [bands.findings_of(torch.full((1, bands.BANDS), grey))[0, 0] for grey in (0.0, 1.0)]
    assert_close(torch.stack(nats), torch.tensor([-bands.NATS, 0.0]), rtol=1e-4, atol=0)
    rows = [0, *np.cumsum(bands.band_rows(bins))]
    assert_equal(image[0, rows[:-1], 0], greys[0])  # each band's first row
    assert rows[-1] == bins


def test_the_likelihood_view_shows_the_alphabet_and_the_snr(generator):
    names = ("QPSK", "16QAM", "OQPSK", "32PSK", "4ASK")
    iq = simulated(names, 100, 15, generator=generator)
    image = diagrams.render(iq, views=["constellation", "likelihood"], bins=36)[:, 1]
    found = bands.findings_of(bands.read(image))
    relative, snr_db = found[:, : bands.SNR], found[:, bands.SNR]
    wanted = torch.tensor([signals.STUDY_CLASSES.index(name) for name in names]).repeat(20)
    assert relative.argmax(1).eq(wanted).float().mean() > 0.95
    assert (snr_db - 15).square().mean().sqrt() < 0.4
    assert_equal(relative.amax(1), torch.zeros(100))
    with pytest.raises(InputError, match="likelihood view has no points"):
        diagrams.points(iq, "likelihood")
    with pytest.raises(InputError, match="likelihood view has no points"):
        diagrams.times("likelihood", 1024)
