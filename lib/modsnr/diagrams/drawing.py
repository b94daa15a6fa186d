"""Points to images: two-dimensional histograms, compiled on a CPU, a scatter elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from modsnr import InputError, receiver
from modsnr.diagrams import bands
from modsnr.diagrams.views import EXTENTS, points, weight


def render(
    iq: Tensor | np.ndarray, findings: Tensor | np.ndarray | None = None, **options: Any
) -> Tensor:
    """Return the diagrams of frames: float32 [frame, view, bins, bins], on the frames' device.

    ``iq`` is complex [frame, sample]; its scale does not matter. ``findings``, options and errors
    are those of ``Canvas``.
    """
    return Canvas(**options)(iq, findings)


def as_trained(parameters: Mapping[str, Any]) -> Callable[..., Tensor]:
    """Return a training's drawing, from frames and findings to diagrams, by its parameters.

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


class Canvas:
    """Draws diagrams time and again into the same images, which is fastest on a CPU.

    Bins are square and cover -extent .. extent on both axes, in multiples of the points' RMS (of
    the rim's radius for ``residual``); None takes each view's own (``EXTENTS``). Points outside are
    not counted. Counts are scaled to a frame of 1,024 samples, and their logarithm is taken;
    ``scale="count"`` leaves out both. ``normalization="max"`` divides each
    image by its own maximum: the study's wrong way, kept for the ablation. The likelihood view has
    neither points nor extent.

    A frame touches far fewer bins than an image has: only those of the last drawing are cleared.
    What a call returns holds until the next one, and is to be read, not written. On other devices
    every call draws afresh.

    Raises InputError for options without a meaning; a call, for an unknown view and a frame too
    short for it.
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
        _check_grid(bins, extent)
        if scale not in ("log1p", "count") or normalization not in ("power", "max"):
            raise InputError(
                f"scale is log1p or count and normalization power or max; "
                f"they are {scale!r} and {normalization!r}."
            )
        if "likelihood" in views and bins < bands.BANDS:
            raise InputError(
                f"The likelihood view needs {bands.BANDS} bins or more; it has {bins}."
            )
        if "likelihood" in views and normalization == "max":
            raise InputError(
                "The likelihood view shows numbers by their grey, which normalization 'max' would "
                "change: take 'power', or leave the view out."
            )
        self.settings: dict[str, Any] = {
            "views": tuple(views),
            "bins": bins,
            "extent": extent,
            "scale": scale,
            "normalization": normalization,
        }
        self._images = torch.zeros(0, len(views), bins, bins)
        self._touched: dict[int, np.ndarray] = {}  # by channel: pixels that the last call wrote

    def __call__(
        self, iq: Tensor | np.ndarray, findings: Tensor | np.ndarray | None = None
    ) -> Tensor:
        """Return diagrams, float32 [frame, view, bins, bins], of frames, complex [frame, sample].

        ``findings`` are what the receiver found of the frames, [frame, finding], which the
        likelihood view shows; without them it shows ``receiver.findings_unreceived``. By them a
        frame may have fewer samples than there are: no view counts what lies behind.

        On the CPU a compiled loop counts, elsewhere a scatter; both bin with the same
        single-precision operations and so agree to the bit in counts.
        """
        iq = _checked(iq)
        if findings is None:
            return self._alike(iq, None)
        findings = torch.as_tensor(findings, device=iq.device)
        lengths = receiver.samples_of(findings)
        lengths[lengths == 0] = iq.shape[1]
        if (lengths == iq.shape[1]).all():
            return self._alike(iq, findings)
        images = torch.empty(len(iq), *self._images.shape[1:], device=iq.device)
        for samples in lengths.unique().tolist():
            rows = lengths == samples
            images[rows] = self._alike(iq[rows, :samples], findings[rows])
        return images

    def _alike(self, iq: Tensor, findings: Tensor | None) -> Tensor:
        """Return the diagrams of frames of one length."""
        views = self.settings["views"]
        known: dict[str, Tensor] = {}  # points of views, for those that go on from them
        if iq.device.type == "cpu":
            if len(self._images) < len(iq):  # NumPy asks the system for huge pages
                images = np.empty((len(iq), *self._images.shape[1:]), np.float32)
                self._images, self._touched = torch.from_numpy(images), {}
            for channel, view in enumerate(views):
                if view == "likelihood":
                    self._images[: len(iq), channel] = self._bands(iq, findings)
                else:
                    self._draw(iq, channel, view, known)
            images = self._images[: len(iq)]
        else:
            images = torch.stack(
                [
                    self._bands(iq, findings)
                    if view == "likelihood"
                    else self._scattered(iq, view, known)
                    for view in views
                ],
                1,
            )
        if self.settings["normalization"] == "max":
            images /= images.amax((2, 3), keepdim=True).clamp(min=1e-12)
        return images

    def _bands(self, iq: Tensor, findings: Tensor | None) -> Tensor:
        weight("likelihood", iq.shape[1])  # refuses frames too short
        shown = receiver.findings_unreceived(iq) if findings is None else findings
        return bands.drawn(bands.greys(shown), self.settings["bins"])

    def _draw(self, iq: Tensor, channel: int, view: str, known: dict[str, Tensor]) -> None:
        from modsnr.diagrams.counting import count  # here: it loads Numba

        scale = weight(view, iq.shape[1])
        unscaled = view == "constellation"  # the loop scales to unit power itself
        shown = iq.to(torch.complex64) if unscaled else points(iq, view, known)
        touched = self._touched.get(channel)
        if touched is None or touched.shape[1] <= shown.shape[1]:  # no room for so many points
            touched = np.empty((len(self._images), 1 + shown.shape[1]), np.int32)
            touched[:, 0] = -1  # the memory may hold anything
            self._touched[channel] = touched
        count(
            torch.view_as_real(shown.resolve_conj().contiguous()).numpy(),
            self._per_unit(view),
            _pixels(shown.shape[1], self.settings["scale"], scale),
            self._images.numpy(),
            channel,
            touched,
            unscaled=unscaled,
        )

    def _scattered(self, iq: Tensor, view: str, known: dict[str, Tensor]) -> Tensor:
        bins = self.settings["bins"]
        scale = weight(view, iq.shape[1])
        counts = scatter_counts(points(iq, view, known), self._per_unit(view), bins)
        return (counts * scale).log1p() if self.settings["scale"] == "log1p" else counts

    def _per_unit(self, view: str) -> float:
        return _bins_per_unit(view, self.settings["bins"], self.settings["extent"])


def places(iq: Tensor, view: str, bins: int, extent: float | None = None) -> Tensor:
    """Return the pixel in which each point of a frame falls: int64 [frame, point].

    ``iq`` is complex [frame, sample]; a pixel is row * bins + column of the view's image as
    ``render`` draws it, -1 where the point lies outside and is not counted. Bins and extent are
    those of ``render``; so are the errors.
    """
    _check_grid(bins, extent)
    flat = _flat_places(points(_checked(iq), view), _bins_per_unit(view, bins, extent), bins)
    return torch.where(flat < bins * bins, flat, -1)


def scatter_counts(points: Tensor, per_unit: float, bins: int) -> Tensor:
    """Return the counts of points [frame, point] in bins, float32 [frame, bins, bins]."""
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


def _bins_per_unit(view: str, bins: int, extent: float | None) -> float:
    """Return bins a unit of a view's points, in single precision as every device counts."""
    return float(np.float32(bins / (2 * (EXTENTS[view] if extent is None else extent))))


@lru_cache(maxsize=8)
def _pixels(largest: int, scale: str, weight: float) -> np.ndarray:
    """Return the pixel of each count up to the largest, float32 [count]."""
    counts = torch.arange(largest + 1, dtype=torch.float32)
    return ((counts * weight).log1p() if scale == "log1p" else counts).numpy()


def _checked(iq: Tensor | np.ndarray) -> Tensor:
    iq = torch.as_tensor(iq)
    if iq.ndim != 2 or not iq.is_complex():
        raise InputError(f"IQ must be complex [frame, sample]; it is {iq.dtype} {tuple(iq.shape)}.")
    return iq


def _check_grid(bins: int, extent: float | None) -> None:
    if bins < 2 or (extent is not None and not extent > 0):
        raise InputError(f"bins must be 2 or more and extent positive; they are {bins}, {extent}.")
