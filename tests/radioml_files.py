"""Makers of files in RadioML's formats, with signals that are what their labels say."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator, Sequence
from io import BytesIO
from math import pi
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np
import torch

from modsnr import signals
from modsnr.recordings.radioml import CLASSES_2018

MESSAGE_BAND = 0.05  # cycles/sample: an analog message, within the digital signals' band
GRID_2018 = tuple(range(-20, 32, 2))
CLASSES_2016 = (
    *("8PSK", "AM-DSB", "AM-SSB", "BPSK", "CPFSK", "GFSK"),
    *("PAM4", "QAM16", "QAM64", "QPSK", "WBFM"),
)
PIECE = 512  # frames simulated at once


# Signals


def message(frames: int, samples: int, band: float, rng: np.random.Generator) -> np.ndarray:
    """Return analytic signals whose real parts are Gaussian messages of unit mean power.

    Complex [frame, sample]; both parts hold no frequency beyond ``band`` (cycles/sample).
    """
    frequency = np.fft.fftfreq(samples)
    kept = (frequency > 0) & (frequency <= max(band, 1 / samples))
    spectrum = rng.normal(size=(frames, 2 * samples)).view(complex) * kept
    analytic = np.fft.ifft(spectrum)
    return analytic / np.sqrt(np.square(analytic.real).mean(1, keepdims=True))


def analog(
    name: str,
    frames: int,
    samples: int,
    rng: np.random.Generator,
    *,
    band: float = MESSAGE_BAND,
    deviation: float = 0.02,
) -> np.ndarray:
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


def keyed(name: str, frames: int, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise-free CPFSK (index 1/2) or GFSK (smoothed bits), 8 samples a symbol."""
    bits = np.repeat(rng.integers(0, 2, (frames, samples // 8 + 1)) * 2.0 - 1, 8, axis=1)
    bits = bits[:, :samples]
    if name == "GFSK":
        smooth = np.fft.rfft(bits) * np.exp(-((np.fft.rfftfreq(samples) * 20) ** 2))
        bits = np.fft.irfft(smooth, n=samples)
    return np.exp(2j * pi * (rng.random((frames, 1)) + bits.cumsum(1) / 32))


def simulated(
    name: str, snr_db: np.ndarray, *, samples: int, rng: np.random.Generator
) -> np.ndarray:
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


def cell(
    name: str, snr: float, frames: int, *, samples: int, tile: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield the frames of one cell in pieces, complex64 [frame, sample].

    Only ``tile`` frames are simulated; the others are these again, each turned by another phase.
    """
    few = [
        simulated(name, np.full(min(PIECE, tile - start), snr), samples=samples, rng=rng)
        for start in range(0, tile, PIECE)
    ]
    yield from few
    first = few[0]
    for start in range(tile, frames, len(first)):
        count = min(len(first), frames - start)
        turn = np.exp(2j * pi * rng.random((count, 1))).astype(np.complex64)
        yield first[:count] * turn


# 2018.01A


def write_2018(
    path: Path | str,
    *,
    frames_per_cell: int,
    snrs_db: Sequence[int] = GRID_2018,
    classes: Sequence[str] = CLASSES_2018,
    column_order: Sequence[str] = CLASSES_2018,
    seed: int = 2018,
    samples: int = 1024,
    tile: int | None = None,
    x_type: str = "<f4",
) -> None:
    """Write a file laid out as 2018.01A: cell after cell, by column of Y, then by SNR.

    ``column_order`` is what the columns of Y mean. With ``tile``, only so many frames a cell are
    simulated and the rest are these again at other phases, which is some twenty times faster.
    """
    rng = np.random.default_rng(seed)
    numbers = sorted(column_order.index(name) for name in classes)
    frames = len(numbers) * len(snrs_db) * frames_per_cell
    with h5py.File(path, "w") as file:
        x = file.create_dataset("X", (frames, samples, 2), x_type)
        y = file.create_dataset("Y", (frames, len(column_order)), "<i8")
        z = file.create_dataset("Z", (frames, 1), "<i8")
        start = 0
        for number in numbers:
            hot = np.zeros((frames_per_cell, len(column_order)), np.int64)
            hot[:, number] = 1
            for snr in snrs_db:
                y[start : start + frames_per_cell] = hot
                z[start : start + frames_per_cell] = np.full((frames_per_cell, 1), snr)
                pieces = cell(
                    column_order[number],
                    snr,
                    frames_per_cell,
                    samples=samples,
                    tile=min(tile or frames_per_cell, frames_per_cell),
                    rng=rng,
                )
                for iq in pieces:
                    x[start : start + len(iq)] = iq.view(np.float32).reshape(*iq.shape, 2)
                    start += len(iq)


def write_split(
    folder: Path | str,
    *,
    frames_per_cell: int,
    snrs_db: Sequence[int] = GRID_2018,
    classes: Sequence[str] = CLASSES_2018,
    seed: int = 2018,
    samples: int = 1024,
    labels: bool = True,
) -> None:
    """Write the study's folder of one file a cell; without ``labels`` they hold X only."""
    for name in classes:
        for snr in snrs_db:
            place = Path(folder) / name / f"SNR_{snr}"
            place.mkdir(parents=True)
            whole = place / f"{name}_SNR_{snr}.h5"
            write_2018(
                whole,
                frames_per_cell=frames_per_cell,
                snrs_db=[snr],
                classes=[name],
                seed=seed + 100 * CLASSES_2018.index(name) + snr,
                samples=samples,
            )
            if not labels:
                with h5py.File(whole, "a") as file:
                    del file["Y"], file["Z"]


# 2016.10


def write_2016(
    path: Path | str,
    protocol: int,
    *,
    frames_per_cell: int,
    snrs_db: Sequence[int] = tuple(range(-20, 20, 2)),
    classes: Sequence[str] = CLASSES_2016,
    seed: int = 2016,
    samples: int = 128,
    dtype: str = "<f4",
) -> None:
    """Write a pickle as Python 2 wrote 2016.10: {(modulation, SNR): [frame, 2, sample]}."""
    rng = np.random.default_rng(seed)
    cells = {}
    for name in classes:
        for snr in snrs_db:
            iq = simulated(name, np.full(frames_per_cell, snr), samples=samples, rng=rng)
            cells[name, snr] = np.stack([iq.real, iq.imag], 1).astype(dtype)
    Path(path).write_bytes(python2_pickle(cells, protocol))


def python2_pickle(cells: dict[tuple[str, int], np.ndarray], protocol: int) -> bytes:
    """Return a dict of arrays pickled as Python 2 did: all strings are byte strings."""
    file = BytesIO()
    Python2Pickler(file, protocol).dump(cells)
    return file.getvalue().replace(b"numpy._core.", b"numpy.core.")  # as numpy 1 was called


class Python2Pickler(pickle._Pickler):  # pyright: ignore[reportAttributeAccessIssue]
    """Python's own pickler, but for strings."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # pyright: ignore[reportAttributeAccessIssue]

    def save_string(self, text: str | bytes) -> None:
        value = text.encode() if isinstance(text, str) else text
        if not self.proto:
            self.write(b"S" + repr(value)[1:].encode("ascii") + b"\n")
        elif len(value) < 256:
            self.write(b"U" + bytes([len(value)]) + value)
        else:
            self.write(b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_string
