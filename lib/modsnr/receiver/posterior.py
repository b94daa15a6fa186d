"""Posterior means of symbols in Gaussian noise, alphabet by alphabet."""

from __future__ import annotations

from functools import lru_cache
from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from modsnr.signals import alphabet

GRIDS = ("BPSK", "4ASK", "8ASK", "QPSK", "16QAM", "32QAM", "64QAM", "128QAM", "256QAM")


class Posterior(NamedTuple):
    """What received symbols show of those sent; all are [..., symbol]."""

    mean: Tensor  # complex64
    power: Tensor  # float32, mean of the square of the magnitude
    log_likelihood: Tensor  # float32, nats, the density less a factor 1 / (pi noise)


def posterior(symbols: Tensor, noise: Tensor, name: str) -> Posterior:
    """Return the posterior of symbols of a known alphabet of unit power, all points equally likely.

    ``symbols`` is complex64 [..., symbol], ``noise`` float32 [...], their noise's variance.
    """
    noise = noise.unsqueeze(-1)
    if name not in GRIDS:
        return _of_points(symbols, noise, *_points(name, symbols.device))
    levels, inner, size = _levels(name, symbols.device)
    across = _moments(symbols.real, noise, levels, inner)
    quadrature = levels if name not in GRIDS[:3] else levels.new_zeros(1)
    along = _moments(symbols.imag, noise, quadrature, inner[: len(quadrature)])
    # A cross has the inner columns whole and the outer ones in the inner rows only.
    outer = [all_ - own for all_, own in zip(across.sums, across.inner, strict=True)]
    (a0, a1, a2), (i0, i1, i2), (o0, o1, o2) = across.inner, along.sums, along.inner
    weight = a0 * i0 + outer[0] * o0
    real = (a1 * i0 + outer[1] * o0) / weight
    imaginary = (a0 * i1 + outer[0] * o1) / weight
    power = (a2 * i0 + outer[2] * o0 + a0 * i2 + outer[0] * o2) / weight
    likelihood = weight.log() - across.least - along.least - log(size)
    return Posterior(torch.complex(real, imaginary), power, likelihood)


def _of_points(symbols: Tensor, noise: Tensor, points: Tensor, moments: Tensor) -> Posterior:
    closeness = torch.view_as_real(symbols) @ points[:2] - points[2]
    closeness = closeness / noise.unsqueeze(-1)
    most = closeness.amax(-1, keepdim=True)
    weight, real, imaginary, power = ((closeness - most).exp() @ moments).unbind(-1)
    size = points.shape[1]
    apart = symbols.abs().square() / noise
    likelihood = weight.log() + most.squeeze(-1) - apart - log(size)
    return Posterior(torch.complex(real, imaginary) / weight, power / weight, likelihood)


class _Moments(NamedTuple):
    """Sums over levels of exp(-distance^2 / noise) times 1, level, its square."""

    sums: tuple[Tensor, ...]
    inner: tuple[Tensor, ...]  # over the inner levels
    least: Tensor  # the least distance's square over the noise, which is left out of the sums


def _moments(part: Tensor, noise: Tensor, levels: Tensor, inner: Tensor) -> _Moments:
    apart = (part.unsqueeze(-1) - levels).square() / noise.unsqueeze(-1)
    least = apart.amin(-1, keepdim=True)
    powers = torch.stack([levels**0, levels, levels.square()], 1)
    powers = torch.cat([powers, powers * inner.unsqueeze(1)], 1)
    sums = ((least - apart).exp() @ powers).unbind(-1)
    return _Moments(sums[:3], sums[3:], least.squeeze(-1))


@lru_cache(maxsize=64)
def _levels(name: str, device: torch.device) -> tuple[Tensor, Tensor, int]:
    """Return the levels of one coordinate, which of them are inner (1 or 0), and the points."""
    points = alphabet(name)
    levels = torch.unique((points.real * 1e6).round()) / 1e6
    # The other coordinate reaches its highest level at the inner levels only.
    highest = points.imag > points.imag.max() - 1e-6
    inner = (levels.unsqueeze(1) - points.real[highest]).abs().amin(1) < 1e-3
    return levels.to(device, torch.float32), inner.to(device, torch.float32), len(points)


@lru_cache(maxsize=64)
def _points(name: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return twice the points' coordinates and their power [3, point], their moments [point, 4]."""
    points = alphabet(name)
    real, imaginary, power = points.real, points.imag, points.abs().square()
    rows = torch.stack([2 * real, 2 * imaginary, power])
    columns = torch.stack([torch.ones_like(real), real, imaginary, power], 1)
    return rows.to(device, torch.float32), columns.to(device, torch.float32)
