"""The blind likelihood is a mean of known ones, by literal sums; each unknown costs accuracy."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from modsnr import limits, signals
from modsnr.limits import blind as module
from modsnr.limits.blind import AMPLITUDES_DB

CLASSES = ("BPSK", "QPSK", "OQPSK", "32APSK", "64QAM")
KNOWN = {"any_phase": False, "amplitudes_db": (0.0,)}
ES_N0_DB = 12.0


@pytest.fixture
def sent(generator):
    """Samples and late ones, two frames of each class, of 40 symbols."""
    labels = torch.arange(len(CLASSES)).repeat_interleave(2)
    levels = torch.full((len(labels),), ES_N0_DB)
    return limits.symbol_samples(labels, levels, CLASSES, symbols=40, generator=generator)


def turned(sent, phase, offset=0.0):
    """Return the samples turned by a phase, and by an offset in cycles/symbol about the middle."""
    found = []
    for part, late in zip(sent, (0.0, 0.5), strict=True):
        time = torch.arange(part.shape[1]) - part.shape[1] / 2 + late
        found.append(part * torch.exp(1j * (phase + 2 * torch.pi * offset * time)))
    return found


def known_likelihood(sent, es_n0_db=ES_N0_DB):
    return limits.log_likelihood(sent[0], es_n0_db, CLASSES, late=sent[1]).double()


def blind(sent, **unknown):
    return limits.marginal_log_likelihood(*sent, ES_N0_DB, CLASSES, **unknown).double()


def relative(scores):
    """Return scores without what all classes share, and where one is so unlikely that it counts
    for nothing as one value."""
    return (scores - scores.amax(1, keepdim=True)).clamp(min=-20)


def assert_alike(found, wanted):
    assert_close(relative(found), relative(wanted), rtol=0, atol=0.06)  # nats


def test_with_nothing_unknown_it_is_the_genies_likelihood(sent):
    assert_alike(blind(sent, **KNOWN), known_likelihood(sent))


def test_clear_symbols_are_never_mistaken(generator):
    labels, levels, classes = torch.arange(17), torch.full((17,), 30.0), signals.STUDY_CLASSES
    sent = limits.symbol_samples(labels, levels, classes, symbols=100, generator=generator)
    found = limits.marginal_log_likelihood(
        *turned(sent, 1.1), 30.0, classes, amplitudes_db=(-0.1, 0.0, 0.1)
    )
    assert (found.argmax(1) == labels).all()


def test_the_phase_is_averaged_out(sent):
    angles = torch.linspace(0, 2 * torch.pi, 241)[:-1]
    literal = torch.stack([known_likelihood(turned(sent, -a)) for a in angles.tolist()])
    found = blind(sent, amplitudes_db=(0.0,))
    assert_alike(found, literal.logsumexp(0))
    assert_alike(blind(turned(sent, 2.3), amplitudes_db=(0.0,)), found)


def test_the_offset_is_averaged_out_by_its_prior(sent):
    std, offsets = 2e-3, np.linspace(-6e-3, 6e-3, 61)
    literal = torch.stack([
        known_likelihood(turned(sent, 0.0, -offset)) - (offset / std) ** 2 / 2
        for offset in offsets.tolist()
    ])  # fmt: skip
    found = blind(sent, offset_std=std, **KNOWN)
    assert_alike(found, literal.logsumexp(0))
    assert not torch.allclose(relative(found), relative(blind(sent, **KNOWN)), atol=0.5)


def test_the_amplitude_is_averaged_out(sent):
    levels = np.linspace(AMPLITUDES_DB[0], AMPLITUDES_DB[-1], 33).tolist()
    literal = torch.stack([
        known_likelihood([part / 10 ** (level / 20) for part in sent], ES_N0_DB + level)
        for level in levels
    ])  # fmt: skip
    assert_alike(blind(sent, any_phase=False), literal.logsumexp(0))


def test_each_unknown_costs_accuracy_and_none_costs_nothing():
    def accuracy(**unknown):
        options = {"frames": 25, "generator": torch.Generator().manual_seed(4)}
        asked = ("8PSK", "16QAM", "64QAM"), [11.0]
        return limits.blind_curve(*asked, symbols=60, **options, **unknown).accuracy[0]

    genie = limits.accuracy_curve(
        ("8PSK", "16QAM", "64QAM"), [11.0], symbols=60, frames=25 * module.KNOWN,
        generator=torch.Generator().manual_seed(4),
    )  # fmt: skip
    known = accuracy(**KNOWN)
    assert known == pytest.approx(genie.accuracy[0], abs=0.002)
    phase = accuracy(amplitudes_db=(0.0,))
    everything = accuracy(offset_std=2e-3)
    assert known > phase > everything > 1 / 3


def test_a_blind_curve_ends_in_one(generator):
    found = limits.blind_curve(
        ("BPSK", "QPSK"), [-30, 20, 30], symbols=30, frames=4, generator=generator
    )
    assert found.accuracy[0] == pytest.approx(0.5, abs=0.01)
    assert found.accuracy[1:].tolist() == [1, 1] == (found.error[1:] + 1).tolist()
