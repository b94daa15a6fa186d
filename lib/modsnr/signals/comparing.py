"""Frames beside theory, as tidy tables: power densities, and moments that separate modulations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from modsnr.signals.alphabets import DIGITAL_CLASSES, alphabet, cumulants
from modsnr.signals.channels import Channel, Ensemble, Mixture
from modsnr.signals.simulator import simulate
from modsnr.signals.theory import oversampled_kurtosis, power_density

Frames = Mapping[str, Tensor]  # modulation -> complex64 [frame, sample]
THEORY = "theory"
LINEAR = tuple(name for name in DIGITAL_CLASSES if name not in ("GMSK", "OOK"))  # without a mean
QUANTITIES = ("C42", "|C40|", "kurtosis")


def simulated_like(
    frames: Frames, snr_db: float, *, channel: Channel | Mixture | Ensemble, seed: int
) -> Frames:
    """Return as many simulated frames of each digital modulation, as long, at one SNR."""
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
    series: Mapping[str, Frames], channel: Channel | Mixture | Ensemble, snr_db: float
) -> pd.DataFrame:
    """Return power densities in dB: a row a frequency in cycles/sample, a column a series.

    A density is the mean over the frames of a series, each of unit power: of linear modulations
    without a mean, or of all frames where there are none. The column "theory" comes first and holds
    the density of such modulations through the channel, the mean over the parts of a mixture.
    """
    samples = next(iq.shape[1] for frames in series.values() for iq in frames.values())
    frequency = torch.fft.fftshift(torch.fft.fftfreq(samples, dtype=torch.float64))
    parts = channel.parts.values()
    expected = torch.stack([power_density(frequency, part, snr_db) for part in parts])
    found = {THEORY: (expected / expected.mean(1, keepdim=True)).mean(0)}
    # Without it the ends of a frame would lift the floor by more than the noise of 20 dB does.
    window = torch.hann_window(samples)
    window = window / window.square().mean().sqrt()
    for label, frames in series.items():
        chosen = [iq for name, iq in frames.items() if name in LINEAR] or list(frames.values())
        if chosen:
            unit = [iq / iq.abs().square().mean(1, keepdim=True).sqrt() for iq in chosen]
            spectrum = torch.fft.fft(torch.cat(unit) * window).abs().square().mean(0) / samples
            found[label] = torch.fft.fftshift(spectrum)
    return pd.DataFrame(
        {label: (10 * power.log10()).numpy() for label, power in found.items()}, frequency.numpy()
    )


def moments(
    series: Mapping[str, Frames],
    symbols: Callable[[Tensor], Tensor] | None,
    channel: Channel | Mixture | Ensemble,
) -> pd.DataFrame:
    """Return moments that separate modulations: a row a quantity, series and modulation.

    C42 and the magnitude of C40 are those of ``symbols(iq)``, one sample a symbol; the kurtosis is
    that of all samples. ``value`` is the median over frames, ``low`` and ``high`` the tenth and the
    ninetieth percentile. The series "theory" holds noise-free values, the mean over the parts of a
    mixture. Only linear modulations have rows. OQPSK, whose symbols no single timing shows, has the
    kurtosis alone; so do all where ``symbols`` is None.
    """
    names = dict.fromkeys(name for frames in series.values() for name in frames if name in LINEAR)
    parts = channel.parts.values()
    found: dict[tuple[str, str], Mapping[str, Any]] = {
        (THEORY, name): _expected_moments(name, parts) for name in names
    }
    for label, frames in series.items():
        for name in frames:
            if name in names:
                found[label, name] = _measured_moments(frames[name], symbols)
    rows = [
        (quantity, label, name, *np.quantile(values[quantity], [0.5, 0.1, 0.9]))
        for quantity in QUANTITIES
        for (label, name), values in found.items()
        if quantity == "kurtosis" or (symbols and name != "OQPSK")
    ]
    return pd.DataFrame(rows, columns=["quantity", "series", "modulation", "value", "low", "high"])


def _expected_moments(modulation: str, parts: Iterable[Channel]) -> Mapping[str, float]:
    each = []
    for part in parts:
        c = cumulants(alphabet(modulation, part.rings))
        kurtosis = oversampled_kurtosis(modulation, part.rolloff, part.rings)
        each.append((c["C42"].real.item(), c["C40"].abs().item(), kurtosis))
    return dict(zip(QUANTITIES, np.mean(each, 0), strict=True))


def _measured_moments(
    iq: Tensor, symbols: Callable[[Tensor], Tensor] | None
) -> Mapping[str, Tensor]:
    power = iq.abs().square()
    kurtosis = {"kurtosis": power.square().mean(1) / power.mean(1).square()}
    if symbols is None:
        return kurtosis
    c = cumulants(symbols(iq))
    return kurtosis | {"C42": c["C42"].real, "|C40|": c["C40"].abs()}
