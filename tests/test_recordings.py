"""Recordings on disk give the samples that were written, or say what is wrong with the file."""

import gzip
import json
import os
import pickle
import struct

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from recording_files import SIGMF_DATATYPES, encoded, write_archive, write_sigmf, write_wav
from scipy.io import wavfile

from modsnr import InputError
from modsnr.recordings.files import RAW_EXTENSIONS, WAV_WIDTHS, open_recording

# Half a step of the coarsest type, 8 bits; then 16 bits, then single precision.
TOLERANCE = {"8": 1 / 250, "16": 1 / 65_000, "24": 1e-6, "32": 1e-7, "64": 1e-7}


@pytest.fixture
def iq(rng):
    """300 samples within -1..1."""
    return rng.uniform(-0.99, 0.99, 300) + 1j * rng.uniform(-0.99, 0.99, 300)


@pytest.fixture
def real(iq):
    return iq.real.copy()


def tolerance(datatype):
    return 1.5 * TOLERANCE[datatype[2:].split("_")[0]]


# SigMF


@pytest.mark.parametrize("datatype", SIGMF_DATATYPES)
def test_every_sigmf_datatype_gives_back_what_was_written(datatype, iq, real, tmp_path):
    values = iq if datatype[0] == "c" else real
    recording = open_recording(write_sigmf(tmp_path / "a", values, datatype, sample_rate=1e6))
    read = recording.read(0, 300)
    assert recording.samples == 300
    assert recording.real == (datatype[0] == "r")
    assert recording.sample_rate == 1e6
    assert read.dtype == (np.float32 if recording.real else np.complex64)
    assert_allclose(read.real, values.real, rtol=0, atol=tolerance(datatype))
    if not recording.real:
        assert_allclose(read.imag, values.imag, rtol=0, atol=tolerance(datatype))


def test_a_recording_has_four_names(iq, tmp_path):
    stem = tmp_path / "at 433.92 MHz"  # the dot belongs to the stem
    meta = write_sigmf(stem, iq)
    archive = write_archive(tmp_path / "packed.sigmf", stem)
    names = [meta, stem, stem.with_name(stem.name + ".sigmf-data"), archive]
    for name in names:
        assert_allclose(open_recording(name).read(0, 300), iq, rtol=0, atol=1e-6)
    assert open_recording(archive).facts == open_recording(meta).facts


def test_annotations_captures_and_facts_are_read(iq, tmp_path):
    captures = [{"core:sample_start": 1000, "core:frequency": 433e6}, {"core:sample_start": 1200}]
    spans = [(1010, 20, "QPSK"), (1100, None, "8PSK"), (1200, None, "BPSK"), (1250, 50, None)]
    meta = write_sigmf(
        tmp_path / "a", iq, annotations=spans, captures=captures, offset=1000, hw="a dongle"
    )
    recording = open_recording(meta)
    # Indices count from core:offset; without a count an annotation reaches to its capture's end.
    counted = (10, 20, "QPSK"), (100, 100, "8PSK"), (200, 100, "BPSK"), (250, 50, None)
    assert recording.annotations == counted
    assert recording.facts["centre frequency, Hz"] == 433e6
    assert recording.facts["hardware"] == "a dongle"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda m: m["global"].update({"core:sha512": "0" * 128}), "hash does not match"),
        (lambda m: m["global"].update({"core:num_channels": 2}), "holds 2 interleaved channels"),
        (lambda m: m["global"].update({"core:datatype": "cf16_le"}), "is no SigMF recording"),
        (lambda m: m["global"].update({"core:datatype": "cf32"}), "'cf32' is no SigMF datatype"),
        (lambda m: m["global"].pop("core:datatype"), "is no SigMF recording"),
        (lambda m: m["global"].update({"core:sample_rate": -1}), "core:sample_rate.* -1 is less"),
        (lambda m: m["global"].update({"core:sample_rate": np.nan}), "positive and finite"),
        (lambda m: m["global"].update({"core:trailing_bytes": 4}), "non-conforming"),
        (lambda m: m["global"].update({"core:dataset": "b.bin"}), "non-conforming"),
        (lambda m: m["captures"][0].update({"core:header_bytes": 4}), "non-conforming"),
        (lambda m: m["captures"][0].update({"core:sample_start": 300}), "its captures and"),
        (
            lambda m: m["annotations"].append({"core:sample_start": 299, "core:sample_count": 2}),
            "300 samples from 0 on, but its captures and annotations describe others",
        ),
        (lambda m: m["annotations"].append({}), "is no SigMF recording"),
        (lambda m: m.pop("captures"), "'captures' is a required property"),
    ],
)
def test_metadata_that_contradict_the_samples_are_refused(change, complaint, iq, tmp_path):
    meta = write_sigmf(tmp_path / "a", iq)
    metadata = json.loads(meta.read_text())
    change(metadata)
    meta.write_text(json.dumps(metadata))
    with pytest.raises(InputError, match=complaint):
        open_recording(meta)


@pytest.mark.parametrize(
    "text", [b"{", b"\xff\xfe", b"[" * 100_000, b"3", b'{"global": ' + b"9" * 5000 + b"}"]
)
def test_metadata_that_are_none_are_refused(text, iq, tmp_path):
    meta = write_sigmf(tmp_path / "a", iq)
    meta.write_bytes(text)
    with pytest.raises(InputError, match="is no SigMF recording, or a damaged one: "):
        open_recording(meta)


def test_a_sigmf_recording_without_its_other_half_is_refused(iq, tmp_path):
    meta = write_sigmf(tmp_path / "a", iq)
    data = tmp_path / "a.sigmf-data"
    data.unlink()
    with pytest.raises(InputError, match=r"No such file .*a\.sigmf-data"):
        open_recording(meta)
    data.write_bytes(b"12345678")
    meta.unlink()
    with pytest.raises(InputError, match=r"No such file .*a\.sigmf-meta"):
        open_recording(data)


def test_a_part_of_a_sample_is_refused_with_the_count(iq, tmp_path):
    meta = write_sigmf(tmp_path / "a", iq, sha512=None)
    os.truncate(tmp_path / "a.sigmf-data", 2399)
    with pytest.raises(InputError, match="2399 bytes of samples, which is not a multiple of 8"):
        open_recording(meta)


@pytest.mark.parametrize("damage", ["other", "cut", "packed", "empty"])
def test_archives_that_are_none_are_refused(damage, iq, tmp_path):
    write_sigmf(tmp_path / "a", iq)
    packed = write_archive(tmp_path / "a.sigmf", tmp_path / "a")
    whole = packed.read_bytes()
    if damage == "empty":
        (tmp_path / "b.sigmf-meta").write_text("{}")
        (tmp_path / "b.sigmf-data").write_bytes(b"")
        whole = write_archive(tmp_path / "b.sigmf", tmp_path / "b").read_bytes()
    broken = {"other": b"hello", "cut": whole[:3000], "packed": gzip.compress(whole)}
    packed.write_bytes(broken.get(damage, whole))
    with pytest.raises(InputError, match="is no SigMF recording, or a damaged one"):
        open_recording(packed)


# Raw IQ


@pytest.mark.parametrize("extension", RAW_EXTENSIONS)
def test_the_extension_tells_the_raw_format(extension, iq, tmp_path):
    name = RAW_EXTENSIONS[extension]
    datatype = {"cf32": "cf32_le", "cf64": "cf64_le", "cs16": "ci16_le", "cs8": "ci8", "cu8": "cu8"}
    path = tmp_path / f"a{extension}"
    path.write_bytes(encoded(iq, datatype[name]))
    recording = open_recording(path, sample_rate=2.4e6)
    assert recording.sample_rate == 2.4e6
    assert_allclose(recording.read(0, 300), iq, rtol=0, atol=2 * tolerance(datatype[name]))
    read = recording.read(0, 300)
    other = path.rename(tmp_path / "a.iq")
    assert_array_equal(open_recording(other, iq_format=name).read(0, 300), read)


def test_offset_binary_has_its_zero_at_128(tmp_path):
    (tmp_path / "a.cu8").write_bytes(bytes([128, 128, 0, 192]))
    assert_array_equal(open_recording(tmp_path / "a.cu8").read(0, 2), [0, -1 + 0.5j])


def test_a_format_that_nobody_named_is_asked_for(tmp_path):
    path = tmp_path / "a.iq"
    path.write_bytes(bytes(80))
    with pytest.raises(InputError, match=r"'\.iq'.*\.cu8; .* iq_format: cf32, cf64"):
        open_recording(path)
    with pytest.raises(InputError, match=r"iq_format must be one of cf32, .*; it is 'float'"):
        open_recording(path, iq_format="float")
    with pytest.raises(InputError, match="There is no file"):
        open_recording(tmp_path / "b.iq")
    with pytest.raises(InputError, match="There is no file"):
        open_recording(tmp_path, iq_format="cf32")


@pytest.mark.parametrize(
    ("size", "complaint"),
    [(0, "0 samples: that is no rec"), (8, "1 samples: that is"), (83, "83 bytes .* of 8, the")],
)
def test_raw_files_of_no_samples_or_parts_of_one_are_refused(size, complaint, tmp_path):
    (tmp_path / "a.cf32").write_bytes(bytes(size))
    with pytest.raises(InputError, match=complaint):
        open_recording(tmp_path / "a.cf32")


# WAV


@pytest.mark.filterwarnings("ignore:Chunk")  # SciPy does not know that of libsndfile's floats
@pytest.mark.parametrize("kind", WAV_WIDTHS)
@pytest.mark.parametrize("form", ["iq", "real"])
def test_a_wav_gives_what_was_written_and_what_scipy_reads(kind, form, iq, real, tmp_path):
    values = iq if form == "iq" else real
    path = write_wav(tmp_path / "a.wav", values, kind)
    recording = open_recording(path)
    assert recording.sample_rate == 48_000
    assert recording.real == (form == "real")
    read = recording.read(0, 300)
    assert_allclose(read, values, rtol=0, atol=2 * TOLERANCE[str(8 * WAV_WIDTHS[kind])])
    _, theirs = wavfile.read(path)  # 24 bits stand in the upper three bytes of 32
    scale = 2.0 ** (8 * theirs.itemsize - 1) if kind.startswith("PCM") else 1
    theirs = (theirs - (128.0 if kind == "PCM_U8" else 0.0)) / scale
    assert_allclose(read, theirs if form == "real" else theirs @ [1, 1j], rtol=0, atol=1e-7)


@pytest.mark.parametrize("form", ["other chunks and an extensible header", "RF64"])
def test_wav_files_of_other_forms_are_read(form, iq, tmp_path):
    path, changed = write_wav(tmp_path / "a.wav", iq), tmp_path / "b.wav"
    plain = path.read_bytes()
    if form == "RF64":
        sizes = b"ds64" + struct.pack("<IQQQI", 28, len(plain), 1200, 300, 0)
        samples = b"data" + struct.pack("<I", 0xFFFFFFFF) + plain[44:]
        changed.write_bytes(b"RF64\xff\xff\xff\xffWAVE" + sizes + plain[12:36] + samples)
    else:
        guid = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
        fields = struct.pack("<H", 0xFFFE) + plain[22:36] + struct.pack("<HHI", 22, 16, 3) + guid
        extra = b"auxi" + struct.pack("<I", 3) + b"abc\0" + b"fmt " + struct.pack("<I", 40)
        changed.write_bytes(plain[:12] + extra + fields + plain[36:])
    assert_array_equal(open_recording(changed).read(0, 300), open_recording(path).read(0, 300))


def patched(place, form, value):
    return lambda whole: (
        whole[:place] + struct.pack(form, value) + whole[place + struct.calcsize(form) :]
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda _: b"", "no WAV file, or a damaged one: .* not recognised"),
        (lambda whole: whole[:40], "no WAV file, or a damaged one: .*data"),
        (lambda whole: whole[:-4], "1196 bytes of samples are there, 4 each, which is not"),
        (patched(40, "<I", 0xFFFFFFF0), "1200 bytes of samples are there, 4 each, which is not"),
        (patched(40, "<I", 1198), "1196 bytes of samples are there, 4 each, which is not"),
        (patched(40, "<I", 0), "0 samples: that is no recording"),
        (patched(20, "<H", 7), "is a WAV of ULAW; WAV of PCM_U8"),
        (patched(22, "<H", 3), "has 3 channels; two"),
        (patched(32, "<H", 8), "4 each, which is not what it declares"),
        (patched(24, "<I", 0), "no WAV file, or a damaged one"),
        (patched(12, "<4s", b"data"), "no WAV file, or a damaged one"),
        (lambda whole: whole[:12] + bytes(100_000), "no WAV file, or a damaged one"),
    ],
)
def test_wav_files_that_cannot_be_used_are_refused(change, complaint, iq, tmp_path):
    path = write_wav(tmp_path / "a.wav", iq)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=complaint):
        open_recording(path)


def test_two_sample_rates_are_one_too_many(iq, tmp_path):
    path = write_wav(tmp_path / "a.wav", iq)
    assert open_recording(path, sample_rate=48_000).sample_rate == 48_000
    with pytest.raises(InputError, match="sample rate 48000 Hz, but sample_rate is 44100"):
        open_recording(path, sample_rate=44_100)


# Reading


@pytest.mark.parametrize("name", ["a.cf32", "a.wav"])
def test_pieces_are_those_of_the_whole_also_in_another_process(name, iq, tmp_path):
    path = tmp_path / name
    if name.endswith("wav"):
        write_wav(path, iq, "PCM_24")
    else:
        path.write_bytes(encoded(iq, "cf32_le"))
    recording = pickle.loads(pickle.dumps(open_recording(path)))  # noqa: S301
    whole = recording.read(0, 300)
    for start, count in [(0, 0), (0, 1), (17, 100), (299, 1), (300, 0)]:
        assert_array_equal(recording.read(start, count), whole[start : start + count])


@pytest.mark.parametrize("wrong", [np.nan, complex(0, np.inf), 1e300])
def test_samples_that_are_no_numbers_are_refused_by_index(wrong, iq, tmp_path):
    iq[123] = wrong
    (tmp_path / "a.cf64").write_bytes(encoded(iq, "cf64_le"))
    recording = open_recording(tmp_path / "a.cf64")
    assert_allclose(recording.read(124, 100), iq[124:224], rtol=1e-6)
    with pytest.raises(InputError, match=r"samples that are NaN, .*the first at index 123"):
        recording.read(100, 100)


def test_a_file_that_goes_while_it_is_read_is_reported(iq, tmp_path):
    path = tmp_path / "a.cf32"
    path.write_bytes(encoded(iq, "cf32_le"))
    recording = open_recording(path)
    os.truncate(path, 1000)
    assert len(recording.read(0, 125)) == 125
    with pytest.raises(
        InputError, match=r"was cut short while it was read: 300 samples .*, 125 are there"
    ):
        recording.read(0, 300)
    path.unlink()
    with pytest.raises(InputError, match=r"can no longer be read: .*No such file"):
        recording.read(0, 1)
