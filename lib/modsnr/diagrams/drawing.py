"""Points to images: two-dimensional histograms, compiled on a CPU, a scatter elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from modsnr import InputError
from modsnr.diagrams.views import EXTENTS, points

UNKNOWN = -1  # number of bins that the last drawing wrote


def render(
    iq: Tensor | np.ndarray,
    *,
    views: Sequence[str] = ("constellation",),
    bins: int = 224,
    extent: float | None = None,
    scale: Literal["log1p", "count"] = "log1p",
    normalization: Literal["power", "max"] = "power",
) -> Tensor:
    """Return the diagrams of frames: float32 [frame, view, bins, bins], on the frames' device.

    ``iq`` is complex [frame, sample]; its scale does not matter. Bins are square and cover
    -extent .. extent on both axes, in multiples of the points' RMS (of the rim's radius for
    ``residual``); None takes each view's own (``EXTENTS``). Points outside are not counted.
    ``scale="count"`` leaves out the logarithm. ``normalization="max"`` divides each image by its
    own maximum: the study's wrong way, kept for the ablation.

    Raises InputError for an unknown view, a frame too short for it, or fewer than two bins.
    """
    iq = _checked(iq, bins, extent, scale, normalization)
    out = torch.empty(len(iq), len(views), bins, bins, device=iq.device)
    nothing = _touched(len(iq), 0, number=UNKNOWN)  # the memory may hold anything
    _draw_views(iq, views, extent, scale, normalization, out, [nothing] * len(views))
    return out


def as_trained(parameters: Mapping[str, Any]) -> Callable[[Tensor], Tensor]:
    """Return a training's drawing, a function from frames to diagrams, by its parameters.

    ``parameters`` holds ``views``, ``bins``, ``normalization`` and, unless each view has its own,
    ``extent``, as ``render`` takes them; other parameters are ignored. Unlike a ``Canvas`` it draws
    afresh, so that what it returns may be kept.

    Raises InputError for a training that hid pixels: the network has never seen whole pictures.
    """
    if hidden := parameters.get("hide"):
        raise InputError(
            f"This network was trained with pixels hidden (hide {hidden!r}), and cannot be "
            "shown whole diagrams: 07 and 09 compare what such networks reached."
        )
    return partial(
        render,
        views=parameters["views"],
        bins=parameters["bins"],
        extent=parameters.get("extent"),  # older trainings lack it: each view's own
        normalization=parameters["normalization"],
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
        self._shape = len(views), bins, bins
        self.settings: dict[str, Any] = {
            "views": tuple(views),
            "bins": bins,
            "extent": extent,
            "scale": scale,
            "normalization": normalization,
        }
        self._images = torch.zeros(0, *self._shape)
        self._touched = [_touched(0, 0) for _ in views]

    def __call__(self, iq: Tensor | np.ndarray) -> Tensor:
        """Return the diagrams of frames, complex [frame, sample], as ``render`` defines them."""
        views, bins, extent, scale, normalization = self.settings.values()
        iq = _checked(iq, bins, extent, scale, normalization)
        if iq.device.type != "cpu":
            return render(iq, **self.settings)
        if len(self._images) < len(iq):
            images = np.zeros((len(iq), *self._shape), np.float32)
            self._images = torch.from_numpy(images)  # NumPy asks the system for huge pages
            self._touched = [_touched(len(iq), 0) for _ in views]
        out = self._images[: len(iq)]
        before = self._touched
        self._touched = _draw_views(iq, views, extent, scale, normalization, out, before)
        return out


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


def _draw_views(
    iq: Tensor,
    views: Sequence[str],
    extent: float | None,
    scale: str,
    normalization: str,
    out: Tensor,
    touched: Sequence[np.ndarray],
) -> list[np.ndarray]:
    """Write the diagrams of ``views`` to ``out``; take and return the ``touched`` of each."""
    known: dict[str, Tensor] = {}
    touched = [
        _draw(iq, view, known, extent, scale == "log1p", out, channel, before)
        for channel, (view, before) in enumerate(zip(views, touched, strict=True))
    ]
    if normalization == "max":
        out /= out.amax((2, 3), keepdim=True).clamp(min=1e-12)
    return touched


def _draw(
    iq: Tensor,
    view: str,
    known: dict[str, Tensor],
    extent: float | None,
    logarithmic: bool,
    images: Tensor,
    channel: int,
    touched: np.ndarray,
) -> np.ndarray:
    """Write the images of one view to ``images``, contiguous [frame, channel, bins, bins].

    On the CPU a compiled loop, elsewhere, or where Numba is broken, a scatter; both bin with the
    same single-precision operations and so agree to the bit in counts. ``known`` holds the points
    of views drawn before, for those that go on from them. The bins of the last drawing, which
    ``touched`` holds, are cleared first; those of this drawing are returned.
    """
    bins = images.shape[-1]
    compiled = _compiled_loop() if iq.device.type == "cpu" else None
    if compiled and view == "constellation":
        shown, unscaled = iq.to(torch.complex64), True  # the loop scales to unit power itself
    else:
        shown, unscaled = points(iq, view, known), False
    per_unit = _per_unit(view, bins, extent)
    if compiled:
        table = _table(shown.shape[1], logarithmic)
        if touched.shape[1] <= shown.shape[1]:  # no room for so many points
            touched = _touched(len(touched), shown.shape[1], number=UNKNOWN)
        parts = torch.view_as_real(shown.resolve_conj().contiguous()).numpy()
        loop, threads = compiled
        counts = np.zeros((threads, bins * bins + 1), np.uint32)
        scale = np.float32(per_unit)
        loop(parts, unscaled, scale, table, counts, images.numpy(), channel, touched)
    else:
        counts = _histogram_scatter(shown, per_unit, bins)
        images[:, channel] = counts.log1p() if logarithmic else counts
    return touched


def _touched(frames: int, points: int, number: int = 0) -> np.ndarray:
    """Return the bins that each image's last drawing wrote: int32 [frame, 1 + point].

    First comes their ``number``, then their places; ``UNKNOWN``: the whole image is to be cleared.
    """
    touched = np.empty((frames, 1 + points), np.int32)
    touched[:, 0] = number
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
def _table(largest: int, logarithmic: bool) -> np.ndarray:
    """Return the pixel of each count up to the largest, float32 [count]."""
    counts = torch.arange(largest + 1, dtype=torch.float32)
    return (counts.log1p() if logarithmic else counts).numpy()


def _compiled_loop() -> tuple[Callable[..., None], int] | None:
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
    parts, unscaled, per_unit, table, counts_of_threads, images, channel, touched
):  # pragma: no cover - compiled
    threads, bins = counts_of_threads.shape[0], images.shape[-1]
    samples = parts.shape[1]
    half = np.float32(0.5 * (bins % 2))
    shift = np.float32(bins // 2)
    top = np.float32(bins)
    outside = np.int32(bins * bins)  # a place after the last, for points that no bin holds
    for worker in prange(threads):
        counts = counts_of_threads[worker]
        for frame in range(worker, parts.shape[0], threads):
            image, part = images[frame, channel].ravel(), parts[frame]
            place, number = touched[frame, 1:], touched[frame, 0]
            if number < 0:
                image[:] = np.float32(0)
            # Stores wait for memory one after the other, loads together: so these load first.
            loaded = np.float32(0)
            for entry in range(number):
                loaded += image[np.uint32(place[entry])]
            if loaded < 0:  # never, which the compiler cannot know
                continue
            for entry in range(number):
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
            touched[frame, 0] = kept
            for entry in range(kept):  # forget this frame where it was counted only
                counts[np.uint32(place[entry])] = np.uint32(0)
