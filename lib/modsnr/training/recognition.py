"""Predict frames, and find out by it whether a network was trained on these or on equal ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from modsnr import InputError, model
from modsnr.model import JointNet, Prediction
from modsnr.training.learner import Draw
from modsnr.training.sampling import Labelled

# Answers for the same frame differ by at most this share of those for different frames of a class.
ALIKE = 0.1
MOST_FRAMES = 512  # that are predicted again


def predict(
    net: JointNet,
    draw: Draw,
    iq: Tensor,
    findings: Tensor | None = None,
    *,
    rotations: int = 1,
    progress: bool = False,
) -> Prediction:
    """Return the decisions for frames complex64 [frame, sample], computed in single precision.

    ``findings`` [frame, finding] are the receiver's, if they have been through it. The answers for
    so many ``rotations`` of each frame's carrier are averaged. ``progress`` shows a bar.
    """
    shown = {"desc": "predict", "disable": not progress, "unit": "frame", "file": sys.stdout}
    with tqdm(total=len(iq), **shown) as bar:
        output = net.outputs(draw, iq, findings, rotations=rotations, progress=bar.update)
    return net.decide(output)


def recognise(
    trained: Mapping[str, Any],
    content_hash: str,
    frames: Any,
    drawing: Callable[[Mapping[str, Any]], Draw],
    rows: np.ndarray | None = None,
) -> str:
    """Return a line for each run: whether it was trained on these very frames, or on equal ones.

    ``trained`` are runs of 02; ``frames`` are those of a store, or some of them. The frames are the
    same if their hash is. Frames simulated on another processor are equal up to rounding: libraries
    do not round a Fourier transform alike on processors of different makers. A network trained on
    frames of another hash therefore predicts ``frames`` again, all the test frames or those at
    ``rows`` of them, drawn by ``drawing(parameters of the run)``. The frames are equal if their
    labels are the saved ones, and if the mean SNRs lie at most a tenth as far from the saved ones
    as those of different frames of one class from each other, in the median.

    Raises InputError, with these distances, where the frames differ.
    """
    lines = []
    rows = np.arange(len(frames.snr_db)) if rows is None else rows
    for name, run in trained.items():
        if run.data["sha256"] == content_hash:
            lines.append(f"{name}: trained on these frames")
            continue
        others = f"{name} was trained on other frames than those of the store"
        try:
            net, saved = model.load(run.weights), run.predictions()
        except InputError as error:
            raise InputError(f"{others}, by their hash, and cannot predict: {error}") from error
        at = rows[rows < len(saved["modulation"])]
        if any(
            len(at) < len(rows) or (saved[key][at] != getattr(frames, key)).any()
            for key in ("modulation", "snr_db")
        ):
            raise InputError(f"{others}: their labels differ")
        some = np.unique(np.linspace(0, len(rows) - 1, min(MOST_FRAMES, len(rows)), dtype=int))
        again = Labelled.of(frames).each(itemgetter(some))
        now = predict(
            net.to(model.fastest_device()),
            drawing(run.parameters),
            again.iq,
            again.findings,
            rotations=run.parameters.get("rotations", 1),
        )
        means = saved.get("snr_mean_db", saved["predicted_snr_db"])  # older runs saved no means
        apart = float(np.median(np.abs(now.snr_mean_db.numpy() - means[at[some]])))
        usual = _between_frames_of_a_class(saved["modulation"], saved["snr_db"], means)
        measured = (
            f"SNRs estimated now and after training lie {apart:.2g} dB apart, those of different "
            f"frames of one class {usual:.2g} dB, in the median"
        )
        if not apart <= ALIKE * usual:
            raise InputError(f"{others}: {measured}")
        lines.append(f"{name}: trained on these frames as another processor rounds; {measured}")
    return "\n".join(lines)


def _between_frames_of_a_class(
    modulation: np.ndarray, snr_db: np.ndarray, means: np.ndarray
) -> float:
    """Return how far apart ``means`` lie in the median; NaN where no class has two frames."""
    order = np.lexsort((snr_db, modulation))
    one, another = order[:-1], order[1:]
    alike = (snr_db[one] == snr_db[another]) & (modulation[one] == modulation[another])
    between = np.abs(means[one] - means[another])[alike]
    return float(np.median(between)) if len(between) else float("nan")
