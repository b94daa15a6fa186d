"""Perturbations of diagrams and what they cost: the perturbation impact score, and attributions.

A mask says which pixels of one view are hidden. Masks are pure functions of diagrams and a
generator; accuracies come from the caller's model. The study counted p % of the occupied pixels
for its brightest and dimmest masks but p % of all pixels, mostly empty background, for its random
ones; here every mask reports the share it really hid in both conventions, and ``random`` hides as
many occupied pixels as the brightest and dimmest masks do.

``radio`` brings maps of pixels back to the samples and symbols behind them, and asks how little of
a change to a frame turns the answer.
"""

from modsnr.explain.attributions import evidence, occlusion
from modsnr.explain.masks import FRACTIONS, METHODS, Mask, masks
from modsnr.explain.perturbing import TASKS, Impact, impact_scores, perturb
from modsnr.explain.radio import Flip, of_points, share_turned, smallest_change

__all__ = [
    "FRACTIONS",
    "METHODS",
    "TASKS",
    "Flip",
    "Impact",
    "Mask",
    "evidence",
    "impact_scores",
    "masks",
    "occlusion",
    "of_points",
    "perturb",
    "share_turned",
    "smallest_change",
]
