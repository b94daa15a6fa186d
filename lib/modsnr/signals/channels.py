"""Channels between the symbols and the receiver's samples, and names for them.

A ``Channel`` is the same for all frames but for what is random in it, a ``Mixture`` has several of
them, and an ``Ensemble`` draws every impairment of every frame from a continuous range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from types import MappingProxyType
from typing import Any

from modsnr import InputError, files
from modsnr.signals.alphabets import APSK_GEOMETRIES, DVB_RINGS, Rings


@dataclass(frozen=True)
class Channel:
    """The impairments of a frame between the symbols and the receiver's samples.

    The defaults are the minor impairments of O'Shea et al. 2018, Table I, without multipath.

    ``noise_tilt_db`` colours the noise: its power density falls by that much, linearly in dB, from
    frequency 0 to +-0.5 cycles/sample. Its total power stays, so the SNR per sample keeps its
    meaning, but in the signal's band the noise is stronger than the floor beside it shows.

    ``receive_bandwidth`` is the two-sided width, in cycles/sample, of a low-pass filter for signal
    and noise. The label stays the SNR before this filter. In the pass band the floor still shows
    that SNR; in the stop band it lies 60 dB lower or more. The filter leaves about the share
    ``receive_bandwidth`` of the noise power.
    """

    rolloff: float | tuple[float, float] = (0.1, 0.4)  # fixed, or uniform between the two
    random_timing: bool = True  # U(0, 16) samples; False: a symbol peaks on sample 0
    random_phase: bool = True  # U(0, 2 pi)
    carrier_offset_std: float = 1e-4  # cycles/sample, Gaussian
    clock_offset_std: float = 1e-4  # relative sample-rate error, Gaussian
    delay_spread: float = 0.0  # samples; 0: no multipath, else Rayleigh taps, exponential profile
    samples_per_symbol: int = 8
    rings: Mapping[str, Rings] = field(default_factory=lambda: DVB_RINGS)  # of the APSK alphabets
    noise_tilt_db: float = 0.0  # 0: white noise
    receive_bandwidth: float | None = None  # cycles/sample, two-sided; None: no receive filter

    def __post_init__(self) -> None:
        low, high = self.rolloff_range
        for name, holds, rule in (
            ("rolloff", 0 <= low <= high <= 1, "lie in 0..1, low before high"),
            ("carrier_offset_std", 0 <= self.carrier_offset_std < inf, "be finite, 0 or more"),
            ("clock_offset_std", 0 <= self.clock_offset_std <= 0.1, "lie in 0..0.1"),
            ("delay_spread", 0 <= self.delay_spread < inf, "be finite, 0 or more"),
            (
                "samples_per_symbol",
                self.samples_per_symbol >= 2 and self.samples_per_symbol % 2 == 0,
                "be even, as OQPSK needs half a symbol, and at least 2",
            ),
            ("noise_tilt_db", isfinite(self.noise_tilt_db), "be finite"),
            (
                "receive_bandwidth",
                self.receive_bandwidth is None or 0.05 <= self.receive_bandwidth <= 0.95,
                "lie in 0.05..0.95 cycles/sample, or be None for no filter",
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

    @property
    def parts(self) -> Mapping[str, Channel]:
        """The channel itself under the name "", as a ``Mixture`` has its channels."""
        return {"": self}


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
MIXTURE = "mixture"  # of all channels but "clean"
EVERYDAY = "everyday"  # the ranges of ``Ensemble``
MIXED_RINGS = "mixed"  # each frame has an APSK geometry drawn for it


@dataclass(frozen=True)
class Mixture:
    """Channels by name; each frame passes through one of them, drawn with equal probability."""

    parts: Mapping[str, Channel]

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


@dataclass(frozen=True)
class Range:
    """Values between two bounds for a share of the frames; the others lack the impairment."""

    low: float
    high: float
    share: float = 1.0
    log: bool = False  # uniform in the value's logarithm

    def __str__(self) -> str:
        text = f"{self.low:g} to {self.high:g}" if self.low < self.high else f"{self.low:g}"
        return text + ", log" * self.log + f", {self.share:.0%} of frames" * (self.share < 1)


@dataclass(frozen=True)
class Ensemble:
    """A channel of its own for each frame, each of its impairments drawn from a range.

    A number or a pair of numbers stands for a range as well. The frame's SNR label is signal power
    over the noise's power density in the signal's band times the sampling rate, for a receiver can
    know that density and no other: neither a tilt of the noise, nor a filter, nor resampling
    changes the label, and the noise of quantisation is part of it.

    ``carrier_offset_std`` and ``clock_offset_std`` are drawn together; frames without a drawn one
    have the lower bound. ``receive_bandwidth`` is the pass band of a receive filter over the band
    that signal and carrier offset fill. A frame recorded at ``recorded_rate`` has no noise outside
    the band of its recording once it is resampled; more samples a symbol than the frame's leave it
    whole. The signal's unit power is the reference of ``dc_db``, the power of a constant, and of
    ``headroom_db``, by which the full scale of 8 bits lies above the RMS of signal and noise.

    Image rejection within these imbalances is 34 dB or better: receivers have 20 to 40 dB before
    correction (Valkama, Renfors and Koivunen, IEEE Trans. Signal Processing 49(10), 2001). Rings of
    ``geometries`` are stretched by ``ring_stretch`` as ``stretched`` does it: the code rates of
    DVB-S2 stretch those of 16APSK from 0.9 (rate 9/10) to 1.1 (2/3).
    """

    rolloff: tuple[float, float] = (0.05, 0.5)
    carrier_offset_std: Range = Range(1e-4, 1e-2, 0.7, log=True)  # cycles/sample
    clock_offset_std: Range = Range(1e-4, 1e-2, 0.7, log=True)
    delay_spread: Range = Range(0.0, 2.0, 0.5)  # samples
    noise_tilt_db: Range = Range(-6.0, 6.0, 0.5)
    receive_bandwidth: Range = Range(1.0, 5.0, 0.5, log=True)
    recorded_rate: Range = Range(5.0, 20.0, 0.5, log=True)  # samples a symbol
    dc_db: Range = Range(-60.0, -30.0, 0.5)
    gain_db: Range = Range(-0.2, 0.2, 0.5)  # of the quadrature over the in-phase part
    phase_degrees: Range = Range(-2.0, 2.0, 0.5)  # the quadrature's departure from 90
    headroom_db: Range = Range(9.0, 15.0, 0.5)
    ring_stretch: Range = Range(0.9, 1.1, 0.5)
    geometries: tuple[str, ...] = tuple(APSK_GEOMETRIES)
    samples_per_symbol: int = 8

    def __post_init__(self) -> None:
        channel = Channel(rolloff=self.rolloff, samples_per_symbol=self.samples_per_symbol)
        object.__setattr__(self, "rolloff", channel.rolloff_range)
        for name in self.geometries:
            files.check_name("APSK geometry", name, APSK_GEOMETRIES)
        for name, least, most in (
            ("carrier_offset_std", 0.0, inf),
            ("clock_offset_std", 0.0, 0.1),
            ("delay_spread", 0.0, inf),
            ("noise_tilt_db", -inf, inf),
            ("receive_bandwidth", 1.0, inf),
            ("recorded_rate", 2.0, inf),
            ("dc_db", -inf, inf),
            ("gain_db", -inf, inf),
            ("phase_degrees", -45.0, 45.0),
            ("headroom_db", 0.0, inf),
            ("ring_stretch", 0.5, 2.0),
        ):
            given = getattr(self, name)
            pair = given if isinstance(given, Sequence) else (given, given)
            of = given if isinstance(given, Range) else Range(*pair)
            holds = least <= of.low <= of.high <= most and isfinite(of.high - of.low)
            if not (holds and 0 <= of.share <= 1 and (of.low > 0 or not of.log)):
                raise InputError(
                    f"{name} must lie in {least:g}..{most:g}, low before high, with a share in "
                    f"0..1, and above 0 if logarithmic; it is {given}."
                )
            object.__setattr__(self, name, of)

    @property
    def parts(self) -> Mapping[str, Channel]:
        """The channels without what is drawn, one for each APSK geometry, for theory."""
        return {
            name: Channel(
                rolloff=self.rolloff,
                samples_per_symbol=self.samples_per_symbol,
                rings=APSK_GEOMETRIES[name],
            )
            for name in self.geometries
        }


def channel(name: str, geometry: str = "", **changes: Any) -> Channel | Mixture | Ensemble:
    """Return a channel of ``CHANNELS``, "mixture" or "everyday", with ``changes`` to its fields.

    ``geometry`` is the one in ``APSK_GEOMETRIES`` for the APSK alphabets, or "mixed", which draws
    one for each frame; "" is "mixed" for those that draw channels and "dvb" for every other.

    Raises InputError for an unknown name, with the nearest known one.
    """
    files.check_name("channel", name, (*CHANNELS, MIXTURE, EVERYDAY))
    names = [each for each in CHANNELS if each != "clean"] if name == MIXTURE else [name]
    geometry = geometry or (MIXED_RINGS if name in (MIXTURE, EVERYDAY) else "dvb")
    files.check_name("APSK geometry", geometry, (*APSK_GEOMETRIES, MIXED_RINGS))
    geometries = tuple(APSK_GEOMETRIES) if geometry == MIXED_RINGS else (geometry,)
    if name == EVERYDAY:
        return Ensemble(geometries=geometries, **changes)
    parts = {
        f"{each}, {rings}": replace(CHANNELS[each], rings=APSK_GEOMETRIES[rings], **changes)
        for each in names
        for rings in geometries
    }
    return Mixture(parts) if len(parts) > 1 else parts.popitem()[1]


def settings(through: Channel | Mixture | Ensemble) -> dict[str, dict[str, Any]]:
    """Return part -> field -> value for a table, with each set of APSK rings by its name.

    An ensemble is one part, its ranges as text. Rings that ``APSK_GEOMETRIES`` does not have, such
    as ``stretched`` ones, are "own".
    """

    def name(rings: Mapping[str, Rings]) -> str:
        return next((key for key, known in APSK_GEOMETRIES.items() if known == rings), "own")

    if isinstance(through, Ensemble):
        return {"": {field: str(value) for field, value in vars(through).items()}}
    return {part: vars(one) | {"rings": name(one.rings)} for part, one in through.parts.items()}
