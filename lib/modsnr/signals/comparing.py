"""Frames beside theory: power densities and moments, in the shape that a figure takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from modsnr.signals.alphabets import DIGITAL_CLASSES, alphabet, cumulants
from modsnr.signals.channels import Channel, Mixture, parts_of
from modsnr.signals.simulator import simulate
from modsnr.signals.theory import oversampled_kurtosis, power_density

Frames = Mapping[str, Tensor]  # modulation -> complex64 [frame, sample]
THEORY = "theory"
LINEAR = tuple(name for name in DIGITAL_CLASSES if name not in ("GMSK", "OOK"))  # without a mean


def simulated_like(
    frames: Frames, snr_db: float, *, channel: Channel | Mixture, seed: int
) -> Frames:
    """Return simulated frames at one SNR, as many and as long; analog modulations have none."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: simulate(
            torch.zeros(len(iq), dtype=torch.int64),
            torch.full((len(iq),), float(snr_db)),
            generator=generator,
            classes=(name,),
            channel=channel,
            samples=iq.shape[1],
        )
        for name, iq in frames.items()
        if name in DIGITAL_CLASSES
    }


def densities(
    series: Mapping[str, Frames], channel: Channel | Mixture, snr_db: float
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return frequencies in cycles/sample, ascending, and each series' power density there, in dB.

    A density is the mean over those frames of a series that theory covers (linear modulations
    without a mean), each of unit power; over all frames where theory covers none. The series
    "theory" is that of such modulations through the channel, the mean over the parts of a mixture.
    """
    samples = next(iq.shape[1] for frames in series.values() for iq in frames.values())
    frequency = torch.fft.fftshift(torch.fft.fftfreq(samples, dtype=torch.float64))
    parts = parts_of(channel).values()
    expected = torch.stack([power_density(frequency, part, snr_db) for part in parts])
    found = {THEORY: (expected / expected.mean(1, keepdim=True)).mean(0)}
    # Without it the ends of a frame would lift the floor by more than the noise of 20 dB does.
    window = torch.hann_window(samples)
    window = window / window.square().mean().sqrt()
    for name, frames in series.items():
        chosen = [iq for name, iq in frames.items() if name in LINEAR] or list(frames.values())
        if chosen:
            unit = [iq / iq.abs().square().mean(1, keepdim=True).sqrt() for iq in chosen]
            spectrum = torch.fft.fft(torch.cat(unit) * window).abs().square().mean(0) / samples
            found[name] = torch.fft.fftshift(spectrum)
    return frequency.numpy(), {name: (10 * power.log10()).numpy() for name, power in found.items()}


def moments(
    series: Mapping[str, Frames],
    symbols: Callable[[Tensor], Tensor] | None,
    channel: Channel | Mixture,
) -> dict[str, dict[str, dict[str, float | dict[str, float]]]]:
    """Return quantity -> series -> modulation -> value: moments that separate modulations.

    C42 and the magnitude of C40 are of ``symbols(iq)``, one sample a symbol; the kurtosis is of
    all samples, over the noise-free one in theory. Measured ones are medians over frames with the
    tenth and the ninetieth percentile as ``low`` and ``high``. Only linear modulations have them,
    OQPSK, whose symbols no one timing shows, the kurtosis alone; all do where ``symbols`` is None.
    Theory is the mean over the parts of a mixture.
    """
    linear = [
        name
        for name in dict.fromkeys(name for frames in series.values() for name in frames)
        if name in LINEAR
    ]
    parts = list(parts_of(channel).values())
    read = [name for name in linear if name != "OQPSK"] if symbols else []
    by_alphabet = {name: [cumulants(alphabet(name, part.rings)) for part in parts] for name in read}
    found: dict[str, dict[str, dict[str, float | dict[str, float]]]] = {
        "C42": {THEORY: {n: _mean(c["C42"].real for c in each) for n, each in by_alphabet.items()}},
        "|C40|": {
            THEORY: {n: _mean(c["C40"].abs() for c in each) for n, each in by_alphabet.items()}
        },
        "kurtosis": {
            THEORY: {
                name: _mean(oversampled_kurtosis(name, part.rolloff, part.rings) for part in parts)
                for name in linear
            }
        },
    }
    for label, frames in series.items():
        if symbols:
            measured = {n: cumulants(symbols(frames[n])) for n in read if n in frames}
            found["C42"][label] = {n: _spread(c["C42"].real) for n, c in measured.items()}
            found["|C40|"][label] = {n: _spread(c["C40"].abs()) for n, c in measured.items()}
        powers = {name: frames[name].abs().square() for name in linear if name in frames}
        found["kurtosis"][label] = {
            name: _spread(power.square().mean(1) / power.mean(1).square())
            for name, power in powers.items()
        }
    return found


def _mean(values: Iterable[Tensor | float]) -> float:
    return float(np.mean([float(value) for value in values]))


def _spread(values: Tensor) -> dict[str, float]:
    low, middle, high = np.quantile(values.numpy(), [0.1, 0.5, 0.9]).tolist()
    return {"value": middle, "low": low, "high": high}
