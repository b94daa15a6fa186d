"""A toy problem that a tiny network learns in a second, and fits of it."""

import hashlib
import json
import os
import signal
from dataclasses import fields, replace
from math import nan

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from modsnr import training
from modsnr.model import JointNet
from modsnr.training import Execution, Labelled, Recipe

GRID = (0.0, 10.0)

# A toy in the shape of the real thing: 256 samples, drawn as their real parts on 16 x 16 bins. The
# modulation is which half of the picture is lit, the SNR how brightly; imag numbers the frames.


def picture(iq):
    return iq.real.reshape(-1, 1, 16, 16)


def frames(count=64, seed=0, first=0):
    generator = torch.Generator().manual_seed(seed)
    modulation = torch.randint(2, (count,), generator=generator)
    snr_db = 10.0 * torch.randint(2, (count,), generator=generator)
    lit = torch.zeros(count, 2, 128)
    lit[torch.arange(count), modulation] = (1 + snr_db / 10).unsqueeze(1)
    real = lit.view(count, 256) + 0.3 * torch.randn(count, 256, generator=generator)
    number = torch.arange(first, first + count, dtype=torch.float32).view(-1, 1).expand(-1, 256)
    return Labelled(torch.complex(real, number), modulation, snr_db)


TRAIN, VALIDATION = frames(64), frames(32, seed=1, first=1000)
SMALL = Recipe(
    epochs=3, batch_size=16, learning_rate=3e-3, rotate=False, precision="32", schedule="constant"
)  # fmt: skip


def network(*, plain=False, dropout=0.2, snr_head="regression"):
    """Return a small network, the same each time; ``plain`` has no batch normalisation."""
    torch.manual_seed(0)
    net = JointNet(
        "compact", views=["toy"], bins=16, classes=["left", "right"], snrs_db=GRID,
        dropout=dropout, snr_head=snr_head, pretrained=False,
    )  # fmt: skip
    if plain:
        net.backbone = nn.Sequential(nn.Flatten(), nn.Linear(256, 128), nn.Tanh())
    return net


def fit(
    folder, draw=picture, *, net=None, train=TRAIN, validation=VALIDATION, resume=None, **options
):
    """Fit with SMALL but for ``options`` of the recipe and of the execution."""
    names = {field.name for field in fields(Execution)} & options.keys()
    execution = Execution(**{name: options.pop(name) for name in names})
    recipe, net = replace(SMALL, **options), network() if net is None else net
    return training.fit(
        net, draw, train, validation, recipe, folder, resume=resume, execution=execution
    )


def on_the_way(folder):
    """Return the network's last weights in training, which need not be the best epoch's."""
    tensors = load_file(folder / "checkpoint.safetensors")
    return {name[4:]: value for name, value in tensors.items() if name.startswith("net.")}


def order(frames, *, epoch, **options):
    """Return the frames that an epoch visits, by the recipe but for ``options``."""
    labels = frames.modulation.numpy(), frames.snr_db.numpy()
    return training.frame_order(*labels, replace(SMALL, **options), epoch=epoch)


def weights(folder):
    return load_file(folder / "weights.safetensors")


def same_bits(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def header(folder):
    with safe_open(folder / "checkpoint.safetensors", framework="pt") as file:
        return json.loads(file.metadata()["progress"])


class At:
    """A draw that does ``what`` at the training calls from ``first`` to ``last``, from one on.

    ``what`` is a function of the frames, or the name of one; ``rank`` is the only rank that does
    it, -1 all of them and a process that is none. ``drawn`` are the frames of each training call.
    """

    def __init__(self, what="", first=0, last=0, rank=-1):
        self.settings = {"what": what, "first": first, "last": last, "rank": rank}
        named = {"": picture, "nan": not_a_number, "die": die, "kill": be_killed}
        self.act = named[what] if isinstance(what, str) else what
        self.first, self.last, self.rank = first, max(first, last), rank
        self.drawn = []

    @property
    def calls(self):
        return len(self.drawn)

    def __call__(self, iq):
        if not torch.is_grad_enabled():  # validation
            return picture(iq)
        self.drawn.append(iq)
        here = self.rank in (-1, int(os.environ.get("RANK", -1)))
        return (self.act if here and self.first <= self.calls <= self.last else picture)(iq)


def not_a_number(iq):
    return picture(iq) * nan


def die(_):
    raise ConnectionError("the machine went away")


def be_killed(_):
    os.kill(os.getpid(), signal.SIGKILL)


def digest(folder):
    """Return a hash of a fit's weights."""
    parts = (name.encode() + value.numpy().tobytes() for name, value in weights(folder).items())
    return hashlib.sha256(b"".join(sorted(parts))).hexdigest()
