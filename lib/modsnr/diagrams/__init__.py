"""IQ frames to constellation diagrams: two-dimensional histograms, one channel a view.

A diagram's value is log(1 + n(r, c)), n the number of points of the frame in a square bin; rows
are quadrature, lowest first (draw with ``origin="lower"``), columns are in-phase. The views
differ only in which points they count:

``constellation``  all samples, scaled to unit mean power: the study's view. At 8 samples a symbol
                   it shows the transitions between symbols, whose spread hides weak noise.
``synchronised``   one sample a symbol, after a root-raised-cosine matched filter and blind timing
                   from the spectral line of |x|^2 at the symbol rate (Oerder and Meyr 1988),
                   scaled to unit mean power.
``aligned``        the same points turned back by their carrier's phase and offset, which would
                   smear what lies close in angle; both from spectral lines, weighted as the
                   likeliest of the known alphabets needs (after Viterbi and Viterbi 1983).
``residual``       what the frame holds outside the signal's band, its radius logarithmic: noise
                   alone, so the radius of the cloud is the SNR.
``log_polar``      the aligned points by their level in decibels (columns) and their angle (rows):
                   the rings of an alphabet are lines, and so are its angles.
``likelihood``     no points: bands of grey with what the receiver found, the log-likelihood of
                   each alphabet and the SNR among it.

Frames of other lengths than 1,024 samples have their counts n scaled to that length.
"""

from modsnr.diagrams.drawing import Canvas, as_trained, places, render
from modsnr.diagrams.views import EXTENTS, POINT_VIEWS, VIEWS, points, synchronise, times, views_of
