"""Whatever stands in a file, it is read or refused: no other error, no time, no memory."""

import json
import time
import tracemalloc
from functools import partial

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


def sigmf(iq, folder, datatype="ci16_le", **fields):
    spans = [(0, 800, "QPSK"), (900, None, None), (1000, 100, "8PSK")]
    return write_sigmf(folder / "a", iq, datatype, annotations=spans, sample_rate=1e6, **fields)


def archive(iq, folder):
    return write_archive(folder / "b.sigmf", sigmf(iq, folder, "ci8").with_suffix(""))


def wav(kind):
    return lambda iq, folder: write_wav(folder / "a.wav", iq, kind)


def values(whole, rng):
    return json.dumps(twisted(json.loads(whole), rng)).encode()


def beginning(whole, rng):
    return mutated(whole[:60], rng) + whole[60:]


def heads(whole, rng):
    head = int(rng.choice([600, 2500, len(whole)]))
    return mutated(whole[:head], rng) + whole[head:]


# The hash of the samples would refuse every other type and every change of them at once.
@pytest.mark.long
@pytest.mark.parametrize(
    ("write", "ending", "change", "times"),
    [
        (sigmf, ".sigmf-meta", mutated, 250),
        (partial(sigmf, sha512=None), ".sigmf-meta", values, 400),
        (partial(sigmf, datatype="cf32_be", sha512=None), ".sigmf-data", mutated, 100),
        (archive, ".sigmf", heads, 100),
        (wav("PCM_16"), ".wav", beginning, 150),
        (wav("PCM_24"), ".wav", beginning, 150),
        (wav("FLOAT"), ".wav", beginning, 150),
    ],
)
def test_files_with_changed_bytes(write, ending, change, times, iq, rng, outcomes, tmp_path):
    path = write(iq, tmp_path)
    target = path.with_suffix(ending)
    whole = target.read_bytes()
    for _ in range(times):
        target.write_bytes(change(whole, rng))
        use(path, outcomes)
    assert min(outcomes.values()) > 5


@pytest.mark.parametrize("field", range(4, 44, 2))
def test_wav_files_that_declare_four_gigabytes(field, iq, outcomes, tmp_path):
    path = write_wav(tmp_path / "a.wav", iq, "PCM_24")
    whole = path.read_bytes()
    path.write_bytes(whole[:field] + b"\xff\xff\xff\xff" + whole[field + 4 :])
    use(path, outcomes)


@pytest.mark.long
@pytest.mark.parametrize("name", RAW_FORMATS)
def test_raw_files_of_any_length_and_content(name, iq, rng, outcomes, tmp_path):
    path = tmp_path / "a.bin"
    for _ in range(60):
        path.write_bytes(rng.bytes(int(rng.choice([0, 1, 15, 16, 999, 4000, 40_000]))))
        use(path, outcomes, iq_format=name)
    path.write_bytes(encoded(iq, RAW_FORMATS[name]))
    use(path, outcomes, iq_format=name)
    assert outcomes["refused"] > 5
