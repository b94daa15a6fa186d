"""The equaliser against literal sums, known channels, and frames that are none."""

import math

import pytest
import torch
from torch.testing import assert_close

from modsnr.receiver import equaliser, multipath
from modsnr.receiver.likelihood import ALPHABETS, likelihoods
from modsnr.receiver.posterior import averaged, posterior
from modsnr.receiver.spectrum import shift
from modsnr.receiver.timing import MATCHED_ROLLOFF, synchronise
from modsnr.signals import Channel, alphabet, awgn, simulate

SNR_DB = 24.0
STILL = Channel(carrier_offset_std=0.0, clock_offset_std=0.0)


def frames_of(names, gains, generator, snr_db=SNR_DB, samples=1024):
    """Return one frame a name through paths [frame, path] a sample apart, and its noise."""
    labels = torch.tensor([ALPHABETS.index(name) for name in names])
    silent = torch.full((len(names),), math.inf)
    sent = simulate(labels, silent, generator=generator, classes=ALPHABETS, channel=STILL,
                    samples=samples)  # fmt: skip
    spectrum = torch.fft.fft(sent) * torch.fft.fft(gains, n=samples)
    signal = torch.fft.ifft(spectrum)
    signal = signal / signal.abs().square().mean(1, keepdim=True).sqrt()
    level = torch.full((len(names),), float(snr_db))
    return sent, awgn(signal, level, generator=generator), 10 ** (-level / 10)


def two_paths(count, second=0.6j, delay=3):
    gains = torch.zeros(count, delay + 1, dtype=torch.complex64)
    gains[:, 0], gains[:, delay] = 1, second
    return gains


@pytest.mark.parametrize("function", [posterior, averaged])
def test_the_posterior_is_that_of_a_sum_over_all_points(function, generator):
    symbols = torch.randn(2, len(ALPHABETS), 7, dtype=torch.complex64, generator=generator)
    noise = torch.tensor([[0.02], [0.3]]).expand(-1, len(ALPHABETS))
    found = function(symbols, noise)
    for place, name in enumerate(ALPHABETS):
        points = alphabet(name)
        apart = (symbols[:, place].unsqueeze(2) - points).abs().square() / noise[:, :1, None]
        weight = (-apart).softmax(2)
        mean = (weight * points).sum(2)
        assert_close(found.mean[:, place].to(points.dtype), mean, rtol=0, atol=2e-5)
        power = (weight * points.abs().square()).sum(2)
        assert_close(found.power[:, place].double(), power, rtol=0, atol=2e-5)
        expected = (-apart).logsumexp(2) - math.log(len(points))
        likelihood = found.log_likelihood[:, place].double()
        assert_close(likelihood, expected, rtol=1e-5, atol=1e-3)


def test_the_spectrum_alone_shows_two_known_paths(generator):
    gains = two_paths(4)
    _, iq, density = frames_of(["QPSK", "64QAM", "16APSK", "8PSK"], gains, generator)
    seen = multipath.looks(iq, density, tapered=True)
    found = multipath.several_paths(seen, multipath.flat(seen))
    frequency = torch.linspace(-0.5, 0.5, 11)
    path = multipath.responses(found.taps, found.delay, frequency)
    true = multipath.responses(torch.nn.functional.pad(gains, (0, 8)), torch.zeros(4), frequency)
    ratio = path / true
    # A gain and a delay belong to the symbols.
    turn = (ratio[:, 1:] * ratio[:, :-1].conj()).sum(1).angle().unsqueeze(1) * torch.arange(11)
    flat = ratio * torch.polar(torch.ones_like(turn), -turn)
    flat = flat / flat.mean(1, keepdim=True)
    assert (flat - 1).abs().square().mean() < 0.02


def test_behind_two_paths_little_more_than_noise_is_left_at_the_symbols(generator):
    names = ["QPSK", "16QAM", "64QAM", "32PSK", "32APSK", "4ASK"]
    sent, iq, density = frames_of(names, two_paths(6), generator)
    found = equaliser.equalise(iq, density)
    assert found.several.all()
    symbols, share = equaliser.least_square_symbols(multipath.looks(iq, density), found.channel)
    seen = multipath.looks(sent, 1e-4 * density)
    true = equaliser.least_square_symbols(seen, multipath.flat(seen))[0]
    error = torch.stack([residual(symbols, true.roll(shift, 1)) for shift in (-1, 0, 1)]).amin(0)
    # Noise at the symbols: 9 dB less by the matched filter; the channel's dip raises it.
    assert (error < 10 ** (-(SNR_DB + 9 - 4) / 10)).all()
    chosen = [ALPHABETS[place] for place in likelihoods(symbols, share).marginal.argmax(1)]
    assert chosen == names


def residual(symbols, true):
    gain = (true.conj() * symbols).sum(1, keepdim=True) / true.abs().square().sum(1, keepdim=True)
    error = (symbols - gain * true)[:, 2:-2].abs().square().mean(1)
    return error / (gain * true).abs().square().mean(1)


def test_a_frame_of_one_path_keeps_it_and_stays_as_it_is(generator):
    labels = torch.arange(16).repeat(8)
    snr_db = torch.arange(8).repeat_interleave(16) * 4.0
    iq = simulate(labels, snr_db, generator=generator, classes=ALPHABETS)
    found = equaliser.equalise(iq, 10 ** (-snr_db / 10))
    assert found.several.float().mean() <= 0.03
    result, fall = equaliser.apply_equaliser(iq, found)
    assert torch.equal(result[~found.several], iq[~found.several])
    assert (fall[~found.several] == 0).all()


def test_the_least_gain_decides_who_is_equalised(generator):
    _, iq, density = frames_of(["QPSK", "8PSK"], two_paths(2), generator)
    assert not equaliser.equalise(iq, density, least_gain=math.inf).several.any()
    assert equaliser.equalise(iq, density, least_gain=-math.inf).several.all()


def test_a_frame_s_result_depends_on_no_neighbour_scale_or_phase(generator):
    names = ["QPSK", "16QAM", "BPSK", "128APSK"]
    _, iq, density = frames_of(names, two_paths(4), generator)
    together = equaliser.equalise(iq, density)
    alone = equaliser.equalise(iq[1:2], density[1:2])
    assert_close(alone.channel.taps, together.channel.taps[1:2], rtol=1e-2, atol=1e-2)
    turned = equaliser.equalise(2j * iq, 4 * density)
    assert_close(turned.share, together.share, rtol=0.02, atol=0)
    power, same = turned.channel.taps.abs(), together.channel.taps.abs()
    assert_close(power, same, rtol=0, atol=0.05)


def test_the_equalised_frame_has_a_flat_signal_and_white_noise(generator):
    names = ["QPSK", "16QAM", "8PSK", "64QAM"] * 8
    _, iq, density = frames_of(names, two_paths(32), generator)
    found = equaliser.equalise(iq, density)
    result, fall = equaliser.apply_equaliser(iq, found)
    power = torch.fft.fft(result).abs().square().mean(0) / 1024
    before = torch.fft.fft(iq).abs().square().mean(0) / 1024
    lower, upper = slice(984, 1010), slice(14, 40)  # either half of the band
    assert (before[lower].mean() / before[upper].mean()).log().abs() > 0.8
    assert (power[lower].mean() / power[upper].mean()).log().abs() < 0.3
    frequency = torch.fft.fftfreq(1024).abs()
    beside = torch.fft.fft(result).abs().square()[:, frequency > 0.11].mean(1) / 1024
    signal = result.abs().square().mean(1) - beside
    seen = 10 * torch.log10(signal / beside)
    assert (seen + fall - SNR_DB).abs().mean() < 1


def test_a_frame_made_for_a_matched_filter_has_the_symbols_behind_it(generator):
    _, iq, density = frames_of(["QPSK", "16QAM", "8PSK", "64QAM"], two_paths(4), generator)
    found = equaliser.equalise(iq, density)
    best, _ = equaliser.least_square_symbols(multipath.looks(iq, density), found.channel)
    own, _ = equaliser.apply_equaliser(iq, found)
    made, _ = equaliser.apply_equaliser(iq, found, matched=MATCHED_ROLLOFF)
    worse, better = (residual(synchronise(frames), best).mean() for frames in (own, made))
    assert better < 0.7 * worse


def test_frames_that_hold_no_symbols_break_nothing(generator):
    time = torch.arange(256)
    noise = torch.randn(1, 256, dtype=torch.complex64, generator=generator)
    tone = torch.polar(torch.ones(256), 0.3 * time).unsqueeze(0)
    iq = torch.cat(
        [noise, tone, torch.ones(1, 256) + 0j, torch.zeros(1, 256) + 0j, noise * math.nan]
    )
    found = equaliser.equalise(iq, torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0]))
    assert not found.several[3:].any()
    result, fall = equaliser.apply_equaliser(iq, found)
    assert result[:4].isfinite().all()
    assert fall[:4].isfinite().all()
    assert found.share[:3].isfinite().all()


def test_what_is_left_of_the_carrier_is_found_behind_the_paths(generator):
    names = ["QPSK", "16QAM", "8PSK", "64QAM"]
    _, iq, density = frames_of(names, two_paths(len(names)), generator)
    left, ones = 0.009, torch.ones(len(names))  # cycles/symbol, beyond the usual reach
    turned = shift(iq, -left / 8 * ones)
    found = equaliser.equalise(turned, density, coarse=0.05 * ones, deviation=0.008 * ones)
    assert found.several.all()
    assert_close(found.offset, left * ones, rtol=0, atol=5e-4)
    without = equaliser.equalise(turned, density)
    assert (without.offset - left).abs().min() > 2e-3
    assert (found.evidence > without.evidence + 20).all()


def test_rows_are_taken_and_replaced(generator):
    _, iq, density = frames_of(["QPSK", "16QAM", "8PSK"], two_paths(3), generator)
    found = equaliser.equalise(iq, density)
    last = equaliser.of_rows(found, torch.tensor([2]))
    assert_close(last.channel.taps, found.channel.taps[2:])
    equaliser.replace_rows(found, torch.tensor([0]), last)
    assert_close(found.channel.taps[0], found.channel.taps[2])
    assert found.gain[0] == found.gain[2]
