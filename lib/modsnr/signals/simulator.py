"""A simulator of labelled frames at complex baseband.

A frame is 1,024 complex samples at 8 samples a symbol unless told otherwise; its SNR is signal
power over noise power per sample, in dB, the noise white over the sampled band. Es/N0 is thus
higher by 10 log10(samples per symbol), 9.03 dB at 8.

The order of the channel is that of O'Shea, Roy and Clancy (IEEE JSTSP 2018, arXiv 1712.04578):
shape, interpolate (timing and clock), mix (carrier), convolve (multipath), add noise. A receive
filter, where there is one, comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log, pi, prod, sqrt
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from modsnr import InputError
from modsnr.signals.alphabets import DIGITAL_CLASSES, STUDY_CLASSES, alphabet
from modsnr.signals.channels import (
    RECEIVE_REACH,
    Channel,
    Mixture,
    noise_density,
    receive_response,
)

# On either side of a block. Random timing takes up to 16 samples of the latter.
GUARD_SYMBOLS, GUARD_SAMPLES = 8, 64
INTERPOLATED = 8  # samples a symbol that the interpolator needs
NOISE_MEMORY = 64  # samples; coloured noise is forgotten long before


def simulate(
    modulation: Tensor,
    snr_db: Tensor,
    *,
    generator: torch.Generator,
    classes: Sequence[str] = STUDY_CLASSES,
    channel: Channel | Mixture | None = None,
    samples: int = 1024,
) -> Tensor:
    """Return one simulated frame a label: complex64 [frame, sample], on the generator's device.

    ``modulation`` is int [frame], an index into ``classes``; ``snr_db`` is float [frame], dB per
    sample, inf for no noise. Each frame's signal has unit mean power before the noise is added, so
    its label is exact but for the noise's own fluctuation; the frame is not rescaled afterwards.
    Of a mixture each frame gets the channel that the generator draws for it.
    """
    if isinstance(channel, Mixture):
        return _through_a_mixture(modulation, snr_db, channel, classes, samples, generator)
    iq, _ = simulate_and_tell(
        modulation, snr_db, generator=generator, classes=classes, channel=channel, samples=samples
    )
    return iq


def _through_a_mixture(
    modulation: Tensor,
    snr_db: Tensor,
    mixture: Mixture,
    classes: Sequence[str],
    samples: int,
    generator: torch.Generator,
) -> Tensor:
    device = generator.device
    modulation, snr_db = modulation.to(device), snr_db.to(device, torch.float32)
    _check_labels(modulation, snr_db, classes)  # of all, so that an error tells a frame's place
    parts = list(mixture.parts.values())
    drawn = torch.randint(len(parts), (len(modulation),), generator=generator, device=device)
    iq = torch.empty(len(modulation), samples, dtype=torch.complex64, device=device)
    for number, part in enumerate(parts):
        rows = (drawn == number).nonzero().flatten()
        if len(rows):
            iq[rows] = simulate(
                modulation[rows],
                snr_db[rows],
                generator=generator,
                classes=classes,
                channel=part,
                samples=samples,
            )
    return iq


@dataclass(frozen=True)
class Told:
    """What a genie knows of simulated frames: float32 [frame] each, but for the symbols.

    Symbol k peaks ``first + k period`` samples into the frame, where the signal before noise and
    multipath is ``amplitude`` times the symbol, through its matched filter, turned by ``phase``
    and by ``carrier_offset`` cycles/sample from sample 0 on. OQPSK's quadrature peaks half a
    period later.
    """

    symbols: Tensor  # complex64 [frame, symbol], from well before the frame to well after it
    first: Tensor  # samples
    period: Tensor  # samples
    rolloff: Tensor
    amplitude: Tensor
    phase: Tensor  # radians
    carrier_offset: Tensor  # cycles/sample


def simulate_and_tell(
    modulation: Tensor,
    snr_db: Tensor,
    *,
    generator: torch.Generator,
    classes: Sequence[str] = STUDY_CLASSES,
    channel: Channel | None = None,
    samples: int = 1024,
) -> tuple[Tensor, Told]:
    """Return the frames that ``simulate`` makes, and what their labels do not tell.

    GMSK's symbols are those that a linear class would have had, and mean nothing.
    """
    channel = channel or Channel()
    device = generator.device
    modulation, snr_db = modulation.to(device), snr_db.to(device, torch.float32)
    _check_labels(modulation, snr_db, classes)
    modulation = modulation.long()  # uint8 would be taken for a mask
    frames, period = len(modulation), channel.samples_per_symbol

    # Multipath and the receive filter reach beyond the frame: it is then made longer by whole
    # symbols at either end, and cut at last.
    reach = int(PATHS_REACH * channel.delay_spread)
    reach += RECEIVE_REACH if channel.receive_bandwidth else 0
    margin = -(-reach // period) * period
    length, frame = samples + 2 * margin, slice(margin, margin + samples)

    # The block is periodic; the frame is cut a guard away from either end, so that neither the
    # pulses' tails, nor random timing, nor clock drift reach across its seam.
    clock = channel.clock_offset_std * _normal(frames, generator)
    drift = int(length * 6 * channel.clock_offset_std) + 1
    guard = max(GUARD_SYMBOLS, -(-GUARD_SAMPLES // period))
    symbols = -(-(length + drift) // period) + 2 * guard
    interpolated = channel.random_timing or channel.clock_offset_std > 0
    finer = -(-INTERPOLATED // period) if interpolated else 1
    shaped = replace(channel, samples_per_symbol=finer * period)
    block, chosen, rolloff = _shape(modulation, symbols, classes, shaped, generator)
    start = torch.full((frames,), float(guard * period), device=device)
    if channel.random_timing:
        start = start + 16 * torch.rand(frames, generator=generator, device=device)
    if interpolated:
        signal = _resample(block, finer * start, finer * (1 + clock), length)
    else:
        signal = block[:, guard * period :][:, :length]
    carrier, phase, offset = _carrier(frames, length, channel, generator)
    signal = signal * carrier
    if channel.delay_spread > 0:
        signal = _multipath(signal, channel.delay_spread, generator)
    rms = signal[:, frame].abs().square().mean(1, keepdim=True).sqrt()
    signal = signal / rms
    sigma = torch.pow(10.0, -snr_db / 20).unsqueeze(1) * sqrt(0.5)
    noise = _noise(frames, length, channel.noise_tilt_db, generator)
    received = torch.view_as_complex(torch.view_as_real(signal) + sigma.unsqueeze(2) * noise)
    if channel.receive_bandwidth:
        response = receive_response(_bins(received), channel.receive_bandwidth)
        received = _filtered(received, response)
    told = Told(
        symbols=chosen,
        first=-start / (1 + clock) - margin,
        period=period / (1 + clock),
        rolloff=rolloff[:, 0],
        amplitude=1 / rms[:, 0],
        phase=phase + 2 * pi * offset * margin,
        carrier_offset=offset,
    )
    return received[:, frame], told


@dataclass(frozen=True)
class Simulator:
    """Frames for the labels of a data set, any batch of which can be made without the others.

    Each batch of ``batch_size`` rows has a generator of its own, seeded by (seed, batch). It can
    be sent to another process: it holds settings only. A device gives the same bytes each time,
    whatever the number of threads; another kind of device gives other frames.
    """

    batch_size: ClassVar[int] = 512

    seed: int
    classes: tuple[str, ...]
    channel: Channel | Mixture
    samples: int = 1024
    device: str = "cpu"

    def __call__(self, rows: np.ndarray, modulation: np.ndarray, snr_db: np.ndarray) -> np.ndarray:
        """Return complex64 [frame, sample] for ``rows``, int64 [frame], and their labels.

        ``modulation`` is int64 [frame] into ``classes``, ``snr_db`` float32 [frame]. The rows
        begin at a multiple of ``batch_size``, follow one another, and end at a multiple or with
        the data set: a batch cut short draws other frames than the whole one.

        Raises InputError for other rows, and for labels that ``simulate`` refuses.
        """
        rows = np.asarray(rows)
        gaps = np.flatnonzero(np.diff(rows) != 1)
        if len(gaps):
            raise InputError(
                f"Simulated rows must follow one another; after {rows[gaps[0]]}, at index "
                f"{gaps[0]}, comes {rows[gaps[0] + 1]}."
            )
        if len(rows) and (rows[0] < 0 or rows[0] % self.batch_size):
            raise InputError(
                f"Simulated rows must begin at a multiple of {self.batch_size}; they begin at "
                f"{rows[0]}."
            )
        if not len(rows) == len(modulation) == len(snr_db):
            raise InputError(
                f"One modulation and one SNR a row are needed; there are {len(rows)} rows, "
                f"{len(modulation)} modulations and {len(snr_db)} SNRs."
            )
        iq = np.empty((len(rows), self.samples), np.complex64)
        for start in range(0, len(rows), self.batch_size):
            batch = slice(start, start + self.batch_size)
            number = int(rows[start]) // self.batch_size
            iq[batch] = simulate(
                torch.tensor(modulation[batch]),
                torch.tensor(snr_db[batch]),
                generator=torch.Generator(self.device).manual_seed(self.seed * 1_000_003 + number),
                classes=self.classes,
                channel=self.channel,
                samples=self.samples,
            ).numpy(force=True)
        return iq


def _check_labels(modulation: Tensor, snr_db: Tensor, classes: Sequence[str]) -> None:
    unknown = [name for name in classes if name not in DIGITAL_CLASSES]
    if unknown:
        raise InputError(f"{unknown[0]!r} is no modulation of {', '.join(DIGITAL_CLASSES)}.")
    if modulation.shape != snr_db.shape or modulation.ndim != 1:
        raise InputError(
            f"One modulation and one SNR a frame are needed; the shapes are "
            f"{tuple(modulation.shape)} and {tuple(snr_db.shape)}."
        )
    if modulation.is_floating_point() or modulation.dtype == torch.bool:
        raise InputError(f"Modulation labels must be integers; they are {modulation.dtype}.")
    outside = ((modulation < 0) | (modulation >= len(classes))).nonzero().flatten()
    if len(outside):
        raise InputError(
            f"{len(outside)} modulation labels lie outside the {len(classes)} classes, "
            f"the first at index {int(outside[0])}: {int(modulation[outside[0]])}."
        )
    bad = (snr_db.isnan() | (snr_db == -torch.inf)).nonzero().flatten()
    if len(bad):
        raise InputError(f"{len(bad)} SNRs are NaN or -inf, the first at index {int(bad[0])}.")


def _normal(count: int, generator: torch.Generator) -> Tensor:
    return torch.randn(count, generator=generator, device=generator.device)


def _shape(
    modulation: Tensor,
    symbols: int,
    classes: Sequence[str],
    channel: Channel,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return periodic noise-free blocks: complex64 [frame, symbols x samples_per_symbol].

    Their symbols, complex64 [frame, symbol], and roll-offs, [frame, 1], come with them. Pulses are
    root-raised cosines, exact in the frequency domain. Symbols sit on a grid of half symbols, so
    that OQPSK's quadrature rides half a symbol late and all classes share one path.
    """
    device, frames = generator.device, len(modulation)
    linear = [name for name in classes if name != "GMSK"]
    alphabets = {name: alphabet(name, channel.rings).to(torch.complex64) for name in linear}
    widest = max([len(points) for points in alphabets.values()], default=1)
    table = torch.zeros(len(classes), widest, dtype=torch.complex64)
    size = torch.ones(len(classes))
    for row, name in enumerate(classes):
        if name in alphabets:
            table[row, : len(alphabets[name])] = alphabets[name]
            size[row] = len(alphabets[name])
    draw = torch.rand(frames, symbols, generator=generator, device=device)
    point = (draw * size.to(device)[modulation].unsqueeze(1)).long().clamp_(max=widest - 1)
    chosen = table.to(device)[modulation.unsqueeze(1), point]

    grid = torch.zeros(frames, symbols, 2, dtype=torch.complex64, device=device)
    grid[:, :, 0] = chosen
    late = [row for row, name in enumerate(classes) if name == "OQPSK"]
    offset = torch.isin(modulation, torch.tensor(late, device=device, dtype=modulation.dtype))
    grid[offset, :, 0] = chosen[offset].real + 0j
    grid[offset, :, 1] = 1j * chosen[offset].imag

    low, high = channel.rolloff_range
    rolloff = low + (high - low) * torch.rand(frames, 1, generator=generator, device=device)
    length = symbols * channel.samples_per_symbol
    # Only the bins inside the widest band are filled: (1 + rolloff) / 2 symbol rates each way.
    edge = min(int((1 + high) / 2 * symbols) + 1, length // 2 - 1)
    bins = torch.arange(-edge, edge + 1, device=device)
    response = root_raised_cosine(bins.abs() / symbols, rolloff)
    spectrum = torch.zeros(frames, length, dtype=torch.complex64, device=device)
    images = torch.fft.fft(grid.flatten(1))  # periodic in 2 symbol rates
    spectrum[:, bins % length] = images[:, bins % (2 * symbols)] * response
    block = torch.fft.ifft(spectrum) * channel.samples_per_symbol

    constant = [row for row, name in enumerate(classes) if name == "GMSK"]
    rows = torch.isin(modulation, torch.tensor(constant, device=device, dtype=modulation.dtype))
    if rows.any():  # no transform of no frames
        block[rows] = _gmsk(int(rows.sum()), symbols, channel, generator)
    return block, chosen, rolloff


def root_raised_cosine(frequency: Tensor, rolloff: Tensor | float) -> Tensor:
    """Return the response at ``frequency`` (absolute, in symbol rates), 1 in the flat band.

    The two arguments broadcast. Its square is a raised cosine: the Nyquist pulse's spectrum.
    """
    rolloff = torch.as_tensor(rolloff, dtype=torch.float32, device=frequency.device)
    # A roll-off of 0 is the brick wall: the ramp then has no width, only its two sides.
    ramp = (frequency - (1 - rolloff) / 2) / rolloff.clamp(min=1e-9)
    return torch.cos(ramp.clamp(0, 1) * (pi / 2))


def _gmsk(frames: int, symbols: int, channel: Channel, generator: torch.Generator) -> Tensor:
    """Return GMSK blocks, complex64 [frame, sample]: minimum-shift keying of smoothed bits."""
    period, device = channel.samples_per_symbol, generator.device
    bits = torch.randint(0, 2, (frames, symbols), generator=generator, device=device) * 2.0 - 1
    rectangular = bits.repeat_interleave(period, 1) / period  # each bit turns pi/2 in all
    frequency = torch.fft.rfftfreq(symbols * period, device=device) * period  # symbol rates
    gaussian = torch.exp(-(log(2) / 2) * (frequency / channel.gmsk_bt) ** 2)
    shaped = torch.fft.irfft(torch.fft.rfft(rectangular) * gaussian, n=symbols * period)
    phase = pi / 2 * shaped.cumsum(1)
    return torch.polar(torch.ones_like(phase), phase)


# Six-point Lagrange interpolation: on a band of 0.0875 cycles/sample (roll-off 0.4 at 8 samples
# a symbol) its error lies below -70 dB, under the noise of every SNR simulated.
_NODES = (-2, -1, 0, 1, 2, 3)


def _resample(block: Tensor, start: Tensor, step: Tensor, samples: int) -> Tensor:
    """Return block read at start + k step: complex64 [frame, samples]; positions in samples."""
    # On a CPU in pieces that stay in its cache, which is twice as fast.
    piece = 64 if block.device.type == "cpu" else max(1, len(block))
    pieces = zip(block.split(piece), start.split(piece), step.split(piece), strict=True)
    return torch.cat([_interpolate(*part, samples) for part in pieces])


def _interpolate(block: Tensor, start: Tensor, step: Tensor, samples: int) -> Tensor:
    position = start.unsqueeze(1) + step.unsqueeze(1) * torch.arange(
        samples, device=block.device, dtype=torch.float32
    )
    base = position.floor()
    fraction = (position - base).unsqueeze(0)
    nodes = torch.tensor(_NODES, device=block.device, dtype=torch.float32).view(-1, 1, 1)
    away = fraction - nodes  # [node, frame, sample]
    index = base.long().clamp_(-_NODES[0], block.shape[1] - 1 - _NODES[-1])
    result = torch.zeros(position.shape, dtype=torch.complex64, device=block.device)
    for place, node in enumerate(_NODES):
        others = [k for k in range(len(_NODES)) if k != place]
        weight = away[others[0]] / prod(node - _NODES[k] for k in others)
        for k in others[1:]:
            weight *= away[k]
        result += weight * block.gather(1, index + node)
    return result


def _carrier(
    frames: int, samples: int, channel: Channel, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the carrier's rotation, complex64 [frame, sample], its random phase and offset."""
    phase = torch.zeros(frames, device=generator.device)
    if channel.random_phase:
        phase = 2 * pi * torch.rand(frames, generator=generator, device=generator.device)
    offset = channel.carrier_offset_std * _normal(frames, generator)
    time = torch.arange(samples, device=generator.device, dtype=torch.float32)
    angle = phase.unsqueeze(1) + 2 * pi * offset.unsqueeze(1) * time
    return torch.polar(torch.ones_like(angle), angle), phase, offset


# The paths' mean power has fallen to exp(-5) there.
PATHS_REACH = 5  # delay spreads


def _multipath(signal: Tensor, delay_spread: float, generator: torch.Generator) -> Tensor:
    """Return the signal through Rayleigh taps a sample apart with an exponential profile.

    The taps reach to five delay spreads; the first samples returned see only the earlier paths.
    """
    result = torch.zeros_like(signal)
    for delay in range(int(PATHS_REACH * delay_spread) + 1):
        taps = torch.randn(len(signal), 1, 2, generator=generator, device=generator.device)
        gain = torch.view_as_complex(taps) * (exp(-delay / delay_spread) / 2) ** 0.5
        result[:, delay:] += gain * signal[:, : signal.shape[1] - delay]
    return result


def _noise(frames: int, samples: int, tilt_db: float, generator: torch.Generator) -> Tensor:
    """Return complex noise of power 2 as pairs, float32 [frame, sample, 2]."""
    memory = NOISE_MEMORY if tilt_db else 0  # keeps the ends of the periodic noise apart
    shape = (frames, samples + memory, 2)
    noise = torch.randn(shape, generator=generator, device=generator.device)
    if not tilt_db:
        return noise
    noise = torch.view_as_complex(noise)
    noise = _filtered(noise, noise_density(_bins(noise), tilt_db).sqrt())
    return torch.view_as_real(noise[:, :samples])


def _bins(signal: Tensor) -> Tensor:
    """Return the frequencies of a signal's transform in cycles/sample, float64 [sample]."""
    return torch.fft.fftfreq(signal.shape[1], dtype=torch.float64)


def _filtered(signal: Tensor, response: Tensor) -> Tensor:
    """Return a signal [frame, sample], taken as periodic, through a response at its bins."""
    return torch.fft.ifft(torch.fft.fft(signal) * response.to(signal.device, torch.float32))
