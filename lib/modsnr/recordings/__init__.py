"""Foreign files in: RadioML 2018.01A and 2016.10, SigMF, raw IQ, WAV; audits of their labels."""

from modsnr.recordings.audit import class_order, duplicates, order_evidence, snr_meaning
from modsnr.recordings.conditioning import condition, open_as_source
from modsnr.recordings.files import Recording, open_recording
from modsnr.recordings.opening import Audits, open_source
from modsnr.recordings.pickles import open_2016
from modsnr.recordings.radioml import CLASSES_2018, SHIPPED_CLASSES_2018, open_2018, open_split
from modsnr.recordings.source import Read, Source, fingerprint, simulated

__all__ = [
    "CLASSES_2018",
    "SHIPPED_CLASSES_2018",
    "Audits",
    "Read",
    "Recording",
    "Source",
    "class_order",
    "condition",
    "duplicates",
    "fingerprint",
    "open_2016",
    "open_2018",
    "open_as_source",
    "open_recording",
    "open_source",
    "open_split",
    "order_evidence",
    "simulated",
    "snr_meaning",
]
