"""Makers of files in RadioML's formats, with signals that are what their labels say."""

import pickle
import struct
from io import BytesIO
from math import pi
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np
import torch

from modsnr import signals
from modsnr.recordings.radioml import CLASSES_2018

GRID_2018 = tuple(range(-20, 32, 2))
CLASSES_2016 = (
    *("8PSK", "AM-DSB", "AM-SSB", "BPSK", "CPFSK", "GFSK"),
    *("PAM4", "QAM16", "QAM64", "QPSK", "WBFM"),
)


# Signals


def message(frames, samples, band, rng):
    """Return analytic signals whose real parts are Gaussian messages of unit mean power.

    Complex [frame, sample]; both parts hold no frequency beyond ``band`` (cycles/sample).
    """
    frequency = np.fft.fftfreq(samples)
    kept = (frequency > 0) & (frequency <= max(band, 1 / samples))
    spectrum = rng.normal(size=(frames, 2 * samples)).view(complex) * kept
    analytic = np.fft.ifft(spectrum)
    return analytic / np.sqrt(np.square(analytic.real).mean(1, keepdims=True))


def analog(name, frames, samples, rng, *, band=0.05, deviation=0.02):
    """Return noise-free analog signals, complex [frame, sample], at a random carrier phase.

    ``band`` is the message's, ``deviation`` that of FM, rms, both in cycles/sample.
    """
    phase = np.exp(2j * pi * rng.random((frames, 1)))
    if name in ("FM", "WBFM"):  # of a fifth of the band, so that Carson's band is about twice 0.06
        sound = message(frames, samples, band / 5, rng).real
        return phase * np.exp(2j * pi * deviation * sound.cumsum(1))
    analytic = message(frames, samples, band, rng)
    sideband = analytic if name.startswith("AM-SSB") else analytic.real
    return phase * (sideband + 3.0 if name.endswith("WC") else sideband)


def keyed(name, frames, samples, rng):
    """Return noise-free CPFSK (index 1/2) or GFSK (smoothed bits), 8 samples a symbol."""
    bits = np.repeat(rng.integers(0, 2, (frames, samples // 8 + 1)) * 2.0 - 1, 8, axis=1)
    bits = bits[:, :samples]
    if name == "GFSK":
        smooth = np.fft.rfft(bits) * np.exp(-((np.fft.rfftfreq(samples) * 20) ** 2))
        bits = np.fft.irfft(smooth, n=samples)
    return np.exp(2j * pi * (rng.random((frames, 1)) + bits.cumsum(1) / 32))


def simulated(name, snr_db, *, samples, rng):
    """Return one frame an SNR, complex64 [frame, sample], each of unit mean power, noise and all.

    ``snr_db`` is dB per sample [frame]. Names are those of 2018.01A and of 2016.10.
    """
    name = {"QAM16": "16QAM", "QAM64": "64QAM", "PAM4": "4ASK"}.get(name, name)
    if name in signals.DIGITAL_CLASSES:
        iq = signals.simulate(
            torch.zeros(len(snr_db), dtype=torch.long),
            torch.tensor(snr_db, dtype=torch.float32),
            generator=torch.Generator().manual_seed(int(rng.integers(2**62))),
            classes=[name],
            samples=samples,
        ).numpy()
    else:
        make = keyed if name in ("CPFSK", "GFSK") else analog
        iq = make(name, len(snr_db), samples, rng)
        iq /= np.sqrt(np.square(np.abs(iq)).mean(1, keepdims=True))
        sigma = np.sqrt(0.5) * 10 ** (-np.asarray(snr_db)[:, None] / 20)
        iq += sigma * rng.normal(size=(len(iq), 2 * samples)).view(complex)
    return (iq / np.sqrt(np.square(np.abs(iq)).mean(1, keepdims=True))).astype(np.complex64)


# 2018.01A


def write_2018(
    path,
    *,
    frames_per_cell,
    snrs_db=GRID_2018,
    classes=CLASSES_2018,
    column_order=CLASSES_2018,
    seed=2018,
    samples=1024,
    tile=None,
):
    """Write a file laid out as 2018.01A: cell after cell, by column of Y, then by SNR.

    ``column_order`` is what the columns of Y mean. With ``tile``, only so many frames a cell are
    simulated and the rest are these again at other phases, which is some twenty times faster.
    """
    rng = np.random.default_rng(seed)
    numbers = sorted(column_order.index(name) for name in classes)
    frames = len(numbers) * len(snrs_db) * frames_per_cell
    some = min(tile or frames_per_cell, frames_per_cell)
    with h5py.File(path, "w") as file:
        x = file.create_dataset("X", (frames, samples, 2), "<f4")
        y = file.create_dataset("Y", (frames, len(column_order)), "<i8")
        z = file.create_dataset("Z", (frames, 1), "<i8")
        starts = iter(range(0, frames, frames_per_cell))
        for number in numbers:
            for snr in snrs_db:
                start = next(starts)
                end = start + frames_per_cell
                y[start:end] = np.eye(len(column_order), dtype=np.int64)[[number]]
                z[start:end] = snr
                first = simulated(
                    column_order[number], np.full(some, snr), samples=samples, rng=rng
                )
                iq = first
                while start < end:
                    x[start : start + len(iq)] = iq.view(np.float32).reshape(*iq.shape, 2)
                    start += len(iq)
                    turn = np.exp(2j * pi * rng.random((some, 1))).astype(np.complex64)
                    iq = (first * turn)[: end - start]


def write_split(folder, *, labels=True, snrs_db, classes=CLASSES_2018, seed=2018, **options):
    """Write the study's folder of one file a cell; without ``labels`` they hold X only."""
    for name in classes:
        for snr in snrs_db:
            place = Path(folder) / name / f"SNR_{snr}"
            place.mkdir(parents=True)
            whole = place / f"{name}_SNR_{snr}.h5"
            own = {"snrs_db": [snr], "classes": [name]}
            write_2018(whole, seed=seed + 100 * CLASSES_2018.index(name) + snr, **own, **options)
            if not labels:
                with h5py.File(whole, "a") as file:
                    del file["Y"], file["Z"]


# 2016.10


def write_2016(
    path,
    protocol,
    *,
    frames_per_cell,
    snrs_db=tuple(range(-20, 20, 2)),
    classes=CLASSES_2016,
    samples=128,
):
    """Write a pickle as Python 2 wrote 2016.10: {(modulation, SNR): [frame, 2, sample]}."""
    rng = np.random.default_rng(2016)
    cells = {}
    for name in classes:
        for snr in snrs_db:
            iq = simulated(name, np.full(frames_per_cell, snr), samples=samples, rng=rng)
            cells[name, snr] = np.stack([iq.real, iq.imag], 1)
    Path(path).write_bytes(python2_pickle(cells, protocol))


def python2_pickle(content, protocol):
    """Return a dict of arrays pickled as Python 2 did: all strings are byte strings."""
    file = BytesIO()
    Python2Pickler(file, protocol).dump(content)
    return file.getvalue().replace(b"numpy._core.", b"numpy.core.")  # as numpy 1 was called


class Python2Pickler(pickle._Pickler):  # pyright: ignore[reportAttributeAccessIssue]
    """Python's own pickler, but for strings."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # pyright: ignore[reportAttributeAccessIssue]

    def save_string(self, text):
        value = text.encode() if isinstance(text, str) else text
        if not self.proto:
            self.write(b"S" + repr(value)[1:].encode("ascii") + b"\n")
        elif len(value) < 256:
            self.write(b"U" + bytes([len(value)]) + value)
        else:
            self.write(b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_string
