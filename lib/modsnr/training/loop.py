"""The loop of training: epochs of steps, validation after each, and the recovery from trouble.

After several steps in a row that went wrong the fit rolls back to its last good checkpoint, with
half the learning rate; after too many rollbacks it has diverged.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING

import torch
from torch import distributed
from tqdm import tqdm

from modsnr.metrics import Answers
from modsnr.model import dwa_weights, write_tensors
from modsnr.training.checkpoint import CHECKPOINT, WEIGHTS, Progress
from modsnr.training.learner import Learner, Task
from modsnr.training.recipe import Execution, Report
from modsnr.training.recognition import predict
from modsnr.training.step import LOSSES, take_step

if TYPE_CHECKING:
    from lightning.fabric import Fabric

PATIENCE_STEPS = 20  # steps in a row that go wrong until the fit rolls back
ROLLBACKS = 5
CHECKPOINT_SECONDS = 60.0


class Diverged(RuntimeError):
    """Training went on going wrong after every rollback it was allowed."""

    run_status = "diverged"  # the status of a run that ends with this error


def carry_out(task: Task, report: Report | None) -> Progress:
    """Do this process's part of a fit, which is all of it on one device; return its progress.

    Raises Diverged when rollbacks do not help.
    """
    learner = Learner(task, _fabric(task.execution))
    if not learner.progress.is_done(task.recipe):
        if not (task.folder / CHECKPOINT).exists():
            learner.save()  # the first step may need a rollback already
        learner.write_history()
    while not learner.progress.is_done(task.recipe):
        if _train_epoch(learner):
            row = _end_epoch(learner)
            if report is not None and learner.fabric.is_global_zero:
                report(row)
    return learner.progress


def _fabric(execution: Execution) -> Fabric:
    """Return Lightning's device and, for one of several processes, its connections."""
    # Here: it takes seconds to import, and predicting needs none of it.
    from lightning.fabric import Fabric
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment

    for name in ("fabric", "pytorch"):  # whichever was imported last speaks for both
        logging.getLogger(f"lightning.{name}").setLevel(logging.WARNING)
    strategy = execution.strategy
    fabric = Fabric(
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        devices=execution.devices,
        num_nodes=execution.num_nodes,
        strategy="ddp" if execution.ranks > 1 and strategy == "auto" else strategy,
        # Within a SLURM job Lightning would take this process for one of srun's.
        plugins=[LightningEnvironment()],
    )
    fabric.launch()
    return fabric


def _train_epoch(learner: Learner) -> bool:
    """Take the epoch's remaining steps; return whether that went well, without a rollback."""
    progress, recipe, execution = learner.progress, learner.recipe, learner.task.execution
    if recipe.task_weighting == "dwa":
        past = [(row["modulation_loss"], row["snr_loss"]) for row in progress.history]
        taken = [losses for losses in past if not math.isnan(losses[0])]
        learner.loss.weights.copy_(dwa_weights(taken))  # pyright: ignore[reportCallIssue]
    # A short fit would otherwise end amid its trouble, and count as sound.
    patience = min(PATIENCE_STEPS, max(learner.batches * recipe.epochs // 2, 1))
    description = f"epoch {progress.epoch + 1} of {recipe.epochs}"
    hidden = not execution.progress or execution.ranks > 1
    bar = {"desc": description, "disable": hidden, "unit": "step", "file": sys.stdout}
    for rows in tqdm(learner.batches_left(), **bar):
        trouble = take_step(learner, rows)
        if not trouble and progress.batch < learner.batches:  # an epoch's end has its own
            learner.save(every=CHECKPOINT_SECONDS)
        if progress.troubles_in_a_row >= patience:
            _roll_back(learner, trouble)
            return False
    return True


def _roll_back(learner: Learner, trouble: str) -> None:
    """Return to the last checkpoint with half the rate; raise Diverged if that was done enough."""
    before = learner.progress
    if before.rollbacks >= ROLLBACKS:
        rate = learner.recipe.learning_rate * before.rate_scale
        raise Diverged(
            f"Diverged at step {before.step}: {trouble}. {before.troubles_in_a_row} steps in a row "
            f"went wrong after {ROLLBACKS} rollbacks, each at half the rate; the last was "
            f"{rate:.3g}. It began at {before.first_trouble}. Lower learning_rate."
        )
    learner.load()
    learner.progress = replace(
        learner.progress,
        rollbacks=before.rollbacks + 1,
        rate_scale=before.rate_scale / 2,
        skipped=before.skipped,
        first_trouble=before.first_trouble,
        micro_batch=before.micro_batch,
    )


def _end_epoch(learner: Learner) -> dict[str, float]:
    """Validate, keep the best weights, write a checkpoint; return the history row."""
    progress = learner.progress
    # Amid skipped steps no checkpoint follows, and a rollback may undo this epoch.
    sound = not progress.troubles_in_a_row
    with learner.averaged_in_place():
        reached = _validate(learner)
        joint = reached["joint_accuracy"]
        if (sound or progress.best_epoch < 0) and joint > progress.best_joint:
            progress.best_joint, progress.best_epoch = joint, progress.epoch
            if learner.fabric.is_global_zero:
                header = {"net": json.dumps(learner.net.settings)}
                write_tensors(learner.net.state_dict(), learner.task.folder / WEIGHTS, header)
    learner.spend_time()
    means = [total / progress.taken if progress.taken else math.nan for total in progress.loss_sums]
    row = {
        "epoch": progress.epoch + 1,
        "step": progress.step,
        **dict(zip(LOSSES, means, strict=True)),
        **{f"validation_{name}": value for name, value in reached.items()},
        "learning_rate": learner.optimizer.param_groups[0]["lr"],
        "skipped_steps": progress.skipped,
        "seconds": progress.seconds,
    }
    progress.history = (*progress.history, row)
    progress.epoch, progress.batch = progress.epoch + 1, 0
    progress.loss_sums, progress.taken = (0.0, 0.0, 0.0), 0
    if sound:  # otherwise a rollback would come back to the trouble
        learner.save()
    learner.write_history()
    return row


def _validate(learner: Learner) -> dict[str, float]:
    """Return the accuracies on the validation frames, each process having decided its part."""
    frames, fabric = learner.task.validation, learner.fabric
    modulation = torch.zeros(len(frames.iq), dtype=torch.int64, device=fabric.device)
    snr_db = torch.zeros(len(frames.iq), device=fabric.device)
    if fabric.world_size > 1:  # all decide with the running statistics that rank 0 writes
        for buffer in learner.net.buffers():
            distributed.broadcast(buffer, 0)
    mine = learner.part_of(len(frames.iq))
    if mine.stop > mine.start:
        its = frames.each(itemgetter(mine))
        prediction = predict(learner.net, learner.task.draw, its.iq, its.findings)
        modulation[mine] = prediction.modulation.to(fabric.device)
        snr_db[mine] = prediction.snr_db.to(fabric.device)
    # Zero but for each process's part: the sums are all decisions.
    modulation, snr_db = (
        fabric.all_reduce(part, reduce_op="sum").cpu() for part in (modulation, snr_db)
    )
    grid_db = learner.net.snrs_db.cpu()
    return Answers(frames.modulation, frames.snr_db, modulation, snr_db, grid_db).accuracies()
