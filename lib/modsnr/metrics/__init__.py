"""Joint accuracy and its kin, calibration, spread over seeds, novelty: arrays in, tables out."""

from modsnr.metrics.answers import TASKS, Answers, snap
from modsnr.metrics.calibration import calibration
from modsnr.metrics.intervals import (
    RESAMPLES,
    Interval,
    difference,
    mean_interval,
    percentiles,
    rates,
    share,
    share_of,
    verdict,
)
from modsnr.metrics.novelty import (
    Scope,
    alarm_level,
    alarm_levels,
    familiar,
    scope,
    vote,
)
from modsnr.metrics.scores import attractor_index, confusion_pair, summary
from modsnr.metrics.seeds import curves_over_seeds, over_seeds, seed_groups
from modsnr.metrics.tables import nested, side_by_side, spelt, stacked, wide
from modsnr.metrics.trust import trust
