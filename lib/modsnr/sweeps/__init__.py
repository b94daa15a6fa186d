"""Sweeps: one notebook run over a space of its parameters; every trial becomes a row of a table.

``load_space`` reads what is searched; ``sweep`` does it or goes on with it. The trials are those
of an Optuna study, in a journal file under ``runs/.sweeps`` or in PostgreSQL, which any number of
processes and machines may share. A trial whose sweep was killed is done again, every other one is
done once, however it ends. ``table``, ``ranking``, ``importance`` and ``lost`` describe any set of
runs; ``choices``, ``alone`` and ``repeats`` find runs that differ in one choice; ``verdicts`` and
``compare`` judge claims by runs with several seeds.
"""

from modsnr.sweeps.analysis import importance, lost, ranking, table, varied
from modsnr.sweeps.claims import Spread, compare, students_interval, verdicts
from modsnr.sweeps.factors import alone, choices, repeats
from modsnr.sweeps.space import Range, Space, load_space
from modsnr.sweeps.study import Outcome
from modsnr.sweeps.trials import Summary, sweep
