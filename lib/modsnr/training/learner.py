"""What a fit changes: network, loss, optimizer, averaged weights and progress; its checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pandas as pd
import torch
from torch import Tensor, nn

from modsnr import InputError, files
from modsnr.model import Draw, JointLoss, JointNet, write_tensors
from modsnr.training.checkpoint import CHECKPOINT, Progress, joined, read_checkpoint, under
from modsnr.training.recipe import Execution, Recipe, precision_of, rate_factor
from modsnr.training.sampling import ONE_SIDED, Labelled, frame_order

if TYPE_CHECKING:
    from lightning.fabric import Fabric

HISTORY = "history.csv"


class Task(NamedTuple):
    """The parts of a fit: see ``fit``."""

    net: JointNet
    draw: Draw
    train: Labelled
    validation: Labelled
    recipe: Recipe
    folder: Path
    execution: Execution

    @property
    def identity(self) -> dict[str, Any]:
        """Return the settings that a checkpoint must share with the fit that continues from it."""
        return asdict(self.recipe) | self.net.settings


class Objective(nn.Module):
    """The network with its loss: diagrams and labels to the losses (sum, modulation, SNR)."""

    def __init__(self, net: JointNet, recipe: Recipe) -> None:
        super().__init__()
        self.net = net
        # Beside the network, not around it: its weights keep their names.
        self.answer = torch.compile(net) if recipe.compile else net
        self.loss = JointLoss(
            net.snrs_db.tolist(),
            snr_head=net.settings["snr_head"],
            snr_loss=recipe.snr_loss,
            weighting=recipe.task_weighting,
            modulation_share=recipe.modulation_share,
        )

    def forward(
        self, diagrams: Tensor, modulation: Tensor, snr_db: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weighted sum and the two tasks' losses, each a mean over the frames."""
        return self.loss(self.answer(diagrams), modulation, snr_db)


class Learner:
    """One fit's state. On several devices each process has one, and all change alike."""

    def __init__(self, task: Task, fabric: Fabric) -> None:
        self.task, self.recipe = task, task.recipe
        self.fabric: Any = fabric  # its own types are too wide
        self.format = torch.channels_last if self.recipe.channels_last else torch.contiguous_format
        self.net = cast(Any, task.net).to(memory_format=self.format)
        objective = Objective(self.net, self.recipe)
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            objective = nn.SyncBatchNorm.convert_sync_batchnorm(objective)
        self.loss = cast(JointLoss, objective.loss)
        self.parameters = dict(objective.named_parameters())
        self.objective = fabric.setup_module(objective.train())  # moves it to the device
        self.optimizer = self._optimizer()
        self.averaged = self._copy_of_weights() if self.recipe.ema else {}
        # A forward pass moves batch normalisation's running statistics, spoilt batch or not.
        self.statistics = [buffer.clone() for buffer in self.net.buffers()]
        self.batches = len(task.train.iq) // self.recipe.batch_size
        self.progress = Progress()
        if (task.folder / CHECKPOINT).exists():
            self.load()
        # Dropout draws piece by piece: a continued fit is cut as it was.
        self.micro_batch = self.progress.frames_at_once(self.recipe, fabric.world_size)
        self.train_frames = self._where_there_is_room(task.train)
        self.two_sided = torch.tensor(
            [name not in ONE_SIDED for name in self.net.settings["classes"]]
        )
        self.saved_at = self.started = time.monotonic()

    def _optimizer(self) -> torch.optim.Optimizer:
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[self.recipe.optimizer]
        # Fused: one pass over the weights, and no temporaries, which cost as much again.
        return kind(
            self.parameters.values(),
            lr=self.recipe.learning_rate,
            weight_decay=self.recipe.weight_decay,
            fused=True,
        )

    def _where_there_is_room(self, frames: Labelled) -> Labelled:
        """Return frames on the GPU if they leave it two fifths of its free memory."""
        device = self.fabric.device
        if device.type != "cuda" or frames.iq.nbytes > 0.6 * torch.cuda.mem_get_info(device)[0]:
            return frames
        return frames.each(lambda part: part.to(device))

    def autocast(self) -> torch.autocast:
        """Return the context in which the network computes, by the recipe's precision."""
        # Fabric's own would cast the labels, too.
        mixed = precision_of(self.recipe.precision) == "bf16-mixed"
        return torch.autocast(self.fabric.device.type, torch.bfloat16, enabled=mixed)

    # The order of frames and the rate are pure functions of the recipe and the progress.

    def batches_left(self) -> Tensor:
        """Return the training frames of the epoch's remaining steps: int64 [step, frame]."""
        order = frame_order(
            self.train_frames.modulation.cpu().numpy(),
            self.train_frames.snr_db.cpu().numpy(),
            self.recipe,
            epoch=self.progress.epoch,
        )
        rows = torch.from_numpy(order[: self.batches * self.recipe.batch_size])
        return rows.view(self.batches, -1)[self.progress.batch :]

    def set_rate(self) -> None:
        """Set the optimizer's learning rate for the present step."""
        rate = self.recipe.learning_rate * self.progress.rate_scale
        for group in self.optimizer.param_groups:
            group["lr"] = rate * rate_factor(
                self.recipe.schedule,
                self.progress.step,
                self.batches * self.recipe.epochs,
                warmup=self.recipe.warmup,
                lowest=self.recipe.lowest_rate,
            )

    def part_of(self, count: int) -> slice:
        """Return which of ``count`` things this process does: all of them, if it is alone."""
        rank, ranks = self.fabric.global_rank, self.fabric.world_size
        return slice(count * rank // ranks, count * (rank + 1) // ranks)

    # Averaged weights

    def _copy_of_weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.net.state_dict().items()}

    @torch.no_grad()
    def average(self) -> None:
        """Move the averaged weights towards the present ones."""
        # The first steps' weights are soon forgotten: the average is as long as the fit is old.
        steps = self.progress.ever_taken
        kept = min(self.recipe.ema, (1 + steps) / (10 + steps))
        for name, value in self.net.state_dict().items():
            if value.is_floating_point():
                self.averaged[name].lerp_(value, 1 - kept)
            else:  # batch normalisation's counts
                self.averaged[name].copy_(value)

    @contextmanager
    def averaged_in_place(self) -> Iterator[None]:
        """Within the block, give the network its averaged weights, if the recipe has them."""
        own = self._copy_of_weights() if self.averaged else {}
        if own:
            self.net.load_state_dict(self.averaged)
        yield
        if own:
            self.net.load_state_dict(own)

    # Checkpoints

    def spend_time(self) -> None:
        """Count the seconds since the last call as the fit's."""
        now = time.monotonic()
        self.progress.seconds += now - self.started
        self.started = now

    def save(self, *, every: float = 0.0) -> None:
        """Write a checkpoint, unless another was written within the last ``every`` seconds."""
        if not self.fabric.is_global_zero or (every and time.monotonic() - self.saved_at <= every):
            return
        self.spend_time()
        parts: dict[str, Any] = {
            "net": self.net.state_dict(),
            "loss": self.loss.state_dict(),
            "averaged": self.averaged,
        }
        for index, weight in enumerate(self.parameters.values()):
            parts[f"optimizer.{index}"] = self.optimizer.state.get(weight, {})
        header = {
            "progress": self.progress.as_json(),
            "recipe": json.dumps(self.task.identity, sort_keys=True),
        }
        write_tensors(joined(parts), self.task.folder / CHECKPOINT, header)
        self.saved_at = time.monotonic()

    def load(self) -> None:
        """Go back to the folder's checkpoint."""
        tensors, self.progress = read_checkpoint(self.task.folder, self.task.identity)
        try:
            self.net.load_state_dict(under(tensors, "net."))
            self.loss.load_state_dict(under(tensors, "loss."))
        except RuntimeError as error:
            raise InputError(
                f"{CHECKPOINT} does not hold the network that its header names: {error}"
            ) from error
        for name, value in under(tensors, "averaged.").items():
            self.averaged[name].copy_(value)
        for index, weight in enumerate(self.parameters.values()):
            self.optimizer.state[weight] = {
                # The memory format is part of the sum's order, hence of the bits.
                name: torch.empty_like(weight).copy_(value)
                if value.ndim
                else value.to(weight.device)
                for name, value in under(tensors, f"optimizer.{index}.").items()
            }

    def write_history(self) -> None:
        """Write history.csv, a row an epoch."""
        if self.progress.history and self.fabric.is_global_zero:
            rows = pd.DataFrame(self.progress.history)
            files.write(self.task.folder / HISTORY, rows.to_csv(index=False))
