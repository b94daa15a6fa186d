"""Likelihood classifiers of symbol-rate samples: all but the symbols known, or all but the phase.

A sample is y_k = a exp(j phase) s_k + n_k: the matched filter's output where symbol k peaks, s_k of
unit mean power, n_k white with power 10^(-Es/N0 / 10).

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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modsnr import InputError
from modsnr.limits.mixtures import Mixture, phase_grid
from modsnr.signals import DVB_RINGS, alphabet
from modsnr.signals.alphabets import Rings

FRAMES_AT_A_TIME = 512
ROUNDS = 4  # of refining the phase


def log_likelihood(
    samples: Tensor,
    es_n0_db: Tensor | float,
    classes: Sequence[str],
    *,
    late: Tensor | None = None,
    any_phase: bool = False,
    rings: Mapping[str, Rings] = DVB_RINGS,
) -> Tensor:
    """Return the log-likelihood of every class, float32 [frame, class], its symbols averaged out.

    ``samples`` is complex [frame, symbol] with symbols of unit mean power; ``es_n0_db`` is float,
    [frame] or one for all, -inf for noise only; ``late``, needed for OQPSK, holds the matched
    filter's output half a symbol later; ``rings`` are those of the APSK alphabets. A term that all
    classes share, K log(pi noise) for K symbols, is left out.

    The samples have phase 0 (average likelihood), or ``any_phase``: then the score is the largest
    over the phase (hybrid likelihood). It is sought on a grid over the sector after which the
    alphabet meets itself; the best phase there is refined by a parabola through its neighbours and
    by expectation maximisation, which never lowers the likelihood.

    Raises InputError for samples that are not finite complex [frame, symbol], an SNR that is NaN or
    inf, and OQPSK without ``late``.
    """
    samples, precision = checked(samples, es_n0_db)
    if late is None and "OQPSK" in classes:
        raise InputError(
            "OQPSK needs the samples half a symbol later for its quadrature: pass them as late, "
            "or leave OQPSK out of the classes."
        )
    late = samples if late is None else checked(late, es_n0_db)[0]
    scores = torch.empty(len(samples), len(classes), device=samples.device)
    for column, name in enumerate(classes):
        symbols, offset = alphabet(name, rings), name == "OQPSK"
        mixture = Mixture.around(symbols, samples.device)
        phases = phase_grid(symbols, offset=offset).to(samples.device)
        for start in range(0, len(samples), FRAMES_AT_A_TIME):
            rows = slice(start, start + FRAMES_AT_A_TIME)
            seen = _Seen(mixture, samples[rows], late[rows] if offset else None, precision[rows])
            phase = seen.best_phase(phases) if any_phase else torch.zeros_like(precision[rows, 0])
            scores[rows, column] = seen.log_likelihood(phase).float()
    return scores


@dataclass(frozen=True)
class _Seen:
    """The samples of some frames, complex64 [frame, symbol], and 1 / noise power, [frame, 1]."""

    mixture: Mixture  # around the symbols of a class
    samples: Tensor
    late: Tensor | None  # for OQPSK's quadrature only
    precision: Tensor

    def best_phase(self, phases: Tensor) -> Tensor:
        """Return the phase of the largest likelihood, [frame]; ``phases`` is a grid to begin with.

        A parabola through each summit of the grid and its neighbours shows where the likelihood
        has its maximum, and how large it is: the highest may stand between two lower grid points.
        """
        everywhere = phases.unsqueeze(1).expand(-1, len(self.samples))
        on_grid = torch.stack([self.log_likelihood(phase) for phase in everywhere], 1)
        below, above = on_grid.roll(1, 1), on_grid.roll(-1, 1)
        bend = (2 * on_grid - below - above).clamp(min=1e-9)
        aside = (above - below) / (2 * bend)
        summit = (on_grid >= below) & (on_grid >= above)
        height = torch.where(summit, on_grid + aside.square() * bend / 2, -torch.inf)
        place = height.argmax(1, keepdim=True)
        step = phases[1] - phases[0]
        vertex = phases[place[:, 0]] + step * aside.gather(1, place)[:, 0].float()
        top, highest = on_grid.max(1)
        better = self.log_likelihood(vertex) > top
        phase = torch.where(better, vertex, phases[highest])
        for _ in range(ROUNDS):
            phase = self._correlation(phase).angle().float()
        return phase

    def log_likelihood(self, phase: Tensor) -> Tensor:
        """Return the log-likelihood at a phase, [frame]: float64 [frame]."""
        rows, excess = self._rows(phase, moments=False)
        return rows[0].double().sum(1) + excess

    def _correlation(self, phase: Tensor) -> Tensor:
        """Return the samples' correlation with the symbols to expect, complex128 [frame].

        Its angle is the phase that makes the expected log-likelihood largest.
        """
        rows, _ = self._rows(phase, moments=True)
        late = self.samples if self.late is None else self.late
        correlation = self.samples * rows[1] - 1j * late * rows[2]
        return correlation.to(torch.complex128).sum(1)

    def _rows(self, phase: Tensor, *, moments: bool) -> tuple[Tensor, Tensor]:
        """Return the mixture's rows at z, [row, frame, symbol], and z's excess energy / noise."""
        turn = torch.polar(torch.ones_like(phase), -phase).unsqueeze(1)
        upright = self.samples * turn
        real, imag, excess = upright.real, upright.imag, torch.zeros_like(phase).double()
        if self.late is not None:
            imag = (self.late * turn).imag
            excess = (imag.double().square() - upright.imag.double().square()).sum(1)
            excess *= self.precision[:, 0]
        weight = self.precision.expand(real.shape)
        return self.mixture(real, imag, weight, moments=moments), excess


def checked(samples: Tensor, es_n0_db: Tensor | float) -> tuple[Tensor, Tensor]:
    """Return samples, complex64 [frame, symbol], and 1 / noise power, float32 [frame, 1].

    Raises InputError as ``log_likelihood`` does.
    """
    if not samples.is_complex() or samples.ndim != 2:
        raise InputError(
            f"Samples must be complex [frame, symbol]; they are {samples.dtype} "
            f"{tuple(samples.shape)}."
        )
    bad = (~torch.view_as_real(samples).isfinite().all(2).all(1)).nonzero().flatten()
    if len(bad):
        raise InputError(f"Samples of {len(bad)} frames are not finite, first {int(bad[0])}.")
    es_n0_db = torch.as_tensor(es_n0_db, dtype=torch.float32, device=samples.device)
    if not bool((es_n0_db < torch.inf).all()):
        raise InputError("An Es/N0 is NaN or inf: without noise no likelihood is defined.")
    precision = torch.pow(10.0, es_n0_db / 10).expand(len(samples)).unsqueeze(1)
    return samples.to(torch.complex64), precision
