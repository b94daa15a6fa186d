"""What does not fit in frames, how sure the receiver is of the SNR, and if there is a signal."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from modsnr import generalisation, limits, metrics, receiver, signals
from modsnr.receiver.noise import HALF_BAND, noise_of


def made(modulation, snr_db, count, generator, *, samples=1024, **channel):
    return signals.simulate(
        torch.zeros(count, dtype=torch.int64),
        torch.full((count,), snr_db),
        generator=generator,
        classes=(modulation,),
        channel=signals.Channel(**channel),
        samples=samples,
    )


def traits(iq):
    return receiver.traits(iq, receiver.receive(iq)).numpy()


def column(words):
    (place,) = [place for place, name in enumerate(receiver.TRAITS) if words in name]
    return place


@pytest.fixture(scope="module")
def usual():
    """32 frames of 16QAM at 8 dB, and their traits."""
    iq = made("16QAM", 8.0, 32, torch.Generator().manual_seed(5))
    return iq, traits(iq)


# Traits


def test_traits_depend_neither_on_scale_nor_on_phase(usual):
    iq, found = usual
    assert_allclose(traits(1024j * iq[:8]), found[:8], rtol=0, atol=0.05)


def test_what_fits_has_the_misfit_of_chance(usual):
    _, found = usual
    # A mean of 20 or more chi squares of one degree of freedom is near to 1, its logarithm to 0.
    assert np.median(found[:, :2], axis=0) == pytest.approx(0, abs=0.3)
    # n exponential variables have a maximum of about log n times their mean.
    assert np.median(found[:, column("beside")]) == pytest.approx(0, abs=0.2)
    likelihood = found[:, column("likelihood")]
    assert np.median(likelihood) == pytest.approx(0, abs=3)
    assert likelihood.min() > -15


def test_a_tilt_of_the_noise_is_no_trait_but_a_line_in_it_is(generator):
    tilted = traits(made("QPSK", 15.0, 12, generator, noise_tilt_db=6.0))
    assert np.median(tilted[:, column("the noise's")]) < 0.4
    iq = made("QPSK", 15.0, 8, generator)
    tone = 0.1 * torch.polar(torch.ones(1024), 2 * torch.pi * 0.3 * torch.arange(1024))
    without, with_tone = (traits(each)[:, column("beside")] for each in (iq, iq + tone))
    assert with_tone.min() > without.max()


def test_paths_that_were_found_are_no_trait_but_another_symbol_rate_is(generator):
    misfit = column("signal's spectrum")
    paths = traits(made("QPSK", 20.0, 12, generator, delay_spread=1.0))[:, misfit]
    slow = signals.unknown("QPSK, 16 samples/symbol", torch.full((12,), 20.0), generator=generator)
    assert np.median(paths) < 0.7 < 1.5 < np.median(traits(slow)[:, misfit])


def test_a_steady_envelope_has_no_fourth_moment_beyond_its_power_at_any_snr(generator):
    for snr in (5.0, 25.0):
        voice = signals.unknown("FM voice", torch.full((16,), snr), generator=generator)
        assert np.median(traits(voice)[:, column("E|s|^4")]) == pytest.approx(0, abs=0.08)


def test_symbols_off_every_lattice_are_less_likely_than_expected(usual, generator):
    ofdm = signals.unknown("OFDM", torch.full((16,), 10.0), generator=generator)
    likelihood = column("likelihood")
    assert np.median(traits(ofdm)[:, likelihood]) < usual[1][:, likelihood].min()


def test_odd_frames_have_finite_traits(generator):
    time = torch.arange(256)
    tone = torch.polar(torch.ones(256), 0.3 * time)
    impulse = torch.eye(1, 256)[0] + 0j
    noise = torch.randn(256, dtype=torch.complex64, generator=generator)
    found = traits(torch.stack([tone, torch.ones(256) + 0j, impulse, noise, tone + tone.conj()]))
    assert found.shape == (5, len(receiver.TRAITS))
    assert np.isfinite(found).all()


# Signal and SNR


def test_noise_alone_has_no_signal_and_no_confidence(generator):
    noise = receiver.receive(torch.randn(64, 1024, dtype=torch.complex64, generator=generator))
    assert not noise.present.any()
    assert noise.confidence.max() == 0
    weak = receiver.receive(made("QPSK", 0.0, 16, generator))
    assert weak.present.all()
    assert weak.confidence.min() > 0


def test_the_snrs_deviation_is_the_bound_of_a_known_band_where_noise_is_white(generator):
    for snr in (0.0, 20.0):
        noise = noise_of(made("16QAM", snr, 64, generator), torch.zeros(64))
        deviation = receiver.snr_deviation_db(noise, 1024).median().item()
        bound = limits.band_limited(snr, samples=1024, occupied=2 * HALF_BAND * 1024)
        assert deviation == pytest.approx(bound.item(), rel=0.08)


def test_longer_frames_show_the_snr_better(generator):
    short, long = (
        receiver.receive(made("QPSK", 10.0, 8, generator, samples=samples))
        for samples in (512, 2048)
    )
    ratio = short.snr_deviation_db.median() / long.snr_deviation_db.median()
    assert ratio.item() == pytest.approx(2, rel=0.15)


# Scope


def clouds(rng, count):
    """Features about a centre of their class, the class found, and an SNR without effect."""
    of = np.arange(count) % 2
    return rng.normal(size=(count, 2)) + 10.0 * of[:, None], of, rng.uniform(0, 30, count)


def test_known_frames_are_outside_as_rarely_as_asked_and_others_are_found(rng):
    learned = clouds(rng, 2000)
    scope = metrics.scope(learned, learned[1], clouds(rng, 2000), 0.1)
    features, of, snr = clouds(rng, 4000)
    assert (scope.beyond(features, of, snr) > 0).mean() == pytest.approx(0.1, abs=0.02)
    # What is usual of one class is not of another: the class that was found counts.
    assert (scope.beyond(features, 1 - of, snr) > 0).all()


def test_intervals_cover_at_their_level_and_frames_outside_are_left_out(rng):
    learned = clouds(rng, 2000)
    scope = metrics.scope(learned, learned[1], clouds(rng, 2000), 0.1)
    features, of, snr = clouds(rng, 4000)
    features[:1000] += 100
    deviation = rng.uniform(0.1, 1, 4000)
    error = deviation * rng.normal(size=4000)
    error[:1000] *= 10
    seen = {"some": (features, of, snr, deviation), "none": (features + 50, of, snr, deviation)}
    grid = [0.0, 30.0]
    given = {"some": {"any": metrics.Answers(of, snr - error, of, snr, grid)}}
    found = generalisation.trust(scope, seen, given).set_index(["condition", "measure"]).value
    assert found["some", "outside"] == pytest.approx(0.25 + 0.75 * 0.1, abs=0.02)
    assert found["some", "covered_inside"] == pytest.approx(0.9, abs=0.015)
    assert found["some", "covered"] < 0.8
    assert found["some", "width_db"] == pytest.approx(2 * 1.645 * 0.55, rel=0.05)
    assert found["none"].to_dict() == {"outside": 1}
    wider = generalisation.trust(scope, seen, given, level=0.99).value
    assert wider[2] > found["some", "covered_inside"]
    found = generalisation.trust(scope, seen, given | {"none": given["some"]})
    assert found.measure.tolist()[4:] == ["outside", "covered"]


def test_frames_of_every_modulation_and_snr_are_seen_alike_each_time():
    snrs = np.array([5.0, 20.0])
    found, modulation = receiver.usual(snrs, 1, seed=3)
    again, _ = receiver.usual(snrs, 1, seed=3)
    assert modulation.tolist() == np.repeat(np.arange(17), 2).tolist()
    assert found.traits.shape == (34, len(receiver.TRAITS))
    assert_allclose(found.traits, again.traits)
    assert np.median(np.abs(found.snr_db - np.tile(snrs, 17))) < 1
    strange = receiver.unusual("2FSK", snrs, 2, seed=3)
    assert strange.traits[:, 0].min() > np.median(found.traits[:, 0])
