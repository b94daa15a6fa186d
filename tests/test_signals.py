"""Alphabets are those of the standards, and simulated frames are what their labels say."""

from dataclasses import replace
from functools import partial
from math import inf, nan, pi, sin, sqrt

import pytest
import torch
from scipy import stats
from simulated import seeded, simulated
from torch.testing import assert_close

from modsnr import InputError, signals
from modsnr.signals import Channel, simulator

LINEAR = tuple(name for name in signals.DIGITAL_CLASSES if name != "GMSK")
# Nothing but the pulse: a symbol peaks on every eighth sample, from sample 0 on.
STILL = replace(signals.CHANNELS["clean"], rolloff=0.25)
exactly = partial(assert_close, rtol=0, atol=0)


def send(modulation, frames, generator, *, snr_db=inf, channel=STILL, **options):
    """Return frames of one modulation at one SNR."""
    return simulated([modulation], frames, snr_db, generator=generator, channel=channel, **options)


def periodogram(iq):
    """Return the frequencies in symbol rates and the Hann-windowed power at them."""
    window = torch.hann_window(iq.shape[1], periodic=False)
    power = torch.fft.fft(iq * window).abs().square()
    return torch.fft.fftfreq(iq.shape[1]).abs() * 8, power


def matched_filter(iq):
    frequency = torch.fft.fftfreq(iq.shape[1]).abs() * 8
    return torch.fft.ifft(torch.fft.fft(iq) * signals.root_raised_cosine(frequency, 0.25))


# Alphabets


@pytest.mark.parametrize("modulation", LINEAR)
def test_an_alphabet_has_unit_power_as_many_points_as_its_name_says_and_a_mean_if_it_is_ook(
    modulation,
):
    points = signals.alphabet(modulation)
    named = {"BPSK": 2, "QPSK": 4, "OQPSK": 4, "OOK": 2}
    order = named.get(modulation) or int(modulation.rstrip("AMPQSK"))
    rounded = torch.view_as_real(points).mul(1e9).round().long()
    assert len(points) == len(rounded.unique(dim=0)) == order
    assert_close(points.abs().square().mean().item(), 1.0)
    assert_close(points.mean().abs().item(), sqrt(0.5) if modulation == "OOK" else 0.0)


# A cross of 32 on levels +-1 +-3 +-5 has mean power 20; one of 128 on +-1 .. +-11 has 82.
MINIMUM_DISTANCE = {
    "OOK": sqrt(2),
    "BPSK": 2.0,
    **{name: sqrt(2) for name in ("QPSK", "OQPSK")},
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
    assert_close(apart.fill_diagonal_(inf).min().item(), distance)


# Radii over the innermost and numbers of points. DVB-S2 (EN 302 307-1) at rate 3/4; DVB-S2X
# (EN 302 307-2) at rate 4/5 for 64APSK, 135/180 for 128APSK.
STANDARD_RINGS = {
    "16APSK": {1: 4, 2.85: 12},
    "32APSK": {1: 4, 2.84: 12, 5.27: 16},
    "64APSK": {1: 8, 2.2: 16, 3.6: 20, 5.2: 20},
    "128APSK": {1: 16, 1.715: 16, 2.118: 16, 2.681: 16, 2.75: 16, 3.819: 48},
}
LIQUID_COUNTS = {
    "16APSK": [4, 12],
    "32APSK": [4, 12, 16],
    "64APSK": [4, 14, 20, 26],
    "128APSK": [8, 18, 24, 36, 42],
}


@pytest.mark.parametrize("modulation", STANDARD_RINGS)
def test_apsk_has_the_rings_of_the_dvb_standard_or_of_liquid(modulation):
    def rings_of(points):
        ratios = [round(r, 4) for r in (points.abs() / points.abs().min()).tolist()]
        return {ratio: ratios.count(ratio) for ratio in sorted(set(ratios))}

    liquid = rings_of(signals.alphabet(modulation, signals.LIQUID_RINGS))
    assert rings_of(signals.alphabet(modulation)) == STANDARD_RINGS[modulation] != liquid
    assert list(liquid.values()) == LIQUID_COUNTS[modulation]


# Of the standard's table for 128APSK: ring, phase in units of pi, one phase a quadrant.
@pytest.mark.parametrize(
    ("ring", "phase"),
    [(1.0, 83 / 1260), (3.819, 3047 / 5040), (2.75, -19 / 720), (2.681, 61 / 720 - 1)],
)
def test_128apsk_holds_the_points_of_the_standards_table(ring, phase):
    points = signals.alphabet("128APSK")
    points = points / points.abs().min()
    wanted = torch.polar(torch.tensor(ring).double(), torch.tensor(pi * phase).double())
    assert (points - wanted).abs().min() < 1e-6


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("GMSK", "GMSK is not linear"), ("17QAM", "no modulation is called '17QAM'; did you mean")],
)
def test_what_has_no_alphabet_is_refused(name, complaint):
    with pytest.raises(InputError, match=complaint):
        signals.alphabet(name)


# Cumulants


# C20, C40, C42 of Swami and Sadler (2000), Table I; their 4-PSK lies on the axes.
@pytest.mark.parametrize(
    ("modulation", "wanted"),
    [
        ("BPSK", (1, -2, -2)),
        ("4ASK", (1, -1.36, -1.36)),
        ("8ASK", (1, -1.2381, -1.2381)),
        ("QPSK", (0, -1, -1)),
        ("8PSK", (0, 0, -1)),
        ("16QAM", (0, -0.68, -0.68)),
        ("64QAM", (0, -0.619, -0.619)),
    ],
)
def test_cumulants_have_their_published_values_at_any_scale_offset_and_phase(modulation, wanted):
    turn = torch.polar(torch.tensor(1.0).double(), torch.tensor(0.3).double())
    found = signals.cumulants(7 * turn * signals.alphabet(modulation) + (2 - 3j))
    values = [found["C20"] * turn**-2, found["C40"] * turn**-4, found["C42"]]
    expected = torch.tensor(wanted, dtype=torch.complex128)
    assert_close(torch.stack(values), expected, rtol=0, atol=1e-4)


def test_cumulants_of_gaussian_noise_vanish(generator):
    noise = torch.randn(4, 200_000, dtype=torch.complex128, generator=generator)
    assert all(value.abs().max() < 0.03 for value in signals.cumulants(noise).values())


# Pulse and band


@pytest.mark.parametrize("rolloff", [0.0, 0.25, 1.0])
def test_the_pulse_has_no_intersymbol_interference_at_its_own_filter(rolloff):
    frequency = torch.linspace(0, 1, 1001)
    power = signals.root_raised_cosine(frequency, rolloff).square()
    # Nyquist's criterion: shifted by a symbol rate, the spectra add up to a constant.
    inner = ((frequency - 0.5).abs() > 1e-4) | (rolloff > 0)  # a brick wall's very edge aside
    assert_close((power + power.flip(0))[inner], torch.ones(int(inner.sum())))


@pytest.mark.parametrize("modulation", LINEAR)
def test_a_noise_free_frame_keeps_to_its_band(modulation, generator):
    frequency, power = periodogram(send(modulation, 20, generator, channel=Channel(rolloff=0.3)))
    assert power[:, frequency > 1.3 / 2 + 0.05].sum() < 1e-6 * power.sum()


def test_a_range_of_rolloffs_gives_every_frame_its_own(generator):
    def band(rolloff):
        channel = replace(STILL, rolloff=rolloff)
        frequency, power = periodogram(send("QPSK", 400, generator, channel=channel))
        return (power[:, frequency > 0.56].sum(1) / power.sum(1)).sqrt()

    assert band((0.1, 0.4)).std() > 2 * band(0.25).std()
    assert band((0.1, 0.4)).min() < band(0.25).min()


@pytest.mark.parametrize("modulation", ["BPSK", "QPSK", "8PSK", "4ASK", "16QAM", "16APSK", "32QAM"])
def test_symbols_land_on_the_alphabet_after_the_matched_filter(modulation, generator):
    iq = send(modulation, 8, generator, samples=4096)
    symbols = matched_filter(iq)[:, 32 * 8 : -32 * 8 : 8]
    points = signals.alphabet(modulation).to(torch.complex64)
    gain = 1.0  # a frame has unit power, its symbols only on average
    for _ in range(3):
        decided = points[((gain * symbols).unsqueeze(-1) - points).abs().argmin(-1)]
        power = symbols.abs().square().sum(1, keepdim=True)
        gain = (symbols.conj() * decided).sum(1, keepdim=True).real / power
    assert (gain * symbols - decided).abs().square().mean().sqrt() < 0.01


def test_all_points_of_an_alphabet_are_sent_equally_often(generator):
    symbols = matched_filter(send("8PSK", 200, generator))[:, 64:-64:8]
    sent = (torch.angle(symbols) / (2 * pi) * 8).round().long() % 8
    assert stats.chisquare(sent.flatten().bincount(minlength=8).numpy()).pvalue > 0.01


def test_oqpsks_quadrature_moves_half_a_symbol_after_its_in_phase(generator):
    filtered = matched_filter(send("OQPSK", 50, generator))[:, 64:-64]
    in_phase, quadrature = filtered.real.abs(), filtered.imag.abs()
    assert in_phase[:, ::8].std() < 0.03 > quadrature[:, 4::8].std()
    assert in_phase[:, 4::8].std() > 0.2 < quadrature[:, ::8].std()


def test_gmsk_has_a_constant_envelope_and_turns_a_quarter_a_symbol_at_most(generator):
    iq = send("GMSK", 50, generator)
    assert_close(iq.abs(), torch.ones(50, 1024))
    step = torch.angle(iq[:, 1:] * iq[:, :-1].conj()) / (pi / 2)
    assert step.abs().max() <= 1 / 8 + 1e-4  # no jump between samples
    assert 0.95 < step.unfold(1, 8, 1).sum(-1).abs().max() <= 1 + 1e-4
    assert step.abs().mean() < 0.9 / 8  # of minimum-shift keying without the filter: 1 / 8


# Noise


@pytest.mark.parametrize("snr_db", [-20.0, 0.0, 30.0])
def test_the_snr_is_signal_over_noise_power_per_sample(snr_db):
    clean, noisy = (
        simulated(signals.STUDY_CLASSES, 340, snr, generator=seeded(5)) for snr in (inf, snr_db)
    )
    noise = noisy - clean
    measured = 10 * (clean.abs().square().mean() / noise.abs().square().mean()).log10()
    assert_close(measured.item(), snr_db, rtol=0, atol=0.05)
    # White and circular: as much power in every eighth of the band, none in the pseudo-variance.
    eighths = torch.fft.fft(noise).abs().square().mean(0).unflatten(0, (8, -1)).mean(1)
    assert_close(eighths / eighths.mean(), torch.ones(8), rtol=0, atol=0.02)
    assert noise.square().mean().abs() < 0.01 * noise.abs().square().mean()


def test_awgn_is_a_named_share_of_unit_power_and_nothing_at_infinity(generator):
    silence = torch.zeros(3, 20_000, dtype=torch.complex64)
    noise = signals.awgn(silence, torch.tensor([-10.0, 10.0, inf]), generator=generator)
    assert_close(noise.abs().square().mean(1), torch.tensor([10.0, 0.1, 0.0]), rtol=0.05, atol=0)


# Channel


def test_a_phase_is_drawn_for_every_frame_or_for_none(generator):
    def phase(channel):  # of BPSK, known up to its sign
        return torch.angle(send("BPSK", 400, generator, channel=channel).square().sum(1)) / (2 * pi)

    assert_close(phase(STILL), torch.zeros(400), rtol=0, atol=1e-5)
    drawn = phase(replace(STILL, random_phase=True))
    assert stats.kstest(drawn.numpy(), "uniform", args=(-0.5, 1)).pvalue > 0.01


def delay(iq):
    """Return the phase of |x|^2 at the symbol rate, in symbols: how late the symbols are."""
    time = torch.arange(iq.shape[1])
    line = (iq.abs().square() * torch.exp(-2j * pi / 8 * time)).sum(1)
    return (-torch.angle(line) / (2 * pi)) % 1


WIDE = replace(STILL, rolloff=0.4)  # its symbol rate shows best


def test_a_delay_is_drawn_for_every_frame_or_for_none(generator):
    punctual = delay(send("BPSK", 400, generator, channel=WIDE))
    assert ((punctual + 0.5) % 1 - 0.5).abs().max() < 0.1
    drawn = delay(send("BPSK", 400, generator, channel=replace(WIDE, random_timing=True)))
    assert stats.kstest(drawn.numpy(), "uniform").pvalue > 0.01


@pytest.mark.parametrize("spread", [0.0, 0.01])
def test_the_carrier_offset_moves_the_spectrum(spread, generator):
    iq = send("BPSK", 400, generator, channel=replace(STILL, carrier_offset_std=spread))
    # BPSK alone is real, so the mean turn from sample to sample is the carrier's.
    offset = torch.angle((iq[:, 1:] * iq[:, :-1].conj()).sum(1)) / (2 * pi)
    assert_close(offset.std().item(), spread, rtol=0.12, atol=1e-6)
    assert offset.mean().abs() <= 3 * spread / sqrt(400) + 1e-6


@pytest.mark.parametrize("spread", [0.0, 2e-3])
def test_the_clock_offset_stretches_the_symbols(spread, generator):
    iq = send("BPSK", 200, generator, channel=replace(WIDE, clock_offset_std=spread))
    # How much later, in symbols, the second half's symbols come than the first half's.
    drift = (delay(iq[:, 512:]) - delay(iq[:, :512]) + 0.5) % 1 - 0.5
    assert_close(drift.std().item(), spread * 512 / 8, rtol=0.2, atol=0.03)


def test_a_multipath_channels_taps_decay_with_the_delay_spread(generator):
    # White noise lets a tap be seen alone; the simulator's own pulses would blur it.
    white = torch.randn(500, 1024, dtype=torch.complex64, generator=generator)
    faded = simulator.multipath(white, 2.0, generator)
    power = torch.stack(
        [(faded[:, k:] * white[:, : 1024 - k].conj()).mean(1).abs().square().mean()
         for k in range(12)]
    )  # fmt: skip
    expected = torch.exp(-torch.arange(12) / 2)
    expected[11] = 0
    assert_close(power, expected, rtol=0.15, atol=0.01)


@pytest.mark.parametrize(
    "other",
    [
        {"rolloff": 0.3},
        {"random_timing": True},
        {"random_phase": True},
        {"carrier_offset_std": 1e-4},
        {"clock_offset_std": 1e-4},
        {"delay_spread": 1.0},
        {"samples_per_symbol": 4},
        {"rings": signals.LIQUID_RINGS},
    ],
    ids=lambda other: next(iter(other)),
)
def test_no_option_of_the_channel_is_idle(other):
    usual, changed = (
        send("16APSK", 1, seeded(1), snr_db=10, channel=channel)
        for channel in (STILL, replace(STILL, **other))
    )
    assert (usual != changed).any()


# Labels and generators


def test_the_same_seed_gives_the_same_frames_and_another_seed_others():
    first, again, other = (
        simulated(signals.STUDY_CLASSES, 17, 0, generator=seeded(seed)) for seed in (1, 1, 2)
    )
    exactly(first, again)
    assert (first != other).any(1).all()


def test_labels_index_the_classes_in_the_order_given(generator):
    labels = torch.tensor([0, 0, 1, 1])
    for classes in (("BPSK", "QPSK"), ("QPSK", "BPSK")):
        iq = signals.simulate(labels, torch.full((4,), inf), generator=generator, classes=classes)
        real_valued = signals.cumulants(iq)["C20"].abs() > 0.5
        assert real_valued.tolist() == [classes[label] == "BPSK" for label in labels]


def test_labels_of_any_integer_type_mean_the_same():
    wide, narrow = (
        signals.simulate(labels, torch.zeros(17), generator=seeded(1))
        for labels in (torch.arange(17), torch.arange(17, dtype=torch.uint8))
    )
    exactly(narrow, wide)


def test_a_batch_without_any_of_its_gmsk_is_simulated(generator):
    labels = torch.zeros(4, dtype=torch.long), torch.full((4,), inf)
    assert signals.simulate(*labels, generator=generator, classes=["QPSK", "GMSK"]).isfinite().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_makes_the_same_frames_again():
    def made():
        generator = torch.Generator("cuda").manual_seed(1)
        channel = Channel(delay_spread=1.0, receive_bandwidth=0.6, noise_tilt_db=3.0)
        return simulated(signals.DIGITAL_CLASSES, 19, 10, generator=generator, channel=channel)

    assert made().device.type == "cuda"
    assert made().isfinite().all()
    exactly(made(), made())


@pytest.mark.parametrize(
    ("modulation", "snr_db", "complaint"),
    [
        ([0, 17, -1], [0.0, 0, 0], "2 modulation labels lie outside the 17 .* at index 1: 17"),
        ([0, 0, 0], [0.0, nan, -inf], "2 SNRs are NaN or -inf, the first at index 1"),
        ([0, 0], [0.0], r"integer modulation and one SNR .* int64 \(2,\) and float32 \(1,\)"),
        ([[0]], [[0.0]], "One integer modulation and one SNR a frame"),
        ([0.0], [0.0], "they are float32"),
        ([True], [0.0], "they are bool"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(modulation, snr_db, complaint, generator):
    with pytest.raises(InputError, match=complaint):
        signals.simulate(torch.tensor(modulation), torch.tensor(snr_db), generator=generator)


def test_a_class_that_cannot_be_simulated_is_refused(generator):
    with pytest.raises(InputError, match="no modulation is called 'FM'"):
        send("FM", 1, generator)
