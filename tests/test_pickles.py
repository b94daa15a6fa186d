"""RadioML 2016.10 pickles are read as Python 2 wrote them, and nothing in them is ever executed."""

import base64
import os
import pickle
import shutil
import struct
import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from radioml_files import CLASSES_2016, python2_pickle, write_2016

from modsnr import InputError
from modsnr.recordings import pickles


def frames_of(source):
    return source.read(source.rows, source.modulation, source.snr_db)


# Written by Python 2.7.18's own cPickle and NumPy 1.16.6, packed: {("QAM16", -4): 2 frames,
# ("BPSK", 18): 2 frames}, each [2, 2, 3], counting up in halves from -3 and from 3.
GENUINE = (
    (
        "C}eOk3Mf-2LQqpnCkk*f3P~|I3UqKY3S(|{ZE$%mV{dY0E^T#ebZKF7a$$K2Uvgz*Z*FsRa&=>L3UD+EC}VDQZ"
        "E$%CZe(F{a$$K2a5V}jNiYg@Qzv343UpF%HVP<7F$yS2G73pD3Q02xbYpIHZE$%CWOR9OWeRXN3Mf-2W;7=XNi"
        "YgYF$#22a5xGmNizylCp;$#PEJlqEinp7Einp7FbZ^HNiZ-9Qzu+_Ffd$rFfc$sTzD`rTzD`rU_e}WFfd$rFfd"
        "$rI50q5crY+rcrY+rcsVdYTzD`rTzD`rTzFwHKwNk*FkE;rFkE<IFhE>*Ffd$rFfd$rV=zEmcrY+rcrY+rcw{g"
        "@TzD`rTzD`rTzF+LKwNk*FkE;rFkE<MFhE>*Ffd$rFfd$rFfc(}crY+rcrY+rcrZ9YCkk|8b0||MQ9(^HHYW;j"
        "ISNTFGzxTZF)#{eGzutZH3}$6FbZ^2Ct@cGbW(6JF$yS2F$yS2G73pD3Q02xbZ0mUNiZ-9Qzu+_Ffd$rFfc$|c"
        "w;bJcrY+rcrY*^TzF$JTzD`rTzD`rTzD`rTzF$JTzD`rTzD`rTzF$JTzFz;TzD`rTzD`rTzEJzTzFz;TzD`rTz"
        "D`rTzD`rTzFz;TzD`rTzD`rTzD`rTzD`rTzD`rTzD`rTzD`rKU{b)FkE;rFkE;zFh5*)Ffd$rFfd$rV=zBlcrY"
        "+rcrY+rcrY+PTzD`rTzD`rAV4PybYgQZ"
    ),
    (
        "eQ^OOC{+YPP*Y2B0!tEfaRXy+b!~8YE@N+UWiD-XY;<X1a&lpL3SV+%V{dMAbaHiLbP90<C}VDQZE$%CZe(F{a"
        "$$K2aRn$#0CZIWVsuh*1}IAbC`$rM0!ssQV{UbAaCr)3ba`-P3ULQ0RRU%-O8`p&bW(8$C`$uX0X$AlPD=m(|N"
        "lz=|Ns9>0CZwWFfa;LFaQ8RKmY(>KmY)MKmY)cKmY)sKmY)+KmY*1KmY*HKmY*XKmY*nKmY&$K>z><L3Cm$RRv"
        "K&O))lc2}=C`|NnGx3TOl<Xay)s0CZIWVsuh*3n)tgC`$rM0!ssQXb4F#FbY*L002P1001Ds0002M006+h004l"
        "$0002L000000000#004kL006*00000$001CBbYgWb"
    ),
    (
        "fC7DS0Vq`jLQqpnaRN&chH(R9Zgp*Nc`jpba%C=Ub!>ELVRCX|c?w^0Wn*t{b98cbV{{5}1Y>S>ZE$%CZe(F{a"
        "$$K2aRo~Ng;fD!hf;9{C`$oL0!so*1BYX7b!~8Y3S@M7aAgW{2UP-QG)n+W0f$m?2q;SfRRKIsPEJby|Ns9=|N"
        "sC0O8|6YiB&KF06;(h0AN4>0DwRM0FXcc0H8ns0I)y+0Kh;10MI}H0N_9X0PsKn002P%00=>JVpRoEK}|6>aS2"
        "NN|NsAnaSCVzXa!3Eg;fD!hf;A1C`$oL0!so*1BYk`iB&KF06@S103g5s006)M0KmTh0D!*$006%L00000002J"
        "#0DwOL0Kh*0002M$03bkgVs$P"
    ),
)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_a_pickle_that_python_2_wrote_is_read(protocol, tmp_path):
    path = tmp_path / "genuine.pkl"
    path.write_bytes(base64.b85decode(GENUINE[protocol]))
    source = pickles.open_2016(path)
    assert source.classes == ("BPSK", "16QAM")
    assert_array_equal(source.snr_db, [18, 18, -4, -4])
    assert_array_equal(source.modulation, [0, 0, 1, 1])
    ramp = np.arange(12).reshape(2, 2, 3) / 2
    parts = np.concatenate([ramp + 3, ramp - 3])
    assert_array_equal(frames_of(source), parts[:, 0] + 1j * parts[:, 1])


@pytest.fixture(scope="module")
def written_2016(tmp_path_factory):
    folder = tmp_path_factory.mktemp("radioml2016")
    paths = [folder / f"{protocol}.pkl" for protocol in range(3)]
    for protocol, path in enumerate(paths):
        write_2016(path, protocol, frames_per_cell=3, snrs_db=(-20, 0, 18))
    return paths


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_a_pickle_is_read_as_pythons_own_loader_reads_it(protocol, written_2016):
    path = written_2016[protocol]
    content = pickle.loads(path.read_bytes(), encoding="latin1")  # noqa: S301
    source = pickles.open_2016(path)
    keys = sorted(content)
    assert len(keys) == 33
    parts = np.concatenate([content[key] for key in keys])
    assert_array_equal(frames_of(source), parts[:, 0] + 1j * parts[:, 1])
    assert_array_equal(source.snr_db, np.repeat([snr for _, snr in keys], 3))
    names = np.array(CLASSES_2016)[source.modulation]
    assert_array_equal(names, np.repeat([name for name, _ in keys], 3))
    assert source.samples == 128


def test_classes_take_the_names_of_2018_and_the_snr_is_said_to_be_uncalibrated(written_2016):
    source = pickles.open_2016(written_2016[2])
    assert source.classes == (
        *("8PSK", "AM-DSB", "AM-SSB", "BPSK", "CPFSK", "GFSK"),
        *("4ASK", "16QAM", "64QAM", "QPSK", "WBFM"),
    )
    assert source.snr_definition.startswith("not calibrated")
    assert source.facts == {
        "cells": 33,
        "frames_per_cell": 3,
        "snr_grid_db": [-20, 0, 18],
        "grid_is_complete": True,
        "x_type": "float32",
    }


def test_selected_frames_of_a_pickle_are_those_of_their_cells(written_2016):
    source = pickles.open_2016(written_2016[1])
    content = pickle.loads(written_2016[1].read_bytes(), encoding="latin1")  # noqa: S301
    chosen = source.select(["4ASK", "BPSK"], [18])
    parts = np.concatenate([content["BPSK", 18], content["PAM4", 18]])
    assert_array_equal(frames_of(chosen), parts[:, 0] + 1j * parts[:, 1])
    assert_array_equal(chosen.modulation, [1, 1, 1, 0, 0, 0])


def test_many_small_reads_open_the_pickle_once(written_2016, monkeypatch):
    pickles._cells.cache_clear()
    source = pickles.open_2016(written_2016[0])
    for row in range(99):
        source.read(np.array([row]), None, None)
    assert pickles._cells.cache_info().misses == 1


def test_a_pickle_that_changed_since_is_refused_and_rows_outside_too(written_2016, tmp_path):
    path = shutil.copy(written_2016[2], tmp_path / "copy.pkl")
    source = pickles.open_2016(path)
    with pytest.raises(InputError, match="has 99 frames; rows up to 99"):
        source.read(np.array([99]), None, None)
    write_2016(path, 2, frames_per_cell=2, snrs_db=(0,))
    with pytest.raises(InputError, match="has changed since it was opened"):
        source.read(np.array([0]), None, None)


def test_cells_of_unequal_size_and_big_endian_doubles_are_read(tmp_path):
    cells = {
        ("QPSK", 0): np.arange(16.0).reshape(2, 2, 4).astype(">f8"),
        ("8PSK", 0): np.arange(8.0).reshape(1, 2, 4).astype(">f8"),
    }
    (tmp_path / "a.pkl").write_bytes(python2_pickle(cells, 2))
    source = pickles.open_2016(tmp_path / "a.pkl")
    assert source.facts["frames_per_cell"] == [1, 2]
    assert_array_equal(source.modulation, [0, 1, 1])
    assert_array_equal(frames_of(source)[1], [0 + 4j, 1 + 5j, 2 + 6j, 3 + 7j])


def test_bytes_as_python_3_writes_them_for_python_2_are_read(tmp_path):
    # Arrays by numpy itself; the text that it makes of bytes is undone by _codecs.encode.
    array = np.arange(-8, 8, dtype=np.float32).reshape(2, 2, 4)
    for protocol in (0, 1, 2):
        content = pickle.dumps({("QPSK", 2): array, ("BPSK", np.int64(2)): array[:1]}, protocol)
        (tmp_path / "3.pkl").write_bytes(content)
        source = pickles.open_2016(tmp_path / "3.pkl")
        assert_array_equal(frames_of(source)[1:], array[:, 0] + 1j * array[:, 1])


# Pickles that are none of these


def with_content(tmp_path, content):
    path = tmp_path / "made.pkl"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "ends where 1 bytes should follow"),
        (b"hello", "recalls value 101, which it never kept"),
        (b"BZh91AY&SY", r"may be packed \(bzip2\): unpack it first"),
        (pickle.dumps({}, 4), "has protocol 4, and was thus written by Python 3"),
        (b"}.", "holds no frames"),
        (b"N.", "has NoneType where dict must be"),
        (b"NK\x01}.", "ends with 2 values too many"),
        (b"}}K\x01s.", "has a key that is not"),
        (b"}(U\x04QPSKM\xff\xfftNs.", "has a key that is not"),
        (b"}(U\x04QPSKK\x02K\x03tNs.", "has a key that is not"),
        (b"}(U\x04QPSKU\x012tNs.", "has a key that is not"),
        (b"}(K\x02K\x02tNs.", "has a key that is not"),
        (b"}(U\x04QPSKK\x02tNs.", r"what stands under \(QPSK, 2\) is no array"),
        (b"}(U\x04QPSKK\x02tNs(U\x04QPSKK\x02tNs.", "has no name, or two cells"),
        (b"}(U\x00K\x02tNs.", "has no name, or two cells"),
        (b"}((U\x04QPSKK\x02tu.", "has a key without a value"),
        (b"}((U\x04QPSKK\x02tNg0\nu.", "recalls value 0, which it never kept"),
        (b"t.", "closes a tuple that it never began"),
        (b"(p0\n.", "takes a value where there is none"),
        (b"S'QPSK.", "ends in the middle of a line"),
        (b"SQPSK\n.", "has a string without quotes"),
        (b"S'\\xg0'\n.", "has a string with a bad escape"),
        (b"S'\\q'\n.", "has a string with a bad escape"),
        (b"I1e9\n.", "has b'1e9' for an integer"),
        (b"L" + b"9" * 5000 + b"L\n.", "for an integer"),
        (b"T\xff\xff\xff\x7fQPSK", "ends where 2147483647 bytes should follow"),
        (b"T\xff\xff\xff\xffQPSK", "ends where -1 bytes should follow"),
        (b"X\x02\x00\x00\x00\xff\xff.", "has text that is no utf-8"),
        (b"}bN.", "takes a value where|has dict where tuple must be"),
        (b"}(tb.", "sets the state of what has none"),
        (b"((tR.", "takes a value where there is none"),
        (b"cnumpy\nndarray\n(tR.", "calls ndarray in a way that no RadioML pickle does"),
        (b"cnumpy\ndtype\n(S'O8'\ntR.", "has numbers of type 'O8'"),
        (b"cnumpy\ndtype\n(S'c8'\ntR.", "has numbers of type 'c8'"),
        (b"cnumpy\ndtype\n(S'f4'\ntR(I3\nS'<'\nNI1\nNtb.", "with fields or without byte order"),
        (b"c_codecs\nencode\n(V\\u20ac\nS'latin1'\ntR.", "holds no bytes where bytes must be"),
        (b"c_codecs\nencode\n(Vabc\nS'rot13'\ntR.", "calls encode in a way"),
    ],
)
def test_pickles_of_something_else_or_nothing_are_refused(content, complaint, tmp_path):
    with pytest.raises(InputError, match=complaint):
        pickles.open_2016(with_content(tmp_path, content))


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.ones((2, 128), "f4"), r"frames must be .*; those of QPSK at 2 dB are float32 \[2, 128"),
        (np.ones((2, 3, 8), "f4"), r"are float32 \[2, 3, 8\]"),
        (np.ones((0, 2, 8), "f4"), r"are float32 \[0, 2, 8\]"),
        (np.ones((2, 2, 8), "i4"), r"are int32 \[2, 2, 8\]"),
        (np.ones((2, 2, 8), "f2"), "has numbers of type 'f2'"),
        (np.ones((2, 2, 8), "c8"), "has numbers of type 'c8'"),
        (np.ones((2, 2, 2, 8), "f4"), "array of a strange shape"),
    ],
)
def test_arrays_that_are_no_frames_are_refused(array, complaint, tmp_path):
    with pytest.raises(InputError, match=complaint):
        pickles.open_2016(with_content(tmp_path, python2_pickle({("QPSK", 2): array}, 2)))


def test_frames_of_two_lengths_and_one_class_under_two_names_are_refused(tmp_path):
    long, short = np.ones((2, 2, 8), "f4"), np.ones((2, 2, 4), "f4")
    content = python2_pickle({("QPSK", 2): long, ("QPSK", 4): short}, 2)
    with pytest.raises(InputError, match="QPSK at 4 dB have 4 samples, earlier ones 8"):
        pickles.open_2016(with_content(tmp_path, content))
    content = python2_pickle({("QAM16", 2): long, ("16QAM", 2): long}, 2)
    with pytest.raises(InputError, match="one class under two names: 16QAM, QAM16"):
        pickles.open_2016(with_content(tmp_path, content))


def test_an_array_must_have_exactly_the_bytes_of_its_shape(tmp_path):
    content = python2_pickle({("QPSK", 2): np.ones((2, 2, 8), "f4")}, 2)
    for frames in (b"K\x03", b"K\x01", b"J\xff\xff\xff\xff"):
        broken = content.replace(b"K\x02K\x02K\x08\x87", frames + b"K\x02K\x08\x87")
        assert broken != content
        with pytest.raises(InputError, match=r"has 128 bytes for an array|strange shape"):
            pickles.open_2016(with_content(tmp_path, broken))


# Pickles that mean harm: none may leave the mark that each tries to leave.


class Reduced:
    """Pickled as a call of ``call`` with ``arguments``."""

    def __init__(self, call, *arguments):
        self.plan = call, arguments

    def __reduce__(self):
        return self.plan


def touching(path):
    """Return the command and the Python that leave a mark at ``path``."""
    return f"touch {path}", f"open({str(path)!r}, 'w').close()"


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "mark"


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_no_function_that_a_pickle_names_is_ever_called(protocol, mark, tmp_path):
    command, code = touching(mark)
    for plan in [
        Reduced(os.system, command),
        Reduced(eval, code),
        Reduced(exec, code),
        Reduced(np.load, "x.npy", None, True),
        Reduced(os.truncate, str(mark), 0),
        Reduced(SimpleNamespace),
        Reduced(open, str(mark), "w"),
    ]:
        for content in (plan, {("QPSK", 2): plan}, {("QPSK", 2): (plan, plan)}):
            path = with_content(tmp_path, pickle.dumps(content, protocol))
            with pytest.raises(InputError, match=r"asks for .*, which is refused"):
                pickles.open_2016(path)
            assert not mark.exists()


def test_a_plain_loader_would_have_left_the_mark(mark):
    """The harm in these tests is real."""
    command, _ = touching(mark)
    pickle.loads(pickle.dumps(Reduced(os.system, command), 2))  # noqa: S301
    assert mark.exists()


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"cos\nsystem\n(S'{}'\ntR.", "asks for os.system, which is refused"),
        (b"cposix\nsystem\n(S'{}'\ntR.", "asks for posix.system"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "asks for __builtin__.eval"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "asks for builtins.eval"),
        (b"cnumpy\nload\n(S'{}'\ntR.", "asks for numpy.load"),
        (b"cnumpy\nndarray.tofile\n(S'{}'\ntR.", "asks for numpy.ndarray.tofile"),
        (b"cnumpy.core.multiarray\nfromfile\n(S'{}'\ntR.", "asks for numpy.core.multiarray.fromf"),
        (b"ccopy_reg\n_reconstructor\n(tR.", "asks for copy_reg._reconstructor"),
        (b"ccopyreg\nadd_extension\n(tR.", "asks for copyreg.add_extension"),
        (b"cnumpy\ndtype.__new__.__globals__\n.", "asks for numpy.dtype.__new__.__globals__"),
        (b"cos \nsystem\n.", "has b'os ' for a name"),
        (b"c\xff\nsystem\n.", "for a name"),
        (b"c" + b"a" * 99 + b"\nb\n.", "for a name"),
        (b"(S'{}'\nios\nsystem\n.", "uses opcode b'i'"),
        (b"(cos\nsystem\nS'{}'\no.", "asks for os.system"),
        (b"(cnumpy\ndtype\nS'{}'\no.", "uses opcode b'o'"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", r"uses opcode b'\\x81'"),
        (b"\x80\x02\x82\x01.", r"uses opcode b'\\x82'"),
        (b"\x80\x02\x83\x01\x00.", r"uses opcode b'\\x83'"),
        (b"\x80\x02\x84\x01\x00\x00\x00.", r"uses opcode b'\\x84'"),
        (b"\x80\x04" + text("os") + text("system") + b"\x93.", "has protocol 4"),
        (text("os") + text("system") + b"\x93.", r"uses opcode b'\\x93'"),
        (b"Pid\n.", "uses opcode b'P'"),
        (b"S'id'\nQ.", "uses opcode b'Q'"),
        (b"N\x92.", r"uses opcode b'\\x92'"),
        (b"\x97.", r"uses opcode b'\\x97'"),
        (b"N20.", "uses opcode b'2'"),
        # Calls of what is no name, and of the five names with what they do not take.
        (b"S'os.system'\n(S'{}'\ntR.", "has bytes where _Name must be"),
        (b"Vos.system\n(S'{}'\ntR.", "has str where _Name must be"),
        (b"cnumpy\ndtype\n(cnumpy\ndtype\ntR(I3\nS'<'\nNNNtb.", "has numbers of type 'dtype'"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntS'b'\ntR.", "calls _reco"),
        (b"cnumpy\nndarray\n(S'a'\ntb.", "sets the state of what has none"),
    ],
)
def test_every_way_to_a_call_is_refused_by_name(content, complaint, mark, tmp_path):
    content = content.replace(b"{}", touching(mark)[0].encode())
    known = set(sys.modules)
    with pytest.raises(InputError, match=complaint):
        pickles.open_2016(with_content(tmp_path, content))
    assert not mark.exists()
    assert set(sys.modules) == known  # nothing was imported either


def test_a_module_that_a_pickle_names_is_not_imported(mark, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text(touching(mark)[1])
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"asks for trap\.anything"):
        pickles.open_2016(with_content(tmp_path, b"ctrap\nanything\n."))
    assert not mark.exists()


# Pickles that would fill the memory


def peak_of(path):
    """Return what was allocated at most while a pickle was refused, and the refusal."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as refused:
            pickles.open_2016(path)
        return tracemalloc.get_traced_memory()[1], str(refused.value)
    finally:
        tracemalloc.stop()


def test_a_memory_bomb_takes_no_more_than_its_own_size_allows(tmp_path):
    steps = 30_000
    nested = b"(" * steps + b"t" * steps
    for content, complaint in {
        b"r\xff\xff\xff\xff.": "takes a value where there is none",
        b"Nr\xff\xff\xff\xff.": "has NoneType where dict must be",  # 64 GB in C's own loader
        b"p" + b"9" * 19 + b"\n.": "takes a value where there is none",
        b"X\xff\xff\xff\xff.": "ends where 4294967295 bytes",
        nested + b".": "has tuple where dict must be",
        b"}" + nested + b"Ns.": "has a key that is not",  # its hash overflows C's stack
        b"}(" + nested + b"NtNs.": "has a key that is not",
        b")" + b"q\x00h\x00\x86" * steps + b".": "has tuple where dict must be",  # 2 ** 30000
        b"}" * steps + b".": "values too many",
    }.items():
        peak, message = peak_of(with_content(tmp_path, content))
        assert complaint in message
        assert peak < 100 * steps + 1e6


def test_a_pickle_of_too_many_steps_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "MOST_STEPS", 1000)
    with pytest.raises(InputError, match="takes more than 1000 steps"):
        pickles.open_2016(with_content(tmp_path, b"N" * 1001 + b"."))


def test_one_array_for_many_cells_is_refused(tmp_path):
    array = np.ones((50, 2, 8), "f4")
    content = python2_pickle({("QPSK", 2): array}, 2).removesuffix(b"u.")
    again = b"q\xf0" + b"".join(b"U\x04QPSKK%c\x86h\xf0" % snr for snr in range(10, 200))
    with pytest.raises(InputError, match="gives the same array to several"):
        pickles.open_2016(with_content(tmp_path, content + again + b"u."))
