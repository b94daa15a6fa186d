"""Each frame of an ensemble has a channel of its own, and each range does what its name says."""

from dataclasses import replace
from math import log10, pi, radians, sqrt
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from simulated import seeded, simulated
from torch.testing import assert_close

from modsnr import InputError, frames, signals
from modsnr.signals import Channel, Ensemble, Range, Simulator, impairments, simulator

RANGES = (
    *("carrier_offset_std", "clock_offset_std", "delay_spread", "noise_tilt_db"),
    *("receive_bandwidth", "recorded_rate", "dc_db", "gain_db", "phase_degrees"),
    *("headroom_db", "ring_stretch"),
)
# Nothing is drawn but symbols, timing, phase, roll-off and rings.
STILL = replace(
    Ensemble(),
    **{name: replace(getattr(Ensemble(), name), share=0.0) for name in RANGES},
)
STILL = replace(STILL, carrier_offset_std=0.0, clock_offset_std=0.0)


def made(count=200, snr_db=torch.inf, *, classes=("QPSK",), samples=1024, **changes):
    channel = replace(STILL, **changes)
    return simulated(classes, count, snr_db, channel=channel, samples=samples)


def noise(count=400, snr_db=10.0, **changes):
    return made(count, snr_db, **changes) - made(count, **changes)


def density(iq):
    """Return the frequencies in cycles/sample and the mean power density at them."""
    window = torch.hann_window(iq.shape[1], periodic=False, dtype=torch.float64)
    power = torch.fft.fft(iq * window).abs().square() / window.square().sum()
    return torch.fft.fftfreq(iq.shape[1], dtype=torch.float64).abs(), power.mean(0)


def decibel(power):
    return 10 * torch.as_tensor(power, dtype=torch.float64).log10()


# Noise


@pytest.mark.parametrize("tilt_db", [6.0, -6.0, 0.0])
def test_tilted_noise_has_the_labels_density_in_the_signals_band(tilt_db):
    tilted = noise(1000, 10.0, noise_tilt_db=tilt_db)
    frequency, power = density(tilted)
    assert_close(decibel(power[frequency < 1 / 16].mean()).item(), -10.0, rtol=0, atol=0.05)
    inner = (frequency > 0.02) & (frequency < 0.48)
    slope, level = np.polyfit(frequency[inner], decibel(power[inner]), 1)
    assert slope / 2 == pytest.approx(-tilt_db, abs=0.1)
    assert level - tilt_db / 16 == pytest.approx(-10.0, abs=0.1)  # in the middle of the band
    # As a channel counts it, the label is the total: the two differ by what is known.
    total = decibel(tilted.abs().square().mean()).item()
    excess = signals.in_band_noise_db(Channel(noise_tilt_db=tilt_db))
    assert total == pytest.approx(-10.0 - excess, abs=0.05)


def test_the_band_is_that_around_the_carrier():
    frequency = torch.linspace(-0.5, 0.5, 100_001, dtype=torch.float64)
    for tilt_db, carrier in ((6.0, 0.03), (-6.0, -0.2), (0.0, 0.01)):
        given = torch.tensor([[tilt_db]]), torch.tensor([[carrier]])
        found = impairments.band_density(frequency, *given, 1 / 8)[0]
        band = (frequency - carrier).abs() < 1 / 16
        assert_close(found[band].mean().item(), 1.0, rtol=1e-4, atol=0)


def test_every_label_is_true_whatever_is_drawn():
    """Of noise in the band, 128 bins a frame, the power has a relative deviation of 1/sqrt(128)."""
    drawn = {name: getattr(Ensemble(), name) for name in RANGES if "offset" not in name}
    drawn |= {"headroom_db": STILL.headroom_db, "gain_db": 0.0, "phase_degrees": 0.0}
    count = 800
    alone = noise(count, 20.0, **drawn)
    inner = torch.fft.fftfreq(1024).abs() < 1 / 16
    power = torch.fft.fft(alone).abs().square()[:, inner].mean(1) / 1024 * 100
    assert_close(power.mean().item(), 1.0, rtol=0, atol=4 / sqrt(128 * count))
    assert power.std().item() == pytest.approx(1 / sqrt(128), rel=0.15)


def test_the_noise_of_quantisation_is_part_of_the_label():
    """At 25 dB and 15 dB of headroom it is a tenth of all noise."""
    given = {"headroom_db": 15.0}
    clean = made(400)
    found = made(400, 25.0, **given) - clean
    assert_close(decibel(found.abs().square().mean()).item(), -25.0, rtol=0, atol=0.03)
    step = 2 * 10 ** (15 / 20) * sqrt(1 + 10**-2.5) / 256
    assert_close(
        made(400, 25.0, **given).imag / step, (made(400, 25.0, **given).imag / step).round()
    )
    assert step**2 / 6 > 0.1 * 10**-2.5


def test_rounding_adds_a_twelfth_of_its_step_squared_to_either_part():
    iq = torch.view_as_complex(torch.randn(20, 4096, 2, generator=seeded()))
    step = torch.linspace(0.05, 0.5, 20).unsqueeze(1)
    added = impairments.quantised(iq, step) - iq
    assert_close(added.abs().square().mean(1), step[:, 0] ** 2 / 6, rtol=0.05, atol=0)
    clipped = impairments.quantised(torch.full((1, 2), 9 - 9j), torch.full((1, 1), 1 / 32))
    assert_close(clipped, torch.full((1, 2), complex(127 / 32, -4)))


# Filters


def test_a_receive_filter_passes_the_signal_and_stops_what_lies_beyond_its_band():
    given = {"rolloff": 0.4, "receive_bandwidth": 2.0}
    signal, filtered = made(rolloff=0.4), made(**given)
    assert decibel((signal - filtered).abs().square().mean()) < -50
    frequency, power = density(noise(**given))
    assert_close(decibel(power[frequency < 0.175].mean()).item(), -10.0, rtol=0, atol=0.05)
    assert decibel(power[frequency > 0.175 + 0.03 + 0.005].max()) < -60
    wide = made(**given, carrier_offset_std=0.01)
    assert_close(wide.abs().square().mean(), torch.tensor(1.0), rtol=0, atol=1e-3)


@pytest.mark.parametrize("rate", [5.0, 7.0, 20.0])
def test_noise_ends_with_the_band_of_the_recording(rate):
    frequency, power = density(noise(recorded_rate=rate))
    width = min(rate / 8, 1.0)
    assert_close(decibel(power[frequency < 0.45 * width].mean()).item(), -10.0, rtol=0, atol=0.05)
    if rate < 8:  # half the amplitude at the edge
        half = power[(frequency / width - 0.5).abs() < 0.01].mean()
        assert_close(decibel(half).item(), -16.0, rtol=0, atol=0.7)
    assert (decibel(power[frequency > 0.55 * width]) < -60).all()
    assert decibel((made(recorded_rate=rate) - made()).abs().square().mean()) < -40


# The two branches of a receiver


def test_a_constant_of_known_power_is_added():
    constant = made(dc_db=-30.0) - made()
    assert_close(constant.std(1), torch.zeros(200), rtol=0, atol=1e-5)
    assert_close(constant[:, 0].abs(), torch.full((200,), 10**-1.5), rtol=1e-4, atol=0)
    assert constant[:, 0].mean().abs() < 4 * 10**-1.5 / sqrt(200)  # at any angle


@pytest.mark.parametrize(("gain_db", "degrees"), [(0.2, 0.0), (0.0, 2.0), (-0.2, -2.0)])
def test_imbalance_leaves_an_image_of_known_power(gain_db, degrees):
    tone = torch.exp(2j * pi * 100 * torch.arange(1024, dtype=torch.float64) / 1024)[None]
    given = torch.tensor([gain_db]), torch.tensor([degrees])
    lines = torch.fft.fft(impairments.imbalanced(tone, *given))[0].abs().square() / 1024**2
    g, p = 10 ** (gain_db / 20), radians(degrees)
    of_image = 1 + g**2 - 2 * g * np.cos(p)
    assert_close(lines[-100].item(), of_image / 4, rtol=1e-4, atol=0)
    assert_close(lines[100].item(), (1 + g**2 + 2 * g * np.cos(p)) / 4, rtol=1e-4, atol=0)
    assert 10 * log10(lines[100] / lines[-100]) > 33
    imaged = made(gain_db=gain_db, phase_degrees=degrees)
    assert_close(imaged.real, made().real)
    assert (imaged.imag != made().imag).any(1).all()


# Paths and rings


def test_each_frame_has_its_own_delay_spread_as_if_it_were_that_of_all():
    signal = made(6)
    spread = torch.tensor([0.5, 1.0, 2.0]).repeat(2)
    found = simulator.multipath(signal, spread, seeded())
    for own in (0.5, 1.0, 2.0):
        rows, alone = spread == own, seeded()
        all_taps = simulator.multipath(signal, torch.tensor(2.0), seeded())
        wanted = simulator.multipath(signal, own, alone)
        assert_close(found[rows & (spread == 2.0)], all_taps[rows & (spread == 2.0)])
        # The same first taps; beyond five spreads, where only a fraction of exp(-5) is left.
        assert ((found - wanted)[rows].abs().square().mean() / wanted.abs().square().mean()) < 0.02


@pytest.mark.parametrize("geometry", ["dvb", "liquid"])
def test_rings_are_stretched_for_each_frame(geometry):
    classes = signals.DIGITAL_CLASSES
    modulation = torch.arange(len(classes)).repeat(2)
    factors = torch.linspace(0.9, 1.1, len(modulation))
    own = impairments.drawn(replace(STILL, geometries=(geometry,)), len(modulation), seeded())
    own = own._replace(ring_stretch=factors)
    points, sizes = impairments.points_of(modulation, classes, own)
    for frame, (number, factor) in enumerate(zip(modulation, factors.tolist(), strict=True)):
        if (name := classes[number]) != "GMSK":
            rings = signals.stretched(signals.APSK_GEOMETRIES[geometry], factor)
            wanted = signals.alphabet(name, rings).to(torch.complex64)
            assert sizes[frame] == len(wanted)
            assert_close(points[frame, : len(wanted)], wanted, rtol=0, atol=1e-5)


def test_each_frame_has_one_of_the_geometries():
    own = impairments.drawn(Ensemble(), 1000, seeded())
    assert own.geometry.float().mean().item() == pytest.approx(0.5, abs=0.06)
    only = impairments.drawn(signals.channel("everyday", "liquid"), 10, seeded())
    assert only.geometries == ("liquid",)


# What is drawn


@pytest.mark.parametrize("name", RANGES)
def test_values_lie_in_their_range_for_their_share_of_frames(name):
    of = getattr(Ensemble(), name)
    own = impairments.drawn(Ensemble(), 4000, seeded())
    values = getattr(own, name)
    absent = of.low if "offset" in name else getattr(impairments.drawn(STILL, 1, seeded()), name)
    there = values != absent
    assert there.float().mean().item() == pytest.approx(of.share, abs=0.035)
    assert values[there].min() >= of.low * (1 - 1e-6 * np.sign(of.low))
    assert values[there].max() <= of.high * (1 + 1e-6 * np.sign(of.high))
    middle = sqrt(of.low * of.high) if of.log else (of.low + of.high) / 2
    below = (values[there] < middle).float().mean().item()
    assert below == pytest.approx(0.5, abs=0.05)


def test_carrier_and_clock_are_as_bad_as_one_another():
    own = impairments.drawn(Ensemble(), 100, seeded())
    assert_close(own.carrier_offset_std, own.clock_offset_std)


@pytest.mark.parametrize("name", [*RANGES, "rolloff", "geometries"])
def test_no_range_is_idle(name):
    other = {"rolloff": 0.5, "geometries": ("liquid",), "recorded_rate": 5.0}
    changes = {name: other.get(name) or getattr(Ensemble(), name).high}
    before, after = (made(40, 10.0, classes=("16APSK",), **each) for each in ({}, changes))
    changed = (before - after).abs().amax(1) > 1e-4
    assert changed.float().mean() > (0.3 if name == "geometries" else 0.99)


# As a channel


def labels(count):
    rows = np.arange(count)
    return rows, rows % 17, (rows % 16 * 2).astype(np.float32)


def test_any_batch_can_be_made_without_the_others_by_any_number_of_threads():
    make = Simulator(7, signals.STUDY_CLASSES, signals.channel("everyday"), 256)
    rows, modulation, snr_db = labels(600)
    whole, part = make(rows, modulation, snr_db), slice(512, 600)
    assert np.isfinite(whole).all()
    assert_array_equal(make(rows[part], modulation[part], snr_db[part]), whole[part])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert make(rows, modulation, snr_db).tobytes() == whole.tobytes()
    finally:
        torch.set_num_threads(threads)
    sent = ForkingPickler.loads(ForkingPickler.dumps(make))
    assert sent == make
    assert (replace(make, seed=8)(rows, modulation, snr_db) != whole).any(1).all()


def test_the_store_says_what_the_label_counts():
    of = {
        name: frames.simulated(
            Simulator(1, ("QPSK",), signals.channel(name)), *(each[:4] for each in labels(4)[1:])
        )
        for name in ("minor", "everyday")
    }
    assert of["minor"].snr_definition == frames.SNR_DEFINITION
    assert "noise power density in the signal's band" in of["everyday"].snr_definition


def test_names_numbers_pairs_and_settings():
    air = signals.channel("everyday", rolloff=0.3, noise_tilt_db=3, delay_spread=[0.0, 1.0])
    assert air.rolloff == (0.3, 0.3)
    assert air.noise_tilt_db == Range(3, 3)
    assert air.delay_spread == Range(0.0, 1.0)
    (settings,) = signals.settings(air).values()
    assert settings["delay_spread"] == "0 to 1"
    assert settings["noise_tilt_db"] == "3"
    assert settings["carrier_offset_std"] == "0.0001 to 0.01, log, 70% of frames"
    assert list(air.parts) == ["dvb", "liquid"]
    assert air.parts["liquid"] == Channel(rolloff=(0.3, 0.3), rings=signals.LIQUID_RINGS)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"noise_tilt_db": (3, -3)}, r"noise_tilt_db must lie in .* low before high"),
        ({"delay_spread": -1}, r"delay_spread must lie in 0\.\.inf.*it is -1"),
        ({"carrier_offset_std": Range(0.0, 1.0, log=True)}, "above 0 if logarithmic"),
        ({"dc_db": Range(-60.0, -30.0, 1.5)}, "a share in 0..1"),
        ({"receive_bandwidth": 0.5}, r"receive_bandwidth must lie in 1\.\.inf"),
        ({"ring_stretch": (1, torch.nan)}, "ring_stretch must lie in"),
        ({"rolloff": (0.5, 0.1)}, "rolloff must lie in 0..1"),
        ({"geometries": ("dvp",)}, "APSK geometry is called 'dvp'"),
        ({"samples_per_symbol": 7}, "must be even"),
    ],
)
def test_an_ensemble_that_cannot_be_is_refused(wrong, complaint):
    with pytest.raises(InputError, match=complaint):
        Ensemble(**wrong)
