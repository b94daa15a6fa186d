"""How fast labelled frames are made: new ones for every training step, if need be."""

import os
import statistics
import subprocess
import sys

import torch

from modsnr import signals

FRAMES = 512
BATCHES = """
import time
import torch
from modsnr import signals
torch.set_num_threads(2)
labels, generator = torch.arange(512) % 17, torch.Generator().manual_seed(1)
def make(batches):
    for _ in range(batches):
        signals.simulate(labels, labels.float(), generator=generator)
make(3)
begun = time.perf_counter()
make(20)
print(20 * 512 / (time.perf_counter() - begun))
"""


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


def test_a_busy_program_beside_it_slows_a_run_by_no_more_than_it_must(benchmark):
    """With two threads on two cores, one of them busy; the frames/s are medians of three turns."""
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    plain = {name: value for name, value in os.environ.items() if name not in names}
    with_care = plain | {"GOMP_SPINCOUNT": "10000"}  # as Makefile and runs.execute set it

    def rate(environment):
        told = subprocess.run(
            [sys.executable, "-c", BATCHES], env=environment, capture_output=True, check=True
        )
        return float(told.stdout)

    rates = {name: [] for name in ("alone", "alone, with care", "beside", "beside, with care")}
    for _ in range(3):
        rates["alone"].append(rate(plain))
        rates["alone, with care"].append(rate(with_care))
        cores = len(os.sched_getaffinity(0))
        busy = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores - 1)
        ]
        try:
            rates["beside"].append(rate(plain))
            rates["beside, with care"].append(rate(with_care))
        finally:
            for program in busy:
                program.kill()
                program.wait()
    medians = {name: statistics.median(found) for name, found in rates.items()}
    benchmark.extra_info |= {name: round(found) for name, found in medians.items()}
    benchmark.pedantic(lambda: None)
    assert medians["alone, with care"] > 0.9 * medians["alone"]
    assert medians["beside, with care"] > 2 * medians["beside"]
