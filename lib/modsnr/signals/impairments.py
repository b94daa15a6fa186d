"""The channels of an ``Ensemble``, one a frame: what is drawn for each, and what it does.

After the carrier and the paths come the noise, tilted and measured in the signal's band, and the
receiver: filter, imbalance of its two branches, constant, quantisation, resampling. Filters are
real responses to a frame that is taken as periodic: they delay nothing, and reach a margin only.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi
from typing import NamedTuple

import torch
from torch import Tensor

from modsnr.signals.alphabets import APSK_GEOMETRIES, alphabets
from modsnr.signals.channels import Ensemble, Range
from modsnr.signals.noise import normal, uniform

MARGIN = 128  # samples on either side of a frame that paths and filters may spoil
RECEIVE_TRANSITION = 0.03  # cycles/sample from pass to stop band, as of the fixed receive filter
RESAMPLE_TRANSITION = 0.08  # of the recording's sampling rate, as conditioned recordings have it
LEVELS = 2**8  # of the converter, over twice the full scale


class Drawn(NamedTuple):
    """The channels of frames: float32 [frame] each, where no other type is written."""

    samples_per_symbol: int
    rolloff_range: tuple[Tensor, Tensor]  # [frame, 1], both the same
    carrier_offset_std: Tensor
    clock_offset_std: Tensor
    delay_spread: Tensor
    noise_tilt_db: Tensor
    receive_bandwidth: Tensor  # pass band over the band of signal and offset; inf: no filter
    recorded_rate: Tensor  # samples a symbol; inf: never resampled
    dc_db: Tensor  # -inf: none
    gain_db: Tensor
    phase_degrees: Tensor
    headroom_db: Tensor  # inf: never quantised
    ring_stretch: Tensor
    geometry: Tensor  # int64, into ``geometries``
    geometries: tuple[str, ...]
    random_timing: bool = True
    random_phase: bool = True


def drawn(ensemble: Ensemble, frames: int, generator: torch.Generator) -> Drawn:
    """Return the channels of ``frames`` frames, on the generator's device."""

    def numbers() -> Tensor:
        return uniform(generator, 2, frames)

    low, high = ensemble.rolloff
    rolloff = low + (high - low) * uniform(generator, frames, 1)
    together = numbers()
    offsets = ensemble.carrier_offset_std, ensemble.clock_offset_std
    carrier, clock = (_values(each, together, each.low) for each in offsets)
    known = len(ensemble.geometries)
    return Drawn(
        ensemble.samples_per_symbol,
        (rolloff, rolloff),
        carrier,
        clock,
        _values(ensemble.delay_spread, numbers(), 0.0),
        _values(ensemble.noise_tilt_db, numbers(), 0.0),
        _values(ensemble.receive_bandwidth, numbers(), torch.inf),
        _values(ensemble.recorded_rate, numbers(), torch.inf),
        _values(ensemble.dc_db, numbers(), -torch.inf),
        _values(ensemble.gain_db, numbers(), 0.0),
        _values(ensemble.phase_degrees, numbers(), 0.0),
        _values(ensemble.headroom_db, numbers(), torch.inf),
        _values(ensemble.ring_stretch, numbers(), 1.0),
        torch.randint(known, (frames,), generator=generator, device=generator.device),
        ensemble.geometries,
    )


def _values(of: Range, numbers: Tensor, absent: float) -> Tensor:
    """Return values of a range by uniform ``numbers`` [2, frame]: which frames have one, where."""
    low, high = (log(of.low), log(of.high)) if of.log else (of.low, of.high)
    values = low + (high - low) * numbers[1]
    return torch.where(numbers[0] < of.share, values.exp() if of.log else values, absent)


def points_of(modulation: Tensor, classes: Sequence[str], own: Drawn) -> tuple[Tensor, Tensor]:
    """Return each frame's alphabet, complex64 [frame, point], and how many points it has, [frame].

    As ``alphabets`` has them, those of APSK with the frame's own rings.
    """
    device, known = modulation.device, []
    for name in own.geometries:
        known.append(alphabets(classes, APSK_GEOMETRIES[name]))
    table, size = (torch.stack(each).to(device) for each in zip(*known, strict=True))
    points, size = table[own.geometry, modulation], size[own.geometry, modulation]
    apsk = torch.tensor([name.endswith("APSK") for name in classes], device=device)
    rows = (apsk[modulation] & (own.ring_stretch != 1)).nonzero().flatten()
    # ``stretched`` for all of them at once; padding stays at zero.
    radius = points[rows].abs()
    least = radius.where(radius > 0, torch.inf).amin(1, keepdim=True)
    more = own.ring_stretch[rows].unsqueeze(1).log() / (radius.amax(1, keepdim=True) / least).log()
    some = points[rows] * (radius / least).clamp(min=1).pow(more)
    power = some.abs().square().sum(1, keepdim=True) / size[rows].unsqueeze(1)
    points[rows] = some / power.sqrt()
    return points, size


def impaired(
    signal: Tensor, snr_db: Tensor, carrier: Tensor, own: Drawn, generator: torch.Generator
) -> Tensor:
    """Return what a receiver gives of signals of unit power, complex64 [frame, sample].

    ``snr_db`` is the label and ``carrier`` the offset in cycles/sample, float [frame] each.
    ``MARGIN`` samples at either end are spoilt.
    """
    frequency = torch.fft.fftfreq(signal.shape[1], device=signal.device)
    symbol_rate = 1 / own.samples_per_symbol
    tilt, offset = own.noise_tilt_db.unsqueeze(1), carrier.unsqueeze(1)
    noise_power = 10 ** (-snr_db.unsqueeze(1) / 10)
    full_scale = 10 ** (own.headroom_db.unsqueeze(1) / 20) * (1 + noise_power).sqrt()
    step = 2 * full_scale / LEVELS
    # What rounding adds, a twelfth of its step squared to either part, is part of the label.
    rounding = (step.square() / 6).where(step.isfinite(), 0.0)
    density = (noise_power - rounding).clamp(min=0) * band_density(
        frequency, tilt, offset, symbol_rate
    )

    noise = torch.view_as_complex(normal(generator, *signal.shape, 2)) * 0.5**0.5
    spectrum = torch.fft.fft(signal) + density.sqrt() * torch.fft.fft(noise)
    own_band = (1 + own.rolloff_range[1]) * symbol_rate + 2 * offset.abs()
    passed = own.receive_bandwidth.unsqueeze(1) * own_band
    iq = torch.fft.ifft(spectrum * low_pass(frequency, passed, RECEIVE_TRANSITION))

    iq = imbalanced(iq, own.gain_db, own.phase_degrees)
    angle = 2 * pi * uniform(generator, len(iq), 1)
    iq = iq + torch.polar((10 ** (own.dc_db / 20)).unsqueeze(1), angle)
    rows = own.headroom_db.isfinite().nonzero().flatten()
    iq[rows] = quantised(iq[rows], step[rows])
    rows = own.recorded_rate.isfinite().nonzero().flatten()
    if len(rows):  # no transform of no frames
        rate = (own.recorded_rate[rows].unsqueeze(1) * symbol_rate).clamp(max=1)
        fall = RESAMPLE_TRANSITION * rate
        response = low_pass(frequency, rate - fall, fall)
        iq[rows] = torch.fft.ifft(torch.fft.fft(iq[rows]) * response)
    return iq


def band_density(frequency: Tensor, tilt_db: Tensor, carrier: Tensor, width: float) -> Tensor:
    """Return the noise's density at ``frequency`` over its mean in the signal's band.

    It falls by ``tilt_db``, linearly in dB, from frequency 0 to +-0.5. The band lies ``width``
    around the carrier; all are in cycles/sample and broadcast.
    """
    steep = tilt_db * (log(10) / 5)  # nepers of power a cycle/sample
    steep = steep.where(steep != 0, 1e-6)

    def below(edge: Tensor) -> Tensor:  # the integral from 0 on
        return -torch.expm1(-steep * edge.abs()) / steep * edge.sign()

    mean = (below(carrier + width / 2) - below(carrier - width / 2)) / width
    return torch.exp(-steep * frequency.abs()) / mean


def low_pass(frequency: Tensor, passed: Tensor, transition: Tensor | float) -> Tensor:
    """Return a response: 1 over a band ``passed`` wide, then a raised-cosine fall to 0."""
    fall = (frequency.abs() - passed / 2) / transition
    return 0.5 + 0.5 * torch.cos(pi * fall.clamp(0, 1))


def imbalanced(iq: Tensor, gain_db: Tensor, phase_degrees: Tensor) -> Tensor:
    """Return samples [frame, sample] of a mixer whose quadrature branch has another gain and phase.

    With g and p as gain and phase, the image is |1 - g exp(jp)| / |1 + g exp(-jp)| of the signal.
    """
    gain, phase = 10 ** (gain_db / 20), phase_degrees * (pi / 180)
    across, along = ((gain * part(phase)).unsqueeze(1) for part in (torch.sin, torch.cos))
    return torch.complex(iq.real, along * iq.imag - across * iq.real)


def quantised(iq: Tensor, step: Tensor) -> Tensor:
    """Return samples [frame, sample] rounded to ``LEVELS`` steps, clipped beyond the last."""
    parts, step = torch.view_as_real(iq), step.unsqueeze(2)
    levels = torch.round(parts / step).clamp(-LEVELS // 2, LEVELS // 2 - 1)
    return torch.view_as_complex(levels * step)
