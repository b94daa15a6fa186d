"""What a GPU makes of a training step, drawing included, as a share of its own matrix rate.

    python tests/benchmarks/test_speed_on_gpu.py --seconds 150 --out speed.json

All frames of the full grid lie on the device; a step takes a batch of them at random, turns it,
draws it, and trains on it in bf16, channels last. Its FLOPs are those of its matrix products and
convolutions (FlopCounterMode, a multiplication and an addition counting two). Beside the share of
the matrix rate stands the most that memory allows the step's operations as they are called one by
one: each reads and writes its tensors at the rate of a copy. Swin-Tiny comes first in every way,
then the others while there is time; the results are written after every measurement.
"""

import argparse
import json
import math
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
CHUNK, WARMUP = 4096, 8


def arguments(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--frames", type=int, default=17 * 16 * 4096)
    parser.add_argument("--backbones", nargs="+", default=[*STUDY_BACKBONES, "compact"])
    parser.add_argument("--bins", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--matrix", type=int, default=8192, help="rows of the matrices multiplied")
    parser.add_argument("--copy", type=int, default=2**30, help="bytes copied")
    parser.add_argument("--seconds", type=float, default=500, help="after which nothing is begun")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args(words)


def seconds_a_time(device, action, times):
    """Return how long an action takes on average, everything it asks of the device included."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in range(min(WARMUP, times)):
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
    return (
        2 * size**3 / seconds_a_time(device, lambda: torch.matmul(one, other, out=product), times)
    )


def copy_rate(device, size, times):
    """Return the bytes a second, read and written, of copying ``size`` bytes."""
    one = torch.randint(256, (size,), dtype=torch.uint8, device=device)
    other = torch.empty_like(one)
    return 2 * size / seconds_a_time(device, lambda: other.copy_(one), times)


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


def measured(training, compiled, steps, rate, copied):
    """Return images/s, the drawing's share of a step, and shares of what the device can do.

    ``rate`` and ``copied`` are the device's in FLOPs and bytes a second.
    """
    device, ready = training.device, training.draw()
    training.forward = torch.compile(training.net) if compiled else training.net
    whole = seconds_a_time(device, lambda: training.step(*training.draw()), steps)
    on_ready = seconds_a_time(device, lambda: training.step(*ready), steps)
    training.forward = training.net
    speed = training.batch_size / whole
    flops, moved = training.flops_an_image(), training.bytes_an_image()
    return {
        "images_per_second": speed,
        "drawing_share_of_step": 1 - on_ready / whole,
        "gflops_per_image": flops / 1e9,
        "share_of_matrix_rate": flops * speed / rate,
        "megabytes_per_image": moved / 1e6,
        "share_that_memory_allows": min(1.0, flops / rate / (moved / copied)),
    }


def main(words=None):
    """Measure everything, print and write it as it comes, and return it."""
    begun, options = time.perf_counter(), arguments(words)
    device = torch.device(options.device)
    torch.backends.cudnn.benchmark = True
    rate = matrix_rate(device, options.matrix, options.steps)
    copied = copy_rate(device, options.copy, options.steps)
    frames = Resident(options.frames, device)
    results = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        **{name: getattr(options, name) for name in ("bins", "batch_size", "frames")},
        "matrix_tflops_per_second": rate / 1e12,
        "copy_terabytes_per_second": copied / 1e12,
        "eager": {},
        "compiled": {},
        "left_out": {},
    }
    first, others = options.backbones[:1], options.backbones[1:]
    ways = [("eager", first), ("compiled", first), ("eager", others), ("compiled", others)]
    for way, backbone in [(way, backbone) for way, some in ways for backbone in some]:
        if time.perf_counter() - begun > options.seconds:
            results["left_out"][f"{way} {backbone}"] = "no time was left"
            continue
        try:
            training = Training(backbone, frames, bins=options.bins, batch_size=options.batch_size)
            found = measured(training, way == "compiled", options.steps, rate, copied)
            results[way][backbone] = found
            print(way, backbone, json.dumps(found), flush=True)
        except RuntimeError as error:  # out of memory, no compiler: the others go on
            results["left_out"][f"{way} {backbone}"] = f"{type(error).__name__}: {error}"[:500]
        torch.compiler.reset()
        options.out.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return results


def test_the_measurement_itself_works_at_a_tiny_size(tmp_path):
    words = "--device cpu --frames 40 --backbones compact --bins 32 --batch-size 4 --steps 1"
    words += f" --matrix 64 --copy 64 --seconds 0 --out {tmp_path / 'speed.json'}"
    assert main(words.split())["left_out"].keys() == {"eager compact", "compiled compact"}
    training = Training("compact", Resident(40, torch.device("cpu")), bins=32, batch_size=4)
    found = measured(training, compiled=False, steps=1, rate=1e12, copied=1e9)
    flops_per_second = 1e9 * found["gflops_per_image"] * found["images_per_second"]
    assert math.isclose(found["share_of_matrix_rate"], flops_per_second / 1e12)
    assert 0 < found["share_that_memory_allows"] < 1


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
