"""One step of training: a batch's gradient, in as many pieces as memory needs, then the update.

What chance does inside a step is a pure function of (seed, step). A step whose loss or gradient is
not finite changes nothing, and is counted. On several devices each process takes its part of the
batch; losses and gradients are averaged first, so that all processes decide alike.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from modsnr import InputError
from modsnr.model import is_out_of_memory
from modsnr.training.foreach import copy, norms
from modsnr.training.learner import Learner
from modsnr.training.sampling import Labelled

# Training has never recovered from a loss this many times the first step's.
DIVERGED_LOSS_RATIO = 100.0
LOSSES: tuple[str, ...] = ("loss", "modulation_loss", "snr_loss")


class Trouble(NamedTuple):
    """What is wrong with a step. One with ``finite`` losses and gradients is taken all the same."""

    what: str
    finite: bool = True


def take_step(learner: Learner, rows: Tensor) -> Trouble | None:
    """Train on the frames at ``rows``, int64 [frame]; return what went wrong, if anything."""
    progress = learner.progress
    learner.set_rate()
    batch = _augmented(learner, rows)
    copy(learner.statistics, learner.net.buffers())
    losses = _accumulate_gradient(learner, batch)
    finite = _finite(learner, losses)  # launched before the losses are waited for
    values = dict(zip(LOSSES, losses.tolist(), strict=True))
    trouble = _trouble(learner, finite, values)
    if trouble is None or trouble.finite:
        learner.optimizer.step()
        if learner.recipe.task_weighting == "gradnorm":
            learner.loss.renormalise()
        learner.average()
        progress.first_loss = progress.first_loss or _of_tasks(values)
        sums = zip(progress.loss_sums, values.values(), strict=True)
        progress.loss_sums = tuple(before + loss for before, loss in sums)
        progress.taken += 1
        progress.ever_taken += 1
    else:
        copy(learner.net.buffers(), learner.statistics)
        progress.skipped += 1
    progress.step += 1
    progress.batch += 1
    progress.troubles_in_a_row = progress.troubles_in_a_row + 1 if trouble else 0
    if trouble and not progress.first_trouble:
        progress.first_trouble = f"step {progress.step}: {trouble.what}"
    return trouble


def _augmented(learner: Learner, rows: Tensor) -> Labelled:
    """Return this process's part of the batch, turned and mirrored at random, on the device."""
    recipe, device = learner.recipe, learner.fabric.device
    # Seeding each step makes dropout and rotation independent of where a run was cut.
    seed = recipe.seed * 1_000_003 + learner.progress.step
    torch.manual_seed(seed % 2**63)
    # Chance is drawn for the whole batch, whichever part of it is this process's.
    mine = learner.part_of(len(rows))
    frames = rows[mine].to(learner.train_frames.iq.device)
    batch = Labelled(*(part[frames].to(device) for part in learner.train_frames))
    if recipe.rotate:
        angle = 2 * math.pi * torch.rand(len(rows), 1, device=device)[mine]
        batch = batch._replace(iq=batch.iq * torch.polar(torch.ones_like(angle), angle))
    if recipe.conjugate:
        chosen = torch.rand(len(rows), device=device)[mine] < 0.5
        chosen &= learner.two_sided.to(device)[batch.modulation]
        batch = batch._replace(iq=torch.where(chosen.unsqueeze(1), batch.iq.conj(), batch.iq))
    if rank := learner.fabric.global_rank:  # dropout must differ between the parts
        torch.manual_seed((seed * 8_191 + rank) % 2**63)
    return batch


def _accumulate_gradient(learner: Learner, batch: Labelled) -> Tensor:
    """Return the losses [weighted sum, modulation, SNR] of a batch, its gradient in place.

    Where memory runs out, the batch is done in pieces of half as many frames, down to one. Losses
    and gradient are the means over all processes.
    """
    device, ranks = learner.fabric.device, learner.fabric.world_size
    while True:
        learner.optimizer.zero_grad()
        try:
            # Another try must draw the same dropout.
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                return _piecewise(learner, batch)
        except RuntimeError as error:
            if is_out_of_memory(error) and ranks > 1:
                raise InputError(
                    f"Memory does not suffice for {learner.micro_batch} frames a device, which "
                    f"is a batch_size of {learner.recipe.batch_size} over {ranks}. Give a smaller "
                    "batch_size, or more devices; one device alone would cut its batches smaller "
                    "by itself."
                ) from error
            if not is_out_of_memory(error) or learner.micro_batch == 1:
                raise
        if device.type == "cuda":
            torch.cuda.empty_cache()
        learner.micro_batch = learner.progress.micro_batch = max(learner.micro_batch // 2, 1)
        copy(learner.net.buffers(), learner.statistics)


def _piecewise(learner: Learner, batch: Labelled) -> Tensor:
    # A function of its own, so that memory held by its variables is free before another try.
    device = learner.fabric.device
    shared = _last_shared_weight(learner)
    sums = torch.zeros(3, device=device)
    task_gradients: Any = 0  # [task, ...] by the shared weight, for GradNorm
    for start in range(0, len(batch.iq), learner.micro_batch):
        piece = Labelled(*(part[start : start + learner.micro_batch] for part in batch))
        share = len(piece.iq) / len(batch.iq)
        diagrams = learner.draw(piece.iq).contiguous(memory_format=learner.format)
        with learner.autocast():
            losses = learner.objective(diagrams, piece.modulation, piece.snr_db)
        total = losses[0] * share
        if shared is not None:
            task_gradients = task_gradients + share * torch.stack(
                [torch.autograd.grad(loss, shared, retain_graph=True)[0] for loss in losses[1:]]
            )
            # Several processes wait for a gradient of every parameter.
            total = total + 0 * cast(Tensor, learner.loss.weights).sum()
        learner.fabric.backward(total)
        sums += torch.stack([loss.detach() for loss in losses]) * share
    sums = learner.mean(sums)
    if shared is not None:
        norms_of_tasks = learner.mean(task_gradients).flatten(1).norm(dim=1)
        learner.loss.balance(sums[1:], norms_of_tasks)
    return sums


def _last_shared_weight(learner: Learner) -> Tensor | None:
    """Return the backbone's last weight, by which GradNorm compares the tasks; None without it."""
    if learner.recipe.task_weighting != "gradnorm":
        return None
    return [weight for weight in learner.net.backbone.parameters() if weight.ndim > 1][-1]


def _gradients(learner: Learner) -> dict[str, Tensor]:
    named = learner.parameters.items()
    return {name: weight.grad for name, weight in named if weight.grad is not None}


def _finite(learner: Learner, losses: Tensor) -> Tensor:
    """Return whether all losses are finite, then each gradient: bool [1 + gradient].

    One answer to wait for, not one a tensor: a device would stand still at each. A norm is finite
    just where all its parts are, and takes a tenth of the time; a gradient whose square overflows
    would overflow in Adam too.
    """
    return norms([losses, *_gradients(learner).values()]).isfinite()


def _trouble(learner: Learner, finite: Tensor, values: dict[str, float]) -> Trouble | None:
    """Return what is wrong with a step's losses, ``values`` by name, or with its gradients."""
    if not finite.all():
        if finite[0]:
            wrong = int(finite[1:].logical_not().nonzero()[0])
            name = list(_gradients(learner))[wrong]
            return Trouble(f"the gradient of {name} is not finite", finite=False)
        shown = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
        return Trouble(f"the loss is not finite ({shown})", finite=False)
    loss, first = _of_tasks(values), learner.progress.first_loss
    if first and loss > DIVERGED_LOSS_RATIO * first:
        return Trouble(f"the loss is {loss:.3g}, at the first step it was {first:.3g}")
    return None


def _of_tasks(values: dict[str, float]) -> float:
    return values["modulation_loss"] + values["snr_loss"]
