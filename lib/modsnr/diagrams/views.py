"""The points that each view counts, from a frame's samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import pi
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from modsnr import InputError, files
from modsnr.diagrams.aligning import align
from modsnr.receiver.timing import (
    EDGE_SYMBOLS,
    SAMPLES_PER_SYMBOL,
    STOP_BAND,
    symbol_noise,
    synchronise,
    unit_power,
)
from modsnr.receiver.timing import MATCHED_ROLLOFF as MATCHED_ROLLOFF

REFERENCE = 1024  # samples of a frame whose points count one each
RESIDUAL_REACH = 64  # taps of its filter on either side of the middle one
POLAR_DB = (-20.0, 6.0)  # power of a symbol over their mean: left and right edge
RESIDUAL_DB = (-45.0, 10.0)  # power of a residual sample over the frame's: centre, rim


class View(NamedTuple):
    """A view. To add one, write a function from samples to points and an entry in ``_VIEWS``.

    ``points`` maps frames complex64 [frame, sample] to complex64 [frame, point], None for a view
    that counts no points; ``extent`` is that of its diagrams. There is a point every ``step``
    samples, but for ``edge`` samples at either end of a frame, which must be a multiple of ``step``
    samples and have ``shortest`` at least. Where ``of`` names another view, ``points`` maps that
    one's points instead of samples.
    """

    points: Callable[[Tensor], Tensor] | None
    extent: float
    step: int = 1
    edge: int = 0
    shortest: int = 1
    of: str = ""

    def fits(self, samples: int) -> bool:
        """Return whether frames of so many samples have this view."""
        return samples % self.step == 0 and samples >= self.shortest

    def weight(self, samples: int) -> float:
        """Return what a point of frames of so many samples counts, 1 at ``REFERENCE`` samples."""
        return (REFERENCE - 2 * self.edge) / (samples - 2 * self.edge)


def points(iq: Tensor, view: str, known: dict[str, Tensor] | None = None) -> Tensor:
    """Return the points that ``view`` counts: complex64 [frame, point], each view's own scale.

    ``known`` holds points of these frames by view; those found on the way are added.

    Raises InputError for an unknown view, one without points, and frames too short for it.
    """
    known, entry = {} if known is None else known, _view(view, iq.shape[1])
    if entry.points is None:
        raise InputError(f"The {view} view has no points: it is bands of grey.")
    if view not in known:
        given = points(iq, entry.of, known) if entry.of else iq.to(torch.complex64)
        known[view] = entry.points(given)
    return known[view]


def times(view: str, samples: int) -> Tensor:
    """Return where in a frame of so many samples each point of ``view`` is: float32 [point].

    In samples from the frame's first. constellation: the sample itself. residual: the middle of
    the filter's window. The others: the symbol's place if the blind timing were zero;
    each frame's own lies within half a symbol of it, the same way for all its symbols.

    Raises InputError for an unknown view, one without points, and frames too short for it.
    """
    entry = _view(view, samples)
    if entry.points is None:
        raise InputError(f"The {view} view has no points: it is bands of grey.")
    return torch.arange(entry.edge, samples - entry.edge, entry.step, dtype=torch.float32)


def weight(view: str, samples: int) -> float:
    """Return what a point of ``view`` counts in frames of so many samples: 1 at ``REFERENCE``.

    Scaled so, diagrams of frames of other lengths hold as much as those that networks have seen.

    Raises InputError for an unknown view and for frames too short for it.
    """
    return _view(view, samples).weight(samples)


def views_of(samples: int) -> tuple[str, ...]:
    """Return the views that frames of so many samples are long enough for."""
    return tuple(name for name, view in _VIEWS.items() if view.fits(samples))


def _view(name: str, samples: int) -> View:
    files.check_name("view", name, _VIEWS)
    view = _VIEWS[name]
    if not view.fits(samples):
        steps = f", a multiple of {view.step}" if view.step > 1 else ""
        raise InputError(
            f"The {name} view needs frames of {view.shortest} samples or more{steps}; these have "
            f"{samples}."
        )
    return view


def out_of_band(iq: Tensor) -> Tensor:
    """Return the part of unit-power frames outside the signal's band: complex64 [frame, sample].

    A linear-phase high-pass; only samples that the whole filter covers are kept, so nothing of the
    frame's ends leaks into the stop band.
    """
    response = _highpass(iq.shape[1], iq.device)
    return torch.fft.ifft(torch.fft.fft(unit_power(iq)) * response)[:, 2 * RESIDUAL_REACH :]


def log_radius(residual: Tensor) -> Tensor:
    """Return samples with their radius mapped from decibels onto 0 .. 1, angles kept."""
    low, high = RESIDUAL_DB
    magnitude = residual.abs().clamp(min=1e-9)
    radius = ((20 * magnitude.log10() - low) / (high - low)).clamp(min=0)
    return residual * (radius / magnitude)


def log_polar(symbols: Tensor) -> Tensor:
    """Return symbols at (their level in decibels, their angle), either mapped onto -1 .. 1."""
    low, high = POLAR_DB
    level = (20 * symbols.abs().clamp(min=1e-9).log10() - low) / (high - low)
    return torch.complex(2 * level - 1, symbols.angle() / pi)


_BY_SYMBOL: Any = {
    "step": SAMPLES_PER_SYMBOL,
    "edge": EDGE_SYMBOLS * SAMPLES_PER_SYMBOL,
    "shortest": (2 * EDGE_SYMBOLS + 2) * SAMPLES_PER_SYMBOL,
}
_VIEWS: dict[str, View] = {
    "constellation": View(unit_power, 3.0),
    "synchronised": View(synchronise, 2.0, **_BY_SYMBOL),
    "aligned": View(lambda iq: align(synchronise(iq), symbol_noise(iq)), 2.0, **_BY_SYMBOL),
    "residual": View(
        lambda iq: log_radius(out_of_band(iq)),
        1.0,
        edge=RESIDUAL_REACH,
        shortest=4 * RESIDUAL_REACH,
    ),
    "log_polar": View(log_polar, 1.0, **_BY_SYMBOL, of="aligned"),
    "likelihood": View(None, 1.0, **_BY_SYMBOL),
}
VIEWS = tuple(_VIEWS)
POINT_VIEWS = tuple(name for name, view in _VIEWS.items() if view.points)
EXTENTS = {name: view.extent for name, view in _VIEWS.items()}


@lru_cache(maxsize=8)
def _highpass(samples: int, device: torch.device) -> Tensor:
    """Return the response of a Kaiser-windowed high-pass at ``STOP_BAND``, complex64 [bin]."""
    time = np.arange(-RESIDUAL_REACH, RESIDUAL_REACH + 1)
    taps = -2 * STOP_BAND * np.sinc(2 * STOP_BAND * time) * np.kaiser(len(time), 8.0)
    taps[RESIDUAL_REACH] += 1
    return torch.fft.fft(torch.tensor(taps, dtype=torch.float32), n=samples).to(device)
