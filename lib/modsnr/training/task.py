"""The fit as a LightningModule: each step, each epoch, and what is done when one goes wrong.

With several devices each has a process, a rank, which runs all of this on its part of every batch.
What a decision rests on is averaged over them first, so that all decide alike.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import lightning
import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader

from modsnr import InputError
from modsnr.metrics import Answers
from modsnr.model import JointLoss, JointNet, dwa_weights, is_out_of_memory, write_tensors
from modsnr.training.checkpoint import (
    CHECKPOINT,
    WEIGHTS,
    Progress,
    read_checkpoint,
    restore_optimizer,
    under,
    write_checkpoint,
)
from modsnr.training.logs import write_history
from modsnr.training.prediction import Draw, predict
from modsnr.training.recipe import Recipe, rate_factor
from modsnr.training.sampling import ONE_SIDED, Labelled, frame_order
from modsnr.training.together import copy, norms

PATIENCE_STEPS = 20  # steps in a row that go wrong until it counts as divergence
ASTRAY = 100.0  # times the first step's loss, whence no loss has been seen to come back
ROLLBACKS = 5
CHECKPOINT_SECONDS = 60.0
LOSSES: tuple[str, ...] = ("loss", "modulation_loss", "snr_loss")


class Diverged(RuntimeError):
    """Training went on going wrong after every rollback it was allowed."""

    run_status = "diverged"  # what the run that meets it is recorded as


class Trouble(NamedTuple):
    """What is wrong with a step; one that is ``finite`` is taken all the same."""

    what: str
    finite: bool = True


def identity(recipe: Recipe, net: JointNet) -> dict[str, Any]:
    """Return what a checkpoint must have been made by, to be gone on from."""
    return asdict(recipe) | net.settings


def is_done(progress: Progress, recipe: Recipe) -> bool:
    """Return whether every epoch is done, or enough have passed without a better one."""
    waited = progress.epoch - 1 - progress.best_epoch
    return progress.epoch >= recipe.epochs or 0 < recipe.early_stopping <= waited


class Task(lightning.LightningModule):
    """One fit, as Lightning's Trainer sees it."""

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
        self.format = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.net = cast(Any, net).to(memory_format=self.format)
        # Beside the network, not around it: its weights keep their names.
        self.answer = torch.compile(net) if recipe.compile else net
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
        # A short fit would else end amid its trouble, and count as sound.
        self.patience = min(PATIENCE_STEPS, max(self.batches * recipe.epochs // 2, 1))
        self.identity = identity(recipe, net)
        self.two_sided = torch.tensor([name not in ONE_SIDED for name in net.settings["classes"]])
        self.averaged = {name: value.clone() for name, value in self._averagable()}
        self.restored: dict[str, Tensor] = {}
        self.progress, self.used = Progress(), torch.device("cpu")
        self.rolled_back = False
        if self.checkpoint.exists():
            self._read_checkpoint()
            # Dropout draws piece by piece: a fit that is gone on with is cut as it was.
            self.micro_batch = min(self.progress.micro_batch or self.micro_batch, self.micro_batch)
        self.saved_at = self.started = time.monotonic()

    # What the Trainer asks for

    def configure_optimizers(self) -> torch.optim.Optimizer:
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[self.recipe.optimizer]
        rate, decay = self.recipe.learning_rate, self.recipe.weight_decay
        # Fused: one pass over the weights, and no temporaries, which cost as much again.
        fused = self.device.type in ("cpu", "cuda")
        self.optimizer = kind(self.parameters(), lr=rate, weight_decay=decay, fused=fused)
        if self.restored:
            restore_optimizer(self.optimizer, list(self.parameters()), self.restored)
        return self.optimizer

    def train_dataloader(self) -> DataLoader:
        order = frame_order(
            self.train_frames.modulation.cpu().numpy(),
            self.train_frames.snr_db.cpu().numpy(),
            self.recipe,
            epoch=self.progress.epoch,
        )
        rows = torch.from_numpy(order[: self.batches * self.recipe.batch_size])
        batches = rows.view(self.batches, -1)[self.progress.batch :]
        return DataLoader(cast(Any, batches), batch_size=None)

    def on_train_start(self) -> None:
        self.used = self.device
        if self.device.type == "cuda":
            needed = self.train_frames.iq.nbytes
            if needed < 0.6 * torch.cuda.mem_get_info(self.device)[0]:
                self.train_frames = Labelled(*(part.to(self.device) for part in self.train_frames))
        self.micro_batch //= self.trainer.world_size
        # A forward pass moves batch normalisation's running statistics, spoilt batch or not.
        self.statistics = [buffer.clone() for buffer in self.net.buffers()]
        if not self.checkpoint.exists():
            self._write_checkpoint()  # a rollback needs somewhere to go from the first step on
        self._write_history()  # that of the fit which this one goes on with

    def on_train_epoch_start(self) -> None:
        if self.recipe.task_weighting == "dwa":
            past = [(row["modulation_loss"], row["snr_loss"]) for row in self.progress.history]
            self.loss.weights.copy_(dwa_weights([pair for pair in past if not math.isnan(pair[0])]))

    def on_train_batch_start(self, *_: Any) -> int | None:
        return -1 if self.rolled_back else None  # the rest of the epoch is not to be trained on

    def training_step(self, rows: Tensor) -> None:
        progress = self.progress
        # Seeding each step makes dropout and rotation independent of where a run was cut.
        seed = self.recipe.seed * 1_000_003 + progress.step
        torch.manual_seed(seed % 2**63)
        # Chance is drawn for the whole batch, whichever part of it is this rank's.
        mine = self._part_of(len(rows))
        frames = rows[mine].to(self.train_frames.iq.device)
        batch = Labelled(*(part[frames].to(self.device) for part in self.train_frames))
        if self.recipe.rotate:
            angle = 2 * math.pi * torch.rand(len(rows), 1, device=self.device)[mine]
            batch = batch._replace(iq=batch.iq * torch.polar(torch.ones_like(angle), angle))
        if self.recipe.conjugate:
            chosen = torch.rand(len(rows), device=self.device)[mine] < 0.5
            chosen &= self.two_sided.to(self.device)[batch.modulation]
            batch = batch._replace(iq=torch.where(chosen.unsqueeze(1), batch.iq.conj(), batch.iq))
        if self.global_rank:  # dropout is not to be alike in every part
            torch.manual_seed((seed * 8_191 + self.global_rank) % 2**63)
        copy(self.statistics, self.net.buffers())
        losses = self._accumulate(batch)
        finite = self._finite(losses)  # asked before anything is waited for
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
        told = dict(zip(LOSSES, losses.tolist(), strict=True))
        trouble = self._trouble(finite, told)
        if trouble is None or trouble.finite:
            cast(Any, self.optimizers()).step()
            if self.recipe.task_weighting == "gradnorm":
                self.loss.renormalise()
            self._average()
            progress.first_loss = progress.first_loss or _of_tasks(told)
            sums = zip(progress.loss_sums, told.values(), strict=True)
            progress.loss_sums = tuple(before + loss for before, loss in sums)
            progress.taken += 1
            progress.ever_taken += 1
        else:
            copy(self.net.buffers(), self.statistics)
            progress.skipped += 1
        progress.step += 1
        progress.batch += 1
        progress.troubles_in_a_row = progress.troubles_in_a_row + 1 if trouble else 0
        if trouble and not progress.first_trouble:
            progress.first_trouble = f"step {progress.step}: {trouble.what}"
        if progress.troubles_in_a_row >= self.patience:
            assert trouble is not None
            self._roll_back(trouble.what)
        elif trouble is None and progress.batch < self.batches:  # the epoch's end writes one itself
            self._write_checkpoint(after=CHECKPOINT_SECONDS)

    def on_train_epoch_end(self) -> None:
        progress = self.progress
        if self.rolled_back:  # what the checkpoint has not seen is done again
            self.rolled_back = False
            left = self.recipe.epochs - progress.epoch
            self.trainer.fit_loop.max_epochs = self.trainer.current_epoch + 1 + left
            return
        trained = self._swap_in_averages()
        modulation, snr_db = self._decide_on_validation()
        truth = self.validation_frames
        grid_db = self.net.snrs_db.cpu()
        reached = Answers(truth.modulation, truth.snr_db, modulation, snr_db, grid_db).accuracies()
        self._spend_time()
        means = [
            total / progress.taken if progress.taken else math.nan for total in progress.loss_sums
        ]
        row = {
            "epoch": progress.epoch + 1,
            "step": progress.step,
            **dict(zip(LOSSES, means, strict=True)),
            **{f"validation_{name}": value for name, value in reached.items()},
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "skipped_steps": progress.skipped,
            "seconds": progress.seconds,
        }
        progress.history = (*progress.history, row)
        # Amid skipped steps no checkpoint follows, and a rollback may undo this epoch.
        safe = not progress.troubles_in_a_row or not self._any(self.weights.exists())
        if safe and reached["joint_accuracy"] > progress.best_joint:
            progress.best_joint, progress.best_epoch = reached["joint_accuracy"], progress.epoch
            if self.trainer.is_global_zero:
                header = {"net": json.dumps(self.net.settings)}
                write_tensors(self.net.state_dict(), self.weights, header)
        if trained:
            self.net.load_state_dict(trained)
        progress.epoch, progress.batch = progress.epoch + 1, 0
        progress.loss_sums, progress.taken = (0.0, 0.0, 0.0), 0
        sound = not progress.troubles_in_a_row
        if sound:  # else a rollback would come back to the trouble
            self._write_checkpoint()
        self._write_history()
        if self.report is not None and self.trainer.is_global_zero:
            self.report(row)
        self.trainer.should_stop = is_done(progress, self.recipe)

    # What is one rank's, and what all have to agree on

    def _part_of(self, count: int) -> slice:
        """Return which of ``count`` things this rank does: all of them, if it is alone."""
        rank, ranks = self.global_rank, self.trainer.world_size
        return slice(count * rank // ranks, count * (rank + 1) // ranks)

    def _sum(self, values: Tensor) -> Tensor:
        if self.trainer.world_size > 1:
            distributed.all_reduce(values)
        return values

    def _mean(self, values: Tensor) -> Tensor:
        ranks = self.trainer.world_size
        return self._sum(values) / ranks if ranks > 1 else values

    def _any(self, said: bool) -> bool:
        if self.trainer.world_size == 1:
            return said
        return bool(self._sum(torch.tensor(float(said), device=self.device)))

    @torch.no_grad()
    def _decide_on_validation(self) -> tuple[Tensor, Tensor]:
        """Return the decided modulation and SNR of every validation frame, each part by its rank.

        All ranks decide with rank 0's running statistics, which are those that are written.
        """
        if self.trainer.world_size > 1:
            for buffer in self.net.buffers():
                distributed.broadcast(buffer, 0)
        iq = self.validation_frames.iq
        mine = self._part_of(len(iq))
        modulation = torch.zeros(len(iq), dtype=torch.int64)
        snr_db = torch.zeros(len(iq))
        if mine.stop > mine.start:
            prediction = predict(self.net, self.draw, iq[mine])
            modulation[mine], snr_db[mine] = prediction.modulation, prediction.snr_db
        # Zero but for one rank's part: the sum is what each has decided.
        return (
            self._sum(modulation.to(self.device)).cpu(),
            self._sum(snr_db.to(self.device)).cpu(),
        )

    # One step, in as many pieces as memory asks for

    def _accumulate(self, batch: Labelled) -> Tensor:
        """Return the losses [weighted sum, modulation, SNR] of a batch, its gradient in place.

        ``batch`` is this rank's part; losses and gradient are the means over all ranks.
        """
        gpus = [self.device] if self.device.type == "cuda" else []
        while True:
            self.optimizer.zero_grad()
            try:
                with torch.random.fork_rng(gpus):  # another try is to draw the same dropout
                    return self._piecewise(batch)
            except RuntimeError as error:
                if is_out_of_memory(error) and self.trainer.world_size > 1:
                    raise InputError(
                        f"Memory does not suffice for {self.micro_batch} frames a device, which "
                        f"is a batch_size of {self.recipe.batch_size} over "
                        f"{self.trainer.world_size}. Give a smaller batch_size, or more devices; "
                        "one device alone would cut its batches smaller by itself."
                    ) from error
                if not is_out_of_memory(error) or self.micro_batch == 1:
                    raise
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.micro_batch = self.progress.micro_batch = max(self.micro_batch // 2, 1)
            copy(self.net.buffers(), self.statistics)

    def _piecewise(self, batch: Labelled) -> Tensor:
        # Apart, so that what memory was short of is given back with these names before another try.
        sums = torch.zeros(3, device=self.device)
        of_tasks: Any = 0  # by the last shared weights, where GradNorm asks for it
        for start in range(0, len(batch.iq), self.micro_batch):
            piece = Labelled(*(part[start : start + self.micro_batch] for part in batch))
            share = len(piece.iq) / len(batch.iq)
            with torch.autocast(self.device.type, enabled=False):  # as they are drawn elsewhere
                diagrams = self.draw(piece.iq).contiguous(memory_format=self.format)
            losses = self.loss(self.answer(diagrams), piece.modulation, piece.snr_db)
            if self.shared is not None:
                of_tasks = of_tasks + share * torch.stack(
                    [
                        torch.autograd.grad(loss, self.shared, retain_graph=True)[0]
                        for loss in losses[1:]
                    ]
                )
            total = losses[0] * share
            if self.shared is not None:  # ranks wait for a gradient of every parameter
                total = total + 0 * cast(Tensor, self.loss.weights).sum()
            self.manual_backward(total)
            sums += torch.stack([loss.detach() for loss in losses]) * share
        sums = self._mean(sums)
        if self.shared is not None:
            self.loss.balance(sums[1:], self._mean(of_tasks).flatten(1).norm(dim=1))
        return sums

    def _gradients(self) -> dict[str, Tensor]:
        named = self.named_parameters()
        return {name: weight.grad for name, weight in named if weight.grad is not None}

    def _finite(self, losses: Tensor) -> Tensor:
        """Return whether all losses are finite, then each gradient: bool [1 + gradient].

        One answer to wait for, not one a tensor: a device would stand still at each. A norm is
        finite just where all its parts are, and is had in a tenth of the time; a gradient whose
        square overflows would overflow in Adam too.
        """
        return norms([losses, *self._gradients().values()]).isfinite()

    def _trouble(self, finite: Tensor, told: dict[str, float]) -> Trouble | None:
        """Return what is wrong with a step's losses, ``told`` by name, or with its gradients."""
        if not finite.all():
            if finite[0]:
                wrong = int(finite[1:].logical_not().nonzero()[0])
                first = list(self._gradients())[wrong]
                return Trouble(f"the gradient of {first} is not finite", finite=False)
            values = ", ".join(f"{name} {value:.3g}" for name, value in told.items())
            return Trouble(f"the loss is not finite ({values})", finite=False)
        loss, at_first = _of_tasks(told), self.progress.first_loss
        if at_first and loss > ASTRAY * at_first:
            return Trouble(f"the loss is {loss:.3g}, at the first step it was {at_first:.3g}")
        return None

    def _roll_back(self, what: str) -> None:
        failed_at, rollbacks = self.progress.step, self.progress.rollbacks + 1
        before = self.progress
        if rollbacks > ROLLBACKS:
            rate = self.recipe.learning_rate * before.rate_scale
            raise Diverged(
                f"Diverged at step {failed_at}: {what}. {self.patience} steps in a row went wrong "
                f"after {ROLLBACKS} rollbacks, each at half the rate; the last was {rate:.3g}. It "
                f"began at {before.first_trouble}. Lower learning_rate."
            )
        self._read_checkpoint()
        restore_optimizer(self.optimizer, list(self.parameters()), self.restored)
        self.progress = replace(
            self.progress,
            rollbacks=rollbacks,
            rate_scale=before.rate_scale / 2,
            skipped=before.skipped,
            first_trouble=before.first_trouble,
            micro_batch=before.micro_batch,
        )
        self.rolled_back = True

    # Averaged weights

    def _averagable(self) -> Iterator[tuple[str, Tensor]]:
        if self.recipe.ema:
            yield from self.net.state_dict().items()

    @torch.no_grad()
    def _average(self) -> None:
        # The first steps' weights are soon forgotten: the average is as long as the fit is old.
        steps = self.progress.ever_taken
        kept = min(self.recipe.ema, (1 + steps) / (10 + steps))
        for name, value in self._averagable():
            average = self.averaged[name] = self.averaged[name].to(value.device)
            if value.is_floating_point():
                average.lerp_(value, 1 - kept)
            else:  # batch normalisation's counts
                average.copy_(value)

    def _swap_in_averages(self) -> dict[str, Tensor]:
        """Give the network its averaged weights, if it has, and return those it had."""
        had = {name: value.clone() for name, value in self._averagable()}
        if had:
            self.net.load_state_dict(self.averaged)
        return had

    # Checkpoints

    def _spend_time(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self.started
        self.started = now

    def _write_history(self) -> None:
        if self.progress.history and self.trainer.is_global_zero:
            write_history(self.weights.parent, self.progress.history)

    def _write_checkpoint(self, *, after: float = -math.inf) -> None:
        if not self.trainer.is_global_zero or time.monotonic() - self.saved_at <= after:
            return
        self._spend_time()
        tensors = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        tensors |= {f"loss.{name}": value for name, value in self.loss.state_dict().items()}
        tensors |= {f"averaged.{name}": value for name, value in self.averaged.items()}
        for index, parameter in enumerate(self.parameters()):
            for name, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
        write_checkpoint(self.checkpoint, tensors, self.progress, self.identity)
        self.saved_at = time.monotonic()

    def _read_checkpoint(self) -> None:
        tensors, self.progress = read_checkpoint(self.checkpoint, self.identity)
        try:
            self.net.load_state_dict(under(tensors, "net."))
            self.loss.load_state_dict(under(tensors, "loss."))
            self.averaged = under(tensors, "averaged.")
        except RuntimeError as error:
            raise InputError(
                f"{self.checkpoint.name} does not hold the network that its header names: {error}"
            ) from error
        self.restored = under(tensors, "optimizer.")


def _of_tasks(told: dict[str, float]) -> float:
    return told["modulation_loss"] + told["snr_loss"]
