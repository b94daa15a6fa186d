"""Timing and likelihoods of the receiver against literal sums over alphabets."""

from math import inf, log, pi

import pytest
import torch
from simulated import simulated
from torch.testing import assert_close

from modsnr import signals
from modsnr.receiver import likelihood, timing

NOISE, SYMBOLS = 0.03, 122


def received(modulation, frames, generator, *, noise=NOISE, offset=0.0, phase=0.0):
    """Return unit-power symbols in noise of so much power, turned, and the noise's share."""
    points = signals.alphabet(modulation).to(torch.complex64)
    sent = points[torch.randint(len(points), (frames, SYMBOLS), generator=generator)]
    added = torch.randn(frames, SYMBOLS, dtype=torch.complex64, generator=generator) * noise**0.5
    time = torch.arange(SYMBOLS) - (SYMBOLS - 1) / 2
    angle = torch.as_tensor(phase + 2 * pi * offset * time)
    share = torch.full((frames,), noise / (1 + noise))
    return (sent + added) * torch.polar(torch.ones_like(angle), angle), share


def literal_log_likelihood(symbols, modulation, noise, offset, phase):
    """Return that of symbols [symbol] turned back by one offset and phase, by a sum over points."""
    time = torch.arange(len(symbols)) - (len(symbols) - 1) / 2
    turned = symbols * torch.exp(-1j * (phase + 2 * pi * offset * time))
    apart = (turned.unsqueeze(1) - signals.alphabet(modulation)).abs().square()
    return float((-apart / noise).exp().mean(1).log().sum())


@pytest.mark.parametrize("modulation", ["QPSK", "8PSK", "16APSK", "16QAM"])
def test_the_marginal_is_the_mean_likelihood_over_phases_and_offsets(modulation, generator):
    noise = 0.1
    symbols, share = received(modulation, 1, generator, noise=noise, phase=0.4)
    symbols = symbols / symbols.abs().square().mean().sqrt() * (1 + noise) ** 0.5
    offsets = torch.linspace(-0.004, 0.004, 21).tolist()
    prior = torch.tensor([-((f / likelihood.LOCKED) ** 2) / 2 for f in offsets])
    prior -= prior.logsumexp(0)
    order = signals.symmetry(signals.alphabet(modulation))
    phases = [2 * pi / order * step / 12 for step in range(12)]
    terms = [
        [literal_log_likelihood(symbols[0], modulation, noise, f, p) - log(12) for p in phases]
        for f in offsets
    ]
    wanted = (torch.tensor(terms) + prior.unsqueeze(1)).logsumexp((0, 1))
    found = likelihood.likelihoods(symbols, share)
    column = likelihood.ALPHABETS.index(modulation)
    assert_close(found.marginal[0, column], wanted, rtol=0, atol=0.7)


@pytest.mark.parametrize("modulation", ["BPSK", "8PSK", "32APSK", "64QAM"])
def test_offset_and_phase_are_found_for_the_true_alphabet(modulation, generator):
    symbols, share = received(modulation, 20, generator, noise=0.01, offset=0.001, phase=0.2)
    found = likelihood.likelihoods(symbols, share)
    column = likelihood.ALPHABETS.index(modulation)
    turn = 2 * pi / signals.symmetry(signals.alphabet(modulation))
    astray = (found.phase[:, column] - 0.2 + turn / 2) % turn - turn / 2
    assert found.marginal.argmax(1).eq(column).float().mean() > 0.7
    assert (found.offset[:, column] - 0.001).abs().max() < 3e-4
    assert astray.abs().median() < turn / 16


def test_a_wide_search_finds_what_a_narrow_one_cannot_and_costs_only_where_it_is_needed(generator):
    symbols, share = received("QPSK", 8, generator, offset=0.02)
    deviation = torch.tensor([0.01] * 4 + [0.0005] * 4)
    found = likelihood.likelihoods(symbols, share, coarse=torch.full((8,), 0.05),
                                   deviation=deviation)  # fmt: skip
    column = likelihood.ALPHABETS.index("QPSK")
    assert_close(found.offset[:4, column], torch.full((4,), 0.02), rtol=0, atol=2e-4)
    assert found.offset[4:].abs().max() < 0.0041
    assert (found.marginal[:4, column] > found.marginal[4:, column] + 20).all()


@pytest.mark.parametrize(("coarse", "wanted"), [(0.003, -0.0026), (0.05, 0.0)])
def test_a_coarse_carrier_near_zero_is_taken_for_a_locked_one(coarse, wanted, generator):
    noise = torch.randn(50, SYMBOLS, dtype=torch.complex64, generator=generator)
    found = likelihood.likelihoods(
        noise,
        torch.full((50,), 0.99),
        coarse=torch.full((50,), coarse),
        deviation=torch.full((50,), 0.003),
    )
    # Of noise the prior decides: the product of two Gaussians peaks between their middles.
    assert (found.offset - wanted).mean().abs() < 3e-4


def test_noise_zeros_and_nan_leave_the_other_frames_as_they_are(generator):
    symbols, share = received("16QAM", 4, generator)
    holed = torch.cat([symbols, torch.zeros(1, SYMBOLS), torch.full((1, SYMBOLS), float("nan"))])
    found = likelihood.likelihoods(holed, torch.cat([share, torch.ones(2)]))
    alone = likelihood.likelihoods(symbols, share)
    assert_close(found.marginal[:4], alone.marginal)
    assert found.marginal[4].isfinite().all()
    assert found.marginal[5].isnan().all()
    assert likelihood.likelihoods(symbols[:0], share[:0]).marginal.shape == (0, 16)


# Timing


def test_half_symbols_are_the_symbols_and_what_lies_between_them(generator):
    iq = simulated(["16QAM"], 12, generator=generator, channel=signals.CHANNELS["clean"])
    halves = timing.half_symbols(iq)
    assert halves.shape == (12, 244)
    assert_close(halves[:, ::2], timing.synchronise(iq), rtol=0, atol=2e-5)
    frequency = torch.fft.fftfreq(1024).abs() * 8  # symbol rates; a symbol peaks on sample 0
    response = signals.root_raised_cosine(frequency, timing.MATCHED_ROLLOFF)
    filtered = torch.fft.ifft(torch.fft.fft(iq) * response)[:, 24:-24:4]
    filtered = filtered / filtered[:, ::2].abs().square().mean(1, keepdim=True).sqrt()
    assert (halves - filtered).abs().square().mean().sqrt() < 0.05


def test_the_matched_filter_may_have_the_frames_own_rolloff(generator):
    air = signals.Channel(rolloff=0.1, carrier_offset_std=0.0, clock_offset_std=0.0)
    iq = simulated(["QPSK"], 60, inf, generator=generator, channel=air)

    def ring(symbols):
        return (symbols.abs() - 1).square().mean(1).sqrt().median()

    own = ring(timing.synchronise(iq, torch.full((60,), 0.1)))
    usual = timing.synchronise(iq, torch.full((60,), timing.MATCHED_ROLLOFF))
    assert_close(usual, timing.synchronise(iq))
    assert own < 0.6 * ring(usual)
