"""The losses of the two heads, and the weights of the two tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modsnr import files
from modsnr.model.network import Output

TASK_WEIGHTINGS = ("uncertainty", "fixed", "dwa", "gradnorm")
DWA_TEMPERATURE = 2.0
GRADNORM_ALPHA = 1.5


def smooth_l1(snr: Tensor, truth: Tensor, grid: Tensor) -> Tensor:
    """Return SmoothL1 of estimates [frame] in dB, taken in steps of the grid."""
    step = _step(grid)
    return F.smooth_l1_loss(snr / step, truth / step)


def l1(snr: Tensor, truth: Tensor, grid: Tensor) -> Tensor:
    """Return the mean error of estimates [frame] in dB, in steps of the grid."""
    return (snr - truth).abs().mean() / _step(grid)


def cross_entropy(logits: Tensor, truth: Tensor, grid: Tensor) -> Tensor:
    """Return the cross-entropy of logits [frame, SNR] at the SNR of the grid nearest the truth."""
    return F.cross_entropy(logits, _nearest(truth, grid))


def distance_weighted(logits: Tensor, truth: Tensor, grid: Tensor) -> Tensor:
    """Return cross-entropy, each frame's multiplied by 1 + the expected distance from the truth.

    The distance is that between predicted and true SNR in steps of the grid, its expectation over
    the softmax p: sum_k p_k |g_k - g_true| / step. It is a weight, held constant in the gradient,
    so that confident answers far off weigh most, and none less than in cross-entropy.
    """
    nearest = _nearest(truth, grid)
    distance = (grid[nearest].unsqueeze(1) - grid).abs() / _step(grid)  # [frame, SNR]
    expected = (logits.detach().softmax(1) * distance).sum(1)
    return ((1 + expected) * F.cross_entropy(logits, nearest, reduction="none")).mean()


def ordinal(logits: Tensor, truth: Tensor, grid: Tensor) -> Tensor:
    """Return the mean squared error, in steps of the grid, of the softmax expectation of the SNR.

    The expectation is sum_k p_k g_k; logits are [frame, SNR].
    """
    return ((logits.softmax(1) @ grid - truth) / _step(grid)).square().mean()


SnrLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
# The first of each head is its default.
SNR_LOSSES: Mapping[str, Mapping[str, SnrLoss]] = {
    "regression": {"smooth_l1": smooth_l1, "l1": l1},
    "classification": {
        "cross_entropy": cross_entropy,
        "distance_weighted": distance_weighted,
        "ordinal": ordinal,
    },
}


def _step(grid: Tensor) -> Tensor | float:
    return grid.diff().min() if len(grid) > 1 else 1.0


def _nearest(truth: Tensor, grid: Tensor) -> Tensor:
    return (truth.unsqueeze(1) - grid).abs().argmin(1)


class JointLoss(nn.Module):
    """The two tasks' losses and their weighted sum.

    The modulation's loss is cross-entropy. ``snr_loss`` names the SNR's, one of ``SNR_LOSSES`` of
    its head, "" the first of them. ``weighting`` is

    uncertainty: L = Lm / (2 sm^2) + Ls / (2 ss^2) + log(sm ss), with log s^2 as the parameters
    (Kendall, Gal and Cipolla, CVPR 2018);
    fixed: L = a Lm + (1 - a) Ls with a the ``modulation_share``;
    dwa: L = wm Lm + ws Ls, the weights set each epoch to ``dwa_weights``;
    gradnorm: L = wm Lm + ws Ls, the weights parameters with the gradient of ``gradnorm_gradient``.

    Raises InputError for a loss that is not one of the head's and for an unknown weighting.
    """

    snrs_db: Tensor
    first_losses: Tensor

    def __init__(
        self,
        snrs_db: Sequence[float],
        *,
        snr_head: str = "regression",
        snr_loss: str = "",
        weighting: str = "uncertainty",
        modulation_share: float = 0.5,
    ) -> None:
        super().__init__()
        fitting = SNR_LOSSES[snr_head]
        snr_loss = snr_loss or next(iter(fitting))
        files.check_name("snr_loss", snr_loss, fitting, of=f" of the {snr_head} head")
        files.check_name("task_weighting", weighting, TASK_WEIGHTINGS)
        self.snr_loss, self.weighting = fitting[snr_loss], weighting
        if weighting == "uncertainty":
            self.log_variance = nn.Parameter(torch.zeros(2))
        elif weighting == "gradnorm":
            self.weights = nn.Parameter(torch.ones(2))
            self.register_buffer("first_losses", torch.zeros(2))  # zero until they are known
        else:
            share = (modulation_share, 1 - modulation_share) if weighting == "fixed" else (1.0, 1.0)
            self.register_buffer("weights", torch.tensor(share))
        self.register_buffer("snrs_db", torch.tensor(snrs_db, dtype=torch.float32))

    def forward(
        self, output: Output, modulation: Tensor, snr_db: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weighted sum and the two tasks' own losses, each a mean over the frames."""
        modulation_loss = F.cross_entropy(output.modulation.float(), modulation)
        snr_loss = self.snr_loss(output.snr.float(), snr_db, self.snrs_db)
        losses = torch.stack([modulation_loss, snr_loss])
        if self.weighting == "uncertainty":
            total = (losses * torch.exp(-self.log_variance) / 2 + self.log_variance / 2).sum()
        else:
            # GradNorm gives its weights a gradient of their own.
            total = (losses * self.weights.detach()).sum()
        return total, modulation_loss, snr_loss

    @torch.no_grad()
    def balance(self, losses: Tensor, norms: Tensor) -> None:
        """Give GradNorm's weights their gradient, from a step's losses and gradient norms [task].

        Training is measured from the first step's losses.
        """
        weights: Any = self.weights
        if not self.first_losses.any() and losses.isfinite().all():
            self.first_losses.copy_(losses)
        weights.grad = gradnorm_gradient(weights, norms, losses, self.first_losses)

    @torch.no_grad()
    def renormalise(self) -> None:
        """Scale GradNorm's weights to the sum 2, none below 0.01: they share, they do not grow."""
        weights: Any = self.weights
        weights.clamp_(min=0.01)
        weights *= 2 / weights.sum()


def gradnorm_gradient(weights: Tensor, norms: Tensor, losses: Tensor, first: Tensor) -> Tensor:
    """Return the gradient of GradNorm's loss by the task weights, [task].

    ``norms`` are the norms g_i of each task's own gradient by the last shared weights. With
    G_i = w_i g_i, their mean G, and r_i the share L_i / L_i(0) over its mean, the loss is
    sum_i |G_i - G r_i^alpha| with the second term held constant, alpha = 1.5. Source: Chen,
    Badrinarayanan, Lee and Rabinovich, ICML 2018.
    """
    share = losses / first.clamp(min=1e-12)
    rates = share / share.mean()
    weighted = weights * norms
    return norms * torch.sign(weighted - weighted.mean() * rates**GRADNORM_ALPHA)


def dwa_weights(losses: Sequence[Sequence[float]]) -> Tensor:
    """Return each task's weight for an epoch from the mean losses [epoch, task] of those before.

    w_k = K softmax_k(r_k / T) with r_k the last epoch's loss over that before it, T = 2, K tasks;
    1 for the first two epochs. Source: Liu, Johns and Davison, CVPR 2019.
    """
    if len(losses) < 2:
        return torch.ones(2)
    last, before = torch.tensor(losses[-2:], dtype=torch.float64).flip(0)
    rates = last / before.clamp(min=1e-12)
    return (len(rates) * torch.softmax(rates / DWA_TEMPERATURE, 0)).float()
