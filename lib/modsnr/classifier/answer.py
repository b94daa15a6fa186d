"""What a classification returns: tables of signals, bursts and frames, to print and to draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_BURSTS = 20  # rows of a printed answer


@dataclass(frozen=True)
class Answer:
    """What a recording holds, the strongest signal first.

    ``signals`` and ``bursts`` have a row each with ``modulation`` (one of the 17, "unknown", or
    "no signal"), ``snr_db`` with its 90 % interval ``snr_low_db`` to ``snr_high_db``,
    ``confidence``, ``carrier`` and ``symbol_rate`` (Hz where the sample rate is known, else
    cycles/sample and symbols/sample), ``known``, and ``why`` not; ``kind`` of an unknown one is
    "FSK-like", "FM-like", "OOK-like", "carrier", or "". ``vote`` is the likeliest of the 17 in any
    case. ``frames`` has what was judged, a row a frame. The SNR is signal power over the
    noise density in its band, over a band of eight symbol rates; Es/N0 is 9.03 dB more.
    """

    signals: pd.DataFrame
    bursts: pd.DataFrame
    frames: pd.DataFrame
    sample_rate: float | None  # Hz
    notes: tuple[str, ...] = ()

    @property
    def modulation(self) -> str:
        """The strongest signal's modulation, "unknown", or "no signal"."""
        return str(self._strongest("modulation", "no signal"))

    @property
    def snr_db(self) -> float:
        """The strongest signal's SNR, NaN if there is none."""
        return float(self._strongest("snr_db", float("nan")))

    @property
    def confidence(self) -> float:
        """The mean probability of the strongest vote over its frames, 0 without a signal."""
        return float(self._strongest("confidence", 0.0))

    def _strongest(self, column: str, otherwise: Any) -> Any:
        return self.signals[column].iloc[0] if len(self.signals) else otherwise

    def as_dict(self) -> dict[str, Any]:
        """Return signals and bursts as lists of rows, for JSON."""
        rows = {name: getattr(self, name).to_dict("records") for name in ("signals", "bursts")}
        return {"sample_rate": self.sample_rate, **rows, "notes": list(self.notes)}

    def __str__(self) -> str:
        if not len(self.signals):
            return "\n".join(["no signal", *self.notes])
        shown = self.bursts.head(SHOWN_BURSTS)
        text = [self._table(self.signals)]
        if len(self.bursts) > len(self.signals):
            text += ["", self._table(shown)]
            if more := len(self.bursts) - len(shown):
                text.append(f"... and {more} bursts more, in .bursts")
        return "\n".join([*text, *self.notes])

    def _table(self, rows: pd.DataFrame) -> str:
        unit = "Hz" if self.sample_rate else "per sample"
        number = ("{:.1f}" if self.sample_rate else "{:.6f}").format
        time = ("{:.3f} s" if self.sample_rate else "{:.0f}").format
        columns = {
            "from": rows["start"].map(time),
            "to": rows["end"].map(time),
            "modulation": rows["modulation"],
            "SNR dB": rows["snr_db"].map("{:.1f}".format),
            "90 %": [
                f"{low:.1f} to {high:.1f}"
                for low, high in zip(rows["snr_low_db"], rows["snr_high_db"], strict=True)
            ],
            "confidence": rows["confidence"].map("{:.2f}".format),
            f"carrier, {unit}": rows["carrier"].map(number),
            f"symbol rate, {unit}": rows["symbol_rate"].map(number),
            "": rows["why"].where(rows["why"] != "", "known"),
        }
        return pd.DataFrame(columns).to_string(index=False)

    def plot(self) -> Figure:
        """Draw modulation, SNR and carrier of the judged frames over time.

        Raises ValueError if there is no signal.
        """
        from modsnr import figures  # it takes seconds to import

        if not len(self.frames):
            raise ValueError("There is no signal to draw.")
        return figures.timeline(self.frames, timed=bool(self.sample_rate))
