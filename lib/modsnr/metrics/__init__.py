"""Joint accuracy and its kin, calibration, spread over seeds, novelty: arrays in, numbers out."""

from modsnr.metrics.answers import TASKS, Answers, snap
from modsnr.metrics.calibration import calibration
from modsnr.metrics.conformal import (
    FEWEST,
    LEVELS,
    Reach,
    conformal,
    coverage,
    coverage_curve,
)
from modsnr.metrics.intervals import (
    LEVEL,
    RESAMPLES,
    Interval,
    difference,
    interval,
    mean_interval,
    rates,
    share,
)
from modsnr.metrics.novelty import (
    FEWEST_OF_A_CLASS,
    SHRINKAGE,
    SNR_PLACES,
    Familiar,
    alarm_levels,
    chance_of_alarms,
    familiar,
)
from modsnr.metrics.reliability import reliability
from modsnr.metrics.scores import (
    SNR_BANDS_DB,
    attractor_index,
    confusion,
    confusion_pair,
    f1_per_class,
    macro_f1,
    summary,
)
from modsnr.metrics.seeds import (
    APART,
    HEADLINES,
    curve_over_seeds,
    headlines,
    over_seeds,
    seed_groups,
)
from modsnr.metrics.tables import coverage_rows, results_rows, spread_rows, spreads
from modsnr.metrics.trust import trust

__all__ = [
    "APART",
    "FEWEST",
    "FEWEST_OF_A_CLASS",
    "HEADLINES",
    "LEVEL",
    "LEVELS",
    "RESAMPLES",
    "SHRINKAGE",
    "SNR_BANDS_DB",
    "SNR_PLACES",
    "TASKS",
    "Answers",
    "Familiar",
    "Interval",
    "Reach",
    "alarm_levels",
    "attractor_index",
    "calibration",
    "chance_of_alarms",
    "conformal",
    "confusion",
    "confusion_pair",
    "coverage",
    "coverage_curve",
    "coverage_rows",
    "curve_over_seeds",
    "difference",
    "f1_per_class",
    "familiar",
    "headlines",
    "interval",
    "macro_f1",
    "mean_interval",
    "over_seeds",
    "rates",
    "reliability",
    "results_rows",
    "seed_groups",
    "share",
    "snap",
    "spread_rows",
    "spreads",
    "summary",
    "trust",
]
