"""Conditions in which a trained network is tested, most of them unlike those of its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from zlib import crc32

import numpy as np
import torch

from modsnr import files
from modsnr.signals.alphabets import STUDY_CLASSES
from modsnr.signals.channels import CHANNELS, MIXTURE, Channel, Mixture, air, channel
from modsnr.signals.independent import independent
from modsnr.signals.simulator import Simulator, simulate


@dataclass(frozen=True)
class Condition:
    """The channel of frames, None for the independent generator, and their length in samples."""

    through: Channel | Mixture | None
    samples: int = 1024


CONDITIONS: Mapping[str, Condition] = MappingProxyType({
    **{name: Condition(each) for name, each in CHANNELS.items()},
    MIXTURE: Condition(air(MIXTURE)),
    "liquid_rings": Condition(air("minor", "liquid")),
    "fixed_rolloff": Condition(channel("minor", rolloff=0.22)),
    **{f"samples_{length}": Condition(Channel(), length) for length in (128, 512, 2048)},
    "independent": Condition(None),
})  # fmt: skip


def under(
    condition: str,
    modulation: np.ndarray,
    snr_db: np.ndarray,
    *,
    seed: int,
    classes: Sequence[str] = STUDY_CLASSES,
) -> np.ndarray:
    """Return one frame a label under a condition of ``CONDITIONS``: complex64 [frame, sample].

    ``modulation`` is int [frame], an index into ``classes``; ``snr_db`` float [frame], dB per
    sample. The generator is seeded by a hash of seed and condition, so that no ``Simulator``, which
    counts on from its seed, has made the same frames for a store.

    Raises InputError for an unknown condition, and for labels that cannot be simulated.
    """
    files.check_name("condition", condition, CONDITIONS)
    chosen = CONDITIONS[condition]
    seeds = np.random.SeedSequence([seed, crc32(condition.encode())])
    if chosen.through is None:
        rng = np.random.default_rng(seeds)
        return independent(modulation, snr_db, rng=rng, classes=classes, samples=chosen.samples)
    generator = torch.Generator().manual_seed(int(seeds.generate_state(1, np.uint64)[0]) >> 1)
    iq = np.empty((len(modulation), chosen.samples), np.complex64)
    for start in range(0, len(modulation), Simulator.batch_size):
        batch = slice(start, start + Simulator.batch_size)
        iq[batch] = simulate(
            torch.as_tensor(modulation[batch]),
            torch.as_tensor(snr_db[batch]),
            generator=generator,
            classes=classes,
            channel=chosen.through,
            samples=chosen.samples,
        ).numpy()
    return iq
