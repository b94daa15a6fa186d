"""The fit itself: what Lightning's Trainer is told to do in each step and each epoch."""

from __future__ import annotations

import json
import logging
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import lightning
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader

from modsnr import InputError
from modsnr.metrics import accuracies
from modsnr.model import JointLoss, JointNet, dwa_weights, write_tensors
from modsnr.training.checkpoint import (
    CHECKPOINT,
    WEIGHTS,
    Progress,
    read_checkpoint,
    taken_over,
    under,
    write_checkpoint,
)
from modsnr.training.prediction import Draw, is_out_of_memory, predict
from modsnr.training.recipe import Recipe, frame_order, precision_of, rate_factor

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
    resume: Path | None = None,
    report: Callable[[dict[str, float]], None] | None = None,
    progress: bool = False,
) -> Fit:
    """Fit ``net`` in place and leave it with the weights of its best validation epoch.

    ``folder`` receives ``weights.safetensors`` and ``checkpoint.safetensors``; where it holds a
    checkpoint of the same recipe, the fit goes on from there and on a CPU ends in the same weights
    as an undisturbed one, bit for bit. ``resume`` is the folder of an earlier fit whose checkpoint
    is taken over; only one process at a time may do so. ``report`` is called with each epoch's
    history row; ``progress`` shows a bar over its steps.

    Raises InputError for data that the recipe cannot use and for a checkpoint of another recipe or
    network, Diverged when rollbacks do not help.
    """
    if len(train.iq) < recipe.batch_size:
        few = f"there are only {len(train.iq)} training frames"
        raise InputError(f"batch_size is {recipe.batch_size}, but {few}.")
    if not len(validation.iq):
        raise InputError("There are no validation frames to choose the best epoch by.")
    with taken_over(resume, folder, _identity(recipe, net)):
        task = _Task(net, draw, train, validation, recipe, folder, report)
        if task.progress.epoch < recipe.epochs and not task.stops_early():
            _train(task, bar=progress)
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


def _identity(recipe: Recipe, net: JointNet) -> dict[str, Any]:
    return asdict(recipe) | net.settings


def _train(task: _Task, *, bar: bool) -> None:
    # Lightning advertises at every start, and torch deprecates what Lightning uses of it.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(does not have many workers|LeafSpec).*")
        trainer = _trainer(task.recipe, task.recipe.epochs - task.progress.epoch, bar=bar)
        try:
            trainer.fit(task)
        except SystemExit as error:  # Lightning turns Ctrl-C into an exit
            raise KeyboardInterrupt from error


def print_epoch(row: dict[str, float]) -> None:
    """Print one history row as a line: what a person watches a fit by."""
    print(
        f"epoch {row['epoch']:3.0f}  loss {row['loss']:7.3f}  validation: "
        f"modulation {row['validation_modulation_accuracy']:.3f}  "
        f"SNR {row['validation_snr_accuracy']:.3f}  joint {row['validation_joint_accuracy']:.3f}  "
        f"{row['seconds']:.0f} s",
        flush=True,
    )


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
        self.loss = JointLoss(
            net.snrs_db.tolist(),
            snr_head=net.settings["snr_head"],
            snr_loss=recipe.snr_loss,
            weighting=recipe.task_weighting,
            modulation_share=recipe.modulation_share,
        )
        # Plain attributes: frames are neither weights nor to be moved by the Trainer.
        self.draw, self.recipe, self.report = draw, recipe, report
        self.train_frames, self.validation_frames = train, validation
        self.weights = folder / WEIGHTS
        self.checkpoint = folder / CHECKPOINT
        shared = [weight for weight in net.backbone.parameters() if weight.ndim > 1]
        self.shared = shared[-1] if recipe.task_weighting == "gradnorm" else None
        self.micro_batch = recipe.batch_size
        self.batches = len(train.iq) // recipe.batch_size
        self.identity = _identity(recipe, net)
        self.restored: dict[str, Tensor] = {}
        self.progress, self.used = Progress(), torch.device("cpu")
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

    def on_train_epoch_start(self) -> None:
        if self.recipe.task_weighting == "dwa":
            past = [(row["modulation_loss"], row["snr_loss"]) for row in self.progress.history]
            self.loss.weights.copy_(dwa_weights(past))

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
            group["lr"] = rate * rate_factor(
                self.recipe.schedule,
                progress.step,
                total,
                warmup=self.recipe.warmup,
                lowest=self.recipe.lowest_rate,
            )
        gradients = (parameter.grad for parameter in self.parameters())
        finite = _all_finite([losses, *(part for part in gradients if part is not None)])
        if finite:
            cast(Any, self.optimizers()).step()
            if self.recipe.task_weighting == "gradnorm":
                self.loss.renormalise()
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
                of_tasks: Any = 0  # by the last shared weights, where GradNorm asks for it
                for start in range(0, len(batch.iq), self.micro_batch):
                    piece = Labelled(*(part[start : start + self.micro_batch] for part in batch))
                    share = len(piece.iq) / len(batch.iq)
                    diagrams = self.draw(piece.iq).contiguous(memory_format=torch.channels_last)
                    losses = self.loss(self.net(diagrams), piece.modulation, piece.snr_db)
                    if self.shared is not None:
                        of_tasks = of_tasks + share * torch.stack(
                            [
                                torch.autograd.grad(loss, self.shared, retain_graph=True)[0]
                                for loss in losses[1:]
                            ]
                        )
                    self.manual_backward(losses[0] * share)
                    sums += torch.stack([loss.detach() for loss in losses]) * share
                if self.shared is not None:
                    self.loss.balance(sums[1:], of_tasks.flatten(1).norm(dim=1))
                return sums
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.micro_batch == 1:
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

    # Checkpoints

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
        if self.trainer.is_global_zero:
            write_checkpoint(self.checkpoint, tensors, self.progress, self.identity)
        self.saved_at = time.monotonic()

    def _read_checkpoint(self) -> None:
        tensors, self.progress = read_checkpoint(self.checkpoint, self.identity)
        try:
            self.net.load_state_dict(under(tensors, "net."))
            self.loss.load_state_dict(under(tensors, "loss."))
        except RuntimeError as error:
            raise InputError(
                f"{self.checkpoint.name} does not hold the network that its header names: {error}"
            ) from error
        self.restored = under(tensors, "optimizer.")


def _all_finite(tensors: list[Tensor]) -> bool:
    # One answer to wait for, not one a tensor: a device would stand still at each.
    return bool(torch.stack([torch.isfinite(tensor).all() for tensor in tensors]).all())


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, parameters: list[Tensor], saved: dict[str, Tensor]
) -> None:
    for index, parameter in enumerate(parameters):
        state = under(saved, f"{index}.")
        for name in ("exp_avg", "exp_avg_sq"):
            if name in state:
                # The memory format is part of the sum's order, hence of the bits.
                state[name] = torch.empty_like(parameter).copy_(state[name])
        optimizer.state[parameter] = state


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
