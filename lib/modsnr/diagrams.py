"""IQ frames to constellation diagrams: two-dimensional histograms, one channel a view.

A diagram's value is log(1 + n(r, c)), n the number of points of the frame in a square bin; rows
are quadrature, lowest first (draw with ``origin="lower"``), columns are in-phase. The views
differ only in which points they count:

``constellation``  all samples, scaled to unit mean power: the study's view. At 8 samples a symbol
                   it shows the transitions between symbols, whose spread hides weak noise.
``synchronised``   one sample a symbol, after a root-raised-cosine matched filter and blind timing
                   from the spectral line of |x|^2 at the symbol rate (Oerder and Meyr 1988),
                   scaled to unit mean power.
``residual``       what the frame holds outside the signal's band, its radius logarithmic: noise
                   alone, so the radius of the cloud is the SNR.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import log10, pi
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from modsnr import InputError

SAMPLES_PER_SYMBOL = 8
MATCHED_ROLLOFF = 0.25  # the middle of U(0.1, 0.4): the frame's own is not known to a receiver
EDGE_SYMBOLS = 3  # on either side of a frame, where the filter sees past its ends
STOP_BAND = 0.11  # cycles/sample; the widest band ends at (1 + 0.4) / 2 / 8 = 0.0875
RESIDUAL_TAPS = 129
RESIDUAL_DB = (-45.0, 10.0)  # power of a residual sample over the frame's: centre, rim

VIEWS = ("constellation", "synchronised", "residual")
EXTENTS = {"constellation": 3.0, "synchronised": 2.0, "residual": 1.0}


def render(
    iq: Tensor | np.ndarray,
    *,
    views: Sequence[str] = ("constellation",),
    bins: int = 224,
    extent: float | None = None,
    scale: Literal["log1p", "count"] = "log1p",
    normalization: Literal["power", "max"] = "power",
    out: Tensor | None = None,
) -> Tensor:
    """Return the diagrams of frames: float32 [frame, view, bins, bins], on the frames' device.

    ``iq`` is complex [frame, sample]; its scale does not matter. Bins are square and cover
    -extent .. extent on both axes, in multiples of the points' RMS (of the rim's radius for
    ``residual``); None takes each view's own (``EXTENTS``). Points outside are not counted.
    ``scale="count"`` leaves out the logarithm. ``normalization="max"`` divides each image by its
    own maximum: the study's wrong way, kept for the ablation. ``out`` is written and returned.

    Raises InputError for an unknown view, a frame too short for it, or fewer than two bins.
    """
    iq = _checked(iq, bins, extent, scale, normalization)
    shape = (len(iq), len(views), bins, bins)
    if out is None:
        out = torch.empty(shape, dtype=torch.float32, device=iq.device)
    elif out.shape != shape or out.dtype != torch.float32 or not out.is_contiguous():
        raise InputError(f"out must be contiguous float32 {shape}; it is {tuple(out.shape)}.")
    for channel, view in enumerate(views):
        _draw(iq, view, extent, scale == "log1p", out, channel, None)
    return _over_maximum(out) if normalization == "max" else out


class Canvas:
    """Draws as ``render`` does, time and again into the same images; much faster on a CPU.

    A frame touches at most as many bins as it has samples, far fewer than an image has: only those
    of the last drawing are cleared. What a call returns holds until the next one, and is to be
    read, not written. On other devices every call draws afresh.
    """

    def __init__(
        self,
        *,
        views: Sequence[str] = ("constellation",),
        bins: int = 224,
        extent: float | None = None,
        scale: Literal["log1p", "count"] = "log1p",
        normalization: Literal["power", "max"] = "power",
    ):
        self.views, self.bins, self.extent = tuple(views), bins, extent
        self.scale: Literal["log1p", "count"] = scale
        self.normalization: Literal["power", "max"] = normalization
        self._images = torch.zeros(0, len(self.views), bins, bins)
        self._touched = [_Touched.none(0, 0) for _ in self.views]

    def __call__(self, iq: Tensor | np.ndarray) -> Tensor:
        """Return the diagrams of frames, complex [frame, sample], as ``render`` defines them."""
        iq = _checked(iq, self.bins, self.extent, self.scale, self.normalization)
        if iq.device.type != "cpu":
            return render(
                iq,
                views=self.views,
                bins=self.bins,
                extent=self.extent,
                scale=self.scale,
                normalization=self.normalization,
            )
        if len(self._images) < len(iq) or self._touched[0].places.shape[1] < iq.shape[1]:
            rows = max(len(iq), len(self._images))
            images = np.zeros((rows, len(self.views), self.bins, self.bins), np.float32)
            self._images = torch.from_numpy(images)  # NumPy asks the system for huge pages
            self._touched = [_Touched.none(rows, iq.shape[1]) for _ in self.views]
        out = self._images[: len(iq)]
        for channel, view in enumerate(self.views):
            touched = self._touched[channel]
            _draw(iq, view, self.extent, self.scale == "log1p", out, channel, touched)
        return _over_maximum(out) if self.normalization == "max" else out


class _Touched(NamedTuple):
    """The bins that each image's last drawing wrote: int32 [frame, point] and their number."""

    places: np.ndarray
    number: np.ndarray  # int32 [frame]; -1: unknown, the whole image is to be cleared

    @staticmethod
    def none(frames: int, samples: int, number: int = 0) -> _Touched:
        return _Touched(np.empty((frames, samples), np.int32), np.full(frames, number, np.int32))


def _checked(
    iq: Tensor | np.ndarray, bins: int, extent: float | None, scale: str, normalization: str
) -> Tensor:
    iq = torch.as_tensor(iq)
    if iq.ndim != 2 or not iq.is_complex():
        raise InputError(f"IQ must be complex [frame, sample]; it is {iq.dtype} {tuple(iq.shape)}.")
    if bins < 2 or (extent is not None and not extent > 0):
        raise InputError(f"bins must be 2 or more and extent positive; they are {bins}, {extent}.")
    if scale not in ("log1p", "count") or normalization not in ("power", "max"):
        raise InputError(
            f"scale is log1p or count and normalization power or max; "
            f"they are {scale!r} and {normalization!r}."
        )
    return iq


def _over_maximum(images: Tensor) -> Tensor:
    images /= images.amax((2, 3), keepdim=True).clamp(min=1e-12)
    return images


def _draw(
    iq: Tensor,
    view: str,
    extent: float | None,
    logarithmic: bool,
    images: Tensor,
    channel: int,
    touched: _Touched | None,
) -> None:
    """Write the images of one view to ``images``, contiguous [frame, channel, bins, bins].

    On the CPU a compiled loop, elsewhere a scatter; both bin with the same single-precision
    operations and so agree to the bit in counts.
    """
    bins, reach = images.shape[-1], EXTENTS.get(view) if extent is None else extent
    if iq.device.type == "cpu" and view == "constellation":
        shown, unscaled = iq.to(torch.complex64), True  # the loop scales to unit power itself
    else:
        shown, unscaled = points(iq, view), False
    assert reach is not None  # points knows the views that EXTENTS knows
    per_unit = float(np.float32(bins / (2 * reach)))
    if shown.device.type == "cpu":
        table = _log_table(shown.shape[1]) if logarithmic else _count_table(shown.shape[1])
        touched = touched or _Touched.none(*shown.shape, number=-1)
        parts = torch.view_as_real(shown.resolve_conj().contiguous()).numpy()
        loop, threads = _histogram_loop()
        flat = images.flatten(2).numpy()
        per_unit = np.float32(per_unit)
        loop(parts, unscaled, per_unit, bins, table, threads, flat, channel, *touched)
    else:
        counts = _histogram_scatter(shown, per_unit, bins)
        images[:, channel] = counts.log1p() if logarithmic else counts


def points(iq: Tensor, view: str) -> Tensor:
    """Return the points that ``view`` counts: complex64 [frame, point], each view's own scale."""
    if view not in _POINTS:
        raise InputError(f"There is no view {view!r}; the views are {', '.join(VIEWS)}.")
    return _POINTS[view](iq.to(torch.complex64))


def views_of(samples: int) -> tuple[str, ...]:
    """Return the views that frames of so many samples are long enough for."""
    fit = {
        "constellation": samples >= 1,
        "synchronised": _long_enough_to_synchronise(samples),
        "residual": samples >= 2 * RESIDUAL_TAPS - 1,
    }
    return tuple(view for view in VIEWS if fit[view])


def unit_power(iq: Tensor) -> Tensor:
    """Return frames scaled to unit mean power, complex64 [frame, sample].

    The power is summed in double precision, so that every device rounds to the same scale.
    """
    parts = torch.view_as_real(iq.resolve_conj())
    norm = torch.linalg.vector_norm(parts, dim=(1, 2), dtype=torch.float64)
    scale = (iq.shape[1] ** 0.5 / norm).to(torch.float32)
    return torch.view_as_complex(parts * scale.view(-1, 1, 1))


def synchronise(iq: Tensor) -> Tensor:
    """Return one sample a symbol at the blind timing: complex64 [frame, symbol], unit power.

    All in the frequency domain: matched filter, timing phase of the line of |y|^2 at the symbol
    rate, delay by that fraction of a symbol, decimation by folding. Edge symbols are dropped.
    """
    samples = iq.shape[1]
    if not _long_enough_to_synchronise(samples):
        raise InputError(
            f"The synchronised view needs frames of a multiple of {SAMPLES_PER_SYMBOL} samples and "
            f"{2 * EDGE_SYMBOLS + 2} symbols or more; these have {samples} samples."
        )
    symbols = samples // SAMPLES_PER_SYMBOL
    matched, line, frequency = _synchroniser(samples, iq.device)
    spectrum = torch.fft.fft(iq) * matched
    filtered = torch.fft.ifft(spectrum)
    # The sum over |y|^2 is real-valued in y, so its phase at the symbol rate is the timing alone.
    timing = -torch.angle((filtered.abs().square() * line).sum(1)) / (2 * pi)  # symbols
    delayed = spectrum * torch.exp(2j * pi * frequency * timing.unsqueeze(1))
    folded = delayed.view(len(iq), SAMPLES_PER_SYMBOL, symbols).sum(1)
    return unit_power(torch.fft.ifft(folded)[:, EDGE_SYMBOLS:-EDGE_SYMBOLS])


def _long_enough_to_synchronise(samples: int) -> bool:
    shortest = (2 * EDGE_SYMBOLS + 2) * SAMPLES_PER_SYMBOL
    return samples % SAMPLES_PER_SYMBOL == 0 and samples >= shortest


def out_of_band(iq: Tensor) -> Tensor:
    """Return the part of unit-power frames outside the signal's band: complex64 [frame, sample].

    A linear-phase high-pass of ``RESIDUAL_TAPS`` taps; only samples that the whole filter covers
    are kept, so nothing of the frame's ends leaks into the stop band.
    """
    samples = iq.shape[1]
    if samples < 2 * RESIDUAL_TAPS - 1:
        raise InputError(
            f"The residual view needs frames of {2 * RESIDUAL_TAPS - 1} samples or more; "
            f"these have {samples}."
        )
    passed = torch.fft.ifft(torch.fft.fft(unit_power(iq)) * _highpass(samples, iq.device))
    return passed[:, RESIDUAL_TAPS - 1 :]


def log_radius(residual: Tensor) -> Tensor:
    """Return samples with their radius mapped from decibels onto 0 .. 1, angles kept."""
    low, high = RESIDUAL_DB
    magnitude = residual.abs().clamp(min=1e-9)
    radius = ((20 * magnitude.log10() - low) / (high - low)).clamp(min=0)
    return residual * (radius / magnitude)


_POINTS: dict[str, Callable[[Tensor], Tensor]] = {
    "constellation": unit_power,
    "synchronised": synchronise,
    "residual": lambda iq: log_radius(out_of_band(iq)),
}


@lru_cache(maxsize=8)
def _synchroniser(samples: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    frequency = torch.fft.fftfreq(samples, device=device) * SAMPLES_PER_SYMBOL  # symbol rates
    ramp = (frequency.abs() - (1 - MATCHED_ROLLOFF) / 2) / MATCHED_ROLLOFF
    matched = torch.cos(ramp.clamp(0, 1) * (pi / 2))
    time = torch.arange(samples, device=device) / SAMPLES_PER_SYMBOL
    return matched, torch.exp(-2j * pi * time), frequency


@lru_cache(maxsize=8)
def _highpass(samples: int, device: torch.device) -> Tensor:
    """Return the response of a Kaiser-windowed high-pass at ``STOP_BAND``, complex64 [bin]."""
    time = np.arange(RESIDUAL_TAPS) - RESIDUAL_TAPS // 2
    taps = -2 * STOP_BAND * np.sinc(2 * STOP_BAND * time) * np.kaiser(RESIDUAL_TAPS, 8.0)
    taps[RESIDUAL_TAPS // 2] += 1
    return torch.fft.fft(torch.tensor(taps, dtype=torch.float32), n=samples).to(device)


def _histogram_scatter(points: Tensor, per_unit: float, bins: int) -> Tensor:
    # Even numbers of bins split at zero: flooring before the shift keeps mirrored frames mirrored.
    half = 0.5 * (bins % 2)
    place = torch.view_as_real(points).mul(per_unit).add(half).floor().add(bins // 2)
    inside = ((place >= 0) & (place < bins)).all(2)
    column, row = place.clamp(0, bins - 1).long().unbind(2)
    flat = torch.where(inside, row * bins + column, bins * bins)  # the last place takes the rest
    counts = torch.zeros(len(points), bins * bins + 1, device=points.device)
    counts.scatter_add_(1, flat, torch.ones_like(counts[:, :1]).expand_as(flat))
    return counts[:, :-1].view(-1, bins, bins)


@lru_cache(maxsize=8)
def _log_table(largest: int) -> np.ndarray:
    return torch.arange(largest + 1, dtype=torch.float32).log1p().numpy()


@lru_cache(maxsize=8)
def _count_table(largest: int) -> np.ndarray:
    return np.arange(largest + 1, dtype=np.float32)


def _histogram_loop() -> tuple[Callable[..., None], int]:
    """Return the compiled loop and the number of threads that it may use."""
    import numba  # here: it takes 50 MB, and half a second, of what does not draw

    return _compiled(numba.njit), numba.get_num_threads()


@lru_cache(maxsize=1)
def _compiled(njit: Any) -> Callable[..., None]:
    # prange is looked up when it is compiled: numba knows its own by identity.
    global prange
    from numba import prange

    return njit(parallel=True, cache=True)(_count)


def _count(
    parts, unscaled, per_unit, bins, table, threads, images, channel, places, number
):  # pragma: no cover - compiled
    samples = parts.shape[1]
    half = np.float32(0.5 * (bins % 2))
    shift = np.float32(bins // 2)
    top = np.float32(bins)
    outside = np.int32(bins * bins)  # a place after the last, for points that no bin holds
    for worker in prange(threads):
        counts = np.zeros(bins * bins + 1, dtype=np.uint32)
        for frame in range(worker, parts.shape[0], threads):
            image, place, part = images[frame, channel], places[frame], parts[frame]
            if number[frame] < 0:
                image[:] = np.float32(0)
            # Stores wait for memory one after the other, loads together: so these load first.
            loaded = np.float32(0)
            for entry in range(number[frame]):
                loaded += image[np.uint32(place[entry])]
            if loaded < 0:  # never, which the compiler cannot know
                continue
            for entry in range(number[frame]):
                image[np.uint32(place[entry])] = np.float32(0)
            scale = np.float32(1)
            if unscaled:
                # Four sums: with a single one, each addition would wait for the one before.
                a, b, c, d = 0.0, 0.0, 0.0, 0.0
                for sample in range(0, samples - 1, 2):
                    a += np.float64(part[sample, 0]) ** 2
                    b += np.float64(part[sample, 1]) ** 2
                    c += np.float64(part[sample + 1, 0]) ** 2
                    d += np.float64(part[sample + 1, 1]) ** 2
                if samples % 2:
                    a += np.float64(part[samples - 1, 0]) ** 2
                    b += np.float64(part[samples - 1, 1]) ** 2
                scale = np.float32(np.sqrt(np.float64(samples)) / np.sqrt(a + b + c + d))
            for sample in range(samples):
                column = np.floor(part[sample, 0] * scale * per_unit + half) + shift
                row = np.floor(part[sample, 1] * scale * per_unit + half) + shift
                inside = (column >= 0) & (column < top) & (row >= 0) & (row < top)
                where = np.int32(row) * np.int32(bins) + np.int32(column)
                place[sample] = where if inside else outside
            for sample in range(samples):
                counts[np.uint32(place[sample])] += np.uint32(1)
            kept = 0
            for sample in range(samples):
                where = place[sample]
                if where != outside:
                    image[np.uint32(where)] = table[counts[np.uint32(where)]]
                    place[kept] = where
                    kept += 1
            number[frame] = kept
            for entry in range(kept):  # forget this frame where it was counted only
                counts[np.uint32(place[entry])] = np.uint32(0)


def residual_radius_of(snr_db: float) -> float:
    """Return the radius at which noise of this SNR centres in the ``residual`` view, 0 .. 1."""
    noise_share_db = -10 * log10(1 + 10 ** (snr_db / 10))
    in_stop_band_db = 10 * log10(1 - 2 * STOP_BAND)
    low, high = RESIDUAL_DB
    return (noise_share_db + in_stop_band_db - low) / (high - low)
