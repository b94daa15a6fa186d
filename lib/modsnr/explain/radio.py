"""Explanations in the receiver's terms: samples, symbols, the least change that turns an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from modsnr import InputError
from modsnr.metrics import share


def point_shares(attribution: Tensor, places: Tensor) -> Tensor:
    """Return what each point of a frame has of the view's attribution: float32 [frame, point].

    ``attribution`` is [frame, bins, bins] of one view; ``places`` is int64 [frame, point], the
    pixel row * bins + column in which a point falls, -1 outside. The points of a pixel share its
    value evenly, so that a frame's points have together what its occupied pixels have; a point
    outside has nothing.

    Raises InputError where the two are not of the same frames, or a place lies beyond the image.
    """
    pixels = attribution.shape[1:].numel()
    if attribution.ndim != 3 or places.ndim != 2 or len(attribution) != len(places):
        raise InputError(
            "Attributions [frame, bins, bins] and places [frame, point] must be of the same "
            f"frames; their shapes are {tuple(attribution.shape)} and {tuple(places.shape)}."
        )
    if places.numel() and not -1 <= places.min() <= places.max() < pixels:
        raise InputError(
            f"Places must lie in -1..{pixels - 1} for maps of {tuple(attribution.shape[1:])}; they "
            f"reach from {places.min()} to {places.max()}: were they made with the same bins?"
        )
    outside = places < 0
    pixel = places.masked_fill(outside, 0)
    counts = torch.zeros(len(places), pixels, device=places.device)
    counts.scatter_add_(1, pixel, (~outside).float())
    shares = attribution.flatten(1).float() / counts.clamp(min=1)
    return shares.gather(1, pixel).masked_fill(outside, 0.0)


def smallest_change(answer: Callable[[float], Tensor], changes: Sequence[float]) -> np.ndarray:
    """Return the smallest of ``changes`` at which each frame's answer differs from that at 0.

    float64 [frame], NaN where no change turned the answer. ``answer`` maps a change to decisions
    int64 [frame] on the same frames made again with one thing changed by so much: the SNR in dB,
    the phase in degrees, the logarithm of a ring ratio. ``changes`` begin with 0 and grow in size
    to one side; call twice for both sides. Changes are tried until every answer has turned. An
    answer may turn back at a larger change, or turn and turn back between two changes, which goes
    unseen: the smaller changes of the list keep the answer, larger ones need not change it.

    Raises InputError for other changes.
    """
    sizes = np.asarray(changes, dtype=np.float64)
    one_side = (sizes >= 0).all() or (sizes <= 0).all()
    if len(sizes) < 2 or sizes[0] != 0 or not one_side or not (np.diff(np.abs(sizes)) > 0).all():
        raise InputError(
            "Changes must begin with 0 and grow in size, all to one side; they are "
            f"{list(map(float, sizes))}."
        )
    before = answer(0.0)
    change = np.full(len(before), np.nan)
    for size in sizes[1:].tolist():
        turned = (answer(size) != before).cpu().numpy()
        change[np.isnan(change) & turned] = size
        if not np.isnan(change).any():
            break
    return change


def share_turned(change: np.ndarray, changes: Sequence[float]) -> pd.DataFrame:
    """Return the share of frames whose answer turned at each change or a smaller one.

    ``change`` is float64 [frame] of ``smallest_change``, and ``changes`` are those that it tried.
    A row a change: by, the change; value, low and high, the share with its 95 % interval.
    """
    size = np.abs(change)  # NaN: never, and no comparison with it holds
    return pd.DataFrame({"by": float(tried), **share(size <= abs(tried))} for tried in changes)
