"""What is possible: classifiers that know all but the symbols, and those that never learn.

``average_log_likelihood`` and ``hybrid_log_likelihood`` score samples at the symbol rate;
``genie_accuracy`` and ``joint_genie_accuracy`` count how often such scores are right;
``symbol_samples`` draws what they score, ``frame_samples`` reads it from simulated frames.
``cumulant_tree`` and ``cascade`` decide on blind samples and an estimate of their SNR.
"""

from modsnr.limits.classifiers import average_log_likelihood, hybrid_log_likelihood
from modsnr.limits.genie import (
    Accuracy,
    JointAccuracy,
    frame_samples,
    genie_accuracy,
    joint_genie_accuracy,
    symbol_samples,
)
from modsnr.limits.trees import cascade, cumulant_tree

__all__ = [
    "Accuracy",
    "JointAccuracy",
    "average_log_likelihood",
    "cascade",
    "cumulant_tree",
    "frame_samples",
    "genie_accuracy",
    "hybrid_log_likelihood",
    "joint_genie_accuracy",
    "symbol_samples",
]
