"""Whether a training that is cut into pieces ends like an uncut one, within the noise of its seeds.

    PYTHONPATH=lib GPU_PIECES_JSON=pieces.json python tests/benchmarks/test_pieces_on_gpu.py

needs PyTorch's usual stack alone and about two minutes of a GPU. Each seed is trained twice on the
same simulated frames, all 272 classes, once in one go and once in pieces, each a new network that
goes on from the last one's checkpoint. On a CPU both end in the same bits; a GPU adds up in another
order from run to run, so there the question is one of statistics: Welch's t, at 99 %.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from math import sqrt
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from modsnr import diagrams, signals, training
from modsnr.model import JointNet

GRID = [2.0 * step for step in range(16)]
CLASSES = signals.STUDY_CLASSES
LEVEL = 0.99


def arguments(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=272 * 192, help="to train on")
    parser.add_argument("--validation", type=int, default=272 * 48)
    parser.add_argument("--bins", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--pieces", type=int, default=5, help="about, by the uncut one's time")
    parser.add_argument("--out", default=os.environ.get("GPU_PIECES_JSON", ""))
    return parser.parse_args(words)


def simulated(count, seed):
    """Return ``count`` frames of the study's grid, in turn of each class."""
    number = torch.arange(count)
    modulation, snr_db = number % len(CLASSES), 2.0 * (number // len(CLASSES) % len(GRID))
    generator = torch.Generator().manual_seed(seed)
    chunks = zip(modulation.split(4096), snr_db.split(4096), strict=True)
    iq = torch.cat([signals.simulate(*chunk, generator=generator) for chunk in chunks])
    return training.Labelled(iq, modulation, snr_db)


def trained(seed, frames, validation, options, folder, minutes=0.0):
    """Train in pieces of ``minutes`` (0: in one go); return accuracy, pieces, hash, seconds."""
    start, pieces = time.perf_counter(), 0
    recipe = training.Recipe(epochs=options.epochs, batch_size=options.batch_size, seed=seed)
    while True:
        torch.manual_seed(seed)
        net = JointNet("compact", views=["constellation"], bins=options.bins, classes=CLASSES,
                       snrs_db=GRID, pretrained=False)  # fmt: skip
        draw = diagrams.Canvas(bins=options.bins)
        pieces += 1
        try:
            fit = training.fit(
                net, draw, frames, validation, recipe, folder=folder, minutes=minutes,
                resume=folder if pieces > 1 else None,
            )  # fmt: skip
            break
        except training.OutOfTime:
            continue
    digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    accuracy = float(fit.history.validation_joint_accuracy.iloc[-1])
    return accuracy, pieces, digest, time.perf_counter() - start, fit.device


def main(words=None):
    """Train every seed both ways, print and write what each came to, and return it."""
    options = arguments(words)
    frames, validation = simulated(options.frames, 1), simulated(options.validation, 2)
    results = {"torch": torch.__version__, "frames": options.frames, "epochs": options.epochs,
               "uncut": [], "cut": [], "pieces": [], "same_bits": [], "seconds": []}  # fmt: skip
    few = training.Labelled(*(part[: 2 * options.batch_size] for part in frames))
    with tempfile.TemporaryDirectory() as folder:  # what is compiled at first is no part of a piece
        trained(0, few, validation, options, Path(folder))
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            uncut = trained(seed, frames, validation, options, Path(one))
            minutes = uncut[3] / 60 / options.pieces
            cut = trained(seed, frames, validation, options, Path(other), minutes)
        results["device"] = cut[4]
        results["uncut"].append(uncut[0])
        results["cut"].append(cut[0])
        results["pieces"].append(cut[1])
        results["same_bits"].append(cut[2] == uncut[2])
        results["seconds"].append([uncut[3], cut[3]])
        if seed:
            results |= compared(results["uncut"], results["cut"])
        print(json.dumps(results), flush=True)
        if options.out:
            Path(options.out).write_text(json.dumps(results, indent=1), encoding="utf-8")
    return results


def compared(uncut, cut):
    """Return the difference of the means, and how far apart seeds alone would put them."""
    variances = [np.var(values, ddof=1) / len(values) for values in (uncut, cut)]
    error = sqrt(sum(variances))
    freedom = len(cut) - 1
    if error:  # Welch and Satterthwaite's
        freedom *= sum(variances) ** 2 / sum(variance**2 for variance in variances)
    return {
        "difference": float(np.mean(cut) - np.mean(uncut)),
        "seed_noise": float(stats.t.ppf((1 + LEVEL) / 2, freedom) * error),
    }


def test_a_training_cut_on_a_gpu_ends_like_an_uncut_one():
    import pytest

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    results = main([])
    assert min(results["pieces"]) > 2
    assert abs(results["difference"]) <= results["seed_noise"]


def test_on_a_cpu_it_ends_in_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = "--seeds 2 --frames 272 --validation 34 --bins 16 --epochs 2 --batch-size 68"
    results = main([*words.split(), "--pieces", "50", "--out", str(tmp_path / "pieces.json")])
    assert min(results["pieces"]) > 2
    assert results["same_bits"] == [True, True]
    assert results["difference"] == 0
    assert json.loads((tmp_path / "pieces.json").read_text()) == results


def test_the_noise_of_seeds_is_welchs_at_99_percent():
    one, other = [0.1, 0.2, 0.4], [0.3, 0.3, 0.9]
    found = compared(one, other)
    told = stats.ttest_ind(other, one, equal_var=False).confidence_interval(LEVEL)
    assert np.isclose(found["difference"] - found["seed_noise"], told.low)
    assert np.isclose(found["difference"] + found["seed_noise"], told.high)


if __name__ == "__main__":
    main(sys.argv[1:])
