"""What befalls a frame between the symbols and the receiver's samples, and names for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from math import expm1, isfinite, log, pi
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from scipy import signal
from torch import Tensor

from modsnr import InputError
from modsnr.signals.alphabets import APSK_GEOMETRIES, DVB_RINGS, Rings

# The receive filter: 129 taps, 60 dB of stop band, 0.03 cycles/sample from pass to stop band.
RECEIVE_REACH = 64  # taps on either side of the middle one
RECEIVE_STOP_DB = 60.0
_RECEIVE_NARROWEST, _RECEIVE_WIDEST = 0.05, 0.95


@dataclass(frozen=True)
class Channel:
    """What befalls a frame between the symbols and the receiver's samples.

    The defaults are the minor impairments of O'Shea et al. 2018, Table I, without multipath.

    ``noise_tilt_db`` colours the noise: its power density falls by that much, linearly in dB, from
    frequency 0 to +-0.5 cycles/sample (a negative tilt rises). Its total power stays, so the SNR
    per sample keeps its meaning, but the floor beside the signal no longer tells it: within the
    band the noise is stronger than the label says, far outside it is weaker.

    ``receive_bandwidth`` is the two-sided width, in cycles/sample, of a low-pass through which
    signal and noise go together. The label stays the SNR before this filter. Within the pass band
    the floor still reads that SNR; in the stop band it lies 60 dB lower or more, so that an
    estimate of the noise from there is wrong, and the noise power that is left is about
    ``receive_bandwidth`` of what the label says.
    """

    rolloff: float | tuple[float, float] = (0.1, 0.4)  # fixed, or uniform between the two
    random_timing: bool = True  # U(0, 16) samples; False: a symbol peaks on sample 0
    random_phase: bool = True  # U(0, 2 pi)
    carrier_offset_std: float = 1e-4  # cycles/sample, Gaussian
    clock_offset_std: float = 1e-4  # relative sample-rate error, Gaussian
    delay_spread: float = 0.0  # samples; 0: no multipath, else Rayleigh taps, exponential profile
    samples_per_symbol: int = 8
    gmsk_bt: float = 0.3  # bandwidth times symbol time of GMSK's Gaussian filter
    rings: Mapping[str, Rings] = field(default_factory=lambda: DVB_RINGS)  # of the APSK alphabets
    noise_tilt_db: float = 0.0  # 0: white noise
    receive_bandwidth: float | None = None  # cycles/sample, two-sided; None: no receive filter

    def __post_init__(self) -> None:
        low, high = self.rolloff_range
        if not 0 <= low <= high <= 1:
            raise InputError(f"rolloff must lie in 0..1, low before high; it is {self.rolloff}.")
        for name in ("carrier_offset_std", "clock_offset_std", "delay_spread"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(
                    f"{name} must be finite and not negative; it is {getattr(self, name)}."
                )
        if self.clock_offset_std > 0.1:
            raise InputError(
                "clock_offset_std must not exceed 0.1, or the clock of a rare frame would stand "
                f"still; it is {self.clock_offset_std}."
            )
        if not self.gmsk_bt > 0:
            raise InputError(f"gmsk_bt must be positive; it is {self.gmsk_bt}.")
        if self.samples_per_symbol < 2 or self.samples_per_symbol % 2:
            raise InputError(
                "samples_per_symbol must be even, as OQPSK needs half a symbol, and at least 2; "
                f"it is {self.samples_per_symbol}."
            )
        if not isfinite(self.noise_tilt_db):
            raise InputError(f"noise_tilt_db must be finite; it is {self.noise_tilt_db}.")
        width = self.receive_bandwidth
        if width is not None and not _RECEIVE_NARROWEST <= width <= _RECEIVE_WIDEST:
            raise InputError(
                f"receive_bandwidth must lie in {_RECEIVE_NARROWEST}..{_RECEIVE_WIDEST} "
                f"cycles/sample, or be None for no filter; it is {width}."
            )

    @property
    def rolloff_range(self) -> tuple[float, float]:
        if not isinstance(self.rolloff, Sequence):
            return self.rolloff, self.rolloff
        low, high = self.rolloff
        return low, high


_RAYLEIGH = {f"rayleigh_{spread:g}": Channel(delay_spread=spread) for spread in (0.5, 1.0, 2.0)}

# The parameter sets of O'Shea, Roy and Clancy (IEEE JSTSP 2018, arXiv 1712.04578), Table I: its
# s_clk is the standard deviation of carrier and clock offset alike, its tau the delay spread. The
# paper draws the paths' delays from a Rayleigh distribution; here the paths' gains are Rayleigh
# and their mean powers fall exponentially. The last two sets are shifts that it does not have.
CHANNELS: Mapping[str, Channel] = MappingProxyType({
    "clean": Channel(  # noise only: timing, phase, carrier and clock are the receiver's own
        random_timing=False, random_phase=False, carrier_offset_std=0.0, clock_offset_std=0.0
    ),
    "minor": Channel(),
    "moderate": Channel(carrier_offset_std=0.01, clock_offset_std=0.01),
    **_RAYLEIGH,
    "coloured_noise": Channel(noise_tilt_db=6.0),
    "receive_filter": Channel(receive_bandwidth=0.6),
})  # fmt: skip


def channel(name: str, **changes: Any) -> Channel:
    """Return the channel of that name in ``CHANNELS``, with ``changes`` to its fields.

    Raises InputError for a name that is not there, with the nearest that is.
    """
    return replace(CHANNELS[_known("channel", name, CHANNELS)], **changes)


@dataclass(frozen=True)
class Mixture:
    """Channels of which each frame gets one, every one as likely as any other."""

    parts: Mapping[str, Channel]  # by name

    def __post_init__(self) -> None:
        rates = {part.samples_per_symbol for part in self.parts.values()}
        if len(rates) != 1:
            raise InputError(
                "A mixture needs channels, all with as many samples a symbol; these have "
                f"{sorted(rates) or 'none'}."
            )

    @property
    def samples_per_symbol(self) -> int:
        return next(iter(self.parts.values())).samples_per_symbol


MIXTURE = "mixture"  # of all that the frames of a receiver may have been through
MIXED = ("minor", "moderate", *_RAYLEIGH, "coloured_noise", "receive_filter")
MIXED_RINGS = "mixed"  # each frame its own geometry


def air(name: str, geometry: str = "", **changes: Any) -> Channel | Mixture:
    """Return a channel of ``CHANNELS``, or "mixture", with ``changes`` to its fields.

    ``geometry`` of ``APSK_GEOMETRIES`` is that of the APSK alphabets; "mixed" gives each frame one
    of them at random, and so does "" in a mixture; "" is dvb else. A mixture is of ``MIXED``.

    Raises InputError for a name that is not there, with the nearest that is.
    """
    names = MIXED if _known("channel", name, (*CHANNELS, MIXTURE)) == MIXTURE else (name,)
    geometry = geometry or (MIXED_RINGS if name == MIXTURE else "dvb")
    _known("APSK geometry", geometry, (*APSK_GEOMETRIES, MIXED_RINGS))
    geometries = APSK_GEOMETRIES if geometry == MIXED_RINGS else (geometry,)
    parts = {
        f"{one}, {rings}": channel(one, rings=APSK_GEOMETRIES[rings], **changes)
        for one in names
        for rings in geometries
    }
    return Mixture(parts) if len(parts) > 1 else next(iter(parts.values()))


def parts_of(through: Channel | Mixture) -> Mapping[str, Channel]:
    """Return the channels of a mixture by name, or a channel alone under the name ""."""
    return through.parts if isinstance(through, Mixture) else {"": through}


def settings(through: Channel | Mixture) -> dict[str, dict[str, Any]]:
    """Return part -> field -> value, as people read it: the rings by their name, or "others"."""
    return {
        part: {**vars(of), "rings": _name_of(of.rings)} for part, of in parts_of(through).items()
    }


def _name_of(rings: Mapping[str, Rings]) -> str:
    return next((name for name, known in APSK_GEOMETRIES.items() if known == rings), "others")


def _known(kind: str, name: str, known: Iterable[str]) -> str:
    names = tuple(known)
    if name not in names:
        (nearest,) = get_close_matches(name, names, n=1, cutoff=0.0)
        raise InputError(
            f"There is no {kind} {name!r}; did you mean {nearest!r}? The {kind}s are "
            f"{', '.join(names)}."
        )
    return name


def noise_density(frequency: Tensor, tilt_db: float) -> Tensor:
    """Return the noise's power density at ``frequency`` in cycles/sample, 1 on average."""
    fall = tilt_db * log(10) / 10
    mean = -expm1(-fall) / fall if fall else 1.0  # of exp(-fall u) over u in 0..1
    return torch.exp(-fall * 2 * frequency.abs()) / mean


def receive_response(frequency: Tensor, bandwidth: float) -> Tensor:
    """Return the receive filter's response at ``frequency`` in cycles/sample: real, no delay."""
    middle, *wings = _receive_taps(bandwidth)
    response = torch.full_like(frequency, middle)
    for delay, tap in enumerate(wings, start=1):
        response += 2 * tap * torch.cos(2 * pi * delay * frequency)
    return response


@cache
def _receive_taps(bandwidth: float) -> tuple[float, ...]:
    """Return the filter's taps from the middle one on: a sinc under a Kaiser window."""
    window: Any = ("kaiser", signal.kaiser_beta(RECEIVE_STOP_DB))
    # The cut-off is half the two-sided width, as a sampling rate of 2 has it.
    taps = np.asarray(signal.firwin(2 * RECEIVE_REACH + 1, bandwidth, window=window, fs=2.0))
    return tuple(taps[RECEIVE_REACH:].tolist())
