"""How long an answer takes: of a recording, and of a stream beside its own length."""

import io

import numpy as np

import modsnr
from modsnr.classifier import rehearsal
from modsnr.classifier.stream import listen

RATE = 48_000.0  # Hz


def ten_seconds():
    """QPSK at about five samples a symbol, ten seconds long at 48 kHz."""
    one = rehearsal.rehearse("QPSK", 15.0, seed=4, through="minor").recording.values
    return np.tile(one, -(-480_000 // len(one)))[:480_000]


def test_ten_seconds_are_answered_in_less(medians):
    iq = ten_seconds()
    modsnr.classify(iq, frames=8)  # tables and compiled loops are made once
    found = medians({"answer": lambda: modsnr.classify(iq, sample_rate=RATE)}, turns=3)
    print(f"{found['answer']:.1f} s for 10 s of 48 kHz")
    assert found["answer"] < 10


def test_a_stream_is_answered_as_fast_as_it_comes(medians):
    iq = ten_seconds()
    raw = (iq / np.abs(iq).max()).astype(np.complex64).tobytes()
    ways = {"ten": lambda: list(listen(io.BytesIO(raw), "cf32", RATE))}
    ways["ten"]()
    seconds = medians(ways, turns=3)["ten"]
    print(f"{len(iq) / seconds:,.0f} samples/s of a stream in blocks of a second")
    assert seconds < 10
