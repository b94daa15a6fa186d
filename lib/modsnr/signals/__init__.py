"""Modulation alphabets, channels, and a simulator of labelled frames at complex baseband.

Every alphabet has unit mean power. ``simulate`` makes frames for labels, ``simulate_and_tell`` what
only a genie knows beside them, ``Simulator`` the frames of any part of a data set, in any process;
``Channel`` says what befalls them, ``CHANNELS`` names the usual sets of that. ``power_density`` and
``oversampled_kurtosis`` say what to expect of them.
``unknown`` makes signals of other kinds, and ``traits`` are what tells these apart.
"""

from modsnr.signals.alphabets import (
    APSK_GEOMETRIES,
    DIGITAL_CLASSES,
    DVB_RINGS,
    LIQUID_RINGS,
    STUDY_CLASSES,
    Rings,
    alphabet,
    cumulants,
)
from modsnr.signals.channels import CHANNELS, Channel, channel
from modsnr.signals.comparing import densities, moments, simulated_like
from modsnr.signals.simulator import (
    Simulator,
    Told,
    root_raised_cosine,
    simulate,
    simulate_and_tell,
)
from modsnr.signals.theory import oversampled_kurtosis, power_density
from modsnr.signals.unknown import UNKNOWN_KINDS, at_random_phases, calibration, traits, unknown

__all__ = [
    "APSK_GEOMETRIES",
    "CHANNELS",
    "DIGITAL_CLASSES",
    "DVB_RINGS",
    "LIQUID_RINGS",
    "STUDY_CLASSES",
    "UNKNOWN_KINDS",
    "Channel",
    "Rings",
    "Simulator",
    "Told",
    "alphabet",
    "at_random_phases",
    "calibration",
    "channel",
    "cumulants",
    "densities",
    "moments",
    "oversampled_kurtosis",
    "power_density",
    "root_raised_cosine",
    "simulate",
    "simulate_and_tell",
    "simulated_like",
    "traits",
    "unknown",
]
