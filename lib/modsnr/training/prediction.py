"""Decisions for frames, in batches as large as memory allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from modsnr.model import JointNet, Prediction

Draw = Callable[[Tensor], Tensor]  # IQ complex64 [frame, sample] -> diagrams float32


def is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error)


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
