"""Limits: bounds, genie classifiers, and estimators and classifiers without learning.

Bounds take SNRs in dB, an array, and return the least standard deviation of an unbiased estimate
in dB; ``bin_accuracy`` is how often such an estimate falls into the right bin. Estimators take
frames, complex [frame, sample], and return dB [frame], on the frames' device.

``log_likelihood`` scores samples at the symbol rate; ``genie_accuracy`` counts how often the scores
are right, on samples that ``symbol_samples`` draws.
``cumulant_tree`` and ``cascade`` decide on blind samples and an estimate of their SNR.
"""

from modsnr.limits.bounds import (
    band_limited,
    bin_accuracy,
    data_aided,
    frame_bounds,
    non_data_aided,
    possible_accuracy,
    spectrum_aware,
)
from modsnr.limits.classifiers import log_likelihood
from modsnr.limits.estimators import SNR_RANGE_DB, m2m4_snr, noise_floor_snr, split_symbol_snr
from modsnr.limits.genie import genie_accuracy, symbol_samples
from modsnr.limits.trees import cascade, cumulant_tree

__all__ = [
    "SNR_RANGE_DB",
    "band_limited",
    "bin_accuracy",
    "cascade",
    "cumulant_tree",
    "data_aided",
    "frame_bounds",
    "genie_accuracy",
    "log_likelihood",
    "m2m4_snr",
    "noise_floor_snr",
    "non_data_aided",
    "possible_accuracy",
    "spectrum_aware",
    "split_symbol_snr",
    "symbol_samples",
]
