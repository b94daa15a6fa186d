"""The study's claims on masks, set against what was measured."""

from __future__ import annotations

from typing import Any

import pandas as pd

from modsnr.explain.impact import TASKS
from modsnr.metrics import verdict
from modsnr.published import published

TOLERANCE = 0.25  # of a claimed score
CONTROLS = (  # mask, score and name of the random masks whose score is claimed to be about zero
    ("random", "pis_of_occupied", "matched"),
    ("random_image", "pis_of_image", "the study's"),  # it counts all pixels
)
ORDERS = (  # masks of which the first is claimed to cost more than the second, by task and quantity
    ("dimmest", "brightest", "joint", "pis_of_occupied"),
    ("brightest", "random", "joint", "pis_of_occupied"),
    ("dimmest", "random", "joint", "pis_of_occupied"),
    *(("brightest", "random_points", task, "accuracy_drop") for task in TASKS),
)


def claim_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the study's claims on masks: claimed, measured with its interval, and a verdict.

    ``scores`` are those of the masks on the study's view, grouped by mask and fraction. A claimed
    score holds if the whole interval measured lies within a quarter of it, "about zero" within a
    quarter of the least score that is claimed; each is contradicted if the whole interval lies
    outside, and else not decided. That one mask costs more than another holds where the one's whole
    interval lies above the other's, and is contradicted where it lies below.
    """
    key = ["mask", "fraction", "task", "quantity"]
    ends = scores.set_index(key)[["value", "low", "high"]]
    measured: dict[Any, Any] = ends.to_dict("index")
    claimed = {
        (mask, fraction, task, "pis_of_occupied"): score
        for mask, fractions in published("pis").items()
        for fraction, tasks in fractions.items()
        for task, score in tasks.items()
    }
    least = TOLERANCE * min(claimed.values())
    rows = []

    def add(claim: str, bound: str, found: dict[str, float], said: str) -> None:
        rows.append({"claim": claim, "claimed": bound, **found, "verdict": said})

    for place, score in claimed.items():
        if place in measured:
            mask, fraction, task, _ = place
            reach = TOLERANCE * score
            said = verdict(measured[place], above=score - reach, below=score + reach)
            add(f"{task} PIS, {mask} {100 * fraction:g} %", f"{score:g}", measured[place], said)
    for fraction in sorted(scores.fraction.unique()):
        percent = f"{100 * fraction:g} %"
        for mask, quantity, control in CONTROLS:
            found = measured[mask, fraction, "joint", quantity]
            said = verdict(found, above=-least, below=least)
            add(f"joint PIS, random {percent}, {control} control", "about 0", found, said)
        for more, less, task, quantity in ORDERS:
            found, other = (measured[mask, fraction, task, quantity] for mask in (more, less))
            apart = {"low": found["low"] - other["high"], "high": found["high"] - other["low"]}
            what = "PIS" if quantity == "pis_of_occupied" else "accuracy lost"
            claim = f"{task} {what}, {more} above {less}, {percent}"
            add(claim, f"above {other['value']:.3g}", found, verdict(apart, above=0))
    return pd.DataFrame(rows)
