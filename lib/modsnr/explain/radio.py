"""Explanations in the receiver's terms: samples, symbols, the least change that turns an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from modsnr.metrics import share


def point_shares(attribution: Tensor, places: Tensor) -> Tensor:
    """Return what each point of a frame has of the view's attribution: float32 [frame, point].

    ``attribution`` is [frame, bins, bins] of one view; ``places`` is int64 [frame, point], the
    pixel row * bins + column in which a point falls, -1 outside. The points of a pixel share its
    value evenly, so that a frame's points have together what its occupied pixels have; a point
    outside has nothing.
    """
    outside = places < 0
    pixel, values = places.masked_fill(outside, 0), attribution.flatten(1).float()
    counts = torch.zeros_like(values).scatter_add_(1, pixel, (~outside).float())
    shares = values / counts.clamp(min=1)
    return shares.gather(1, pixel).masked_fill(outside, 0.0)


def smallest_change(answer: Callable[[float], Tensor], changes: Sequence[float]) -> np.ndarray:
    """Return the smallest of ``changes`` at which each frame's answer differs from that at 0.

    float64 [frame], NaN where no change turned the answer. ``answer`` maps a change to decisions
    int64 [frame] on the same frames made again with one thing changed by so much: the SNR in dB,
    the phase in degrees, the logarithm of a ring ratio. ``changes`` begin with 0 and grow in size
    to one side; they are tried until every answer has turned. An answer that turns and turns back
    between two changes goes unseen.
    """
    before = answer(0.0)
    change = np.full(len(before), np.nan)
    for size in map(float, changes[1:]):
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
