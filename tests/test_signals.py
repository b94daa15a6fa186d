"""Alphabets are those of the standards, and simulated frames are what their labels say."""

from dataclasses import replace
from functools import cache, partial
from math import factorial, inf, nan, pi, sin, sqrt

import pytest
import torch
from modsnr import InputError, signals
from modsnr.signals import Channel
from scipy import stats
from torch.testing import assert_close

LINEAR = tuple(name for name in signals.DIGITAL_CLASSES if name != "GMSK")
# Nothing but the pulse: a symbol peaks on every eighth sample, from sample 0 on.
STILL = Channel(
    rolloff=0.25,
    random_timing=False,
    random_phase=False,
    carrier_offset_std=0.0,
    clock_offset_std=0.0,
)
exactly = partial(assert_close, rtol=0, atol=0)


def send(modulation, frames, generator, *, snr_db=inf, channel=STILL, **options):
    """Return frames of one modulation at one SNR."""
    return signals.simulate(
        torch.zeros(frames, dtype=torch.long),
        torch.full((frames,), float(snr_db)),
        generator=generator,
        classes=[modulation],
        channel=channel,
        **options,
    )


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def periodogram(iq, samples_per_symbol=8):
    """Return the frequencies in symbol rates and the Hann-windowed power at them."""
    window = torch.hann_window(iq.shape[1], periodic=False)
    power = torch.fft.fft(iq * window).abs().square()
    return torch.fft.fftfreq(iq.shape[1]) * samples_per_symbol, power


def matched_filter(iq, rolloff=0.25):
    frequency = torch.fft.fftfreq(iq.shape[1]).abs() * 8
    return torch.fft.ifft(torch.fft.fft(iq) * signals.root_raised_cosine(frequency, rolloff))


# Alphabets


@pytest.mark.parametrize("modulation", LINEAR)
def test_every_alphabet_has_unit_mean_power_and_only_ooks_has_a_mean(modulation):
    points = signals.alphabet(modulation)
    assert points.dtype == torch.complex128
    assert_close(points.abs().square().mean().item(), 1.0)
    assert_close(points.mean().abs().item(), sqrt(0.5) if modulation == "OOK" else 0.0)


@pytest.mark.parametrize("modulation", LINEAR)
def test_an_alphabet_has_as_many_points_as_its_name_says(modulation):
    named = {"BPSK": 2, "QPSK": 4, "OQPSK": 4, "OOK": 2}
    order = named.get(modulation) or int(modulation.rstrip("AMPQSK"))
    assert len({(round(p.real, 9), round(p.imag, 9)) for p in signals.alphabet(modulation).tolist()}) == order


# A cross of 32 on levels +-1 +-3 +-5 has mean power 20; one of 128 on +-1 .. +-11 has 82.
MINIMUM_DISTANCE = {
    "OOK": sqrt(2),
    "BPSK": 2.0,
    "QPSK": sqrt(2),
    "OQPSK": sqrt(2),
    **{f"{m}PSK": 2 * sin(pi / m) for m in (8, 16, 32)},
    **{f"{m}ASK": sqrt(12 / (m * m - 1)) for m in (4, 8)},
    **{f"{m}QAM": sqrt(6 / (m - 1)) for m in (16, 64, 256)},
    "32QAM": 2 / sqrt(20),
    "128QAM": 2 / sqrt(82),
}


@pytest.mark.parametrize(("modulation", "distance"), MINIMUM_DISTANCE.items())
def test_the_minimum_distance_has_its_closed_form(modulation, distance):
    points = signals.alphabet(modulation)
    apart = (points.unsqueeze(0) - points.unsqueeze(1)).abs()
    apart.fill_diagonal_(inf)
    assert_close(apart.min().item(), distance)


@pytest.mark.parametrize(("modulation", "corner"), [("32QAM", 1), ("128QAM", 2)])
def test_a_cross_is_a_square_without_its_corners(modulation, corner):
    points = signals.alphabet(modulation) / (MINIMUM_DISTANCE[modulation] / 2)
    side = round(points.real.max().item())
    assert side == round(points.imag.max().item())
    assert (points.real.abs().minimum(points.imag.abs()).max().item()) < side - 2 * corner + 0.5


# Radii and counts, inside out. DVB-S2 (EN 302 307-1) at rate 3/4; DVB-S2X (EN 302 307-2) at rate
# 4/5 for 64APSK, 135/180 for 128APSK.
STANDARD_RINGS = {
    "16APSK": {1: 4, 2.85: 12},
    "32APSK": {1: 4, 2.84: 12, 5.27: 16},
    "64APSK": {1: 8, 2.2: 16, 3.6: 20, 5.2: 20},
    "128APSK": {1: 16, 1.715: 16, 2.118: 16, 2.681: 16, 2.75: 16, 3.819: 48},
}


def rings_of(points):
    """Return {radius over the innermost: number of points}."""
    ratios = [round(r, 4) for r in (points.abs() / points.abs().min()).tolist()]
    return {ratio: ratios.count(ratio) for ratio in sorted(set(ratios))}


@pytest.mark.parametrize(("modulation", "rings"), STANDARD_RINGS.items())
def test_apsk_has_the_rings_of_the_dvb_standard(modulation, rings):
    assert rings_of(signals.alphabet(modulation)) == rings


@pytest.mark.parametrize(
    ("modulation", "counts"),
    {"16APSK": [4, 12], "32APSK": [4, 12, 16], "64APSK": [4, 14, 20, 26], "128APSK": [8, 18, 24, 36, 42]}.items(),
)
def test_liquids_apsk_differs_from_the_standards(modulation, counts):
    liquid = signals.alphabet(modulation, signals.APSK_GEOMETRIES["liquid"][modulation] and signals.LIQUID_RINGS)
    assert list(rings_of(liquid).values()) == counts
    assert rings_of(liquid) != rings_of(signals.alphabet(modulation))
