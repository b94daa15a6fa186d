"""Perturbations of diagrams and what they cost: the perturbation impact score; attributions to
pixels and regions, and whether they can be trusted.

The study counted p % of the occupied pixels for its brightest and dimmest masks but p % of all
pixels, mostly empty background, for its random ones; here every mask reports the share it really
hid in both conventions, and ``random`` hides as many occupied pixels as the brightest and dimmest
masks do. ``regions`` hides by place instead, each beside as many pixels at random; ``fill`` chooses
what stands where pixels are hidden. ``radio`` maps pixels back to the samples and symbols behind
them, and finds how little of a change to a frame changes the answer.
"""

from modsnr.explain.attributions import grad_cam, integrated_gradients, occlusion
from modsnr.explain.claims import claim_rows
from modsnr.explain.evidence import evidence, own_answer
from modsnr.explain.faithfulness import (
    area,
    deletion,
    infidelity,
    insertion,
    randomised,
    rank_agreement,
    sensitivity,
)
from modsnr.explain.fills import FILLS, fill
from modsnr.explain.hiding import hidden
from modsnr.explain.impact import (
    SHARES,
    TASKS,
    Subject,
    by_label,
    impact_scores,
    nested,
    perturb,
    wide,
)
from modsnr.explain.judging import agreements, judge, judgement_rows, pixel_methods
from modsnr.explain.masks import FRACTIONS, METHODS, masks
from modsnr.explain.radio import point_shares, share_turned, smallest_change
from modsnr.explain.regions import RINGS, TAIL, players, quadrants, regions, rings
from modsnr.explain.shapley import feature_ablation, kernel_shap, shapley_values
