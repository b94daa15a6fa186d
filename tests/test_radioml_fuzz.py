"""Damaged RadioML files end in frames or in InputError: never in another error, never in a hang.

The mutants are read in a process of their own, so that a crash of HDF5's C library would be seen
as one, and with a limit on memory, so that a huge allocation would be too.
"""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest
from radioml_files import write_2016, write_2018

pytestmark = pytest.mark.long
MUTANTS = 400  # of each file
SECONDS_EACH = 2.0

READ_ALL = textwrap.dedent("""
    import collections, json, resource, sys, time, warnings
    from pathlib import Path
    import numpy as np
    from modsnr import InputError
    from modsnr.recordings import pickles, radioml

    warnings.simplefilter("error")
    room = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 2**30
    resource.setrlimit(resource.RLIMIT_DATA, (room, room))
    opened = {".h5": radioml.open_2018, ".pkl": pickles.open_2016}
    ends, slowest = collections.Counter(), 0.0
    for path in sorted(Path(sys.argv[1]).iterdir()):
        print("reading", path, file=sys.stderr, flush=True)
        start = time.monotonic()
        try:
            source = opened[path.suffix](path)
            assert source.frames().iq.shape == (len(source), source.samples)
            ends["read"] += 1
        except InputError as error:
            assert str(path) in str(error), error
            ends["refused"] += 1
        slowest = max(slowest, time.monotonic() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"ends": ends, "slowest": slowest, "room_left": room - peak}))
""")


def read_all(folder):
    """Return how many files of a folder were read and refused, and the longest time for one."""
    count = len(list(folder.iterdir()))
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
    return json.loads(done.stdout)


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


def mutate(original: Path, folder: Path, rng, *, count=MUTANTS, dense=slice(None)):
    """Write ``count`` mutants of a file; half of them differ within ``dense`` only."""
    folder.mkdir()
    whole = original.read_bytes()
    for number in range(count):
        before, content, after = b"", bytearray(whole), b""
        if number % 2:
            start, stop, _ = dense.indices(len(whole))
            before, content, after = whole[:start], bytearray(whole[start:stop]), whole[stop:]
        MUTATIONS[number % len(MUTATIONS)](content, rng)
        (folder / f"{number:04}{original.suffix}").write_bytes(before + content + after)


def check(found, count, capsys):
    ends = found["ends"]
    with capsys.disabled():
        print(f" {count} mutants: {ends}, {found['slowest']:.3f} s at most", end="")
    assert sum(ends.values()) == count
    assert ends["refused"] > count / 5  # the mutations matter ...
    assert ends["read"] > 0  # ... and what stands in the samples is none of the reader's business
    assert found["slowest"] < SECONDS_EACH
    assert found["room_left"] > 2**29


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
    mutate(path, tmp_path / "mutants", rng, dense=slice(0, 2048))
    check(read_all(tmp_path / "mutants"), MUTANTS, capsys)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_no_damage_to_a_pickle_ends_in_another_error(protocol, tmp_path, rng, capsys):
    path = tmp_path / "whole.pkl"
    options = {"snrs_db": (-20, 2), "classes": ("QPSK", "AM-DSB"), "samples": 16}
    write_2016(path, protocol, frames_per_cell=2, **options)
    mutate(path, tmp_path / "mutants", rng, dense=slice(0, 200))
    check(read_all(tmp_path / "mutants"), MUTANTS, capsys)


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
    check(read_all(folder), 512, capsys)


KINDS = ("<f2", "<f4", ">f8", "<c8", ">i2", "<u8", "?", "S3")


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
        *(array.astype(int).astype(kind) for kind in KINDS),
    ]
    del file[name]
    number %= len(others) + 3
    if number < len(others):
        file[name] = others[number]
    elif number == len(others):
        file.create_group(name)
    elif number == len(others) + 1:  # far more rows than are ever written
        rows = 2 ** int(rng.integers(1, 50))
        file.create_dataset(name, (rows, *array.shape[1:]), array.dtype)


def test_no_change_of_structure_ends_in_another_error(tmp_path, rng, capsys):
    path, folder = tmp_path / "whole.h5", tmp_path / "mutants"
    write_2018(path, frames_per_cell=2, snrs_db=(0, 10), classes=("QPSK", "FM"), samples=16)
    whole = path.read_bytes()
    folder.mkdir()
    for number in range(200):
        mutant = folder / f"{number:03}.h5"
        mutant.write_bytes(whole)
        with h5py.File(mutant, "a") as file:
            restructure(file, "XYZ"[number % 3], number // 3, rng)
    check(read_all(folder), 200, capsys)
