"""The spectrum of a recording over time, for people to look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import signal

from modsnr.recordings.conditioning import read_iq
from modsnr.recordings.samples import Recording


def waterfall(recording: Recording, *, moments: int = 256, bins: int = 512) -> np.ndarray:
    """Return power densities in dB, float32 [moment, bin], lowest frequency first.

    The moments are evenly spread and at most so many; each is a mean over up to 8 spectra of
    ``bins``. A real signal has its positive frequencies only, in all bins of a complex one.
    """
    length = min(8 * bins, max(bins, recording.samples // moments))
    count = max(1, min(moments, recording.samples // length))
    starts = np.linspace(0, max(0, recording.samples - length), count).astype(int)
    given: Any = {"nperseg": bins, "return_onesided": False, "detrend": False}
    rows = [
        signal.welch(read_iq(recording, start, length), **given)[1] for start in starts.tolist()
    ]
    density = np.fft.fftshift(np.stack(rows), axes=1)
    return (10 * np.log10(density.clip(1e-30))).astype(np.float32)
