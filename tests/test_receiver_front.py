"""The receiver's front: noise, carrier, clock; against closed forms, bounds and a slow loop."""

from dataclasses import replace
from math import pi

import pytest
import torch

from modsnr import limits, receiver, signals
from modsnr.signals.noise import noise_density

STILL = replace(signals.CHANNELS["minor"], carrier_offset_std=0.0, clock_offset_std=0.0)
LENGTHS = (256, 1024, 1500, 4096)


def frames(generator, snr_db=10.0, count=102, samples=1024, only=None, **changes):
    """Return frames of all modulations but OQPSK, or of one, and the channel's fields changed."""
    modulation = torch.arange(count) % 16 if only is None else torch.full((count,), only)
    through = replace(STILL, **changes)
    snr = torch.full((count,), float(snr_db))
    return signals.simulate(modulation, snr, generator=generator, channel=through, samples=samples)


def noise_alone(generator, count=200, samples=1024):
    drawn = torch.randn(count, samples, 2, generator=generator) * 0.5**0.5
    return torch.view_as_complex(drawn)


def moved(iq, carrier):
    return receiver.shift(iq, torch.full((len(iq),), -carrier))


def rms(error):
    return error.square().mean().sqrt().item()


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("bins", [None, 8192])
def test_the_mean_of_a_periodogram_of_noise_is_its_power(generator, samples, bins):
    density = receiver.periodogram(3 * noise_alone(generator, samples=samples), bins)
    assert density.shape == (200, bins or samples)
    assert density.mean() == pytest.approx(9, rel=0.02)


def test_a_shift_and_the_shift_back_are_nothing_and_the_middle_stays(generator):
    iq, offset = noise_alone(generator, 4, 1025), torch.tensor([0.01, -0.2, 0.0, 0.03])
    turned = receiver.shift(iq, offset)
    torch.testing.assert_close(receiver.shift(turned, -offset), iq, atol=1e-4, rtol=0)
    torch.testing.assert_close(turned[:, 512], iq[:, 512])
    tone = torch.exp(2j * pi * 0.125 * torch.arange(64)).unsqueeze(0)
    assert receiver.shift(tone, torch.tensor([0.125])).diff().abs().max() < 1e-5


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("rolloff", [0.05, 0.5])
@pytest.mark.parametrize("snr_db", [-5, 10, 35])
def test_snr_is_found_near_its_bound(generator, samples, rolloff, snr_db):
    iq = 5 * frames(generator, snr_db, samples=samples, rolloff=rolloff)
    error = receiver.snr_db(receiver.noise_of(iq, torch.zeros(len(iq)))) - snr_db
    bound = limits.band_limited([snr_db], samples=samples, occupied=0.2 * samples)[0]
    assert rms(error) < (1.4 if snr_db > 0 else 1.6) * bound
    assert error.mean().abs() < 0.4 * bound


def test_noise_may_be_tilted_either_way_and_the_snr_is_that_in_the_band(generator):
    for tilt in (-8.0, 8.0):
        iq = frames(generator, 12, count=160, noise_tilt_db=tilt)
        found = receiver.noise_of(iq, torch.zeros(len(iq)))
        band = torch.linspace(-1 / 16, 1 / 16, 101)
        expected = 12 - 10 * noise_density(band, tilt).mean().log10()
        assert found.tilt_db.mean() == pytest.approx(tilt, abs=0.3)
        assert (receiver.snr_db(found) - expected).mean().abs() < 0.15
        assert rms(receiver.snr_db(found) - expected) < 0.65  # a line's end varies more


@pytest.mark.parametrize("width", [0.3, 0.6, 0.9])
def test_a_filter_far_from_the_band_is_found_and_does_not_matter(generator, width):
    iq = frames(generator, 12, receive_bandwidth=width)
    found = receiver.noise_of(iq, torch.zeros(len(iq)))
    assert ((found.edge - width / 2).abs() < 0.04).all()
    assert (receiver.snr_db(found) - 12).mean().abs() < 0.15
    assert (receiver.noise_of(frames(generator), torch.zeros(102)).edge == 0.5).all()


def test_noise_that_a_filter_hides_is_owned_to_be_unknown(generator):
    found = receiver.noise_of(frames(generator, 12, receive_bandwidth=0.17), torch.zeros(102))
    assert (found.deviation == 2).all()
    assert ((receiver.snr_db(found) - 15).abs() < 0.5).all()
    assert (found.edge < 0.1).all()  # so that levelling fills what is missing
    assert (found.tilt_db == 0).all()


@pytest.mark.parametrize("tilt", [0.0, 6.0])
def test_noise_is_centred_on_the_receivers_frequency_wherever_the_carrier_is(generator, tilt):
    offset = torch.full((160,), 0.025)
    away = receiver.shift(frames(generator, torch.inf, count=160), -offset)
    iq = signals.awgn(away, torch.full((160,), 12.0), generator=generator, tilt_db=tilt)
    band = torch.linspace(-1 / 16, 1 / 16, 101) + 0.025
    expected = 12 - 10 * noise_density(band, tilt).mean().log10()
    for carrier in (None, offset):
        error = receiver.snr_db(receiver.noise_of(iq, carrier)) - expected
        assert error.mean().abs() < 0.15


def test_the_deviation_of_the_noise_is_honest(generator):
    for changes in ({}, {"noise_tilt_db": 6.0}, {"receive_bandwidth": 0.4}):
        found = receiver.noise_of(frames(generator, 10, count=320, **changes), torch.zeros(320))
        spread = found.density.log().std() / found.deviation.square().mean().sqrt()
        assert 0.75 < spread < 1.25, changes  # behind a filter a tilt is allowed for


@pytest.mark.parametrize("tilt", [-6.0, 6.0])
def test_levelled_noise_is_white_of_the_density_in_the_band(generator, tilt):
    iq = frames(generator, 10, noise_tilt_db=tilt, receive_bandwidth=0.5)
    found = receiver.noise_of(iq, torch.zeros(102))
    density = receiver.periodogram(receiver.levelled(iq, found)).mean(0)
    away = torch.fft.fftfreq(1024).abs()
    level = found.density.mean()
    for low in (0.12, 0.2, 0.3, 0.4):
        band = (away > low) & (away < low + 0.1)
        assert density[band].mean() == pytest.approx(level.item(), rel=0.15)


def test_levelling_keeps_the_band_and_leaves_white_noise_as_it_is(generator):
    iq = frames(generator)
    found = receiver.noise_of(iq, torch.zeros(102))._replace(tilt_db=torch.zeros(102))
    torch.testing.assert_close(receiver.levelled(iq, found), iq, atol=1e-5, rtol=0)
    filtered = frames(generator, receive_bandwidth=0.5)
    found = receiver.noise_of(filtered, torch.zeros(102))
    spectra = torch.fft.fft(receiver.levelled(filtered, found)), torch.fft.fft(filtered)
    band = torch.fft.fftfreq(1024).abs() < 0.1
    torch.testing.assert_close(spectra[0][:, band], spectra[1][:, band], atol=2e-3, rtol=1e-3)
    again = receiver.levelled(filtered, found)
    torch.testing.assert_close(torch.fft.fft(again), spectra[0])  # the default is seeded


@pytest.mark.parametrize("carrier", [-0.03, 0.0, 0.03])
@pytest.mark.parametrize("samples", [256, 1024, 4096])
def test_the_coarse_carrier_lies_within_its_deviation(generator, carrier, samples):
    iq = moved(frames(generator, 10, samples=samples), carrier)
    found = receiver.coarse_carrier(iq, receiver.noise_of(iq))
    error = found.offset - carrier
    assert rms(error) < 0.0014 * (1024 / samples) ** 0.5 + 0.0003
    assert 0.2 < rms(error / found.deviation) < 1.3


def test_behind_multipath_the_deviation_of_the_carrier_is_honest(generator):
    iq = moved(frames(generator, 20, delay_spread=1.0), 0.01)
    found = receiver.coarse_carrier(iq, receiver.noise_of(iq))
    assert 0.5 < rms((found.offset - 0.01) / found.deviation) < 1.5


def test_the_rolloff_is_told_narrow_from_wide(generator):
    mean = []
    for rolloff in (0.1, 0.4):
        iq = frames(generator, 15, rolloff=rolloff)
        mean.append(receiver.coarse_carrier(iq, receiver.noise_of(iq)).rolloff.mean())
    assert mean[0] < 0.2 < 0.3 < mean[1]


def at_clock(generator, clock, samples=1024, **settings):
    """Return frames, resampled by their whole spectrum, whose clock is so."""
    longer = frames(generator, 15.0, samples=samples + 256, **settings)
    time = (torch.arange(samples) - (samples - 1) / 2) * (1 + clock) + (samples + 255) / 2
    return sampled(longer, time)


def sampled(iq, time):
    """Return frames, taken as periodic, read at ``time``: a slow sum over their lines."""
    turns = time.unsqueeze(1).double() * torch.fft.fftfreq(iq.shape[1], dtype=torch.float64)
    waves = torch.exp(2j * pi * turns).to(torch.complex64)
    return torch.fft.fft(iq) @ waves.T / iq.shape[1]


@pytest.mark.parametrize("clock", [-0.03, 0.0, 0.004, 0.03])
@pytest.mark.parametrize("only", [None, 16])  # all but OQPSK, and OQPSK, which has other lines
def test_the_clock_is_found(generator, clock, only):
    iq = at_clock(generator, clock, only=only)
    found = receiver.clock_candidates(iq, torch.full((102,), 0.25), 3)
    assert found.clock.shape == found.score.shape == (102, 3)
    error = (found.clock[:, 0] - clock).abs()
    assert error.median() < (4e-4 if only is None else 6e-4)
    assert (error < 2e-3).float().mean() > 0.8
    assert ((found.clock - clock).abs().min(1).values < 2e-3).float().mean() > 0.9
    assert (found.score.diff(dim=1) <= 0).all()
    one = receiver.clock_candidates(iq, torch.full((102,), 0.25))
    torch.testing.assert_close(one.clock, found.clock[:, :1])


def test_the_odds_of_clocks_are_honest_and_the_noise_matters(generator):
    iq, rolloff = frames(generator, 3.0, count=480, clock_offset_std=0.0), torch.full((480,), 0.25)
    found = receiver.clock_candidates(iq, rolloff, 3, share=receiver.noise_of(iq).share)
    claimed = found.score.softmax(1)[:, 0].mean()
    right = (found.clock[:, 0].abs() < 1e-3).float().mean()
    assert claimed == pytest.approx(right.item(), abs=0.12)
    blind = receiver.clock_candidates(iq, rolloff, 3, share=1e-4)
    assert found.score[:, 0].mean() > blind.score[:, 0].mean() + 0.5


@pytest.mark.parametrize("samples", [256, 1024, 1500])
def test_resampling_is_right_in_the_band_to_minus_sixty_decibels(generator, samples):
    clock = torch.linspace(-0.035, 0.035, 102)
    iq = frames(generator, torch.inf, samples=samples, rolloff=0.5)
    resampled = receiver.resample(iq, clock)
    middle, window = (samples - 1) / 2, torch.hann_window(samples)
    band = torch.fft.fftfreq(samples).abs() < 0.095
    for row in (0, 30, 101):
        time = (torch.arange(samples) - middle) / (1 + clock[row]) + middle
        expected = sampled(iq[row : row + 1], time)[0]
        error, whole = (
            torch.fft.fft(x * window)[band] for x in (resampled[row] - expected, expected)
        )
        assert error.abs().square().sum() < 1e-6 * whole.abs().square().sum()


def test_resampling_leaves_what_is_outside_the_band_and_a_clock_of_zero_alone(generator):
    iq = noise_alone(generator, 50)
    torch.testing.assert_close(receiver.resample(iq, torch.zeros(50)), iq, atol=1e-5, rtol=0)
    density = receiver.periodogram(receiver.resample(iq, torch.full((50,), 0.03))).mean(0)
    away = torch.fft.fftfreq(1024).abs()
    assert density[away > 0.13].mean() == pytest.approx(1, rel=0.03)
    assert density[away < 0.1].mean() == pytest.approx(1, rel=0.06)


def hard(kind, samples):
    time = torch.arange(samples)
    return {
        "zeros": torch.zeros(samples) + 0j,
        "dc": torch.ones(samples) + 0j,
        "tone": torch.exp(2j * pi * 0.07 * time),
        "noise": noise_alone(torch.Generator().manual_seed(1), 1, samples)[0],
        "nan": torch.full((samples,), torch.nan) + 0j,
        "tiny": 1e-12 * noise_alone(torch.Generator().manual_seed(2), 1, samples)[0],
        "huge": 1e9 * noise_alone(torch.Generator().manual_seed(3), 1, samples)[0],
    }[kind]


@pytest.mark.parametrize("samples", [64, 256, 1024])
def test_hard_frames_break_nothing_and_do_not_touch_their_neighbours(generator, samples):
    kinds = ("zeros", "dc", "tone", "noise", "nan", "tiny", "huge")
    good = frames(generator, count=1, samples=samples)
    iq = torch.cat([torch.stack([hard(kind, samples) for kind in kinds]).to(torch.complex64), good])

    def found(iq):
        noise = receiver.noise_of(iq)
        coarse = receiver.coarse_carrier(iq, noise)
        noise = receiver.noise_of(iq, coarse.offset)
        turned = receiver.shift(iq, coarse.offset)
        clocks = receiver.clock_candidates(turned, coarse.rolloff, 2)
        resampled = receiver.resample(turned, clocks.clock[:, 0])
        clean = receiver.levelled(resampled, noise._replace(centre=-coarse.offset))
        parts = (coarse.offset, coarse.deviation, clocks.clock[:, 0], receiver.snr_db(noise))
        return [*parts, clean.abs().mean(1)]

    together, alone = found(iq), found(good)
    for several, one in zip(together, alone, strict=True):
        torch.testing.assert_close(several[-1:], one, atol=1e-4, rtol=1e-3)
        finite = several.isfinite()
        assert finite[[1, 2, 3, 7]].all()
    offset, deviation, *_ = together
    assert offset[:4].abs().max() <= 0.04
    assert deviation[3] > 0.005  # of noise alone


def test_the_scale_of_a_frame_does_not_matter(generator):
    iq = frames(generator, count=16)
    small, large = (receiver.noise_of(scale * iq) for scale in (1e-3, 1e3))
    torch.testing.assert_close(receiver.snr_db(small), receiver.snr_db(large), atol=1e-3, rtol=0)
    carriers = [
        receiver.coarse_carrier(scale * iq, noise).offset
        for scale, noise in ((1e-3, small), (1e3, large))
    ]
    torch.testing.assert_close(*carriers, atol=1e-5, rtol=0)
