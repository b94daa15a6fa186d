"""Perturbations of diagrams and what they cost: the perturbation impact score, and attributions.

A mask says which pixels of one view are hidden. Masks are pure functions of diagrams and a
generator; accuracies come from the caller's model. The study counted p % of the occupied pixels
for its brightest and dimmest masks but p % of all pixels, mostly empty background, for its random
ones; here every mask reports the share it really hid in both conventions, and ``random`` hides as
many occupied pixels as the brightest and dimmest masks do.
"""

from modsnr.explain.attributions import evidence, occlusion
from modsnr.explain.masks import FRACTIONS, METHODS, Mask, masks
from modsnr.explain.perturbing import TASKS, Impact, impact_scores, perturb

__all__ = [
    "FRACTIONS",
    "METHODS",
    "TASKS",
    "Impact",
    "Mask",
    "evidence",
    "impact_scores",
    "masks",
    "occlusion",
    "perturb",
]
