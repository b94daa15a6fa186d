"""Bounds against closed forms, against one another, and against estimators that reach them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from modsnr import InputError, limits, metrics
from modsnr.signals import alphabet

DB = 10 / np.log(10)
SNRS = np.arange(-20.0, 31, 5)


def points_of(modulation):
    return alphabet(modulation).numpy()


def complex_normal(rng, *shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2)


# Closed forms


def test_a_known_waveform_of_a_whole_frame_and_of_its_symbols_alone():
    snrs = [0, 10, 20, 30]
    assert_allclose(limits.data_aided(snrs, 1024), [0.235, 0.149, 0.137, 0.136], atol=6e-4)
    assert_allclose(limits.data_aided(snrs, 128), [0.665, 0.421, 0.388, 0.384], atol=6e-4)


def test_the_most_likely_snr_of_a_known_waveform_is_as_spread_as_the_bound(rng):
    trials, observations, snr = 4000, 256, 10.0
    waveform = np.exp(2j * np.pi * rng.random(observations))
    received = waveform + 10 ** (-snr / 20) * complex_normal(rng, trials, observations)
    amplitude = received @ waveform.conj() / observations
    left = received - amplitude[:, None] * waveform
    found = DB * np.log(np.abs(amplitude) ** 2 / np.mean(np.abs(left) ** 2, 1))
    assert_allclose(np.std(found), limits.data_aided([snr], observations)[0], rtol=0.05)


def test_a_signal_that_occupies_nothing_is_known_and_at_high_snr_the_other_dimensions_count():
    nothing = limits.band_limited(SNRS, samples=1024, occupied=0)
    assert_allclose(nothing, limits.data_aided(SNRS, 1024))
    found = limits.band_limited([80], samples=1024, occupied=256)
    assert_allclose(found, DB / np.sqrt(768), rtol=1e-4)


def test_behind_a_receive_filter_fewer_dimensions_show_the_noise():
    all_of_it = limits.band_limited(SNRS, samples=1024, occupied=179.2)
    assert_allclose(
        limits.band_limited(SNRS, samples=1024, occupied=179.2, noise_only=844.8), all_of_it
    )
    filtered = limits.band_limited([80], samples=1024, occupied=179.2, noise_only=400)
    assert_allclose(filtered, DB / 20, rtol=1e-4)


@pytest.mark.parametrize("passed", [1.0, 0.6])
@pytest.mark.parametrize("snr", [0.0, 25.0])
def test_the_most_likely_tilt_is_as_spread_as_the_bound(rng, snr, passed):
    """Fisher scoring of level and slope on bins of noise, and the signal's power in its band."""
    frames, samples, rolloff, fall = 1500, 1024, 0.4, 0.5
    u = 2 * np.abs(np.fft.fftfreq(samples))
    width = (1 + rolloff) / 8
    inside, outside = u < width, (u >= width) & (u < passed)
    noise = np.exp(-fall * u)
    pulse = np.cos(np.pi / 2 * np.clip((4 * u - (1 - rolloff) / 2) / rolloff, 0, 1)) ** 2
    in_band = noise @ pulse / pulse.sum()
    signal = np.sqrt(8 * pulse * 10 ** (snr / 10) * in_band) * np.exp(
        2j * np.pi * rng.random(samples)
    )
    power = np.abs(signal + np.sqrt(noise) * complex_normal(rng, frames, samples)) ** 2
    design = np.stack([np.ones(outside.sum()), u[outside]], 1)
    found = np.zeros((frames, 2))
    for _ in range(8):
        rest = power[:, outside] / np.exp(found @ design.T) - 1
        found += rest @ design @ np.linalg.inv(design.T @ design)
    fitted = np.exp(found[:, :1] + found[:, 1:] * u)
    left = (power - fitted)[:, inside].sum(1) / samples
    error = DB * np.log(left / (fitted @ pulse / pulse.sum())) - snr
    bound = limits.tilted(
        [snr], samples=samples, samples_per_symbol=8, rolloff=rolloff, passed=passed
    )
    assert np.std(error) == pytest.approx(bound[0], rel=0.08)
    assert abs(error.mean()) < 0.06 + 4 * bound[0] / frames**0.5


def test_an_unknown_slope_costs_much_and_a_narrow_filter_more():
    options = {"samples": 1024, "samples_per_symbol": 8, "rolloff": 0.4}
    known = limits.band_limited(SNRS, samples=1024, occupied=179.2)
    wide, narrow = (limits.tilted(SNRS, passed=passed, **options) for passed in (1.0, 0.5))
    assert (known < wide).all()
    assert (wide < narrow).all()


def test_gaussian_symbols_on_a_brick_wall_are_estimated_no_better_than_any_signal_in_the_band():
    brick_wall = limits.spectrum_aware(SNRS, rolloff=0)
    assert_allclose(brick_wall, limits.band_limited(SNRS, samples=1024, occupied=128))


def test_the_bound_is_lower_the_more_is_known():
    """Of a signal with 4 samples a symbol: waveform, alphabet, spectrum, band; then its symbols."""
    symbols, snr = SNRS + DB * np.log(4), {"samples": 512, "samples_per_symbol": 4}
    nested = [
        limits.data_aided(SNRS, 512),
        limits.non_data_aided(symbols, points_of("16QAM"), 128, noise_only=384),
        limits.spectrum_aware(SNRS, rolloff=0.3, **snr),
        limits.band_limited(SNRS, samples=512, occupied=1.3 * 128),
    ]
    assert (np.diff(nested, axis=0) > -1e-6).all()
    alone = limits.non_data_aided(symbols, points_of("16QAM"), 128)
    assert (alone > limits.data_aided(symbols, 128) - 1e-6).all()


# Alphabets


@pytest.mark.parametrize("modulation", ["BPSK", "32APSK", "256QAM"])
def test_clear_symbols_are_as_good_as_known_ones_and_others_worse(modulation):
    high, low = limits.non_data_aided([45, 8], points_of(modulation), 128)
    known_high, known_low = limits.data_aided([45, 8], 128)
    assert high == pytest.approx(known_high, rel=1e-3)
    assert low > known_low * (1 + 1e-6)


@pytest.mark.parametrize(("square", "axis"), [("QPSK", "BPSK"), ("16QAM", "4ASK")])
def test_a_square_is_two_axes_of_half_the_power(square, axis):
    # A real symbol leaves the quadrature to noise alone: two of them show as much noise as a square
    # symbol and one noise-only sample.
    snr = np.array([-5.0, 5, 15, 25])
    axes = limits.non_data_aided(snr - DB * np.log(2), points_of(axis), 256)
    assert_allclose(limits.non_data_aided(snr, points_of(square), 128, noise_only=128), axes, 1e-4)


@pytest.mark.parametrize(("modulation", "snr", "noise_only"), [("QPSK", 5, 0), ("4ASK", 8, 2100)])
def test_the_most_likely_snr_is_as_spread_as_the_bound(rng, modulation, snr, noise_only):
    """Expectation maximisation over amplitude and noise, for symbols that it does not know."""
    points, frames, symbols = points_of(modulation), 400, 300
    truth = 10 ** (snr / 10)
    amplitude, noise = np.full((frames, 1), truth**0.5), np.ones((frames, 1))
    sent = rng.choice(points, (frames, symbols))
    y = amplitude * sent + complex_normal(rng, frames, symbols)
    power, rest = np.abs(y) ** 2, rng.gamma(max(noise_only, 1e-9), size=frames)
    cross = 2 * (y[..., None] * points.conj()).real
    for _ in range(20):
        energies = np.abs(amplitude * points) ** 2
        weight = np.exp((amplitude[..., None] * cross - energies[:, None]) / noise[..., None])
        weight /= weight.sum(2, keepdims=True)
        along, energy = (weight * cross).sum(2) / 2, weight @ np.abs(points) ** 2
        amplitude = (along.sum(1) / energy.sum(1))[:, None]
        error = (power - 2 * amplitude * along + amplitude**2 * energy).sum(1)
        noise = ((error + rest) / (symbols + noise_only))[:, None]
    realised = energy.mean(1) / (np.abs(sent) ** 2).mean(1)
    found = DB * np.log((amplitude**2 / noise)[:, 0] / truth * realised)
    bound = limits.non_data_aided([snr], points, symbols, noise_only=noise_only)
    assert np.std(found) == pytest.approx(bound[0], rel=4 / np.sqrt(2 * frames))


# Spectra


@pytest.mark.parametrize("snr", [-5, 20])
def test_the_most_likely_gaussian_spectrum_is_as_spread_as_the_bound(rng, snr):
    """Fisher scoring on bins of known density, slow twin of the integrals over the band."""
    frames, bins, sps, rolloff = 400, 1024, 8, 0.3
    frequency = np.abs(np.fft.fftfreq(bins)) * sps
    ramp = np.clip((frequency - (1 - rolloff) / 2) / rolloff, 0, 1)
    density = sps * np.cos(np.pi / 2 * ramp) ** 2
    signal_power = 10 ** (snr / 10)
    s = np.sqrt(signal_power * density) * complex_normal(rng, frames, bins)
    power = np.abs(s + complex_normal(rng, frames, bins)) ** 2
    signal, noise = np.full((frames, 1), signal_power), np.ones((frames, 1))
    for _ in range(8):
        total = signal * density + noise
        w = signal * density / total
        jacobian = np.stack([w, 1 - w], 1)  # of ln total about (ln signal, ln noise)
        score = (jacobian * (power / total - 1)[:, None]).sum(2)
        step = np.linalg.solve(jacobian @ jacobian.transpose(0, 2, 1), score[..., None])[..., 0]
        signal, noise = signal * np.exp(step[:, :1]), noise * np.exp(step[:, 1:])
    w = signal * density / (signal * density + noise)
    realised = (w**2 * power + w * noise).mean(1)
    error = DB * np.log(realised / noise[:, 0] / (np.abs(s) ** 2).mean(1))
    bound = limits.spectrum_aware([snr], rolloff=rolloff)
    assert np.std(error) == pytest.approx(bound[0], rel=4 / np.sqrt(2 * frames))


# Bins


def test_an_estimate_lands_in_its_bin_as_often_as_drawn_ones_do(rng):
    grid, draws = np.arange(0.0, 8, 2), 20_000
    for sigma in (0.3, 1.0, 4.0):
        found = limits.bin_accuracy(np.full(4, sigma), grid, grid)
        for place, snr in enumerate(grid):
            drawn = metrics.snap(snr + sigma * rng.standard_normal(draws), grid) == place
            assert found[place] == pytest.approx(drawn.mean(), abs=4 * 0.5 / np.sqrt(draws))


def test_the_outermost_bins_are_open():
    grid = [0, 2, 4]
    assert_allclose(limits.bin_accuracy([1e6, 1e6, 1e6], grid, grid), [0.5, 0, 0.5], atol=1e-6)
    assert limits.bin_accuracy([[3.0], [1e3]], [10.0], [10.0]).tolist() == [[1.0], [1.0]]


def test_the_possible_accuracy_is_the_mean_of_the_alphabets_bounds_in_their_bins():
    grid = [0.0, 2.0, 4.0]
    alphabets = {name: points_of(name) for name in ("BPSK", "16QAM")}
    size = {"samples": 256, "samples_per_symbol": 4}
    _, each = limits.frame_bounds(np.array(grid), alphabets, rolloff=(0.1, 0.4), **size)
    by_hand = [limits.bin_accuracy(sigma, grid, grid) for sigma in each.values()]
    found = limits.possible_accuracy(grid, alphabets, **size)
    assert_allclose(found, np.mean(by_hand, 0), rtol=1e-12)
    short = limits.possible_accuracy(grid, alphabets, samples=64, samples_per_symbol=4)
    assert (short < found).all()


# Refusals


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: limits.band_limited([0], samples=8, occupied=8), "leave none to noise"),
        (lambda: limits.band_limited([0], samples=8, occupied=2, noise_only=0), "leave none"),
        (
            lambda: limits.tilted([0], samples=8, samples_per_symbol=8, rolloff=0.4, passed=0.1),
            "leaves none to noise alone",
        ),
        (lambda: limits.spectrum_aware([0], rolloff=1.2), "rolloff must lie in 0..1"),
        (lambda: limits.spectrum_aware([0], rolloff=0.5, samples_per_symbol=1), "sampled one"),
        (lambda: limits.non_data_aided([0], np.array([2.0]), 8), "unit mean power; theirs is 4"),
    ],
)
def test_what_makes_no_sense_is_refused(call, complaint):
    with pytest.raises(InputError, match=complaint):
        call()
