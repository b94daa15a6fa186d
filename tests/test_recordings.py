"""Recordings on disk give the samples that were written, or say what is wrong with the file."""

import errno
import gzip
import json
import os
import pickle
import re
import shutil
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.testing import assert_allclose, assert_array_equal
from recording_files import SIGMF_DATATYPES, encoded, write_archive, write_sigmf, write_wav
from scipy.io import wavfile

from modsnr import InputError
from modsnr.recordings.files import RAW_EXTENSIONS, RAW_FORMATS, open_recording
from modsnr.recordings.sample_formats import likelier

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
        (lambda m: m["global"].update({"core:metadata_only": True}), "metadata only .*no samples"),
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


@pytest.mark.parametrize(
    ("field", "complaint"),
    [({"dataset": "b.bin"}, "non-conforming SigMF"), ({"metadata_only": True}, "metadata only")],
)
def test_samples_that_were_never_meant_to_be_there_are_not_missed(field, complaint, iq, tmp_path):
    meta = write_sigmf(tmp_path / "a", iq, sha512=None, **field)
    (tmp_path / "a.sigmf-data").unlink()
    with pytest.raises(InputError, match=complaint):
        open_recording(meta)
    assert open_recording(write_sigmf(tmp_path / "b", iq, metadata_only=False)).samples == 300


def test_metadata_may_begin_with_a_byte_order_mark(iq, tmp_path):
    meta = write_sigmf(tmp_path / "a", iq)
    meta.write_bytes(b"\xef\xbb\xbf" + meta.read_bytes())
    assert_allclose(open_recording(meta).read(0, 300), iq, rtol=0, atol=1e-6)
    archive = write_archive(tmp_path / "a.sigmf", tmp_path / "a")
    assert_allclose(open_recording(archive).read(0, 300), iq, rtol=0, atol=1e-6)


def test_of_captures_at_several_frequencies_the_longest_stretch_is_read(iq, tmp_path):
    tuned = [(1000, 100e6), (1050, 99.8e6), (1100, None), (1180, 99.8e6), (1250, 100e6)]
    captures = [
        {"core:sample_start": start, "core:datetime": f"2026-01-0{day}T00:00:00Z"}
        | ({} if frequency is None else {"core:frequency": frequency})
        for day, (start, frequency) in enumerate(tuned, 1)
    ]
    spans = [(1000, 50, "off"), (1040, 20, "across"), (1100, None, "in"), (1240, 60, "out of")]
    form = {"annotations": spans, "captures": captures, "offset": 1000}
    archive = tmp_path / "a.sigmf"
    meta = write_sigmf(tmp_path / "a", iq, "ci16_be", **form)
    for path in (meta, write_archive(archive, tmp_path / "a")):
        recording = open_recording(path)
        assert recording.samples == 200
        assert_allclose(recording.read(0, 200), iq[50:250], rtol=0, atol=1e-4)
        assert recording.facts["centre frequency, Hz"] == 99.8e6
        assert recording.facts["recorded at"] == "2026-01-02T00:00:00Z"
        assert recording.annotations == ((0, 10, "across"), (50, 80, "in"), (190, 10, "out of"))
        note = "3 centre frequencies in turn. Only .* samples 50 to 250 of 300, at 99,800,000.0 Hz"
        assert re.search(note, recording.facts["notes"])


def test_samples_lost_between_captures_at_one_frequency_are_noted(iq, tmp_path):
    numbers = [(0, 0), (100, 100), (150, 170), (200, 220), (250, 300)]
    captures = [
        {"core:sample_start": start, "core:global_index": index, "core:frequency": 1e8}
        for start, index in numbers
    ]
    recording = open_recording(write_sigmf(tmp_path / "a", iq, captures=captures))
    assert recording.samples == 300
    assert "Samples were lost 2 times" in recording.facts["notes"]
    whole = open_recording(write_sigmf(tmp_path / "b", iq, captures=captures[:2]))
    assert "notes" not in whole.facts


def test_a_blank_label_is_none_and_blanks_around_one_are_not_its_own(iq, tmp_path):
    labels = ["", "  ", "\0", None, " QPSK\n", "QPSK", "16  QAM"]
    spans = [(10 * k, 10, label) for k, label in enumerate(labels)]
    recording = open_recording(write_sigmf(tmp_path / "a", iq, annotations=spans))
    found = [label for _, _, label in recording.annotations]
    assert found == [None] * 4 + ["QPSK", "QPSK", "16 QAM"]


def test_a_part_of_a_sample_at_the_end_is_left_out_and_noted(iq, tmp_path):
    meta = write_sigmf(tmp_path / "a", iq, sha512=None)
    os.truncate(tmp_path / "a.sigmf-data", 2399)
    shutil.copy(tmp_path / "a.sigmf-data", tmp_path / "b.cf32")
    for path in (meta, tmp_path / "b.cf32"):
        recording = open_recording(path)
        assert recording.notes[0].startswith("The last 7 bytes are no whole sample of cf32_le")
        assert_array_equal(recording.read(0, recording.samples), iq[:299].astype(np.complex64))


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


@pytest.mark.parametrize(
    ("iq_format", "datatype"),
    [
        *RAW_FORMATS.items(),
        *((name, name) for name in ("ri16_be", "cu16_le", "rf32_be", "ci32_le")),
    ],
)
def test_every_raw_format_gives_back_what_was_written(iq_format, datatype, iq, real, tmp_path):
    values = iq if datatype[0] == "c" else real
    path = tmp_path / "a.bin"
    path.write_bytes(encoded(values, datatype))
    recording = open_recording(path, iq_format=iq_format)
    assert recording.real == (datatype[0] == "r")
    assert_allclose(recording.read(0, 300), values, rtol=0, atol=2 * tolerance(datatype))


def as_bytes(kind, rng):
    """Return bytes of a rotating carrier in noise, a tenth of the range: i8, u8, i16_le or _be."""
    noise = rng.normal(size=20_000).view(complex)
    wave = 0.07 * (noise + np.exp(0.3j * np.arange(len(noise))))
    return encoded(wave, f"c{kind}")


@pytest.mark.parametrize("written", ["i8", "u8", "i16_le", "i16_be"])
@pytest.mark.parametrize("read", ["i8", "u8", "i16_le", "i16_be"])
def test_samples_of_another_format_are_doubted_and_that_format_is_named(
    written, read, rng, tmp_path
):
    path = tmp_path / "a.bin"
    path.write_bytes(as_bytes(written, rng))
    notes = open_recording(path, iq_format=f"c{read}").notes
    if written == read:
        assert notes == ()
    else:
        assert f"read as c{read}, but look like c{written}. If that is right" in notes[0]
        assert "pass it as iq_format" in notes[0]
    if (written, read) == ("i8", "u8"):
        meta = write_sigmf(tmp_path / "b", np.zeros(2), "cu8", sha512=None)
        meta.with_suffix(".sigmf-data").write_bytes(path.read_bytes())
        assert open_recording(meta).notes == notes


@pytest.mark.parametrize("steps", [4, 30, 150])
def test_weak_samples_of_16_bits_are_known_by_upper_bytes_that_are_signs(steps, rng):
    content = np.rint(rng.normal(size=20_000) * steps).astype("<i2").view(np.uint8)
    assert likelier(content, "i8") == likelier(content, "u8") == "i16_le"
    assert likelier(content, "i16_le") == ""
    assert likelier(content, "i16_be") == "i16_le"


@pytest.mark.parametrize("gain", [0.01, 0.5, 1, 3, 30])
@pytest.mark.parametrize("number", ["i8", "u8", "i16_le"])
def test_samples_read_rightly_are_never_doubted_however_strong_or_clipped(gain, number, rng):
    noise = rng.normal(size=20_000).view(complex)
    tone = np.exp(2j * np.pi * 0.123 * np.arange(10_000))
    slow = np.exp(2j * np.pi * 0.001 * np.arange(10_000)) + 0.01 * noise
    silence = np.where(np.arange(10_000) < 9_000, 0, noise)
    for values in (noise, tone, slow, silence, noise.real, tone + 0.5 + 0.5j):
        content = encoded(gain * values, ("c" if np.iscomplexobj(values) else "r") + number)
        assert likelier(np.frombuffer(content, np.uint8), number) == ""


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
    [(0, "0 samples: that is no rec"), (8, "1 samples: that is"), (7, "0 samples: that is no rec")],
)
def test_raw_files_of_less_than_two_samples_are_refused(size, complaint, tmp_path):
    (tmp_path / "a.cf32").write_bytes(bytes(size))
    with pytest.raises(InputError, match=complaint):
        open_recording(tmp_path / "a.cf32")


# Audio files


@pytest.mark.filterwarnings("ignore:Chunk")  # SciPy does not know that of libsndfile's floats
@pytest.mark.parametrize("kind", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("form", ["iq", "real"])
def test_a_wav_gives_what_was_written_and_what_scipy_reads(kind, form, iq, real, tmp_path):
    values = iq if form == "iq" else real
    path = write_wav(tmp_path / "a.wav", values, kind)
    recording = open_recording(path)
    assert recording.sample_rate == 48_000
    assert recording.real == (form == "real")
    read = recording.read(0, 300)
    assert_allclose(read, values, rtol=0, atol=2 * tolerance(recording.datatype))
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


AUDIO = [
    *((f"a.{name}", {"format": name, "kind": kind}) for name in ("W64", "RF64", "AU")
      for kind in ("PCM_16", "PCM_24", "FLOAT")),
    ("a.wav", {"format": "WAV", "endian": "BIG"}),
    ("a.au", {"format": "AU", "endian": "LITTLE"}),
    ("a.aiff", {"format": "AIFF", "kind": "PCM_S8"}),
    ("a.aifc", {"format": "AIFF", "kind": "DOUBLE"}),
    ("a.aif", {"format": "AIFF", "endian": "LITTLE"}),
    ("a.flac", {"format": "FLAC", "kind": "PCM_24"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "form"), AUDIO)
def test_audio_files_of_every_container_give_what_was_written(name, form, iq, real, tmp_path):
    for values in (iq, real):
        path = write_wav(tmp_path / name, values, **form)
        recording = open_recording(path)
        coarsest = 1 / 100 if form.get("kind") == "PCM_S8" else 1 / 30_000
        assert_allclose(recording.read(0, 300), values, rtol=0, atol=coarsest)
        assert recording.sample_rate == 48_000
        assert recording.notes == ()


@pytest.mark.parametrize("kind", ["VORBIS", "OPUS"])
def test_samples_of_lossy_files_are_those_that_libsndfile_reads_and_are_doubted(
    kind, rng, tmp_path
):
    path = write_wav(tmp_path / "a.ogg", rng.normal(size=20_000) / 8, kind, format="OGG")
    recording = open_recording(path)
    whole = soundfile.read(path, dtype="float32")[0]
    assert_array_equal(recording.read(0, recording.samples), whole)
    assert_array_equal(recording.read(12_345, 678), whole[12_345 : 12_345 + 678])
    assert "compressed for human ears" in recording.facts["notes"]


def patched(place, form, value):
    return lambda whole: (
        whole[:place] + struct.pack(form, value) + whole[place + struct.calcsize(form) :]
    )


def without_ds64(whole):
    """RF64 whose lengths were to be written at the end."""
    return b"RF64\xff\xff\xff\xff" + patched(40, "<I", 0xFFFFFFFF)(whole)[8:]


@pytest.mark.parametrize(
    ("change", "samples", "declared"),
    [
        (patched(40, "<I", 300), 300, 300),  # wrapped, or never mended
        (patched(40, "<I", 0), 300, 0),
        (patched(40, "<I", 0xFFFFFFFF), 300, 0xFFFFFFFF),
        (patched(40, "<I", 0x7FFFF000), 300, 0x7FFFF000),
        (patched(40, "<I", 1198), 299, 1198),
        (without_ds64, 300, 0xFFFFFFFF),
        (lambda whole: b"BW64" + without_ds64(whole)[4:], 300, 0xFFFFFFFF),
        (lambda whole: whole[:-1], 299, 1200),
        (lambda whole: whole[:-401], 199, 1200),
        (lambda whole: patched(40, "<I", 0)(whole) + b"\1\2\3", 300, 0),
        (lambda whole: whole + bytes(range(80, 88)), 302, 1200),  # these are no chunk
    ],
)
def test_all_whole_samples_of_a_wav_are_read_whatever_it_declares(
    change, samples, declared, iq, tmp_path
):
    path = write_wav(tmp_path / "a.wav", iq)
    plain = open_recording(path).read(0, 300)
    path.write_bytes(change(path.read_bytes()))
    recording = open_recording(path)
    assert recording.samples == samples
    assert_array_equal(recording.read(0, min(samples, 300)), plain[:samples])
    note = f"declares {declared:,} bytes of samples, .* all {samples} whole samples are read"
    assert re.search(note, recording.facts["notes"])


@pytest.mark.parametrize(
    "more", [b"", b"\0\0\0", b"LIST\4\0\0\0INFO", b"id3 \1\0\0\0x\0auxi\2\0\0\0ab"]
)
def test_what_follows_the_samples_of_a_wav_is_none_of_them(more, iq, tmp_path):
    path = write_wav(tmp_path / "a.wav", iq)
    path.write_bytes(path.read_bytes() + more)
    recording = open_recording(path)
    assert recording.samples == 300
    assert recording.notes == ()


@pytest.mark.parametrize("more", [b"", b"LIST\4\0\0\0INFO"])
def test_a_wav_above_4_gib_is_read_to_its_last_sample(more, iq, tmp_path):
    path, size = write_wav(tmp_path / "a.wav", iq), 2**32 + 1200
    with path.open("r+b") as file:  # sparse; the length that 32 bits hold is right, 1,200
        file.truncate(44 + size - 400)
        file.seek(0, 2)
        file.write(encoded(iq[:100], "ci16_le") + more)
    recording = open_recording(path)
    assert recording.samples == size // 4
    assert_allclose(recording.read(size // 4 - 100, 100), iq[:100], rtol=0, atol=1e-4)
    assert "declares 1,200 bytes of samples, but 4,294,968,496 are there" in recording.notes[0]


@pytest.mark.parametrize(("name", "place"), [("AU", 8), ("AIFF", 42), ("W64", 96)])
def test_a_wrong_length_of_other_containers_is_mended_too(name, place, iq, tmp_path):
    path = write_wav(tmp_path / f"a.{name}", iq, format=name)
    whole = path.read_bytes()
    form = ">I" if name != "W64" else "<Q"
    for length in (400, 2**31):
        path.write_bytes(patched(place, form, length)(whole))
        recording = open_recording(path)
        assert recording.samples == 300
        assert "all 300 whole samples are read" in recording.notes[0]
    path.write_bytes(whole[:-401])
    assert open_recording(path).samples == 199


def test_a_streamed_au_says_that_its_length_is_unknown_and_needs_no_note(iq, tmp_path):
    path = write_wav(tmp_path / "a.au", iq, format="AU")
    path.write_bytes(patched(8, ">I", 0xFFFFFFFF)(path.read_bytes()))
    assert (open_recording(path).samples, open_recording(path).notes) == (300, ())


@pytest.mark.parametrize("end", ["missing", "unknown"])
def test_a_flac_without_an_end_is_read_as_far_as_it_goes(end, rng, tmp_path):
    values = rng.uniform(-0.9, 0.9, 40_000)
    path = write_wav(tmp_path / "a.flac", values, format="FLAC")
    whole = bytearray(path.read_bytes())
    if end == "unknown":  # as of a stream: 36 bits of its header are zero
        whole[21:26] = bytes([whole[21] & 0xF0, 0, 0, 0, 0])
    path.write_bytes(whole if end == "unknown" else whole[: len(whole) // 2])
    recording = open_recording(path)
    least, most = (39_999, 40_000) if end == "unknown" else (14_000, 20_100)
    assert least <= recording.samples <= most
    assert f"its first {recording.samples:,} samples are read" in recording.notes[0]
    read = recording.read(0, recording.samples)
    assert_allclose(read, values[: len(read)], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda _: b"", "no audio file, or a damaged one .*not recognised"),
        (lambda whole: whole[:40], "no audio file, or a damaged one .*data"),
        (lambda whole: patched(40, "<I", 0)(whole)[:44], "0 samples: that is no recording"),
        (patched(20, "<H", 7), "is a WAV of ULAW, or has no samples; WAV, AIFF and AU of FLOAT"),
        (patched(22, "<H", 3), "has 3 channels; two"),
        (patched(32, "<H", 8), "a sample takes 4 bytes, not the 8 that it declares"),
        (patched(24, "<I", 0), "no audio file, or a damaged one"),
        (patched(12, "<4s", b"data"), "no audio file, or a damaged one"),
        (lambda whole: whole[:12] + bytes(100_000), "no audio file, or a damaged one"),
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


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.cu8", "a.sigmf-meta", "a.sigmf"])
def test_a_file_that_the_machine_does_not_give_out_is_not_called_damaged(
    name, iq, tmp_path, monkeypatch
):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    for kind in ("open", "read_text"):
        monkeypatch.setattr(Path, kind, denied)
    monkeypatch.setattr(tarfile, "open", denied)
    (tmp_path / name).touch()
    (tmp_path / "a.sigmf-data").touch()
    with pytest.raises(InputError, match=rf"{name} cannot be read: Permission denied\. Ask its"):
        open_recording(tmp_path / name)


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
