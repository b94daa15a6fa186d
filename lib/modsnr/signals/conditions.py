"""Conditions in which a trained network is tested, most of them unlike those of its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from zlib import crc32

import numpy as np
import torch

from modsnr import files
from modsnr.signals.alphabets import STUDY_CLASSES
from modsnr.signals.channels import CHANNELS, EVERYDAY, MIXTURE, Channel, Ensemble, Mixture, channel
from modsnr.signals.data_sets import BATCH
from modsnr.signals.independent import Motion, independent
from modsnr.signals.simulator import simulate


@dataclass(frozen=True)
class Condition:
    """The channel of frames, None for the independent generator, and their length in samples.

    ``options`` are those of the independent generator.
    """

    channel: Channel | Mixture | Ensemble | None
    samples: int = 1024
    options: Mapping[str, Any] = field(default_factory=dict)


CONDITIONS: Mapping[str, Condition] = MappingProxyType({
    **{name: Condition(channel(name)) for name in (*CHANNELS, MIXTURE, EVERYDAY)},
    "liquid_rings": Condition(channel("minor", "liquid")),
    "fixed_rolloff": Condition(channel("minor", rolloff=0.22)),
    "rayleigh_1_moderate": Condition(
        channel("moderate", delay_spread=CHANNELS["rayleigh_1"].delay_spread)
    ),
    **{f"samples_{length}": Condition(Channel(), length) for length in (128, 512, 2048, 4096)},
    "independent": Condition(None),
    "independent_drift": Condition(  # as large an offset as moderate's, and what no channel has
        None, options={"carrier_offset": 0.01, "motion": Motion(2e-6, 10.0, 2e-4)}
    ),
})  # fmt: skip


def simulate_condition(
    name: str,
    modulation: np.ndarray,
    snr_db: np.ndarray,
    *,
    seed: int,
    classes: Sequence[str] = STUDY_CLASSES,
) -> np.ndarray:
    """Return one frame a label under a condition of ``CONDITIONS``: complex64 [frame, sample].

    ``modulation`` is int [frame], an index into ``classes``; ``snr_db`` float [frame], dB per
    sample. The generator is seeded by a hash of seed and condition: no ``Simulator`` makes the
    same frames for a store.

    Raises InputError for an unknown condition, and for labels that cannot be simulated.
    """
    files.check_name("condition", name, CONDITIONS)
    condition = CONDITIONS[name]
    seeds = np.random.SeedSequence([seed, crc32(name.encode())])
    if condition.channel is None:
        rng = np.random.default_rng(seeds)
        given = {"classes": classes, "samples": condition.samples, **condition.options}
        return independent(modulation, snr_db, rng=rng, **given)
    generator = torch.Generator().manual_seed(int(seeds.generate_state(1, np.uint64)[0]) >> 1)
    labels = torch.as_tensor(modulation).split(BATCH), torch.as_tensor(snr_db).split(BATCH)
    return np.concatenate([
        simulate(
            *batch,
            generator=generator,
            classes=classes,
            channel=condition.channel,
            samples=condition.samples,
        ).numpy()
        for batch in zip(*labels, strict=True)
    ])  # fmt: skip
