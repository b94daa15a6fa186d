"""A simulator of labelled frames at complex baseband.

A frame is 1,024 complex samples at 8 samples a symbol unless set otherwise; its SNR is signal
power over noise power per sample, in dB, the noise white over the sampled band. Es/N0 is thus
higher by 10 log10(samples per symbol), 9.03 dB at 8.

The order of the channel is that of O'Shea, Roy and Clancy (IEEE JSTSP 2018, arXiv 1712.04578):
shape, interpolate (timing and clock), mix (carrier), convolve (multipath), add noise. A receive
filter, where there is one, comes last. An ``Ensemble`` draws a channel for each frame, see
``impairments``, and its label counts the noise by its density in the signal's band.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi, prod

import torch
from torch import Tensor

from modsnr.signals.alphabets import STUDY_CLASSES, alphabets, check_labels
from modsnr.signals.channels import Channel, Ensemble, Mixture
from modsnr.signals.impairments import MARGIN, Drawn, drawn, impaired, points_of
from modsnr.signals.noise import RECEIVE_REACH, awgn, normal, receive_filter, uniform

# On either side of a block. Random timing takes up to 16 samples of the latter.
GUARD_SYMBOLS, GUARD_SAMPLES = 8, 64
INTERPOLATED = 8  # samples a symbol that the interpolator needs
# Six-point Lagrange interpolation: on a band of 0.0875 cycles/sample (roll-off 0.4 at 8 samples
# a symbol) its error lies below -70 dB, under the noise of every SNR simulated.
NODES = (-2, -1, 0, 1, 2, 3)
PATHS_REACH = 5  # delay spreads; there the paths' mean power has fallen to exp(-5)
GMSK_BT = 0.3  # bandwidth times symbol time of the Gaussian filter


def simulate(
    modulation: Tensor,
    snr_db: Tensor,
    *,
    generator: torch.Generator,
    classes: Sequence[str] = STUDY_CLASSES,
    channel: Channel | Mixture | Ensemble | None = None,
    samples: int = 1024,
) -> Tensor:
    """Return one simulated frame a label: complex64 [frame, sample], on the generator's device.

    ``modulation`` is int [frame], an index into ``classes``; ``snr_db`` is float [frame], dB per
    sample, inf for no noise. Each frame's signal has unit mean power before the noise is added, so
    its label is exact but for the noise's own fluctuation; the frame is not rescaled afterwards.
    The default channel is ``Channel()``; of a mixture or an ensemble, the generator draws one for
    each frame.

    Raises InputError for classes or labels that cannot be simulated.
    """
    device, channel = generator.device, channel or Channel()
    modulation, snr_db = modulation.to(device), snr_db.to(device, torch.float32)
    check_labels(modulation.numpy(force=True), snr_db.numpy(force=True), classes)
    modulation = modulation.long()  # uint8 would be taken for a mask
    if isinstance(channel, Ensemble):
        return _received_each(modulation, snr_db, classes, channel, samples, generator)
    if not isinstance(channel, Mixture):
        return _received(modulation, snr_db, classes, channel, samples, generator)
    parts = list(channel.parts.values())
    drawn = torch.randint(len(parts), (len(modulation),), generator=generator, device=device)
    iq = torch.empty(len(modulation), samples, dtype=torch.complex64, device=device)
    for number, part in enumerate(parts):
        rows = (drawn == number).nonzero().flatten()
        if len(rows):
            labels = modulation[rows], snr_db[rows]
            iq[rows] = _received(*labels, classes, part, samples, generator)
    return iq


def _received(
    modulation: Tensor,
    snr_db: Tensor,
    classes: Sequence[str],
    channel: Channel,
    samples: int,
    generator: torch.Generator,
) -> Tensor:
    """Return frames of checked labels through one channel, complex64 [frame, sample]."""
    # Multipath and the receive filter reach beyond the frame: it is made longer by whole symbols
    # at either end, and cut at last.
    period = channel.samples_per_symbol
    reach = int(PATHS_REACH * channel.delay_spread)
    reach += RECEIVE_REACH if channel.receive_bandwidth else 0
    margin = -(-reach // period) * period
    length, frame = samples + 2 * margin, slice(margin, margin + samples)

    signal = _transmitted(modulation, classes, channel, length, generator)
    signal = signal * _carrier(len(signal), length, channel, generator)[0]
    if channel.delay_spread > 0:
        signal = multipath(signal, channel.delay_spread, generator)
    signal = signal / signal[:, frame].abs().square().mean(1, keepdim=True).sqrt()
    received = awgn(signal, snr_db, generator=generator, tilt_db=channel.noise_tilt_db)
    if channel.receive_bandwidth:
        received = receive_filter(received, channel.receive_bandwidth)
    return received[:, frame]


def _received_each(
    modulation: Tensor,
    snr_db: Tensor,
    classes: Sequence[str],
    ensemble: Ensemble,
    samples: int,
    generator: torch.Generator,
) -> Tensor:
    """Return frames of checked labels, each through a channel of its own."""
    own = drawn(ensemble, len(modulation), generator)
    reach = -(-int(PATHS_REACH * ensemble.delay_spread.high) // own.samples_per_symbol)
    before = MARGIN + reach * own.samples_per_symbol
    length, frame = before + samples + MARGIN, slice(before, before + samples)
    signal = _transmitted(modulation, classes, own, length, generator)
    rotation, offset = _carrier(len(signal), length, own, generator)
    signal = signal * rotation
    rows = own.delay_spread.nonzero().flatten()
    # On a CPU in pieces too small for two threads, which would round where they meet.
    piece = max(1, 2**15 // length) if signal.device.type == "cpu" else max(1, len(rows))
    for some in rows.split(piece) if len(rows) else ():
        signal[some] = multipath(signal[some], own.delay_spread[some], generator)
    signal = signal / signal[:, frame].abs().square().mean(1, keepdim=True).sqrt()
    return impaired(signal, snr_db, offset, own, generator)[:, frame]


def _transmitted(
    modulation: Tensor,
    classes: Sequence[str],
    channel: Channel | Drawn,
    samples: int,
    generator: torch.Generator,
) -> Tensor:
    """Return noise-free signals at their random timing and clock: complex64 [frame, sample]."""
    # The block is periodic; the frame is cut a guard away from either end, so that neither the
    # pulses' tails, nor random timing, nor clock drift reach across its seam.
    frames, period = len(modulation), channel.samples_per_symbol
    clock = channel.clock_offset_std * normal(generator, frames)
    drift = int(samples * 6 * _highest(channel.clock_offset_std)) + 1
    guard = max(GUARD_SYMBOLS, -(-GUARD_SAMPLES // period))
    symbols = -(-(samples + drift) // period) + 2 * guard
    interpolated = channel.random_timing or _highest(channel.clock_offset_std) > 0
    finer = -(-INTERPOLATED // period) if interpolated else 1
    block = _shape(modulation, symbols, classes, channel, finer * period, generator)
    if not interpolated:
        return block[:, guard * period :][:, :samples]
    start = torch.full((frames,), float(guard * period), device=block.device)
    if channel.random_timing:
        start = start + 16 * uniform(generator, frames)
    return resample(block, finer * start, finer * (1 + clock), samples)


def _highest(values: Tensor | float) -> float:
    return float(torch.as_tensor(values).max())


def _shape(
    modulation: Tensor,
    symbols: int,
    classes: Sequence[str],
    channel: Channel | Drawn,
    period: int,
    generator: torch.Generator,
) -> Tensor:
    """Return periodic noise-free blocks: complex64 [frame, symbols x period].

    Pulses are root-raised cosines, exact in the frequency domain. Symbols sit on a grid of half
    symbols, so that OQPSK's quadrature comes half a symbol late and all classes share one path.
    """
    frames, device = len(modulation), generator.device
    if isinstance(channel, Drawn):
        points, size = points_of(modulation, classes, channel)
    else:
        table, sizes = alphabets(classes, channel.rings)
        points, size = table.to(device)[modulation], sizes.to(device)[modulation]
    draw = uniform(generator, frames, symbols) * size.unsqueeze(1)
    chosen = points.gather(1, draw.long().clamp_(max=points.shape[1] - 1))

    grid = torch.zeros(frames, symbols, 2, dtype=torch.complex64, device=device)
    grid[:, :, 0] = chosen
    offset = _frames_of("OQPSK", modulation, classes)
    grid[offset, :, 0] = chosen[offset].real + 0j
    grid[offset, :, 1] = 1j * chosen[offset].imag

    low, high = channel.rolloff_range
    rolloff = low + (high - low) * uniform(generator, frames, 1)
    length = symbols * period
    # Only the bins inside the widest band are filled: (1 + rolloff) / 2 symbol rates each way.
    edge = min(int((1 + _highest(high)) / 2 * symbols) + 1, length // 2 - 1)
    bins = torch.arange(-edge, edge + 1, device=device)
    response = root_raised_cosine(bins.abs() / symbols, rolloff)
    spectrum = torch.zeros(frames, length, dtype=torch.complex64, device=device)
    images = torch.fft.fft(grid.flatten(1))  # periodic in 2 symbol rates
    spectrum[:, bins % length] = images[:, bins % (2 * symbols)] * response
    block = torch.fft.ifft(spectrum) * period

    constant = _frames_of("GMSK", modulation, classes)
    if len(constant):  # no transform of no frames
        block[constant] = _gmsk(len(constant), symbols, period, generator)
    return block


def _frames_of(name: str, modulation: Tensor, classes: Sequence[str]) -> Tensor:
    """Return the indices of the frames of the class called ``name``, int64."""
    label = list(classes).index(name) if name in classes else -1
    return (modulation == label).nonzero().flatten()


def root_raised_cosine(frequency: Tensor, rolloff: Tensor | float) -> Tensor:
    """Return the response at ``frequency`` (absolute, in symbol rates), 1 in the flat band.

    The two arguments broadcast. Its square is a raised cosine: the Nyquist pulse's spectrum.
    """
    rolloff = torch.as_tensor(rolloff, dtype=torch.float32, device=frequency.device)
    # A roll-off of 0 is the brick wall: the ramp then has no width, only its two sides.
    ramp = (frequency - (1 - rolloff) / 2) / rolloff.clamp(min=1e-9)
    return torch.cos(ramp.clamp(0, 1) * (pi / 2))


def _gmsk(frames: int, symbols: int, period: int, generator: torch.Generator) -> Tensor:
    """Return GMSK blocks, complex64 [frame, sample]: minimum-shift keying of smoothed bits."""
    device = generator.device
    bits = torch.randint(0, 2, (frames, symbols), generator=generator, device=device) * 2.0 - 1
    rectangular = bits.repeat_interleave(period, 1) / period  # each bit turns pi/2 in all
    frequency = torch.fft.rfftfreq(symbols * period, device=device) * period  # symbol rates
    gaussian = torch.exp(-(log(2) / 2) * (frequency / GMSK_BT) ** 2)
    shaped = torch.fft.irfft(torch.fft.rfft(rectangular) * gaussian, n=symbols * period)
    phase = pi / 2 * shaped.cumsum(1)
    return torch.polar(torch.ones_like(phase), phase)


def resample(block: Tensor, start: Tensor, step: Tensor, samples: int) -> Tensor:
    """Return block read at start + k step: complex64 [frame, samples]; positions in samples."""
    # On a CPU in pieces that stay in its cache, which is twice as fast.
    piece = 64 if block.device.type == "cpu" else max(1, len(block))
    pieces = zip(block.split(piece), start.split(piece), step.split(piece), strict=True)
    return torch.cat([_interpolate(*part, samples) for part in pieces])


def _interpolate(block: Tensor, start: Tensor, step: Tensor, samples: int) -> Tensor:
    time = torch.arange(samples, device=block.device, dtype=torch.float32)
    position = start.unsqueeze(1) + step.unsqueeze(1) * time
    base = position.floor()
    index = base.long().clamp_(-NODES[0], block.shape[1] - 1 - NODES[-1])
    away = [position - base - node for node in NODES]
    result = torch.zeros(position.shape, dtype=torch.complex64, device=block.device)
    for place, node in enumerate(NODES):
        others = [k for k in range(len(NODES)) if k != place]
        weight = away[others[0]] / prod(node - NODES[k] for k in others)
        for k in others[1:]:
            weight *= away[k]
        result += weight * block.gather(1, index + node)
    return result


def _carrier(
    frames: int, samples: int, channel: Channel | Drawn, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the carrier's rotation, complex64 [frame, sample], and its offset, float32 [frame]."""
    phase = torch.zeros(frames, device=generator.device)
    if channel.random_phase:
        phase = 2 * pi * uniform(generator, frames)
    offset = channel.carrier_offset_std * normal(generator, frames)
    time = torch.arange(samples, device=generator.device, dtype=torch.float32)
    angle = phase.unsqueeze(1) + 2 * pi * offset.unsqueeze(1) * time
    return torch.polar(torch.ones_like(angle), angle), offset


def multipath(signal: Tensor, delay_spread: Tensor | float, generator: torch.Generator) -> Tensor:
    """Return the signal through Rayleigh taps a sample apart with an exponential profile.

    ``delay_spread`` is that of all frames or of each, [frame], in samples. The taps reach to five
    delay spreads; the first samples returned see only the earlier paths.
    """
    result = torch.zeros_like(signal)
    spread = torch.as_tensor(delay_spread, dtype=torch.float64, device=signal.device).view(-1, 1)
    for delay in range(int(PATHS_REACH * _highest(spread)) + 1):
        taps = normal(generator, len(signal), 1, 2)
        power = torch.exp(-delay / spread)
        gain = torch.view_as_complex(taps) * (power / 2).sqrt().float()
        result[:, delay:] += gain * signal[:, : signal.shape[1] - delay]
    return result
