"""Posterior means of symbols in Gaussian noise, for each alphabet."""

from __future__ import annotations

from functools import lru_cache
from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from modsnr.signals import LIQUID_RINGS, STUDY_CLASSES, alphabet

# OQPSK has no symbols at the others' timing.
ALPHABETS = tuple(name for name in STUDY_CLASSES if name != "OQPSK")
# Rings of APSK that are in use beside those of ``alphabet``.
OTHER_RINGS = tuple((name, LIQUID_RINGS) for name in ALPHABETS if name in LIQUID_RINGS)


class Posterior(NamedTuple):
    """What received symbols show of those sent; all are [frame, alphabet, symbol]."""

    mean: Tensor  # complex64
    power: Tensor  # float32, mean of the square of the magnitude
    log_likelihood: Tensor  # float32, nats, of the density times pi noise


def posterior(symbols: Tensor, noise: Tensor) -> Posterior:
    """Return the posterior of symbols under each of ``ALPHABETS``, of unit power, points alike.

    ``symbols`` is complex64 [frame, alphabet, symbol], ``noise`` float32 [frame, alphabet], the
    variance of their noise. On a CPU a compiled loop does it, elsewhere torch.
    """
    if symbols.device.type == "cpu":
        from modsnr.receiver.averaging import average  # numba takes half a second to import

        parts = (part.contiguous().numpy() for part in (symbols.real, symbols.imag, noise))
        real, imaginary, power, likelihood = torch.from_numpy(average(*parts)).unbind(1)
        return Posterior(torch.complex(real, imaginary), power, likelihood)
    return averaged(symbols, noise)


def averaged(symbols: Tensor, noise: Tensor) -> Posterior:
    """Return the same as ``posterior``, by torch on any device."""
    rows = zip(symbols.unbind(1), noise.unbind(1), ALPHABETS, strict=True)
    found = [of_alphabet(each, variance.view(-1, 1, 1), name) for each, variance, name in rows]
    return Posterior(*(torch.stack(column, 1) for column in zip(*found, strict=True)))


def of_alphabet(symbols: Tensor, noise: Tensor, name: str) -> Posterior:
    """Return the posterior of symbols [..., symbol] of one alphabet, ``noise`` [..., 1]."""
    return of_points(symbols, noise, *_points(name, symbols.device))


def of_points(symbols: Tensor, noise: Tensor, points: Tensor, moments: Tensor) -> Posterior:
    """Return the posterior of symbols [..., symbol] of points, as ``tabled`` returns them."""
    closeness = (torch.view_as_real(symbols) @ points[:2] - points[2]) / noise
    most = closeness.amax(2, keepdim=True)
    weight, real, imaginary, power = ((closeness - most).exp() @ moments).unbind(2)
    likelihood = weight.log() - log(points.shape[1])
    likelihood = likelihood + (most - symbols.abs().square().unsqueeze(2) / noise).squeeze(2)
    return Posterior(torch.complex(real, imaginary) / weight, power / weight, likelihood)


@lru_cache(maxsize=64)
def _points(name: str, device: torch.device) -> tuple[Tensor, Tensor]:
    rows, columns = tabled(alphabet(name))
    return rows.to(device), columns.to(device)


def tabled(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return twice the points' coordinates and their power [3, point], their moments [point, 4]."""
    real, imaginary, power = points.real, points.imag, points.abs().square()
    rows = torch.stack([2 * real, 2 * imaginary, power])
    columns = torch.stack([torch.ones_like(real), real, imaginary, power], 1)
    return rows.float(), columns.float()
