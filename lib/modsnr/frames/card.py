"""The data card: what a store holds and where it comes from, as Markdown for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modsnr import files
from modsnr.frames.labelled import PARTS
from modsnr.frames.store import describe, labels

if TYPE_CHECKING:
    import pandas as pd

KEYS = ("modulation", "snr_db")


def counts(path: Path | str) -> pd.DataFrame:
    """Return the number of frames: a row for each modulation and SNR, a column for each part."""
    import pandas as pd  # here: processes that only write frames do not need it

    classes = describe(path)["classes"]
    labels_of = {
        part: pd.DataFrame(dict(zip(KEYS, labels(path, part), strict=True))) for part in PARTS
    }
    sizes = {part: frame.groupby(list(KEYS)).size() for part, frame in labels_of.items()}
    table = pd.DataFrame(sizes).fillna(0).astype(np.int64).reset_index()
    return table.assign(modulation=np.array(classes)[table["modulation"]])


def card(path: Path | str, facts: Mapping[str, Any], audits: Mapping[str, pd.DataFrame]) -> str:
    """Write a store's data card beside it, ``data_card.md``, and return its text.

    It has the store's attributes, ``facts`` about its source, its counts, and the ``audits`` of its
    labels: a table for each title.
    """
    about = describe(path)
    sizes, classes = about.pop("counts"), about.pop("classes")
    cells = counts(path)
    # Wide, the parts summed: 442 cells in 17 lines. The table of each part is the run's.
    table = cells.assign(frames=cells[list(PARTS)].sum(axis=1)).pivot_table(
        "frames", "modulation", "snr_db", aggfunc="sum", fill_value=0, sort=False
    )
    table = table.sort_index(axis=1).astype(np.int64)
    table.columns = [f"{snr:g} dB" for snr in table.columns]
    lines = ["# Data card", "", f"{sum(sizes.values()):,} frames, {len(classes)} classes.", ""]
    lines += [f"- {name}: {value}" for name, value in {**about, **facts, **sizes}.items()]
    lines += ["", "## Frames of each modulation and SNR", "", *_markdown(table.reset_index())]
    for title, audit in audits.items():
        lines += ["", f"## {title}", "", *_markdown(audit)]
    text = "\n".join(lines) + "\n"
    files.write(Path(path).with_name("data_card.md"), text)
    return text


def _markdown(table: pd.DataFrame) -> list[str]:
    def line(cells: list[Any]) -> str:
        return f"| {' | '.join(f'{c:.3g}' if isinstance(c, float) else str(c) for c in cells)} |"

    head = [line(list(table.columns)), "|" + "---|" * table.shape[1]]
    return head + [line(list(row)) for row in table.itertuples(index=False)]
