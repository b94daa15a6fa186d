"""One call for every foreign file, with the audits that its kind of labels allows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import pandas as pd

from modsnr import InputError
from modsnr.frames import Source
from modsnr.recordings.audit import ClassOrder, order_evidence, order_table
from modsnr.recordings.audit import class_order as decide_order
from modsnr.recordings.files import RAW_EXTENSIONS, SIGMF_EXTENSIONS
from modsnr.recordings.pickles import open_2016
from modsnr.recordings.radioml import CLASSES_2018, SHIPPED_CLASSES_2018, open_2018
from modsnr.recordings.radioml_split import open_split
from modsnr.recordings.snr_labels import SnrMeaning, snr_meaning
from modsnr.signals import DIGITAL_CLASSES

Order = Literal["audit", "fixed", "shipped"]
AUDITED_FRAMES = 64  # of each column and of each SNR label
# A file whose columns follow the shipped list has the classes of that list.
ORDERS = {"fixed": CLASSES_2018, "shipped": SHIPPED_CLASSES_2018}


@dataclass(frozen=True)
class Audits:
    """What the audits of a source's labels found; None where they do not apply."""

    order: ClassOrder | None = None
    snr: SnrMeaning | None = None

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The findings as tables for people, by title."""
        found = {}
        if self.order is not None:
            table = order_table(self.order.evidence).reset_index()
            found[f"Class order: {self.order.order}"] = table
        if self.snr is not None:
            found[f"SNR labels: {self.snr.verdict}"] = self.snr.table
        return found


def open_source(
    path: Path | str,
    *,
    class_order: Order = "audit",
    samples: int = 1024,
    iq_format: str = "",
    sample_rate: float = 0.0,
    label: str = "unknown",
) -> tuple[Source, Audits]:
    """Return the labelled frames of any file that can be read, and the audits of its labels.

    Known are RadioML 2018.01A (HDF5, or the study's folder of one file a cell), RadioML 2016.10
    pickles, and recordings: SigMF, WAV and raw IQ. ``samples`` a frame and the last three arguments
    are for recordings only (see ``open_as_source``). Frames of a recording without any power are
    left out; the source's facts count them.

    ``class_order`` names the columns of RadioML 2018.01A: ``audit`` lets the strongest frames of
    each decide between the right order (``fixed``) and that of the shipped classes.txt.

    Raises InputError for anything that cannot be read, and if the audit cannot decide the order.
    """
    path = Path(path)
    meta = path.with_name(f"{path.name}.sigmf-meta")  # of a SigMF recording named by its stem
    if not path.exists() and not meta.exists():
        raise InputError(f"There is no file or folder {path}.")
    if path.is_dir() or _is_hdf5(path):
        source, order = _radioml_2018(path, class_order)
        return source, Audits(order, _snr(source))
    of_recordings = (*RAW_EXTENSIONS, *SIGMF_EXTENSIONS, ".wav", ".wave")
    if iq_format or meta.exists() or path.suffix.lower() in of_recordings:
        from modsnr.recordings.conditioning import open_as_source  # SigMF's packages come with it

        source = open_as_source(
            path, iq_format=iq_format, sample_rate=sample_rate, label=label, samples=samples
        )
        return source, Audits(None, None)
    if path.suffix.lower() not in (".pkl", ".pickle", ".dat", ".bz2"):
        raise InputError(
            f"{path}: the extension {path.suffix!r} is of no known kind. Known are .hdf5 "
            f".h5 (RadioML 2018.01A), .pkl .dat (RadioML 2016.10), {' '.join(of_recordings)}; for "
            "other raw IQ pass iq_format, for a SigMF recording its stem."
        )
    source = open_2016(path)
    return source, Audits(None, _snr(source))


def _is_hdf5(path: Path) -> bool:
    return path.suffix.lower() in (".h5", ".hdf5", ".hdf") or bool(h5py.is_hdf5(path))


def _radioml_2018(path: Path, class_order: Order) -> tuple[Source, ClassOrder | None]:
    """Return the source under its class names, and the audit if there was one."""
    split = path.is_dir()
    source = open_split(path) if split else open_2018(path)
    candidates = {name: _names(name, split) for name in ORDERS}
    order = None
    if class_order == "audit":
        columns = source.facts["columns"]
        strongest = {
            columns[index]: source[_strongest(source, index)].frames().iq
            for index in range(len(columns))
        }
        try:
            order = decide_order(order_evidence(strongest, candidates))
        except InputError as error:
            raise InputError(
                f"{path}: {error} If you know the order, pass -p class_order fixed, or shipped."
            ) from error
        class_order = "fixed" if order.order == "fixed" else "shipped"
    names = tuple(candidates[class_order][column] for column in source.facts["columns"])
    facts = source.facts | {"class order": class_order}
    return replace(source, classes=names, facts=facts), order


def _names(order: str, split: bool) -> tuple[str, ...]:
    """Return the class of every column under an order.

    In a folder of one file a cell, a column is a name, in the place it has in ``CLASSES_2018``. If
    the shipped order gave the names, what is called its k-th name is the k-th class of the right
    one.
    """
    if not split or order == "fixed":
        return ORDERS[order]
    return tuple(CLASSES_2018[SHIPPED_CLASSES_2018.index(name)] for name in CLASSES_2018)


def _strongest(source: Source, modulation: int) -> np.ndarray:
    """Return places in the source of frames of one class at its highest SNR, evenly spread."""
    mine = np.flatnonzero(source.modulation == modulation)
    return _spread(mine[source.snr_db[mine] == source.snr_db[mine].max()])


def _spread(places: np.ndarray) -> np.ndarray:
    count = min(AUDITED_FRAMES, len(places))
    return places[np.linspace(0, len(places) - 1, count).astype(np.int64)]


def _snr(source: Source) -> SnrMeaning | None:
    """Return what the SNR labels mean; None for too few linear digital frames."""
    linear = [k for k, name in enumerate(source.classes) if name in set(DIGITAL_CLASSES) - {"GMSK"}]
    places = np.flatnonzero(np.isin(source.modulation, linear))
    # Read before the audit: a file that cannot be read is an error, not an undecided audit.
    of_label = {
        float(snr): source[_spread(places[source.snr_db[places] == snr])].frames().iq
        for snr in np.unique(source.snr_db[places])
    }
    try:
        return snr_meaning(of_label)
    except InputError:
        return None
