"""Answers as annotations of a SigMF recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modsnr import InputError, __version__, files
from modsnr.classifier.answer import Answer

GENERATOR = "modsnr classify"


def annotate(path: Path, answer: Answer) -> int:
    """Write the bursts of an answer into SigMF metadata, and return how many there are.

    ``path`` ends in .sigmf-meta. Annotations of an earlier call are replaced, all others stay.
    Labels are modulations; what has no carrier, noise among it, is left out. Edges are the carrier
    less and plus two thirds of the symbol rate.

    Raises InputError for other files and for an unknown sample rate.
    """
    if path.suffix != ".sigmf-meta":
        raise InputError(f"{path}: annotations go into SigMF metadata, a file .sigmf-meta.")
    if not answer.sample_rate:
        raise InputError(f"{path} has no sample rate: annotations need one.")
    with files.reading(path):
        metadata = json.loads(path.read_text("utf-8-sig"))
    zero = int(metadata["global"].get("core:offset", 0))
    captures = metadata.get("captures") or [{}]
    centre = float(captures[0].get("core:frequency", 0.0))
    others = [a for a in metadata.get("annotations", []) if a.get("core:generator") != GENERATOR]
    own = [_annotation(row, answer.sample_rate, zero, centre) for row in _placed(answer)]
    together = sorted([*others, *own], key=lambda annotation: annotation["core:sample_start"])
    files.write(path, json.dumps(metadata | {"annotations": together}, indent=4) + "\n")
    return len(own)


def _placed(answer: Answer) -> list[dict[str, Any]]:
    rows: Any = answer.bursts[answer.bursts["carrier"].notna()].to_dict("records")
    return rows


def _annotation(row: dict[str, Any], rate: float, zero: int, centre: float) -> dict[str, Any]:
    start, reach = max(0, round(row["start"] * rate)), 2 / 3 * row["symbol_rate"]
    found = f"SNR {row['snr_db']:.1f} dB, confidence {row['confidence']:.2f}"
    why = f"; {row['why']}" if row["why"] else ""
    return {
        "core:sample_start": zero + start,
        "core:sample_count": round(row["end"] * rate) - start,
        "core:label": row["modulation"],
        "core:freq_lower_edge": centre + row["carrier"] - reach,
        "core:freq_upper_edge": centre + row["carrier"] + reach,
        "core:generator": GENERATOR,
        "core:comment": f"modsnr {__version__}: {found}{why}",
    }
