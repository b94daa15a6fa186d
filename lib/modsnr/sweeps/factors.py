"""What one choice alone does: runs that differ from a baseline in it and in nothing else.

The choices of a run of 02 are its parameters and those of the run of 01 that made its frames.
Parameters that only name a run, or decide how it is carried out, are no choices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modsnr import InputError, runs

if TYPE_CHECKING:
    import pandas as pd

TRAINING, FRAMES = "02_training", "01_preprocessing"
BESIDE = ("run", "name", "data")  # columns that are no choices
REPEATED = "seed"  # of the training; that of the frames is the choice frames_seed


def choices(profile: str = "") -> pd.DataFrame:
    """Return a row a completed training, oldest first: run, name, data, then each choice.

    ``profile``, where given, selects. ``data`` is the hash of the frames. A parameter that a run
    lacks has its default, lists are tuples. The seed of the frames is frames_seed.

    Raises InputError for a run whose frames' own run is not here.
    """
    import pandas as pd

    known = {record.id: record for record in reversed(runs.records())}
    rows = []
    for run in known.values():
        trained = (run.notebook, run.status) == (TRAINING, "completed")
        if not trained or profile not in ("", run.profile):
            continue
        made = [known[id] for id in run.parents if id in known and known[id].notebook == FRAMES]
        if not made:
            raise InputError(
                f"run {run.id} was trained on frames whose run of {FRAMES} is not here, so how "
                "they were made is unknown; keep that run too, or select another profile"
            )
        row = {"run": run.id, "name": run.name, "data": (run.data or {}).get("sha256")}
        frames = {f"frames_{n}" if n == REPEATED else n: v for n, v in _choices_of(made[0]).items()}
        rows.append(row | frames | _choices_of(run))
    columns = dict.fromkeys([*BESIDE, *(name for row in rows for name in row)])
    return pd.DataFrame(rows, columns=list(columns), dtype=object)


def alone(choices: pd.DataFrame, baseline: str, factor: str) -> dict[str, str]:
    """Return setting -> run, of the runs that differ from the baseline in ``factor`` at most.

    ``choices`` is as of ``choices``, ``baseline`` a run's id. The runs were trained on the
    baseline's frames, unless these are made in another way by ``factor``. Of several with one
    setting the newest is taken, for the baseline's the baseline. Numbers ascend; other settings
    come in the order of their first run. Settings are text, the parts of a list joined by " + ".

    Raises InputError for a baseline or factor that is not among the choices.
    """
    seed = _of(choices, baseline)[REPEATED]
    found = repeats(choices, baseline, factor)
    return {setting: seeds[seed] for setting, seeds in found.items() if seed in seeds}


def repeats(choices: pd.DataFrame, baseline: str, factor: str) -> dict[str, dict[int, str]]:
    """Return setting -> training seed -> run, of the runs that differ from the baseline in
    ``factor`` and seed at most, else as ``alone``.

    Raises InputError for a baseline or factor that is not among the choices.
    """
    base = _of(choices, baseline)
    if factor not in choices.columns or factor in BESIDE:
        known = ", ".join(name for name in choices.columns if name not in BESIDE)
        raise InputError(f"the runs have no choice {factor!r}; they have: {known}")
    fixed = [name for name in choices.columns if name not in (*BESIDE, factor, REPEATED)]
    found: dict[Any, dict[int, str]] = {}
    for row in [*choices.to_dict("records"), base]:
        same_frames = row["data"] == base["data"] or not _of_training(factor)
        if same_frames and all(_same(row[name], base[name]) for name in fixed):
            found.setdefault(row[factor], {})[row[REPEATED]] = row["run"]
    if all(isinstance(setting, int | float) for setting in found):
        found = {setting: found[setting] for setting in sorted(found)}
    return {_text(setting): dict(sorted(seeds.items())) for setting, seeds in found.items()}


def _choices_of(run: runs.Record) -> dict[str, Any]:
    """Return the parameters of a run that change results, lists as tuples."""
    counting = runs.counting(run.notebook, run.parameters)
    return {n: tuple(value) if isinstance(value, list) else value for n, value in counting.items()}


def _of(choices: pd.DataFrame, baseline: str) -> dict[str, Any]:
    rows = [row for row in choices.to_dict("records") if row["run"] == baseline]
    if not rows:
        raise InputError(
            f"the baseline {baseline!r} is not among the {len(choices)} runs that are compared: "
            "give the id of a completed one of their profile"
        )
    return {str(name): value for name, value in rows[0].items()}


def _of_training(factor: str) -> bool:
    return factor in runs.parameters(TRAINING)


def _text(setting: Any) -> str:
    if isinstance(setting, tuple):
        return " + ".join(map(str, setting))
    return f"{setting:g}" if isinstance(setting, float) else f"{setting}"


def _same(one: Any, other: Any) -> bool:
    # NaN stands where a run's notebook had no such parameter.
    return one == other or (one != one and other != other)
