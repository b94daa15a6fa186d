"""Fit a joint network to frames, go on with a fit that was cut off, predict.

Lightning's Trainer carries devices, precision and the loop. What it is told here makes a run
repeatable: the frame order is a pure function of (seed, epoch), what chance does inside a step a
pure function of (seed, step). Diagrams are drawn inside the step, on its device. A step whose loss
or gradient is not finite is skipped and counted; a run of them rolls back to the last good
checkpoint at half the rate; out-of-memory halves the micro-batch and accumulates gradients.
"""

from __future__ import annotations

import json
import logging
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args, get_type_hints

import lightning
import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from modsnr import InputError
from modsnr.metrics import accuracies
from modsnr.model import JointLoss, JointNet, Prediction, write_tensors

Draw = Callable[[Tensor], Tensor]  # IQ complex64 [frame, sample] -> diagrams float32

PATIENCE_STEPS = 20  # steps skipped in a row that count as divergence
ROLLBACKS = 5
CHECKPOINT_SECONDS = 60.0


class Labelled(NamedTuple):
    """``iq`` complex64 [frame, sample], ``modulation`` int64 and ``snr_db`` float32 [frame]."""

    iq: Tensor
    modulation: Tensor
    snr_db: Tensor


class Diverged(RuntimeError):
    """Training went on producing non-finite steps after every rollback it was allowed."""

    run_status = "diverged"  # what the run that meets it is recorded as


@dataclass(frozen=True)
class Recipe:
    """How to train. ``precision`` auto is bf16 where the device multiplies it in hardware."""

    epochs: int = 8
    batch_size: int = 128
    learning_rate: float = 4e-3
    weight_decay: float = 1e-4
    optimizer: Literal["adamw", "adam"] = "adamw"
    schedule: Literal["one_cycle", "cosine", "triangular2", "constant"] = "one_cycle"
    rotate: bool = True  # a random carrier phase for each frame of each step
    early_stopping: int = 0  # epochs without a better validation joint accuracy; 0: never
    precision: Literal["auto", "32", "bf16"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be positive; it is {getattr(self, name)}.")
        for name in ("weight_decay", "early_stopping", "seed"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must not be negative; it is {getattr(self, name)}.")
        for name in ("optimizer", "schedule", "precision"):
            known, value = get_args(get_type_hints(Recipe)[name]), getattr(self, name)
            if value not in known:
                raise InputError(f"{name} is one of {', '.join(known)}; it is {value!r}.")


class Fit(NamedTuple):
    """What a fit leaves: ``history``, a row an epoch, and ``weights``, of the best epoch."""

    history: pd.DataFrame
    weights: Path
    skipped_steps: int
    rollbacks: int
    precision: str
    device: str


def fit(
    net: JointNet,
    draw: Draw,
    train: Labelled,
    validation: Labelled,
    recipe: Recipe,
    *,
    folder: Path,
    report: Callable[[dict[str, float]], None] | None = None,
    progress: bool = False,
) -> Fit:
    """Fit ``net`` in place and leave it with the weights of its best validation epoch.

    ``folder`` receives ``weights.safetensors`` and ``checkpoint.safetensors``; where it holds a
    checkpoint of the same recipe, the fit goes on from there and on a CPU ends in the same weights
    as an undisturbed one, bit for bit. ``report`` is called with each epoch's history row;
    ``progress`` shows a bar over its steps.

    Raises InputError for data that the recipe cannot use, Diverged when rollbacks do not help.
    """
    if len(train.iq) < recipe.batch_size:
        few = f"there are only {len(train.iq)} training frames"
        raise InputError(f"batch_size is {recipe.batch_size}, but {few}.")
    if not len(validation.iq):
        raise InputError("There are no validation frames to choose the best epoch by.")
    task = _Task(net, draw, train, validation, recipe, folder, report)
    if task.progress.epoch < recipe.epochs and not task.stops_early():
        # Lightning advertises at every start, and torch deprecates what Lightning uses of it.
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*(does not have many workers|LeafSpec).*")
            trainer = _trainer(recipe, recipe.epochs - task.progress.epoch, bar=progress)
            try:
                trainer.fit(task)
            except SystemExit as error:  # Lightning turns Ctrl-C into an exit
                raise KeyboardInterrupt from error
    net.load_state_dict(load_file(task.weights))
    net.to(task.used).eval()  # Lightning leaves it on the CPU
    return Fit(
        pd.DataFrame(task.progress.history),
        task.weights,
        task.progress.skipped,
        task.progress.rollbacks,
        precision_of(recipe.precision),
        str(task.used),
    )


def print_epoch(row: dict[str, float]) -> None:
    """Print one history row as a line: what a person watches a fit by."""
    print(
        f"epoch {row['epoch']:3.0f}  loss {row['loss']:7.3f}  validation: "
        f"modulation {row['validation_modulation_accuracy']:.3f}  "
        f"SNR {row['validation_snr_accuracy']:.3f}  joint {row['validation_joint_accuracy']:.3f}  "
        f"{row['seconds']:.0f} s",
        flush=True,
    )


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


def frame_order(frames: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return the order in which an epoch visits its frames: a permutation, int64 [frame]."""
    return np.random.default_rng([seed, epoch]).permutation(frames)


def rate_factor(schedule: str, step: int, steps: int) -> float:
    """Return the learning rate of ``step`` of ``steps``, as a share of the recipe's rate.

    one_cycle: linear up over 15 %, cosine down to nothing. cosine: down only. constant: 1.
    triangular2: linear between 1 % and 100 %, four cycles, each half as high (Smith 2017).
    """
    done = step / max(steps, 1)
    if schedule == "one_cycle":
        warm = 0.15
        return 0.04 + 0.96 * done / warm if done < warm else _cosine((done - warm) / (1 - warm))
    if schedule == "cosine":
        return _cosine(done)
    if schedule == "triangular2":
        cycle = int(done * 4)
        height = 1 - abs(2 * (done * 4 - cycle) - 1)
        return 0.01 + 0.99 * height * 0.5**cycle
    return 1.0


def _cosine(done: float) -> float:
    return max(0.5 * (1 + math.cos(math.pi * min(done, 1.0))), 1e-4)


@dataclass
class _Progress:
    """What a checkpoint knows besides tensors; ``batch`` counts the batches done of ``epoch``."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    rollbacks: int = 0
    rate_scale: float = 1.0
    best_joint: float = -1.0
    best_epoch: int = -1
    seconds: float = 0.0
    loss_sums: tuple[float, ...] = (0.0, 0.0, 0.0)  # over the epoch's steps that were taken
    taken: int = 0
    history: tuple[dict[str, float], ...] = ()


class _Task(lightning.LightningModule):
    def __init__(
        self,
        net: JointNet,
        draw: Draw,
        train: Labelled,
        validation: Labelled,
        recipe: Recipe,
        folder: Path,
        report: Callable[[dict[str, float]], None] | None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net = cast(Any, net).to(memory_format=torch.channels_last)
        self.loss = JointLoss(net.snrs_db.tolist())
        # Plain attributes: frames are neither weights nor to be moved by the Trainer.
        self.draw, self.recipe, self.report = draw, recipe, report
        self.train_frames, self.validation_frames = train, validation
        self.weights = folder / "weights.safetensors"
        self.checkpoint = folder / "checkpoint.safetensors"
        self.micro_batch = recipe.batch_size
        self.batches = len(train.iq) // recipe.batch_size
        self.identity = json.dumps(asdict(recipe) | net.settings, sort_keys=True)
        self.restored: dict[str, Tensor] = {}
        self.progress, self.used = _Progress(), torch.device("cpu")
        self.rolled_back = False
        if self.checkpoint.exists():
            self._read_checkpoint()
        self.saved_at = self.started = time.monotonic()

    # What the Trainer asks for

    def configure_optimizers(self) -> torch.optim.Optimizer:
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[self.recipe.optimizer]
        rate, decay = self.recipe.learning_rate, self.recipe.weight_decay
        self.optimizer = kind(self.parameters(), lr=rate, weight_decay=decay)
        if self.restored:
            _restore_optimizer(self.optimizer, list(self.parameters()), self.restored)
        return self.optimizer

    def train_dataloader(self) -> DataLoader:
        seed, epoch = self.recipe.seed, self.progress.epoch
        order = frame_order(len(self.train_frames.iq), seed=seed, epoch=epoch)
        rows = torch.from_numpy(order[: self.batches * self.recipe.batch_size])
        batches = rows.view(self.batches, -1)[self.progress.batch :]
        return DataLoader(cast(Any, batches), batch_size=None)

    def on_train_start(self) -> None:
        self.used = self.device
        if self.device.type == "cuda":
            needed = self.train_frames.iq.nbytes
            if needed < 0.6 * torch.cuda.mem_get_info(self.device)[0]:
                self.train_frames = Labelled(*(part.to(self.device) for part in self.train_frames))
        if not self.checkpoint.exists():
            self._write_checkpoint()  # a rollback needs somewhere to go from the first step on

    def on_train_batch_start(self, *_: Any) -> int | None:
        return -1 if self.rolled_back else None  # the rest of the epoch is not to be trained on

    def training_step(self, rows: Tensor) -> None:
        progress = self.progress
        # Seeding each step makes dropout and rotation independent of where a run was cut.
        torch.manual_seed((self.recipe.seed * 1_000_003 + progress.step) % 2**63)
        rows = rows.to(self.train_frames.iq.device)
        batch = Labelled(*(part[rows].to(self.device) for part in self.train_frames))
        if self.recipe.rotate:
            angle = 2 * math.pi * torch.rand(len(rows), 1, device=self.device)
            batch = batch._replace(iq=batch.iq * torch.polar(torch.ones_like(angle), angle))
        statistics = [buffer.clone() for buffer in self.net.buffers()]
        losses = self._accumulate(batch, statistics)
        total = self.batches * self.recipe.epochs
        rate = self.recipe.learning_rate * progress.rate_scale
        for group in self.optimizer.param_groups:
            group["lr"] = rate * rate_factor(self.recipe.schedule, progress.step, total)
        gradients = (parameter.grad for parameter in self.parameters())
        finite = _all_finite([losses, *(part for part in gradients if part is not None)])
        if finite:
            cast(Any, self.optimizers()).step()
            sums = zip(progress.loss_sums, losses.tolist(), strict=True)
            progress.loss_sums = tuple(before + loss for before, loss in sums)
            progress.taken += 1
        else:
            self._restore_statistics(statistics)
        progress.skipped += not finite
        progress.skipped_in_a_row = 0 if finite else progress.skipped_in_a_row + 1
        progress.step += 1
        progress.batch += 1
        if progress.skipped_in_a_row >= PATIENCE_STEPS:
            self._roll_back()
        elif finite and progress.batch < self.batches:  # after the last, the epoch's end writes one
            self._write_checkpoint(after=CHECKPOINT_SECONDS)

    def on_train_epoch_end(self) -> None:
        progress = self.progress
        if self.rolled_back:  # what the checkpoint has not seen is done again
            self.rolled_back = False
            left = self.recipe.epochs - progress.epoch
            self.trainer.fit_loop.max_epochs = self.trainer.current_epoch + 1 + left
            return
        prediction = predict(self.net, self.draw, self.validation_frames.iq, device=self.device)
        reached = accuracies(
            self.validation_frames.modulation.numpy(),
            self.validation_frames.snr_db.numpy(),
            prediction.modulation.numpy(),
            prediction.snr_db.numpy(),
            self.net.snrs_db.cpu().numpy(),
        )
        self._spend_time()
        means = [total / max(progress.taken, 1) for total in progress.loss_sums]
        row = {
            "epoch": progress.epoch + 1,
            "step": progress.step,
            **dict(zip(("loss", "modulation_loss", "snr_loss"), means, strict=True)),
            **{f"validation_{name}": value for name, value in reached.items()},
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "skipped_steps": progress.skipped,
            "seconds": progress.seconds,
        }
        progress.history = (*progress.history, row)
        # Amid skipped steps no checkpoint follows, and a rollback may undo this epoch.
        safe = not progress.skipped_in_a_row or not self.weights.exists()
        if safe and reached["joint_accuracy"] > progress.best_joint:
            progress.best_joint, progress.best_epoch = reached["joint_accuracy"], progress.epoch
            header = {"net": json.dumps(self.net.settings)}
            write_tensors(self.net.state_dict(), self.weights, header)
        progress.epoch, progress.batch = progress.epoch + 1, 0
        progress.loss_sums, progress.taken = (0.0, 0.0, 0.0), 0
        if not progress.skipped_in_a_row:  # else a rollback would come back to the trouble
            self._write_checkpoint()
        if self.report is not None and self.trainer.is_global_zero:
            self.report(row)
        self.trainer.should_stop = self.stops_early()

    def stops_early(self) -> bool:
        patience = self.recipe.early_stopping
        return bool(patience) and self.progress.epoch - 1 - self.progress.best_epoch >= patience

    # One step, in as many pieces as memory asks for

    def _accumulate(self, batch: Labelled, statistics: list[Tensor]) -> Tensor:
        """Return the losses [weighted sum, modulation, SNR] of a batch, its gradient in place."""
        while True:
            self.optimizer.zero_grad()
            try:
                sums = torch.zeros(3, device=self.device)
                for start in range(0, len(batch.iq), self.micro_batch):
                    piece = Labelled(*(part[start : start + self.micro_batch] for part in batch))
                    share = len(piece.iq) / len(batch.iq)
                    diagrams = self.draw(piece.iq).contiguous(memory_format=torch.channels_last)
                    losses = self.loss(self.net(diagrams), piece.modulation, piece.snr_db)
                    self.manual_backward(losses[0] * share)
                    sums += torch.stack([loss.detach() for loss in losses]) * share
                return sums
            except RuntimeError as error:
                if not _is_out_of_memory(error) or self.micro_batch == 1:
                    raise
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.micro_batch = max(self.micro_batch // 2, 1)
            self._restore_statistics(statistics)

    def _restore_statistics(self, statistics: list[Tensor]) -> None:
        # A forward pass moves batch normalisation's running statistics, spoilt batch or not.
        for buffer, before in zip(self.net.buffers(), statistics, strict=True):
            buffer.copy_(before)

    def _roll_back(self) -> None:
        failed_at, rollbacks = self.progress.step, self.progress.rollbacks + 1
        skipped, scale = self.progress.skipped, self.progress.rate_scale / 2
        if rollbacks > ROLLBACKS:
            raise Diverged(
                f"{PATIENCE_STEPS} steps in a row up to step {failed_at} had a loss or gradient "
                f"that is not finite, after {ROLLBACKS} rollbacks, each at half the rate; the last "
                f"was {self.recipe.learning_rate * scale * 2:.3g}. Lower learning_rate."
            )
        self._read_checkpoint()
        _restore_optimizer(self.optimizer, list(self.parameters()), self.restored)
        self.progress = replace(
            self.progress, rollbacks=rollbacks, rate_scale=scale, skipped=skipped
        )
        self.rolled_back = True

    # Checkpoints: one safetensors file, its JSON header the progress; never a pickle

    def _spend_time(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self.started
        self.started = now

    def _write_checkpoint(self, *, after: float = -math.inf) -> None:
        if time.monotonic() - self.saved_at <= after:
            return
        self._spend_time()
        tensors = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        tensors |= {f"loss.{name}": value for name, value in self.loss.state_dict().items()}
        for index, parameter in enumerate(self.parameters()):
            for name, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
        header = {"progress": json.dumps(asdict(self.progress)), "recipe": self.identity}
        if self.trainer.is_global_zero:
            write_tensors(tensors, self.checkpoint, header)
        self.saved_at = time.monotonic()

    def _read_checkpoint(self) -> None:
        try:
            with safe_open(self.checkpoint, framework="pt") as file:
                header = file.metadata() or {}
            tensors = load_file(self.checkpoint)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{self.checkpoint.name} is damaged: {error}") from error
        if header.get("recipe") != self.identity:
            raise InputError(
                f"The checkpoint in {self.checkpoint.parent.name} was made by another recipe or "
                f"network: {header.get('recipe')}; this one is {self.identity}."
            )
        fields = json.loads(header["progress"])
        fields |= {name: tuple(fields[name]) for name in ("loss_sums", "history")}
        self.progress = _Progress(**fields)
        self.net.load_state_dict(_under(tensors, "net."))
        self.loss.load_state_dict(_under(tensors, "loss."))
        self.restored = _under(tensors, "optimizer.")


def _all_finite(tensors: list[Tensor]) -> bool:
    # One answer to wait for, not one a tensor: a device would stand still at each.
    return bool(torch.stack([torch.isfinite(tensor).all() for tensor in tensors]).all())


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensors[name] for name in tensors if name.startswith(prefix)}


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, parameters: list[Tensor], saved: dict[str, Tensor]
) -> None:
    for index, parameter in enumerate(parameters):
        state = _under(saved, f"{index}.")
        for name in ("exp_avg", "exp_avg_sq"):
            if name in state:
                # The memory format is part of the sum's order, hence of the bits.
                state[name] = torch.empty_like(parameter).copy_(state[name])
        optimizer.state[parameter] = state


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error)


def _trainer(recipe: Recipe, epochs: int, *, bar: bool) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=epochs,
        accelerator="auto",
        devices=1,
        precision=cast(Any, precision_of(recipe.precision)),
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


@torch.no_grad()
def predict(
    net: JointNet,
    draw: Draw,
    iq: Tensor,
    *,
    batch_size: int = 512,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> Prediction:
    """Return the decisions for frames complex64 [frame, sample], computed in single precision."""
    device = torch.device(device) if device is not None else next(net.parameters()).device
    was_training = net.training
    net.eval()
    pieces: list[Prediction] = []
    for batch in tqdm(iq.split(batch_size), desc="predict", disable=not progress, unit="batch"):
        diagrams = draw(batch.to(device)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, enabled=False):
            pieces.append(net.decide(net(diagrams)))
    net.train(was_training)
    columns: Any = zip(*pieces, strict=True)
    return Prediction(*(torch.cat(column).cpu() for column in columns))
