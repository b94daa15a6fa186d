"""What hiding pixels costs: the perturbation impact score, with intervals, in tidy tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from modsnr import metrics
from modsnr.explain.fills import Fill, fill
from modsnr.explain.masks import Mask, masks
from modsnr.metrics import Answers, Interval, difference, share

TASKS = ("modulation", "snr", "joint")
BATCH = 256  # frames drawn at a time
SHARES = ("share_of_occupied", "share_of_image", "share_of_points")  # hidden by a mask

# IQ complex64 [frame, sample], of received frames also findings [frame, finding] -> diagrams
Draw = Callable[..., Tensor]
Hide = Callable[..., Mapping[Any, Mask]]  # images, generator=... -> masks by (method, fraction)


@dataclass(frozen=True)
class Subject:
    """A network and the labelled frames on which it is explained.

    ``decide`` maps diagrams to modulations and SNRs in dB, [frame] each; ``draw`` maps IQ to
    diagrams. ``iq`` is complex64 [frame, sample], ``modulation`` int [frame], ``snr_db`` dB [frame]
    on the ascending grid ``grid_db``; ``findings`` [frame, finding] what the receiver found.
    """

    decide: Callable[[Tensor], Sequence[Tensor]]
    draw: Draw
    iq: Tensor
    modulation: np.ndarray
    snr_db: np.ndarray
    grid_db: Sequence[float]
    findings: Tensor | None = None

    def outcomes(self, rows: slice, diagrams: Tensor) -> dict[str, np.ndarray]:
        """Return task -> where the network is right about diagrams of these frames, bool [row]."""
        decided = (part.cpu() for part in self.decide(diagrams)[:2])
        return Answers(
            self.modulation[rows], self.snr_db[rows], *decided, grid_db=self.grid_db
        ).outcomes()


def perturb(
    subject: Subject,
    *,
    view: int | None,
    hide: Hide = masks,
    how: Fill = "blackout",
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> pd.DataFrame:
    """Return what every mask on one view does to every frame: a row a mask and frame.

    ``view`` is the channel that is masked, the other channels stay; None masks each by itself and
    all at once. ``hide`` maps one view's images to masks, ``how`` fills what they hide. Only one
    batch of diagrams is held at a time; ``progress`` is called with the number of its frames.

    Columns: mask, fraction (NaN for masks that have a name only), frame; before_ and after_ each
    task: whether the network was right; the shares hidden, means over the views masked.
    """
    pieces = []
    for start in range(0, len(subject.iq), BATCH):
        rows = slice(start, start + BATCH)
        known = () if subject.findings is None else (subject.findings[rows],)
        diagrams = subject.draw(subject.iq[rows], *known)
        diagrams = diagrams.contiguous(memory_format=torch.channels_last)
        generator = torch.Generator(diagrams.device).manual_seed(seed + start)
        before = subject.outcomes(rows, diagrams)
        channels = range(diagrams.shape[1]) if view is None else [view]
        covered = [hide(diagrams[:, channel], generator=generator) for channel in channels]
        for key in covered[0]:
            perturbed = diagrams.clone()
            for channel, found in zip(channels, covered, strict=True):
                perturbed[:, channel] = fill(
                    diagrams[:, channel], found[key].hidden, how, generator=generator
                )
            after = subject.outcomes(rows, perturbed)
            shares = torch.stack([torch.stack(found[key][1:]) for found in covered]).mean(0)
            mask, fraction = key if isinstance(key, tuple) else (key, np.nan)
            pieces.append(
                {"mask": mask, "fraction": fraction, "frame": start + np.arange(len(diagrams))}
                | {f"before_{task}": before[task] for task in TASKS}
                | {f"after_{task}": after[task] for task in TASKS}
                | dict(zip(SHARES, shares.cpu().numpy(), strict=True))
            )
        if progress:
            progress(len(diagrams))
    return pd.concat(map(pd.DataFrame, pieces), ignore_index=True)


def impact_scores(impacts: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return scores of the rows of ``perturb``, grouped by columns: a row a task and quantity.

    Quantities: the accuracy that is left, the accuracy_drop, and the perturbation impact score in
    three conventions. PIS = (accuracy before - accuracy after) / share hidden: pis_of_occupied
    over the share of the occupied pixels that was really hidden, pis_of_image over the share of
    all pixels, the study's two; pis_of_points over the share of the points. Each has its value
    with a 95 % interval, low to high, over the frames; drops are paired.

    Columns: ``by``, the mean shares hidden, task, quantity, value, low, high.
    """
    rows = []
    for key, frames in impacts.groupby(list(by), sort=False, dropna=False):
        shares = {name: float(frames[name].to_numpy().mean()) for name in SHARES}
        for task in TASKS:
            after = frames[f"after_{task}"].to_numpy()
            drop = difference(frames[f"before_{task}"].to_numpy(), after)
            found = {"accuracy": share(after), "accuracy_drop": drop}
            for name, hidden in shares.items():
                found[name.replace("share", "pis")] = _scaled(drop, hidden)
            group = dict(zip(by, key, strict=True)) | shares
            rows += [group | {"task": task, "quantity": q} | of for q, of in found.items()]
    return pd.DataFrame(rows)


def by_label(
    impacts: pd.DataFrame,
    labels: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
    masks: Sequence[str],
) -> pd.DataFrame:
    """Return the PIS of occupied pixels of some masks by label, for modulation and SNR apart.

    ``labels`` is kind -> the label of each frame, [frame], and the names that it numbers, if it
    numbers some. A row a kind, label, task and mask, sorted by kind, task and mask.
    """
    some, found = impacts[impacts["mask"].isin(masks)], []
    for kind, (of_frame, names) in labels.items():
        labelled = some.assign(label=of_frame[some.frame]).sort_values("label", kind="stable")
        scores = impact_scores(labelled, ["mask", "label"]).assign(kind=kind)
        scores["label"] = scores.label if names is None else names[scores.label]
        found.append(scores)
    table = pd.concat(found)
    table = table[(table.task != "joint") & (table.quantity == "pis_of_occupied")]
    return table.sort_values(["kind", "task", "mask"], kind="stable", ignore_index=True)


def _scaled(drop: Interval, share: float) -> Interval:
    factor = 1 / share if share else 0.0  # a random mask that struck background only cost nothing
    return Interval(
        value=drop["value"] * factor, low=drop["low"] * factor, high=drop["high"] * factor
    )


COLUMNS = {
    "accuracy": "accuracy",
    "accuracy_drop": "drop",
    "pis_of_occupied": "PIS",
    "pis_of_image": "PIS of image",
    "pis_of_points": "PIS of points",
}


def wide(scores: pd.DataFrame) -> pd.DataFrame:
    """Return scores a row a group: its columns, the shares hidden, and each task's quantities."""
    group = [name for name in scores if name not in ("task", "quantity", "value", "low", "high")]
    shares = {name: name.replace("share_of", "of").replace("_", " ") for name in SHARES}
    names = scores.task + " " + scores.quantity.map(COLUMNS)
    table = scores.assign(name=names).pivot_table("value", group, "name", sort=False)
    return table[names.unique()].reset_index().rename(columns=shares).rename_axis(columns=None)


def nested(scores: pd.DataFrame, *by: str) -> dict[str, Any]:
    """Return scores as metrics.json keeps them, nested by columns, the last of which is the mask.

    A mask is called by its name and percent, such as "brightest_5", and holds the shares hidden
    and task -> quantity -> interval.
    """
    mask, table = by[-1], scores
    if "fraction" in scores:
        percents = (100 * scores.fraction).map("_{:g}".format)
        table = scores.assign(**{mask: scores[mask] + percents})
    shares = table[[*by, *SHARES]].drop_duplicates().melt(by, SHARES, "task").assign(quantity="")
    columns = [*by, "task", "quantity", "value", "low", "high"]
    return metrics.nested(pd.concat([table, shares])[columns], *by, "task", "quantity")
