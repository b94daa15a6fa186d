"""Numbers of several models as the rows of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modsnr.metrics.seeds import over_seeds


def results_rows(summaries: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return a row a metric, value and interval of each model as text: "0.912 [0.901, 0.920]".

    ``summaries`` is model -> metric -> ``Interval``, or anything else, which is left out. A metric
    that a model lacks is "" there.
    """
    metrics = dict.fromkeys(
        name
        for summary in summaries.values()
        for name, number in summary.items()
        if isinstance(number, Mapping) and "value" in number
    )
    return [
        {"metric": name} | {model: _told(summary.get(name)) for model, summary in summaries.items()}
        for name in metrics
    ]


def _told(number: Mapping[str, float] | None) -> str:
    return "{value:.3f} [{low:.3f}, {high:.3f}]".format_map(number) if number else ""


def spreads(
    groups: Mapping[str, Sequence[str]], numbers: Mapping[str, Mapping[str, float | None]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return group -> metric -> its spread ``over_seeds``, from model -> metric -> number."""
    return {
        group: over_seeds([numbers[model] for model in members])
        for group, members in groups.items()
    }


def spread_rows(spreads: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return a row a group and metric, with its mean, std, low, high and n."""
    return [
        {"group": group, "metric": metric} | dict(spread)
        for group, of_group in spreads.items()
        for metric, spread in of_group.items()
    ]


def coverage_rows(trusts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row a model and part of the frames: all, each SNR, each modulation.

    ``trusts`` is model -> what ``trust`` found; a model without intervals has no row. A row holds
    model, part, coverage with coverage_low and coverage_high, and width_db.
    """
    return [
        {
            "model": model,
            "part": part,
            "coverage": point["coverage"]["value"],
            "coverage_low": point["coverage"]["low"],
            "coverage_high": point["coverage"]["high"],
            "width_db": point["width_db"],
        }
        for model, found in trusts.items()
        if (of := found["intervals"])
        for part, point in [
            ("all", of),
            *((f"{snr} dB", point) for snr, point in of["at_db"].items()),
            *of["of_modulation"].items(),
        ]
    ]
