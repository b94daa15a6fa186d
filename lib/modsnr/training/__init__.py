"""Fit a joint network to frames, continue a fit that was cut off, predict.

The frame order is a pure function of (seed, epoch), what chance does inside a step a pure function
of (seed, step): a fit that is cut off and resumed ends in the same weights. Diagrams are drawn
inside the step, on its device. ``step`` is one step, ``loop`` the epochs and the recovery from
trouble, ``learner`` what they change; Lightning's Fabric carries the device and averages gradients
over several devices. ``distributed`` starts a process for each device, a rank.
"""

from modsnr.training.fitting import Fit, fit, print_epoch
from modsnr.training.learner import Draw
from modsnr.training.loop import Diverged
from modsnr.training.recipe import Execution, Recipe, precision_of, rate_factor
from modsnr.training.recognition import predict, recognise
from modsnr.training.sampling import Labelled, frame_order
