"""Conditioned frames are those of a receiver that had known the carrier and the symbol rate."""

import pickle
import subprocess
import sys
from math import log10, pi, sqrt
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from recording_files import received, write_sigmf, write_wav

from modsnr import InputError
from modsnr.classifier.rehearsal import rehearse
from modsnr.recordings import estimates
from modsnr.recordings.as_source import open_as_source
from modsnr.recordings.conditioning import (
    ResampledFrames,
    Tuning,
    tune,
)
from modsnr.recordings.files import open_recording


class Conditioned(NamedTuple):
    frames: np.ndarray
    table: pd.DataFrame
    silent: int


def condition(recording):
    """All frames of a recording that have power, as they are surveyed."""
    made = ResampledFrames(recording, tune(recording))
    iq = made.read(np.arange(made.count))
    table = made.survey([iq])
    kept = ~table.pop("silent").to_numpy()
    return Conditioned(iq[kept], table[kept].reset_index(drop=True), int((~kept).sum()))


@pytest.fixture
def recorded(tmp_path):
    """Write a signal as a recording."""

    def write(iq, **options):
        return open_recording(write_sigmf(tmp_path / "a", iq, **options))

    return write


def found_in(iq):
    """Return carrier, band and symbol-rate line of [sample]."""
    return estimates.find_signals(lambda start, count: iq[start : start + count], len(iq), 1)[0][:3]


def noise_like(iq, rng, power=1.0):
    """Return white noise of the same length, complex64 [sample]."""
    noise = rng.normal(size=(len(iq), 2)).view(complex)[:, 0]
    return (noise * sqrt(power / 2)).astype(np.complex64)


# Estimates


@pytest.mark.parametrize(
    ("modulation", "samples_per_symbol"),
    [
        *(("BPSK", 5.3), ("8ASK", 13.7), ("QPSK", 2.3), ("64QAM", 13.7)),
        *(("16APSK", 5.3), ("OQPSK", 2.3), ("OQPSK", 13.7)),
    ],
)
def test_band_carrier_and_rate_are_found(modulation, samples_per_symbol):
    symbols = round(100_000 / samples_per_symbol)
    options = {"carrier": 0.0321, "snr_db": 10, "samples_per_symbol": samples_per_symbol}
    iq = received(modulation, symbols=symbols, **options)
    true_rate = symbols / len(iq)
    carrier, band, line = found_in(iq)
    assert abs(band.centre - 0.0321) < 0.05 * true_rate
    assert abs(band.width / true_rate - 1) < 0.06
    assert line.evidence > estimates.EVIDENCE
    assert abs(line.symbol_rate / true_rate - 1) < 1e-5
    assert abs(carrier - 0.0321) < 0.05 * true_rate  # the receiver finds a quarter of a rate


@pytest.mark.parametrize("modulation", ["BPSK", "OQPSK", "16QAM"])
def test_the_rate_is_found_at_0_db_in_the_band(modulation):
    # 0 dB at one sample a symbol are -9 dB at eight.
    iq = received(modulation, symbols=40_000, samples_per_symbol=5, carrier=-0.2, snr_db=-9)
    _, band, line = found_in(iq)
    assert abs(band.width * 5 - 1) < 0.06
    assert abs(line.symbol_rate * 5 - 1) < 1e-5


@pytest.mark.parametrize(
    "options", [{"dc": 0.3}, {"dc": 3j}, {"carrier": 0.47}], ids=["weak DC", "strong DC", "edge"]
)
def test_carrier_and_rate_are_found_whatever_is_beside_the_signal(options):
    options = {"carrier": 0.03, "snr_db": 10} | options
    carrier, _, line = found_in(received("QPSK", symbols=40_000, samples_per_symbol=5.3, **options))
    assert abs(line.symbol_rate * 5.3 - 1) < 1e-5
    assert abs(carrier - options["carrier"]) < 0.1 / 5.3


def test_noise_has_neither_band_nor_line(rng):
    for _ in range(10):
        noise = rng.normal(size=(1, 40_000)).view(complex)
        with pytest.raises(InputError, match="No signal stands out of the noise floor"):
            found_in(noise[0])
        line = estimates.symbol_rate(noise, estimates.Band(0.1, 0.2, 0.12))
        assert line.evidence < estimates.EVIDENCE


def test_a_noise_band_has_no_symbol_rate_and_its_width_stands_for_it(rng, recorded):
    spectrum = rng.normal(size=2 * 2**16).view(complex)
    spectrum[np.abs(np.fft.fftfreq(len(spectrum))) > 0.05] *= 0.03
    tuning = tune(recorded(10 * np.fft.ifft(spectrum)))
    assert tuning.symbol_rate_from == "width"
    assert abs(tuning.symbol_rate - 0.1) < 0.004


def test_the_rate_is_found_where_noise_fills_a_filter_wider_than_the_signal(rng):
    iq = received("QPSK", symbols=20_000, samples_per_symbol=10, rolloff=0.4)
    spectrum = np.fft.fft(iq + noise_like(iq, rng, 9.0))  # nearly as dense as the signal
    spectrum[np.abs(np.fft.fftfreq(len(iq))) > 1.2 / 10] *= 1e-3
    _, band, line = found_in(np.fft.ifft(spectrum))
    assert band.width * 10 > 1.5
    assert abs(line.symbol_rate * 10 - 1) < 1e-4


def test_a_weak_false_line_is_not_taken_for_the_pair_of_oqpsk():
    iq = received("OQPSK", symbols=8000, samples_per_symbol=8, snr_db=15)
    false = 0.97 / 8  # as a frame's structure makes
    iq = iq * (1 + 0.05 * np.cos(2 * pi * false * np.arange(len(iq))))
    power = estimates.symbol_rate(iq[None], estimates.Band(0.0, 1 / 8, 0.08))
    assert abs(power.symbol_rate * 8 - 1) < 1e-5


@pytest.mark.parametrize(
    ("kind", "snr_db", "seed"),
    [("64QAM", 22.0, 7000), ("QPSK", 18.0, 7001), ("BPSK", 14.0, 7000), ("8ASK", 22.0, 7005)],
)
def test_the_rate_is_found_behind_paths_that_narrow_the_band_or_turn_it(kind, snr_db, seed):
    """Of the first two half of the power lies in half of the band; of the last two, real ones, a
    line of the square and that of twice the carrier look like the pair of OQPSK at half the rate.
    """
    one = rehearse(kind, snr_db, seed=seed)
    found = tune(one.recording).symbol_rate
    assert found == pytest.approx(one.symbol_rate, rel=5e-3)  # the clock has an offset of its own


def test_a_signal_beside_a_stronger_one_is_found_and_the_way_to_it_is_clear():
    excess = np.zeros(400)
    excess[50:90], excess[200:230], excess[300:303] = 10, 2, 10
    strongest, other = estimates.apart(excess)
    assert_array_equal(np.flatnonzero(other), np.arange(200, 230))
    assert_array_equal(strongest, ~other)  # with the line, too narrow for a signal
    joined = excess.copy()
    joined[90:200] = 1
    assert len(estimates.apart(joined)) == 1


def test_a_short_burst_is_found_in_long_noise(rng):
    burst = received("8PSK", symbols=1500, samples_per_symbol=5, carrier=0.1, snr_db=8)
    iq = noise_like(np.zeros(2**18), rng, 5 / 8 * 10**-0.8)
    iq[100_000 : 100_000 + len(burst)] = burst
    carrier, band, line = found_in(iq)
    assert abs(carrier - 0.1) < 0.1 / 5
    assert abs(band.width * 5 - 1) < 0.1
    assert abs(line.symbol_rate * 5 - 1) < 1e-3


# Frames


@pytest.mark.parametrize("samples_per_symbol", [1.6, 5.3, 29.3])
def test_conditioned_noise_free_frames_are_the_signal_itself_60_db_down(
    samples_per_symbol, recorded
):
    """The oracle is the same signal brought to eight samples a symbol by an FFT in one piece."""
    options = {"symbols": 6000, "carrier": 0.0, "seed": 3}
    recording = recorded(received("16QAM", samples_per_symbol=samples_per_symbol, **options))
    eight = received("16QAM", samples_per_symbol=8.0, **options)
    frames = ResampledFrames(recording, Tuning(0.0, 1 / samples_per_symbol))
    found = frames.read(np.arange(frames.count)).ravel()
    error = np.square(np.abs(found - eight[frames.first :][: len(found)])).mean()
    assert 10 * log10(error) < -60


@pytest.mark.parametrize("form", ["iq", "real"])
@pytest.mark.parametrize("samples_per_symbol", [3.7, 29.3])
def test_borders_of_blocks_leave_no_trace(form, samples_per_symbol, recorded):
    iq = received("QPSK", symbols=3000, samples_per_symbol=samples_per_symbol, carrier=0.2)
    recording = recorded(
        (iq if form == "iq" else iq.real) / 8, datatype="cf32_le" if form == "iq" else "rf32_le"
    )
    frames = ResampledFrames(recording, Tuning(0.2, 1 / samples_per_symbol))
    first, count = frames.first, frames.count
    whole = frames.baseband(first, count * 1024).reshape(count, 1024)
    for start, stop in [(0, 1), (5, 6), (3, count)]:
        piece = frames.read(np.arange(start, stop))
        assert_allclose(piece, whole[start:stop], rtol=0, atol=1e-6)
    odd = frames.baseband(first + 1234, 777)
    assert_allclose(odd, whole.ravel()[1234 : 1234 + 777], rtol=0, atol=1e-6)


@pytest.mark.parametrize("symbol_rate", [0.001, 0.0123456789, 0.1251234, pi / 10, 0.98765432])
def test_the_rate_of_the_frames_is_right_to_a_hundredth_of_a_sample_each(symbol_rate):
    ratio = Tuning(0.0, symbol_rate).ratio
    assert abs(ratio / (8 * symbol_rate) - 1) * 1024 < 0.01
    assert max(ratio.as_integer_ratio()) <= 8192


def test_the_frames_snr_is_that_of_the_recording(recorded):
    for samples_per_symbol in (5.3, 13.7):
        iq = received("QPSK", symbols=8000, samples_per_symbol=samples_per_symbol, snr_db=12)
        result = condition(recorded(iq))
        assert abs(result.table.snr_db.mean() - 12) < 0.2


@pytest.mark.parametrize(("form", "samples_per_symbol"), [("iq", 5.3), ("real", 13.7)])
def test_a_wav_gives_the_frames_of_the_original_up_to_phase(
    form, samples_per_symbol, recorded, tmp_path
):
    iq = received("16QAM", symbols=4000, samples_per_symbol=samples_per_symbol, carrier=0.21) / 8
    original = recorded(iq)
    wav = open_recording(write_wav(tmp_path / "a.wav", iq if form == "iq" else iq.real, "PCM_24"))
    tuning = tune(wav)
    assert tuning.symbol_rate == pytest.approx(1 / samples_per_symbol, rel=1e-4)
    wav, original = ResampledFrames(wav, tuning), ResampledFrames(original, tuning)
    # The real signal's filter reaches further, so that its frames begin later.
    late = wav.first - original.first
    assert (late > 0) == (form == "real")
    ours, theirs = (each.read(np.arange(each.count)).ravel() for each in (wav, original))
    theirs = theirs[late:]
    length = min(len(ours), len(theirs))
    ours, theirs = ours[:length], theirs[:length]
    gain = np.vdot(theirs, ours) / np.vdot(theirs, theirs)
    error = np.square(np.abs(ours - gain * theirs)).mean() / np.square(np.abs(ours)).mean()
    assert abs(abs(gain) - 1) < 1e-3
    assert 10 * log10(error) < -50


def test_frames_carry_the_labels_of_the_annotations_around_them(recorded):
    iq = received("QPSK", symbols=2000, samples_per_symbol=4) / 8
    spans = [(0, 4000, "QPSK"), (2000, 600, "preamble"), (4500, 3500, "8PSK"), (5000, 3000, None)]
    frames = ResampledFrames(recorded(iq, annotations=spans), Tuning(0.0, 0.25))
    table = frames.survey(frames.batches(0, frames.count))
    slow = []
    for start in table.first_sample:
        around = [s for s in spans if s[0] <= start and start + 512 <= s[0] + s[1] and s[2]]
        slow.append(min(around, key=lambda span: span[1])[2] if around else None)
    assert table.label.tolist() == slow
    assert set(slow) == {"QPSK", "8PSK", "preamble", None}
    assert_array_equal(np.diff(table.first_sample), 512)


def test_pauses_are_found_and_kept(recorded):
    iq = received("QPSK", symbols=6000, samples_per_symbol=8, snr_db=15) / 8
    noise = received("QPSK", symbols=6000, samples_per_symbol=8, snr_db=15, seed=5) / 8
    clean = received("QPSK", symbols=6000, samples_per_symbol=8, seed=5) / 8
    pause = slice(10_240 + 32, 20_480 + 32)  # frames begin 32 samples in, behind the filter
    iq[pause] = (noise - clean)[pause]
    recording = recorded(iq)
    result = condition(recording)
    assert_array_equal(np.flatnonzero(result.table.gap), np.arange(10, 20))
    source = open_as_source(recording.path)
    assert len(source) == len(result.frames)
    assert source.facts["frames in gaps"] == 10


def test_digital_silence_is_left_out_and_counted(recorded):
    iq = received("QPSK", symbols=6000, samples_per_symbol=8, snr_db=15) / 8
    whole = condition(recorded(iq))
    assert whole.silent == 0
    pause = slice(10_240, 20_480 + 64)  # the filter reaches 32 samples beyond frames 10 to 19
    iq[pause] = 0
    recording = recorded(iq, annotations=[(0, 10_000, "QPSK"), (21_000, 20_000, "8PSK")])
    result = condition(recording)
    rows = [*range(10), *range(20, len(whole.frames))]
    assert result.silent == 10
    assert_array_equal(result.table.first_sample, whole.table.first_sample[rows])
    assert len(result.frames) == len(result.table) == len(rows)
    assert [*result.table.label[:9], *result.table.label[11:20]] == ["QPSK"] * 9 + ["8PSK"] * 9
    assert not result.table.gap.any()
    kept = open_as_source(recording.path)
    assert not set(range(10, 20)) & set(kept.rows.tolist())
    assert kept.facts["frames without power, left out"] == kept.facts["frames in gaps"] == 10
    iq[10_000:] = 0  # most of the recording, so that its ninetieth percentile is silent too
    iq[3000:6000] *= 1e-2
    frames = ResampledFrames(recorded(iq), Tuning(0.0, 0.125))
    table = frames.survey(frames.batches(0, frames.count))
    assert_array_equal(np.flatnonzero(table.gap & ~table.silent), [3, 4, 5])


def test_a_real_recordings_silence_is_silent_in_every_block(tmp_path):
    real = received("QPSK", symbols=6000, samples_per_symbol=13.7, carrier=0.25, snr_db=20).real / 8
    real[30_000:60_000] = 0
    recording = open_recording(write_wav(tmp_path / "a.wav", real, kind="FLOAT"))
    frames = ResampledFrames(recording, Tuning(0.25, 1 / 13.7))
    table, span = frames.survey(frames.batches(0, frames.count)), 1024 * 13.7 / 8
    assert table.silent.sum() == pytest.approx(30_000 / span, abs=1.5)
    inside = table.first_sample.between(30_000 + 300, 60_000 - 300 - span)
    assert table.silent[inside].all()


def test_a_recording_of_silence_alone_or_too_short_is_refused(recorded):
    frames = ResampledFrames(recorded(np.zeros(20_000, complex)), Tuning(0.0, 0.125))
    complaint = "is silent: none of the 19 frames read from its beginning on has any power"
    with pytest.raises(InputError, match=complaint):
        frames.survey(frames.batches(0, frames.count))
    with pytest.raises(InputError, match="is too short: its 20000 samples are 100 symbols"):
        _ = ResampledFrames(frames.recording, Tuning(0.0, 0.005)).count


def test_a_symbol_rate_too_low_to_condition_is_refused(rng, recorded):
    spectrum = np.fft.fft(rng.normal(size=2 * 2**17).view(complex))
    spectrum[np.abs(np.fft.fftfreq(len(spectrum))) > 0.005] *= 0.01
    beats = 1 + 0.9 * np.cos(2 * pi * 0.0008 * np.arange(len(spectrum)))
    with pytest.raises(InputError, match=r"its symbol rate seems to be 0\.0008 symbols/sample"):
        condition(recorded(np.fft.ifft(spectrum) * beats))


def test_a_recording_without_a_signal_is_refused_by_name(rng, recorded):
    noise = rng.normal(size=16_000).view(complex) / 8
    for iq in (noise, np.zeros(8000, complex)):
        with pytest.raises(InputError, match=r"a\.sigmf-data: No signal stands out"):
            condition(recorded(iq))
    complaint = r"a\.sigmf-data: There are 100 samples; an estimate needs at least 4096"
    with pytest.raises(InputError, match=complaint):
        condition(recorded(noise[:100]))


# Sources


def test_a_recording_is_a_source_of_its_labelled_frames(recorded):
    iq = received("QPSK", symbols=12_000, samples_per_symbol=9.1, snr_db=13.2) / 8
    recording = recorded(iq, annotations=[(20_000, 30_000, "QPSK"), (60_000, 20_000, "8PSK")])
    source = pickle.loads(pickle.dumps(open_as_source(recording.path)))  # noqa: S301
    result = condition(recording)
    labelled = result.table[result.table.label.notna()]
    assert source.classes == ("8PSK", "QPSK")
    assert_array_equal(source.rows, labelled.index)
    assert [source.classes[k] for k in source.modulation] == labelled.label.tolist()
    assert_array_equal(np.unique(source.snr_db), [12, 14])
    outside = source.facts["frames outside labelled annotations, left out"]
    assert outside == len(result.table) - len(labelled) > 0
    assert "estimate" in source.snr_definition
    chosen = np.array([3, 4, 5, 11, 30, len(source) - 1])
    rows = source.rows[chosen]
    assert source.received
    frames = source.read.read(rows, source.modulation[chosen], source.snr_db[chosen])
    assert_array_equal(frames, result.frames[rows])
    none = np.zeros(0, np.int64)
    iq, findings = source.read(none, none, none)
    assert iq.shape == (0, 1024)
    assert findings.shape == (0, len(source.findings))


def test_a_recording_without_labels_has_the_one_it_is_given(recorded):
    recording = recorded(received("QPSK", symbols=3000, samples_per_symbol=9.1, snr_db=45) / 8)
    source = open_as_source(recording.path, label="from the roof")
    assert source.classes == ("from the roof",)
    assert not source.modulation.any()
    assert_array_equal(source.snr_db, np.float32(30))  # clipped to the grid of the labels


def test_blank_labels_make_no_class(recorded):
    iq = received("QPSK", symbols=9000, samples_per_symbol=9.1, snr_db=20) / 8
    half = len(iq) // 2
    recording = recorded(iq, annotations=[(0, half, " "), (half, half, "QPSK")])
    source = open_as_source(recording.path)
    assert source.classes == ("QPSK",)
    outside = source.facts["frames outside labelled annotations, left out"]
    assert outside == source.facts["frames in the recording"] - len(source) > 30
    unlabelled = open_as_source(recorded(iq, annotations=[(0, half, "")]).path, label="roof")
    assert unlabelled.classes == ("roof",)
    assert unlabelled.facts["frames outside labelled annotations, left out"] == 0
    with pytest.raises(InputError, match="label is blank; it names the class"):
        open_as_source(recording.path, label=" ")


def test_a_recording_at_two_frequencies_is_conditioned_at_one_of_them(recorded):
    first = received("QPSK", symbols=3000, samples_per_symbol=8, carrier=0.01, snr_db=20) / 8
    second = received("QPSK", symbols=6000, samples_per_symbol=8, carrier=0.21, snr_db=20) / 8
    captures = [
        {"core:sample_start": 0, "core:frequency": 100.0e6},
        {"core:sample_start": len(first), "core:frequency": 99.8e6},
    ]
    spans = [(len(first) // 2, len(first), "QPSK"), (2 * len(first), len(first), "8PSK")]
    recording = recorded(np.concatenate([first, second]), captures=captures, annotations=spans)
    source = open_as_source(recording.path)
    assert source.facts["carrier, cycles/sample"] == pytest.approx(0.21, abs=0.01)
    assert source.facts["frames in gaps"] == 0
    assert "tuned to 2 centre frequencies" in source.facts["notes"]
    assert (source.snr_db >= 18).all()
    assert [source.classes[k] for k in source.modulation] == ["QPSK"] * 11 + ["8PSK"] * 22


def test_an_snr_that_cannot_be_seen_is_refused(recorded):
    recording = recorded(received("QPSK", symbols=9000, samples_per_symbol=1.6, snr_db=20) / 8)
    with pytest.raises(InputError, match=r"no noise beside its signal, at 1\.60 samples a"):
        open_as_source(recording.path)


MEASURE = """
import sys
from pathlib import Path
from modsnr.recordings.files import open_recording
from modsnr.recordings.conditioning import ResampledFrames, Tuning

def peak():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024

recording = open_recording(Path(sys.argv[1]))
imports = peak()
frames = ResampledFrames(recording, Tuning(0.0, 0.05))
for batch in frames.batches(0, frames.count): pass
print(frames.count, peak() - imports)
"""


@pytest.mark.long
def test_a_recording_four_times_as_long_takes_no_more_memory(tmp_path):
    path, peaks = tmp_path / "a.cu8", []
    for samples in (2**21, 2**23):
        with open(path, "wb") as file:
            file.truncate(2 * samples)  # sparse; the longer one takes 64 MB as complex64
        out = subprocess.run(
            [sys.executable, "-c", MEASURE, str(path)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        assert int(out[0]) == pytest.approx(samples * 0.4 / 1024, abs=1)
        peaks.append(int(out[1]))
    assert peaks[1] - peaks[0] < 24
    assert peaks[1] < 128  # beside what the imports take
