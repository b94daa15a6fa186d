"""Foreign files in: RadioML 2018.01A and 2016.10, SigMF, raw IQ, WAV; audits of their labels.

Names are imported on first use, so that a worker process that only reads frames of an HDF5 file
holds neither torch nor SciPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modsnr.recordings.audit import (
        class_order,
        duplicates,
        order_evidence,
        order_table,
    )
    from modsnr.recordings.conditioning import condition, open_as_source
    from modsnr.recordings.file_state import fingerprint
    from modsnr.recordings.files import Recording, open_recording
    from modsnr.recordings.opening import Audits, open_source
    from modsnr.recordings.pickles import open_2016
    from modsnr.recordings.radioml import CLASSES_2018, SHIPPED_CLASSES_2018, open_2018
    from modsnr.recordings.radioml_split import open_split
    from modsnr.recordings.snr_labels import snr_meaning

_HOMES = {
    "audit": ("class_order", "duplicates", "order_evidence", "order_table"),
    "snr_labels": ("snr_meaning",),
    "conditioning": ("condition", "open_as_source"),
    "file_state": ("fingerprint",),
    "files": ("Recording", "open_recording"),
    "opening": ("Audits", "open_source"),
    "pickles": ("open_2016",),
    "radioml": ("CLASSES_2018", "SHIPPED_CLASSES_2018", "open_2018"),
    "radioml_split": ("open_split",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CLASSES_2018",
    "SHIPPED_CLASSES_2018",
    "Audits",
    "Recording",
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
    "order_table",
    "snr_meaning",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
