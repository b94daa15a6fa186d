"""One call opens every kind of file and audits its labels."""

import bz2
import gzip
import os
import subprocess
import sys
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from radioml_files import write_2016, write_2018, write_split
from recording_files import received, write_sigmf, write_wav

from modsnr import InputError, recordings
from modsnr.recordings import CLASSES_2018, SHIPPED_CLASSES_2018, archives

SNRS = (-10, 0, 10, 20, 30)


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    path = tmp_path_factory.mktemp("right") / "gold.hdf5"
    write_2018(path, frames_per_cell=16, snrs_db=SNRS)
    return path


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    """A file whose columns follow the shipped classes.txt."""
    path = tmp_path_factory.mktemp("wrong") / "gold.hdf5"
    write_2018(path, frames_per_cell=16, snrs_db=SNRS, column_order=SHIPPED_CLASSES_2018)
    return path


def named_rightly(source):
    """Whether the strong frames called BPSK, unlike those called QPSK, are real up to a phase."""
    share = {}
    for name in ("BPSK", "QPSK"):
        iq = source.select([name]).between(30, 30).frames().iq
        share[name] = np.median(np.abs(np.fft.fft(iq**2)).max(1) / np.square(np.abs(iq)).sum(1))
    return share["BPSK"] > 0.9 and share["QPSK"] < 0.4


def test_the_audit_finds_the_right_order_of_classes_and_what_the_snr_means(right):
    source, audits = recordings.open_source(right)
    assert audits.order.order == source.facts["class order"] == "fixed"
    assert source.classes == CLASSES_2018
    assert audits.snr.verdict == "per sample"
    assert list(audits.tables) == ["Class order: fixed", "SNR labels: per sample"]


def test_the_audit_catches_a_file_written_with_the_wrong_order_and_names_its_frames_rightly(
    right, wrong
):
    source, audits = recordings.open_source(wrong)
    assert audits.order.order == "shipped"
    assert source.classes == SHIPPED_CLASSES_2018
    assert named_rightly(source)


def test_an_order_that_is_given_is_taken_without_an_audit(wrong):
    source, audits = recordings.open_source(wrong, class_order="fixed")
    assert source.classes == CLASSES_2018
    assert audits.order is None


def test_columns_in_no_known_order_are_refused_with_advice(tmp_path):
    path = tmp_path / "gold.hdf5"
    write_2018(path, frames_per_cell=16, snrs_db=(20, 30), column_order=CLASSES_2018[::-1])
    with pytest.raises(InputError, match=r"gold\.hdf5: .*pass -p class_order fixed, or shipped"):
        recordings.open_source(path)


def reordered(path, copy, order):
    """Write a copy of a file with X, Y and Z each in an order of its own; "": as they are."""
    with h5py.File(path) as file, h5py.File(copy, "w") as new:
        for name in "XYZ":
            new[name] = file[name][:][order[name]] if name in order else file[name][:]
    return copy


def test_a_file_shuffled_as_a_whole_is_read_and_audited_as_any_other(right, tmp_path, rng):
    order = rng.permutation(24 * 5 * 16)[:1800]  # so that cells differ in size as well
    path = reordered(right, tmp_path / "mixed.hdf5", dict.fromkeys("XYZ", order))
    source, audits = recordings.open_source(path)
    plain, _ = recordings.open_source(right)
    assert (audits.order.order, audits.snr.verdict) == ("fixed", "per sample")
    assert_array_equal(source.modulation, plain.modulation[order])
    assert named_rightly(source)


@pytest.mark.parametrize(
    ("shuffled", "class_order", "complaint"),
    [
        ("Y", "audit", r"fixed is contradicted .* labels are in another order than they look"),
        ("X", "audit", r"too noisy, .* labels are in another order than they look"),
        ("Z", "audit", r"too noisy, .* labels are in another order than they look"),
        ("X", "fixed", r"a step of 1 dB of the label is -?0\.0\d dB .* are not in one order"),
        ("Z", "fixed", r"a step of 1 dB of the label is -?0\.0\d dB .* are not in one order"),
    ],
)
def test_labels_shuffled_apart_from_their_frames_are_not_believed(
    shuffled, class_order, complaint, right, tmp_path, rng
):
    path = reordered(right, tmp_path / "apart.hdf5", {shuffled: rng.permutation(24 * 5 * 16)})
    with pytest.raises(InputError, match=complaint):
        recordings.open_source(path, class_order=class_order)


def test_audits_leave_out_frames_that_cannot_be_used(right, tmp_path):
    path = reordered(right, tmp_path / "spoilt.hdf5", {})
    with h5py.File(path, "a") as file:
        x, qpsk = file["X"], 4 * 5 * 16
        x[3] = x[100] = np.zeros((1024, 2))
        x[qpsk + 64 : qpsk + 80] = np.full((16, 1024, 2), np.nan)  # all at 30 dB, the strongest
        x[::16] = np.zeros((120, 1024, 2))
    source, audits = recordings.open_source(path)
    assert (audits.order.order, audits.snr.verdict) == ("fixed", "per sample")
    strongest = audits.order.table.set_index("class")["snr_db"]
    assert strongest["QPSK"] == pytest.approx(20, abs=0.5)
    assert strongest.drop("QPSK").median() == pytest.approx(30, abs=0.5)
    assert "is the SNR per sample" in source.facts["what SNR labels mean"]


def test_a_file_without_a_usable_frame_is_refused_and_not_a_crash(right, tmp_path):
    path = reordered(right, tmp_path / "dead.hdf5", {})
    with h5py.File(path, "a") as file:
        file["X"][:] = np.zeros(file["X"].shape)
    with pytest.raises(InputError, match=r"dead\.hdf5: .*undecided"):
        recordings.open_source(path)
    source, audits = recordings.open_source(path, class_order="fixed")
    assert audits.snr is None
    assert "of 0 given 0 can" in source.facts["what SNR labels mean"]


def test_the_studys_folder_is_audited_by_its_names(tmp_path):
    write_split(tmp_path / "split", frames_per_cell=16, snrs_db=(20, 30))
    source, audits = recordings.open_source(tmp_path / "split")
    assert audits.order.order == "fixed"
    assert source.kind == "RadioML 2018.01A, one file a cell"


def test_a_folder_named_by_the_shipped_order_is_read_by_what_its_frames_are(tmp_path):
    folder = tmp_path / "split"
    write_split(folder, frames_per_cell=16, snrs_db=(20, 30), labels=False)
    rename = dict(zip(CLASSES_2018, SHIPPED_CLASSES_2018, strict=True))
    for cell in sorted(folder.glob("*/*/*.h5")):
        new = rename[cell.parts[-3]]
        place = tmp_path / "named" / new / cell.parts[-2]
        place.mkdir(parents=True)
        cell.rename(place / f"{new}_{cell.parts[-2]}.h5")
    source, audits = recordings.open_source(tmp_path / "named")
    assert audits.order.order == "shipped"
    assert named_rightly(source)


def test_pickles_of_2016_have_their_snr_labels_audited(tmp_path):
    write_2016(tmp_path / "RML2016.10a_dict.pkl", 2, frames_per_cell=40)
    source, audits = recordings.open_source(tmp_path / "RML2016.10a_dict.pkl")
    assert source.samples == 128
    assert audits.order is None
    assert audits.snr is not None


@pytest.fixture(scope="module")
def qpsk():
    return received("QPSK", symbols=4000, samples_per_symbol=9.7, carrier=0.03, snr_db=20)


def test_recordings_are_opened_by_name_by_stem_and_by_format(qpsk, tmp_path):
    write_sigmf(tmp_path / "sig", qpsk)
    write_wav(tmp_path / "sig.wav", 0.2 * qpsk)
    (tmp_path / "sig.bin").write_bytes(qpsk.tobytes())
    kinds = {"sig": "SigMF", "sig.sigmf-data": "SigMF", "sig.wav": "WAV", "sig.bin": "raw IQ"}
    for name, kind in kinds.items():
        options = {"iq_format": "cf32" if name == "sig.bin" else "", "label": "QPSK"}
        source, audits = recordings.open_source(tmp_path / name, **options)
        assert (source.kind, source.classes) == (kind, ("QPSK",))
        assert set(source.snr_db.tolist()) == {20.0}
        assert audits.tables == {}


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("gone.hdf5", None, r"There is no file or folder .*gone\.hdf5"),
        ("gone", None, "There is no file or folder"),
        (
            "notes.txt",
            b"hello",
            r"'.txt' is of no known kind.*\.hdf5 .*\.pkl .*iq_format",
        ),
        ("x.hdf5", b"hello", r"x\.hdf5"),
        ("x.pkl", b"cos\nsystem\n(S'true'\ntR.", "x.pkl"),
        ("x.wav", b"RIFF", "x.wav"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(name, content, complaint, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        recordings.open_source(tmp_path / name)


# As downloaded


@pytest.mark.parametrize("name", ["r.tar.gz", "r.tar.bz2", "r.tar.xz", "r.tgz", "r.tar"])
def test_a_packed_archive_is_refused_by_what_to_unpack_from_it(name, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "HEAD", 10_000)  # the last member lies beyond it
    for inner, size in {"LICENSE.TXT": 100, "GOLD.hdf5": 20_000, "late.h5": 10}.items():
        (tmp_path / inner).write_bytes(bytes(size))
    kind = {"tgz": "gz", "tar": ""}.get(name.split(".")[-1], name.split(".")[-1])
    with tarfile.open(tmp_path / name, f"w:{kind}") as archive:
        for inner in ("LICENSE.TXT", "GOLD.hdf5", "late.h5"):
            archive.add(tmp_path / inner, f"2018.01/{inner}")
    with pytest.raises(InputError, match=r"unpack it first, and .* in it: '2018.01/GOLD.hdf5'\.$"):
        recordings.open_source(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "make", "complaint"),
    [
        (
            "a.zip",
            lambda path: zipfile.ZipFile(path, "w").writestr("x/R.pkl", b"1"),
            r"'x/R\.pkl'\.$",
        ),
        ("R.pkl.gz", lambda path: path.write_bytes(gzip.compress(b"1")), r"in it: 'R\.pkl'\.$"),
        ("R.pkl", lambda path: path.write_bytes(bz2.compress(b"1")), "is a packed archive"),
        (
            "a.tar.gz",
            lambda path: path.write_bytes(b"\x1f\x8bno"),
            "damaged archive, or .*: unpack",
        ),
        (
            "a.7z",
            lambda path: path.write_bytes(b"7z\xbc\xaf\x27\x1c"),
            "or of a kind that is not listed",
        ),
    ],
)
def test_other_packed_files_are_refused_likewise(name, make, complaint, tmp_path):
    make(tmp_path / name)
    with pytest.raises(InputError, match=complaint):
        recordings.open_source(tmp_path / name)


@pytest.mark.parametrize("name", ["x.hdf5", "x.pkl", "x.wav", "x.cf32", "x.sigmf", "x.zip"])
def test_a_file_that_may_not_be_read_is_not_called_damaged(name, tmp_path, unreadable):
    (tmp_path / name).write_bytes(b"not for you")
    complaint = r"cannot be read: Permission denied\. Ask its owner"
    with pytest.raises(InputError, match=complaint), unreadable(tmp_path / name):
        recordings.open_source(tmp_path / name)


def test_a_pipe_is_no_file_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.hdf5")
    with pytest.raises(InputError, match="There is no file"):
        recordings.open_source(tmp_path / "x.hdf5")


def test_of_an_unpacked_folder_its_one_file_is_read(right, tmp_path):
    (tmp_path / "2018.01").mkdir()
    (tmp_path / "2018.01" / "GOLD.hdf5").symlink_to(right)
    for beside in ("classes.txt", "2018.01.tar.gz", "2018.01/._GOLD.hdf5"):
        (tmp_path / beside).write_text("beside")
    source, _ = recordings.open_source(tmp_path, class_order="fixed")
    assert source.path == tmp_path / "2018.01" / "GOLD.hdf5"
    (tmp_path / "R.pkl").write_text("another")
    complaint = r"holds 2 files that may be meant: 2018.01/GOLD.hdf5, R.pkl; give the path of one"
    with pytest.raises(InputError, match=complaint):
        recordings.open_source(tmp_path)


def test_of_a_folder_that_was_not_unpacked_its_archive_is_named(tmp_path):
    (tmp_path / "RML2016.10a.tar.bz2").write_bytes(bz2.compress(b"1"))
    with pytest.raises(InputError, match=r"RML2016\.10a\.tar\.bz2 is a packed archive"):
        recordings.open_source(tmp_path)
    (tmp_path / "RML2016.10a.tar.bz2").unlink()
    with pytest.raises(InputError, match=r"holds no MODULATION/SNR_x folder, .* and no file of"):
        recordings.open_source(tmp_path)


def test_raw_samples_under_the_extension_of_a_pickle_are_pointed_to_their_format(tmp_path):
    (tmp_path / "capture.dat").write_bytes(np.ones(100, np.complex64).tobytes())
    with pytest.raises(InputError, match=r"no RadioML 2016.10 pickle.* pass iq_format: cf32, cf64"):
        recordings.open_source(tmp_path / "capture.dat")


# Sources


def test_a_source_is_restricted_to_classes_and_snrs_in_the_given_order(right):
    source = recordings.open_2018(right)
    some = source.select(["QPSK", "BPSK"]).between(0, 15)
    assert some.classes == ("QPSK", "BPSK")
    assert len(some) == 2 * 2 * 16
    assert set(some.snr_db.tolist()) == {0.0, 10.0}
    names = np.array(some.classes)[some.modulation]
    assert_array_equal(names, np.array(source.classes)[source.modulation[some.rows]])


@pytest.mark.parametrize(
    ("restrict", "complaint"),
    [
        (lambda s: s.select(["QPKS"]), "is called 'QPKS'; did you mean 'QPSK'. known: OOK, 4ASK"),
        (lambda s: s.between(1, 9), "no frame from 1 to 9 dB; its frames are at -10, 0, 10"),
    ],
)
def test_restrictions_that_leave_nothing_are_refused(restrict, complaint, right):
    with pytest.raises(InputError, match=complaint):
        restrict(recordings.open_2018(right))


# Fingerprints


def test_a_large_file_is_known_by_samples_of_it(tmp_path):
    path = tmp_path / "a"
    with open(path, "wb") as file:
        file.truncate(200 * 2**20)
    hashes = [recordings.fingerprint(path), recordings.fingerprint(path, whole=True)]
    assert hashes[0].startswith("sampled sha256:")
    assert hashes[1].startswith("sha256:")
    for place in (0, 200 * 2**20 - 1):
        with open(path, "r+b") as file:
            file.seek(place)
            file.write(b"x")
        hashes.append(recordings.fingerprint(path))
    with open(path, "ab") as file:
        file.write(b"\0")
    hashes.append(recordings.fingerprint(path))
    assert len(set(hashes)) == 5


def test_a_folder_is_known_by_names_and_contents(tmp_path):
    hashes = set()
    for name, content in [("a", b"1"), ("b", b"1"), ("b", b"2")]:
        folder = tmp_path / f"{name}{content}"
        folder.mkdir()
        (folder / name).write_bytes(content)
        hashes.add(recordings.fingerprint(folder))
    assert len(hashes) == 3


def test_a_reader_of_hdf5_needs_neither_torch_nor_pandas():
    code = (
        "import sys, modsnr.frames.writing, modsnr.recordings.radioml;"
        "print([name for name in ('torch', 'pandas', 'scipy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
