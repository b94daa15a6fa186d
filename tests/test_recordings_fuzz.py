"""Damaged files end in frames or in InputError: never in another error, never in a hang.

The mutants are read in a process of their own, so that a crash of a C library would be seen as one,
and with a limit on memory, so that a huge allocation would be too.
"""

import json
import signal
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest
from radioml_files import write_2016, write_2018
from recording_files import encoded, received, write_archive, write_sigmf, write_wav

from modsnr.recordings.files import RAW_FORMATS

pytestmark = pytest.mark.long
SECONDS_EACH = 3.0
NASTY = (
    *(None, True, -1, 0, 1, 0.5, 2**31, 2**63 - 1, 2**64, 10**400, 1e308, np.nan, np.inf, -np.inf),
    *("", "core:label", "cf32_le", "ri8", "\0", "9" * 50, [], {}, [[]], [{}], [None], {"": {}}),
)
READ_ALL = textwrap.dedent("""
    import collections, json, resource, sys, time, warnings
    from pathlib import Path
    import numpy as np
    import sigmf, soundfile
    from modsnr import InputError
    from modsnr.recordings import conditioning, files, pickles, radioml

    def read_frames(source):
        assert source.frames().iq.shape == (len(source), source.samples)

    def read_recording(path):
        name = path.suffix[1:]
        recording = files.open_recording(path, iq_format=name if name in files.RAW_FORMATS else "")
        recording.read(0, recording.samples)
        made = conditioning.ResampledFrames(recording, conditioning.tune(recording))
        made.survey([made.read(np.arange(min(made.count, 2)))])

    warnings.simplefilter("error")
    room = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 2**30
    resource.setrlimit(resource.RLIMIT_DATA, (room, room))
    read = {
        ".h5": lambda path: read_frames(radioml.open_2018(path)),
        ".pkl": lambda path: read_frames(pickles.open_2016(path)),
    }
    ends, slowest = collections.Counter(), 0.0
    for path in sorted(Path(sys.argv[1]).iterdir()):
        if path.suffix == ".sigmf-data":
            continue
        print("reading", path, file=sys.stderr, flush=True)
        start = time.monotonic()
        try:
            read.get(path.suffix, read_recording)(path)
            ends["read"] += 1
        except InputError as error:
            assert path.stem in str(error), error
            ends["refused"] += 1
        slowest = max(slowest, time.monotonic() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"ends": ends, "slowest": slowest, "room_left": room - peak}))
""")


def check(folder, count, capsys, refused=0.2):
    """Read the mutants in a folder: all end well, and at least a share of them is refused."""
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(folder)],
        capture_output=True,
        text=True,
        timeout=60 + count * SECONDS_EACH,
        check=False,
    )
    last = done.stderr.strip().splitlines()[-25:]
    assert done.returncode != -signal.SIGSEGV, f"the C library crashed, {last[-1]}"
    assert done.returncode == 0, "\n".join(last)
    found = json.loads(done.stdout)
    ends = found["ends"]
    with capsys.disabled():
        print(f" {count} mutants: {ends}, {found['slowest']:.3f} s at most", end="")
    assert sum(ends.values()) == count
    assert ends["refused"] > count * refused  # the mutations matter ...
    assert ends.get("read", 0) > 0  # ... and what the samples are is none of the reader's business
    assert found["slowest"] < SECONDS_EACH
    assert found["room_left"] > 2**29


def flipped(content, rng):
    """Some bits turned."""
    for place in rng.integers(len(content), size=rng.integers(1, 5)):
        content[place] ^= 1 << int(rng.integers(8))


def overwritten(content, rng):
    """Up to eight bytes at one place replaced, often by the edges of what an integer can say."""
    edges = [b"\x00", b"\xff", b"\xff" * 8, bytes(8), b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80"]
    place = int(rng.integers(len(content)))
    value = rng.bytes(4) if rng.integers(3) == 0 else edges[rng.integers(len(edges))]
    content[place : place + len(value)] = value


def cut(content, rng):
    """The end missing."""
    del content[int(rng.integers(len(content))) :]


def lengthened(content, rng):
    """Bytes put in between."""
    place = int(rng.integers(len(content)))
    content[place:place] = rng.bytes(int(rng.integers(1, 9)))


def shortened(content, rng):
    """Bytes left out in between."""
    place = int(rng.integers(len(content)))
    del content[place : place + int(rng.integers(1, 9))]


def repeated(content, rng):
    """One stretch copied over another."""
    source, target = (int(place) for place in rng.integers(len(content), size=2))
    piece = content[source : source + int(rng.integers(1, 65))]
    content[target : target + len(piece)] = piece


MUTATIONS = (flipped, overwritten, cut, lengthened, shortened, repeated)


def mutate(original, folder, rng, *, count=400, head=None):
    """Write mutants of a file; half of them differ within the first ``head`` bytes only."""
    folder.mkdir()
    whole = original.read_bytes()
    data = original.with_suffix(".sigmf-data")
    for number in range(count):
        kept = head if head and number % 2 else len(whole)
        content = bytearray(whole[:kept])
        MUTATIONS[number % len(MUTATIONS)](content, rng)
        mutant = folder / f"{number:04}{original.suffix}"
        mutant.write_bytes(content + whole[kept:])
        if original.suffix == ".sigmf-meta":
            mutant.with_suffix(".sigmf-data").hardlink_to(data)


@pytest.mark.parametrize("kind", ["plain", "chunked", "compressed", "latest"])
def test_no_damage_to_an_hdf5_file_ends_in_another_error(kind, tmp_path, rng, capsys):
    path = tmp_path / "whole.h5"
    write_2018(path, frames_per_cell=2, snrs_db=(0, 10), classes=("QPSK", "FM"), samples=16)
    if kind != "plain":
        with h5py.File(path) as file:
            arrays = {name: file[name][:] for name in "XYZ"}
        options = {"chunks": True} | ({"compression": "gzip"} if kind == "compressed" else {})
        with h5py.File(path, "w", libver="latest" if kind == "latest" else None) as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array, **options)
    mutate(path, tmp_path / "mutants", rng, head=2048)
    check(tmp_path / "mutants", 400, capsys)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_no_damage_to_a_pickle_ends_in_another_error(protocol, tmp_path, rng, capsys):
    path = tmp_path / "whole.pkl"
    options = {"snrs_db": (-20, 2), "classes": ("QPSK", "AM-DSB"), "samples": 16}
    write_2016(path, protocol, frames_per_cell=2, **options)
    mutate(path, tmp_path / "mutants", rng, head=200)
    check(tmp_path / "mutants", 400, capsys)


def test_no_opcode_put_anywhere_into_a_pickle_ends_in_another_error(tmp_path, rng, capsys):
    path = tmp_path / "whole.pkl"
    write_2016(path, 2, frames_per_cell=1, snrs_db=(2,), classes=("QPSK",), samples=4)
    whole, folder = path.read_bytes(), tmp_path / "mutants"
    folder.mkdir()
    for code in range(256):  # each over one byte and between two
        for put_in in (False, True):
            place = int(rng.integers(2, len(whole)))
            content = whole[:place] + bytes([code]) + whole[place + (not put_in) :]
            (folder / f"{code:03}{put_in:d}.pkl").write_bytes(content)
    check(folder, 512, capsys)


def restructure(file, name, number, rng):
    """Replace a dataset by something that HDF5 itself finds right, or by nothing."""
    array = file[name][:]
    others = [
        array.T,
        array[:-1],
        array[..., :0],
        np.repeat(array, 2, -1),
        rng.permutation(array),
        array + rng.integers(-1, 2, array.shape).astype(array.dtype),
        array[0, 0],
        h5py.Empty("f4"),
        h5py.SoftLink("/Y"),
        *(array.astype(int).astype(kind) for kind in ("<f2", ">f8", "<c8", ">i2", "?", "S3")),
    ]
    del file[name]
    number %= len(others) + 2
    if number < len(others):
        file[name] = others[number]
    elif number == len(others):  # far more rows than are ever written
        rows = 2 ** int(rng.integers(1, 50))
        file.create_dataset(name, (rows, *array.shape[1:]), array.dtype)


def test_no_change_of_structure_ends_in_another_error(tmp_path, rng, capsys):
    path, folder = tmp_path / "whole.h5", tmp_path / "mutants"
    write_2018(path, frames_per_cell=2, snrs_db=(0, 10), classes=("QPSK", "FM"), samples=16)
    whole = path.read_bytes()
    folder.mkdir()
    for number in range(150):
        mutant = folder / f"{number:03}.h5"
        mutant.write_bytes(whole)
        with h5py.File(mutant, "a") as file:
            restructure(file, "XYZ"[number % 3], number // 3, rng)
    check(folder, 150, capsys)


@pytest.fixture(scope="module")
def iq():
    return received("QPSK", symbols=900, samples_per_symbol=5.3, snr_db=10) / 8


AUDIO = {
    **{kind: {"kind": kind} for kind in ("PCM_16", "PCM_24", "FLOAT")},
    **{name: {"format": name} for name in ("RF64", "W64", "AU", "AIFF", "FLAC")},
    "RIFX": {"format": "WAV", "endian": "BIG"},
    "OGG": {"format": "OGG", "kind": "VORBIS"},
}


@pytest.mark.parametrize("kind", ["meta", "archive", *AUDIO, *RAW_FORMATS])
def test_no_damage_to_a_recording_ends_in_another_error(kind, iq, tmp_path, rng, capsys):
    head = 60
    if kind in RAW_FORMATS:
        path = tmp_path / f"a.{kind}"
        values = iq if kind[0] == "c" else (iq * 1j ** np.arange(len(iq))).real
        path.write_bytes(encoded(values, RAW_FORMATS[kind]))
    elif kind in ("meta", "archive"):
        spans, head = [(0, 800, "QPSK"), (900, None, None), (1000, 100, "8PSK")], 2500
        path = write_sigmf(tmp_path / "a", iq, "ci8", annotations=spans, sample_rate=1e6)
        if kind == "archive":
            path = write_archive(tmp_path / "b.sigmf", path.with_suffix(""))
    else:
        path = write_wav(tmp_path / "a.wav", iq, **AUDIO[kind])
    mutate(path, tmp_path / "mutants", rng, count=150, head=head)
    check(tmp_path / "mutants", 150, capsys, refused=0 if kind in RAW_FORMATS else 0.1)


def twisted(tree, rng):
    """Return a JSON tree with one or two values somewhere replaced or left out."""
    tree, places = json.loads(json.dumps(tree)), []

    def walk(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(tree)
    for node, key in (places[k] for k in rng.integers(len(places), size=rng.integers(1, 3))):
        if isinstance(node, dict) and rng.integers(4) == 0:
            node.pop(key, None)
        else:
            node[key] = NASTY[rng.integers(len(NASTY))]
    return tree


def test_no_value_in_sigmf_metadata_ends_in_another_error(iq, tmp_path, rng, capsys):
    # The hash of the samples would refuse every other type and every change of them at once.
    spans, folder = [(0, 800, "QPSK"), (900, None, None), (1000, 100, "8PSK")], tmp_path / "mutants"
    captures = [
        {"core:sample_start": start, "core:frequency": frequency, "core:global_index": 3 * start}
        for start, frequency in [(0, 1e8), (10, 1e8), (20, 2e8)]
    ]
    form = {"annotations": spans, "captures": captures, "sample_rate": 1e6}
    meta = write_sigmf(tmp_path / "a", iq, sha512=None, **form)
    whole = json.loads(meta.read_text())
    folder.mkdir()
    for number in range(400):
        mutant = folder / f"{number:03}.sigmf-meta"
        mutant.write_text(json.dumps(twisted(whole, rng)))
        mutant.with_suffix(".sigmf-data").hardlink_to(tmp_path / "a.sigmf-data")
    check(folder, 400, capsys)
