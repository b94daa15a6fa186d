"""Joint accuracy and its kin, calibration, novelty: arrays in, numbers out, with 95 % intervals."""

from modsnr.metrics.calibration import calibration
from modsnr.metrics.intervals import (
    LEVEL,
    RESAMPLES,
    Interval,
    difference,
    interval,
    mean_interval,
    rates,
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
from modsnr.metrics.scores import (
    SNR_BANDS_DB,
    accuracies,
    attractor_index,
    confusion,
    f1_per_class,
    macro_f1,
    right,
    snap,
    summary,
)

__all__ = [
    "FEWEST_OF_A_CLASS",
    "LEVEL",
    "RESAMPLES",
    "SHRINKAGE",
    "SNR_BANDS_DB",
    "SNR_PLACES",
    "Familiar",
    "Interval",
    "accuracies",
    "alarm_levels",
    "attractor_index",
    "calibration",
    "chance_of_alarms",
    "confusion",
    "difference",
    "f1_per_class",
    "familiar",
    "interval",
    "macro_f1",
    "mean_interval",
    "rates",
    "right",
    "snap",
    "summary",
]
