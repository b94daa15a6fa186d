"""Frames for tests: simulated, seeded, of some modulations in turn and all at one SNR."""

from math import inf

import torch

from modsnr import signals


def seeded(seed=2018):
    return torch.Generator().manual_seed(seed)


def simulated(classes, count, snr_db=inf, *, generator=None, **options):
    """Return complex64 [frame, sample]; the options are those of ``signals.simulate``."""
    return signals.simulate(
        torch.arange(count) % len(classes),
        torch.full((count,), float(snr_db)),
        generator=generator or seeded(),
        classes=classes,
        **options,
    )
