"""A sweep does each of its trials once, whatever becomes of its processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from notebook_runs import wait_for, write_notebook

from modsnr import InputError, runs, sweeps, workers
from modsnr.sweeps import study as studies

PARAMETERS = """\
from typing import Annotated, Literal
from modsnr.runs import FrameStore
name: str = "run"
note: str = ""
x: float = 0.0
k: int = 1
views: list[str] = ["constellation"]
epochs: int = 9
seconds: float = 0.0  # an epoch
ending: Literal["well", "error", "death", "mute", "nan"] = "well"
"""
# A parabola that is learned: an epoch comes closer to it.
WORK = """\
import os, time
import pandas as pd
from modsnr import runs
run = runs.start("02_training", globals())
rows = []
for epoch in range(1, epochs + 1):
    time.sleep(seconds)
    rows.append({"epoch": epoch, "validation_joint_accuracy": (1 - x * x) * epoch / epochs})
    run.save_history(pd.DataFrame(rows))
if ending == "error":
    raise ValueError("too much noise")
if ending == "death":
    os.kill(os.getpid(), 9)
if ending != "mute":
    last = float("nan") if ending == "nan" else rows[-1]["validation_joint_accuracy"]
    run.save_metrics({"validation": {"joint_accuracy": last}})
run.finish()
"""
SPACE = {"space": {"x": [0.0, 0.25, 0.5, 0.75]}, "sampler": "grid", "seed": 3}
COMMAND = [sys.executable, "-c", "from modsnr.cli import main; main()", "sweep"]


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A repository whose training is a stand-in of no second."""
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))
    write_notebook(tmp_path, "02_training", PARAMETERS, WORK)
    (tmp_path / "notebooks" / "sweeps").mkdir()
    return tmp_path


def space(house, told=SPACE, name="toy", **changes):
    """Write a space file, JSON being YAML, and return what is read of it."""
    path = house / "notebooks" / "sweeps" / f"{name}.yaml"
    path.write_text(json.dumps(told | changes))
    return sweeps.load_space(name)


def start(*words):
    return subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def values(name="x", status="completed"):
    """Return what the runs of that status were told, in order."""
    # A folder that is just being made has no parameters yet.
    known = (r for r in runs.records() if r.status == status and name in r.parameters)
    return sorted(r.parameters[name] for r in known)


@pytest.mark.long
def test_a_sweep_killed_amid_a_trial_goes_on_and_does_each_trial_once(house):
    space(house, fixed={"seconds": 0.1})
    killed = start("toy")
    wait_for(lambda: len(values()) == 1 and len(values(status="running")) == 1)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    for process in [start("toy", "--workers", "2"), start("toy")]:
        finish(process)
    assert values() == [0.0, 0.25, 0.5, 0.75]
    assert len(values(status="crashed")) == 1
    said = finish(start("toy"))  # there is nothing left to do
    assert len(runs.records()) == 5
    assert said.splitlines()[:2] == ["4 completed", "1 begun again after a kill, 0 under way"]
    assert said.splitlines()[-1].startswith("best: ")
    assert said.splitlines()[-1].endswith("(x 0.0)")


@pytest.mark.long
@pytest.mark.parametrize(("workers", "status"), [("1", "interrupted"), ("2", "crashed")])
def test_an_interrupted_sweep_ends_its_trial_and_does_it_again(house, workers, status):
    space(house, fixed={"seconds": 1.0}, trials=1)
    process = start("toy", "--workers", workers)
    wait_for(lambda: any((r.folder / "history.csv").exists() for r in runs.records()))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130
    assert any(line.startswith("interrupted") for line in err.splitlines())
    wait_for(lambda: [r.status for r in runs.records()] == [status])
    assert "1 completed" in finish(start("toy"))
    assert Counter(r.status for r in runs.records()) == {status: 1, "completed": 1}
    assert len({r.parameters["x"] for r in runs.records()}) == 1


@pytest.mark.long
def test_trials_that_end_badly_are_counted_and_without_a_better_one_the_exit_code_is_1(house):
    space(house, space={"ending": ["error", "death", "mute", "nan"]})
    process = start("toy", "--workers", "2")
    said, _ = process.communicate(timeout=300)
    assert said.splitlines()[-1] == "3 failed, 1 crashed"
    assert process.returncode == 1


class Killed(BaseException):
    """As good as a kill: locks are dropped and nothing is told."""


def test_a_trial_becomes_a_row_with_its_history_and_only_the_best_keeps_its_folder(house):
    summary = sweeps.sweep(space(house, trials=2))
    (folder,) = (house / "runs").glob("*-02_training-*")
    assert folder.name == summary.best.run
    rows = {run.id: run for run in runs.rows_of("toy")}
    assert len(rows) == 2
    for run in rows.values():
        assert run.status == "completed"
        expected = 1 - run.parameters["x"] ** 2
        assert run.metrics == {"validation": {"joint_accuracy": expected}}
        assert run.history.validation_joint_accuracy.iloc[-1] == pytest.approx(expected)
        assert runs.find(run.id).parameters == run.parameters


def test_without_the_frames_that_all_trials_need_no_trial_is_spent(house):
    frames = 'frames: Annotated[str, FrameStore("01_preprocessing")] = "frames"\n'
    write_notebook(house, "02_training", PARAMETERS + frames, WORK)
    write_notebook(house, "01_preprocessing", PARAMETERS + frames)
    toy = space(house, fixed={"frames": "large"})
    with pytest.raises(
        InputError, match=r"data/large/frames\.h5.*run 01_preprocessing -p frames large"
    ):
        sweeps.sweep(toy)
    assert not list((house / "runs").glob("*-toy-*"))


@pytest.mark.long
def test_a_sweep_begun_anew_is_not_mixed_up_with_one_of_that_name_from_elsewhere(house):
    assert sweeps.sweep(space(house), trials=1).counts == {"completed": 1}
    shutil.rmtree(house / "runs" / ".sweeps")  # as in a clone, which has the rows alone
    with pytest.raises(InputError, match=r"holds 1 runs of a sweep called toy.*--name toy-again"):
        sweeps.sweep(space(house), trials=2)
    again = sweeps.load_space("toy", "toy-again")
    assert sweeps.sweep(again, trials=1).counts == {"completed": 1}
    assert sweeps.sweep(again, trials=2).counts == {"completed": 2}  # it goes on under its name
    assert len(sweeps.table("toy-again")) == 2


@contextmanager
def sweep_that_dies(toy):
    """Yield the parameters of a trial that a sweep began; then the sweep is gone."""
    study = studies.open_study(toy, None)
    studies.revive(study, toy)
    with suppress(Killed):
        trial = study.ask()
        with studies.working() as worker:
            trial.set_user_attr("worker", worker)
            yield studies.suggest(study, toy, trial, 0)
            raise Killed


@pytest.mark.long
def test_a_trial_whose_run_ended_before_its_sweep_could_say_so_is_not_done_again(house):
    toy = space(house, trials=1)
    with sweep_that_dies(toy) as values:
        sweep = {"name": "toy", "trial": 0}
        runs.execute("02_training", parameters=values, name="toy-0000", sweep=sweep)
    summary = sweeps.sweep(toy)
    assert summary.counts == {"completed": 1}
    assert summary.repeated == 0
    assert len(runs.records()) == 1


def test_a_trial_under_which_every_sweep_dies_is_given_up(house):
    toy = space(house, trials=1)
    for _ in range(studies.ATTEMPTS):
        with sweep_that_dies(toy) as values:
            assert values == {"x": toy.point(0)["x"]}
    summary = sweeps.sweep(toy)
    assert summary.counts == {"crashed": 1}
    assert not runs.records()


def asked(toy, count):
    """Return the parameters of the next trials."""
    study = studies.open_study(toy, None)
    points = []
    for _ in range(count):
        trial = study.ask()
        points.append(studies.suggest(study, toy, trial, trial.number))
        study.tell(trial, 1 - points[-1]["x"] ** 2)
    return points


SEARCH = {
    "space": {
        "x": {"low": -1.0, "high": 1.0},
        "k": {"low": 1, "high": 64, "log": True},
        "views": [["constellation"], ["constellation", "residual"]],
    }
}


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_seed_gives_the_same_trials_and_a_pause_does_not_change_them(house, sampler):
    def points(name, seed, *pieces):
        toy = space(house, SEARCH, name, sampler=sampler, seed=seed)
        return [point for piece in pieces for point in asked(toy, piece)]

    whole = points("whole", 5, 14)
    assert points("pieces", 5, 3, 9, 2) == whole
    assert points("other", 6, 14) != whole
    assert len({point["x"] for point in whole}) == 14
    assert {type(point["k"]) for point in whole} == {int}
    assert {tuple(point["views"]) for point in whole} == {
        ("constellation",),
        ("constellation", "residual"),
    }


def test_a_grid_visits_every_point_in_the_order_of_its_seed(house):
    told = {"space": {"x": [0.0, 0.1, 0.2, 0.3], "k": [1, 2, 3]}, "sampler": "grid"}
    toy, other = space(house, told), space(house, told, seed=1)
    points, others = ([tuple(one.point(i).values()) for i in range(12)] for one in (toy, other))
    assert sorted(points) == [(x / 10, k) for x in range(4) for k in (1, 2, 3)]
    assert sorted(points) != points != others


@pytest.mark.long
def test_hyperband_ends_bad_trials_early_and_the_best_one_never(house):
    xs = [0.0, 0.9, 0.9, 0.95, 0.95, 0.99, 0.99, 0.97]
    told = {"space": {"x": {"low": 0.0, "high": 1.0}}, "pruner": "hyperband", "trials": 8}
    toy = space(house, told, fixed={"seconds": 0.25, "epochs": 9})
    study = studies.open_study(toy, None)
    for x in xs:
        study.enqueue_trial({"x": x})
    with workers.connect("local", workers=2) as client:
        summary = sweeps.sweep(toy, client=client)
    assert summary.counts["pruned"] >= 1
    assert sum(summary.counts.values()) == 8
    pruned = [record for record in runs.records() if record.status == "pruned"]
    assert len(pruned) == summary.counts["pruned"]
    for record in pruned:
        assert record.parameters["x"] > 0
        assert len(record.history) < 9
        assert "Hyperband after epoch" in record.error


@pytest.mark.long
def test_hyperband_names_the_column_that_a_history_lacks(house):
    write_notebook(house, "02_training", PARAMETERS, WORK.replace("validation_joint", "other"))
    told = {"space": {"x": {"low": 0.0, "high": 1.0}}, "pruner": "hyperband", "trials": 1}
    with pytest.raises(InputError, match=r"needs validation_joint_accuracy .* has epoch"):
        sweeps.sweep(space(house, told, fixed={"seconds": 0.25}))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"samplr": "grid"}, "samplr: Extra inputs are not permitted"),
        ({"sampler": "grit"}, "sampler: Input should be 'grid', 'random' or 'tpe'"),
        ({"notebook": "02_trainin"}, "did you mean '02_training'"),
        ({"profile": "quick"}, "no profile is called 'quick'"),
        ({"space": {"epoch": [1]}}, "no parameter of 02_training is called 'epoch'; did you"),
        ({"fixed": {"epoch": 1}}, "no parameter of 02_training is called 'epoch'; did you"),
        ({"space": {"k": [1, 2.5]}}, "parameter k of 02_training: given 2.5"),
        (
            {"sampler": "tpe", "space": {"k": {"low": 1.5, "high": 2}}},
            "k of 02_training: given 1.5",
        ),
        ({"space": {"x": {"low": 1, "high": 1}}}, "low 1 is not below high 1"),
        ({"space": {"x": {"low": 0, "high": 1, "log": True}}}, "log needs low above 0"),
        ({"space": {"x": {"low": 0, "high": 1, "stp": 1}}}, "Extra inputs are not permitted"),
        ({"space": {"x": {"low": 0, "high": 1}}}, "a grid needs a list of choices for x"),
        ({"space": {"x": []}}, "x has no choices"),
        ({"space": {"x": [0.1, 0.1]}}, "x: 0.1 is listed twice"),
        ({"space": {}}, "space: Dictionary should have at least 1 item"),
        ({"fixed": {"x": 0.5}}, "x: both fixed and searched"),
        ({"fixed": {"name": "mine"}}, "name: a sweep names the runs of its trials itself"),
        ({"trials": 0}, "trials: Input should be greater than 0"),
        ({"space": {"epochs": [1, 2]}, "pruner": "hyperband"}, "a fixed number of epochs"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_in_one_sentence(house, changes, complaint):
    with pytest.raises(InputError, match=r"^sweep toy: ") as error:
        space(house, **changes)
    assert complaint in str(error.value)


def test_an_unknown_sweep_is_refused_with_the_nearest(house):
    space(house)
    with pytest.raises(InputError, match=r"no sweep is called 'tyo'; did you mean 'toy'"):
        sweeps.load_space("tyo")


def test_a_sweep_does_not_go_on_with_another_space_and_does_with_more_trials(house):
    told = {"space": {"x": {"low": 0, "high": 1}}}
    assert asked(space(house, told, trials=1), 1)
    assert asked(space(house, told, trials=2), 1)
    with pytest.raises(InputError, match="was begun with another space, seed"):
        sweeps.sweep(space(house, SEARCH, seed=1), trials=3)
    with pytest.raises(InputError, match="needs --trials"):
        sweeps.sweep(space(house, told))


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("postgresql://me:secret@host/db", "PGPASSFILE"),
        ("postgresql://me@host/db?password=secret", "PGPASSFILE"),
        ("sqlite:///sweep.db", "takes postgresql://, not sqlite://"),
        ("nonsense", "no address such as"),
        ("postgresql://me@127.0.0.1:1/db", "cannot be reached: .*refused"),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused_without_repeating_a_secret(house, url, complaint):
    with pytest.raises(InputError, match=complaint) as error:
        sweeps.sweep(space(house), storage=url)
    assert "secret" not in str(error.value)


def test_half_a_line_that_a_kill_left_in_the_journal_is_cut_off(house):
    toy = space(house)
    asked(toy, 1)
    journal = house / "runs" / ".sweeps" / "toy.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "wor')
    assert len(asked(toy, 1)) == 1
    assert journal.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in journal.read_text().splitlines())


@pytest.fixture
def postgresql():
    """The address of a server of the distribution's, which trusts who reaches its socket."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no initdb under /usr/lib/postgresql/*/bin: apt-get install postgresql")
    pytest.importorskip("psycopg2")
    # It refuses to run as root, and whom it runs as may not enter pytest's folders: each session
    # of pytest that begins, also beside this one, closes them to others.
    unprivileged = {"user": "nobody", "group": "nogroup"} if os.getuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="modsnr-") as name:
        folder = Path(name)
        if unprivileged:
            shutil.chown(folder, "nobody", "nogroup")
        words = {"cwd": folder, "check": True, "stdout": subprocess.DEVNULL, **unprivileged}
        initdb = [found[-1], "-D", folder / "data", "-A", "trust", "-U", "sweeper", "-N"]
        subprocess.run(initdb, **words)
        control = [found[-1].with_name("pg_ctl"), "-D", folder / "data", "-w"]
        options = f"-k {folder} -c listen_addresses="
        subprocess.run([*control, "-o", options, "-l", folder / "log", "start"], **words)
        yield f"postgresql://sweeper@/postgres?host={folder}"
        subprocess.run([*control, "-m", "immediate", "stop"], **words)


@pytest.mark.long
def test_two_processes_share_the_trials_of_one_postgresql_and_a_killed_one_is_made_up_for(
    house, postgresql
):
    space(house, fixed={"seconds": 0.1})
    both = [start("toy", "--storage", postgresql) for _ in range(2)]
    wait_for(lambda: len(values(status="running")) == 2)
    both[0].send_signal(signal.SIGKILL)
    both[0].communicate()
    finish(both[1])
    finish(start("toy", "--storage", postgresql))
    assert values() == [0.0, 0.25, 0.5, 0.75]
    assert len(values(status="crashed")) == 1
    assert not list((house / "runs" / ".sweeps").glob("*.journal"))
