"""The second generator keeps to theory by itself, and is another where it should be."""

import ast
from math import inf
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import j0

from modsnr import InputError, limits, signals
from modsnr.signals.independent import Motion, cut_pulse, fading, independent, points_of

FINE = 32  # samples a symbol of a pulse
STEADY = {"rolloff": (0.25, 0.25), "carrier_offset": 0.0}


def made(name, count=40, *, snr_db=inf, seed=3, **options):
    return independent(
        np.zeros(count, int),
        np.full(count, snr_db),
        rng=np.random.default_rng(seed),
        classes=(name,),
        **options,
    )


def error_db(iq, points, late=0.0):
    """Return how far symbols lie from the nearest points after a matched filter, in decibels.

    The best of 64 timings is taken, or one ``late`` symbols after it, and the best of all turns and
    some scales.
    """
    frequency = np.fft.fftfreq(iq.shape[-1]) * 8
    matched = np.fft.fft(iq) * np.cos(np.clip((np.abs(frequency) - 0.375) / 0.25, 0, 1) * np.pi / 2)

    def read(timing):
        return np.fft.ifft(matched * np.exp(2j * np.pi * frequency * timing))[64:-64:8]

    best = max(np.arange(64) / 64, key=lambda timing: np.square(np.abs(read(timing))).mean())
    symbols = read(best - late)
    symbols = symbols / np.sqrt(np.mean(np.abs(symbols) ** 2))
    turned = symbols[:, None] * np.exp(-2j * np.pi * np.arange(360) / 360)
    apart = [
        np.square(np.abs(turned[:, :, None] / scale - points).min(-1)).mean(0).min()
        for scale in np.linspace(0.9, 1.1, 9)
    ]
    return 10 * np.log10(min(apart))


def test_it_imports_nothing_that_the_simulator_computes_with():
    path = Path(signals.__file__).with_name("independent.py")
    imported = {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("modsnr")
        for alias in node.names
    }
    assert imported == {
        ("modsnr", "files"),
        ("modsnr.signals.alphabets", "LIQUID_RINGS"),
        ("modsnr.signals.alphabets", "STUDY_CLASSES"),
        ("modsnr.signals.alphabets", "check_labels"),
    }


@pytest.mark.parametrize("name", signals.STUDY_CLASSES)
def test_its_symbols_are_the_modulations_up_to_a_turn(name):
    points, wanted = points_of(name), signals.alphabet(name, signals.LIQUID_RINGS).numpy()
    assert np.mean(np.abs(points) ** 2) == pytest.approx(1)
    turn = np.exp(1j * np.pi / 4) if name == "QPSK" else 1
    assert len(points) == len(wanted)
    apart = np.abs(points[:, None] * turn - wanted)
    assert apart.min(0).max() < 1e-9
    assert apart.min(1).max() < 1e-9


@pytest.mark.parametrize("rolloff", [0.15, 0.25, 0.35])
def test_the_cut_pulse_is_almost_free_of_intersymbol_interference(rolloff):
    pulse = cut_pulse(rolloff)
    through = np.convolve(pulse, pulse)[len(pulse) - 1 :: FINE]
    others = 2 * np.square(through[1:]).sum() / through[0] ** 2
    assert -60 < 10 * np.log10(others) < -35  # not perfect: it is cut, as pulses of radios are


def test_the_pulse_has_the_limits_of_its_closed_form():
    """A roll-off of a quarter has both removable gaps on the grid: at 0 and at one symbol."""
    pulse, middle = cut_pulse(0.25), 10 * FINE
    assert pulse[middle] == pytest.approx(1 - 0.25 + 1 / np.pi)
    for place in (middle - FINE, middle, middle + FINE):
        assert pulse[place] == pytest.approx((pulse[place - 1] + pulse[place + 1]) / 2, abs=3e-3)
    assert_allclose(pulse, pulse[::-1], atol=1e-12)


@pytest.mark.parametrize("rolloff", [0.15, 0.35])
def test_its_spectrum_is_a_raised_cosine(rolloff):
    iq = made("QPSK", 400, rolloff=(rolloff, rolloff), carrier_offset=0.0)
    window = np.hanning(1024)
    power = np.square(np.abs(np.fft.fft(iq * window))).mean(0) / np.square(window).sum()
    rates = np.abs(np.fft.fftfreq(1024)) * 8
    flat, half = rates < (1 - rolloff) / 2 - 0.03, np.abs(rates - 0.5) < 0.004
    assert power[flat].mean() == pytest.approx(8, rel=0.02)
    assert power[half].mean() == pytest.approx(4, rel=0.05)
    assert power[rates > 0.9].max() < 8e-5


@pytest.mark.parametrize("name", ["QPSK", "32QAM", "16APSK"])
def test_symbols_land_on_the_alphabet_after_a_matched_filter(name):
    iq, points = made(name, 1, **STEADY)[0], points_of(name)
    assert error_db(iq, points) < -28  # the ends, 64 timings and 360 turns cost some of 44
    assert error_db(iq, points, late=0.5) > -18


def test_the_quadrature_of_oqpsk_moves_half_a_symbol_late():
    """So that its envelope never comes near zero, as QPSK's does."""
    low = {
        name: np.quantile(np.abs(made(name, 40, rolloff=(0.35, 0.35))), 0.01)
        for name in ("QPSK", "OQPSK")
    }
    assert low["OQPSK"] > 0.4 > 2 * low["QPSK"]


@pytest.mark.parametrize("name", ["BPSK", "16APSK", "128QAM", "OQPSK"])
def test_the_oversampled_kurtosis_is_theorys(name):
    power = np.square(np.abs(made(name, 300, rolloff=(0.25, 0.25))))
    wanted = signals.oversampled_kurtosis(name, 0.25, signals.LIQUID_RINGS)
    assert np.square(power).mean() / power.mean() ** 2 == pytest.approx(wanted, rel=0.02)


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
def test_the_snr_is_signal_over_noise_power_per_sample(snr_db):
    clean, noisy = (made("16QAM", 60, snr_db=snr) for snr in (inf, snr_db))
    noise = noisy - clean
    assert_allclose(np.square(np.abs(clean)).mean(1), 1, rtol=1e-5)
    assert -10 * np.log10(np.square(np.abs(noise)).mean()) == pytest.approx(snr_db, abs=0.1)
    floor = limits.noise_floor_snr(torch.from_numpy(noisy), samples_per_symbol=8, rolloff_max=0.4)
    assert floor.mean().item() == pytest.approx(snr_db, abs=0.15)  # it is white


def test_phase_and_delay_are_drawn_for_every_frame():
    iq = made("BPSK", 400, carrier_offset=0.0)
    turns = np.angle(np.square(iq).sum(1)) / 2  # of a real-valued signal, modulo a half turn
    counts = np.histogram(turns, 4, (-np.pi / 2, np.pi / 2))[0]
    assert counts.min() > 60
    line = (np.square(np.abs(iq)) * np.exp(-2j * np.pi * np.arange(1024) / 8)).sum(1)
    assert np.histogram(np.angle(line), 4, (-np.pi, np.pi))[0].min() > 60


def test_the_carrier_offset_turns_the_frame_while_it_lasts():
    def drift(**options):
        squared = np.square(made("BPSK", 60, **options))
        first, last = squared[:, :256].sum(1), squared[:, -256:].sum(1)
        return np.abs(np.angle(last * first.conj()))

    assert drift(carrier_offset=0.0).max() < 0.05
    assert 4 * np.pi * 768 * 2e-4 * 0.8 < drift().max() < 4 * np.pi * 768 * 2e-4 + 0.1


def test_the_rolloff_is_of_the_range_asked_for():
    def beyond(**options):
        density = np.square(np.abs(np.fft.fft(made("QPSK", 60, **options) * np.hanning(1024))))
        away = np.abs(np.fft.fftfreq(1024)) * 8
        return density[:, (away > 0.6) & (away < 0.7)].sum(1) / density.sum(1)

    narrow, wide = beyond(rolloff=(0.15, 0.15)), beyond(rolloff=(0.35, 0.35))
    assert narrow.max() < 1e-3 < wide.min()
    assert beyond().std() > 5 * narrow.std()


def test_the_seed_decides():
    first, again, other = (made("QPSK", 3, seed=seed, samples=500) for seed in (1, 1, 2))
    assert first.shape == (3, 500)
    assert first.dtype == np.complex64
    assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


@pytest.mark.parametrize(
    ("classes", "labels", "refusal"),
    [
        (("GMSK",), ([0], [0.0]), "no modulation is called 'GMSK'"),
        (("QPSK",), ([0, 1], [0.0, 0.0]), "first at index 1: 1"),
    ],
)
def test_what_it_cannot_make_is_refused(classes, labels, refusal):
    with pytest.raises(InputError, match=refusal):
        independent(*map(np.array, labels), rng=np.random.default_rng(1), classes=classes)


# Motion


def test_a_carriers_offset_walks_at_random():
    """The phase after n samples sums n (n+1) (2n+1) / 6 squares."""
    drift, still = 2e-6, made("BPSK", 400, **STEADY, motion=Motion())
    turned = made("BPSK", 400, **STEADY, motion=Motion(drift))
    turns = np.angle((turned * still.conj())[:, -1]) / (2 * np.pi)
    n = 1024
    assert turns.std() == pytest.approx(drift * np.sqrt(n * (n + 1) * (2 * n + 1) / 6), rel=0.1)
    assert_allclose(np.abs(turned), np.abs(still), atol=1e-5)


def test_a_diffuse_path_has_unit_power_and_clarkes_spectrum():
    gains = np.array([fading(512, 0.01, np.random.default_rng(seed)) for seed in range(2000)])
    assert np.square(np.abs(gains)).mean() == pytest.approx(1, abs=0.05)
    lags = np.array([10, 25, 40])
    correlation = [(gains[:, lag:] * gains[:, :-lag].conj()).mean() for lag in lags]
    assert_allclose(np.real(correlation), j0(2 * np.pi * 0.01 * lags), atol=0.06)


def test_an_echo_lies_below_the_direct_path_by_ks_decibels():
    direct = made("QPSK", 300, **STEADY, motion=Motion())
    for k_db in (20.0, 30.0):
        echo = made("QPSK", 300, **STEADY, motion=Motion(rician_k_db=k_db)) - direct
        # What of it lies along the direct path is lost where frames are scaled to unit power.
        power = np.square(np.abs(echo)).mean()
        assert -1.5 * k_db < 10 * np.log10(power) < -k_db + 0.5
        assert power > 0.3 * 10 ** (-k_db / 10)
    slow, fast = (made("QPSK", 5, motion=Motion(rician_k_db=0, doppler=d)) for d in (0, 1e-3))
    assert (slow != fast).any(1).all()
