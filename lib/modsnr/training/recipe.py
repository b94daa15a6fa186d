"""How to train and where: the one set of defaults, and the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

import torch

from modsnr import InputError

Report = Callable[[dict[str, float]], None]  # called with an epoch's history row


@dataclass(frozen=True)
class Recipe:
    """How to train. ``precision`` auto is bf16 where the device multiplies it in hardware."""

    epochs: int = 8
    batch_size: int = 128
    learning_rate: float = 4e-3
    weight_decay: float = 1e-4
    optimizer: Literal["adamw", "adam"] = "adamw"
    schedule: Literal["one_cycle", "cosine", "triangular2", "constant"] = "one_cycle"
    warmup: float = 0.0  # steps; below 1 a share of all steps
    lowest_rate: float = 0.01  # of triangular2, as a share of learning_rate
    snr_loss: Literal["", "smooth_l1", "l1", "cross_entropy", "distance_weighted", "ordinal"] = (
        ""  # the SNR head's default
    )
    task_weighting: Literal["uncertainty", "fixed", "dwa", "gradnorm"] = "uncertainty"
    modulation_share: float = 0.5  # of the modulation's loss where the weighting is fixed
    ema: float = 0.0  # decay of averaged weights, which are then validated and kept; 0: none
    sampling: Literal["shuffled", "balanced", "curriculum"] = "shuffled"  # of an epoch's frames
    rotate: bool = True  # a random carrier phase for each frame of each step
    conjugate: bool = False  # mirror half of the spectra, where that leaves the modulation the same
    early_stopping: int = 0  # epochs without a better validation joint accuracy; 0: never
    precision: Literal["auto", "32", "bf16"] = "auto"
    channels_last: bool = True  # memory format of diagrams and convolutions
    compile: bool = False  # the network by torch.compile: pays on GPUs after some minutes
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be positive; it is {getattr(self, name)}.")
        for name in ("weight_decay", "early_stopping", "seed", "warmup"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must not be negative; it is {getattr(self, name)}.")
        if not 0 < self.lowest_rate <= 1:
            raise InputError(f"lowest_rate must lie in 0..1 without 0; it is {self.lowest_rate}.")
        if not 0 <= self.ema < 1:
            raise InputError(f"ema must lie in 0..1 without 1; it is {self.ema}.")
        if not 0 <= self.modulation_share <= 1:
            raise InputError(f"modulation_share must lie in 0..1; it is {self.modulation_share}.")
        for name, hint in get_type_hints(Recipe).items():
            known, value = get_args(hint), getattr(self, name)
            if known and value not in known:
                raise InputError(
                    f"{name} is one of {', '.join(filter(None, known))}; it is {value!r}."
                )

    @classmethod
    def among(cls, parameters: Mapping[str, Any]) -> Recipe:
        """Return the recipe that a notebook's parameters hold beside others."""
        return cls(**_fields_among(cls, parameters))


@dataclass(frozen=True)
class Execution:
    """Where a fit computes, and who follows it.

    ``devices`` is how many GPUs, or without one how many processes, share each batch, on each of
    ``num_nodes`` machines of a SLURM job; ``strategy`` is how Lightning joins them, auto being ddp.
    ``wandb`` names a Weights & Biases project to mirror the fit to: see ``logs.mirrored``.
    ``report`` is called with each epoch's history row; ``progress`` shows a bar over the steps of
    one device.
    """

    devices: int = 1
    num_nodes: int = 1
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true"] = "auto"
    wandb: str = ""
    report: Report | None = None
    progress: bool = False

    @classmethod
    def among(cls, parameters: Mapping[str, Any], **others: Any) -> Execution:
        """Return the execution that a notebook's parameters hold beside others."""
        return cls(**_fields_among(cls, parameters), **others)

    @property
    def ranks(self) -> int:
        """Return the number of processes."""
        return self.devices * self.num_nodes


ALONE = Execution()


def _fields_among(cls: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(cls)}
    return {name: value for name, value in parameters.items() if name in names}


def precision_of(precision: str) -> str:
    """Return Lightning's name for a recipe's precision on this machine."""
    if precision == "auto":
        if torch.cuda.is_available():
            fast = torch.cuda.is_bf16_supported()
        else:
            # Without tile registers a CPU multiplies bf16 more slowly than single precision.
            supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
            fast = bool(supported and supported())
        precision = "bf16" if fast else "32"
    return {"bf16": "bf16-mixed", "32": "32-true"}[precision]


def rate_factor(
    schedule: str, step: int, steps: int, *, warmup: float = 0.0, lowest: float = 0.01
) -> float:
    """Return the learning rate of ``step`` of ``steps``, as a share of the recipe's rate.

    one_cycle: linear up over 15 %, cosine down to nothing. cosine: down only. constant: 1.
    triangular2: linear between ``lowest`` and 1, four cycles, each half as high (Smith 2017).
    ``warmup`` steps, or below 1 a share of all, lead linearly from nothing to the schedule's first
    rate; the schedule then fills the steps that are left.
    """
    warm_steps = min(round(warmup * steps) if warmup < 1 else round(warmup), steps)
    if step < warm_steps:
        return (step + 1) / (warm_steps + 1) * rate_factor(schedule, 0, steps, lowest=lowest)
    step, steps = step - warm_steps, steps - warm_steps
    done = step / max(steps, 1)
    if schedule == "one_cycle":
        warm = 0.15
        return 0.04 + 0.96 * done / warm if done < warm else _cosine((done - warm) / (1 - warm))
    if schedule == "cosine":
        return _cosine(done)
    if schedule == "triangular2":
        cycle = int(done * 4)
        height = 1 - abs(2 * (done * 4 - cycle) - 1)
        return lowest + (1 - lowest) * height * 0.5**cycle
    return 1.0


def _cosine(done: float) -> float:
    return max(0.5 * (1 + math.cos(math.pi * min(done, 1.0))), 1e-4)
