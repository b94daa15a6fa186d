"""From a recording to an answer: the signal found, its bursts, some frames of each judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from modsnr import InputError
from modsnr.classifier.answer import Answer
from modsnr.classifier.judging import Judged, judge
from modsnr.classifier.kinds import kind
from modsnr.classifier.limits import summary
from modsnr.classifier.shipped import Classifier, packaged
from modsnr.metrics import vote
from modsnr.receiver.timing import SAMPLES_PER_SYMBOL
from modsnr.recordings.conditioning import ResampledFrames, tunings
from modsnr.recordings.estimates import NoRateError, NoSignalError
from modsnr.recordings.files import open_recording
from modsnr.recordings.in_memory import held
from modsnr.recordings.samples import Recording

FRAMES = 256  # of a recording that are judged, unless asked otherwise
PIECE = 4096  # samples at once of a recording without a symbol rate
FEWEST = 4  # of a burst, if it has as many
WITHIN = 1.645  # deviations to either side of a mean hold 90 %
COLUMNS = (
    *("start", "end", "modulation", "vote", "snr_db", "snr_low_db", "snr_high_db", "confidence"),
    *("carrier", "symbol_rate", "known", "kind", "why", "frames"),
)


@dataclass(frozen=True)
class Signal:
    """Frames of a signal that were judged, and where and how they lie in the recording."""

    by: Classifier
    made: ResampledFrames
    bursts: list[tuple[int, int]]  # of frames, judged or not, the end excluded
    rows: np.ndarray  # int64 [frame], ascending
    iq: np.ndarray  # complex64 [frame, sample], of these rows
    judged: Judged

    def of_burst(self, number: int) -> np.ndarray:
        """Return the places in ``rows`` of a burst's frames, int64 [frame]; none of a short one."""
        first, last = self.bursts[number]
        return np.flatnonzero((self.rows >= first) & (self.rows < last))

    def row(self, mine: np.ndarray, span: tuple[int, int]) -> dict[str, Any]:
        """Return what some frames are together, ``COLUMNS``; ``span`` is of frames, end excluded.

        ``mine`` are places in ``rows``, int64 [frame].
        """
        rate, classes = self.made.recording.sample_rate or 1.0, self.by.classes
        tuning = self.made.tuning
        times = {"start": self.sample(span[0]) / rate, "end": self.sample(span[1]) / rate}
        present = mine[self.judged.present[mine]]
        seen = self.judged[present]
        if 2 * len(seen.snr_db) <= len(mine):
            empty: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan)
            nothing = {"modulation": "no signal", "vote": "", "known": False, "kind": ""}
            why = {"why": "no more than noise", "frames": len(mine)}
            return empty | times | nothing | {"confidence": 0.0} | why
        count, snr_db = len(seen.snr_db), float(seen.snr_db.mean())
        voted = vote(seen.likely)
        columns = summary(seen.traits, seen.likely, voted)
        reasons = self.by.limits.reasons(columns, snr_db, count)
        plain = kind(self.iq[present], snr_db) if reasons else ""
        # What hides the noise hides it in all frames: their mean is no surer than one of them.
        spread = max(float(np.median(seen.deviation_db)), float(seen.snr_db.std()) / count**0.5)
        carrier = tuning.carrier + np.median(seen.carrier) * SAMPLES_PER_SYMBOL * tuning.symbol_rate
        return times | {
            "modulation": "unknown" if reasons else classes[voted],
            "vote": classes[voted],
            "snr_db": snr_db,
            "snr_low_db": snr_db - WITHIN * spread,
            "snr_high_db": snr_db + WITHIN * spread,
            "confidence": float(columns[-1]),
            "carrier": float(carrier) * rate,
            "symbol_rate": tuning.symbol_rate * (1 + float(np.median(seen.clock))) * rate,
            "known": not reasons,
            "kind": plain,
            "why": "; ".join(filter(None, [plain, *reasons])),
            "frames": count,
        }

    def sample(self, frame: int) -> float:
        """Return the recording's sample at which a frame begins."""
        made = self.made
        return (made.first + frame * made.tuning.samples) / float(made.tuning.ratio)

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Return the tables of an ``Answer``: the signal, its bursts and frames."""
        whole = self.row(np.arange(len(self.rows)), (self.bursts[0][0], self.bursts[-1][1]))
        mine = [self.of_burst(number) for number in range(len(self.bursts))]
        rows = [self.row(of, span) for of, span in zip(mine, self.bursts, strict=True) if len(of)]
        signals, bursts = (pd.DataFrame(of, columns=pd.Index(COLUMNS)) for of in ([whole], rows))
        return signals, bursts, self.frames(rows)

    def frames(self, bursts: list[dict[str, Any]]) -> pd.DataFrame:
        """Return a row for each frame judged, with ``known`` as its burst's row has it."""
        rate, tuning, judged = self.made.recording.sample_rate or 1.0, self.made.tuning, self.judged
        classes = np.array(self.by.classes)
        step = SAMPLES_PER_SYMBOL * tuning.symbol_rate
        start = np.array([self.sample(row) / rate for row in self.rows.tolist()])
        burst = np.searchsorted([row["start"] for row in bursts], start, "right") - 1
        return pd.DataFrame(
            {
                "start": start,
                "burst": burst,
                "known": np.array([row["known"] for row in bursts], bool)[burst],
                "modulation": np.where(
                    judged.present, classes[judged.likely.argmax(1)], "no signal"
                ),
                "snr_db": judged.snr_db,
                "confidence": judged.likely.max(1),
                "carrier": (tuning.carrier + judged.carrier * step) * rate,
                "symbol_rate": tuning.symbol_rate * (1 + judged.clock) * rate,
            }
        )


def classify(
    recording: Any,
    *,
    sample_rate: float = 0.0,
    iq_format: str = "",
    frames: int = FRAMES,
    progress: bool = False,
) -> Answer:
    """Return which modulation a recording holds, at which SNR, or that it is none that is known.

    ``recording`` is the path of a file (SigMF, audio, raw samples), or an array or a tensor of
    samples: complex [sample], real [sample] at an intermediate frequency, or pairs of I and Q.
    Carrier, symbol rate (0.001 to 1 symbols/sample) and bursts are found. ``sample_rate`` in Hz
    gives the answer its units, 0: unknown, or what the file holds; ``iq_format`` is of raw samples,
    as ``recordings.open_recording`` takes it. At most about ``frames`` frames of 128 symbols are
    judged, spread over the bursts. ``progress`` shows a bar. Memory is bounded, whatever the size.

    Raises InputError for samples that cannot be used, and too few of them.
    """
    if frames < 1:
        raise InputError(f"frames must be 1 or more; they are {frames}.")
    if not 0 <= sample_rate < np.inf:
        raise InputError(f"sample_rate must be positive and finite, in Hz; it is {sample_rate}.")
    if isinstance(recording, str | Path):
        opened = open_recording(recording, iq_format=iq_format, sample_rate=sample_rate)
    elif isinstance(recording, Recording):
        opened = recording
    else:
        opened = held(recording, sample_rate)
    return classify_recording(opened, packaged(), frames=frames, progress=progress)


def classify_frames(iq: Any) -> pd.DataFrame:
    """Return a row for each frame of an array or a tensor: what receiver and network make of it.

    ``iq`` is complex [frame, sample] or [sample], at about eight samples a symbol: 256 samples or
    more, a multiple of 8. Each frame stands alone: modulation, confidence, SNR with its 90 %
    interval, carrier in cycles/sample, whether there is a signal, whether it is known and why not.

    Raises InputError for other frames, and for those without power or not finite.
    """
    given = np.asarray(iq.numpy(force=True) if hasattr(iq, "numpy") else iq)
    if given.ndim not in (1, 2) or given.dtype.kind != "c" or not given.size:
        raise InputError(
            "Frames must be complex [frame, sample] or [sample], one at least; they are "
            f"{given.dtype} of shape {given.shape}."
        )
    by = packaged()
    judged = judge(by.net, np.atleast_2d(given.astype(np.complex64)))
    classes, best = np.array(by.classes), judged.likely.argmax(1)
    reasons = [
        by.limits.reasons(summary(traits[None], likely[None], int(which)), snr, 1)
        for traits, likely, which, snr in zip(
            judged.traits, judged.likely, best, judged.snr_db.tolist(), strict=True
        )
    ]
    known = np.array([not why for why in reasons]) & judged.present
    spread = WITHIN * judged.deviation_db
    return pd.DataFrame(
        {
            "modulation": np.select(
                [known, judged.present], [classes[best], "unknown"], "no signal"
            ),
            "vote": classes[best],
            "confidence": judged.likely.max(1),
            "snr_db": judged.snr_db,
            "snr_low_db": judged.snr_db - spread,
            "snr_high_db": judged.snr_db + spread,
            "carrier": judged.carrier,
            "known": known,
            "why": ["; ".join(why) for why in reasons],
        }
    )


def classify_recording(
    recording: Recording, by: Classifier, *, frames: int = FRAMES, progress: bool = False
) -> Answer:
    """Return the answer for a recording that is open, as ``classify`` does, ``by`` a network."""
    try:
        found = tunings(recording)
    except (NoSignalError, NoRateError) as error:
        rate = isinstance(error, NoRateError)
        return _without_frames(recording, str(error), "it has no symbol rate" if rate else "")
    tables: list[tuple[pd.DataFrame, ...]] = []
    for number, tuning in enumerate(found):
        made = ResampledFrames(recording, tuning)
        if not made.fits:
            if number:  # a narrow one beside the strongest
                continue
            why = f"it has fewer than {tuning.samples // SAMPLES_PER_SYMBOL} symbols"
            return _without_frames(recording, "Too few symbols for a frame.", why)
        bursts, rows = heard(made, frames, progress=progress)
        iq = made.read(rows)
        parts = Signal(by, made, bursts, rows, iq, judge(by.net, iq)).tables()
        tables.append(tuple(part.assign(signal=number) for part in parts))
    parts = (pd.concat(column, ignore_index=True) for column in zip(*tables, strict=True))
    return Answer(*parts, recording.sample_rate, recording.notes)


def _without_frames(recording: Recording, note: str, why: str) -> Answer:
    """Return the answer where there is no signal, or, with ``why``, one that gives no frames."""
    seconds = recording.samples / (recording.sample_rate or 1.0)
    row: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan)
    row |= {"start": 0.0, "end": seconds, "modulation": "unknown", "vote": "", "confidence": 0.0}
    if why:
        plain = _kind_by_itself(recording)
        row |= {"kind": plain, "why": "; ".join(filter(None, [plain, why]))}
    row |= {"known": False, "frames": 0}
    rows = [row] if why else []
    signals = pd.DataFrame(rows, columns=pd.Index(COLUMNS)).assign(signal=0)
    notes = (*recording.notes, note)
    return Answer(signals, signals, pd.DataFrame(), recording.sample_rate, notes)


def _kind_by_itself(recording: Recording) -> str:
    """Return the kind of what has no symbol rate, by pieces spread over the recording."""
    most = min(PIECE, recording.samples)
    starts = np.linspace(0, recording.samples - most, 32).astype(int).tolist()
    pieces = np.stack([recording.read(start, most) for start in dict.fromkeys(starts)])
    power = (np.abs(pieces) ** 2).mean(1)
    return kind(pieces[power > power.max() / 4])


def heard(
    made: ResampledFrames, most: int, *, progress: bool = False
) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Return the bursts in a recording's frames, and about ``most`` of these, to be judged.

    A burst is its first frame and its end, excluded; the others are int64 [frame], ascending.
    """
    with tqdm(total=made.count, desc="listen", disable=not progress, unit="frame") as bar:
        table = made.survey(_counted(made.batches(0, made.count), bar))
    gap, silent = (table[column].to_numpy(bool) for column in ("gap", "silent"))
    bursts = runs_of(~gap | (gap.all() & ~silent))
    rows = spread(bursts, most)
    return bursts, rows[~silent[rows]]


def _counted(batches: Iterator[np.ndarray], bar: Any) -> Iterator[np.ndarray]:
    for batch in batches:
        yield batch
        bar.update(len(batch))


def runs_of(heard: np.ndarray) -> list[tuple[int, int]]:
    """Return first frame and end of each run of frames with a signal, bool [frame].

    Runs that a single frame parts are one.
    """
    heard = heard.copy()
    heard[1:-1] |= heard[:-2] & heard[2:]
    edges = np.flatnonzero(np.diff(heard, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def spread(bursts: list[tuple[int, int]], most: int) -> np.ndarray:
    """Return the frames to judge, int64 [frame], ascending: about ``most``, evenly in each burst.

    A burst has its share of them, and ``FEWEST`` at least; of too many bursts the longest are
    taken.
    """
    longest = sorted(bursts, key=lambda run: run[0] - run[1])[: max(1, most // FEWEST)]
    total = sum(last - first for first, last in longest)
    rows = []
    for first, last in longest:
        count = min(last - first, max(FEWEST, most * (last - first) // total))
        rows.append(np.linspace(first, last - 1, count).round().astype(np.int64))
    return np.unique(np.concatenate(rows))
