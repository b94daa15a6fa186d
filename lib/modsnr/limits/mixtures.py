"""Even Gaussian mixtures around an alphabet, and the phases at which to try an alphabet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log, pi

import torch
from torch import Tensor

from modsnr.signals import symmetry

# Distances held at a time: larger pieces fall out of a core's cache and take twice as long.
PIECE = 2**16
# A term below exp(-60) times the largest adds nothing, and subnormal numbers are slow.
FAINTEST = -60.0


@dataclass(frozen=True)
class Mixture:
    """An even mixture around the points of an alphabet, in parts that do not overlap.

    A part is (points [point, 2],), or a rectangle of points, (real levels [level, 1], imaginary
    levels [level, 1]), whose sum is the product of one over either: 32 terms for 256QAM. A cross
    is two rectangles.
    """

    size: int
    parts: tuple[tuple[Tensor, ...], ...]

    @classmethod
    def around(cls, symbols: Tensor, device: torch.device) -> Mixture:
        """Return the mixture around ``symbols``, complex128 [point], by rectangles where they at
        least halve the work."""
        columns: dict[float, list[float]] = {}
        for symbol in symbols.tolist():
            columns.setdefault(round(symbol.real, 9), []).append(round(symbol.imag, 9))
        alike: dict[tuple[float, ...], list[float]] = {}
        for across, up in columns.items():
            alike.setdefault(tuple(sorted(up)), []).append(across)
        parts: Sequence[tuple[Tensor, ...]] = [
            tuple(torch.tensor(levels, device=device).unsqueeze(1) for levels in (across, up))
            for up, across in alike.items()
        ]
        if 2 * sum(len(levels) for part in parts for levels in part) > len(symbols):
            parts = [(torch.view_as_real(symbols).float().to(device),)]
        return cls(len(symbols), tuple(parts))

    def __call__(self, real: Tensor, imag: Tensor, weight: Tensor, *, moments: bool) -> Tensor:
        """Return rows over samples of any shape: float32 [1 or 3, ...].

        ``real`` and ``imag`` are float32, the parts of the samples, ``weight`` 1 / noise power.
        The rows are the log of the mean over the points of exp(-distance^2 weight) and, with
        ``moments``, the real and the imaginary part of the point to expect behind a sample.
        """
        piece = PIECE // max(len(levels) for part in self.parts for levels in part)
        flat = (values.flatten().split(max(1, piece)) for values in (real, imag, weight))
        rows = [self._piece_rows(*one, moments=moments) for one in zip(*flat, strict=True)]
        return torch.cat(rows, 1).view(-1, *real.shape)

    def _piece_rows(self, real: Tensor, imag: Tensor, weight: Tensor, *, moments: bool) -> Tensor:
        found = []
        for part in self.parts:
            if len(part) == 1:
                found.append(_sums(part[0], (real, imag), weight, moments=moments))
                continue
            across, up = (
                _sums(levels, (values,), weight, moments=moments)
                for levels, values in zip(part, (real, imag), strict=True)
            )
            found.append(torch.cat([across[:1] + up[:1], across[1:], up[1:]]))
        rows = found[0]
        if len(found) > 1:
            stacked = torch.stack(found)  # [part, row, sample]
            total = stacked[:, 0].logsumexp(0)
            shares = (stacked[:, :1] - total).exp()
            rows = torch.cat([total.unsqueeze(0), (shares * stacked[:, 1:]).sum(0)])
        rows[0] -= log(self.size)
        return rows


def _sums(points: Tensor, values: tuple[Tensor, ...], weight: Tensor, *, moments: bool) -> Tensor:
    """Return the log of the sum over ``points`` of exp(-distance^2 weight): float32 [1, sample].

    ``points`` is [point, dimension], ``values`` [sample] for each dimension. With ``moments`` a row
    a dimension follows, the mean of the points to expect.
    """
    distance = (points[:, :1] - values[0]).square_()
    for place, value in enumerate(values[1:], start=1):
        distance += (points[:, place : place + 1] - value).square_()
    distance *= -weight
    nearest = distance.amax(0)
    likelihood = distance.sub_(nearest).clamp_(min=FAINTEST).exp_()
    total = likelihood.sum(0)
    score = total.log().add_(nearest).unsqueeze(0)
    return torch.cat([score, points.T @ likelihood / total]) if moments else score


def phase_grid(symbols: Tensor, *, offset: bool) -> Tensor:
    """Return phases over the sector after which an alphabet repeats, float32 [phase].

    From one phase to the next no point moves by more than 3/4 of the shortest way between two, nor
    turns by more than 0.07 radians: the fuller rings of APSK nearly meet themselves long before
    the whole alphabet does, and the inner rings show the difference only near the right phase.
    ``offset``: the quadrature comes half a symbol late, so that only half a turn changes nothing.
    """
    apart = (symbols.unsqueeze(0) - symbols.unsqueeze(1)).abs().fill_diagonal_(torch.inf).min()
    sector = 2 * pi / (2 if offset else symmetry(symbols))
    step = min(0.07, 0.75 * apart.item() / symbols.abs().max().item())
    count = max(4, ceil(sector / step))
    return torch.arange(count) * (sector / count)
