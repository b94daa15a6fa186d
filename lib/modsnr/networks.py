"""Trained networks of runs, and the test frames that they are shown: how most notebooks begin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from modsnr import diagrams, frames, model, receiver, runs, training


class Network(NamedTuple):
    """A network, the run that trained it, and what its frames complex [frame, sample] go through.

    Its diagrams are ``draw(*received(iq))``, or ``draw(iq, findings)`` of frames that went through
    the receiver before.
    """

    net: model.JointNet
    record: runs.Record
    draw: Callable[..., Tensor]
    received: Callable[[Tensor], tuple[Tensor, Tensor | None]]

    @property
    def views(self) -> list[str]:
        """The names of its views."""
        return self.net.settings["views"]

    @property
    def classes(self) -> list[str]:
        """The names of the modulations that it knows."""
        return self.net.settings["classes"]


class DrawnFrames(NamedTuple):
    """Test frames of a store, at ``rows`` of it, and the store's SNRs in dB, ascending."""

    frames: frames.Frames
    rows: np.ndarray
    grid_db: np.ndarray


def networks(run: runs.Run, references: Sequence[str]) -> dict[str, Network]:
    """Return the networks of runs of 02, on the fastest device; these runs become parents."""
    device = model.fastest_device()
    return {
        reference: Network(
            model.load(record.weights).to(device),
            record,
            diagrams.as_trained(record.parameters),
            receiver.as_trained(record.parameters),
        )
        for reference, record in run.trained(references).items()
    }


def test_frames(
    run: runs.Run, trained: Mapping[str, runs.Record], count: int, seed: int
) -> DrawnFrames:
    """Return ``count`` test frames (all if there are fewer) of the store behind trained runs.

    Prints of each run how it was recognised as trained on these frames (``training.recognise``).
    Raises InputError where one was trained on other frames.
    """
    store = runs.store(next(iter(trained.values())).parameters["frames"])
    about = frames.describe(store)
    run.set_data(store.parent.name, about["content_hash"])
    _, snr_db = frames.labels(store, "test")
    rows = frames.some_of(len(snr_db), count, seed)
    drawn = frames.read(store, "test", rows)
    print(training.recognise(trained, about["content_hash"], drawn, diagrams.as_trained, rows))
    print(f"{len(drawn):,} test frames, {len(drawn.classes)} modulations")
    return DrawnFrames(drawn, rows, np.unique(snr_db).astype(float))
