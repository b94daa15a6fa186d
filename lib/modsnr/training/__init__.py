"""Fit a joint network to frames, go on with a fit that was cut off, predict.

Lightning's Trainer carries devices, precision and the loop. What it is told here makes a run
repeatable: the frame order is a pure function of (seed, epoch), what chance does inside a step a
pure function of (seed, step). Diagrams are drawn inside the step, on its device. A step whose loss
or gradient is not finite is skipped and counted; a run of them rolls back to the last good
checkpoint at half the rate; out-of-memory halves the micro-batch and accumulates gradients. On
several devices ``crew`` starts a process each, a ``rank``, which all do this together.
"""

from modsnr.training.fitting import Fit, fit, print_epoch
from modsnr.training.prediction import Draw, predict
from modsnr.training.recipe import Recipe, precision_of, rate_factor
from modsnr.training.recognition import recognise
from modsnr.training.sampling import Labelled, frame_order
from modsnr.training.task import Diverged

__all__ = [
    "Diverged",
    "Draw",
    "Fit",
    "Labelled",
    "Recipe",
    "fit",
    "frame_order",
    "precision_of",
    "predict",
    "print_epoch",
    "rate_factor",
    "recognise",
]
