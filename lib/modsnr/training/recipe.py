"""How to train and where: the one set of defaults, and the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

Report = Callable[[dict[str, float]], None]  # called with an epoch's history row


class _Chosen:
    @classmethod
    def among(cls, parameters: Mapping[str, Any], **others: Any) -> Self:
        """Return an instance by the fields that a notebook's parameters hold beside others."""
        own: Any = cls
        names = {field.name for field in fields(own)} & parameters.keys()
        return cls(**{name: parameters[name] for name in names}, **others)


@dataclass(frozen=True, config={"strict": True, "allow_inf_nan": False})
class Recipe(_Chosen):
    """How to train. Raises pydantic's ValidationError, a ValueError, for an impossible value."""

    epochs: PositiveInt = 8
    batch_size: PositiveInt = 128
    learning_rate: PositiveFloat = 4e-3
    weight_decay: NonNegativeFloat = 1e-4
    optimizer: Literal["adamw", "adam"] = "adamw"
    schedule: Literal["one_cycle", "cosine", "triangular2", "constant"] = "one_cycle"
    warmup: NonNegativeFloat = 0.0  # steps; below 1 a share of all steps
    lowest_rate: Annotated[float, Field(gt=0, le=1)] = 0.01  # of triangular2: share of the rate
    snr_loss: Literal["", "smooth_l1", "l1", "cross_entropy", "distance_weighted", "ordinal"] = (
        ""  # the SNR head's default
    )
    task_weighting: Literal["uncertainty", "fixed", "dwa", "gradnorm"] = "uncertainty"
    modulation_share: Annotated[float, Field(ge=0, le=1)] = 0.5  # of the loss, if weights are fixed
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0  # decay of averaged weights; 0: no average
    sampling: Literal["shuffled", "balanced", "curriculum"] = "shuffled"  # of an epoch's frames
    rotate: bool = True  # a random carrier phase for each frame of each step
    conjugate: bool = False  # mirror half of the spectra, where that leaves the modulation the same
    early_stopping: NonNegativeInt = 0  # epochs without a better joint accuracy; 0: never
    precision: Literal["auto", "32", "bf16"] = "auto"  # auto: bf16 where hardware multiplies it
    channels_last: bool = True  # memory format of diagrams and convolutions
    compile: bool = False  # the network by torch.compile: pays on GPUs after some minutes
    seed: NonNegativeInt = 0


@dataclass(frozen=True, config={"strict": True})
class Execution(_Chosen):
    """Where a fit runs, and who follows it.

    ``devices`` is how many GPUs, or without one how many processes, share each batch, on each of
    ``num_nodes`` machines of a SLURM job; ``strategy`` is how Lightning joins them, auto being ddp.
    ``wandb`` names a Weights & Biases project to mirror the fit to: see ``logs.mirrored``.
    ``report`` is called with each epoch's history row; ``progress`` shows a bar over the steps of
    one device.
    """

    devices: PositiveInt = 1
    num_nodes: PositiveInt = 1
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true"] = "auto"
    wandb: str = ""
    report: Report | None = None
    progress: bool = False

    @property
    def ranks(self) -> int:
        """Return the number of processes."""
        return self.devices * self.num_nodes


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
    done = (step - warm_steps) / max(steps - warm_steps, 1)
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
