"""Limits: bounds, ceilings, genie classifiers, and estimators and classifiers without learning."""

from modsnr.limits.blind import blind_curve, marginal_log_likelihood
from modsnr.limits.bounds import (
    band_limited,
    bin_accuracy,
    data_aided,
    frame_bounds,
    non_data_aided,
    possible_accuracy,
    spectrum_aware,
    tilted,
)
from modsnr.limits.ceilings import (
    blind_ceilings,
    ceilings,
    folded_spectrum,
    possible_accuracies,
    snr_bounds,
)
from modsnr.limits.classifiers import log_likelihood
from modsnr.limits.estimators import SNR_RANGE_DB, m2m4_snr, noise_floor_snr, split_symbol_snr
from modsnr.limits.genie import accuracy_curve, genie_accuracy, symbol_samples
from modsnr.limits.trees import cascade, cumulant_tree
