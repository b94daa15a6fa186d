"""Likelihood classifiers of symbol-rate samples: all but the symbols known, or all but the phase.

A sample is y_k = a exp(j phase) s_k + n_k: the matched filter's output where symbol k peaks, s_k of
unit mean power, n_k white with power 10^(-Es/N0 / 10). Es/N0 is the SNR per sample of the frame
plus 10 log10(samples per symbol): 9.03 dB more at 8.

OQPSK cannot be judged on these samples alone. With the symbols' true timing they hold its in-phase
part clean, but its quadrature between two symbols, smeared over its neighbours: no symbols of an
alphabet. Its own matched filter reads the quadrature half a symbol later. So a second set of
samples is wanted, ``late``, and OQPSK is scored on z_k = Re y_k + j Im late_k. Likelihoods of
different samples do not compare, but those of the waveform r that both come from do: given
the symbols it is proportional to exp((2 Re sum z_k* s_k - sum |s_k|^2) / noise), with z_k = y_k
for every class but OQPSK. Completing the square leaves sum (|z_k|^2 - |y_k|^2) / noise, 0 but
for OQPSK, which is added to the mean over the alphabet of exp(-|z_k - s_k|^2 / noise). A QPSK
signal looks smeared to OQPSK's filter as OQPSK's does to QPSK's: this is what tells them apart.

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
from modsnr.signals import DVB_RINGS, Rings, alphabet

FRAMES_AT_A_TIME = 512
ROUNDS = 4  # of refining the phase


def average_log_likelihood(
    samples: Tensor,
    es_n0_db: Tensor | float,
    classes: Sequence[str],
    *,
    late: Tensor | None = None,
    rings: Mapping[str, Rings] = DVB_RINGS,
) -> Tensor:
    """Return the log-likelihood of every class, float32 [frame, class], its symbols averaged out.

    ``samples`` is complex [frame, symbol] without any turn (phase 0) and with symbols of unit mean
    power; ``es_n0_db`` is float, [frame] or one for all, -inf for noise only; ``late``, wanted for
    OQPSK, holds the matched filter's output half a symbol later. A term that all classes share,
    K log(pi noise) for K symbols, is left out.

    Raises InputError for samples that are not finite complex [frame, symbol], an SNR that is NaN or
    inf, other numbers of them than frames, and OQPSK without ``late``.
    """
    samples, precision = checked(samples, es_n0_db, classes)
    late = _checked_late(late, samples, classes)
    scores = torch.empty(len(samples), len(classes), device=samples.device)
    for column, name in enumerate(classes):
        mixture = Mixture.around(alphabet(name, rings), samples.device)
        for start in range(0, len(samples), FRAMES_AT_A_TIME):
            rows = slice(start, start + FRAMES_AT_A_TIME)
            seen = _Seen(samples[rows], late[rows] if name == "OQPSK" else None, precision[rows])
            scores[rows, column] = seen.log_likelihood(mixture, seen.still, seen.unit).float()
    return scores


def hybrid_log_likelihood(
    samples: Tensor,
    es_n0_db: Tensor | float,
    classes: Sequence[str],
    *,
    late: Tensor | None = None,
    rings: Mapping[str, Rings] = DVB_RINGS,
    unknown_amplitude: bool = False,
) -> Tensor:
    """Return the largest log-likelihood of every class over the phase, float32 [frame, class].

    As ``average_log_likelihood``, but the frame may be turned by any phase. The maximum is sought
    on a grid over the sector after which the alphabet meets itself; the best phase there is refined
    by a parabola through its neighbours and by expectation maximisation, which never lowers the
    likelihood.

    With ``unknown_amplitude`` the symbols' mean power is maximised over as well, and ``es_n0_db``
    tells only the noise power, 10^(-Es/N0 / 10): the SNR is then unknown above a known floor.
    """
    samples, precision = checked(samples, es_n0_db, classes)
    late = _checked_late(late, samples, classes)
    scores = torch.empty(len(samples), len(classes), device=samples.device)
    for column, name in enumerate(classes):
        symbols = alphabet(name, rings)
        mixture = Mixture.around(symbols, samples.device)
        phases = phase_grid(symbols, offset=name == "OQPSK").to(samples.device)
        for start in range(0, len(samples), FRAMES_AT_A_TIME):
            rows = slice(start, start + FRAMES_AT_A_TIME)
            seen = _Seen(samples[rows], late[rows] if name == "OQPSK" else None, precision[rows])
            scores[rows, column] = seen.maximum(mixture, phases, unknown_amplitude).float()
    return scores


@dataclass(frozen=True)
class _Seen:
    """The samples of some frames, complex64 [frame, symbol], and 1 / noise power, [frame, 1]."""

    samples: Tensor
    late: Tensor | None  # for OQPSK's quadrature only
    precision: Tensor

    @property
    def still(self) -> Tensor:
        return torch.zeros_like(self.precision[:, 0])

    @property
    def unit(self) -> Tensor:
        return torch.ones_like(self.precision[:, 0])

    def log_likelihood(self, mixture: Mixture, phase: Tensor, amplitude: Tensor) -> Tensor:
        """Return the log-likelihood at a phase and an amplitude, [frame] each: float64 [frame]."""
        rows, excess = self._rows(mixture, phase, amplitude, moments=False)
        return rows[0].double().sum(1) + excess

    def maximum(self, mixture: Mixture, phases: Tensor, unknown_amplitude: bool) -> Tensor:
        """Return the largest log-likelihood over the phase, and the amplitude: float64 [frame]."""
        amplitude = self.unit
        power = self.samples.abs().square().mean(1)
        weakest = 1e-3 * power.sqrt() + 1e-9
        if unknown_amplitude:
            amplitude = (power - 1 / self.precision[:, 0]).clamp(min=0).sqrt().maximum(weakest)
        phase = self._best_on_grid(mixture, phases, amplitude)
        for _ in range(ROUNDS):
            correlation, energy = self._expected(mixture, phase, amplitude)
            phase = correlation.angle().float()
            if unknown_amplitude:
                amplitude = (correlation.abs() / energy).float().maximum(weakest)
        return self.log_likelihood(mixture, phase, amplitude)

    def _best_on_grid(self, mixture: Mixture, phases: Tensor, amplitude: Tensor) -> Tensor:
        """Return the phase of the largest likelihood on a periodic grid, or near it: [frame].

        A parabola through each summit of the grid and its neighbours tells where the likelihood
        has its maximum, and how large: the highest may stand between two lower grid points.
        """
        scores = [self.log_likelihood(mixture, self.still + phase, amplitude) for phase in phases]
        on_grid = torch.stack(scores, 1)
        below, above = on_grid.roll(1, 1), on_grid.roll(-1, 1)
        bend = (2 * on_grid - below - above).clamp(min=1e-9)
        aside = (above - below) / (2 * bend)
        summit = (on_grid >= below) & (on_grid >= above)
        height = torch.where(summit, on_grid + aside.square() * bend / 2, -torch.inf)
        place = height.argmax(1, keepdim=True)
        step = phases[1] - phases[0]
        vertex = phases[place[:, 0]] + step * aside.gather(1, place)[:, 0].float()
        top, highest = on_grid.max(1)
        better = self.log_likelihood(mixture, vertex, amplitude) > top
        return torch.where(better, vertex, phases[highest])

    def _expected(
        self, mixture: Mixture, phase: Tensor, amplitude: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the samples' correlation with the symbols to expect, and these symbols' energy.

        Complex128 and float64 [frame]. The correlation's angle is the phase that makes the
        expected log-likelihood largest, and its magnitude over the energy is the amplitude.
        """
        rows, _ = self._rows(mixture, phase, amplitude, moments=True)
        late = self.samples if self.late is None else self.late
        correlation = self.samples * rows[1] - 1j * late * rows[2]
        return correlation.to(torch.complex128).sum(1), rows[3].double().sum(1)

    def _rows(
        self, mixture: Mixture, phase: Tensor, amplitude: Tensor, *, moments: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the mixture's rows at z, [row, frame, symbol], and z's excess energy / noise."""
        turn = torch.polar(torch.ones_like(phase), -phase).unsqueeze(1)
        upright = self.samples * turn
        real, imag, excess = upright.real, upright.imag, self.still.double()
        if self.late is not None:
            imag = (self.late * turn).imag
            excess = (imag.double().square() - upright.imag.double().square()).sum(1)
            excess *= self.precision[:, 0]
        scale = amplitude.unsqueeze(1)
        weight = (self.precision * scale**2).expand(real.shape)
        rows = mixture(real / scale, imag / scale, weight, moments=moments)
        return rows, excess


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
            f"One Es/N0 a frame is wanted, or one for all; there are {tuple(es_n0_db.shape)} for "
            f"{len(samples)} frames."
        )
    if not bool((es_n0_db < torch.inf).all()):
        raise InputError("An Es/N0 is NaN or inf: without noise no likelihood is defined.")
    precision = torch.pow(10.0, es_n0_db / 10).expand(len(samples)).unsqueeze(1)
    return samples.to(torch.complex64), precision


def _checked_late(late: Tensor | None, samples: Tensor, classes: Sequence[str]) -> Tensor:
    """Return the late samples, complex64; where no class asks for any, ``samples``."""
    if late is None and "OQPSK" in classes:
        raise InputError(
            "OQPSK is told by its quadrature half a symbol late: pass those samples as late, or "
            "leave OQPSK out of the classes."
        )
    if late is None:
        return samples
    _check_samples("Late samples", late)
    if late.shape != samples.shape:
        raise InputError(
            f"Late samples are wanted for each sample; the shapes are {tuple(late.shape)} and "
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
