"""Whatever stands in a file, it is read or refused: no other error, no time, no memory."""

import json
import time
import tracemalloc

import numpy as np
import pytest
from recording_files import encoded, received, write_archive, write_sigmf, write_wav

from modsnr import InputError
from modsnr.recordings.conditioning import condition
from modsnr.recordings.files import RAW_FORMATS, open_recording

SECONDS = 2.0  # for one input; usual are a few milliseconds
BYTES = 64 * 2**20  # for the whole test; the files hold a few ten kilobytes
NASTY = (
    *(None, True, -1, 0, 1, 0.5, 2**31, 2**63 - 1, 2**64, 10**400, 1e308, np.nan, np.inf, -np.inf),
    *("", "core:label", "cf32_le", "ri8", "\0", "9" * 50, [], {}, [[]], [{}], [None], {"": {}}),
)


@pytest.fixture(scope="module")
def iq():
    return received("QPSK", symbols=900, samples_per_symbol=5.3, snr_db=10) / 8


@pytest.fixture
def outcomes():
    """Count what became of the inputs; refuse to have spent time or memory on them."""
    counts = {"read": 0, "refused": 0}
    tracemalloc.start()
    yield counts
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < BYTES


def use(path, counts, **options):
    """Open, read and condition a file; anything but success and InputError fails the test."""
    began = time.perf_counter()
    try:
        recording = open_recording(path, **options)
        recording.read(0, recording.samples)
        condition(recording, max_frames=2)
        counts["read"] += 1
    except InputError:
        counts["refused"] += 1
    assert time.perf_counter() - began < SECONDS


def mutated(content, rng):
    """Return bytes with a few of them changed, cut out, doubled, or cut off at the end."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        start = int(rng.integers(len(content) + 1))
        stop = min(len(content), start + int(rng.geometric(0.2)))
        match rng.integers(5):
            case 0:
                content[start:stop] = rng.bytes(stop - start)
            case 1:
                del content[start:stop]
            case 2:
                content[start:start] = content[start:stop]
            case 3:
                content[start:stop] = bytes([rng.choice([0, 0x7F, 0x80, 0xFF])]) * (stop - start)
            case 4:
                del content[start + (len(content) - start) // 2 :]
    return bytes(content)


def twisted(tree, rng):
    """Return a JSON tree with one value somewhere replaced, left out, or moved."""
    tree = json.loads(json.dumps(tree))
    places = []

    def walk(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(tree)
    for node, key in (places[k] for k in rng.integers(len(places), size=rng.integers(1, 3))):
        match rng.integers(4):
            case 0 | 1:
                node[key] = NASTY[rng.integers(len(NASTY))]
            case 2 if isinstance(node, dict):
                node.pop(key, None)
            case _:
                other, place = places[rng.integers(len(places))]
                node[key] = json.loads(
                    json.dumps(other.get(place) if isinstance(other, dict) else 7)
                )
    return tree


ANNOTATIONS = [(0, 800, "QPSK"), (900, None, None), (1000, 100, "8PSK")]


def test_sigmf_metadata_with_changed_characters(iq, rng, outcomes, tmp_path):
    meta = write_sigmf(tmp_path / "a", iq, "ci16_le", annotations=ANNOTATIONS, sample_rate=1e6)
    whole = meta.read_bytes()
    for _ in range(250):
        meta.write_bytes(mutated(whole, rng))
        use(meta, outcomes)
    assert min(outcomes.values()) > 10


def test_sigmf_metadata_with_changed_values(iq, rng, outcomes, tmp_path):
    meta = write_sigmf(tmp_path / "a", iq, "ci16_le", annotations=ANNOTATIONS, sample_rate=1e6)
    tree = json.loads(meta.read_text())
    del tree["global"]["core:sha512"]  # else it refuses every other type at once
    for _ in range(400):
        meta.write_text(json.dumps(twisted(tree, rng)))
        use(meta, outcomes)
    assert min(outcomes.values()) > 10


def test_sigmf_samples_cut_and_changed(iq, rng, outcomes, tmp_path):
    meta = write_sigmf(tmp_path / "a", iq, "cf32_be")
    tree = json.loads(meta.read_text())
    del tree["global"]["core:sha512"]
    meta.write_text(json.dumps(tree))
    data = tmp_path / "a.sigmf-data"
    whole = data.read_bytes()
    for _ in range(100):
        data.write_bytes(mutated(whole, rng))
        use(meta, outcomes)
    assert min(outcomes.values()) > 5


def test_archives_with_changed_bytes(iq, rng, outcomes, tmp_path):
    write_sigmf(tmp_path / "a", iq, "ci8")
    packed = write_archive(tmp_path / "b.sigmf", tmp_path / "a")
    whole = packed.read_bytes()
    for _ in range(100):
        head = int(rng.choice([600, 2500, len(whole)]))
        packed.write_bytes(mutated(whole[:head], rng) + whole[head:])
        use(packed, outcomes)
    assert min(outcomes.values()) > 5


@pytest.mark.parametrize("kind", ["<i2", "24", "<f4"])
def test_wav_files_with_changed_headers(kind, iq, rng, outcomes, tmp_path):
    path = write_wav(tmp_path / "a.wav", iq, kind)
    whole = path.read_bytes()
    for _ in range(150):
        path.write_bytes(mutated(whole[:60], rng) + whole[60:])
        use(path, outcomes)
    assert min(outcomes.values()) > 5


@pytest.mark.parametrize("field", range(4, 44, 2))
def test_wav_files_that_declare_four_gigabytes(field, iq, outcomes, tmp_path):
    path = write_wav(tmp_path / "a.wav", iq, "24")
    whole = path.read_bytes()
    path.write_bytes(whole[:field] + b"\xff\xff\xff\xff" + whole[field + 4 :])
    use(path, outcomes)


@pytest.mark.parametrize("name", RAW_FORMATS)
def test_raw_files_of_any_length_and_content(name, iq, rng, outcomes, tmp_path):
    path = tmp_path / "a.bin"
    for _ in range(60):
        path.write_bytes(rng.bytes(int(rng.choice([0, 1, 15, 16, 999, 4000, 40_000]))))
        use(path, outcomes, iq_format=name)
    path.write_bytes(encoded(iq, {"f": "cf32_le"}.get(name[1], "ci16_le")))
    use(path, outcomes, iq_format=name)
    assert outcomes["refused"] > 5
