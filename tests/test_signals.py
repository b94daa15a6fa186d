"""Alphabets are those of the standards, and simulated frames are what their labels say."""

from dataclasses import replace
from functools import cache, partial
from math import factorial, inf, nan, pi, sin, sqrt

import pytest
import torch
from scipy import stats
from simulated import seeded, simulated
from torch.testing import assert_close

from modsnr import InputError, signals
from modsnr.signals import Channel, simulator

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
    return simulated([modulation], frames, snr_db, generator=generator, channel=channel, **options)


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
    points = torch.view_as_real(signals.alphabet(modulation)).mul(1e9).round().long()
    assert len(points) == len(points.unique(dim=0)) == order


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


# Of the standard's table for 128APSK: ring, phase in units of pi, one phase a quadrant.
@pytest.mark.parametrize(
    ("ring", "phase"),
    [
        (1.0, 83 / 1260),
        (1.0, 1177 / 1260),
        (1.715, 2399 / 2520),
        (2.118, 839 / 1008),
        (3.819, 1643 / 1680),
        (3.819, 3047 / 5040),
        (2.75, -19 / 720),
        (2.681, 61 / 720 - 1),
    ],
)
def test_128apsk_holds_the_points_of_the_standards_table(ring, phase):
    points = signals.alphabet("128APSK")
    points = points / points.abs().min()
    wanted = torch.polar(torch.tensor(ring).double(), torch.tensor(pi * phase).double())
    assert (points - wanted).abs().min() < 1e-6


LIQUID_COUNTS = {
    "16APSK": [4, 12],
    "32APSK": [4, 12, 16],
    "64APSK": [4, 14, 20, 26],
    "128APSK": [8, 18, 24, 36, 42],
}


@pytest.mark.parametrize(("modulation", "counts"), LIQUID_COUNTS.items())
def test_liquids_apsk_differs_from_the_standards(modulation, counts):
    liquid = signals.alphabet(modulation, signals.APSK_GEOMETRIES["liquid"])
    assert list(rings_of(liquid).values()) == counts
    assert rings_of(liquid) != rings_of(signals.alphabet(modulation))
    assert_close(liquid.abs().square().mean().item(), 1.0)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("GMSK", "GMSK is not linear"), ("17QAM", "'17QAM' is no modulation of")],
)
def test_what_has_no_alphabet_is_refused(name, complaint):
    with pytest.raises(InputError, match=complaint):
        signals.alphabet(name)


# Cumulants


@cache
def partitions(factors):
    """Return all ways to lay ``factors`` out in blocks."""
    if not factors:
        return [()]
    first, rest = factors[0], factors[1:]
    ways = []
    for way in partitions(rest):
        ways.append((*way, (first,)))
        ways += [(*way[:k], (first, *way[k]), *way[k + 1 :]) for k in range(len(way))]
    return ways


def literal_cumulant(points, order, conjugated):
    """Return the joint cumulant by Leonov and Shiryaev's sum over the partitions of its factors."""
    conjugate = [False] * (order - conjugated) + [True] * conjugated

    @cache
    def moment(plain, barred):
        return (points**plain * points.conj() ** barred).mean().item()

    total = 0
    for blocks in partitions(tuple(range(order))):
        term = (-1) ** (len(blocks) - 1) * factorial(len(blocks) - 1)
        for block in blocks:
            barred = sum(conjugate[factor] for factor in block)
            term *= moment(len(block) - barred, barred)
        total += term
    return total


@pytest.mark.parametrize("modulation", LINEAR)
def test_cumulants_are_the_sum_over_partitions_of_the_points(modulation):
    points = signals.alphabet(modulation)
    power = literal_cumulant(points, 2, 1).real
    for name, value in signals.cumulants(points).items():
        order, conjugated = int(name[1]), int(name[2])
        literal = literal_cumulant(points, order, conjugated) / power ** (order / 2)
        assert_close(value.item(), complex(literal), rtol=0, atol=1e-9)


@pytest.mark.parametrize("modulation", ["4ASK", "QPSK", "16APSK", "128QAM"])
def test_cumulants_ignore_scale_and_offset_and_turn_with_the_phase(modulation):
    points = signals.alphabet(modulation)
    upright = signals.cumulants(points)
    turn = torch.polar(torch.tensor(1.0).double(), torch.tensor(0.3).double())
    for name, value in signals.cumulants(7 * turn * points + (2 - 3j)).items():
        net = int(name[1]) - 2 * int(name[2])  # factors that are not undone by a conjugated one
        assert_close(value, upright[name] * turn**net, rtol=0, atol=1e-9)


def test_cumulants_of_gaussian_noise_vanish(generator):
    noise = torch.randn(4, 200_000, dtype=torch.complex128, generator=generator)
    for name, value in signals.cumulants(noise).items():
        assert value.shape == (4,)
        assert value.abs().max() < 0.03, name


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
    iq = send(modulation, 20, generator, channel=Channel(rolloff=0.3))
    frequency, power = periodogram(iq)
    assert power[:, frequency.abs() > 1.3 / 2 + 0.05].sum() < 1e-6 * power.sum()


def test_a_range_of_rolloffs_gives_every_frame_its_own(generator):
    def band(rolloff):
        frequency, power = periodogram(
            send("QPSK", 400, generator, channel=replace(STILL, rolloff=rolloff))
        )
        return (power[:, frequency.abs() > 0.56].sum(1) / power.sum(1)).sqrt()

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
    iq = send("8PSK", 200, generator)
    symbols = matched_filter(iq)[:, 64:-64:8]
    sent = (torch.angle(symbols) / (2 * pi) * 8).round().long() % 8
    assert stats.chisquare(sent.flatten().bincount(minlength=8).numpy()).pvalue > 0.01


def test_oqpsks_quadrature_moves_half_a_symbol_after_its_in_phase(generator):
    filtered = matched_filter(send("OQPSK", 50, generator))[:, 64:-64]
    spread = {
        (part, offset): getattr(filtered, part)[:, offset::8].abs().std().item()
        for part in ("real", "imag")
        for offset in (0, 4)
    }
    assert spread["real", 0] < 0.03 > spread["imag", 4]
    assert spread["real", 4] > 0.2 < spread["imag", 0]


def test_oqpsks_envelope_never_comes_near_zero_as_qpsks_does(generator):
    channel = replace(STILL, rolloff=0.4)
    lowest = {
        name: matched_filter(send(name, 50, generator, channel=channel), 0.4)[:, 64:-64].abs().min()
        for name in ("QPSK", "OQPSK")
    }
    assert lowest["QPSK"] < 0.1
    assert lowest["OQPSK"] > 0.3


def turns(iq, samples):
    """Return the phase gained over ``samples``, in quarter turns."""
    step = torch.angle(iq[:, 1:] * iq[:, :-1].conj())
    return step.unfold(1, samples, 1).sum(-1) / (pi / 2)


def test_gmsk_has_a_constant_envelope_and_turns_a_quarter_a_symbol_at_most(generator):
    iq = send("GMSK", 50, generator)
    assert_close(iq.abs(), torch.ones(50, 1024))
    assert turns(iq, 1).abs().max() <= 1 / 8 + 1e-4  # no jump between samples
    turned = turns(iq, 8).abs()
    assert 0.95 < turned.max() <= 1 + 1e-4


def test_a_wider_gaussian_filter_leads_from_gmsk_to_msk(generator):
    msk = turns(send("GMSK", 50, generator, channel=replace(STILL, gmsk_bt=inf)), 1).abs()
    assert_close(msk, torch.full_like(msk, 1 / 8))
    narrow, usual = (
        turns(send("GMSK", 50, generator, channel=replace(STILL, gmsk_bt=bt)), 1).abs().mean()
        for bt in (0.2, 0.3)
    )
    assert narrow < 0.9 * usual < usual < msk.mean()


def test_twice_the_samples_a_symbol_halve_the_band(generator):
    channel = replace(STILL, samples_per_symbol=16)
    frequency, power = periodogram(send("16QAM", 50, generator, channel=channel))
    assert power[:, frequency.abs() > 0.7].sum() < 1e-6 * power.sum()


# Noise


@pytest.mark.parametrize("snr_db", [-20, 0, 10, 30])
def test_the_snr_is_signal_over_noise_power_per_sample(snr_db):
    clean, noisy = (
        signals.simulate(torch.arange(340) % 17, torch.full((340,), snr), generator=seeded(5))
        for snr in (inf, float(snr_db))
    )
    noise = noisy - clean
    measured = 10 * (clean.abs().square().mean() / noise.abs().square().mean()).log10()
    assert_close(measured.item(), float(snr_db), rtol=0, atol=0.05)
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


def late(iq, rate=1 / 8):
    """Return the phase of |x|^2 at ``rate``, in its periods: how late the symbols are."""
    time = torch.arange(iq.shape[1])
    line = (iq.abs().square() * torch.exp(-2j * pi * rate * time)).sum(1)
    return (-torch.angle(line) / (2 * pi)) % 1


def test_a_delay_is_drawn_for_every_frame_or_for_none(generator):
    punctual = late(send("BPSK", 400, generator, channel=replace(STILL, rolloff=0.4)))
    assert ((punctual + 0.5) % 1 - 0.5).abs().max() < 0.1
    drawn = late(
        send("BPSK", 400, generator, channel=replace(STILL, rolloff=0.4, random_timing=True))
    )
    assert stats.kstest(drawn.numpy(), "uniform").pvalue > 0.01


@pytest.mark.parametrize("spread", [0.0, 1e-3, 0.01])
def test_the_carrier_offset_moves_the_spectrum(spread, generator):
    iq = send("BPSK", 400, generator, channel=replace(STILL, carrier_offset_std=spread))
    # BPSK alone is real, so the mean turn from sample to sample is the carrier's.
    offset = torch.angle((iq[:, 1:] * iq[:, :-1].conj()).sum(1)) / (2 * pi)
    assert_close(offset.std().item(), spread, rtol=0.12, atol=1e-6)
    assert offset.mean().abs() <= 3 * spread / sqrt(400) + 1e-6


@pytest.mark.parametrize("spread", [0.0, 2e-3])
def test_the_clock_offset_stretches_the_symbols(spread, generator):
    iq = send("BPSK", 200, generator, channel=replace(STILL, rolloff=0.4, clock_offset_std=spread))
    # How much later, in symbols, the second half's symbols come than the first half's.
    drift = late(iq[:, 512:]) - late(iq[:, :512])
    drift = (drift + 0.5) % 1 - 0.5
    assert_close(drift.std().item(), spread * 512 / 8, rtol=0.2, atol=0.03)


def test_a_multipath_channels_taps_decay_with_the_delay_spread(generator):
    # White noise lets a tap be seen alone; the simulator's own pulses would blur it.
    white = torch.randn(500, 1024, dtype=torch.complex64, generator=generator)
    faded = simulator._multipath(white, 2.0, generator)
    power = [
        (faded[:, delay:] * white[:, : 1024 - delay].conj()).mean(1).abs().square().mean().item()
        for delay in range(12)
    ]
    expected = [2.718281828 ** (-delay / 2) if delay <= 10 else 0 for delay in range(12)]
    assert_close(torch.tensor(power), torch.tensor(expected), rtol=0.15, atol=0.01)


def test_another_geometry_changes_apsk_frames_and_no_others():
    labels = torch.arange(17)
    dvb, liquid = (
        signals.simulate(
            labels,
            torch.full((17,), 20.0),
            generator=seeded(1),
            channel=replace(STILL, rings=rings),
        )
        for rings in (signals.DVB_RINGS, signals.LIQUID_RINGS)
    )
    changed = [
        name
        for name, a, b in zip(signals.STUDY_CLASSES, dvb, liquid, strict=True)
        if (a != b).any()
    ]
    assert changed == ["16APSK", "32APSK", "64APSK", "128APSK"]


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
        {"gmsk_bt": 0.5},
        {"rings": signals.LIQUID_RINGS},
    ],
    ids=lambda other: next(iter(other)),
)
def test_no_option_of_the_channel_is_idle(other):
    classes = ("16APSK", "GMSK")
    usual, changed = (
        signals.simulate(
            torch.tensor([0, 1]),
            torch.full((2,), 10.0),
            generator=seeded(1),
            classes=classes,
            channel=channel,
        )
        for channel in (STILL, replace(STILL, **other))
    )
    assert (usual != changed).any()


# Labels and generators


def test_the_same_seed_gives_the_same_frames_and_another_seed_others():
    first, again, other = (
        signals.simulate(torch.arange(17), torch.zeros(17), generator=seeded(seed))
        for seed in (1, 1, 2)
    )
    exactly(first, again)
    assert (first != other).any(1).all()


def test_labels_index_the_classes_in_the_order_given(generator):
    labels = torch.tensor([0, 0, 1, 1])
    for classes in (("BPSK", "QPSK"), ("QPSK", "BPSK")):
        iq = signals.simulate(labels, torch.full((4,), inf), generator=generator, classes=classes)
        real_valued = signals.cumulants(iq)["C20"].abs() > 0.5
        assert real_valued.tolist() == [classes[label] == "BPSK" for label in labels]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_labels_of_any_integer_type_mean_the_same(dtype):
    labels = torch.arange(17)
    wide, narrow = (
        signals.simulate(kind, torch.zeros(17), generator=seeded(1))
        for kind in (labels, labels.to(dtype))
    )
    exactly(narrow, wide)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_frames_are_made_on_the_generators_device():
    iq = simulated(
        signals.DIGITAL_CLASSES, 19, 10, generator=torch.Generator("cuda").manual_seed(1),
        channel=Channel(delay_spread=1.0),
    )  # fmt: skip
    assert iq.device.type == "cuda"
    assert iq.isfinite().all()


@pytest.mark.parametrize(
    ("modulation", "snr_db", "complaint"),
    [
        (
            [0, 17, -1],
            [0.0, 0, 0],
            "2 modulation labels lie outside the 17 classes, the first at index 1: 17",
        ),
        ([0, 0, 0], [0.0, nan, -inf], "2 SNRs are NaN or -inf, the first at index 1"),
        ([0, 0], [0.0], r"One modulation and one SNR a frame .*\(2,\) and \(1,\)"),
        ([[0]], [[0.0]], "One modulation and one SNR a frame"),
        ([0.0], [0.0], "must be integers; they are float32"),
        ([True], [0.0], "must be integers; they are bool"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(modulation, snr_db, complaint, generator):
    with pytest.raises(InputError, match=complaint):
        signals.simulate(torch.tensor(modulation), torch.tensor(snr_db), generator=generator)


def test_a_class_that_cannot_be_simulated_is_refused(generator):
    with pytest.raises(InputError, match="'FM' is no modulation of 4ASK"):
        send("FM", 1, generator)
