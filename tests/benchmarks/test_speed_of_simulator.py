"""How fast labelled frames are made: new ones for every training step, if need be."""

import torch

from modsnr import signals

FRAMES = 512


def test_a_core_makes_ten_thousand_frames_a_second_with_channel_and_noise(benchmark):
    generator = torch.Generator().manual_seed(1)
    modulation = torch.arange(FRAMES) % len(signals.STUDY_CLASSES)
    snr_db = torch.arange(FRAMES) % 16 * 2.0
    benchmark.pedantic(
        lambda: signals.simulate(modulation, snr_db, generator=generator),
        rounds=30,
        warmup_rounds=3,
    )
    rate = FRAMES / benchmark.stats.stats.median
    benchmark.extra_info["frames/s"] = round(rate)
    assert rate >= 10_000
