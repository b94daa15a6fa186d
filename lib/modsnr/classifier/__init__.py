"""Right on the air: a recording or an array in, modulation and SNR of its signals out.

``classify`` finds the signal, its symbol rate and bursts, and judges some frames of each by the
receiver and the network that come with the package; ``classify_frames`` takes frames that have
eight samples a symbol already. ``limits`` decides whether a signal is one of the known modulations
at all, and says why not; ``rehearsal`` makes the recordings that the limits are learned on.
"""

from modsnr.classifier.answer import Answer
from modsnr.classifier.classify import classify, classify_frames, classify_recording, heard
from modsnr.classifier.shipped import Classifier, measured, packaged
