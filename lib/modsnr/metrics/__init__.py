"""Joint accuracy and its kin, calibration, spread over seeds, novelty: arrays in, tables out."""

from modsnr.metrics.answers import TASKS, Answers, snap
from modsnr.metrics.calibration import Calibration, calibration
from modsnr.metrics.conformal import conformal, coverage, coverage_curve
from modsnr.metrics.intervals import (
    RESAMPLES,
    Interval,
    difference,
    interval,
    mean_interval,
    percentiles,
    rates,
    share,
    share_of,
    verdict,
)
from modsnr.metrics.novelty import (
    Familiar,
    alarm_level,
    alarm_levels,
    chance_of_alarms,
    familiar,
)
from modsnr.metrics.reliability import reliability
from modsnr.metrics.scores import attractor_index, confusion, confusion_pair, summary
from modsnr.metrics.seeds import curves_over_seeds, headlines, over_seeds, seed_groups
from modsnr.metrics.tables import nested, records, side_by_side, stacked, wide
from modsnr.metrics.trust import Trust, coverage_table, trust

__all__ = [
    "RESAMPLES",
    "TASKS",
    "Answers",
    "Calibration",
    "Familiar",
    "Interval",
    "Trust",
    "alarm_level",
    "alarm_levels",
    "attractor_index",
    "calibration",
    "chance_of_alarms",
    "conformal",
    "confusion",
    "confusion_pair",
    "coverage",
    "coverage_curve",
    "coverage_table",
    "curves_over_seeds",
    "difference",
    "familiar",
    "headlines",
    "interval",
    "mean_interval",
    "nested",
    "over_seeds",
    "percentiles",
    "rates",
    "records",
    "reliability",
    "seed_groups",
    "share",
    "share_of",
    "side_by_side",
    "snap",
    "stacked",
    "summary",
    "trust",
    "verdict",
    "wide",
]
