"""The noise that symbols leave: against what was put there, its bound, and the prior."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from modsnr import receiver, signals
from modsnr.receiver.decided import Upright, decided_noise, settled

ROWS, SYMBOLS = 40, 128
CHOSEN = torch.full((ROWS,), signals.STUDY_CLASSES.index("16QAM"))
WIDE = torch.full((ROWS,), 10.0)


def drawn(generator, noise, *, constant=0.0, image=0.0):
    """Return upright symbols of 16QAM in noise, its power given, behind a pulse of two symbols."""
    points = signals.alphabet("16QAM").to(torch.complex64)
    sent = points[torch.randint(16, (ROWS, SYMBOLS), generator=generator)]
    white = torch.randn(ROWS, SYMBOLS, dtype=torch.complex64, generator=generator)
    tone = torch.polar(torch.ones(ROWS, SYMBOLS), 0.3 * torch.arange(SYMBOLS))
    samples = sent + 0.1j * sent.roll(1, 1) + constant * tone
    samples = samples + image * samples.conj() * tone + noise**0.5 * white
    none = torch.zeros_like(tone)
    return Upright(samples, sent, torch.stack([tone, none], 2), tone)


def level(seen, start=0.003, mean=0.0, deviation=WIDE):
    start, mean = torch.full((ROWS,), start).log(), torch.full((ROWS,), mean)
    return decided_noise(seen, CHOSEN, start, mean, deviation)[0]


@pytest.mark.parametrize("noise", [0.001, 0.01])
def test_the_noise_is_found_within_its_bound(generator, noise):
    error = level(drawn(generator, noise)) - torch.tensor(noise).log()
    assert error.mean().abs() < 0.07
    assert error.std() < 1.5 * SYMBOLS**-0.5


def test_a_constant_and_an_image_are_no_noise(generator):
    faulty = drawn(generator, 0.001, constant=0.03, image=0.03)
    assert (level(faulty) - torch.tensor(0.001).log()).mean().abs() < 0.2
    blind = faulty._replace(faults=0 * faulty.faults, image=0 * faulty.image)
    assert (level(blind) - torch.tensor(0.001).log()).mean() > 0.7


def test_a_sharp_prior_decides(generator):
    found = level(drawn(generator, 0.01), mean=-4.0, deviation=torch.full((ROWS,), 1e-3))
    assert_close(found, torch.full((ROWS,), -4.0), atol=1e-3, rtol=0)


def test_the_right_alphabet_is_likelier_than_a_wrong_one(generator):
    seen, start = drawn(generator, 0.01), torch.full((ROWS,), -4.0)
    scores = [
        decided_noise(seen, torch.full((ROWS,), signals.STUDY_CLASSES.index(name)), start, start,
                      WIDE)[2]
        for name in ("16QAM", "QPSK", "8PSK", "64QAM", "OQPSK")
    ]  # fmt: skip
    assert all((scores[0] > other).all() for other in scores[1:4])
    assert scores[4].isnan().all()


def narrow(generator, snr_db, count=48):
    air = replace(signals.CHANNELS["minor"], receive_bandwidth=0.17)
    modulation = torch.arange(count) % 8
    return signals.simulate(
        modulation, torch.full((count,), float(snr_db)), generator=generator, channel=air
    )


def test_noise_that_a_filter_hides_is_found_by_the_symbols(generator):
    iq = narrow(generator, 21.0, 8)
    found = receiver.receive(iq)
    assert ((found.snr_db - 21).abs() < 1.3).float().mean() > 0.8  # 15 dB is the guess of unseen
    assert (found.snr_db - 21).median().abs() < 0.5
    again = receiver.noise_of(found.iq, torch.zeros(len(iq)))
    assert_close(receiver.snr_db(again), found.snr_db, rtol=0, atol=0.5)


def test_what_is_sure_stays(generator):
    iq = narrow(generator, 12.0, 4)
    seen = receiver.noise_of(iq, torch.zeros(4))
    nothing, sure = torch.zeros(4), torch.full((4,), 0.02)
    known = seen._replace(density=torch.ones(4), deviation=sure)
    assert_close(settled(iq, iq, nothing + 0.25, nothing, known), known)
    found = settled(iq, iq, nothing + 0.25, nothing, seen)
    assert (found.density != seen.density).any()
    assert (found.deviation <= seen.deviation).all()
