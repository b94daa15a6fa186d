"""Decisions for frames, in batches as large as memory allows."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from tqdm.auto import tqdm

from modsnr.model import JointNet, Prediction

Draw = Callable[[Tensor], Tensor]  # IQ complex64 [frame, sample] -> diagrams float32


def predict(
    net: JointNet,
    draw: Draw,
    iq: Tensor,
    *,
    batch_size: int = 512,
    rotations: int = 1,
    progress: bool = False,
) -> Prediction:
    """Return the decisions for frames complex64 [frame, sample], computed in single precision.

    Where memory does not hold ``batch_size`` frames, batches are smaller. The answers for so many
    ``rotations`` of each frame's carrier are averaged. ``progress`` shows a bar.
    """
    with tqdm(total=len(iq), desc="predict", disable=not progress, unit="frame") as bar:
        output = net.outputs(
            draw, iq, batch_size=batch_size, rotations=rotations, progress=bar.update
        )
    return Prediction(*(part.cpu() for part in net.decide(output)))
