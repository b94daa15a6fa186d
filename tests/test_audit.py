"""The labels of a file are what the physics of its frames says, or the audit refuses to say."""

from functools import cache

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from radioml_files import analog, message
from scipy.signal import lfilter

from modsnr import InputError, signals
from modsnr.recordings import CLASSES_2018, SHIPPED_CLASSES_2018, physics
from modsnr.recordings.audit import class_order
from modsnr.recordings.snr_labels import snr_meaning

RIGHT, SHIPPED = CLASSES_2018, SHIPPED_CLASSES_2018
ORDERS = {"fixed": RIGHT, "shipped": SHIPPED}


def noisy_analog(name, count, snr_db, rng, *, offset=1e-4, band=0.04, deviation=0.04):
    """Return frames of one analog class, each of unit signal power before the noise."""
    options = {"band": 5 * band if name == "FM" else band, "deviation": deviation}
    turns = offset * rng.normal(size=(count, 1)) * np.arange(1024)
    signal = analog(name, count, 1024, rng, **options) * np.exp(2j * np.pi * turns)
    signal /= np.sqrt(np.square(np.abs(signal)).mean(1, keepdims=True))
    return signal + white(rng, signal.shape) * 10 ** (-snr_db / 20)


def messages(rng, count):
    """Return messages of unit power, real [frame, sample]."""
    return message(count, 1024, 0.04, rng).real


def white(rng, shape):
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)) / np.sqrt(2)


@cache
def column(name, count, snr_db, seed, offset=1e-4, **channel):
    """Return frames of one class: complex64 [frame, sample]."""
    if name in physics.ANALOG_CLASSES:
        frames = noisy_analog(name, count, snr_db, np.random.default_rng(seed), offset=offset)
        return frames.astype(np.complex64)
    return signals.simulate(
        torch.zeros(count, dtype=torch.int64),
        torch.full((count,), float(snr_db)),
        generator=torch.Generator().manual_seed(seed),
        classes=(name,),
        channel=signals.Channel(carrier_offset_std=offset, **channel),
    ).numpy()


def file(order=RIGHT, *, count=16, snr_db=30.0, seed=0, **options):
    """Return label column -> frames, of a file whose columns follow ``order``."""
    return {
        place: column(name, count, snr_db, 100 * seed + RIGHT.index(name), **options)
        for place, name in enumerate(order)
    }


def exchanged(columns, i, j):
    return columns | {i: columns[j], j: columns[i]}


# The class order


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("snr_db", "offset"), [(30, 1e-4), (20, 0.01)])
def test_the_order_of_a_file_is_recognised(snr_db, offset, seed):
    # Eight audits of 16 frames a column; none may err, nor meet a contradiction.
    for name, order in ORDERS.items():
        found = class_order(file(order, snr_db=snr_db, seed=seed, offset=offset), ORDERS)
        assert (found.order, found.held) == (name, 1)
        rows = found.evidence[found.evidence["candidate"] == name]
        assert tuple(rows.drop_duplicates("column")["class"]) == order


@pytest.mark.parametrize(
    "channel",
    [
        {"rolloff": 0.1},
        {"snr_db": 16, "rolloff": 0.4},
        {"delay_spread": 0.5},
        {"clock_offset_std": 0.0, "random_timing": False},
    ],
    ids=str,
)
def test_pulses_and_channels_of_all_kinds_hold_the_expectations(channel):
    assert class_order(file(count=32, seed=5, **channel), ORDERS).held == 1


def test_rings_of_another_geometry_hold_the_expectations():
    labels = torch.arange(4).repeat_interleave(32)
    frames = signals.simulate(
        labels,
        torch.full((128,), 30.0),
        generator=torch.Generator().manual_seed(1),
        classes=RIGHT[8:12],
        channel=signals.Channel(rings=signals.LIQUID_RINGS),
    ).numpy()
    found = class_order(file() | {8 + k: frames[labels == k] for k in range(4)}, ORDERS)
    assert found.held == 1


@pytest.mark.parametrize(("band", "deviation"), [(0.004, 0.1), (0.1, 0.04), (0.04, 0.005)])
def test_messages_of_all_kinds_hold_the_expectations(band, deviation, rng):
    options = {"band": band, "deviation": deviation}
    messy = {k: noisy_analog(RIGHT[k], 32, 30, rng, **options) for k in range(17, 22)}
    found = class_order(file() | messy, ORDERS)
    assert found.held == 1


def test_no_random_order_of_the_names_is_accepted(rng):
    # None of 100 orders: the others are as many files whose columns are shuffled.
    orders = {f"random {k}": tuple(map(str, rng.permutation(RIGHT))) for k in range(100)}
    with pytest.raises(InputError, match="random 0 is contradicted by") as caught:
        class_order(file(), orders)
    assert str(caught.value).count("is contradicted by") == 100


@pytest.mark.parametrize(
    ("i", "j"), [(3, 4), (0, 19), (1, 3), (4, 23), (6, 7), (8, 12), (12, 13), (21, 22), (18, 20)]
)
def test_two_exchanged_columns_are_refused_by_name(i, j):
    with pytest.raises(InputError, match=rf"fixed .*columns (.* or )?{i} and {j}( or .*)? seem"):
        class_order(exchanged(file(), i, j), ORDERS)


def test_noise_hides_the_order():
    with pytest.raises(InputError, match=r"24 of 24 columns are too noisy, under 15 dB \(-?0\.\d"):
        class_order(file(snr_db=0), ORDERS)


def test_a_column_of_noise_is_left_out(rng):
    found = class_order(file() | {18: white(rng, (16, 1024))}, ORDERS)
    assert (found.order, found.held) == ("fixed", 1)
    assert found.evidence.loc[found.evidence["column"] == 18, "agrees"].isna().all()


def test_a_class_that_is_odd_in_itself_is_an_exception_and_no_exchange(rng):
    odd = messages(rng, 16) + 1j * messages(rng, 16) + 0.01 * white(rng, (16, 1024))
    found = class_order(file() | {20: odd}, ORDERS)
    assert found.order == "fixed"
    assert 0.99 < found.held < 1


def test_some_of_the_columns_are_enough():
    digital = {k: frames for k, frames in file().items() if RIGHT[k] in signals.STUDY_CLASSES}
    assert class_order(digital, ORDERS).order == "fixed"


@pytest.mark.parametrize("present", [(14, 16), (18,), (21, 18), (9, 10, 11)])
def test_columns_that_could_be_anything_are_not_enough(present):
    columns = file()
    with pytest.raises(InputError, match=f"{len(present)} columns are too few"):
        class_order({k: columns[k] for k in present}, ORDERS)


def test_orders_that_differ_where_physics_cannot_see_are_not_told_apart():
    other = list(RIGHT)
    other[14], other[16] = other[16], other[14]
    with pytest.raises(InputError, match="fixed and other agree equally well with the 24 columns"):
        class_order(file(), {"fixed": RIGHT, "other": other})


def test_the_evidence_reads_as_a_table():
    table = class_order(file(), ORDERS).table
    assert tuple(table["class"]) == RIGHT
    assert [*table] == ["column", "class", "snr_db", *physics.FEATURES]
    assert_allclose(table["snr_db"], 30, atol=0.5)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda frames: frames.real, "Column 3 needs complex IQ .* it is float32"),
        (lambda frames: frames[:7], "Column 3 needs .* at least 8 frames"),
        (lambda frames: frames[:, :500], "Column 3 needs .* of 512 samples"),
        (
            lambda frames: frames * np.where(np.arange(16) == 5, np.nan, 1)[:, None],
            "Column 3: 1 of 16 frames hold NaN .* the first at index 5",
        ),
        (lambda frames: frames * (np.arange(16) < 9)[:, None], "Column 3: 7 of 16 .* at index 9"),
    ],
)
def test_what_cannot_be_audited_is_refused(change, complaint):
    columns = file()
    with pytest.raises(InputError, match=complaint):
        class_order(columns | {3: change(columns[3])}, ORDERS)


# What is measured


def test_a_tone_is_a_bare_carrier_whatever_its_frequency(rng):
    tones = np.exp(2j * np.pi * rng.uniform(-0.5, 0.5, (20, 1)) * np.arange(1024))
    found = physics.measure(tones)
    assert_allclose(found["carrier"], 1, atol=0.03)  # between two bins
    assert_allclose(found["variation"], 0, atol=1e-6)


def test_a_real_signal_is_real_however_it_is_turned_and_shifted(rng):
    turns = rng.uniform(size=(20, 1)) + rng.uniform(-0.01, 0.01, (20, 1)) * np.arange(1024)
    signal = messages(rng, 20) * np.exp(2j * np.pi * turns)
    assert_allclose(physics.measure(signal)["real"], 1, atol=0.03)
    proper = messages(rng, 20) + 1j * messages(rng, 20)
    assert physics.measure(proper)["real"].max() < 0.6


def test_noise_does_not_make_a_constant_envelope_vary(rng):
    frames = noisy_analog("FM", 200, 15, rng)
    assert_allclose(np.median(physics.measure(frames)["variation"]), 0, atol=0.005)


@pytest.mark.parametrize("name", ["QPSK", "64QAM", "4ASK", "32APSK"])
def test_blind_symbols_have_the_moments_of_their_alphabet(name):
    points = signals.alphabet(name).numpy()
    found = physics.measure(column(name, 200, 30, 3).astype(complex))
    assert_allclose(found["kurtosis"].mean(), (abs(points) ** 4).mean(), atol=0.015)
    line = abs((points**4).mean()) / (abs(points) ** 4).mean()
    assert np.median(found["line 4"]) == pytest.approx(line, abs=0.03) or line < 0.2


def test_the_staggered_quadratures_of_oqpsk_hide_the_symbol_clock():
    assert np.median(physics.measure(column("QPSK", 64, 30, 3).astype(complex))["clock"]) > 10
    assert np.median(physics.measure(column("OQPSK", 64, 30, 3).astype(complex))["clock"]) < 0
    # Half of the lines of white noise lie under ln 2 of their mean.
    noise = white(np.random.default_rng(1), (2000, 512))
    half = np.median(physics.measure(noise)["clock"])
    assert half == pytest.approx(10 * np.log10(np.log(2)), abs=0.3)


# What the SNR labels mean


def labelled(snr_of_label, *, labels=range(-20, 32, 5), count=40, samples=1024, colour=()):
    """Return label -> frames of the linear classes whose SNR per sample is snr_of_label(label)."""
    result = {}
    for label in labels:
        generator = torch.Generator().manual_seed(1000 + label)
        snr = torch.full((count,), float(snr_of_label(label)))
        modulation = torch.arange(count) % 16
        frames = signals.simulate(modulation, snr + 300, generator=generator, samples=samples)
        noise = white(np.random.default_rng(1000 + label), (count, samples + 64))
        noise = lfilter([1.0], [1.0, *colour], noise)[:, 64:]
        noise /= np.sqrt(np.square(np.abs(noise)).mean())
        result[float(label)] = frames.numpy() + noise * 10 ** (-snr.numpy()[:, None] / 20)
    return result


@pytest.mark.parametrize("samples", [1024, 128])
@pytest.mark.parametrize(
    ("offset", "verdict"), [(0, "per sample"), (-9.03, "Es/N0"), (3, "offset"), (-5, "offset")]
)
def test_the_meaning_of_snr_labels_is_found(offset, verdict, samples):
    found = snr_meaning(labelled(lambda label: label + offset, samples=samples))
    assert found.verdict == verdict
    judged = found.table[found.table["judged"]]
    assert_allclose(judged["bias_db"].median(), offset, atol=0.15)
    assert judged["tilt_db"].abs().median() < 0.2


def test_labels_used_as_amplitudes_are_not_calibrated():
    # An amplitude of 10^(dB / 10) is a power of 10^(dB / 5): two decibels a decibel.
    found = snr_meaning(labelled(lambda label: 2 * label, labels=range(-20, 20, 4)))
    assert found.verdict == "not calibrated"
    assert "a step of 1 dB of the label is 2.00 dB of SNR" in found.sentence


@pytest.mark.parametrize(("pole", "side"), [(-0.5, "lower"), (0.5, "higher")])
def test_coloured_noise_is_not_taken_for_an_offset(pole, side):
    found = snr_meaning(labelled(lambda label: label, colour=(pole,)))
    assert found.verdict == "coloured noise"
    assert f"dB {side} further out" in found.sentence


def test_labels_are_judged_only_where_theory_lets_the_estimate_speak():
    found = snr_meaning(labelled(lambda label: label, labels=range(-20, 80, 8)))
    reasons = dict(zip(found.table["label_db"], found.table["reason"], strict=True))
    assert {reasons[label] for label in (-20, -12)} == {"too little signal"}
    assert {reasons[label] for label in (-4, 4, 12, 20, 28)} == {""}
    assert {reasons[label] for label in (60, 68)} == {"too little noise"}
    assert found.verdict == "per sample"
    judged = found.table[found.table["judged"]]
    assert judged["bias_db"].abs().max() < 0.3


def test_the_spread_stays_close_to_the_bound_with_known_symbols():
    table = snr_meaning(labelled(lambda label: label, labels=(0, 10, 20, 30), count=300)).table
    # sigma = 4.343 sqrt(2 / (rho n) + 1 / n) at n = 1024
    ratio = table["spread_db"] / np.array([0.235, 0.149, 0.137, 0.136])
    assert ratio.between(0.9, 1.6).all()


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (range(-20, -10, 2), r"of 5 given 0 can \(-20 dB: too little signal"),
        ((10, 20), "of 2 given 2 can"),
        ((10, 12, 14), "over at least 6 dB"),
        ((), "of 0 given 0 can"),
    ],
)
def test_labels_that_cannot_be_judged_are_refused(labels, complaint):
    with pytest.raises(InputError, match=complaint):
        snr_meaning(labelled(lambda label: label, labels=labels, count=8))
