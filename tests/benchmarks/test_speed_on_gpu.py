"""What a GPU makes of a training step, drawing included, as a share of its own matrix rate.

    PYTHONPATH=lib GPU_BENCHMARK_JSON=speed.json python tests/benchmarks/test_speed_on_gpu.py

needs torch, timm and NumPy alone and ends within nine minutes; --seconds 150 measures Swin-Tiny in
every way at first, and of the others what there is time for. All frames of the full grid lie on
the device; a step takes a batch of them at random, turns it, draws it, and trains on it in bf16,
channels last. Its FLOPs are those of its matrix products and convolutions (FlopCounterMode, a
multiplication and an addition counting two). Beside the share of the matrix rate stands the most
that memory allows the step's operations as they are called one by one: each reads and writes its
tensors at the rate of a copy. The results are written after every measurement, so
that a run that is cut off leaves what it had.
"""

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from modsnr import diagrams, signals
from modsnr.model import STUDY_BACKBONES, JointLoss, JointNet

GRID = [2.0 * step for step in range(16)]
CLASSES = signals.STUDY_CLASSES
CHUNK = 4096


def arguments(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--frames", type=int, default=17 * 16 * 4096)
    parser.add_argument("--backbones", nargs="+", default=[*STUDY_BACKBONES, "compact"])
    parser.add_argument("--bins", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warmup", type=int, default=8)
    parser.add_argument("--matrix", type=int, default=8192, help="rows of the matrices multiplied")
    parser.add_argument("--copy", type=int, default=2**30, help="bytes copied")
    parser.add_argument("--mode", default="default", help="torch.compile's")
    parser.add_argument("--seconds", type=float, default=500, help="after which nothing is begun")
    parser.add_argument("--out", default=os.environ.get("GPU_BENCHMARK_JSON", ""))
    return parser.parse_args(words)


def seconds_a_time(device, action, times, warmup):
    """Return how long an action takes on average, everything it asks of the device included."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in range(warmup):
        action()
    wait()
    start = time.perf_counter()
    for _ in range(times):
        action()
    wait()
    return (time.perf_counter() - start) / times


def matrix_rate(device, size, times):
    """Return the FLOPs a second of a product of two matrices of random bf16 numbers."""
    one, other = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = torch.empty_like(one)
    took = seconds_a_time(device, lambda: torch.matmul(one, other, out=product), times, 3)
    return 2 * size**3 / took


def copy_rate(device, size, times):
    """Return the bytes a second, read and written, of copying ``size`` bytes."""
    one = torch.randint(256, (size,), dtype=torch.uint8, device=device)
    other = torch.empty_like(one)
    return 2 * size / seconds_a_time(device, lambda: other.copy_(one), times, 3)


class Traffic(TorchDispatchMode):
    """Counts the bytes of the tensors that operations take and give; views move nothing."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = func(*args, **(kwargs or {}))
        if not func.is_view:
            leaves = tree_leaves((args, kwargs, given))
            tensors = {id(leaf): leaf for leaf in leaves if isinstance(leaf, torch.Tensor)}
            self.bytes += sum(tensor.numel() * tensor.itemsize for tensor in tensors.values())
        return given


class Resident:
    """Simulated frames of the study's grid, on the device, and random batches of them."""

    def __init__(self, count, device):
        generator = torch.Generator(device).manual_seed(1)
        self.modulation = torch.arange(count, device=device) % len(CLASSES)
        self.snr_db = 2.0 * (torch.arange(count, device=device) // len(CLASSES) % len(GRID))
        self.iq = torch.empty(count, 1024, dtype=torch.complex64, device=device)
        for start in range(0, count, CHUNK):
            part = slice(start, start + CHUNK)
            self.iq[part] = signals.simulate(
                self.modulation[part], self.snr_db[part], generator=generator
            )

    def batch(self, size):
        """Return a batch at random carrier phases: IQ, modulation, SNR."""
        rows = torch.randint(len(self.iq), (size,), device=self.iq.device)
        angle = 2 * math.pi * torch.rand(size, 1, device=self.iq.device)
        turned = self.iq[rows] * torch.polar(torch.ones_like(angle), angle)
        return turned, self.modulation[rows], self.snr_db[rows]


class Training:
    """One network with its loss and optimizer, and its step."""

    def __init__(self, backbone, frames, *, bins, batch_size):
        self.device, self.frames, self.batch_size = frames.iq.device, frames, batch_size
        self.bins = bins
        torch.manual_seed(1)
        self.net = JointNet(
            backbone, views=["constellation"], bins=bins, classes=CLASSES, snrs_db=GRID,
            pretrained=False,
        ).to(self.device, memory_format=torch.channels_last)  # fmt: skip
        self.forward = self.net
        self.loss = JointLoss(GRID).to(self.device)
        weights = [*self.net.parameters(), *self.loss.parameters()]
        fused = self.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(weights, lr=1e-4, fused=fused)

    def draw(self, size=None):
        """Return diagrams and labels of a new batch."""
        iq, modulation, snr_db = self.frames.batch(size or self.batch_size)
        images = diagrams.render(iq, bins=self.bins)
        return images.contiguous(memory_format=torch.channels_last), modulation, snr_db

    def step(self, images, modulation, snr_db):
        """Train on a batch of diagrams."""
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16):
            output = self.forward(images)
        total, _, _ = self.loss(output, modulation, snr_db)
        total.backward()
        self.optimizer.step()

    def flops_an_image(self, images=4):
        """Return the FLOPs of a step for each image; attention is counted as its products."""
        batch = self.draw(images)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            self.step(*batch)
        return counter.get_total_flops() / images

    def bytes_an_image(self):
        """Return the bytes that a step's operations read and write for each image of a batch."""
        batch = self.draw()
        self.step(*batch)  # the optimizer's state is made in the first step
        with Traffic() as traffic:
            self.step(*batch)
        return traffic.bytes / self.batch_size


def timed(training, *, steps, warmup):
    """Return images/s, and how long a step, one on ready diagrams and drawing alone take."""
    device, ready = training.device, training.draw()
    whole = seconds_a_time(device, lambda: training.step(*training.draw()), steps, warmup)
    on_ready = seconds_a_time(device, lambda: training.step(*ready), steps, 2)
    drawing = seconds_a_time(device, training.draw, steps, 2)
    return {
        "images_per_second": training.batch_size / whole,
        "step_seconds": whole,
        "step_on_ready_diagrams_seconds": on_ready,
        "drawing_alone_seconds": drawing,
        "drawing_share_of_step": 1 - on_ready / whole,
        "drawing_alone_over_step": drawing / whole,
    }


def shares(speed, flops, moved, *, rate, copied):
    """Return which share of the matrix rate ``speed`` images/s are, and which memory allows.

    ``rate`` and ``copied`` are the device's in FLOPs and bytes a second, ``flops`` and ``moved``
    the step's for each image.
    """
    return {
        "gflops_per_image": flops / 1e9,
        "share_of_matrix_rate": flops * speed / rate,
        "megabytes_per_image": moved / 1e6,
        "share_that_memory_allows": min(1.0, flops / rate / (moved / copied)),
    }


def memory_of(device):
    return torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None


def main(words=None):
    """Measure everything, print and write it as it comes, and return it."""
    begun, options = time.perf_counter(), arguments(words)
    device = torch.device(options.device)
    cuda = device.type == "cuda"
    torch.backends.cudnn.benchmark = True
    results = {
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "torch": torch.__version__,
        **{name: getattr(options, name) for name in ("bins", "batch_size", "frames", "mode")},
        "eager": {},
        "compiled": {},
        "left_out": {},
    }

    def keep():
        results["seconds"] = time.perf_counter() - begun
        if options.out:
            Path(options.out).write_text(json.dumps(results, indent=1), encoding="utf-8")

    rates = [matrix_rate(device, options.matrix, options.steps) for _ in range(3)]
    results["matrix_tflops_per_second"] = [each / 1e12 for each in rates]
    rate = sorted(rates)[1]
    copies = [copy_rate(device, options.copy, options.steps) for _ in range(3)]
    results["copy_terabytes_per_second"] = [each / 1e12 for each in copies]
    copied = sorted(copies)[1]
    frames = Resident(options.frames, device)
    results["resident_gigabytes"] = frames.iq.nbytes / 1e9
    results["seconds_until_resident"] = time.perf_counter() - begun
    iq, _, _ = frames.batch(options.batch_size)
    for views in (("constellation",), diagrams.VIEWS):
        took = seconds_a_time(
            device,
            lambda views=views: diagrams.render(iq, views=views, bins=options.bins),
            options.steps,
            2,
        )
        results[f"diagrams_per_second_{len(views)}_views"] = options.batch_size / took
    keep()
    print(json.dumps(results), flush=True)
    first, others = options.backbones[:1], options.backbones[1:]
    ways = [("eager", first), ("compiled", first), ("eager", others), ("compiled", others)]
    longest, counts = 0.0, {}  # what is compiled may take long
    for way, backbone in [(way, backbone) for way, some in ways for backbone in some]:
        start, what = time.perf_counter(), f"{way} {backbone}"
        if start - begun + longest * (way == "compiled") > options.seconds:
            results["left_out"][what] = "no time was left"
            keep()
            continue
        training = None
        try:
            training = Training(backbone, frames, bins=options.bins, batch_size=options.batch_size)
            if way == "compiled":
                training.forward = torch.compile(training.net, mode=options.mode)
            if cuda:
                torch.cuda.reset_peak_memory_stats(device)
            found = timed(training, steps=options.steps, warmup=options.warmup)
            found["peak_gigabytes"] = memory_of(device)
            results[way][backbone] = found
            training.forward = training.net
            if backbone not in counts:
                torch.backends.cudnn.benchmark = False  # not to be sought for this batch too
                counts[backbone] = training.flops_an_image(), training.bytes_an_image()
            found |= shares(found["images_per_second"], *counts[backbone], rate=rate, copied=copied)
        except Exception as error:  # noqa: BLE001 - out of memory, no compiler: the others go on
            results["left_out"][what] = f"{type(error).__name__}: {error}"[:500]
        torch.backends.cudnn.benchmark = True
        told = results[way].get(backbone) or results["left_out"][what]
        print(what, json.dumps(told), flush=True)
        del training
        if cuda:
            torch.cuda.empty_cache()
        if way == "compiled":
            torch.compiler.reset()
            longest = max(longest, time.perf_counter() - start)
        keep()
    return results


def test_a_gpu_trains_swin_tiny_at_two_fifths_of_its_matrix_rate():
    import pytest

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    results = main([])
    best = max(
        (results[way].get("swin_tiny") for way in ("eager", "compiled")),
        key=lambda found: found["share_of_matrix_rate"] if found else 0,
    )
    assert best["share_of_matrix_rate"] >= 0.4
    assert best["drawing_share_of_step"] <= 0.05


def test_the_measurement_itself_works_at_a_tiny_size(tmp_path):
    out = tmp_path / "speed.json"
    words = "--device cpu --frames 40 --backbones resnet18 --bins 32 --batch-size 4"
    words += " --steps 1 --warmup 1 --matrix 64 --copy 64 --seconds 0 --out"
    assert main([*words.split(), str(out)])["left_out"].keys() == {
        "eager resnet18", "compiled resnet18"
    }  # fmt: skip
    training = Training("resnet18", Resident(40, torch.device("cpu")), bins=32, batch_size=4)
    flops, moved = training.flops_an_image(), training.bytes_an_image()
    found = timed(training, steps=1, warmup=1)
    assert math.isclose(found["images_per_second"], 4 / found["step_seconds"])
    found |= shares(found["images_per_second"], flops, moved, rate=1e12, copied=1e9)
    assert math.isclose(found["share_of_matrix_rate"], flops / 1e12 / found["step_seconds"] * 4)
    assert math.isclose(found["share_that_memory_allows"], flops / 1e12 / (moved / 1e9))
    assert json.loads(out.read_text())["frames"] == 40


def test_traffic_is_that_of_the_tensors_in_and_out_and_a_view_moves_nothing():
    first, second = torch.zeros(3, 5), torch.zeros(5, 7, dtype=torch.float32)
    with Traffic() as traffic:
        product = first @ second.clone()
        product.t().unsqueeze(0)
        product.relu_()
    sizes = {"clone": 2 * 35, "product": 15 + 35 + 21, "in place": 21}
    assert traffic.bytes == 4 * sum(sizes.values())


def test_the_flops_of_a_step_are_three_times_those_of_a_forward_pass():
    """But for the first layer, to whose input, the diagram, no gradient flows."""
    frames = Resident(40, torch.device("cpu"))
    training = Training("compact", frames, bins=32, batch_size=4)
    # In, out, pixels a side.
    layers = [(16, 96, 8), (96, 128, 8), (128, 128, 4), (128, 128, 4)]
    forward = [2 * 9 * inputs * outputs * side**2 for inputs, outputs, side in layers]
    heads = 2 * 128 * (len(CLASSES) + 64) + 2 * 64
    assert training.flops_an_image() == 3 * (sum(forward) + heads) - forward[0]


if __name__ == "__main__":
    main(sys.argv[1:])
