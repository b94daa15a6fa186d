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
BESIDE = ["run", "name", "data"]  # columns that are no choices


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
        frames = _choices_of(made[0])
        frames["frames_seed"] = frames.pop("seed")
        row = {"run": run.id, "name": run.name, "data": (run.data or {}).get("sha256")}
        rows.append(row | frames | _choices_of(run))
    columns = dict.fromkeys([*BESIDE, *(name for row in rows for name in row)])
    return pd.DataFrame(rows, columns=list(columns), dtype=object)


def _choices_of(run: runs.Record) -> dict[str, Any]:
    counting = runs.counting(run.notebook, run.parameters)
    return {n: tuple(value) if isinstance(value, list) else value for n, value in counting.items()}


def alone(choices: pd.DataFrame, baseline: str, factor: str) -> dict[str, str]:
    """Return setting -> run, of the runs that differ from the baseline in ``factor`` at most.

    ``choices`` is as of ``choices``, ``baseline`` a run's id. The runs were trained on the
    baseline's frames, unless these are made in another way by ``factor``. Of several with one
    setting the newest is taken, for the baseline's the baseline. Numbers ascend; other settings
    come in the order of their first run. Settings are text, the parts of a list joined by " + ".

    Raises InputError for a baseline or factor that is not among the choices.
    """
    found = repeats(choices, baseline, factor)
    seed = choices.seed[choices.run == baseline].item()
    return {setting: seeds[seed] for setting, seeds in found.items() if seed in seeds}


def repeats(choices: pd.DataFrame, baseline: str, factor: str) -> dict[str, dict[int, str]]:
    """Return setting -> training seed -> run, of the runs that differ from the baseline in
    ``factor`` and seed at most, else as ``alone``.

    Raises InputError for a baseline or factor that is not among the choices.
    """
    import pandas as pd

    base = choices[choices.run == baseline]
    if not len(base):
        raise InputError(
            f"the baseline {baseline!r} is not among the {len(choices)} runs that are compared: "
            "give the id of a completed one of their profile"
        )
    names = choices.columns.drop(BESIDE)
    if factor not in names:
        raise InputError(f"the runs have no choice {factor!r}; they have: {', '.join(names)}")
    fixed = [name for name in names if name not in (factor, "seed")]
    if factor in runs.parameters(TRAINING):
        fixed.append("data")
    texts = choices[fixed].map(repr)  # NaN, of a parameter that a notebook had not yet, as well
    alike = pd.concat([choices[(texts == texts.loc[base.index[0]]).all(axis=1)], base])
    if all(isinstance(setting, int | float) for setting in alike[factor]):
        alike = alike.sort_values(factor, kind="stable")
    found: dict[str, dict[int, str]] = {}
    for setting, seed, run in zip(alike[factor], alike.seed, alike.run, strict=True):
        found.setdefault(_text(setting), {})[seed] = run
    return {setting: dict(sorted(seeds.items())) for setting, seeds in found.items()}


def _text(setting: Any) -> str:
    if isinstance(setting, tuple):
        return " + ".join(map(str, setting))
    return f"{setting:g}" if isinstance(setting, float) else f"{setting}"
