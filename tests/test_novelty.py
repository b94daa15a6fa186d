"""Frames unlike all known ones: what makes them so, when it is an alarm, and how often wrongly."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose

from modsnr import InputError, figures, metrics, signals

CONSTANT = ("carrier", "FM voice", "GMSK", "2FSK", "chirps")
NARROW = ("OFDM", "OOK", "QPSK, 16 samples/symbol", "pi/4-DQPSK", "1024QAM")


@pytest.fixture
def clouds(rng):
    """Two known classes: features, modulation and SNR of 4,000 frames; the mean moves with it.

    The mean of the first feature is 0 or 10, and a cubic in the SNR that is 15 at 15 dB.
    """
    of, snr = np.arange(4000) % 2, rng.uniform(0, 30, 4000)
    middle = np.stack([10 * of + snr + 0.002 * (snr - 15) ** 3, np.zeros(4000)], 1)
    return middle + rng.normal(size=(4000, 2)) * [1, 5], of, snr


# Novelty


def test_novelty_is_the_logarithm_of_the_distance_in_standard_deviations_at_its_snr(clouds):
    familiar = metrics.familiar(*clouds)
    frames = np.array([[15.0 + 3, 0], [15 + 10 - 4, 0], [15, 10]])  # 3, 4 and 2 from the nearest
    assert_allclose(np.exp(familiar.novelty(frames, np.full(3, 15.0))), [3, 4, 2], rtol=0.1)
    frame = np.array([[5.0 - 2, 0]])
    assert familiar.novelty(frame, np.array([5.0])) < np.log(0.3)
    assert familiar.novelty(frame, np.array([29.0])) > np.log(10)


def test_novelty_agrees_with_a_literal_search_for_the_nearest_class(clouds, rng):
    familiar = metrics.familiar(*clouds)
    frames, snr = rng.normal(size=(20, 2)) * 20, rng.uniform(0, 30, 20)
    low, high = clouds[2].min(), clouds[2].max()
    expected = []
    for frame, db in zip(frames, snr, strict=True):
        x = (2 * db - low - high) / (high - low)
        place = min(range(len(familiar.at_db)), key=lambda k: abs(db - familiar.at_db[k]))
        away = [
            frame - sum(x**k * row for k, row in enumerate(coefficients))
            for coefficients in familiar.means
        ]
        expected.append(min(np.linalg.norm(part @ familiar.whitening[place]) for part in away))
    assert_allclose(familiar.novelty(frames, snr), np.log(expected), atol=1e-9)


def test_novelty_does_not_depend_on_the_unit_of_a_feature(clouds):
    features, of, snr = clouds
    scaled = features * [1e4, 1e-3] + [7, -2]
    before = metrics.familiar(features, of, snr).novelty(features[:50], snr[:50])
    after = metrics.familiar(scaled, of, snr).novelty(scaled[:50], snr[:50])
    assert_allclose(after, before, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda f, of, snr: (f * np.nan, of, snr), "must be finite"),
        (lambda f, of, snr: (f[:30], of[:30], snr[:30]), "modulation 0 has 15"),
        (lambda f, of, snr: (f, 2 * of, snr), "modulation 1 has 0"),
    ],
)
def test_too_few_known_frames_are_refused(clouds, change, refusal):
    with pytest.raises(InputError, match=refusal):
        metrics.familiar(*change(*clouds))


# Alarms


def test_a_new_known_frame_exceeds_the_level_as_rarely_as_asked(rng):
    drawn = rng.uniform(size=(4000, 99))
    levels = [metrics.alarm_level(scores, 0.05) for scores in drawn]
    # Of 99 uniform numbers the 95th is 0.95 on average: the chance of an alarm is what is left.
    assert np.mean(levels) == pytest.approx(0.95, abs=0.002)


def test_each_snr_has_a_level_of_its_own(rng):
    snr = rng.uniform(0, 30, 3000)
    levels = metrics.alarm_levels(snr, snr, 0.5, np.array([0.0, 10, 20, 30]))
    assert_allclose(levels, [2.5, 10, 20, 27.5], atol=0.6)
    with pytest.raises(InputError, match=r"10 known frames near 0 dB .* at least 20"):
        metrics.alarm_levels(snr[:10], np.zeros(10), 0.05, np.zeros(1))


# Unknown signals


def unknown(kind, snr_db, frames, generator):
    return signals.unknown(kind, torch.full((frames,), snr_db), generator=generator)


@pytest.mark.parametrize("kind", signals.UNKNOWN_KINDS)
def test_unknown_signals_have_the_snr_asked_for(kind, generator):
    clean = unknown(kind, 120.0, 64, generator)
    assert (clean.dtype, clean.shape) == (torch.complex64, (64, 1024))
    assert_allclose(clean.abs().square().mean(1), np.ones(64), rtol=1e-4)
    noisy = unknown(kind, 3.0103, 64, generator)
    assert noisy.abs().square().mean().item() == pytest.approx(1.5, rel=0.02)
    if kind in CONSTANT:
        assert_allclose(clean.abs(), 1, atol=1e-3)
    if kind in NARROW:
        window = torch.hann_window(1024, periodic=True)
        density = torch.fft.fft(clean * window).abs().square().mean(0)
        outside = torch.fft.fftfreq(1024).abs() > 0.095
        assert density[outside].sum() < 0.01 * density.sum()


def test_ofdm_repeats_the_end_of_each_symbol_before_it(generator):
    iq = unknown("OFDM", 120.0, 200, generator)
    # A fifth of the samples belong to the prefix, and recur 416 samples, 8 for each carrier, later.
    alike = (iq[:, 416:] * iq[:, :-416].conj()).mean().real
    assert alike.item() == pytest.approx(0.2, abs=0.03)
    assert (iq[:, 300:] * iq[:, :-300].conj()).mean().abs() < 0.03


def test_a_chirp_sweeps_the_whole_width_in_1024_samples(generator):
    iq = unknown("chirps", 120.0, 8, generator)
    turns = torch.angle(iq[:, 1:] * iq[:, :-1].conj()) / (2 * torch.pi)
    assert turns.abs().max() <= 1 / 16 + 1e-4
    steps = torch.diff(turns, dim=1)
    assert steps.median().item() == pytest.approx(1 / 8 / 1024, rel=0.02)


def test_the_fourth_power_of_pi_4_dqpsk_has_lines_half_a_symbol_rate_away(generator):
    iq = unknown("pi/4-DQPSK", 120.0, 64, generator)
    power = torch.fft.fft((iq**4) * torch.hann_window(1024)).abs().square().mean(0)
    assert set(power.topk(2).indices.tolist()) == {64, 1024 - 64}


# The figures


def test_a_timeline_crosses_the_frames_of_bursts_that_are_not_known(rng):
    known = rng.uniform(size=40) < 0.5
    frames = pd.DataFrame(
        {
            "start": np.arange(40.0),
            "known": known,
            "modulation": np.array(["BPSK", "QPSK", "8PSK"])[np.arange(40) % 3],
            "snr_db": 12.0,
            "confidence": rng.uniform(size=40),
            "carrier": rng.uniform(size=40),
        }
    )
    figure = figures.timeline(frames, timed=True)
    top, middle, bottom = figure.axes
    of_known, beyond = middle.collections
    assert len(beyond.get_offsets()) == (~known).sum()
    assert len(of_known.get_offsets()) == known.sum()
    assert [label.get_text() for label in top.get_yticklabels()] == ["8PSK", "BPSK", "QPSK"]
    assert bottom.get_ylabel() == "carrier (Hz)"


def test_a_waterfall_has_a_box_around_each_burst_with_a_signal():
    bursts = pd.DataFrame(
        {
            "start": [0.0, 2.0, 4.0],
            "end": [1.0, 3.0, 5.0],
            "carrier": [-100.0, 200.0, np.nan],
            "symbol_rate": [30.0, 60.0, np.nan],
            "modulation": ["QPSK", "unknown", "no signal"],
            "snr_db": [12.2, 3.0, np.nan],
            "known": [True, False, False],
        }
    )
    figure = figures.waterfall(np.zeros((9, 16)), bursts, seconds=6.0, rate=1000.0)
    ax = figure.axes[0]
    boxes = [patch.get_bbox().bounds for patch in ax.patches]
    assert_allclose(boxes, [(-120, 0, 40, 1), (160, 2, 80, 1)])
    assert [text.get_text().strip() for text in ax.texts] == ["QPSK, 12 dB", "unknown"]
    assert ax.get_xlabel() == "frequency (Hz)"


def test_frames_vote_together_and_a_few_that_are_sure_and_wrong_decide_nothing():
    doubtful, wrong = [0.55, 0.45, 0.0], [0.0, 1.0, 0.0]
    assert metrics.vote(np.array([doubtful] * 3)) == 0
    assert metrics.vote(np.array([doubtful] * 30 + [wrong])) == 0
    assert metrics.vote(np.array([doubtful] * 30 + [wrong] * 20)) == 1
    assert metrics.vote(np.array([[0.3, 0.7, 0], [0.3, 0.7, 0], [1, 0, 0]])) == 0  # no majority
