"""What is possible: bounds on an SNR estimate, and estimators that learn nothing.

Bounds take SNRs in dB, an array, and return the least standard deviation of an unbiased estimate
in dB; ``bin_accuracy`` says how often such an estimate falls into the right bin. Estimators take
frames, complex [frame, sample], and return dB [frame], on the frames' device.
"""

from modsnr.limits.bounds import (
    band_limited,
    bin_accuracy,
    data_aided,
    fisher_information,
    non_data_aided,
    spectrum_aware,
)
from modsnr.limits.estimators import SNR_RANGE_DB, m2m4_snr, noise_floor_snr, split_symbol_snr

__all__ = [
    "SNR_RANGE_DB",
    "band_limited",
    "bin_accuracy",
    "data_aided",
    "fisher_information",
    "m2m4_snr",
    "noise_floor_snr",
    "non_data_aided",
    "spectrum_aware",
    "split_symbol_snr",
]
