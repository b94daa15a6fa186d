"""A blind likelihood classifier: phase, carrier offset and amplitude averaged out, not known.

The samples are those of ``classifiers``, at the symbols' true timing. A frame's likelihood under an
alphabet is the mean over its symbols, over the phase, uniform, over the carrier's offset, Gaussian,
and over the amplitude, uniform in dB within a range that the power of a frame hardly ever leaves.
No classifier of such samples that does not know these three does better; what a frame's samples
between the symbols, its timing and its roll-off would have to be found from is left out, and so is
the noise's power, which the band beside the signal's shows.

The log-likelihood of a symbol at radius r and angle x is a Fourier series in x, of the harmonics of
the alphabet's symmetry: sum_M h_M(r) exp(j M x). At phase p and offset f the frame's is

    sum_M exp(-j M p) sum_k h_M(r_k) exp(j M (x_k - 2 pi f t_k)),

evaluated on even grids of p and f finer than the posterior is wide. OQPSK is two binary alphabets,
the real axis on the symbols and the imaginary one half a symbol later.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, log, pi, sqrt
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from modsnr.limits.classifiers import log_likelihood
from modsnr.limits.genie import CERTAIN, Curve, accuracy_curve, symbol_samples
from modsnr.limits.mixtures import Mixture
from modsnr.signals import alphabet, symmetry

AMPLITUDES_DB = tuple(np.linspace(-0.8, 0.8, 5).round(2).tolist())
# Harmonics of an angle: so many at least, and so many times the RMS over the noise's deviation.
HARMONICS, PER_DEVIATION = 32, 4.8
RADII, WIDEST = 384, 2.0  # from 0 to so many RMS and three deviations of the noise
FINE = 2.0  # deviations of a known signal's phase or offset from one point of a grid to the next
REACH = 3.0  # deviations of the offset searched on either side
FRAMES_AT_A_TIME = 64
KNOWN = 10  # frames of the genie for each blind one


def marginal_log_likelihood(
    samples: Tensor,
    late: Tensor,
    es_n0_db: float,
    classes: Sequence[str],
    *,
    any_phase: bool = True,
    offset_std: float = 0.0,
    amplitudes_db: Sequence[float] = AMPLITUDES_DB,
) -> Tensor:
    """Return the log-likelihood of every class, float32 [frame, class], all else averaged out.

    ``samples`` is complex64 [frame, symbol], ``late`` the same half a symbol later, which OQPSK
    needs. ``es_n0_db`` gives the noise's power, at symbols of unit power; these may have any of
    ``amplitudes_db`` instead (one: it is known). ``offset_std``, in cycles/symbol, is that of the
    carrier's offset; the phase, that in the middle of the frame, is 0 unless ``any_phase``. A term
    that all classes share is left out.
    """
    grids = _Grids(samples.shape[1], es_n0_db, offset_std, any_phase)
    rows = []
    for level in amplitudes_db:
        gain, found = 10 ** (level / 20), []
        for name in classes:
            series = _series(name, round(es_n0_db + level, 6))
            pieces = zip(samples.split(FRAMES_AT_A_TIME), late.split(FRAMES_AT_A_TIME), strict=True)
            found.append(torch.cat([_score(a / gain, b / gain, series, grids) for a, b in pieces]))
        rows.append(torch.stack(found, 1))
    if len(rows) == 1:
        return rows[0]
    fine = np.linspace(amplitudes_db[0], amplitudes_db[-1], 16 * len(amplitudes_db))
    smooth = CubicSpline(amplitudes_db, torch.stack(rows).double().numpy(force=True))(fine)
    return (torch.from_numpy(smooth).logsumexp(0) - log(len(fine))).float()


def blind_curve(
    classes: Sequence[str],
    es_n0_db: Sequence[float],
    *,
    symbols: int = 126,
    frames: int,
    generator: torch.Generator,
    **unknown: Any,
) -> Curve:
    """Return how often ``marginal_log_likelihood`` is right over Es/N0, ascending.

    ``frames`` of each class are drawn, of unit amplitude, with what ``unknown``, the options of
    that function, leaves open. The chance that a decision is right is the genie's posterior of the
    class that was decided for, whatever the classifier takes for given. What it lacks to the
    genie's own certainty is averaged, and taken off the ``accuracy_curve`` of ``KNOWN`` times as
    many frames, which costs less and makes the error a half.
    """
    more = {"symbols": symbols, "frames": KNOWN * frames, "generator": generator}
    genie = accuracy_curve(classes, es_n0_db, **more)
    modulation = torch.arange(len(classes), device=generator.device).repeat(frames)
    accuracy, error = genie.accuracy.copy(), genie.error.copy()
    for point, level in enumerate(es_n0_db):
        levels = torch.full((len(modulation),), float(level), device=generator.device)
        drawn = symbol_samples(modulation, levels, classes, symbols=symbols, generator=generator)
        known = log_likelihood(drawn[0], levels, classes, late=drawn[1]).double().softmax(1)
        samples, late = _turned(drawn, generator, **unknown)
        scores = marginal_log_likelihood(samples, late, float(level), classes, **unknown)
        decided = scores.argmax(1)
        lost = known.amax(1) - known.gather(1, decided.unsqueeze(1))[:, 0]
        if accuracy[point] == 1 and lost.mean() < 1 - CERTAIN:
            break
        accuracy[point] -= lost.mean().item()
        error[point] = np.hypot(error[point], lost.std().item() / len(lost) ** 0.5)
    return Curve(np.asarray(es_n0_db, np.float64), accuracy, error)


def _turned(
    drawn: tuple[Tensor, Tensor],
    generator: torch.Generator,
    *,
    any_phase: bool = True,
    offset_std: float = 0.0,
    **_: Any,
) -> list[Tensor]:
    """Return samples and late ones at the phase and offset that a classifier does not know."""
    options = {"generator": generator, "device": generator.device}
    frames = len(drawn[0])
    phase = 2 * pi * any_phase * torch.rand(frames, 1, **options)
    offset = offset_std * torch.randn(frames, 1, **options)
    turned = []
    for part, time in zip(drawn, _times(drawn[0].shape[1], generator.device), strict=True):
        angle = phase + 2 * pi * offset * time
        turned.append(part * torch.polar(torch.ones_like(angle), angle))
    return turned


def _times(symbols: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return when samples and late ones are taken, in symbols from the middle of the frame."""
    time = torch.arange(symbols, device=device) - symbols / 2
    return time, time + 0.5


class _Grids:
    """The phases and offsets at which a frame's likelihood is evaluated."""

    def __init__(self, symbols: int, es_n0_db: float, offset_std: float, any_phase: bool) -> None:
        # Of a known signal: phase and offset deviate by so much at least (Rife and Boorstyn 1974).
        ratio = symbols * 10 ** (es_n0_db / 10)
        self.phase_step = FINE / sqrt(2 * ratio) if any_phase else 0.0
        step = FINE * sqrt(6 / ratio) / (2 * pi * symbols)
        count = ceil(REACH * offset_std / step)
        self.offsets = torch.arange(-count, count + 1) * step if count else torch.zeros(1)
        prior = -(self.offsets / max(offset_std, 1e-12)).square() / 2
        self.log_prior = prior.log_softmax(0)

    def phases(self, order: int) -> Tensor:
        """Return phases over the turn after which an alphabet repeats."""
        count = ceil(2 * pi / order / self.phase_step) if self.phase_step else 1
        return torch.arange(count) * (2 * pi / order / count)


class _Series(NamedTuple):
    """The log-likelihood of a symbol, as a Fourier series of its angle."""

    late: bool  # whether it is that of a late sample
    step: float  # from one radius to the next
    orders: Tensor  # int64 [harmonic], ascending from 0
    values: Tensor  # complex64 [radius, harmonic], doubled but for harmonic 0


@lru_cache(maxsize=512)
def _series(name: str, es_n0_db: float) -> tuple[_Series, ...]:
    """Return the series of an alphabet, one a kind of samples, in noise of that Es/N0."""
    points = alphabet(name)
    if name == "OQPSK":
        axis = torch.tensor([-sqrt(0.5), sqrt(0.5)], dtype=torch.complex128)
        return _series_of(axis, es_n0_db, late=False), _series_of(1j * axis, es_n0_db, late=True)
    return (_series_of(points, es_n0_db, late=False),)


def _series_of(points: Tensor, es_n0_db: float, *, late: bool) -> _Series:
    ratio, order = 10 ** (es_n0_db / 10), symmetry(points)
    harmonics = max(2, int(max(HARMONICS, PER_DEVIATION * sqrt(2 * ratio))) // order)
    radius = torch.linspace(0, WIDEST + 3 / sqrt(ratio), RADII).unsqueeze(1)
    angle = torch.arange(4 * harmonics) * (2 * pi / order / (4 * harmonics))
    real, imag = radius * angle.cos(), radius * angle.sin()
    mixture = Mixture.around(points, torch.device("cpu"))
    total = mixture(real, imag, torch.full_like(real, ratio), moments=False)[0]
    found = torch.fft.fft(total + ratio * radius.square())[:, : harmonics + 1] / len(angle)
    found[:, 1:] *= 2
    orders = order * torch.arange(harmonics + 1)
    return _Series(late, float(radius[1, 0]), orders, found)


def _score(samples: Tensor, late: Tensor, series: tuple[_Series, ...], grids: _Grids) -> Tensor:
    """Return the log of the mean likelihood over phases and offsets, float32 [frame]."""
    order = int(series[0].orders[1])
    phases = grids.phases(order)
    turns = torch.outer(series[0].orders, phases)
    parts = [_lines(late if of.late else samples, of, grids.offsets) for of in series]
    lines = torch.stack(parts).sum(0)
    score = lines.real @ turns.cos() + lines.imag @ turns.sin()  # [frame, offset, phase]
    score = score + grids.log_prior.unsqueeze(1)
    return score.flatten(1).logsumexp(1) - log(len(phases))


def _lines(samples: Tensor, series: _Series, offsets: Tensor) -> Tensor:
    """Return the series summed over the symbols at each offset, [frame, offset, harmonic]."""
    place = samples.abs() / series.step
    below = place.long().clamp(max=RADII - 2)  # further out it goes on along a straight line
    part = (place - below).unsqueeze(2)
    values = torch.lerp(series.values[below], series.values[below + 1], part.to(torch.complex64))
    angle = samples.angle().unsqueeze(2) * series.orders
    values = values * torch.polar(torch.ones_like(angle), angle)  # [frame, symbol, harmonic]
    time = _times(samples.shape[1], samples.device)[series.late]
    turn = 2 * pi * series.orders.view(-1, 1, 1) * time.unsqueeze(1) * offsets
    waves = torch.polar(torch.ones_like(turn), -turn)  # [harmonic, symbol, offset]
    return torch.einsum("fkm,mko->fom", values, waves)
