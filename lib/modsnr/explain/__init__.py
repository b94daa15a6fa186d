"""Perturbations of diagrams and what they cost: the perturbation impact score; attributions to
pixels and regions, and whether these can be trusted.

A mask says which pixels of one view are hidden. Masks are pure functions of diagrams and a
generator; accuracies come from the caller's model. The study counted p % of the occupied pixels
for its brightest and dimmest masks but p % of all pixels, mostly empty background, for its random
ones; here every mask reports the share it really hid in both conventions, and ``random`` hides as
many occupied pixels as the brightest and dimmest masks do. ``regions`` hides by place instead,
each beside as many pixels at random; ``fill`` says what stands where pixels are hidden. ``radio``
brings maps of pixels back to the samples and symbols behind them, and asks how little of a change
to a frame turns the answer.
"""

from modsnr.explain.attributions import (
    Score,
    evidence,
    grad_cam,
    integrated_gradients,
    occlusion,
    own_answer,
)
from modsnr.explain.fills import FILLS, Fill, fill
from modsnr.explain.hiding import Hidden, HiddenFrom, hidden
from modsnr.explain.judging import (
    Judgement,
    agreements,
    judge,
    judge_all,
    judgement_rows,
    pixel_methods,
)
from modsnr.explain.masks import FRACTIONS, METHODS, Mask, masks, random_like
from modsnr.explain.perturbing import TASKS, Impact, impact_scores, perturb
from modsnr.explain.radio import Flip, of_points, share_turned, smallest_change
from modsnr.explain.regions import RINGS, TAIL, players, quadrants, regions, rings
from modsnr.explain.shapley import (
    EXACT,
    feature_ablation,
    kernel_shap,
    shapley_values,
    square_regions,
)
from modsnr.explain.tables import (
    STUDY_PIS,
    by_fraction,
    by_label,
    claim_rows,
    named,
    score_rows,
    scored,
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
    "FILLS",
    "FRACTIONS",
    "METHODS",
    "RINGS",
    "STUDY_PIS",
    "TAIL",
    "TASKS",
    "Fill",
    "Flip",
    "Hidden",
    "HiddenFrom",
    "Impact",
    "Judgement",
    "Mask",
    "Score",
    "agreements",
    "area",
    "by_fraction",
    "by_label",
    "claim_rows",
    "deletion",
    "evidence",
    "feature_ablation",
    "fill",
    "grad_cam",
    "hidden",
    "impact_scores",
    "infidelity",
    "insertion",
    "integrated_gradients",
    "judge",
    "judge_all",
    "judgement_rows",
    "kernel_shap",
    "masks",
    "named",
    "occlusion",
    "of_points",
    "own_answer",
    "perturb",
    "pixel_methods",
    "players",
    "quadrants",
    "random_like",
    "randomised",
    "rank_agreement",
    "regions",
    "rings",
    "score_rows",
    "scored",
    "sensitivity",
    "shapley_values",
    "share_turned",
    "smallest_change",
    "square_regions",
]
