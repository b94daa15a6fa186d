"""Estimators against their closed-form mean and spread, on frames of the simulator and on toys."""

import numpy as np
import pytest
import torch
from simulated import simulated

from modsnr import InputError, diagrams, limits
from modsnr.signals import STUDY_CLASSES, Channel

DB = 10 / np.log(10)
SPS = 8
OCCUPIED = 195  # of 1,024 dimensions: 1.4 symbol rates, and what the frame's ends need


BOTH = pytest.mark.parametrize("estimate", [limits.noise_floor_snr, limits.split_symbol_snr])


def frames(snr, count, generator, channel=None, modulations=STUDY_CLASSES):
    return simulated(modulations, count, snr, generator=generator, channel=channel)


def normal(generator, *shape):
    return torch.randn(*shape, dtype=torch.complex64, generator=generator)


def assert_spread(error, sigma, *, mean=0.0, slack=0.02):
    """Compare mean and standard deviation, with four standard errors and a little second order."""
    count = len(error)
    assert float(error.mean()) == pytest.approx(
        mean, abs=4 * sigma / np.sqrt(count) + slack * sigma
    )
    assert float(error.std()) == pytest.approx(sigma, rel=4 / np.sqrt(2 * count) + slack)


# The floor


@pytest.mark.parametrize("snr", [0, 30])
@pytest.mark.parametrize(
    ("estimate", "noise_only"),
    [(limits.noise_floor_snr, 1024 - OCCUPIED), (limits.split_symbol_snr, OCCUPIED)],
)
def test_the_floor_is_read_as_well_as_theory_allows(generator, snr, estimate, noise_only):
    """As ``band_limited`` has it, but for as many dimensions of noise as are looked at."""
    error = estimate(frames(snr, 680, generator), samples_per_symbol=SPS) - snr
    per_frame = 1024 * 10 ** (snr / 10)
    variance = (1 + OCCUPIED / per_frame) ** 2 / noise_only + 2 / per_frame
    sigma = DB * np.sqrt(variance + OCCUPIED / per_frame**2)
    # The mean of ln(S/N) lies above by the half of N's relative variance.
    assert_spread(error, sigma, mean=DB / 2 / noise_only, slack=0.05)


def test_the_span_of_the_band_is_that_of_its_correlation_matrix(generator):
    """The slow twin: the largest eigenvectors of the correlation of white noise in the band."""
    samples, sps = 128, 4
    width = (1 + 0.2) / sps + 2 / samples  # with a bin on either side for offsets
    occupied = int(width * samples) + 14  # and what the frame's ends need
    time = np.arange(samples)
    _, vectors = np.linalg.eigh(width * np.sinc(width * (time[:, None] - time)))
    outside, inside = vectors[:, :-occupied], vectors[:, -occupied:]
    iq = (
        10 * normal(generator, 5, occupied).numpy() @ inside.T
        + normal(generator, 5, samples).numpy()
    )
    noise = (np.abs(iq @ outside) ** 2).mean(1)
    signal = (np.abs(iq @ inside) ** 2).sum(1) / samples - noise * occupied / samples
    found = limits.noise_floor_snr(
        torch.from_numpy(iq.astype(np.complex64)), samples_per_symbol=sps, rolloff_max=0.2
    )
    assert found.numpy() == pytest.approx(DB * np.log(signal / noise), abs=1e-3)


@BOTH
def test_neither_scale_nor_phase_nor_batch_matters(generator, estimate):
    iq = frames(10, 8, generator)
    found = estimate(iq, samples_per_symbol=SPS)
    assert (found.dtype, found.shape) == (torch.float32, (8,))
    for other, rows in ((1e-4j * iq, slice(None)), (iq[2:3], slice(2, 3))):
        again = estimate(other, samples_per_symbol=SPS)
        torch.testing.assert_close(again, found[rows], atol=1e-3, rtol=0)


@BOTH
def test_a_signal_wider_than_the_band_it_is_given_reads_as_noise(generator, estimate):
    iq = frames(30, 17, generator, Channel(rolloff=0.6))
    wide = estimate(iq, samples_per_symbol=SPS, rolloff_max=0.6)
    narrow = estimate(iq, samples_per_symbol=SPS, rolloff_max=0.1)
    assert float((wide - 30).abs().max()) < 1.5
    if estimate is limits.noise_floor_snr:
        assert float(narrow.max()) < 25
    else:  # it takes its noise far from the band, but counts the rest as no signal
        assert float(narrow.mean()) < float(wide.mean())


@BOTH
def test_without_a_signal_or_without_noise_an_estimate_stays_in_its_range(generator, estimate):
    noise, silence = normal(generator, 50, 1024), torch.zeros(1, 1024, dtype=torch.complex64)
    found = estimate(noise, samples_per_symbol=SPS)
    assert float(found.max()) < -3
    assert float(found.min()) == limits.SNR_RANGE_DB[0]
    assert estimate(silence, samples_per_symbol=SPS).isnan()
    assert estimate(silence + 1, samples_per_symbol=SPS) == limits.SNR_RANGE_DB[1]


# Moments


def test_two_moments_by_hand():
    """Powers 1/2 and 3/2 have M2 = 1 and M4 = 5/4, so S = sqrt(3/4) where the kurtosis is 1."""
    symbols = torch.tensor([[0.5**0.5, 1j * 1.5**0.5]], dtype=torch.complex64)
    signal = 0.75**0.5
    found = limits.m2m4_snr(symbols, 1.0)
    assert float(found) == pytest.approx(DB * np.log(signal / (1 - signal)), abs=1e-4)
    # Of kurtosis 1.5, S = sqrt(3/2) is more than all the power: no noise is left.
    assert float(limits.m2m4_snr(symbols, 1.5)) == limits.SNR_RANGE_DB[1]


def test_the_synchronised_symbols_of_a_frame_have_the_snr_of_its_label_and_nine_decibels(generator):
    iq = frames(5, 400, generator, Channel(rolloff=0.25), ("BPSK", "QPSK", "8PSK", "16PSK"))
    found = limits.m2m4_snr(diagrams.synchronise(iq), 1.0) - DB * np.log(SPS)
    # Timing noise and the pulses that a frame cuts cost a little.
    assert float(found.median()) == pytest.approx(5, abs=0.2)


# Refusals

BAND = {"samples_per_symbol": SPS}


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda iq: limits.noise_floor_snr(iq.real, **BAND), "iq must be complex"),
        (lambda iq: limits.noise_floor_snr(iq[0], **BAND), "two-dimensional"),
        (lambda iq: limits.noise_floor_snr(iq, samples_per_symbol=1), "none are left to noise"),
        (lambda iq: limits.noise_floor_snr(iq[:, :16], **BAND), "longer frames"),
        (lambda iq: limits.noise_floor_snr(iq, **BAND, rolloff_max=-0.1), "must lie in 0..1"),
        (lambda iq: limits.split_symbol_snr(iq, samples_per_symbol=2), "every other sample"),
        (lambda iq: limits.m2m4_snr(iq, 2.0), "from 1 to below 2"),
    ],
)
def test_what_cannot_be_estimated_is_refused(call, complaint):
    with pytest.raises(InputError, match=complaint):
        call(torch.ones(2, 256, dtype=torch.complex64))
