"""Channels between the symbols and the receiver's samples, and names for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from types import MappingProxyType
from typing import Any

from modsnr import InputError, files
from modsnr.signals.alphabets import APSK_GEOMETRIES, DVB_RINGS, Rings

RECEIVE_BANDWIDTHS = 0.05, 0.95  # cycles/sample, narrowest and widest


@dataclass(frozen=True)
class Channel:
    """The impairments of a frame between the symbols and the receiver's samples.

    The defaults are the minor impairments of O'Shea et al. 2018, Table I, without multipath.

    ``noise_tilt_db`` colours the noise: its power density falls by that much, linearly in dB, from
    frequency 0 to +-0.5 cycles/sample (a negative tilt rises). Its total power stays, so the SNR
    per sample keeps its meaning, but the floor beside the signal no longer shows it: the noise is
    stronger within the band, and weaker far outside, than white noise of that SNR.

    ``receive_bandwidth`` is the two-sided width, in cycles/sample, of a low-pass through which
    signal and noise go together. The label stays the SNR before this filter. Within the pass band
    the floor still reads that SNR; in the stop band it lies 60 dB lower or more, so that an
    estimate of the noise from there is wrong. About the share ``receive_bandwidth`` of the noise
    power that the label stands for is left.
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
        width, (narrowest, widest) = self.receive_bandwidth, RECEIVE_BANDWIDTHS
        rate = self.samples_per_symbol
        for name, holds, rule in (
            ("rolloff", 0 <= low <= high <= 1, "lie in 0..1, low before high"),
            *(
                (name, 0 <= getattr(self, name) < inf, "be finite and not negative")
                for name in ("carrier_offset_std", "clock_offset_std", "delay_spread")
            ),
            (
                "clock_offset_std",
                self.clock_offset_std <= 0.1,
                "not exceed 0.1, or the clock of a rare frame would stand still",
            ),
            ("gmsk_bt", self.gmsk_bt > 0, "be positive"),
            (
                "samples_per_symbol",
                rate >= 2 and rate % 2 == 0,
                "be even, as OQPSK needs half a symbol, and at least 2",
            ),
            ("noise_tilt_db", isfinite(self.noise_tilt_db), "be finite"),
            (
                "receive_bandwidth",
                width is None or narrowest <= width <= widest,
                f"lie in {narrowest}..{widest} cycles/sample, or be None for no filter",
            ),
        ):
            if not holds:
                raise InputError(f"{name} must {rule}; it is {getattr(self, name)}.")

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
    files.check_name("channel", name, CHANNELS)
    return replace(CHANNELS[name], **changes)


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


MIXTURE = "mixture"  # of all channels that a receiver may meet
MIXED = ("minor", "moderate", *_RAYLEIGH, "coloured_noise", "receive_filter")
MIXED_RINGS = "mixed"  # each frame its own geometry


def air(name: str, geometry: str = "", **changes: Any) -> Channel | Mixture:
    """Return a channel of ``CHANNELS``, or "mixture", with ``changes`` to its fields.

    ``geometry`` of ``APSK_GEOMETRIES`` is that of the APSK alphabets; "mixed" gives each frame one
    of them at random, and so does "" in a mixture; "" is dvb else. A mixture is of ``MIXED``.

    Raises InputError for a name that is not there, with the nearest that is.
    """
    files.check_name("channel", name, (*CHANNELS, MIXTURE))
    names = MIXED if name == MIXTURE else (name,)
    geometry = geometry or (MIXED_RINGS if name == MIXTURE else "dvb")
    files.check_name("APSK geometry", geometry, (*APSK_GEOMETRIES, MIXED_RINGS))
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
    """Return part -> field -> value for a table: the rings by their name, or "others"."""
    return {
        name: {**vars(part), "rings": _name_of(part.rings)}
        for name, part in parts_of(through).items()
    }


def _name_of(rings: Mapping[str, Rings]) -> str:
    return next((name for name, known in APSK_GEOMETRIES.items() if known == rings), "others")
