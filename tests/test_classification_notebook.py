"""Notebook 11 learns limits and measures with them, at a size that proves the way alone."""

import json

import pandas as pd
import pytest

from modsnr import runs
from modsnr.classifier import limits, shipped
from modsnr.model import read_tensors

TOY = {
    "recordings": 68,
    "share": 0.2,
    "snr_step_db": 10,
    "channels": ["everyday"],
    "measured": 4,
    "unknown": 1,
    "frames": 4,
}


@pytest.mark.long
def test_11_learns_limits_and_measures_with_them(house):
    run = runs.execute("11_classification", parameters=TOY, name="toy")
    assert run.status == "completed", run.error
    found = shipped.read_limits(run.folder / shipped.LIMITS)
    assert found.high.shape == (len(limits.SIZES), 4, len(limits.COLUMNS))
    assert (found.low <= found.high).all()
    _, header = read_tensors(run.folder / shipped.LIMITS, problem="")
    shares = json.loads(header["measured"])["everyday"]
    assert sum(shares.values()) == pytest.approx(1)
    assert run.metrics["outcomes"]["everyday"]["right name"]["all"]["value"] == shares["right name"]
    assert 0 <= run.metrics["symbol_rate_not_found"] < 0.5
    table = pd.read_csv(run.folder / "tables" / "recordings.csv")
    assert (table.channel == "everyday").sum() == 4
    assert set(run.metrics["detected"]) == set(table.kind[table.channel == "unknown"])
    assert (run.folder / "figures" / "outcomes.png").exists()
