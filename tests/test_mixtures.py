"""Of a mixture every frame gets a channel of its own, and single channels stay what they were."""

from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from simulated import seeded, simulated
from torch.testing import assert_close

from modsnr import InputError, diagrams, signals
from modsnr.signals import Channel, Mixture, Simulator

QUIET = {"random_timing": False, "random_phase": False, "carrier_offset_std": 0.0}
ODD = Mixture({"wide": Channel(), "narrow": Channel(receive_bandwidth=0.3)})


def labels(count, classes=signals.STUDY_CLASSES):
    rng = np.random.default_rng(1)
    return rng.integers(len(classes), size=count), rng.choice([0.0, 10.0, 20.0], count)


def made(channel, count=200, *, seed=5, snr_db=0.0, classes=("QPSK",)):
    return simulated(classes, count, snr_db, generator=seeded(seed), channel=channel)


def is_narrow(iq):
    """Return which frames have no noise far from the carrier, bool [frame]."""
    density = torch.fft.fft(iq * torch.hann_window(iq.shape[1])).abs().square()
    away = torch.fft.fftfreq(iq.shape[1]).abs() > 0.25
    return density[:, away].mean(1) < 1e-2 * density.mean(1)


# Rows 9 (16APSK) and 599 of these settings, sample 100, as they were before there were mixtures.
BEFORE = {
    ("clean", "dvb"): (-0.2991 - 1.0425j, 0.7010 + 1.9342j),
    ("minor", "dvb"): (0.4349 + 0.3064j, -0.9781 + 0.4139j),
    ("minor", "liquid"): (-0.5729 + 0.9302j, -1.2870 - 0.5109j),
    ("moderate", "dvb"): (0.6861 - 0.9591j, -0.1427 + 0.6985j),
    ("rayleigh_1", "dvb"): (1.4688 - 0.1901j, 0.5423 - 1.0437j),
    ("coloured_noise", "liquid"): (-0.5277 + 0.6088j, -1.2350 - 0.5244j),
    ("receive_filter", "dvb"): (-0.2790 - 0.8427j, 1.8594 + 0.3596j),
}


@pytest.mark.parametrize(("setting", "samples"), BEFORE.items())
def test_frames_of_a_single_channel_are_what_they_were(setting, samples):
    classes, rows = signals.DIGITAL_CLASSES, np.arange(600)
    given = rows, rows % len(classes), (rows % 4 * 10).astype(np.float32)
    found = Simulator(7, classes, signals.channel(*setting), 256)(*given)
    assert_allclose(found[[9, 599], 100], samples, atol=2e-4)


def test_a_mixtures_frames_are_those_of_its_parts_one_part_after_the_other():
    modulation, snr_db = map(torch.tensor, labels(60))
    mixture, twin = signals.channel("mixture"), seeded(3)
    found = signals.simulate(modulation, snr_db, generator=seeded(3), channel=mixture, samples=128)
    drawn = torch.randint(len(mixture.parts), (60,), generator=twin)
    for number, part in enumerate(mixture.parts.values()):
        rows = drawn == number
        if rows.any():
            alone = signals.simulate(
                modulation[rows], snr_db[rows], generator=twin, channel=part, samples=128
            )
            assert_close(found[rows], alone, rtol=0, atol=0)


def test_every_part_is_as_likely_as_any_other_and_the_seed_decides():
    first, again, other = (is_narrow(made(ODD, 800, seed=seed)) for seed in (5, 5, 6))
    assert first.float().mean().item() == pytest.approx(0.5, abs=3 * 0.5 / 800**0.5)
    assert_close(first, again)
    assert (first != other).any()
    rows, (modulation, snr_db) = np.arange(600), labels(600)
    make = Simulator(7, signals.STUDY_CLASSES, signals.channel("mixture"), 64)
    whole, part = make(rows, modulation, snr_db), slice(512, 600)
    assert_array_equal(make(rows[part], modulation[part], snr_db[part]), whole[part])


def test_a_mixture_reaches_another_process_as_it_left():
    made = Simulator(7, ("QPSK",), signals.channel("mixture"), 64)
    assert ForkingPickler.loads(ForkingPickler.dumps(made)) == made


def test_a_mixture_of_geometries_gives_each_apsk_frame_one_of_them():
    """To the twelfth power dvb's 16APSK is negative and liquid's positive, on every symbol."""
    found = made(
        signals.channel("minor", "mixed", clock_offset_std=0.0, rolloff=0.25, **QUIET),
        400,
        snr_db=torch.inf,
        classes=("16APSK", "BPSK"),
    )
    turned = diagrams.synchronise(found).pow(12).mean(1)
    apsk, bpsk = turned[::2].real.sign(), turned[1::2].real
    assert apsk.abs().min() == 1
    assert apsk.mean().item() == pytest.approx(0, abs=3 / 200**0.5)
    assert (bpsk > 0).all()


def test_changes_reach_every_part_and_settings_are_those_of_each_with_the_rings_by_name():
    changed = signals.channel("mixture", rolloff=0.3, samples_per_symbol=4)
    parts = changed.parts.values()
    assert {(part.rolloff, part.samples_per_symbol) for part in parts} == {(0.3, 4)}
    assert changed.samples_per_symbol == 4
    settings = signals.settings(signals.channel("minor", "mixed", rolloff=0.3))
    assert list(settings) == ["minor, dvb", "minor, liquid"]
    assert settings["minor, liquid"]["rings"] == "liquid"
    assert settings["minor, dvb"]["rolloff"] == 0.3
    own = Channel(rings=signals.stretched(signals.DVB_RINGS, 1.2))
    assert signals.settings(own)[""]["rings"] == "own"


def test_theory_of_a_mixture_is_the_mean_over_its_parts():
    blank = {"16APSK": torch.zeros(64, 1024, dtype=torch.complex64)}
    air = signals.channel("minor", "mixed", carrier_offset_std=0.0)
    frames = {"simulated": signals.simulated_like(blank, 25.0, channel=air, seed=1)}
    found = signals.moments(frames, diagrams.synchronise, air)
    alone = [signals.moments(frames, diagrams.synchronise, part) for part in air.parts.values()]
    theory = found.series == "theory"
    mean = (alone[0].value + alone[1].value) / 2
    assert_allclose(found.value[theory], mean[theory])
    measured = found[~theory]
    assert (measured.low <= found.value[theory].to_numpy() + 0.05).all()
    assert (measured.high >= found.value[theory].to_numpy() - 0.05).all()
    of_odd = {"simulated": {"QPSK": made(ODD, 800, snr_db=0.0)}}
    power = 10 ** (signals.densities(of_odd, ODD, 0.0) / 10)
    for place in (abs(power.index) < 0.03, abs(power.index) > 0.25):
        assert power.simulated[place].mean() == pytest.approx(power.theory[place].mean(), rel=0.05)


BAD_LABELS = torch.tensor([0, 0, 0, 20]), torch.zeros(4)
ODD_RATES = {"a": Channel(), "b": Channel(samples_per_symbol=4)}


@pytest.mark.parametrize(
    ("call", "refusal"),
    [
        (
            lambda: signals.channel("mixtur"),
            "no channel is called 'mixtur'; did you mean 'mixture'",
        ),
        (lambda: signals.channel("minor", "liquids"), "called 'liquids'; did you mean 'liquid'"),
        (lambda: Mixture({}), "as many samples a symbol"),
        (lambda: Mixture(ODD_RATES), "as many samples a symbol"),
        (
            lambda: signals.simulate(*BAD_LABELS, generator=seeded(), channel=ODD),
            "the first at index 3: 20",  # of all frames, not of those of a part
        ),
    ],
)
def test_names_rates_and_labels_that_do_not_fit_are_refused(call, refusal):
    with pytest.raises(InputError, match=refusal):
        call()
