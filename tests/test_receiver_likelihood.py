"""Timing and likelihoods of the receiver against literal sums over alphabets."""

from math import inf, log, pi

import pytest
import torch
from simulated import simulated
from torch.testing import assert_close

from modsnr import signals
from modsnr.receiver import likelihood, tables, timing

NOISE, SYMBOLS = 0.03, 122


def received(modulation, frames, generator, *, noise=NOISE, offset=0.0, phase=0.0, rings=None):
    """Return unit-power symbols in noise of so much power, turned, and the noise's share."""
    points = signals.alphabet(modulation, rings or signals.DVB_RINGS).to(torch.complex64)
    sent = points[torch.randint(len(points), (frames, SYMBOLS), generator=generator)]
    added = torch.randn(frames, SYMBOLS, dtype=torch.complex64, generator=generator) * noise**0.5
    time = torch.arange(SYMBOLS) - (SYMBOLS - 1) / 2
    angle = torch.as_tensor(phase + 2 * pi * offset * time)
    share = torch.full((frames,), noise / (1 + noise))
    return (sent + added) * torch.polar(torch.ones_like(angle), angle), share


def literal_log_likelihood(symbols, points, noise, offset, phase):
    """Return that of symbols [symbol] turned back by one offset and phase, by a sum over points."""
    time = torch.arange(len(symbols)) - (len(symbols) - 1) / 2
    turned = symbols * torch.exp(-1j * (phase + 2 * pi * offset * time))
    apart = (turned.unsqueeze(1) - points).abs().square()
    return float((-apart / noise).exp().mean(1).log().sum())


@pytest.mark.parametrize("modulation", ["QPSK", "8PSK", "16APSK", "16QAM"])
def test_the_marginal_is_the_mean_likelihood_over_phases_offsets_sizes_and_rings(
    modulation, generator
):
    noise = 0.1
    symbols, share = received(modulation, 1, generator, noise=noise, phase=0.4)
    symbols = symbols / symbols.abs().square().mean().sqrt() * (1 + noise) ** 0.5
    offsets = torch.linspace(-0.004, 0.004, 21).tolist()
    prior = torch.tensor([-((f / likelihood.LOCKED) ** 2) / 2 for f in offsets])
    prior -= prior.logsumexp(0)
    order = signals.symmetry(signals.alphabet(modulation))
    phases = [2 * pi / order * step / 12 for step in range(12)]
    sizes = torch.tensor([-(((gain - 1) / 0.03) ** 2) / 2 for gain in tables.GAINS]).log_softmax(0)
    kinds = [signals.alphabet(modulation)]
    if modulation == "16APSK":
        kinds.append(signals.alphabet(modulation, signals.LIQUID_RINGS))
    terms = [
        literal_log_likelihood(gain * symbols[0], points, noise, f, p)
        + (log_prior + size + 2 * symbols.shape[1] * log(gain) - log(12 * len(kinds)))
        for points in kinds
        for gain, size in zip(tables.GAINS, sizes.tolist(), strict=True)
        for f, log_prior in zip(offsets, prior.tolist(), strict=True)
        for p in phases
    ]
    found = likelihood.likelihoods(symbols, share)
    column = likelihood.ALPHABETS.index(modulation)
    wanted = torch.tensor(terms).logsumexp(0)
    assert_close(found.marginal[0, column], wanted, rtol=0, atol=0.7)


@pytest.mark.parametrize(
    ("modulation", "offset_error"),
    [("16APSK", 1e-4), ("64APSK", 1e-4), ("128APSK", inf)],  # its rings of 36 and 42: no line
)
def test_an_alphabet_with_other_rings_goes_by_the_same_name(modulation, offset_error, generator):
    symbols, share = received(
        modulation, 40, generator, noise=0.005, rings=signals.LIQUID_RINGS, offset=0.001
    )
    found = likelihood.likelihoods(symbols, share)
    column = likelihood.ALPHABETS.index(modulation)
    assert (found.marginal.argmax(1) == column).float().mean() > 0.9
    assert_close(found.offset[:, column], torch.full((40,), 0.001), rtol=0, atol=offset_error)


def test_symbols_whose_mean_power_is_another_by_chance_are_as_likely(generator, monkeypatch):
    symbols, share = received("64QAM", 40, generator, noise=0.005)
    power = symbols.abs().square().mean(1)
    column, found = likelihood.ALPHABETS.index("64QAM"), []
    for gains in (tables.GAINS, (1.0,)):
        monkeypatch.setattr(likelihood, "GAINS", gains)
        found.append(likelihood.likelihoods(symbols, share / power).marginal[:, column])
    gained = found[0] - found[1]
    near = (power.sqrt() - 1).abs() < 0.01
    assert gained[near].min() > -1  # the price of trying others
    assert gained[power < 0.9].mean() > 5


@pytest.mark.parametrize("modulation", ["BPSK", "8PSK", "32APSK", "64QAM"])
def test_offset_and_phase_are_found_for_the_true_alphabet(modulation, generator):
    symbols, share = received(modulation, 20, generator, noise=0.01, offset=0.001, phase=0.2)
    found = likelihood.likelihoods(symbols, share)
    column = likelihood.ALPHABETS.index(modulation)
    turn = 2 * pi / signals.symmetry(signals.alphabet(modulation))
    astray = (found.phase[:, column] - 0.2 + turn / 2) % turn - turn / 2
    assert found.marginal.argmax(1).eq(column).float().mean() > 0.9
    assert (found.offset[:, column] - 0.001).abs().max() < 2e-4
    assert astray.abs().median() < turn / 40


def test_a_wide_search_finds_what_a_narrow_one_cannot_and_costs_only_where_it_is_needed(generator):
    symbols, share = received("QPSK", 8, generator, offset=0.02)
    deviation = torch.tensor([0.01] * 4 + [0.0005] * 4)
    found = likelihood.likelihoods(symbols, share, coarse=torch.full((8,), 0.05),
                                   deviation=deviation)  # fmt: skip
    column = likelihood.ALPHABETS.index("QPSK")
    assert_close(found.offset[:4, column], torch.full((4,), 0.02), rtol=0, atol=2e-4)
    assert found.offset[4:].abs().max() < 0.0043
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


@pytest.mark.parametrize(("samples", "reach"), [(1024, 0.004), (520, 0.016)])
def test_the_compiled_search_finds_what_torch_does(samples, reach, generator):
    iq = simulated(signals.STUDY_CLASSES, 34, 14, generator=generator, samples=samples)
    symbols, share = timing.synchronise(iq), timing.symbol_noise(iq)
    symbols[33] = 0
    offsets = likelihood.offset_grid(reach, iq.device)
    prior = torch.randn(34, len(offsets), generator=generator)
    given = symbols, share, offsets, prior, likelihood.FINE_DB
    found = likelihood._likelihoods(*given)
    wanted = tables.of_alphabets(likelihood.searched(*given))
    assert_close(found[0], wanted[0], rtol=1e-6, atol=0.02)  # nats, of sums of thousands
    assert_close(found[1:], wanted[1:], rtol=1e-5, atol=1e-6)


def test_threads_share_frames_and_leave_the_number_of_torchs_as_it_is(generator):
    symbols, share = received("16QAM", 48, generator)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(likelihood.likelihoods(symbols, share))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert_close(found[0].marginal, found[1].marginal, rtol=0, atol=0)


@pytest.mark.parametrize(("most", "level_db"), [(tables.PER_FINE, -15), (tables.PER_ALPHABET, -4)])
def test_tables_hold_the_harmonics_of_a_literal_sum_over_points(most, level_db):
    known = tables.tables((-30, level_db), most, torch.device("cpu"), at_once=False)
    noise, ring = 10 ** (level_db / 10), 50
    radius = ring * tables.WIDEST / (tables.RADII - 1) * (1 + noise) ** 0.5
    for number, points in enumerate(tables.hypotheses(most)):
        turn = 2 * pi / signals.symmetry(points)
        angle = turn * torch.arange(tables.SECTOR_ANGLES, dtype=torch.float64) / 32
        z = (radius * torch.polar(torch.ones_like(angle), angle)).tolist()
        at = (literal_log_likelihood(torch.tensor([each]), points, noise, 0, 0) for each in z)
        mean = torch.tensor([*at])
        harmonics = torch.fft.fft(mean) / 32
        kind, place = known.kinds[number], tables.RADII + ring
        assert_close(kind.constant[0, place], harmonics[0].real, rtol=1e-5, atol=1e-3)
        lines = kind.lines[0, :, place]
        assert_close(lines, harmonics[1 : len(lines) + 1], rtol=1e-3, atol=1e-4)


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


@pytest.mark.parametrize("snr_db", [12, 20, 30])
def test_without_much_noise_the_likeliest_alphabet_is_the_true_one(snr_db, generator):
    iq = simulated(signals.STUDY_CLASSES, 17 * 8, snr_db, generator=generator)
    chosen = likelihood.frame_likelihoods(iq, timing.symbol_noise(iq)).marginal.argmax(1)
    assert (chosen == torch.arange(17 * 8) % 17).float().mean() > 0.98


# OQPSK


def test_the_likelihood_of_oqpsk_is_that_of_its_samples_with_the_waveforms_energy(generator):
    air = signals.Channel(carrier_offset_std=0.0, clock_offset_std=0.0, rolloff=0.25)
    iq = simulated(["OQPSK"], 3, 5, generator=generator, channel=air)
    share = timing.symbol_noise(iq)
    found = likelihood.frame_likelihoods(iq, share)
    column = signals.STUDY_CLASSES.index("OQPSK")
    spectrum = timing.matched(iq)
    others = timing.decimated(spectrum, timing.timing_line(spectrum))[:, 3:-3]
    scale = ((1 / (1 - share)) / others.abs().square().mean(1)).sqrt()
    points, best = signals.alphabet("QPSK").to(torch.complex64), []
    for frame in range(3):
        noise, tried = (share / (1 - share))[frame], []
        y = others[frame] * scale[frame]
        for at in torch.arange(-0.5, 0.5, 0.02):
            halves = timing.decimated(spectrum[[frame]], at.expand(1), 2)[0, 6:-6] * scale[frame]
            for phase in torch.arange(0, pi, 0.05):
                upright = halves * torch.exp(-1j * phase)
                z = torch.complex(upright[::2].real, upright[1::2].imag)
                apart = (z.unsqueeze(1) - points).abs().square() / noise
                excess = ((z.abs().square() - y.abs().square()) / noise).sum()
                tried.append((-apart).exp().mean(1).log().sum() + excess)
        best.append(max(tried))
    # Its timing is an estimate and its offset free: of 122 symbols' 900 nats little is missing.
    less = torch.stack(best) - found.marginal[:, column]
    assert (less > -6).all()
    assert (less < 20).all()


@pytest.mark.parametrize("snr_db", [0, 10, 30])
@pytest.mark.parametrize("samples", [512, 1024])
def test_oqpsk_is_told_from_all_others_whatever_the_noise(snr_db, samples, generator):
    iq = simulated(signals.STUDY_CLASSES, 17 * 6, snr_db, generator=generator, samples=samples)
    chosen = likelihood.frame_likelihoods(iq, timing.symbol_noise(iq)).marginal.argmax(1)
    column = signals.STUDY_CLASSES.index("OQPSK")
    assert_close(chosen == column, torch.arange(17 * 6) % 17 == column)


def test_the_likelihoods_of_frames_are_those_of_their_symbols_and_need_no_company(generator):
    iq = simulated(signals.STUDY_CLASSES, 34, 12, generator=generator)
    share = timing.symbol_noise(iq)
    found = likelihood.frame_likelihoods(iq, share)
    others = likelihood.likelihoods(timing.synchronise(iq), share)
    assert_close(found.marginal[:, :16], others.marginal, rtol=1e-5, atol=1e-2)
    alone = likelihood.frame_likelihoods(3 * iq[5:6], share[5:6])
    assert_close(alone.marginal[0], found.marginal[5], rtol=1e-4, atol=1e-2)
    wide = torch.full((34,), 0.005)
    wider = likelihood.frame_likelihoods(iq, share, coarse=wide, deviation=wide)
    assert (wider.marginal.argmax(1) == found.marginal.argmax(1)).float().mean() > 0.9
    own = likelihood.frame_likelihoods(iq, share, rolloff=torch.full((34,), 0.1))
    assert not torch.equal(own.marginal, found.marginal)


def test_frames_without_a_signal_have_finite_likelihoods_or_nan(generator):
    iq = torch.randn(4, 1024, dtype=torch.complex64, generator=generator)
    iq[1], iq[2], iq[3] = 1.0, 0.0, float("nan")
    marginal = likelihood.frame_likelihoods(iq, timing.symbol_noise(iq)).marginal
    assert marginal[:3].isfinite().all()
    assert marginal[3].isnan().all()
