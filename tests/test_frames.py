"""A frame store holds the frames of its source, or does not exist."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import product

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from modsnr import InputError, frames, signals
from modsnr.frames import PARTS, Frames, store, writing

CLASSES = ("BPSK", "QPSK", "8PSK")
GRID = (0.0, 10.0)


def white(count, rng, samples=64):
    """Return white frames, as many of every class and SNR as go."""
    iq = rng.normal(size=(count, samples)) + 1j * rng.normal(size=(count, samples))
    cells = np.array(list(product(range(len(CLASSES)), GRID)))[np.arange(count) % 6]
    return Frames(
        iq.astype(np.complex64),
        cells[:, 0].astype(np.int64),
        cells[:, 1].astype(np.float32),
        CLASSES,
    )


def source_of(given, read=None, **more):
    """Return frames as a source, as from a file of them."""
    read = read or (lambda rows, *_: given.iq[rows])
    labels = given.modulation, given.snr_db, given.classes
    more = {"samples": given.iq.shape[-1], "kind": "white noise"} | more
    return frames.Source(read, *labels, **{"rows": np.arange(len(given))} | more)


def halves(given):
    return frames.split(given.modulation, given.snr_db, seed=1)


def write(path, given, part_of=None, read=None, source=(), **options):
    """Write frames to ``path``, and return the content hash."""
    part_of = halves(given) if part_of is None else part_of
    source = source_of(given, read, **dict(source))
    return frames.write(path, source, part_of, **{"split_seed": 1} | options)


@pytest.fixture(params=[4096, 7], ids=["one shard", "many shards"])
def shards(request, monkeypatch):
    monkeypatch.setattr("modsnr.frames.writing.SHARD_FRAMES", request.param)


@pytest.fixture
def noise(rng):
    return white(120, rng)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "noise" / "frames.h5"


def left_at(path):
    """Return the names in the store's folder, without the lock of its writers."""
    there = path.parent.iterdir() if path.parent.exists() else ()
    return [entry.name for entry in there if entry.name != ".lock"]


def error_db(stored, original):
    """Return each frame's quantisation noise over its power, in dB."""
    noise = np.square(np.abs(stored - original), dtype=float).mean(1)
    return 10 * np.log10(noise / np.square(np.abs(original), dtype=float).mean(1))


# What goes in comes out


def test_what_is_written_is_read_again_in_the_order_of_its_source(noise, path, shards, rng):
    part_of, counts, rows = halves(noise), [], 3 * np.arange(120) + 5
    given = np.zeros((365, 64), np.complex64)
    given[rows] = noise.iq
    read = {"read": lambda rows, *_: given[rows], "source": {"rows": rows}}
    write(path, noise, part_of, progress=counts.append, **read)
    assert sum(counts) == 120
    for number, part in enumerate(PARTS):
        places = np.flatnonzero(part_of == number)
        found = frames.read(path, part)
        assert len(found) == len(places) > 0
        assert_array_equal(found.modulation, noise.modulation[places])
        assert_array_equal(found.snr_db, noise.snr_db[places])
        assert error_db(found.iq, noise.iq[places]).max() < -60
        kinds = found.iq.dtype, found.modulation.dtype, found.snr_db.dtype
        assert kinds == (np.complex64, np.int64, np.float32)
        assert found.classes == CLASSES
        with h5py.File(path) as file:
            assert_array_equal(file[part]["source_index"], rows[places])


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e25])
def test_quantisation_noise_is_far_down_at_any_scale(scale, noise):
    iq = noise.iq * np.float32(scale)
    parts, step = store.quantise(iq)
    assert_array_equal(np.abs(parts.astype(int)).max((1, 2)), 32767)  # the peak, never wrapped
    assert error_db(store.dequantise(parts, step), iq).max() < -80


def test_even_a_lone_pulse_keeps_sixty_decibels_over_the_quantisation_noise(rng):
    # No ratio of peak to power is worse than that of one sample alone: 1,024 times.
    iq = 1e-2 * white(5, rng, samples=1024).iq
    iq[:, 100] = 32
    assert error_db(store.dequantise(*store.quantise(iq)), iq).max() < -60


def test_a_frame_takes_four_kilobytes(path, rng):
    write(path, white(60, rng, samples=1024))
    with h5py.File(path) as file:
        assert sum(file[part]["iq"].nbytes for part in PARTS) == 60 * 4096
    assert path.stat().st_size < 60 * 4096 * 1.15


def test_a_store_describes_its_origin(noise, path):
    part_of = frames.split(noise.modulation, noise.snr_db, seed=4)
    run = "20260101-000000-01_preprocessing"
    content = write(path, noise, part_of, source_hash="abc", run=run, split_seed=4)
    assert frames.describe(path) == {
        "format_version": 2,
        "classes": list(CLASSES),
        "snr_definition": "signal power over noise power per sample, dB",
        "source": "white noise",
        "source_hash": "abc",
        "run": run,
        "split_seed": 4,
        "split_hash": frames.split_hash(part_of),
        "content_hash": content,
        "counts": {"train": 96, "validation": 12, "test": 12},
        "samples": 64,
        "received": False,
    }


# The content hash


def backwards(function, items):
    return map(function, reversed(list(items)))


def test_neither_shards_nor_their_order_change_content_or_bytes(noise, tmp_path, monkeypatch):
    hashes, contents = set(), set()
    for size, each in [(4096, map), (50, map), (7, map), (7, backwards)]:
        monkeypatch.setattr("modsnr.frames.writing.SHARD_FRAMES", size)
        path = tmp_path / f"{size}{each.__name__}.h5"
        hashes.add(write(path, noise, each=each))
        contents.add(path.read_bytes())
    assert len(hashes) == len(contents) == 1
    assert write(path, noise, source={"kind": "of another origin"}) in hashes


def changed(given, **arrays):
    for name, (row, value) in arrays.items():
        array = getattr(given, name).copy()
        array[row] = value
        given = replace(given, **{name: array})
    return given


@pytest.mark.parametrize(
    "change",
    [
        lambda given: changed(given, iq=((5, 3), 0.5)),
        lambda given: changed(given, iq=(5, 2 * given.iq[5])),
        lambda given: changed(given, modulation=(5, 0)),
        lambda given: changed(given, snr_db=(5, 0.0)),
        lambda given: replace(given, classes=("QPSK", "BPSK", "8PSK")),
        lambda given: given[::-1],
        lambda given: given[:-1],
    ],
    ids=["sample", "scale", "modulation", "snr", "names of the classes", "order", "number"],
)
def test_any_change_of_the_contents_changes_the_hash(change, noise, tmp_path):
    first, second = (
        write(tmp_path / "frames.h5", given, np.arange(len(given)) % 3)
        for given in (noise, change(noise))
    )
    assert first != second != write(tmp_path / "frames.h5", noise, np.arange(120) % 2)


# The split

LABELS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([-20.0, 0.0, 2.0])), min_size=0, max_size=200
)


@settings(max_examples=60, deadline=None)
@given(LABELS, st.integers(0, 2**31), st.sampled_from([0.1, 0.25, 0.4]))
def test_every_cell_gives_each_part_its_fraction(labels, seed, fraction):
    modulation = np.array([label[0] for label in labels], dtype=np.int64)
    snr_db = np.array([label[1] for label in labels], dtype=np.float32)
    fractions = {"train": 1 - 2 * fraction, "validation": fraction, "test": fraction}
    part_of = frames.split(modulation, snr_db, seed=seed, fractions=fractions)
    assert part_of.shape == modulation.shape
    for cell in set(labels):
        parts = part_of[[label == cell for label in labels]]
        wanted = round(fraction * len(parts))
        assert (parts == 1).sum() == (parts == 2).sum() == wanted
        assert (parts == 0).sum() == len(parts) - 2 * wanted
    assert_array_equal(part_of, frames.split(modulation, snr_db, seed=seed, fractions=fractions))


def test_a_split_is_a_pure_function_of_seed_and_labels_whatever_their_type():
    modulation, snr_db = np.arange(600) % 3, np.arange(600) % 2 * 2 - 20
    usual, other = (frames.split(modulation, snr_db, seed=seed) for seed in (1, 2))
    assert frames.split_hash(usual) != frames.split_hash(other)
    np.random.default_rng(0).random(10)
    for labels in [
        (modulation.astype(np.uint8), snr_db.astype(np.float32)),
        (5 * modulation + 2, snr_db),
    ]:
        assert_array_equal(frames.split(*labels, seed=1), usual)


@pytest.mark.parametrize(
    "fractions", [{"train": 0.8, "test": 0.2}, (0.8, 0.1, 0.2), (1.2, -0.1, -0.1), (np.nan, 0, 1)]
)
def test_fractions_that_are_none_are_refused(fractions):
    given = fractions if isinstance(fractions, dict) else dict(zip(PARTS, fractions, strict=True))
    with pytest.raises(InputError, match=r"fractions must name .*, not be negative, and sum to 1"):
        frames.split(np.zeros(10), np.zeros(10), seed=0, fractions=given)


# What is refused, naming where, and leaving nothing behind


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"iq": ((83, 5), np.nan)}, "1 of 120 frames hold NaN or infinite .* at index 83"),
        ({"iq": ((83, 5), complex(0, -np.inf))}, "1 of 120 frames hold NaN or infinite"),
        ({"iq": (slice(83, 86), 0)}, "3 of 120 frames have no power at all, the first at index 83"),
        ({"modulation": (slice(83, 85), 3)}, "2 of 120 .* outside the 3 classes, .* index 83"),
        ({"modulation": (83, -1)}, "outside the 3 classes, the first at index 83"),
        ({"snr_db": (83, np.nan)}, "1 of 120 frames have an SNR that is not finite, .* index 83"),
    ],
)
def test_frames_that_cannot_be_used_are_refused_by_index_and_count(wrong, complaint, noise, path):
    write(path, noise)
    before = path.read_bytes()
    with pytest.raises(InputError, match=complaint):
        write(path, changed(noise, **wrong), halves(noise))
    assert left_at(path) == ["frames.h5"]  # the old store
    assert path.read_bytes() == before


@pytest.mark.parametrize("read", [lambda f: f.iq.real, lambda f: f.iq[0], lambda f: f.iq[:, :63]])
def test_samples_that_are_no_frames_are_refused(read, noise, path):
    with pytest.raises(InputError, match=r"from index 0 on must be complex \[120, 64\]; they are"):
        write(path, noise, read=lambda *_: read(noise))
    assert left_at(path) == []


def test_a_frame_in_two_parts_is_refused_naming_both(noise, path):
    twins = changed(noise, iq=(90, noise.iq[11]))
    part_of = np.zeros(120, dtype=np.int8)
    part_of[90] = 2
    with pytest.raises(InputError, match=r"Frames 11 and 90 are the same, .* train and test"):
        write(path, twins, part_of)
    assert left_at(path) == []
    write(path, twins, np.zeros(120, dtype=np.int8))  # in one part it may stand twice


# Deaths in the middle

SLOW = """
import os, signal, sys, time
import numpy as np
from modsnr import frames
from modsnr.frames import writing

writing.SHARD_FRAMES = 10
fatal = int(sys.argv[2])
calls = 0

def read(rows, modulation, snr_db):
    global calls
    calls += 1
    if calls == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    iq = [np.random.default_rng(row).normal(size=(64, 2)) for row in rows]
    return np.asarray(iq, np.float32).view(np.complex64)[..., 0]

labels = np.zeros(200, int), np.zeros(200, np.float32)
source = frames.Source(read, *labels, ("BPSK",), np.arange(200), samples=64)
print(frames.write(sys.argv[1], source, frames.split(*labels, seed=1), split_seed=1), calls)
"""


def write_slowly(path, fatal=0):
    """Write a store of 20 shards in a process that kills itself as it reads the fatal-th."""
    command = [sys.executable, "-c", SLOW, str(path), str(fatal)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "frames.h5"
    return write_slowly(path).stdout.split()[0], path.read_bytes()


def test_a_store_killed_in_the_middle_goes_on_and_ends_the_same(path, undisturbed):
    content, whole = undisturbed
    assert write_slowly(path, fatal=13).returncode == -signal.SIGKILL
    assert not path.exists()
    assert write_slowly(path, fatal=5).returncode == -signal.SIGKILL
    assert write_slowly(path).stdout.split() == [content, str(20 - 12 - 4)]
    assert path.read_bytes() == whole
    assert left_at(path) == ["frames.h5"]


def test_what_was_spoilt_after_a_kill_is_done_again(path, undisturbed):
    write_slowly(path, fatal=13)
    (partial,), (journal,) = (path.parent.glob(f"*.{kind}") for kind in ("partial", "journal"))
    spoilt = bytearray(partial.read_bytes())
    spoilt[len(spoilt) // 5] ^= 1  # amid the samples of the first shards
    partial.write_bytes(spoilt)
    journal.write_text(journal.read_text()[:-5])  # the last line torn
    assert write_slowly(path).stdout.split() == [undisturbed[0], str(20 - 12 + 2)]
    assert path.read_bytes() == undisturbed[1]


def test_an_unfinished_store_is_never_taken_for_a_whole_one(path):
    write_slowly(path, fatal=13)
    with pytest.raises(InputError, match="There is no frame store at"):
        frames.read(path, "train")
    (partial,) = path.parent.glob("*.partial")
    shutil.move(partial, path)  # nor by its name
    with pytest.raises(InputError, match="was never finished"):
        frames.read(path, "train")


def test_a_store_of_another_channel_does_not_go_on_from_an_interrupted_one(path, monkeypatch):
    monkeypatch.setattr(writing, "SHARD_FRAMES", 512)
    labels = np.zeros(1536, int), np.full(1536, 20, np.float32)
    part_of = frames.split(*labels, seed=1)

    done = []

    def interrupt(count):
        done.append(count)
        if len(done) == 2:
            raise KeyboardInterrupt

    def write_through(channel, progress=None):
        make = signals.Simulator(1, ("BPSK",), signals.channel(channel), 128)
        source = frames.simulated(make, *labels)
        return frames.write(path, source, part_of, split_seed=1, progress=progress)

    whole = write_through("rayleigh_2")
    path.unlink()
    with pytest.raises(KeyboardInterrupt):
        write_through("minor", interrupt)
    assert not path.exists()
    assert write_through("rayleigh_2") == whole


def test_two_writers_of_one_store_are_kept_apart(noise, path):
    def read(rows, modulation, snr_db):
        with pytest.raises(InputError, match=r"Another process is writing .*frames\.h5"):
            write(path, noise)
        return noise.iq[rows]

    write(path, noise, read=read)
    assert frames.describe(path)["counts"]["train"] == 96


@pytest.mark.parametrize("call", ["os.posix_fallocate", "modsnr.frames.writing.digests"])
def test_a_full_disk_is_refused_and_nothing_is_left(call, noise, path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(call, full)
    with pytest.raises(InputError, match=r"There is no room.* GB are free.*MODSNR_ROOT"):
        write(path, noise)
    assert left_at(path) == []


# Parts of a store, and its digests


def test_rows_of_a_part_are_read_alone_in_any_order(noise, path):
    write(path, noise)
    whole, rows = frames.read(path, "train"), np.array([90, 3, 4, 5, 0])
    some = frames.read(path, "train", rows)
    assert_array_equal(some.iq, whole.iq[rows])
    assert_array_equal(some.snr_db, whole.snr_db[rows])
    modulation, snr_db = frames.labels(path, "train")
    assert_array_equal(modulation, whole.modulation)
    assert_array_equal(snr_db, whole.snr_db)
    assert len(frames.read(path, "train", [])) == 0
    for row in (96, -1):
        with pytest.raises(InputError, match="has 96 train frames; it has no rows"):
            frames.read(path, "train", [0, row])


def test_a_sound_store_is_verified_and_a_flipped_bit_is_found(noise, path):
    write(path, noise)
    frames.verify(path)
    for name, at, complaint in [
        ("validation/iq", (5, 3, 1), "frame 5 of validation is not what was written"),
        ("test/snr_db", 2, "labels are not what was written"),
    ]:
        write(path, noise)
        with h5py.File(path, "a") as file:
            file[name][at] = file[name][at] + 1
        with pytest.raises(InputError, match=complaint):
            frames.verify(path)


# Frames to leave out


def test_frames_that_cannot_be_used_are_left_out_and_counted_on_request(noise, path, shards):
    spoilt = changed(noise, iq=([5, 60], 0))
    spoilt = changed(spoilt, iq=(np.ix_([7, 90], [3]), np.nan))
    spoilt = changed(spoilt, iq=((100, 8), np.inf))
    kept = np.delete(np.arange(120), [5, 7, 60, 90, 100])
    counts = []
    found = frames.cleaned(source_of(spoilt), unusable=True, progress=counts.append)
    assert_array_equal(found.rows, kept)
    assert found.facts == {"unusable frames, left out": 5}
    assert sum(counts) == 120
    frames.write(path, found, halves(found), split_seed=1)
    stored = np.concatenate([frames.read(path, part).snr_db for part in PARTS])
    assert len(stored) == 115
    with pytest.raises(
        InputError, match="; pass -p drop_unusable true to leave all such frames out"
    ):
        write(path, spoilt)


def test_later_copies_of_a_frame_are_left_out_and_counted_on_request(noise, shards):
    copied = changed(noise, iq=([50, 110], 3 * noise.iq[20]))  # a store keeps no scale apart
    copied = changed(copied, iq=([4, 5], 0))
    source = replace(source_of(copied), facts={"author": "me"})
    found = frames.cleaned(source, duplicates=True)
    assert_array_equal(found.rows, np.delete(np.arange(120), [50, 110]))
    assert found.facts == {"author": "me", "repeated frames, left out": 2}
    both = frames.cleaned(source, unusable=True, duplicates=True)
    assert_array_equal(both.rows, np.delete(np.arange(120), [4, 5, 50, 110]))
    assert both.facts["unusable frames, left out"] == 2


def test_a_source_of_which_nothing_is_left_is_refused(noise):
    with pytest.raises(InputError, match="None of the 120 frames can be used"):
        frames.cleaned(source_of(changed(noise, iq=(slice(None), 0))), unusable=True)


def test_all_but_the_first_of_equal_digests_are_repeated(rng):
    few = rng.integers(0, 256, (200, 16), dtype=np.uint8)
    few[100:, :8] = few[:100, :8]  # digests that share a half are different
    digests, seen = few[rng.integers(0, 200, 500)], set()
    slow = [digest in seen or seen.add(digest) is not None for digest in map(bytes, digests)]
    assert_array_equal(frames.repeated(digests), slow)
    assert frames.repeated(digests[:0]).shape == (0,)


# The data card


def test_the_counts_are_those_of_every_cell_and_part(noise, path):
    write(path, noise)
    table = frames.counts(path)
    assert table.drop_duplicates(["modulation", "snr_db"]).shape[0] == len(table) == 6
    assert (table[["train", "validation", "test"]] == [16, 2, 2]).all(axis=None)


def test_the_card_shows_counts_hashes_facts_and_audits(noise, path):
    content = write(path, noise[noise.modulation != 1], source_hash="abc")
    audit = pd.DataFrame({"label": [0.0, 10.0], "bias": [0.123456, -9.03]})
    text = frames.card(path, {"receiver": "none"}, {"SNR audit": audit})
    assert (path.parent / "data_card.md").read_text() == text
    assert "80 frames, 3 classes." in text
    for line in (
        f"- content_hash: {content}",
        "- source_hash: abc",
        "- receiver: none",
        "- train: 64",
        "| modulation | 0 dB | 10 dB |",
        "| BPSK | 20 | 20 |",
        "## SNR audit",
        "| 0 | 0.123 |",
    ):
        assert line in text.splitlines(), line


# Files that are no store


def test_a_missing_file_and_a_missing_part_are_refused(noise, path):
    with pytest.raises(
        InputError, match=r"There is no frame store at .*frames\.h5: run 01_preprocessing"
    ):
        frames.describe(path)
    write(path, noise)
    with pytest.raises(
        InputError, match=r"no part is called 'dev'; .*known: train, validation, test"
    ):
        frames.read(path, "dev")


def test_a_file_that_is_no_store_is_refused(noise, path):
    path.parent.mkdir(parents=True)
    path.write_text("hello")
    for what, complaint in {
        path: "is no HDF5 file, or a damaged",
        path.parent: "cannot be read: Is a directory",
    }.items():
        with pytest.raises(InputError, match=complaint):
            frames.read(what, "train")
    with h5py.File(path, "w") as file:
        file["X"] = [1.0]
    with pytest.raises(InputError, match="no frame store of format 2, but None"):
        frames.read(path, "train")


def test_a_store_that_another_process_writes_is_locked_and_not_damaged(noise, path):
    write(path, noise)
    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"another process has locked .*HDF5_USE_FILE_LOCKING"):
            frames.read(path, "train")
    assert len(frames.read(path, "train")) == 96


def test_a_disk_that_fails_is_not_taken_for_a_damaged_file():
    # Nothing is mapped at the first page of a process, so that reading it is an error of the disk.
    with (
        pytest.raises(InputError, match=r"Input/output error. Its disk or server fails"),
        store.open_hdf5("/proc/self/mem"),
    ):
        pass


@pytest.mark.parametrize("loss", ["train", "train/step", "test/snr_db"])
def test_a_store_that_lacks_something_is_refused(loss, noise, path):
    write(path, noise)
    with h5py.File(path, "a") as file:
        del file[loss]
    with pytest.raises(InputError, match="is no HDF5 file, or a damaged"):
        frames.describe(path) if "snr" in loss else frames.read(path, "train")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_store_cut_short_is_refused(share, noise, path):
    write(path, noise)
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(InputError, match="is no HDF5 file, or a damaged"):
        frames.read(path, "train")


def test_a_damaged_structure_is_refused_and_never_another_error(noise, path, rng):
    write(path, noise[:12], np.arange(12) % 3)
    whole = path.read_bytes()
    refused = 0
    for place in rng.integers(len(whole), size=200):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        try:
            frames.read(path, "train")
        except InputError:
            refused += 1
    assert refused > 10


# Which frames


def test_some_rows_are_drawn_once_each_by_the_seed_and_no_more_than_there_are():
    some = frames.some_of(100, 7, seed=3)
    assert len(set(some.tolist())) == 7
    assert (np.diff(some) > 0).all()
    assert_array_equal(some, frames.some_of(100, 7, seed=3))
    assert some.tolist() != frames.some_of(100, 7, seed=4).tolist()
    assert frames.some_of(5, 9, seed=0).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match="of the 5 frames must be drawn, not 0"):
        frames.some_of(5, 0, seed=0)


def test_a_class_that_is_named_twice_is_refused():
    with pytest.raises(InputError, match="named once; BPSK is named more often"):
        frames.grid_labels(["BPSK", "QPSK", "BPSK"], [0, 10], 2)
