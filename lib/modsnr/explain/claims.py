"""The study's claims on masks, set against what was measured."""

from __future__ import annotations

import pandas as pd

from modsnr.explain.impact import TASKS
from modsnr.metrics import Interval, verdict
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
    outside, and else not decided: a wide interval decides nothing. That one mask costs more than
    another holds where the one's whole interval lies above the other's, and is contradicted where
    it lies below; what the brightest pixels cost beyond as many points at random is measured in
    accuracy lost.
    """
    measured = {
        (row["mask"], row["fraction"], row["task"], row["quantity"]): Interval(
            value=row["value"], low=row["low"], high=row["high"]
        )
        for row in scores.to_dict("records")
    }
    claimed = {  # of the occupied pixels
        (mask, fraction, task): score
        for mask, fractions in published("pis").items()
        for fraction, tasks in fractions.items()
        for task, score in tasks.items()
    }
    least = TOLERANCE * min(claimed.values())
    rows = []
    for (mask, fraction, task), score in claimed.items():
        if (found := measured.get((mask, fraction, task, "pis_of_occupied"))) is not None:
            reach = TOLERANCE * score
            said = verdict(found, above=score - reach, below=score + reach)
            claim = f"{task} PIS, {mask} {100 * fraction:g} %"
            rows.append({"claim": claim, "claimed": f"{score:g}", **found, "verdict": said})
    for fraction in sorted(scores.fraction.unique()):
        percent = f"{100 * fraction:g} %"
        for mask, quantity, control in CONTROLS:
            found = measured[mask, fraction, "joint", quantity]
            said = verdict(found, above=-least, below=least)
            claim = f"joint PIS, random {percent}, {control} control"
            rows.append({"claim": claim, "claimed": "about 0", **found, "verdict": said})
        for more, less, task, quantity in ORDERS:
            found, other = (measured[mask, fraction, task, quantity] for mask in (more, less))
            apart = {"low": found["low"] - other["high"], "high": found["high"] - other["low"]}
            what = "PIS" if quantity == "pis_of_occupied" else "accuracy lost"
            claim = f"{task} {what}, {more} above {less}, {percent}"
            bound = f"above {other['value']:.3g}"
            said = verdict(apart, above=0)
            rows.append({"claim": claim, "claimed": bound, **found, "verdict": said})
    return pd.DataFrame(rows)
