"""Foreign files in: RadioML 2018.01A and 2016.10, SigMF, raw IQ, audio; their labels audited.

Names are imported on first use, so that a worker process that only reads frames of an HDF5 file
holds neither torch nor SciPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modsnr.recordings.file_state import fingerprint
    from modsnr.recordings.files import open_recording
    from modsnr.recordings.in_memory import held
    from modsnr.recordings.opening import Audits, open_source
    from modsnr.recordings.radioml import CLASSES_2018, SHIPPED_CLASSES_2018, open_2018
    from modsnr.recordings.spectrogram import waterfall

_HOMES = {
    "CLASSES_2018": "radioml",
    "SHIPPED_CLASSES_2018": "radioml",
    "Audits": "opening",
    "fingerprint": "file_state",
    "held": "in_memory",
    "open_2018": "radioml",
    "open_recording": "files",
    "open_source": "opening",
    "waterfall": "spectrogram",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
