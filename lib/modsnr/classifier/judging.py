"""Frames to answers: the receiver, the network, and what does not fit in a frame."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from modsnr import diagrams, receiver
from modsnr.model import JointNet

AT_A_TIME = 128  # frames


@dataclass(frozen=True)
class Judged:
    """What is known of frames; all are numpy arrays [frame, ...]."""

    likely: np.ndarray  # float32 [frame, class], the probability of each modulation
    snr_db: np.ndarray  # signal power over noise density in its band, at 8 samples a symbol
    deviation_db: np.ndarray  # one standard deviation of it
    carrier: np.ndarray  # cycles/sample
    clock: np.ndarray  # true symbol rate over the nominal one, less 1
    present: np.ndarray  # bool, whether there is a signal
    traits: np.ndarray  # float32 [frame, trait], see ``receiver.TRAITS``

    def __getitem__(self, rows: np.ndarray) -> Judged:
        return Judged(*(getattr(self, part.name)[rows] for part in fields(self)))


def judge(net: JointNet, iq: np.ndarray) -> Judged:
    """Return what is known of frames, complex [frame, sample], at about 8 samples a symbol.

    Raises InputError for frames that ``receiver.receive`` refuses.
    """
    draw = diagrams.Canvas(views=net.settings["views"], bins=net.settings["bins"])
    with torch.inference_mode():
        parts = [_judge(net, draw, piece) for piece in torch.from_numpy(iq).split(AT_A_TIME)]
    return Judged(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _judge(net: JointNet, draw: diagrams.Canvas, iq: Tensor) -> list[np.ndarray]:
    found = receiver.receive(iq)
    output = net.outputs(draw, found.iq, receiver.findings(found))
    snr_db = net.decide(output).snr_db
    # Where a filter hides the noise, the network's SNR is the better one.
    traits = receiver.traits(iq, replace(found, snr_db=snr_db.to(iq.device)))
    columns = (
        output.modulation.softmax(1),
        snr_db,
        found.snr_deviation_db,
        found.carrier,
        found.clock,
        found.present,
        traits,
    )
    return [column.numpy(force=True) for column in columns]
