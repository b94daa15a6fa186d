"""Ceilings: what accuracy a classifier could reach that knows the channel of each frame.

The channel leaves a folded spectrum G(f), the ratio of signal to noise at each frequency within a
symbol rate, summed over its images. Where pulses are raised cosines and the noise is white, G is
Es/N0 throughout. An equaliser turns G into the SNR of symbols, and the genie's ``accuracy_curve``
turns that into the chance to name the modulation. Carrier, clock, timing, pulse, amplitude and
noise are known and cost nothing. A receive filter costs nothing either: signal and noise pass it
alike, and within its pass band it can be undone.

The truth lies between two equalisers. Behind the linear one, what interference is left counts as
noise, and the noise's colour is not used: a receiver can do as well. The one with ideal decision
feedback knows all symbols before, and its SNR is the most that an equaliser that decides symbol
by symbol can have; it is taken for the ceiling, though the matched filter's bound alone is proven.

For the SNR the ceiling is the share of estimates in the right bin if they are as good as the bound
for a known waveform; jointly it is the product of both. The joint accuracy can exceed neither, and
where the SNR's is 1, as it is at the usual lengths, the product is the modulation's, whatever the
two errors have in common. Sources of the equalisers: Cioffi et al., IEEE Trans. Commun. 43(10),
1995; Proakis and Salehi, Digital Communications, 5th edition, section 9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import pi
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from modsnr import InputError, files
from modsnr.limits.blind import blind_curve
from modsnr.limits.bounds import band_limited, bin_accuracy, tilted
from modsnr.limits.genie import Curve, accuracy_curve, genie_accuracy
from modsnr.signals import CONDITIONS, LIQUID_RINGS, Channel, in_band_noise_db, root_raised_cosine
from modsnr.signals.alphabets import Rings
from modsnr.signals.channels import Ensemble
from modsnr.signals.impairments import drawn
from modsnr.signals.independent import ROLLOFF
from modsnr.signals.noise import noise_density
from modsnr.signals.simulator import PATHS_REACH

FREQUENCIES = 64  # within a symbol rate
DEVIATES = 1.96  # standard errors to either side of a 95 % interval
CURVE_DB = (-20, -14, -10, -8, -6, -4, -2, 0, 2, 4, *range(5, 50))  # Es/N0 that curves are read at
LOST = 2  # symbols at the ends of a frame that do not lie whole in it
# Of the independent generator. That its cut pulses interfere a little is neglected, as is motion.
INDEPENDENT = Channel(rolloff=ROLLOFF, rings=LIQUID_RINGS)

# Ratio of signal to noise at each frequency [..., frequency] -> that of a symbol [...].
EQUALISERS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType({
    "feedback": lambda folded: np.expm1(np.log1p(folded).mean(-1)),
    "linear": lambda folded: 1 / (1 / (1 + folded)).mean(-1) - 1,
})  # fmt: skip


def folded_spectrum(
    channel: Channel | Ensemble, *, draws: int, generator: torch.Generator
) -> np.ndarray:
    """Return G over the SNR per sample, float64 [draw, frequency], frequencies even in a symbol.

    Roll-off and paths are drawn as the channel draws them; the signal has unit mean power, as the
    simulator's frames do. It is the samples per symbol throughout without paths in white noise. Of
    an ensemble, whose labels count the noise in the signal's band, paths are all that matters.
    """
    period, (low, high) = (
        channel.samples_per_symbol,
        next(iter(channel.parts.values())).rolloff_range,
    )
    options = {"generator": generator, "dtype": torch.float64, "device": generator.device}
    rolloff = low + (high - low) * torch.rand(draws, 1, **options).cpu()
    within = (torch.arange(FREQUENCIES, dtype=torch.float64) + 0.5) / FREQUENCIES - 0.5
    images = torch.cat([within - 1, within, within + 1])  # in symbol rates
    signal = root_raised_cosine(images.abs(), rolloff).double().square()
    ensemble = isinstance(channel, Ensemble)
    spread = drawn(channel, draws, generator).delay_spread if ensemble else channel.delay_spread
    spread = torch.as_tensor(spread).double().expand(draws).unsqueeze(1).cpu()
    delays = torch.arange(int(PATHS_REACH * float(spread.max())) + 1, dtype=torch.float64)
    profile = torch.exp(-delays / spread.clamp(min=1e-9))
    gains = torch.randn(draws, len(delays), 2, **options).cpu() * profile.sqrt().unsqueeze(2)
    turns = -2 * pi * torch.outer(delays, images / period)
    waves = torch.polar(torch.ones_like(turns), turns)
    signal = signal * (torch.view_as_complex(gains) @ waves).abs().square()
    signal = signal * (period * FREQUENCIES / signal.sum(1, keepdim=True))
    density = noise_density(images / period, 0.0 if ensemble else channel.noise_tilt_db)
    return (signal / density).unflatten(1, (3, FREQUENCIES)).sum(1).numpy()


class _Link(NamedTuple):
    """One channel of a condition behind one equaliser, and what its SNRs' bound allows."""

    kind: tuple[int, int]  # of frames: symbols, and which rings
    es_n0_db: np.ndarray  # [draw, SNR] of a symbol
    snr_accuracy: np.ndarray  # [SNR]


def ceilings(
    conditions: Sequence[str],
    classes: Sequence[str],
    snrs_db: Sequence[float],
    *,
    frames: int = 12,
    draws: int = 4000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return what a classifier could reach under ``conditions``, of ``signals.CONDITIONS``.

    A row a condition, receiver (one of ``EQUALISERS``), task (joint, modulation, snr) and label,
    "all" or an SNR as text; value, low and high. The intervals cover the ``frames`` a class and
    Es/N0 that the genie sees and the ``draws`` of channels. ``snrs_db``, ascending, are equally
    likely. Only the symbols that lie whole in a frame count. A mixture has the mean of its
    channels, each known; of an ensemble paths and rings count, not how rings are stretched. Each
    channel and each kind of frames has a generator of its own, seeded alike: a condition has the
    same ceiling whatever others are given.

    Raises InputError for an unknown condition.
    """
    grid, links, rings = np.asarray(snrs_db, np.float64), {}, {}
    for name in conditions:
        files.check_name("condition", name, CONDITIONS)
        condition = CONDITIONS[name]
        through = condition.channel or INDEPENDENT
        for channel in through.parts.values():
            kind = condition.samples // channel.samples_per_symbol - LOST, id(channel.rings)
            rings[kind] = channel.rings
            of_each = through if isinstance(through, Ensemble) else channel
            fixed = of_each == channel and not channel.delay_spread and not channel.noise_tilt_db
            generator = torch.Generator().manual_seed(seed)
            folded = folded_spectrum(of_each, draws=1 if fixed else draws, generator=generator)
            folded = folded[:, None] * 10 ** (grid / 10)[:, None]
            snr_accuracy = _snr_accuracy(grid, channel, condition.samples)
            for equaliser, ratio in EQUALISERS.items():
                link = _Link(kind, 10 * np.log10(ratio(folded)), snr_accuracy)
                links.setdefault((name, equaliser), []).append(link)
    curves = {}
    for kind, of in rings.items():
        levels = [
            link.es_n0_db.min() for part in links.values() for link in part if link.kind == kind
        ]
        curves[kind] = _curve(
            classes, symbols=kind[0], rings=of, frames=frames, seed=seed, lowest=min(levels)
        )
    return _stacked({key: _rows(of, curves, grid) for key, of in links.items()})


def blind_ceilings(
    conditions: Sequence[str],
    classes: Sequence[str],
    snrs_db: Sequence[float],
    *,
    frames: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Return what a classifier could reach that knows neither phase, carrier nor amplitude.

    The table is that of ``ceilings``, its receiver "blind": ``blind_curve`` with the channel's own
    carrier offsets, at known timing, and the SNR's bound for a known band. It takes much longer.

    Raises InputError for an unknown condition, and for one with paths, coloured noise, a receive
    filter or other than DVB's rings.
    """
    grid, tables = np.asarray(snrs_db, np.float64), {}
    for name in conditions:
        files.check_name("condition", name, CONDITIONS)
        channel, samples = CONDITIONS[name].channel, CONDITIONS[name].samples
        plain = isinstance(channel, Channel) and channel == Channel(
            rolloff=channel.rolloff,
            carrier_offset_std=channel.carrier_offset_std,
            clock_offset_std=channel.clock_offset_std,
            samples_per_symbol=channel.samples_per_symbol,
        )
        if not isinstance(channel, Channel) or not plain:
            raise InputError(f"{name} has no blind ceiling: only white noise and DVB's rings have.")
        period = channel.samples_per_symbol
        levels = grid + 10 * np.log10(period)
        curve = blind_curve(
            *(classes, levels.tolist()), symbols=samples // period - LOST, frames=frames,
            generator=torch.Generator().manual_seed(seed),
            offset_std=channel.carrier_offset_std * period,
        )  # fmt: skip
        occupied = (1 + channel.rolloff_range[1]) / period * samples
        sigma_db = band_limited(grid, samples=samples, occupied=occupied)
        link = _Link((0, 0), levels[None], bin_accuracy(sigma_db, grid, grid))
        tables[name, "blind"] = _rows([link], {link.kind: curve}, grid)
    return _stacked(tables)


def snr_bounds(conditions: Sequence[str], snrs_db: Sequence[float]) -> pd.DataFrame:
    """Return the bound in dB on an SNR estimate that knows the band alone: [SNR, condition].

    A row is a label of ``snrs_db``, an index called "SNR (dB)". Coloured noise has an unknown
    slope, and the SNR in the signal's band is estimated; paths do not matter. A mixture has the
    root mean square of its channels, an ensemble the bound for its plain ones.

    Raises InputError for an unknown condition.
    """
    grid, bounds = np.asarray(snrs_db, np.float64), {}
    for name in conditions:
        files.check_name("condition", name, CONDITIONS)
        condition, squares = CONDITIONS[name], []
        for channel in (condition.channel or INDEPENDENT).parts.values():
            samples, period, rolloff = (
                condition.samples, channel.samples_per_symbol, channel.rolloff_range[1]
            )  # fmt: skip
            passed, occupied = channel.receive_bandwidth or 1.0, (1 + rolloff) / period
            if channel.noise_tilt_db:
                sigma_db = tilted(
                    grid - in_band_noise_db(channel), samples=samples, passed=passed,
                    samples_per_symbol=period, rolloff=rolloff,
                )  # fmt: skip
            else:
                sigma_db = band_limited(
                    grid, samples=samples, occupied=occupied * samples,
                    noise_only=(passed - occupied) * samples,
                )  # fmt: skip
            squares.append(sigma_db**2)
        bounds[name] = np.sqrt(np.mean(squares, 0))
    return pd.DataFrame(bounds, index=pd.Index([f"{snr}" for snr in grid], name="SNR (dB)"))


def possible_accuracies(
    per_alphabet: Mapping[str, np.ndarray],
    band_known: np.ndarray,
    grid_db: Sequence[float],
    *,
    samples: int,
    samples_per_symbol: int,
    frames: tuple[int, int],
    generator: torch.Generator,
) -> pd.DataFrame:
    """Return what white noise allows at each SNR of a grid, float64 [SNR, kind of knowledge].

    ``per_alphabet`` is modulation -> bound in dB [SNR] and ``band_known`` such a bound: for these,
    the share of estimates in the right bin. The genie and the one that has to find the phase see
    so many ``frames`` of each modulation; "genie and bound" is the product for a known alphabet.
    """
    symbols, classes = samples // samples_per_symbol - LOST, list(per_alphabet)
    es_n0_db = np.asarray(grid_db) + 10 * np.log10(samples_per_symbol)
    options = {"symbols": symbols, "generator": generator}
    known = accuracy_curve(classes, es_n0_db.tolist(), frames=frames[0], **options).accuracy
    options |= {"samples_per_symbol": samples_per_symbol, "any_phase": True}
    any_phase = genie_accuracy(classes, grid_db, frames=frames[1], **options)
    alphabet_known = bin_accuracy(np.array([*per_alphabet.values()]), grid_db, grid_db).mean(0)
    return pd.DataFrame(
        {
            "alphabet known": alphabet_known,
            "band known": bin_accuracy(band_known, grid_db, grid_db),
            "genie": known,
            "phase unknown": any_phase,
            "genie and bound": known * alphabet_known,
        }
    )


def _stacked(tables: Mapping[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(tables, names=["condition", "receiver"])
    return table.reset_index(["condition", "receiver"]).reset_index(drop=True)


def _curve(
    classes: Sequence[str],
    *,
    symbols: int,
    rings: Mapping[str, Rings],
    frames: int,
    seed: int,
    lowest: float,
) -> Curve:
    """Return the ``accuracy_curve`` at ``CURVE_DB``, a generator for each of its points.

    Points that an Es/N0 of ``lowest`` or more does not need are left at 1.
    """
    found = np.ones((len(CURVE_DB), 2)) * [1.0, 0.0]
    for place in range(max(0, int(np.searchsorted(CURVE_DB, lowest)) - 1), len(CURVE_DB)):
        generator = torch.Generator().manual_seed(1000 * seed + place)
        point = accuracy_curve(
            *(classes, CURVE_DB[place : place + 1]), symbols=symbols, frames=frames, rings=rings,
            generator=generator,
        )  # fmt: skip
        found[place] = point.accuracy[0], point.error[0]
        if point.accuracy[0] == 1:
            break
    return Curve(np.array(CURVE_DB, np.float64), *found.T)


def _snr_accuracy(grid_db: np.ndarray, channel: Channel, samples: int) -> np.ndarray:
    """Return how often an estimate is right that knows waveform and noise but for their powers."""
    seen_noise = samples * (channel.receive_bandwidth or 1)
    in_band_db = grid_db - in_band_noise_db(channel)
    sigma_db = band_limited(in_band_db, samples=samples, occupied=0, noise_only=seen_noise)
    return bin_accuracy(sigma_db, grid_db, grid_db)


def _rows(
    links: Sequence[_Link], curves: Mapping[tuple[int, int], Curve], grid_db: np.ndarray
) -> pd.DataFrame:
    """Return a row a task and label: the mean over links, each value with its interval.

    The curve is read along straight lines between its points, so a value is a weighted sum of them
    and its variance that of the points by the squared weights, plus that over draws.
    """
    each = np.eye(len(grid_db))
    label = np.vstack([each.mean(0), each]) / len(links)  # [label, SNR], "all" first
    found = {}
    for task in ("joint", "modulation"):
        weights = {
            link.kind: np.zeros((len(label), len(curves[link.kind].error))) for link in links
        }
        variance = np.zeros(len(label))
        for link in links:
            points = curves[link.kind].es_n0_db
            parts = [np.interp(link.es_n0_db, points, one) for one in np.eye(len(points))]
            hats = np.stack(parts, -1)  # [draw, SNR, point]
            scale = label * (link.snr_accuracy if task == "joint" else 1)
            weights[link.kind] += scale @ hats.mean(0)
            of_draws = hats @ curves[link.kind].accuracy @ scale.T
            variance += of_draws.var(0) / len(of_draws)
        value = sum(weight @ curves[kind].accuracy for kind, weight in weights.items())
        variance += sum(weight**2 @ curves[kind].error ** 2 for kind, weight in weights.items())
        found[task] = value, DEVIATES * np.sqrt(variance)
    snr = label @ np.sum([link.snr_accuracy for link in links], 0)
    found["snr"] = snr, np.zeros_like(snr)
    labels = ["all", *(f"{snr}" for snr in grid_db)]
    return pd.concat(
        pd.DataFrame({
            "task": task, "label": labels, "value": value, "low": (value - reach).clip(0),
            "high": (value + reach).clip(max=1),
        })
        for task, (value, reach) in found.items()
    )  # fmt: skip
