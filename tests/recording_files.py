"""Makers of recordings: a simulated signal at any rate, and the files that receivers write."""

import hashlib
import json
import re
import tarfile
from math import inf

import numpy as np
import soundfile
import torch
from scipy import signal as dsp

from modsnr import signals
from modsnr.signals import Channel

WIDE = [f"{kind}_{order}" for kind in ("f64", "f32", "i32", "u32", "i16", "u16")
        for order in ("le", "be")]  # fmt: skip
SIGMF_DATATYPES = [form + kind for form in "cr" for kind in (*WIDE, "i8", "u8")]


def received(
    modulation,
    *,
    symbols,
    samples_per_symbol=8.0,
    carrier=0.0,
    snr_db=inf,
    rolloff=0.25,
    dc=0.0,
    seed=2018,
):
    """Return a received signal, complex64 [sample], of unit power before noise and ``dc``.

    ``snr_db`` is per sample at eight samples a symbol, the project's; ``carrier`` in cycles/sample.
    """
    still = Channel(
        rolloff=rolloff,
        random_timing=False,
        random_phase=False,
        carrier_offset_std=0.0,
        clock_offset_std=0.0,
    )
    eight = signals.simulate(
        torch.zeros(1, dtype=torch.long),
        torch.tensor([inf]),
        generator=torch.Generator().manual_seed(seed),
        classes=[modulation],
        channel=still,
        samples=8 * symbols,
    )[0].numpy()
    count = round(symbols * samples_per_symbol)
    clean = eight if count == len(eight) else dsp.resample(eight, count)
    clean = clean * np.exp(2j * np.pi * carrier * np.arange(count))
    # Per sample, the noise of one density has more power the faster the recording is sampled.
    power = samples_per_symbol / 8 * 10 ** (-snr_db / 10)
    draw = np.random.default_rng(seed).normal(size=(2, count)) * np.sqrt(power / 2)
    return (clean + dc + draw[0] + 1j * draw[1]).astype(np.complex64)


def encoded(values, datatype):
    """Return the bytes of float values [sample], complex or real, within -1..1, as SigMF says."""
    kind, _, order = datatype[1:].partition("_")
    parts = values.astype(np.complex128).view(np.float64) if datatype[0] == "c" else values
    number = np.dtype(f"{'>' if order == 'be' else '<'}{kind[0]}{int(kind[1:]) // 8}")
    if kind[0] != "f":
        half = 2.0 ** (int(kind[1:]) - 1)
        middle = half if kind[0] == "u" else 0.0
        parts = np.clip(np.rint(parts * half), -half, half - 1) + middle
    return parts.astype(number).tobytes()


def write_sigmf(stem, values, datatype="cf32_le", *, annotations=(), captures=None, **fields):
    """Write stem.sigmf-meta and .sigmf-data, return the first; ``fields`` are global, core:.

    A field that is None is left out.
    """
    data = encoded(values, datatype)
    digest = hashlib.sha512(data).hexdigest()
    fields = {"datatype": datatype, "version": "1.0.0", "sha512": digest} | fields
    metadata = {
        "global": {f"core:{name}": value for name, value in fields.items() if value is not None},
        "captures": [{"core:sample_start": 0}] if captures is None else captures,
        "annotations": [
            {"core:sample_start": start}
            | ({} if count is None else {"core:sample_count": count})
            | ({} if label is None else {"core:label": label})
            for start, count, label in annotations
        ],
    }
    meta = stem.with_name(stem.name + ".sigmf-meta")
    meta.write_text(json.dumps(metadata))
    stem.with_name(stem.name + ".sigmf-data").write_bytes(data)
    return meta


def write_archive(path, stem):
    """Pack stem.sigmf-meta and stem.sigmf-data as a SigMF archive."""
    with tarfile.open(path, "w") as archive:
        for ending in (".sigmf-meta", ".sigmf-data"):
            file = stem.with_name(stem.name + ending)
            archive.add(file, arcname=f"{stem.name}/{stem.name}{ending}")
    return path


def write_wav(path, values, kind="PCM_16", rate=48_000, **form):
    """Write complex values as two channels, real ones as one; ``kind``, ``form`` are libsndfile's.

    ``form`` may have a ``format`` other than WAV, and ``endian``.
    """
    parts = values.astype(np.complex128).view(np.float64).reshape(-1, 2)
    parts = parts if np.iscomplexobj(values) else parts[:, :1]
    if kind.startswith("PCM"):
        bits = int(re.sub(r"\D", "", kind))
        parts = np.rint(parts * 2 ** (bits - 1)).astype(np.int32) << (32 - bits)
    soundfile.write(path, parts, rate, subtype=kind, **form)
    return path


def left_unfinished(wav):
    """Let a WAV declare no samples, as a recorder does that is killed; return its path."""
    content = bytearray(wav.read_bytes())
    length = content.index(b"data") + 4
    content[length : length + 4] = bytes(4)
    wav.write_bytes(content)
    return wav
