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
    assert set(
        signals.simulated_like(BLANK | {"FM": BLANK["QPSK"]}, 0, channel=AIR, seed=1)
    ) == set(BLANK)


def test_the_density_of_simulated_frames_is_theorys_in_band_and_floor(simulated):
    frequency, found = signals.densities({"simulated": simulated}, AIR, 20.0)
    assert (np.diff(frequency) > 0).all()
    floor, flat = np.abs(frequency) > 0.12, np.abs(frequency) < 0.03
    for place in (floor, flat):
        means = {name: 10 ** (density[place] / 10) for name, density in found.items()}
        assert 10 * np.log10(means["simulated"].mean() / means["theory"].mean()) == pytest.approx(
            0, abs=0.2
        )


def test_the_scale_of_frames_and_modulations_beyond_theory_do_not_move_the_density(simulated):
    carrier = {"OOK": torch.ones(64, 1024, dtype=torch.complex64)}
    loud = {name: 100 * iq for name, iq in simulated.items()}
    _, found = signals.densities({"plain": simulated, "loud": loud | carrier}, AIR, 20.0)
    np.testing.assert_allclose(found["plain"], found["loud"], atol=1e-3)


def test_moments_of_simulated_frames_lie_about_theirs_in_theory(simulated):
    found = signals.moments({"simulated": simulated}, diagrams.synchronise, AIR)
    assert set(found) == {"C42", "|C40|", "kurtosis"}
    for quantity, series in found.items():
        for name, value in series["theory"].items():
            middle = series["simulated"][name]
            assert middle["low"] <= middle["value"] <= middle["high"]
            slack = 0.12 if name == "8PSK" and quantity == "|C40|" else 0.06  # never below zero
            assert middle["value"] == pytest.approx(value, abs=slack), (quantity, name)


def test_frames_under_a_wrong_name_fall_away_from_theory(simulated):
    wrong = {"QPSK": simulated["16QAM"]}
    found = signals.moments({"stored": wrong}, diagrams.synchronise, AIR)["C42"]
    assert abs(found["stored"]["QPSK"]["value"] - found["theory"]["QPSK"]) > 0.2


def test_oqpsk_has_a_kurtosis_but_no_symbols_and_gmsk_neither():
    frames = signals.simulated_like(
        dict.fromkeys(("OQPSK", "GMSK"), BLANK["QPSK"]), 30.0, channel=AIR, seed=1
    )
    found = signals.moments({"simulated": frames}, diagrams.synchronise, AIR)
    assert found["C42"]["simulated"] == {}
    assert list(found["kurtosis"]["simulated"]) == ["OQPSK"]
