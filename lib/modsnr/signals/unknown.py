"""Signals that no network here is trained on, conditioned as a receiver would.

They measure how well a detector finds unknown modulations. Each has its carrier at 0 and is about
an eighth of the sampled band wide, as the known modulations are at 8 samples a symbol, so the
width alone identifies none of them. QPSK at another symbol rate is what a wrong estimate of the
rate makes of a known modulation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import pi
from types import MappingProxyType

import torch
from torch import Tensor

from modsnr import files
from modsnr.signals.alphabets import alphabet
from modsnr.signals.channels import channel
from modsnr.signals.noise import normal, uniform
from modsnr.signals.simulator import root_raised_cosine, simulate

WIDTH = 1 / 8  # cycles/sample
PERIOD = 8  # samples a symbol
CARRIERS = 52  # of OFDM, and a cyclic prefix of a quarter: IEEE 802.11a
VOICE_RATE = 100e3  # Hz; narrow-band FM then fills the width
VOICE_BAND = (300.0, 3400.0)  # Hz
VOICE_DEVIATION = 2500.0  # Hz, RMS: a peak of 5 kHz


def unknown(
    kind: str, snr_db: Tensor, *, generator: torch.Generator, samples: int = 1024
) -> Tensor:
    """Return one frame an SNR of a signal in ``UNKNOWN_KINDS``: complex64 [frame, sample].

    ``snr_db`` is float [frame], signal power over noise power per sample, the noise white. "noise"
    has no signal and so no SNR, but the power of the other frames.

    Raises InputError for an unknown kind.
    """
    files.check_name("unknown signal", kind, UNKNOWN_KINDS)
    signal = UNKNOWN_KINDS[kind](len(snr_db), samples, generator)
    signal = signal / signal.abs().square().mean(1, keepdim=True).sqrt()
    sigma = torch.pow(10.0, -snr_db.to(generator.device) / 20).unsqueeze(1)
    noise = _noise(len(snr_db), samples, generator)
    return at_random_phases(signal, generator) + sigma * noise


def at_random_phases(iq: Tensor, generator: torch.Generator) -> Tensor:
    """Return frames [frame, sample], each turned as a whole by a random phase."""
    turn = 2 * pi * uniform(generator, len(iq), 1)
    return iq * torch.polar(torch.ones_like(turn), turn)


def _oscillation(frequency: Tensor) -> Tensor:
    """Return exp(j phase) of a frequency in cycles/sample [frame, sample]: complex64."""
    phase = 2 * pi * frequency.double().cumsum(1)
    return torch.polar(torch.ones_like(phase), phase).to(torch.complex64)


def _places(frames: int, samples: int, generator: torch.Generator, period: int) -> Tensor:
    """Return each sample's place after a random moment of the first period, int64."""
    start = (period * uniform(generator, frames, 1)).long()
    return start + torch.arange(samples, device=generator.device)


def _noise(frames: int, samples: int, generator: torch.Generator) -> Tensor:
    return normal(generator, frames, samples, dtype=torch.complex64)


def _carrier(frames: int, samples: int, generator: torch.Generator) -> Tensor:
    """Return a bare carrier, tuned in to within a thousandth of the sample rate."""
    return _oscillation(1e-3 * normal(generator, frames, 1).expand(-1, samples))


def _fm_voice(frames: int, samples: int, generator: torch.Generator) -> Tensor:
    """Return narrow-band FM by noise of the spectrum of speech, which falls by 6 dB an octave."""
    length = 4 * samples  # the message is periodic: only a part of it is used
    frequency = torch.fft.rfftfreq(length, device=generator.device) * VOICE_RATE
    low, high = VOICE_BAND
    shape = ((frequency >= low) & (frequency <= high)) * low / frequency.clamp(min=low)
    message = torch.fft.irfft(torch.fft.rfft(normal(generator, frames, length)) * shape)
    message = message / message.square().mean(1, keepdim=True).sqrt()
    return _oscillation(VOICE_DEVIATION / VOICE_RATE * message[:, :samples])


def _ofdm(frames: int, samples: int, generator: torch.Generator) -> Tensor:
    """Return OFDM with QPSK on its carriers and a cyclic prefix, from a random moment on."""
    useful = round(CARRIERS / WIDTH)  # samples; the carriers are spaced by its inverse
    symbol = useful * 5 // 4
    count = -(-samples // symbol) + 1
    carrier = torch.arange(-CARRIERS // 2, CARRIERS // 2 + 1, device=generator.device)
    turn = pi / 2 * (4 * uniform(generator, frames, count, CARRIERS)).floor()
    spectrum = torch.zeros(frames, count, useful, dtype=torch.complex64, device=generator.device)
    spectrum[:, :, carrier[carrier != 0] % useful] = torch.polar(torch.ones_like(turn), turn)
    block = torch.fft.ifft(spectrum)
    block = torch.cat([block[:, :, useful - symbol :], block], dim=2).flatten(1)
    return block.gather(1, _places(frames, samples, generator, symbol))


def _fsk(frames: int, samples: int, generator: torch.Generator) -> Tensor:
    """Return binary frequency-shift keying of index 1, its phase continuous, 8 samples a symbol."""
    bits = (2 * uniform(generator, frames, samples // PERIOD + 2)).floor()
    place = _places(frames, samples, generator, PERIOD)
    return _oscillation((bits - 0.5).gather(1, place // PERIOD) * WIDTH)


def _chirps(frames: int, samples: int, generator: torch.Generator) -> Tensor:
    """Return chirps that begin at random frequencies, as LoRa's at a spreading factor of 7."""
    period = round(2**7 / WIDTH)
    place = _places(frames, samples, generator, period)
    first = uniform(generator, frames, samples // period + 2).gather(1, place // period)
    return _oscillation((((first + place % period / period) % 1) - 0.5) * WIDTH)


def _linear(
    frames: int, samples: int, generator: torch.Generator, *, points: Tensor, turn: float = 0.0
) -> Tensor:
    """Return symbols, each turned by ``turn`` more, with pulse and timing as the known ones'."""
    symbols = samples // PERIOD + 32
    drawn = (len(points) * uniform(generator, frames, symbols)).long().cpu()
    turned = torch.exp(1j * turn * torch.arange(symbols)) * points.to(torch.complex64)[drawn]
    grid = torch.zeros(frames, symbols * PERIOD, dtype=torch.complex64, device=generator.device)
    grid[:, ::PERIOD] = turned.to(generator.device)
    frequency = torch.fft.fftfreq(grid.shape[1], device=generator.device)
    rolloff = 0.1 + 0.3 * uniform(generator, frames, 1)
    late = torch.exp(-2j * pi * frequency * PERIOD * uniform(generator, frames, 1))
    response = root_raised_cosine(frequency.abs() * PERIOD, rolloff) * late
    return torch.fft.ifft(torch.fft.fft(grid) * response)[:, 16 * PERIOD :][:, :samples]


def _simulated(
    frames: int, samples: int, generator: torch.Generator, *, modulation: str, period: int = PERIOD
) -> Tensor:
    return simulate(
        torch.zeros(frames, dtype=torch.int64),
        torch.full((frames,), torch.inf),
        generator=generator,
        classes=(modulation,),
        channel=channel("minor", samples_per_symbol=period),
        samples=samples,
    )


LEVELS = torch.arange(32) - 31 / 2  # of 1024QAM
# The last two differ from known modulations in their symbols only.
UNKNOWN_KINDS: Mapping[str, Callable[[int, int, torch.Generator], Tensor]] = MappingProxyType({
    "noise": _noise,
    "carrier": _carrier,
    "FM voice": _fm_voice,
    "OFDM": _ofdm,
    "GMSK": partial(_simulated, modulation="GMSK"),
    "OOK": partial(_simulated, modulation="OOK"),
    "2FSK": _fsk,
    "chirps": _chirps,
    "QPSK, 16 samples/symbol": partial(_simulated, modulation="QPSK", period=16),
    "QPSK, 4 samples/symbol": partial(_simulated, modulation="QPSK", period=4),
    "pi/4-DQPSK": partial(_linear, points=alphabet("QPSK"), turn=pi / 4),
    "1024QAM": partial(_linear, points=(LEVELS[:, None] + 1j * LEVELS).flatten()),
})  # fmt: skip
