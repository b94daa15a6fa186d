"""One call for every foreign file, with the audits that its kind of labels allows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import pandas as pd

from modsnr import InputError, files
from modsnr.frames import Source, usable
from modsnr.recordings import archives, audit
from modsnr.recordings.files import RAW_FORMATS, RECORDING_EXTENSIONS
from modsnr.recordings.physics import FEWEST_FRAMES
from modsnr.recordings.pickles import open_2016
from modsnr.recordings.radioml import CLASSES_2018, SHIPPED_CLASSES_2018, open_2018, open_split
from modsnr.recordings.snr_labels import SnrMeaning, snr_meaning
from modsnr.signals import DIGITAL_CLASSES

Order = Literal["audit", "fixed", "shipped"]
AUDITED_FRAMES = 64  # of each column and of each SNR label
HDF5_EXTENSIONS = (".hdf5", ".h5", ".hdf")
PICKLE_EXTENSIONS = (".pkl", ".pickle", ".dat")
FILE_EXTENSIONS = (*HDF5_EXTENSIONS, *PICKLE_EXTENSIONS)


@dataclass(frozen=True)
class Audits:
    """What the audits of a source's labels found; None where they do not apply."""

    order: audit.ClassOrder | None = None
    snr: SnrMeaning | None = None

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The findings as tables for people, by title."""
        found = {}
        if self.order is not None:
            found[f"Class order: {self.order.order}"] = self.order.table
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
    drop_unusable: bool = False,
) -> tuple[Source, Audits]:
    """Return the labelled frames of any file that can be read, and the audits of its labels.

    Known are RadioML 2018.01A (HDF5, or the study's folder of one file a cell), RadioML 2016.10
    pickles, and recordings: SigMF, audio, raw IQ. ``samples`` a frame, ``iq_format``,
    ``sample_rate`` and ``label`` are for recordings only (see ``open_as_source``). Frames of a
    recording without any power are left out, with ``drop_unusable`` also those of RadioML 2018.01A
    without a usable label; the source's facts count them. Of any other folder its one file is
    taken.

    ``class_order`` names the columns of RadioML 2018.01A: ``audit`` lets the strongest frames of
    each decide between the right order (``fixed``) and that of the shipped classes.txt.

    Raises InputError for anything that cannot be read, and if the audit cannot decide the order.
    """
    path = Path(path)
    meta = path.with_name(f"{path.name}.sigmf-meta")  # of a SigMF recording named by its stem
    with files.reading(path):
        if not path.exists() and not meta.exists():
            raise InputError(f"There is no file or folder {path} on this machine.")
        path = path if meta.exists() else _to_read(path, iq_format)
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in HDF5_EXTENSIONS or h5py.is_hdf5(path):
        return _with_snr_audit(*_radioml_2018(path, class_order, drop_unusable))
    if suffix in PICKLE_EXTENSIONS and not iq_format:
        try:
            source = open_2016(path)
        except InputError as error:
            raw = f" If it holds raw I/Q samples, pass iq_format: {', '.join(RAW_FORMATS)}."
            raise InputError(f"{error}{raw if suffix == '.dat' else ''}") from error
        return _with_snr_audit(source)
    if iq_format or meta.exists() or suffix in RECORDING_EXTENSIONS:
        from modsnr.recordings.as_source import open_as_source  # SigMF's packages come with it

        source = open_as_source(
            path, iq_format=iq_format, sample_rate=sample_rate, label=label, samples=samples
        )
        return source, Audits()
    raise InputError(
        f"{path}: the extension {path.suffix!r} is of no known kind. Known are "
        f"{' '.join(HDF5_EXTENSIONS)} (RadioML 2018.01A), {' '.join(PICKLE_EXTENSIONS)} (RadioML "
        f"2016.10), {' '.join(RECORDING_EXTENSIONS)}; for other raw IQ pass iq_format, for a SigMF "
        "recording its stem."
    )


def _to_read(path: Path, iq_format: str) -> Path:
    """Return the file to read, or the study's folder; raise InputError for a packed archive.

    Raises OSError if it may not be read.
    """
    if path.is_dir():
        next(path.iterdir(), None)  # a folder that may not be listed would look empty below
        path = path if any(path.glob("*/SNR_*")) else _one_file_in(path)
    if not path.is_file():
        return path
    with open(path, "rb") as file:  # readers of some kinds would call it damaged
        start = file.read(4)
    raw = iq_format or path.suffix.lower() in RECORDING_EXTENSIONS
    if not raw and archives.is_packed(path, start):
        raise InputError(archives.advice(path, (*FILE_EXTENSIONS, *RECORDING_EXTENSIONS)))
    return path


def _one_file_in(folder: Path) -> Path:
    """Return the only file that can be read in a folder and its subfolders, else an archive there.

    Raises InputError if there are several or none.
    """
    inner = [
        path
        for path in sorted([*folder.glob("*"), *folder.glob("*/*")])
        if path.is_file() and not path.name.startswith(".") and path.suffix != ".sigmf-data"
    ]
    for extensions in ((*FILE_EXTENSIONS, *RECORDING_EXTENSIONS), archives.ARCHIVE_EXTENSIONS):
        found = [path for path in inner if path.suffix.lower() in extensions]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(str(path.relative_to(folder)) for path in found[:5])
            raise InputError(
                f"{folder} holds {len(found)} files that may be meant: {names}"
                f"{', ...' * (len(found) > 5)}; give the path of one."
            )
    raise InputError(
        f"{folder} holds no MODULATION/SNR_x folder, which the study's folder has, and no file of "
        f"a known kind: {' '.join((*FILE_EXTENSIONS, *RECORDING_EXTENSIONS))}."
    )


def _radioml_2018(
    path: Path, class_order: Order, drop_unusable: bool
) -> tuple[Source, audit.ClassOrder | None]:
    """Return the source under its class names, and the audit if there was one."""
    split = path.is_dir()
    source = open_split(path) if split else open_2018(path, drop_unusable=drop_unusable)
    columns = source.facts["columns"]
    candidates: dict[str, tuple[str, ...]] = {
        "fixed": CLASSES_2018,
        "shipped": SHIPPED_CLASSES_2018,
    }
    if split:
        # A column is a name of the folder, in its place in CLASSES_2018. If the shipped order gave
        # the names, what is called its k-th name is the k-th class of the right one.
        candidates["shipped"] = tuple(
            CLASSES_2018[SHIPPED_CLASSES_2018.index(name)] for name in CLASSES_2018
        )
    order = None
    if class_order == "audit":
        try:
            order = audit.class_order(_strongest(source), candidates)
        except InputError as error:
            raise InputError(
                f"{path}: {error} Frames whose labels are in another order than they look like "
                "that, too. If you know the order of classes, pass -p class_order fixed, or "
                "shipped."
            ) from error
    name = order.order if order else class_order
    classes = tuple(candidates[name][column] for column in columns)
    return replace(source, classes=classes, facts=source.facts | {"class order": name}), order


def _strongest(source: Source) -> dict[int, np.ndarray]:
    """Return column -> frames of the highest SNR of which it has enough; a column may have none."""
    strongest = {}
    for index, column in enumerate(source.facts["columns"]):
        mine = np.flatnonzero(source.modulation == index)
        for level in np.unique(source.snr_db[mine])[::-1]:
            iq = _some_iq(source, mine[source.snr_db[mine] == level])
            if len(iq) >= FEWEST_FRAMES:
                strongest[column] = iq
                break
    return strongest


def _some_iq(source: Source, places: np.ndarray) -> np.ndarray:
    """Return frames at some of the places, evenly spread, less those that cannot be used.

    Complex64 [frame, sample].
    """
    count = min(AUDITED_FRAMES, len(places))
    iq = source[places[np.linspace(0, len(places) - 1, count).astype(np.int64)]].frames().iq
    return iq[usable(iq)]


def _with_snr_audit(source: Source, order: audit.ClassOrder | None = None) -> tuple[Source, Audits]:
    """Return the source with what its SNR labels mean among its facts, and both audits.

    Raises InputError if the SNR of the frames has nothing to do with the labels.
    """
    linear = [k for k, name in enumerate(source.classes) if name in set(DIGITAL_CLASSES) - {"GMSK"}]
    places = np.flatnonzero(np.isin(source.modulation, linear))
    # Read before the audit: a file that cannot be read is an error, not an undecided audit.
    of_label = {
        float(snr): _some_iq(source, places[source.snr_db[places] == snr])
        for snr in np.unique(source.snr_db[places])
    }
    enough = {snr: iq for snr, iq in of_label.items() if len(iq) >= FEWEST_FRAMES}
    try:
        found = snr_meaning(enough)
    except InputError as undecided:
        found, sentence = None, str(undecided)
    else:
        sentence = found.sentence
        if found.verdict == "unrelated":
            raise InputError(f"{source.path}: {sentence} Use the original file.")
    facts = source.facts | {"what SNR labels mean": sentence}
    return replace(source, facts=facts), Audits(order, found)
