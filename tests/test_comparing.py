"""Simulated frames beside theory agree with it, and frames that are something else do not."""

import numpy as np
import pytest
import torch

from modsnr import diagrams, signals

AIR = signals.channel("minor", carrier_offset_std=0.0)
BLANK = {name: torch.zeros(64, 1024, dtype=torch.complex64) for name in ("QPSK", "16QAM", "8PSK")}


@pytest.fixture(scope="module")
def simulated():
    return signals.simulated_like(BLANK, 20.0, channel=AIR, seed=1)


def test_as_many_frames_as_long_are_simulated_of_each_modulation_that_can_be(simulated):
    assert {name: iq.shape for name, iq in simulated.items()} == dict.fromkeys(BLANK, (64, 1024))
    analog = signals.simulated_like({"FM": BLANK["QPSK"]}, 0, channel=AIR, seed=1)
    assert analog == {}


def test_the_density_of_simulated_frames_is_that_of_theory_in_band_and_floor(simulated):
    power = 10 ** (signals.densities({"simulated": simulated}, AIR, 20.0) / 10)
    assert power.index.is_monotonic_increasing
    for place in (abs(power.index) > 0.12, abs(power.index) < 0.03):
        assert power.simulated[place].mean() == pytest.approx(power.theory[place].mean(), rel=0.05)


def test_the_scale_of_frames_and_modulations_beyond_theory_do_not_move_the_density(simulated):
    carrier = {"OOK": torch.ones(64, 1024, dtype=torch.complex64)}
    loud = {name: 100 * iq for name, iq in simulated.items()}
    found = signals.densities({"plain": simulated, "loud": loud | carrier}, AIR, 20.0)
    np.testing.assert_allclose(found.plain, found.loud, atol=1e-3)


def test_moments_of_simulated_frames_lie_about_theirs_in_theory(simulated):
    found = signals.moments({"simulated": simulated}, diagrams.synchronise, AIR)
    assert list(found.quantity.unique()) == ["C42", "|C40|", "kurtosis"]
    theory, measured = (rows for _, rows in found.groupby("series", sort=False))
    assert (theory.low == theory.value).all()
    assert ((measured.low < measured.value) & (measured.value < measured.high)).all()
    both = theory.merge(measured, on=["quantity", "modulation"])
    # The magnitude of noise about zero never lies below zero.
    slack = np.where((both.quantity == "|C40|") & (both.modulation == "8PSK"), 0.12, 0.06)
    assert (abs(both.value_x - both.value_y) < slack).all()


def test_frames_under_a_wrong_name_fall_away_from_theory(simulated):
    wrong = {"stored": {"QPSK": simulated["16QAM"]}}
    expected, found = signals.moments(wrong, diagrams.synchronise, AIR).value[:2]
    assert abs(found - expected) > 0.2


def test_oqpsk_has_a_kurtosis_but_no_symbols_and_gmsk_neither():
    blank = dict.fromkeys(("OQPSK", "GMSK"), BLANK["QPSK"])
    frames = {"simulated": signals.simulated_like(blank, 30.0, channel=AIR, seed=1)}
    found = signals.moments(frames, diagrams.synchronise, AIR)
    assert set(zip(found.quantity, found.modulation, strict=True)) == {("kurtosis", "OQPSK")}
