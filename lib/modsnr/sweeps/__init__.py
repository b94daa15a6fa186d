"""Sweeps: one notebook run over a space of its parameters, each trial a run with its own folder.

``load_space`` reads what is searched; ``sweep`` does it, or goes on with it: the trials stand in
an Optuna study, in a journal file under ``runs/.sweeps`` or in PostgreSQL, which any number of
processes and machines may share. A trial whose sweep was killed is done again, every other one is
done once, however it ends. ``table`` and what follows it tell of any set of runs; ``choices`` of
what each choice alone did, ``verdicts`` and ``compare`` of what runs with several seeds say of a
claim.
"""

from modsnr.sweeps.analysis import (
    hardships,
    histories,
    importance,
    loss_rates,
    lost,
    outcomes,
    ranking,
    table,
    varied,
)
from modsnr.sweeps.claims import Claim, Spread, compare, over_seeds, verdicts
from modsnr.sweeps.factors import alone, choices, repeats
from modsnr.sweeps.space import Range, Space, load_space
from modsnr.sweeps.study import Outcome
from modsnr.sweeps.trials import Summary, sweep

__all__ = [
    "Claim",
    "Outcome",
    "Range",
    "Space",
    "Spread",
    "Summary",
    "alone",
    "choices",
    "compare",
    "hardships",
    "histories",
    "importance",
    "load_space",
    "loss_rates",
    "lost",
    "outcomes",
    "over_seeds",
    "ranking",
    "repeats",
    "sweep",
    "table",
    "varied",
    "verdicts",
]
