"""Ceilings: folded spectra by closed forms, curves by counting, tables by their own parts."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from modsnr import InputError, limits, signals
from modsnr.limits.ceilings import EQUALISERS
from modsnr.signals import CHANNELS, Channel

CLASSES = ("QPSK", "8PSK", "16QAM", "64QAM")
GRID = (0.0, 10.0)


def folded(channel, generator, draws=400):
    return limits.folded_spectrum(channel, draws=draws, generator=generator)


def decibel(ratio):
    return 10 * np.log10(ratio)


# Folded spectra


@pytest.mark.parametrize("name", ["minor", "moderate", "receive_filter", "clean"])
def test_without_paths_in_white_noise_every_frequency_has_the_symbol_s_energy(name, generator):
    assert_allclose(folded(CHANNELS[name], generator), 8, rtol=1e-5)


def test_paths_fade_some_frequencies_and_keep_the_power(generator):
    found = folded(CHANNELS["rayleigh_2"], generator)
    assert_allclose(found.mean(1), 8)
    assert found.min() < 0.1
    assert (folded(CHANNELS["rayleigh_1"], generator).std(1) < found.std(1)).mean() > 0.7


def test_paths_are_drawn_as_the_simulator_draws_them(generator):
    """An impulse through the simulator's paths, and brick-wall pulses of 8 samples a symbol."""
    impulse = torch.zeros(2000, 32, dtype=torch.complex64)
    impulse[:, 0] = 1
    response = torch.fft.fft(signals.simulator.multipath(impulse, 2.0, generator), 1024)
    power = np.abs(np.concatenate([response[:, -64:], response[:, :64]], 1)).astype(float) ** 2
    literal = 8 * power / power.mean(1, keepdims=True)
    found = folded(Channel(delay_spread=2.0, rolloff=0.0), generator, draws=2000)
    for ratio in EQUALISERS.values():
        one, other = (decibel(ratio(10 * part)) for part in (literal, found))
        assert one.mean() == pytest.approx(other.mean(), abs=4 * one.std() * (2 / 2000) ** 0.5)
        assert one.std() == pytest.approx(other.std(), rel=0.15)


def test_an_ensemble_has_frames_with_and_without_paths(generator):
    found = folded(signals.channel("everyday"), generator, draws=2000)
    flat = (np.abs(found - 8) < 1e-3).all(1)
    assert 0.46 < flat.mean() < 0.57
    assert_allclose(found.mean(1), 8)


def test_a_tilt_lowers_the_ratio_in_the_band_by_its_in_band_excess(generator):
    found = folded(CHANNELS["coloured_noise"], generator)
    excess = -decibel(1 / (1 / found).mean() / 8)
    assert excess == pytest.approx(signals.in_band_noise_db(CHANNELS["coloured_noise"]), abs=0.05)


# Equalisers


def test_equalisers_leave_a_flat_channel_as_it_is():
    for ratio in EQUALISERS.values():
        assert_allclose(ratio(np.full((2, 8), 5.0)), 5.0)


def test_a_notch_costs_the_linear_equaliser_more_than_decision_feedback():
    notched = np.array([10.0] * 7 + [0.0])
    # By hand: 1 / mean(1 / (1 + G)) - 1, and the geometric mean of 1 + G, less 1.
    assert EQUALISERS["linear"](notched) == pytest.approx(8 / (7 / 11 + 1) - 1)
    assert EQUALISERS["feedback"](notched) == pytest.approx(11 ** (7 / 8) - 1)


def test_the_linear_equaliser_is_that_of_many_taps(generator):
    """The unbiased MMSE of a long filter for symbols through two paths, by its normal equations."""
    taps, noise, size = np.array([1.0, 0.6 + 0.3j]) / np.sqrt(1.45), 0.1, 61
    mixing = np.zeros((size, size + 1), complex)
    for row in range(size):
        mixing[row, row : row + 2] = taps
    received = mixing @ mixing.conj().T + noise * np.eye(size)
    wanted = mixing[:, size // 2]
    bias = (wanted.conj() @ np.linalg.solve(received, wanted)).real
    frequency = np.arange(512) / 512
    spectrum = np.abs(taps[0] + taps[1] * np.exp(2j * np.pi * frequency)) ** 2 / noise
    assert EQUALISERS["linear"](spectrum) == pytest.approx(bias / (1 - bias), rel=1e-3)


# Curves


def test_the_genies_certainty_is_how_often_it_is_right(generator):
    levels, options = [4.0, 9.0], {"symbols": 40, "generator": generator}
    curve = limits.accuracy_curve(CLASSES, levels, frames=150, **options)
    counted = limits.genie_accuracy(
        CLASSES, [x - decibel(8) for x in levels], frames=400, **options
    )
    assert_allclose(curve.accuracy, counted, atol=4 * 0.5 / np.sqrt(1600))
    assert (curve.error < 0.5 / np.sqrt(600)).all()


def test_the_error_of_a_curve_is_its_spread_over_seeds():
    def curve(seed):
        generator = torch.Generator().manual_seed(seed)
        return limits.accuracy_curve(CLASSES, [8.0], symbols=20, frames=20, generator=generator)

    found = [curve(seed) for seed in range(40)]
    spread = np.std([one.accuracy for one in found])
    assert np.mean([one.error for one in found]) == pytest.approx(spread, rel=0.4)


def test_a_curve_ends_in_one_and_rings_change_it(generator):
    options = {"symbols": 60, "frames": 30, "generator": generator}
    found = limits.accuracy_curve(CLASSES, range(-40, 41, 40), **options)
    assert found.accuracy[0] == pytest.approx(1 / 4, abs=0.01)
    assert (found.accuracy[2], found.error[2]) == (1, 0)
    rings = {"16APSK": signals.DVB_RINGS["16APSK"]}
    apart = signals.stretched(rings, 2.0)
    asked = (("16QAM", "16APSK"), [8.0])
    usual, other = (
        limits.accuracy_curve(*asked, rings=one, **options).accuracy[0] for one in (rings, apart)
    )
    assert abs(usual - other) > 0.01


# Tables


@pytest.fixture(scope="module")
def table():
    names = ["minor", "rayleigh_2", "coloured_noise", "receive_filter", "samples_128", "mixture"]
    names.append("everyday")
    return limits.ceilings(names, CLASSES, GRID, frames=12, draws=200, seed=1)


def cell(table, condition, *, task="modulation", label="0.0", receiver="feedback"):
    asked = {"condition": condition, "task": task, "label": label, "receiver": receiver}
    (row,) = table.query(" and ".join(f"{key} == {text!r}" for key, text in asked.items())).index
    return table.loc[row]


def test_a_table_has_a_value_with_its_interval_for_every_condition_task_and_snr(table):
    assert len(table) == 7 * len(EQUALISERS) * 3 * (len(GRID) + 1)
    assert ((table.low >= 0) & (table.low <= table.value) & (table.high <= 1)).all()
    assert table.task.unique().tolist() == ["joint", "modulation", "snr"]
    for task in ("joint", "modulation", "snr"):
        one = [cell(table, "rayleigh_2", task=task, label=f"{snr}").value for snr in GRID]
        assert cell(table, "rayleigh_2", task=task, label="all").value == pytest.approx(
            np.mean(one)
        )


def test_paths_tilts_and_short_frames_cost_accuracy_and_a_receive_filter_does_not(table):
    minor = cell(table, "minor").value
    assert cell(table, "receive_filter").value == pytest.approx(minor)
    assert cell(table, "minor", receiver="linear").value == pytest.approx(minor)
    for name in ("rayleigh_2", "coloured_noise", "samples_128", "mixture"):
        assert cell(table, name).value < minor - 0.005
    assert cell(table, "everyday").value < minor
    feedback, linear = (cell(table, "rayleigh_2", receiver=each).value for each in EQUALISERS)
    assert linear < feedback
    assert cell(table, "samples_128", task="snr").value < cell(table, "minor", task="snr").value


def test_jointly_both_must_be_right(table):
    modulation, snr, joint = (
        cell(table, "samples_128", task=task).value for task in ("modulation", "snr", "joint")
    )
    assert joint == pytest.approx(modulation * snr)


def test_intervals_cover_a_table_of_many_more_frames(table):
    fine = limits.ceilings(["rayleigh_2"], CLASSES, GRID, frames=150, draws=2000, seed=2)
    alone = limits.ceilings(["rayleigh_2"], CLASSES, GRID, frames=12, draws=200, seed=1)
    assert cell(alone, "rayleigh_2").value == cell(table, "rayleigh_2").value
    few, many = cell(table, "rayleigh_2"), cell(fine, "rayleigh_2")
    assert abs(few.value - many.value) < 1.5 * (few.high - few.low)
    assert many.high - many.low < (few.high - few.low) / 2.5


def test_a_condition_that_is_none_is_refused():
    with pytest.raises(InputError, match="'minr'; did you mean 'minor'"):
        limits.ceilings(["minr"], CLASSES, GRID)


def test_the_band_shows_less_of_the_snr_where_noise_is_tilted_filtered_or_short():
    names = ["minor", "receive_filter", "coloured_noise", "samples_512", "rayleigh_2", "mixture"]
    found = limits.snr_bounds(names, GRID)
    assert found.index.tolist() == ["0.0", "10.0"]
    minor = limits.band_limited(GRID, samples=1024, occupied=179.2)
    assert_allclose(found.minor, minor)
    assert_allclose(found.rayleigh_2, minor)
    for name in ("receive_filter", "coloured_noise", "samples_512", "mixture"):
        assert (found[name] > minor).all()
    assert (found.coloured_noise > found.mixture).all()
    # 1.4 / 8 of 0.6 of the band is the signal's: 435 of 1,024 samples show the noise alone.
    high = limits.snr_bounds(["receive_filter"], [90.0])
    assert high.iloc[0, 0] == pytest.approx(4.343 / 435.2**0.5, rel=1e-3)


def test_possible_accuracies_are_those_of_bounds_and_genies(generator):
    bounds = {"QPSK": np.array([0.5, 0.1]), "64QAM": np.array([0.7, 0.1])}
    found = limits.possible_accuracies(
        bounds, np.array([0.8, 0.2]), GRID, samples=512, samples_per_symbol=8, frames=(20, 5),
        generator=generator,
    )  # fmt: skip
    assert_allclose(found["alphabet known"], 1, atol=1e-5)
    assert found["genie"][1] == found["phase unknown"][1] == 1
    assert found["genie"][0] > 0.9
    assert_allclose(found["genie and bound"], found["genie"] * found["alphabet known"])


def test_a_blind_ceiling_is_lower_and_the_offset_that_it_does_not_know_is_the_channels():
    asked = ("8PSK", "16QAM", "64QAM"), [2.0, 18.0]
    known = limits.ceilings(["samples_512"], *asked, frames=12)
    blind = limits.blind_ceilings(["samples_512"], *asked, frames=12)
    assert blind.receiver.unique().tolist() == ["blind"]
    found = cell(blind, "samples_512", label="2.0", receiver="blind")
    assert 1 / 3 < found.value < cell(known, "samples_512", label="2.0").value
    assert found.high - found.low < 0.2
    assert cell(blind, "samples_512", label="18.0", receiver="blind").value == 1
    assert len(blind) == 9


@pytest.mark.parametrize("name", ["rayleigh_1", "mixture", "liquid_rings", "independent"])
def test_a_condition_that_the_blind_classifier_does_not_cover_is_refused(name):
    with pytest.raises(InputError, match=f"{name} has no blind ceiling"):
        limits.blind_ceilings([name], CLASSES, GRID)
