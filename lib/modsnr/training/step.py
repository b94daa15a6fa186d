"""One step of training: a batch's gradient, in as many pieces as memory needs, then the update.

What chance does inside a step is a pure function of (seed, step). A step whose loss or gradient is
not finite changes nothing, and is counted. On several devices each process takes its part of the
batch; losses and gradients are averaged first, so that all processes decide alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import Any, cast

import torch
from torch import Tensor

from modsnr.model import is_out_of_memory
from modsnr.training.learner import Learner
from modsnr.training.sampling import Labelled

# Training has never recovered from a loss this many times the first step's.
DIVERGED_LOSS_RATIO = 100.0
LOSSES: tuple[str, ...] = ("loss", "modulation_loss", "snr_loss")
foreach: Any = torch  # torch has no public name for its functions of many tensors at once


def take_step(learner: Learner, rows: Tensor) -> str:
    """Train on the frames at ``rows``, int64 [frame]; return what went wrong, "" if nothing did.

    A step whose loss is finite but far above the first one's is trouble, and taken all the same.
    """
    progress = learner.progress
    learner.set_rate()
    batch = _augmented(learner, rows)
    _copy(learner.statistics, learner.net.buffers())
    losses = _accumulate_gradient(learner, batch)
    gradients = {name: w.grad for name, w in learner.parameters.items() if w.grad is not None}
    # One answer to wait for, not one a tensor: a device would stand still at each. A norm is finite
    # just where all its parts are, and takes a tenth of the time.
    norms = torch.stack(foreach._foreach_norm([losses, *gradients.values()]))
    finite = norms.isfinite().tolist()
    values = dict(zip(LOSSES, losses.tolist(), strict=True))
    trouble = _trouble(values, finite, list(gradients), progress.first_loss)
    if all(finite):
        learner.optimizer.step()
        if learner.recipe.task_weighting == "gradnorm":
            learner.loss.renormalise()
        if learner.averaged:
            learner.average()
        progress.count(tuple(values.values()))
    else:
        _copy(learner.net.buffers(), learner.statistics)
        progress.skipped += 1
    progress.step += 1
    progress.batch += 1
    progress.troubles_in_a_row = progress.troubles_in_a_row + 1 if trouble else 0
    if trouble and not progress.first_trouble:
        progress.first_trouble = f"step {progress.step}: {trouble}"
    return trouble


def _trouble(
    losses: dict[str, float], finite: list[bool], names: list[str], first_loss: float
) -> str:
    """Return what is wrong with a step; ``finite`` is of the losses, then of each gradient."""
    if not finite[0]:
        shown = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
        return f"the loss is not finite ({shown})"
    if not all(finite):
        return f"the gradient of {names[finite.index(False) - 1]} is not finite"
    loss = losses["modulation_loss"] + losses["snr_loss"]
    if first_loss and loss > DIVERGED_LOSS_RATIO * first_loss:
        return f"the loss is {loss:.3g}, at the first step it was {first_loss:.3g}"
    return ""


def _augmented(learner: Learner, rows: Tensor) -> Labelled:
    """Return this process's part of the batch, turned and mirrored at random, on the device."""
    recipe, device = learner.recipe, learner.fabric.device
    # Seeding each step makes dropout and rotation independent of where a run was cut.
    seed = recipe.seed * 1_000_003 + learner.progress.step
    torch.manual_seed(seed % 2**63)
    # Chance is drawn for the whole batch, whichever part of it is this process's.
    mine = learner.part_of(len(rows))
    frames = rows[mine].to(learner.train_frames.iq.device)
    batch = learner.train_frames.each(lambda part: part[frames].to(device))
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
    device = learner.fabric.device
    while True:
        learner.optimizer.zero_grad()
        try:
            # Another try must draw the same dropout.
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                return _piecewise(learner, batch)
        except RuntimeError as error:
            # Several processes would have to be cut alike.
            alone = learner.fabric.world_size == 1
            if not (is_out_of_memory(error) and alone and learner.micro_batch > 1):
                raise
        if device.type == "cuda":
            torch.cuda.empty_cache()
        learner.micro_batch = learner.progress.micro_batch = max(learner.micro_batch // 2, 1)
        _copy(learner.net.buffers(), learner.statistics)


def _piecewise(learner: Learner, batch: Labelled) -> Tensor:
    # A function of its own, so that memory held by its variables is free before another try.
    device = learner.fabric.device
    shared = None  # the backbone's last weight, by which GradNorm compares the tasks
    if learner.recipe.task_weighting == "gradnorm":
        shared = [weight for weight in learner.net.backbone.parameters() if weight.ndim > 1][-1]
    sums = torch.zeros(3, device=device)
    task_gradients: Any = 0  # [task, ...] by the shared weight
    for start in range(0, len(batch.iq), learner.micro_batch):
        here = slice(start, start + learner.micro_batch)
        piece = batch.each(itemgetter(here))
        share = len(piece.iq) / len(batch.iq)
        known = () if piece.findings is None else (piece.findings,)
        diagrams = learner.task.draw(piece.iq, *known)
        diagrams = diagrams.contiguous(memory_format=learner.format)
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
    sums = learner.fabric.all_reduce(sums)
    if shared is not None:
        norms_of_tasks = learner.fabric.all_reduce(task_gradients).flatten(1).norm(dim=1)
        learner.loss.balance(sums[1:], norms_of_tasks)
    return sums


def _copy(targets: Iterable[Tensor], sources: Iterable[Tensor]) -> None:
    """Copy each of ``sources`` into its target; on a GPU all those of a type in one call."""

    def kind(pair: tuple[Tensor, Tensor]) -> str:
        return str(pair[0].dtype)

    pairs = sorted(zip(targets, sources, strict=True), key=kind)
    for _, alike in groupby(pairs, kind):
        foreach._foreach_copy_(*map(list, zip(*alike, strict=True)))
