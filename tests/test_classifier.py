"""A recording in, an answer out: signals, bursts, what is known and what is not."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.testing import assert_allclose, assert_array_equal
from recording_files import write_sigmf
from scipy import signal

import modsnr
from modsnr import InputError, classifier, recordings, signals
from modsnr.classifier import kinds, limits, rehearsal, shipped
from modsnr.classifier.annotations import annotate
from modsnr.classifier.classify import runs_of, spread
from modsnr.classifier.stream import listen
from modsnr.cli import main
from modsnr.recordings.conditioning import tunings
from modsnr.recordings.in_memory import held

RATE = 48_000.0


def noise(count, rng, power=1.0):
    parts = rng.normal(size=(count, 2)) * (power / 2) ** 0.5
    return parts.astype(np.float32).view(np.complex64)[:, 0]


@pytest.fixture(scope="module")
def qpsk():
    return rehearsal.rehearse("QPSK", 20.0, seed=3, through="minor")


@pytest.fixture(scope="module")
def answer(qpsk):
    return modsnr.classify(qpsk.recording.values, sample_rate=RATE, frames=16)


def test_a_recording_is_named_and_its_snr_carrier_and_symbol_rate_are_found(qpsk, answer):
    assert answer.modulation == "QPSK"
    assert abs(answer.snr_db - 20) < 1
    row = answer.signals.iloc[0]
    assert row.known
    assert row.snr_low_db < 20 < row.snr_high_db
    assert row.symbol_rate == pytest.approx(qpsk.symbol_rate * RATE, rel=1e-3)
    assert abs(row.carrier - qpsk.carrier * RATE) < 0.02 * row.symbol_rate
    assert answer.confidence > 0.9
    text = str(answer)
    assert "QPSK" in text
    assert "known" in text
    assert "Hz" in text
    assert len(answer.frames) == 16
    assert json.loads(json.dumps(answer.as_dict(), default=float))["signals"][0]["known"]
    assert len(answer.plot().axes) == 3


def test_samples_are_taken_in_all_usual_shapes(qpsk):
    iq = qpsk.recording.values
    pairs = iq.view(np.float32).reshape(-1, 2)
    for given in (torch.from_numpy(iq), iq[None], pairs, pairs.T, (1000 * pairs).astype(np.int16)):
        taken = held(given)
        assert not taken.real
        scale = 1000 if given is not pairs and getattr(given, "dtype", None) == np.int16 else 1
        assert_allclose(taken.values / scale, iq, atol=2e-3)
    assert held(iq.real).real
    assert held(iq, 8.0).sample_rate == 8.0


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (np.zeros((4, 8, 2), np.float32), r"float32 of shape \(4, 8, 2\).*classify_frames"),
        (np.zeros((5, 7), np.complex64), r"complex64 of shape \(5, 7\)"),
        (np.zeros(9, np.uint8), r"signed integers; they are uint8 of shape \(9,\)"),
        (np.zeros(1, np.complex64), r"shape \(1,\) is no recording"),
        (np.array([1, np.nan, 1j], np.complex64), "1 samples that are NaN.*the first at index 1"),
        (np.ones(100, np.complex64), "There are 100 samples; an estimate needs at least 4096"),
    ],
)
def test_samples_that_cannot_be_used_are_refused(given, complaint):
    with pytest.raises(InputError, match=complaint):
        modsnr.classify(given)


def test_options_without_a_meaning_are_refused(qpsk):
    with pytest.raises(
        InputError, match="sample_rate must be positive and finite, in Hz; it is -1"
    ):
        modsnr.classify(qpsk.recording.values, sample_rate=-1)
    with pytest.raises(InputError, match="frames must be 1 or more; they are 0"):
        modsnr.classify(qpsk.recording.values, frames=0)


def test_noise_alone_is_no_signal():
    answer = modsnr.classify(noise(100_000, np.random.default_rng(0)))
    assert modsnr.classify(np.zeros(9000, np.complex64)).modulation == "no signal"
    assert answer.modulation == "no signal"
    assert np.isnan(answer.snr_db)
    assert "no signal" in str(answer)
    with pytest.raises(ValueError, match="no signal to draw"):
        answer.plot()


def test_bursts_have_their_own_times_and_carriers():
    rng, period = np.random.default_rng(1), 6.0
    parts, starts = [], []
    for number, offset in enumerate((0.05, 0.055)):
        one = rehearsal.rehearse("BPSK", 40.0, seed=50 + number, through="minor")
        iq = signal.resample(one.recording.values, round(rehearsal.FRAMES * 128 * period))
        shift = offset - one.carrier * one.symbol_rate**-1 / period
        moved = iq * np.exp(2j * np.pi * shift * np.arange(len(iq)))
        starts.append(sum(map(len, parts)) + 30_000)
        parts += [np.zeros(30_000), moved / np.abs(moved).std()]
    iq = np.concatenate([*parts, np.zeros(30_000)])
    iq = (iq / np.abs(iq[starts[0] : starts[0] + 9000]).std() + noise(len(iq), rng, 0.02)).astype(
        np.complex64
    )
    answer = modsnr.classify(iq, frames=32)
    assert len(answer.bursts) == 2
    assert_allclose(answer.bursts.start, starts, atol=2000)
    assert list(answer.bursts.modulation) == ["BPSK", "BPSK"]
    assert_allclose(np.diff(answer.bursts.carrier), 0.005, atol=5e-4)
    assert set(answer.frames.burst) == {0, 1}


def test_signals_apart_are_found_and_named_each(qpsk):
    rng, count = np.random.default_rng(2), 400_000
    iq = noise(count, rng, 0.01)
    for kind, centre, period, gain in (("QPSK", -0.2, 10.0, 1.0), ("BPSK", 0.25, 16.0, 0.5)):
        one = rehearsal.rehearse(kind, 120.0, seed=7, through="minor")
        level = one.recording.values * np.exp(
            -2j * np.pi * one.carrier * np.arange(one.recording.samples)
        )
        sent = signal.resample(level, round(rehearsal.FRAMES * 128 * period))
        sent = np.tile(sent / np.abs(sent).std(), -(-count // len(sent)))[:count]
        iq = iq + gain * sent * np.exp(2j * np.pi * centre * np.arange(count))
    found = tunings(held(iq))
    assert_allclose([each.carrier for each in found[:2]], [-0.2, 0.25], atol=0.01)
    assert all(each.clear < 0.5 for each in found[:2])
    answer = modsnr.classify(iq, frames=16)
    assert list(answer.signals.modulation[:2]) == ["QPSK", "BPSK"]
    assert_allclose(answer.signals.symbol_rate[:2], [1 / 10, 1 / 16], rtol=1e-3)


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        *(("2FSK", "FSK-like"), ("GMSK", "FSK-like"), ("FM voice", "FM-like")),
        *(("chirps", "FM-like"), ("carrier", "carrier"), ("OOK", "OOK-like")),
        *(("OFDM", ""), ("noise", "")),
    ],
)
def test_a_plain_feature_names_the_kind_of_a_signal(kind, named):
    generator = torch.Generator().manual_seed(1)
    frames = signals.unknown(kind, torch.full((16,), 12.0), generator=generator)
    assert kinds.kind(frames.numpy()) == named


@pytest.mark.parametrize("name", signals.STUDY_CLASSES)
def test_no_linear_modulation_is_one_of_these_kinds(name):
    labels = torch.zeros(16, dtype=torch.int64), torch.full((16,), 20.0)
    generator = torch.Generator().manual_seed(1)
    frames = signals.simulate(*labels, generator=generator, classes=(name,))
    assert kinds.kind(frames.numpy()) == ""


@pytest.mark.parametrize("kind", ["2FSK", "OOK", "GMSK", "FM voice", "chirps"])
def test_unknown_signals_are_called_unknown_with_a_reason(kind):
    one = rehearsal.rehearse(kind, 20.0, seed=11)
    answer = modsnr.classify(one.recording.values, frames=16)
    assert answer.modulation == "unknown"
    assert answer.signals.why.iloc[0]


def test_frames_of_eight_samples_a_symbol_go_without_a_search():
    from modsnr.signals import simulate

    labels = torch.tensor([0, 1]), torch.tensor([20.0, 20.0])
    generator = torch.Generator().manual_seed(0)
    iq = simulate(*labels, generator=generator, classes=("QPSK", "16QAM"))
    found = modsnr.classify_frames(iq)
    assert list(found.modulation) == ["QPSK", "16QAM"]
    assert_allclose(found.snr_db, 20, atol=1)
    assert len(modsnr.classify_frames(iq[0].numpy())) == 1
    with pytest.raises(InputError, match=r"complex \[frame, sample\].*float32 of shape \(2, 8\)"):
        modsnr.classify_frames(np.zeros((2, 8), np.float32))
    with pytest.raises(InputError, match="256 samples or more, a multiple of 8; these have 100"):
        modsnr.classify_frames(iq[:, :100])


def test_runs_are_joined_over_a_single_frame_and_all_of_them_are_judged():
    heard = np.array([0, 1, 1, 0, 1, 0, 0, 1], bool)
    assert runs_of(heard) == [(1, 5), (7, 8)]
    assert_array_equal(spread([(1, 5), (7, 8)], 100), [1, 2, 3, 4, 7])
    assert len(spread([(0, 1000), (2000, 2010)], 64)) <= 64 + 4
    assert len(spread([(10 * k, 10 * k + 5) for k in range(100)], 32)) == 32


def test_limits_are_of_their_number_of_frames_and_snr():
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(len(limits.SIZES), 400, len(limits.COLUMNS)))
    snr_db = np.tile(np.repeat([0.0, 10.0], 200), (len(limits.SIZES), 1))
    found = limits.learn(columns, snr_db, np.array([0.0, 10.0]), 0.01)
    usual = np.zeros(len(limits.COLUMNS))
    usual[-1] = 0.5  # the confidence
    assert found.reasons(usual, 4.0, 3) == []
    for (name, side), (tolerance, reason) in limits.REASONS.items():
        odd = usual.copy()
        odd[limits.COLUMNS.index(name)] = (5 + tolerance) * (1 if side == "high" else -1)
        assert found.reasons(odd, 4.0, 40) == [reason]
    with pytest.raises(InputError, match=r"0 recordings near 30 dB set no limit: 100 must"):
        limits.learn(columns, snr_db, np.array([0.0, 30.0]), 0.01)


# The command


@pytest.fixture
def sigmf(qpsk, tmp_path):
    return str(write_sigmf(tmp_path / "a", qpsk.recording.values, sample_rate=RATE))


def test_the_command_answers_one_file_by_a_table_and_several_by_a_line_each(sigmf, tmp_path):
    one = CliRunner().invoke(main, ["classify", sigmf, "--frames", "8"])
    assert one.exit_code == 0, one.output
    assert "QPSK" in one.output
    bad = tmp_path / "b.cf32"
    bad.write_bytes(b"nothing")
    several = CliRunner().invoke(main, ["classify", sigmf, str(bad), "--frames", "8"])
    assert several.exit_code == 2
    assert several.stdout.startswith("a.sigmf-meta")
    assert "b.cf32" in several.stderr
    table = CliRunner().invoke(main, ["classify", sigmf, "--csv", "--frames", "8"])
    assert table.stdout.splitlines()[0].startswith("start,end,modulation")
    as_json = json.loads(CliRunner().invoke(main, ["classify", sigmf, "--json"]).stdout)
    assert as_json["signals"][0]["modulation"] == "QPSK"
    both = CliRunner().invoke(main, ["classify", sigmf, "--json", "--csv"])
    assert both.exit_code == 2
    assert "exclude each other" in both.stderr


def test_bursts_are_written_into_sigmf_metadata_beside_other_annotations(sigmf, qpsk):
    path = Path(sigmf)
    whole = json.loads(path.read_text())
    whole["annotations"] = [{"core:sample_start": 5, "core:label": "mine"}]
    path.write_text(json.dumps(whole))
    for _ in range(2):
        done = CliRunner().invoke(main, ["classify", sigmf, "--export", "--frames", "8"])
        assert done.exit_code == 0, done.output
    mine, found = recordings.open_recording(path).annotations
    assert mine[2] == "mine"
    assert found[2] == "QPSK"
    assert found[1] > 0.8 * qpsk.recording.samples
    unplaced = modsnr.classify(qpsk.recording.values[:4500], sample_rate=RATE, frames=1)
    bare = unplaced.bursts.assign(carrier=np.nan, modulation="unknown")
    assert annotate(path, replace(unplaced, bursts=bare)) == 0
    refused = CliRunner().invoke(main, ["classify", str(path.with_suffix(".wav")), "--export"])
    assert refused.exit_code == 2


@pytest.mark.long
def test_a_stream_is_answered_whenever_something_changes(qpsk):
    iq = qpsk.recording.values / np.abs(qpsk.recording.values).max()
    rng = np.random.default_rng(0)
    silence = noise(len(iq), rng, 1e-4)
    whole = np.concatenate([silence, iq, iq])
    raw = np.clip(np.round(whole.view(np.float32) * 127 + 127.5), 0, 255).astype(np.uint8)
    rate = str(float(len(iq)))
    given = [sys.executable, "-m", "modsnr", "classify", "-", "--format", "cu8", "--rate", rate]
    found = subprocess.run(given, input=raw.tobytes(), capture_output=True, check=True)
    lines = found.stdout.decode().splitlines()
    assert len(lines) == 2, lines
    assert lines[1].split()[:3] == ["1.0", "s", "QPSK,"]
    empty = subprocess.run(given, input=b"", capture_output=True, check=False)
    assert empty.returncode == 2
    assert b"ended before its first sample" in empty.stderr


def test_a_stream_needs_a_format_and_a_rate():
    for format_, rate, complaint in (
        ("cu8", 0.0, "sample rate in Hz"),
        ("", 1e6, "iq_format must"),
    ):
        with pytest.raises(InputError, match=complaint):
            next(listen(sys.stdin.buffer, format_, rate))


def test_a_run_is_shipped_by_its_weights_and_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "weights")
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    shipped.ship(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "weights" / "receiver.safetensors").read_bytes() == b"a"
    assert (tmp_path / "weights" / "limits.safetensors").read_bytes() == b"b"


def test_importing_the_package_brings_nothing_heavy():
    code = "import modsnr, sys; print({'torch', 'numpy', 'pandas'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
    with pytest.raises(AttributeError, match="no attribute 'clasify'"):
        modsnr.clasify  # noqa: B018


def test_the_packages_weights_are_small_and_its_limits_are_measured():
    folder = Path(modsnr.__file__).parent / "weights"
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) <= 3_000_000
    measured = classifier.measured()
    for shares in measured.values():
        assert sum(shares.values()) == pytest.approx(1, abs=1e-6)
