"""Any part of a data set can be simulated anywhere, and every channel does what its name says."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from math import inf, nan, sqrt
from multiprocessing import get_context
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from scipy import stats
from simulated import simulated
from torch.testing import assert_close

from modsnr import InputError, signals
from modsnr.signals import CHANNELS, Channel, Simulator, simulator

LINEAR = tuple(name for name in signals.DIGITAL_CLASSES if name != "GMSK")
ZERO_MEAN = tuple(name for name in LINEAR if name != "OOK")
CLEAN = CHANNELS["clean"]
every_channel = pytest.mark.parametrize("name", CHANNELS)
every_interpolated = pytest.mark.parametrize("name", [name for name in CHANNELS if name != "clean"])


def decibel(ratio):
    return 10 * ratio.log10()


def frames(count, *, snr_db=inf, channel=CLEAN, classes=ZERO_MEAN, samples=1024):
    """Return frames of all ``classes`` in turn at one SNR."""
    return simulated(classes, count, snr_db, channel=channel, samples=samples)


def noise(count, *, snr_db=0.0, channel=CLEAN, **options):
    """Return what the noise alone leaves in the frames."""
    noisy, clean = (frames(count, snr_db=snr, channel=channel, **options) for snr in (snr_db, inf))
    return noisy - clean


def periodogram(iq):
    """Return the frequencies in cycles/sample and every frame's power density at them."""
    window = torch.hann_window(iq.shape[1], periodic=False, dtype=torch.float64)
    power = torch.fft.fft(iq * window).abs().square() / window.square().sum()
    return torch.fft.fftfreq(iq.shape[1], dtype=torch.float64), power


# Any part of a data set


def labels(count, classes=signals.DIGITAL_CLASSES):
    rng = np.random.default_rng(1)
    snr_db = rng.choice(np.arange(0, 32, 2), count).astype(np.float32)
    return np.arange(count), rng.integers(len(classes), size=count), snr_db


def simulator_of(channel=CHANNELS["minor"], samples=64):
    return Simulator(7, signals.DIGITAL_CLASSES, channel, samples)


def test_every_batch_of_rows_has_a_generator_of_its_own():
    rows, modulation, snr_db = labels(1300)
    found = simulator_of()(rows, modulation, snr_db)
    assert found.dtype == np.complex64
    assert found.shape == (1300, 64)
    for number, start in enumerate((0, 512, 1024)):
        part = slice(start, start + 512)
        wanted = signals.simulate(
            torch.tensor(modulation[part]),
            torch.tensor(snr_db[part]),
            generator=torch.Generator().manual_seed(7 * 1_000_003 + number),
            classes=signals.DIGITAL_CLASSES,
            samples=64,
        )
        assert_array_equal(found[part], wanted.numpy())


def test_no_rows_are_no_frames():
    assert simulator_of()(*(array[:0] for array in labels(1))).shape == (0, 64)


@pytest.mark.parametrize(
    "other",
    [{"seed": 8}, {"classes": signals.DIGITAL_CLASSES[::-1]}, {"channel": CLEAN}],
    ids=lambda other: next(iter(other)),
)
def test_no_setting_of_the_simulator_is_idle(other):
    given = labels(20)
    assert (simulator_of()(*given) != replace(simulator_of(), **other)(*given)).any(1).all()


@pytest.mark.parametrize("name", ["minor", "rayleigh_2", "coloured_noise", "receive_filter"])
def test_the_number_of_threads_leaves_no_trace_in_the_bytes(name):
    make, given = simulator_of(CHANNELS[name], 1024), labels(300)
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(make(*given).tobytes())
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]


@pytest.mark.long
def test_another_process_makes_the_same_bytes():
    make, given = simulator_of(signals.channel("receive_filter", noise_tilt_db=3.0)), labels(300)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        elsewhere = pool.submit(make, *given).result()
    assert elsewhere.tobytes() == make(*given).tobytes()


@every_channel
def test_a_simulator_reaches_another_process_as_it_left(name):
    sent = simulator_of(CHANNELS[name])
    assert ForkingPickler.loads(ForkingPickler.dumps(sent)) == sent


@pytest.mark.parametrize("rows", [[0, 1, 3], [3, 2, 1], [512, 512], [1, 2], [-512, -511]])
def test_rows_that_no_batch_begins_with_are_refused(rows):
    _, modulation, snr_db = labels(len(rows))
    complaint = f"multiple of 512 on; these run from {rows[0]} to {rows[-1]}"
    with pytest.raises(InputError, match=complaint):
        simulator_of()(np.array(rows), modulation, snr_db)


# Names


def test_the_channels_of_the_paper_have_its_parameters():
    settings = {
        name: (of.carrier_offset_std, of.clock_offset_std, of.delay_spread)
        for name, of in CHANNELS.items()
        if of.noise_tilt_db == 0 and of.receive_bandwidth is None
    }
    assert settings == {
        "clean": (0, 0, 0),
        "minor": (1e-4, 1e-4, 0),
        "moderate": (1e-2, 1e-2, 0),
        "rayleigh_0.5": (1e-4, 1e-4, 0.5),
        "rayleigh_1": (1e-4, 1e-4, 1),
        "rayleigh_2": (1e-4, 1e-4, 2),
    }
    assert CHANNELS["minor"] == Channel()


def test_a_named_channel_takes_changes():
    assert signals.channel("rayleigh_1", rolloff=0.3) == Channel(delay_spread=1.0, rolloff=0.3)
    assert signals.channel("rayleigh_1") == CHANNELS["rayleigh_1"]
    assert Channel(rolloff=[0.1, 0.4]).rolloff_range == (0.1, 0.4)  # a list does as well


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"rolloff": nan}, "rolloff must lie in 0..1, low before high; it is nan"),
        ({"rolloff": (0.4, 0.1)}, r"low before high; it is \(0.4, 0.1\)"),
        ({"carrier_offset_std": -1e-4}, "must be finite, 0 or more; it is -0.0001"),
        ({"clock_offset_std": 0.2}, r"clock_offset_std must lie in 0\.\.0\.1; it is 0.2"),
        ({"delay_spread": nan}, "delay_spread must be finite"),
        ({"samples_per_symbol": 7}, "samples_per_symbol must be even, .*it is 7"),
        ({"samples_per_symbol": 0}, "at least 2; it is 0"),
        ({"noise_tilt_db": inf}, "noise_tilt_db must be finite; it is inf"),
        ({"receive_bandwidth": 1.0}, "lie in 0.05..0.95 .* or be None for no filter; it is 1.0"),
    ],
)
def test_a_channel_that_cannot_be_is_refused(wrong, complaint):
    with pytest.raises(InputError, match=complaint):
        Channel(**wrong)


# Coloured noise


@pytest.mark.parametrize("tilt_db", [20.0, -6.0])
def test_coloured_noise_falls_linearly_in_decibels_and_keeps_its_power(tilt_db):
    coloured = noise(3000, snr_db=10, channel=replace(CLEAN, noise_tilt_db=tilt_db), samples=256)
    assert_close(decibel(coloured.abs().square().mean()).item(), -10.0, rtol=0, atol=0.02)
    frequency, density = periodogram(coloured)
    inner = (frequency.abs() > 0.02) & (frequency.abs() < 0.48)  # the window rounds the kinks
    density, frequency = decibel(density.mean(0)[inner]), frequency[inner].abs()
    fit = stats.linregress(frequency.numpy(), density.numpy())
    assert_close(fit.slope * 0.5, -tilt_db, rtol=0, atol=0.1)
    assert_close(density, fit.intercept + fit.slope * frequency, rtol=0, atol=0.5)


@pytest.mark.parametrize("option", [{"noise_tilt_db": 20.0}, {"receive_bandwidth": 0.3}])
def test_shaped_noise_joins_neighbours_and_not_the_ends_of_a_frame(option):
    shaped = noise(4000, channel=replace(CLEAN, **option), samples=64)
    power = shaped.abs().square().mean()
    apart = {lag: (shaped[:, lag] * shaped[:, 0].conj()).mean().abs() / power for lag in (1, 63)}
    assert apart[1] > 0.3
    assert apart[63] < 0.05


@pytest.mark.parametrize(("tilt_db", "rolloff"), [(6.0, (0.1, 0.4)), (-20.0, 0.35)])
def test_the_matched_filter_passes_the_in_band_excess_of_the_noise(tilt_db, rolloff):
    channel = replace(CLEAN, noise_tilt_db=tilt_db, rolloff=rolloff)
    spectrum = torch.fft.fft(noise(2000, channel=channel)).abs().square().mean(0)
    frequency = torch.fft.fftfreq(1024).abs() * 8
    low, high = channel.rolloff_range
    matched = [
        signals.root_raised_cosine(frequency, each).square()
        for each in np.linspace(low, high, 20).tolist()
    ]
    passed = torch.stack([weight @ spectrum / weight.sum() for weight in matched]).mean() / 1024
    assert_close(decibel(passed).item(), signals.in_band_noise_db(channel), rtol=0, atol=0.06)


@pytest.mark.parametrize("name", ["minor", "rayleigh_2", "receive_filter"])
def test_white_noise_is_as_strong_in_the_band_as_its_label_says(name):
    assert signals.in_band_noise_db(CHANNELS[name]) == 0


# Receive filter

FILTERED = replace(CLEAN, receive_bandwidth=0.6)


def test_the_receive_filter_passes_its_band_and_stops_the_rest():
    filtered = noise(800, channel=FILTERED)
    assert_close(filtered.abs().square().mean().item(), 0.6, rtol=0.03, atol=0)
    frequency, power = periodogram(filtered)
    away, density = frequency.abs(), power.mean(0)
    assert_close(decibel(density[away < 0.28].mean()).item(), 0.0, rtol=0, atol=0.05)
    assert decibel(density[away > 0.32]).max() < -55
    middle = decibel(density[(away - 0.3).abs() < 2e-3].mean())
    assert_close(middle.item(), -6.0, rtol=0, atol=0.7)  # half the amplitude at the cut-off


def test_the_receive_filter_leaves_the_signal_and_its_label():
    usual = frames(300, channel=replace(FILTERED, rolloff=0.4), classes=["16QAM"])
    assert_close(usual.abs().square().mean(1), torch.ones(300), rtol=0, atol=2e-3)
    frequency, power = periodogram(frames(300, snr_db=15, channel=FILTERED))
    floor = power[:, (frequency.abs() > 0.12) & (frequency.abs() < 0.28)].mean()
    assert_close(decibel(1 / floor).item(), 15.0, rtol=0, atol=0.1)


@pytest.mark.parametrize("name", ["receive_filter", "rayleigh_2"])
def test_a_frame_is_as_strong_at_its_ends_as_in_the_middle(name):
    iq = frames(6000, channel=CHANNELS[name], samples=128, classes=["QPSK"])
    power = iq.abs().square().mean(0).unflatten(0, (16, 8)).mean(1)
    assert_close(power, torch.ones(16), rtol=0, atol=0.06)


@pytest.mark.parametrize("samples_per_symbol", [6, 8])
def test_a_symbol_peaks_on_the_first_sample_behind_a_receive_filter(samples_per_symbol):
    channel = replace(FILTERED, samples_per_symbol=samples_per_symbol, rolloff=0.4)
    iq = frames(200, channel=channel, classes=["BPSK"], samples=60 * samples_per_symbol)
    spread = iq.abs().unflatten(1, (60, samples_per_symbol)).std((0, 1))
    assert spread.argmin() == 0


# Every channel, long frames and short ones


@every_channel
@pytest.mark.parametrize("samples", [128, 1024])
def test_the_snr_is_signal_over_noise_power_before_the_receive_filter(name, samples):
    channel = replace(CHANNELS[name], receive_bandwidth=None)
    clean = frames(400, channel=channel, samples=samples, classes=signals.DIGITAL_CLASSES)
    assert_close(clean.abs().square().mean(1), torch.ones(400))
    noisy = noise(400, snr_db=12, channel=channel, samples=samples)
    assert_close(decibel(noisy.abs().square().mean()).item(), -12.0, rtol=0, atol=0.05)


def smeared(density, samples):
    """Return what a Hann-windowed periodogram of that power density is on average."""
    window = torch.hann_window(samples, periodic=False, dtype=torch.float64)
    correlation = torch.fft.ifft(density)  # of the samples, over lags
    overlap = torch.fft.ifft(torch.fft.fft(window, len(density)).abs().square())
    long = torch.fft.fft(correlation * overlap).real / window.square().sum()
    return long[:: len(density) // samples]


@every_channel
@pytest.mark.parametrize("samples", [128, 1024])
def test_the_power_density_is_what_simulated_frames_have(name, samples):
    channel = CHANNELS[name]
    fine = torch.fft.fftfreq(8192, dtype=torch.float64)
    wanted = smeared(signals.power_density(fine, channel, 20), samples)
    wanted = wanted.unflatten(0, (32, -1)).mean(1)
    _, power = periodogram(frames(1000, snr_db=20, channel=channel, samples=samples))
    power = power.unflatten(1, (32, -1)).mean(2)
    error = (power.mean(0) - wanted).abs()
    # Fading frames, all scaled to one power, lie up to 1 dB above the flat average at the edges.
    allowed = 0.25 if channel.delay_spread else 0.02
    assert (error < allowed * wanted + 4 * power.std(0) / sqrt(len(power))).all()


@pytest.mark.parametrize("snr_db", [-10, inf])
@every_channel
def test_the_power_density_averages_to_the_mean_power(name, snr_db):
    channel = CHANNELS[name]
    frequency = (torch.arange(4096, dtype=torch.float64) + 0.5) / 4096 - 0.5
    mean = signals.power_density(frequency, channel, snr_db).mean().item()
    noise_power = 10 ** (-snr_db / 10) * (channel.receive_bandwidth or 1)
    assert_close(mean, 1 + noise_power, rtol=0.02 if channel.receive_bandwidth else 1e-4, atol=0)


def test_the_power_density_of_a_fixed_rolloff_is_flat_up_to_where_it_falls():
    channel = replace(CLEAN, rolloff=0.2)
    frequency = torch.tensor([[0.0, 0.4 / 8], [-0.5 / 8, 0.61 / 8]])
    density = signals.power_density(frequency, channel, 10)
    assert_close(density, torch.tensor([[8.1, 8.1], [4.1, 0.1]], dtype=torch.float64))


# Few samples a symbol


def read_by(monkeypatch, channel, count, samples, classes=signals.DIGITAL_CLASSES):
    """Return what simulated frames were read from: block, start, step, and the reading itself."""
    calls = []
    resample = simulator.resample

    def recorded(block, start, step, length):
        calls.append((block, start, step, resample(block, start, step, length)))
        return calls[-1][-1]

    monkeypatch.setattr(simulator, "resample", recorded)
    iq = frames(count, channel=channel, classes=classes, samples=samples)
    assert iq.shape == (count, samples)
    (call,) = calls
    return call


def trigonometric(block, start, step, length):
    """Return a periodic block between its samples, from its Fourier series."""
    frequency = torch.fft.fftfreq(block.shape[1], dtype=torch.float64)
    time = start.double().unsqueeze(1) + step.double().unsqueeze(1) * torch.arange(length)
    series = torch.fft.fft(block.to(torch.complex128)) / block.shape[1]
    waves = torch.exp(2j * torch.pi * time.unsqueeze(2) * frequency)  # [frame, sample, bin]
    return (waves @ series.unsqueeze(2)).squeeze(2)


@every_interpolated
@pytest.mark.parametrize("samples_per_symbol", [2, 6, 8])
def test_interpolation_errs_by_less_than_sixty_decibels(name, samples_per_symbol, monkeypatch):
    channel = replace(CHANNELS[name], samples_per_symbol=samples_per_symbol)
    *call, read = read_by(monkeypatch, channel, 18, 128, LINEAR)
    wanted = trigonometric(*call, read.shape[1])
    error = (read - wanted).abs().square().mean(1) / wanted.abs().square().mean(1)
    assert decibel(error).max() < -60


@pytest.mark.parametrize("samples_per_symbol", [2, 8])
def test_gmsk_keeps_its_envelope_at_few_samples_a_symbol(samples_per_symbol):
    channel = Channel(samples_per_symbol=samples_per_symbol)
    iq = frames(100, channel=channel, classes=["GMSK"], samples=128)
    assert_close(iq.abs(), torch.ones(100, 128), rtol=0, atol=1e-3)


@every_interpolated
@pytest.mark.parametrize("samples_per_symbol", [2, 8, 16])
def test_no_frame_is_read_near_the_ends_of_its_block(name, samples_per_symbol, monkeypatch):
    channel = replace(CHANNELS[name], samples_per_symbol=samples_per_symbol)
    block, start, step, read = read_by(monkeypatch, channel, 300, 1024)
    symbol = max(samples_per_symbol, 8)
    assert start.min() >= 8 * symbol
    assert (start + step * (read.shape[1] - 1)).max() < block.shape[1] - 6 * symbol


# The envelope


@pytest.mark.parametrize("modulation", LINEAR)
def test_the_oversampled_kurtosis_is_that_of_simulated_frames(modulation):
    iq = frames(64, channel=CLEAN, classes=[modulation], samples=8192)
    # Every frame has unit power, so its fourth moment is its kurtosis.
    found = iq.abs().double().pow(4).mean(1)
    error = found.mean() - signals.oversampled_kurtosis(modulation)
    z = (error / (found.std() / 8)).item()
    assert abs(z) < 3.5


@pytest.mark.parametrize(
    ("modulation", "c20", "c42"),
    [("BPSK", 1, -2), ("QPSK", 0, -1), ("8PSK", 0, -1), ("4ASK", 1, -1.36), ("16QAM", 0, -0.68)],
)
def test_without_rolloff_the_pulses_are_sincs(modulation, c20, c42):
    # The sum of sinc^2 over all symbols is 1 at all times, the integral of sinc^4 is 2/3.
    kurtosis = signals.oversampled_kurtosis(modulation, rolloff=0.0)
    assert_close(kurtosis, 2 + c20 + c42 * 2 / 3, rtol=0, atol=1e-4)


def test_gmsk_has_no_oversampled_kurtosis():
    with pytest.raises(InputError, match="GMSK is not linear"):
        signals.oversampled_kurtosis("GMSK")
