"""RadioML 2016.10 pickles are read as Python 2 or 3 wrote them, and nothing is ever executed."""

import base64
import os
import pickle
import shutil
import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from radioml_files import CLASSES_2016, python2_pickle, write_2016

from modsnr import InputError
from modsnr.recordings import pickles

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
    assert_array_equal(source.frames().iq, parts[:, 0] + 1j * parts[:, 1])


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
    assert_array_equal(source.frames().iq, parts[:, 0] + 1j * parts[:, 1])
    assert_array_equal(source.snr_db, np.repeat([snr for _, snr in keys], 3))
    names = np.array(CLASSES_2016)[source.modulation]
    assert_array_equal(names, np.repeat([name for name, _ in keys], 3))
    assert source.samples == 128


@pytest.mark.parametrize("kind", [int, np.int64, np.int8])
@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_python_3_saved_is_read_whatever_its_protocol(protocol, kind, tmp_path, rng):
    cells = {
        (name, snr): rng.normal(size=(3, 2, 8)) for name in ("QPSK", "8PSK") for snr in (-4, 2)
    }
    path = tmp_path / "again.pkl"
    content = pickle.dumps({(name, kind(snr)): v for (name, snr), v in cells.items()}, protocol)
    older = content.replace(b"numpy._core.", b"numpy.core.")  # NumPy 1's; lengths before protocol 4
    for written in (content, older) if protocol < 4 else (content,):
        path.write_bytes(written)
        source = pickles.open_2016(path)
        assert source.classes == ("8PSK", "QPSK")
        assert_array_equal(source.snr_db, np.tile(np.repeat([-4, 2], 3), 2))
        parts = np.concatenate([cells[key] for key in sorted(cells)])
        assert_array_equal(source.frames().iq, (parts[:, 0] + 1j * parts[:, 1]).astype("c8"))


def test_classes_take_the_names_of_2018_and_the_snr_is_called_uncalibrated(written_2016):
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


def test_many_small_reads_open_the_pickle_once(written_2016):
    pickles._cells.cache_clear()
    source = pickles.open_2016(written_2016[0])
    for row in range(9):
        source.read(np.array([row]), None, None)
    assert pickles._cells.cache_info().misses == 1


def test_a_pickle_that_changed_since_is_refused(written_2016, tmp_path):
    path = shutil.copy(written_2016[2], tmp_path / "copy.pkl")
    source = pickles.open_2016(path)
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
    assert_array_equal(source.frames().iq[1], [0 + 4j, 1 + 5j, 2 + 6j, 3 + 7j])


# Pickles that are none of these


def refuse(folder, content, complaint):
    """Check that a pickle of this content is refused with a complaint."""
    path = folder / "made.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        pickles.open_2016(path)


def in_cell(content):
    """Return a pickle of a dict whose one value is made by ``content``."""
    return b"}(U\x04QPSKK\x02t" + content + b"s."


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"hello", "not found at index 101"),
        (pickle.dumps({}, 4), "holds no frames"),
        (pickle.dumps({1.5}, 4), r"uses an opcode .* saved again as a dict .* with protocol=2"),
        (b"}(U\x04QPSKU\x012tNs.", "a key has no whole number for its SNR"),
        (b"}.", "holds no frames"),
        (b"N.", "it is not one dict"),
        (b"NK\x01}.", "it is not one dict"),
        (b"}}K\x01s.", "a key is not"),
        (b"}(U\x04QPSKM\xff\xfftNs.", "a key has an SNR beyond 1000 dB"),
        (b"}(K\x02K\x02tNs.", "a key is not"),
        (b"}(U\x04QPSKK\x02tNs.", "a value is no array"),
        (b"}(U\x04QPSKK\x02tNs(U\x04QPSKK\x02tNs.", "there are two cells"),
        (b"}(U\x00K\x02tNs.", "a key is not"),
        (b"}((U\x04QPSKK\x02tu.", "a key has no value"),
        (b"}((U\x04QPSKK\x02tNg0\nu.", "not found at index 0"),
        (b"t.", "takes a value where there is none"),
        (b"S'QPSK.", "must be quoted"),
        (b"SQPSK\n.", "must be quoted"),
        (b"S'\\xg0'\n.", r"invalid \\x escape"),
        (b"S'\\q'\n.", "invalid escape sequence"),
        (b"L" + b"9" * 5000 + b"L\n.", "value has 5000 digits"),
        (b"T\xff\xff\xff\x7fQPSK", "is cut short"),
        (b"T\xff\xff\xff\xffQPSK", "negative byte count"),
        (b"X\x02\x00\x00\x00\xff\xff.", "can't decode byte 0xff"),
        (b"}bN.", "takes a value where there is none"),
        (b"}(tb.", "sets the state of a dict"),
        (b"((tR.", "takes a value where there is none"),
        (in_cell(b"cnumpy\nndarray\n(tR"), "a value is no array"),
        (in_cell(b"cnumpy\ndtype\n(S'O8'\ntR"), "a value is no array"),
        (in_cell(b"c_codecs\nencode\n(S'abc'\ntR"), "a value is no array"),
    ],
)
def test_pickles_of_something_else_or_nothing_are_refused(content, complaint, tmp_path):
    refuse(tmp_path, content, complaint)


LONG, SHORT = np.ones((2, 2, 8), "f4"), np.ones((2, 2, 4), "f4")


@pytest.mark.parametrize(
    ("cells", "complaint"),
    [
        ({("QPSK", 2): np.ones((2, 128), "f4")}, "a value is no array"),
        ({("QPSK", 2): np.ones((2, 2, 2, 8), "f4")}, "a value is no array"),
        ({("QPSK", 2): np.ones((2, 3, 8), "f4")}, r"an array is \[2, 3, 8\], not \[frame, 2"),
        ({("QPSK", 2): np.ones((0, 2, 8), "f4")}, r"an array is \[0, 2, 8\]"),
        ({("QPSK", 2): np.ones((2, 2, 8), "i4")}, "numbers are of type '<i4'"),
        ({("QPSK", 2): np.ones((2, 2, 8), "f2")}, "numbers are of type '<f2'"),
        ({("QPSK", 2): LONG, ("QPSK", 4): SHORT}, r"of different lengths: \[4, 8\] samples"),
        ({("QAM16", 2): LONG, ("16QAM", 2): LONG}, "one class under two names: 16QAM, QAM16"),
    ],
)
def test_arrays_that_are_no_frames_are_refused(cells, complaint, tmp_path):
    refuse(tmp_path, python2_pickle(cells, 2), complaint)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (b"K\x02K\x02K\x08\x87", b"K\x03K\x02K\x08\x87", "bytes of an array .* too few"),
        (b"K\x02K\x02K\x08\x87", b"K\x01K\x02K\x08\x87", "bytes of an array .* too many"),
        (b"K\x02K\x02K\x08\x87", b"J\xff\xff\xff\xffK\x02K\x08\x87", r"is \[-1, 2, 8\], not"),
        (b"K\x02K\x02K\x08\x87", b"I0x" + b"f" * 9999 + b"\nK\x02K\x08\x87", "Exceeds the limit"),
        (b"U\x02f4", b"U\x02O8", "numbers are of type '<O8'"),
        (b"U\x01<", b"U\x01=", "numbers are of type '=f4'"),
        (b"NNN", b"NK\x01N", "a value is no array"),
        (b"NNN", b"NN", "a value is no array"),
        (b"\x89U\x80", b"\x88U\x80", "a value is no array .* in C's order"),
        (b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", "a value is no array"),
        (b"_reconstruct\n", b"scalar\n", "a value is no array"),
        (b"_reconstruct\n", b"fromstring\n", "names 'numpy.core.multiarray.fromstring'"),
    ],
)
def test_an_array_of_another_form_is_refused(old, new, complaint, tmp_path):
    content = python2_pickle({("QPSK", 2): LONG}, 2)
    assert content.count(old) == 1
    refuse(tmp_path, content.replace(old, new), complaint)


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


@pytest.mark.parametrize("protocol", range(6))
def test_no_function_that_a_pickle_names_is_ever_called(protocol, mark, tmp_path):
    command, code = touching(mark)
    pickled = python2_pickle if protocol < 3 else pickle.dumps
    pickle.loads(pickle.dumps(Reduced(os.system, command), protocol))  # noqa: S301
    mark.unlink()  # so the harm is real
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
            refuse(tmp_path, pickled(content, protocol), "names .*, which is refused")
            assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"cos\nsystem\n(S'{}'\ntR.", "names 'os.system'"),
        (b"cposix\nsystem\n(S'{}'\ntR.", "names 'posix.system'"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "names '__builtin__.eval'"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "names 'builtins.eval'"),
        (b"cnumpy\nload\n(S'{}'\ntR.", "names 'numpy.load'"),
        (b"cnumpy\nndarray.tofile\n(S'{}'\ntR.", "names 'numpy.ndarray.tofile'"),
        (b"cnumpy.core.multiarray\nfromfile\n(S'{}'\ntR.", "names 'numpy.core.multiarray.fromf"),
        (b"ccopy_reg\n_reconstructor\n(tR.", "names 'copy_reg._reconstructor'"),
        (b"ccopyreg\nadd_extension\n(tR.", "names 'copyreg.add_extension'"),
        (b"cnumpy\ndtype.__new__.__globals__\n.", "names 'numpy.dtype.__new__.__globals__'"),
        (b"cos \nsystem\n.", "names 'os .system'"),
        (b"c\xff\nsystem\n.", "can't decode byte 0xff"),
        (b"c" + b"a" * 999 + b"\nb\n.", f"names '{'a' * 100}', which"),
        (b"(S'{}'\nios\nsystem\n.", "uses an opcode"),
        (b"(cos\nsystem\nS'{}'\no.", "names 'os.system'"),
        (b"(cnumpy\ndtype\nS'{}'\no.", "uses an opcode"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "uses an opcode"),
        (b"\x80\x02\x82\x01.", "uses an opcode"),
        (b"\x80\x02\x83\x01\x00.", "uses an opcode"),
        (b"\x80\x02\x84\x01\x00\x00\x00.", "uses an opcode"),
        (b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93.", "names 'os.system'"),
        (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x94.", "names 'os.system'"),
        (b"\x8c\x05numpy\x8c\x0endarray.tofile\x93.", "names 'numpy.ndarray.tofile'"),
        (b"\x8c\x0bnumpy._core\x8c\x13multiarray.fromfile\x93.", "names 'numpy._core.multia"),
        (b"S'os'\nS'system'\n\x93.", "STACK_GLOBAL requires str"),
        (b"\x8f.", "uses an opcode"),
        (b"\x98.", "uses an opcode"),
        (b"Pid\n.", "uses an opcode"),
        (b"S'id'\nQ.", "uses an opcode"),
        (b"N\x92.", "uses an opcode"),
        (b"\x97.", "uses an opcode"),
        (b"N20.", "uses an opcode"),
        # Calls of what is no name, and of the five names with what they do not take.
        (b"S'os.system'\n(S'{}'\ntR.", "calls a bytes with a tuple"),
        (b"Vos.system\n(S'{}'\ntR.", "calls a str with a tuple"),
        (b"cnumpy\ndtype\nS'{}'\nR.", "calls a _Record with a bytes"),
        (in_cell(b"cnumpy\ndtype\n(cnumpy\ndtype\ntR(I3\nS'<'\nNNNtb"), "a value is no array"),
        (
            in_cell(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntS'b'\ntR"),
            "a value is no array",
        ),
        (in_cell(b"cnumpy\nndarray\n(S'a'\ntb"), "a value is no array"),
        (in_cell(b"cnumpy\nndarray\n(S'a'\ntb(S'a'\ntb"), "sets the state of a _Record"),
    ],
)
def test_every_way_to_a_call_is_refused_by_name(content, complaint, mark, tmp_path):
    content = content.replace(b"{}", touching(mark)[0].encode())
    known = set(sys.modules)
    refuse(tmp_path, content, complaint)
    assert not mark.exists()
    assert set(sys.modules) == known  # nothing was imported either


def test_a_module_that_a_pickle_names_is_not_imported(mark, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text(touching(mark)[1])
    monkeypatch.syspath_prepend(tmp_path)
    refuse(tmp_path, b"ctrap\nanything\n.", "names 'trap.anything'")
    assert not mark.exists()


# Pickles that would fill the memory


STEPS = 30_000
NESTED = b"(" * STEPS + b"t" * STEPS


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"r\xff\xff\xff\xff.", "takes a value where there is none"),
        (b"Nr\xff\xff\xff\xff.", "is not one dict"),  # 64 GB in C's own loader
        (b"p" + b"9" * 19 + b"\n.", "takes a value where there is none"),
        (b"T\xff\xff\xff\x7f.", "is cut short"),
        (NESTED + b".", "is not one dict"),
        (b"}" + NESTED + b"Ns.", "a key is not"),  # its hash overflows C's stack
        (b"}(" + NESTED + b"NtNs.", "a key is not"),
        (in_cell(NESTED), "a value is no array"),
        (b")" + b"q\x00h\x00\x86" * STEPS + b".", "is not one dict"),  # 2 ** 30000 values
        (in_cell(b")" + b"q\x00h\x00\x86" * STEPS), "a value is no array"),
        (in_cell(b"cnumpy\ndtype\n)" + b"q\x00h\x00\x86" * STEPS + b"R"), "a value is no array"),
        (b"}" * STEPS + b".", "is not one dict"),
        (b"\x80\x04\x95" + b"\xff" * 8 + b"}.", "holds no frames"),
        (b"N" + b"\x94" * STEPS + b".", "is not one dict"),
        *(
            (code + b"\x00" * 5 + b"\x01\0\0.", "is cut short")
            for code in (b"\x8d", b"\x8e", b"\x96")
        ),
        (b"\x96" + b"\xff" * 8 + b".", "is cut short"),
        (
            pickle.dumps({("QPSK", np.int64(2)): 1}, 2).replace(b"\x08\0\0\0\x02", b"\x07\0\0\0"),
            "no whole",
        ),
    ],
    ids=range(19),
)
def test_a_memory_bomb_takes_no_more_than_its_own_size_allows(content, complaint, tmp_path):
    tracemalloc.start()
    try:
        refuse(tmp_path, content, complaint)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100 * STEPS + 1e6


def test_a_pickle_of_too_many_steps_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "MOST_READS", 1000)
    refuse(tmp_path, b"N" * 1001 + b".", "takes more than 1000 reads")


def test_steps_within_a_frame_count_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "MOST_READS", 1000)
    content = b"\x80\x04\x95" + (1002).to_bytes(8, "little") + b"N" * 1001 + b"."
    refuse(tmp_path, content, "takes more than 1000 reads")


@pytest.mark.parametrize("codec", [b"zip", b"hex_codec"])
def test_text_stands_for_bytes_by_latin1_alone(codec, tmp_path):
    content = pickle.dumps({("QPSK", 2): LONG}, 0)
    assert content.count(b"Vlatin1\n") == 1
    refuse(tmp_path, content.replace(b"latin1", codec), "numbers are no bytes")


def test_one_array_for_many_cells_is_refused(tmp_path):
    array = np.ones((50, 2, 8), "f4")
    content = python2_pickle({("QPSK", snr): array for snr in range(200)}, 2)
    assert len(content) < 20_000
    refuse(tmp_path, content, "several .* cells have the same array")
