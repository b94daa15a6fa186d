"""Likelihood classifiers of symbol-rate samples: all but the symbols known, or all but the phase.

A sample is y_k = a exp(j phase) s_k + n_k: the matched filter's output where symbol k peaks, s_k of
unit mean power, n_k white with power 10^(-Es/N0 / 10). Es/N0 is the SNR per sample of the frame
plus 10 log10(samples per symbol): 9.03 dB more at 8.

OQPSK cannot be scored on these samples alone. With the symbols' true timing they hold its in-phase
part clean, but its quadrature between two symbols, smeared over its neighbours: no symbols of an
alphabet. Its own matched filter reads the quadrature half a symbol later. So a second set of
samples is needed, ``late``, and OQPSK is scored on z_k = Re y_k + j Im late_k. Likelihoods of
different samples do not compare, but those of the waveform r that both come from do: given
the symbols it is proportional to exp((2 Re sum z_k* s_k - sum |s_k|^2) / noise), with z_k = y_k
for every class but OQPSK. Completing the square leaves sum (|z_k|^2 - |y_k|^2) / noise, 0 but
for OQPSK, which is added to the mean over the alphabet of exp(-|z_k - s_k|^2 / noise). A QPSK
signal looks smeared to OQPSK's filter as OQPSK's does to QPSK's: this is what separates them.

Sources: Wei and Mendel, IEEE Trans. Commun. 48(2), 2000 (average likelihood); Hameed, Dobre and
Popescu, IEEE Trans. Wireless Commun. 8(12), 2009, and Xu, Su and Zhou, IEEE Trans. Syst., Man,
Cybern. C 41(4), 2011 (hybrid likelihood).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modsnr import InputError
from modsnr.limits.mixtures import Mixture, phase_grid
from modsnr.signals import alphabet

FRAMES_AT_A_TIME = 512
ROUNDS = 4  # of refining the phase


def average_log_likelihood(
    samples: Tensor,
    es_n0_db: Tensor | float,
    classes: Sequence[str],
    *,
    late: Tensor | None = None,
) -> Tensor:
    """Return the log-likelihood of every class, float32 [frame, class], its symbols averaged out.

    ``samples`` is complex [frame, symbol] without any turn (phase 0) and with symbols of unit mean
    power; ``es_n0_db`` is float, [frame] or one for all, -inf for noise only; ``late``, needed for
    OQPSK, holds the matched filter's output half a symbol later. A term that all classes share,
    K log(pi noise) for K symbols, is left out.

    Raises InputError for samples that are not finite complex [frame, symbol], an SNR that is NaN or
    inf, other numbers of them than frames, and OQPSK without ``late``.
    """
    return _scores(samples, es_n0_db, classes, late, any_phase=False)


def hybrid_log_likelihood(
    samples: Tensor,
    es_n0_db: Tensor | float,
    classes: Sequence[str],
    *,
    late: Tensor | None = None,
) -> Tensor:
    """Return the largest log-likelihood of every class over the phase, float32 [frame, class].

    As ``average_log_likelihood``, but the frame may be turned by any phase. The maximum is sought
    on a grid over the sector after which the alphabet meets itself; the best phase there is refined
    by a parabola through its neighbours and by expectation maximisation, which never lowers the
    likelihood.
    """
    return _scores(samples, es_n0_db, classes, late, any_phase=True)


def _scores(
    samples: Tensor,
    es_n0_db: Tensor | float,
    classes: Sequence[str],
    late: Tensor | None,
    *,
    any_phase: bool,
) -> Tensor:
    """Return the log-likelihood of every class at phase 0, or the largest over the phase."""
    samples, precision = checked(samples, es_n0_db, classes)
    late = _checked_late(late, samples, classes)
    scores = torch.empty(len(samples), len(classes), device=samples.device)
    for column, name in enumerate(classes):
        symbols = alphabet(name)
        mixture = Mixture.around(symbols, samples.device)
        phases = phase_grid(symbols, offset=name == "OQPSK") if any_phase else torch.zeros(1)
        phases = phases.to(samples.device)
        for start in range(0, len(samples), FRAMES_AT_A_TIME):
            rows = slice(start, start + FRAMES_AT_A_TIME)
            seen = _Seen(samples[rows], late[rows] if name == "OQPSK" else None, precision[rows])
            scores[rows, column] = seen.maximum(mixture, phases).float()
    return scores


@dataclass(frozen=True)
class _Seen:
    """The samples of some frames, complex64 [frame, symbol], and 1 / noise power, [frame, 1]."""

    samples: Tensor
    late: Tensor | None  # for OQPSK's quadrature only
    precision: Tensor

    def maximum(self, mixture: Mixture, phases: Tensor) -> Tensor:
        """Return the largest log-likelihood over the phase, float64 [frame].

        ``phases`` [phase] is a periodic grid to begin with, or the only phase that there is.
        """
        if len(phases) == 1:
            return self._log_likelihood(mixture, phases.expand(len(self.samples)))
        phase = self._best_on_grid(mixture, phases)
        for _ in range(ROUNDS):
            phase = self._expected(mixture, phase).angle().float()
        return self._log_likelihood(mixture, phase)

    def _best_on_grid(self, mixture: Mixture, phases: Tensor) -> Tensor:
        """Return the phase of the largest likelihood on a periodic grid, or near it: [frame].

        A parabola through each summit of the grid and its neighbours shows where the likelihood
        has its maximum, and how large it is: the highest may stand between two lower grid points.
        """
        everywhere = phases.unsqueeze(1).expand(-1, len(self.samples))
        on_grid = torch.stack([self._log_likelihood(mixture, phase) for phase in everywhere], 1)
        below, above = on_grid.roll(1, 1), on_grid.roll(-1, 1)
        bend = (2 * on_grid - below - above).clamp(min=1e-9)
        aside = (above - below) / (2 * bend)
        summit = (on_grid >= below) & (on_grid >= above)
        height = torch.where(summit, on_grid + aside.square() * bend / 2, -torch.inf)
        place = height.argmax(1, keepdim=True)
        step = phases[1] - phases[0]
        vertex = phases[place[:, 0]] + step * aside.gather(1, place)[:, 0].float()
        top, highest = on_grid.max(1)
        better = self._log_likelihood(mixture, vertex) > top
        return torch.where(better, vertex, phases[highest])

    def _log_likelihood(self, mixture: Mixture, phase: Tensor) -> Tensor:
        """Return the log-likelihood at a phase, [frame]: float64 [frame]."""
        rows, excess = self._rows(mixture, phase, moments=False)
        return rows[0].double().sum(1) + excess

    def _expected(self, mixture: Mixture, phase: Tensor) -> Tensor:
        """Return the samples' correlation with the symbols to expect, complex128 [frame].

        Its angle is the phase that makes the expected log-likelihood largest.
        """
        rows, _ = self._rows(mixture, phase, moments=True)
        late = self.samples if self.late is None else self.late
        correlation = self.samples * rows[1] - 1j * late * rows[2]
        return correlation.to(torch.complex128).sum(1)

    def _rows(self, mixture: Mixture, phase: Tensor, *, moments: bool) -> tuple[Tensor, Tensor]:
        """Return the mixture's rows at z, [row, frame, symbol], and z's excess energy / noise."""
        turn = torch.polar(torch.ones_like(phase), -phase).unsqueeze(1)
        upright = self.samples * turn
        real, imag, excess = upright.real, upright.imag, torch.zeros_like(phase).double()
        if self.late is not None:
            imag = (self.late * turn).imag
            excess = (imag.double().square() - upright.imag.double().square()).sum(1)
            excess *= self.precision[:, 0]
        weight = self.precision.expand(real.shape)
        return mixture(real, imag, weight, moments=moments), excess


def checked(
    samples: Tensor, es_n0_db: Tensor | float, classes: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Return samples, complex64 [frame, symbol], and 1 / noise power, float32 [frame, 1].

    Raises InputError as ``average_log_likelihood`` does.
    """
    _check_samples("Samples", samples)
    if not len(classes):
        raise InputError("There is no class to choose from.")
    es_n0_db = torch.as_tensor(es_n0_db, dtype=torch.float32, device=samples.device)
    if es_n0_db.ndim > 1 or (es_n0_db.ndim == 1 and len(es_n0_db) != len(samples)):
        raise InputError(
            f"One Es/N0 a frame is needed, or one for all; there are {tuple(es_n0_db.shape)} for "
            f"{len(samples)} frames."
        )
    if not bool((es_n0_db < torch.inf).all()):
        raise InputError("An Es/N0 is NaN or inf: without noise no likelihood is defined.")
    precision = torch.pow(10.0, es_n0_db / 10).expand(len(samples)).unsqueeze(1)
    return samples.to(torch.complex64), precision


def _checked_late(late: Tensor | None, samples: Tensor, classes: Sequence[str]) -> Tensor:
    """Return the late samples, complex64; where no class needs them, ``samples``."""
    if late is None and "OQPSK" in classes:
        raise InputError(
            "OQPSK needs the samples half a symbol later for its quadrature: pass them as late, "
            "or leave OQPSK out of the classes."
        )
    if late is None:
        return samples
    _check_samples("Late samples", late)
    if late.shape != samples.shape:
        raise InputError(
            f"Each sample needs a late one; the shapes are {tuple(late.shape)} and "
            f"{tuple(samples.shape)}."
        )
    return late.to(torch.complex64)


def _check_samples(name: str, values: Tensor) -> None:
    if not values.is_complex() or values.ndim != 2 or not values.shape[1]:
        raise InputError(
            f"{name} must be complex [frame, symbol]; they are {values.dtype} "
            f"{tuple(values.shape)}."
        )
    bad = (~torch.view_as_real(values).isfinite().all(2).all(1)).nonzero().flatten()
    if len(bad):
        raise InputError(f"{name} of {len(bad)} frames are not finite, first {int(bad[0])}.")
