"""Perturbations of diagrams and what they cost: the perturbation impact score, and attributions
to pixels and regions, with tests of whether these can be trusted.

A mask says which pixels of one view are hidden. Masks are pure functions of diagrams and a
generator; accuracies come from the caller's model. The study counted p % of the occupied pixels
for its brightest and dimmest masks but p % of all pixels, mostly empty background, for its random
ones; here every mask reports the share it really hid in both conventions, and ``random`` hides as
many occupied pixels as the brightest and dimmest masks do.
"""

from modsnr.explain.attributions import (
    Score,
    evidence,
    grad_cam,
    integrated_gradients,
    occlusion,
)
from modsnr.explain.masks import FRACTIONS, METHODS, Mask, masks
from modsnr.explain.perturbing import TASKS, Impact, impact_scores, perturb
from modsnr.explain.shapley import (
    EXACT,
    feature_ablation,
    kernel_shap,
    shapley_values,
    square_regions,
)
from modsnr.explain.trust import (
    area,
    deletion,
    infidelity,
    insertion,
    randomised,
    rank_agreement,
    sensitivity,
)

__all__ = [
    "EXACT",
    "FRACTIONS",
    "METHODS",
    "TASKS",
    "Impact",
    "Mask",
    "Score",
    "area",
    "deletion",
    "evidence",
    "feature_ablation",
    "grad_cam",
    "impact_scores",
    "infidelity",
    "insertion",
    "integrated_gradients",
    "kernel_shap",
    "masks",
    "occlusion",
    "perturb",
    "randomised",
    "rank_agreement",
    "sensitivity",
    "shapley_values",
    "square_regions",
]
