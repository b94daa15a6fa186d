"""Modulation alphabets, channels, and a simulator of labelled frames at complex baseband.

Every alphabet has unit mean power. ``simulate`` makes frames for labels, ``Simulator`` those of any
part of a data set, in any process. ``Channel`` holds the impairments, ``Mixture`` draws one of
several channels for each frame, ``Ensemble`` draws a channel for each frame from ranges, and
``channel`` returns any of them by name. ``independent`` is another
generator of the same modulations; ``simulate_condition`` makes frames under any of ``CONDITIONS``.
``power_density``, ``in_band_noise_db`` and ``oversampled_kurtosis`` are their expected values.
``unknown`` makes signals of other kinds.
"""

from modsnr.signals.alphabets import (
    APSK_GEOMETRIES,
    DIGITAL_CLASSES,
    DVB_RINGS,
    LIQUID_RINGS,
    STUDY_CLASSES,
    alphabet,
    alphabets,
    cumulants,
    stretched,
    symmetry,
)
from modsnr.signals.channels import CHANNELS, Channel, Ensemble, Mixture, Range, channel, settings
from modsnr.signals.comparing import densities, moments, simulated_like
from modsnr.signals.conditions import CONDITIONS, simulate_condition
from modsnr.signals.data_sets import Simulator
from modsnr.signals.independent import independent
from modsnr.signals.noise import awgn
from modsnr.signals.simulator import root_raised_cosine, simulate
from modsnr.signals.theory import in_band_noise_db, oversampled_kurtosis, power_density
from modsnr.signals.unknown import UNKNOWN_KINDS, unknown
