"""The receiver as a whole: it finds what the simulator hid, and refuses what it cannot use."""

from dataclasses import asdict, replace

import pytest
import torch
from simulated import simulated
from torch.testing import assert_close

from modsnr import InputError, receiver, signals

MODERATE = signals.CHANNELS["moderate"]
KNOWN = ["QPSK", "16QAM", "8PSK", "16APSK"]


@pytest.fixture(scope="module")
def frames():
    generator = torch.Generator().manual_seed(11)
    return simulated(KNOWN, 32, 18.0, generator=generator, channel=MODERATE)


@pytest.fixture(scope="module")
def received(frames):
    return receiver.receive(frames)


def likeliest(received):
    return [signals.STUDY_CLASSES[place] for place in received.log_likelihood.argmax(1).tolist()]


def test_every_frame_has_one_of_everything_that_is_found(frames, received):
    for name, values in asdict(received).items():
        assert len(values) == len(frames), name
        assert torch.isfinite(values).all(), name
    assert received.iq.shape == frames.shape


def test_alphabets_are_recognised_behind_moderate_offsets(received):
    truth = [KNOWN[place % len(KNOWN)] for place in range(32)]
    right = [found == name for found, name in zip(likeliest(received), truth, strict=True)]
    assert sum(right) >= 29
    assert_close(received.snr_db.mean().item(), 18.0, atol=0.15, rtol=0)


def test_a_received_frame_has_no_offset_left(received):
    again = receiver.receive(received.iq)
    assert again.carrier.abs().median() < 2e-5
    assert again.clock.abs().median() < 1e-4


@pytest.mark.parametrize("clock", [-0.02, 0.013])
@pytest.mark.parametrize("carrier", [-0.025, 0.017])
def test_carrier_and_clock_are_those_of_the_frame(carrier, clock, generator):
    calm = replace(signals.Channel(), carrier_offset_std=0.0, clock_offset_std=0.0)
    iq = simulated(["QPSK", "16QAM"], 8, 20.0, generator=generator, channel=calm)
    hidden = receiver.shift(receiver.resample(iq, torch.full((8,), -clock / (1 + clock))),
                            torch.full((8,), -carrier))  # fmt: skip
    found = receiver.receive(hidden)
    assert (found.carrier - carrier).abs().median() < 5e-5
    assert (found.clock - clock).abs().median() < 5e-4


def test_a_frames_scale_goes_through(frames, received):
    louder = receiver.receive(1024 * frames)  # a power of two, which rounds nothing
    assert_close(louder.iq, 1024 * received.iq)
    assert_close(louder.noise, 1024**2 * received.noise)
    assert_close(louder.snr_db, received.snr_db)


def test_a_turn_of_the_carrier_goes_through(frames, received):
    turned = receiver.receive(1j * frames)
    assert_close(turned.carrier, received.carrier, rtol=0, atol=1e-6)
    assert_close(turned.iq, 1j * received.iq, rtol=0, atol=1e-2)


def test_a_frame_is_received_alike_whatever_stands_beside_it(frames, received):
    alone = torch.cat([receiver.receive(frame).iq for frame in frames[:6].split(1)])
    assert_close(alone, received.iq[:6], rtol=0, atol=1e-2)


def test_noise_a_tone_and_two_signals_are_received_without_complaint_or_confidence(generator):
    noise = torch.randn(4, 1024, dtype=torch.complex64, generator=generator)
    time = torch.arange(1024)
    tone = torch.polar(torch.ones(1, 1024), 0.05 * time.unsqueeze(0))
    steady = torch.ones(1, 1024, dtype=torch.complex64)
    two = simulated(["QPSK"], 2, 20.0, generator=generator)
    two = two[:1] + two[1:] * torch.polar(torch.ones(1024), 0.6 * time)
    found = receiver.receive(torch.cat([noise, tone, steady, two]))
    for name, values in asdict(found).items():
        assert torch.isfinite(values).all(), name
    assert found.confidence[:4].max() < 0.9


def test_what_cannot_be_received_is_refused(frames):
    with pytest.raises(InputError, match=r"complex \[frame, sample\].*float32 \(3, 256\)"):
        receiver.receive(torch.zeros(3, 256))
    with pytest.raises(InputError, match=r"256 samples or more, a multiple of 8; these have 248"):
        receiver.receive(frames[:, :248])
    holed = frames[:5].clone()
    holed[1], holed[3, 7] = 0, float("nan")
    with pytest.raises(InputError, match=r"2 of 5 frames have no power or are not finite, first 1"):
        receiver.receive(holed)


def test_a_trainings_frames_are_received_where_its_parameters_say_so(frames, received):
    iq, known = receiver.as_trained({"receiver": True})(frames)
    assert_close(iq, received.iq)
    assert_close(known, receiver.findings(received))
    for parameters in ({"receiver": False}, {}):
        iq, known = receiver.as_trained(parameters)(frames)
        assert iq is frames
        assert known is None


def test_several_paths_are_found_and_taken_out_and_the_snr_stays():
    generator = torch.Generator().manual_seed(3)
    air = signals.CHANNELS["rayleigh_1"]
    iq = simulated(["QPSK", "16QAM", "8PSK", "BPSK"], 40, 20.0, generator=generator, channel=air)
    found = receiver.receive(iq)
    assert found.several.float().mean() > 0.5
    assert (found.taps[found.several].abs() > 0.05).sum(1).float().mean() > 1.5
    power = found.taps[~found.several].abs().square()
    assert_close(power[:, 1:].sum(), torch.tensor(0.0))
    again = receiver.noise_of(found.iq, torch.zeros(40))
    assert_close(receiver.snr_db(again), found.snr_db, rtol=0, atol=0.25)
    raw = receiver.frame_likelihoods(iq, receiver.noise_of(iq, torch.zeros(40)).share).marginal
    truth = torch.tensor([signals.STUDY_CLASSES.index(name) for name in
                          ("QPSK", "16QAM", "8PSK", "BPSK")]).repeat(10)  # fmt: skip
    right = [(given.argmax(1) == truth).float().mean() for given in (raw, found.log_likelihood)]
    assert right[1] > right[0] + 0.15
    assert right[1] > 0.85


def test_likelihoods_go_by_name_and_what_is_no_known_modulation_has_none(received):
    found = received.of(["16QAM", "FM", "BPSK"])
    column = signals.STUDY_CLASSES.index
    known = received.log_likelihood[:, [column("16QAM"), column("BPSK")]]
    assert_close(found[:, [0, 2]], known)
    assert (found[:, 1] == -torch.inf).all()


def test_the_steps_lead_from_the_frame_to_what_is_made_of_it(frames, received):
    steps = receiver.steps(frames, received)
    assert list(steps) == ["received", "carrier", "clock", "set right"]
    assert_close(steps["received"], frames)
    assert_close(steps["set right"], received.iq)
    nothing_left = receiver.noise_of(steps["carrier"], torch.zeros(len(frames)))
    offset = receiver.coarse_carrier(steps["carrier"], nothing_left).offset
    assert offset.abs().median() < received.carrier.abs().median() / 4
    one_path = ~received.several
    inner = slice(64, -64)  # a frame is taken as periodic, so that its ends differ
    before, after = steps["clock"][one_path][:, inner], received.iq[one_path][:, inner]
    assert_close(before, after, rtol=0, atol=0.2)


def test_oqpsk_is_not_taken_for_several_paths(generator):
    found = receiver.receive(simulated(["OQPSK"], 24, 12.0, generator=generator))
    assert set(likeliest(found)) == {"OQPSK"}
    assert not found.several.any()
    assert_close(found.taps[:, 0], torch.ones(24, dtype=torch.complex64))


def test_a_carrier_of_zero_is_recognised_behind_several_paths(generator):
    calm = replace(signals.CHANNELS["rayleigh_2"], carrier_offset_std=0.0)
    found = receiver.receive(simulated(KNOWN, 32, 20.0, generator=generator, channel=calm))
    assert found.several.float().mean() > 0.8
    assert found.carrier.abs().median() < 2e-5
