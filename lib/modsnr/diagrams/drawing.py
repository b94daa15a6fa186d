"""Points to images: two-dimensional histograms, compiled on a CPU, a scatter elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from modsnr import InputError
from modsnr.diagrams.views import EXTENTS, points


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
    known: dict[str, Tensor] = {}
    for channel, view in enumerate(views):
        nothing = _Touched.none(len(iq), 0, number=-1)  # ``out`` may hold anything
        _draw(iq, view, known, extent, scale == "log1p", out, channel, nothing)
    return _over_maximum(out) if normalization == "max" else out


def as_trained(asked: Mapping[str, Any]) -> Callable[[Tensor], Tensor]:
    """Return the drawing, frames to diagrams, that a training's parameters ask for.

    ``asked`` holds ``views``, ``bins``, ``normalization`` and, unless each view has its own,
    ``extent``, as ``render`` takes them; the rest of it is not looked at. Unlike a ``Canvas`` it
    draws afresh, so that what it returns may be kept.

    Raises InputError for a training that hid pixels: asked with all of them, it answers of pictures
    that it never saw.
    """
    if hidden := asked.get("hide"):
        raise InputError(
            f"This network was trained with pixels hidden (hide {hidden!r}), and is not drawn for "
            "without: 07 and 09 compare what such networks reached."
        )
    return partial(
        render,
        views=asked["views"],
        bins=asked["bins"],
        extent=asked.get("extent"),  # trainings that were not asked: each view's own
        normalization=asked["normalization"],
    )


def places(iq: Tensor, view: str, bins: int, extent: float | None = None) -> Tensor:
    """Return the pixel in which each point of a frame falls: int64 [frame, point].

    ``iq`` is complex [frame, sample]; a pixel is row * bins + column of the view's image as
    ``render`` draws it, -1 where the point lies outside and is not counted. Bins and extent are
    those of ``render``; so are the errors.
    """
    iq = _checked(iq, bins, extent, "count", "power")
    shown = points(iq, view)
    flat = _flat_places(shown, _per_unit(view, bins, extent), bins)
    return torch.where(flat < bins * bins, flat, -1)


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
        if len(self._images) < len(iq):
            images = np.zeros((len(iq), len(self.views), self.bins, self.bins), np.float32)
            self._images = torch.from_numpy(images)  # NumPy asks the system for huge pages
            self._touched = [_Touched.none(len(iq), 0) for _ in self.views]
        out = self._images[: len(iq)]
        known: dict[str, Tensor] = {}
        for channel, view in enumerate(self.views):
            touched = self._touched[channel]
            logarithmic = self.scale == "log1p"
            self._touched[channel] = _draw(
                iq, view, known, self.extent, logarithmic, out, channel, touched
            )
        return _over_maximum(out) if self.normalization == "max" else out


class _Touched(NamedTuple):
    """The bins that each image's last drawing wrote: int32 [frame, point] and their number."""

    places: np.ndarray
    number: np.ndarray  # int32 [frame]; -1: unknown, the whole image is to be cleared

    @staticmethod
    def none(frames: int, points: int, number: int = 0) -> _Touched:
        return _Touched(np.empty((frames, points), np.int32), np.full(frames, number, np.int32))

    def with_room_for(self, points: int) -> _Touched:
        """Return these, or, where so many points of a frame have no room, none that are known."""
        enough = self.places.shape[1] >= points
        return self if enough else _Touched.none(len(self.places), points, number=-1)


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
    known: dict[str, Tensor],
    extent: float | None,
    logarithmic: bool,
    images: Tensor,
    channel: int,
    touched: _Touched,
) -> _Touched:
    """Write the images of one view to ``images``, contiguous [frame, channel, bins, bins].

    On the CPU a compiled loop, elsewhere, or where Numba is broken, a scatter; both bin with the
    same single-precision operations and so agree to the bit in counts. ``known`` holds the points
    of views drawn before, for those that go on from them. What ``touched`` says of the last drawing
    is cleared first; what this one touched is returned.
    """
    bins = images.shape[-1]
    compiled = _histogram_loop() if iq.device.type == "cpu" else None
    if compiled and view == "constellation":
        shown, unscaled = iq.to(torch.complex64), True  # the loop scales to unit power itself
    else:
        shown, unscaled = points(iq, view, known), False
    per_unit = _per_unit(view, bins, extent)
    if compiled:
        table = _log_table(shown.shape[1]) if logarithmic else _count_table(shown.shape[1])
        touched = touched.with_room_for(shown.shape[1])
        parts = torch.view_as_real(shown.resolve_conj().contiguous()).numpy()
        loop, threads = compiled
        flat = images.flatten(2).numpy()
        per_unit = np.float32(per_unit)
        loop(parts, unscaled, per_unit, bins, table, threads, flat, channel, *touched)
    else:
        counts = _histogram_scatter(shown, per_unit, bins)
        images[:, channel] = counts.log1p() if logarithmic else counts
    return touched


def _per_unit(view: str, bins: int, extent: float | None) -> float:
    """Return bins a unit of a view's points, in single precision as every device counts."""
    return float(np.float32(bins / (2 * (EXTENTS[view] if extent is None else extent))))


def _histogram_scatter(points: Tensor, per_unit: float, bins: int) -> Tensor:
    flat = _flat_places(points, per_unit, bins)
    counts = torch.zeros(len(points), bins * bins + 1, device=points.device)
    counts.scatter_add_(1, flat, torch.ones_like(counts[:, :1]).expand_as(flat))
    return counts[:, :-1].view(-1, bins, bins)


def _flat_places(points: Tensor, per_unit: float, bins: int) -> Tensor:
    """Return row * bins + column of each point, int64 [frame, point], bins * bins outside."""
    # Even numbers of bins split at zero: flooring before the shift keeps mirrored frames mirrored.
    half = 0.5 * (bins % 2)
    place = torch.view_as_real(points).mul(per_unit).add(half).floor().add(bins // 2)
    inside = ((place >= 0) & (place < bins)).all(2)
    column, row = place.clamp(0, bins - 1).long().unbind(2)
    return torch.where(inside, row * bins + column, bins * bins)


@lru_cache(maxsize=8)
def _log_table(largest: int) -> np.ndarray:
    return torch.arange(largest + 1, dtype=torch.float32).log1p().numpy()


@lru_cache(maxsize=8)
def _count_table(largest: int) -> np.ndarray:
    return np.arange(largest + 1, dtype=np.float32)


def _histogram_loop() -> tuple[Callable[..., None], int] | None:
    """Return the compiled loop and the number of threads that it may use; None without Numba."""
    numba = _numba()
    return (_compiled(numba.njit), numba.get_num_threads()) if numba else None


@lru_cache(maxsize=1)
def _numba() -> Any:
    """Return Numba, or None and a warning where it does not go with NumPy as it is installed."""
    try:
        import numba  # here: it takes 50 MB, and half a second, of what does not draw
    except ImportError as error:
        warnings.warn(f"diagrams are counted slowly, without Numba: {error}", stacklevel=2)
        return None
    return numba


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
