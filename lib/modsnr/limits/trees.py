"""Classifiers of blind symbol-rate samples, without learning: cumulants, and the SNR first.

Samples are complex [frame, symbol] of any scale and phase, at the symbols' timing; the estimates
of Es/N0 come from elsewhere, in dB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from modsnr.limits.classifiers import checked, log_likelihood
from modsnr.signals import alphabet, cumulants

REAL_VALUED = 0.5  # |C20| over power: 1 for an alphabet on a line, 0 for the others
LEAST_SIGNAL = 1e-6  # of the power or the noise; less is as good as none


def cumulant_tree(samples: Tensor, es_n0_db: Tensor | float, classes: Sequence[str]) -> Tensor:
    """Return the class that the samples' cumulants are nearest to, int64 [frame].

    First |C20| separates alphabets on a line from the others; among those left, the class with the
    nearest (|C40|, C42) is taken. Noise adds to the power alone: all are taken over the power
    without it. Classes with the same cumulants, as the PSKs from 8 points on or QPSK and OQPSK,
    cannot be separated; the first of them stands for all. Source: Swami and Sadler, IEEE Trans.
    Commun. 48(3), 2000.

    Raises InputError as ``log_likelihood`` does, but needs no late samples for OQPSK.
    """
    samples, precision = checked(samples, es_n0_db)
    known = [cumulants(alphabet(name)) for name in classes]
    # Rounded, equals are equal, and the first of them is nearest.
    place = torch.stack([_fourth(found).round(decimals=6) for found in known]).to(samples.device)
    line = torch.stack([found["C20"].abs() > REAL_VALUED for found in known]).to(samples.device)
    # Cumulants are taken about the mean, which holds some of the power.
    power = samples.abs().double().square().mean(1)
    about_mean = power - samples.mean(1).abs().double().square()
    noise = power / (1 + precision[:, 0].double())
    excess = about_mean / (about_mean - noise).maximum(LEAST_SIGNAL * power)
    found = cumulants(samples)
    apart = (_fourth(found) * excess.square().unsqueeze(1)).unsqueeze(1) - place
    on_line = found["C20"].abs() * excess > REAL_VALUED
    other = on_line.unsqueeze(1) != line
    # Where all classes are of the other kind, the nearest is taken all the same.
    other &= ~other.all(1, keepdim=True)
    return apart.norm(dim=2).masked_fill(other, torch.inf).argmin(1)


def _fourth(found: Mapping[str, Tensor]) -> Tensor:
    """Return (|C40|, C42), float64 [..., 2]."""
    return torch.stack([found["C40"].abs(), found["C42"].real], -1)


def cascade(samples: Tensor, es_n0_db: Tensor | float, classes: Sequence[str]) -> Tensor:
    """Return the class most likely at the SNR estimated before, int64 [frame].

    The estimate and the samples' power give the symbols' amplitude, and ``log_likelihood`` the
    class at the best phase. This is the quasi-hybrid classifier: an estimate stands for the maximum
    over amplitude and noise.

    Raises InputError as ``log_likelihood`` does without late samples: OQPSK is refused.
    """
    _, precision = checked(samples, es_n0_db)
    power = samples.abs().square().mean(1, keepdim=True)
    scale = ((1 + 1 / precision.clamp(min=LEAST_SIGNAL)) / power.clamp(min=1e-30)).sqrt()
    return log_likelihood(samples * scale, es_n0_db, classes, any_phase=True).argmax(1)
