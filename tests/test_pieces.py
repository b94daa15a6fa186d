"""Runs without Jupyter, and pipelines in pieces: nothing is lost at the cut, nothing done twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from modsnr import InputError, cli, runs
from modsnr.runs.pipeline import _enough
from modsnr.workers import ONE_THREAD

ROOT = Path(__file__).parents[1]
ABSENT = """
from importlib.machinery import PathFinder

ABSENT = {
    *("papermill", "nbformat", "nbclient", "IPython", "ipykernel", "jupyter_client", "ipywidgets"),
    *("captum", "optuna", "distributed", "dask", "jsonschema", "typst", "pypandoc", "sigmf"),
}
found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: (
    None if name.partition(".")[0] in ABSENT else found(name, *rest)
)
"""
MAKING = """\
import os, time
from modsnr import runs
run = runs.start("01_making", globals())
print("made from", seed)
if ending == "sleep":
    time.sleep(60)
if ending == "error":
    raise ValueError("too much | noise")
if ending == "death":
    os.kill(os.getpid(), 9)
if ending == "exit":
    os._exit(3)
run.save_metrics({"seed": seed})
if ending == "after":
    run.finish()
    raise ValueError("after the end")
if ending != "mute":
    run.finish("diverged" if ending == "diverged" else "completed")
seed
"""
TRAINING = """\
from modsnr import runs
run = runs.start("02_training", globals())
run.set_data("frames", "ab12")
earlier = run.resumes(resume)
done = int((earlier / "checkpoint.safetensors").read_text()) if earlier else 0
class OutOfTime(RuntimeError):
    run_status = "interrupted"
left = min(epochs - done, 10) if minutes else epochs - done
(run.folder / "checkpoint.safetensors").write_text(str(done + left))
run.save_metrics({"epochs": done + left, "minutes": minutes})
if done + left < epochs:
    raise OutOfTime(f"{done + left} of {epochs} epochs are done")
run.finish()
"""
EVALUATION = """\
import time
from modsnr import runs
run = runs.start("03_evaluation", globals())
time.sleep(seconds)
run.finish()
"""
NOTEBOOKS = {
    "01_making": ('seed: int = 1\nending: str = "well"', MAKING),
    "02_training": ('epochs: int = 3\nresume: str = ""\nminutes: float = 0.0', TRAINING),
    "03_evaluation": ("seconds: float = 0.0", EVALUATION),
}


def write_notebook(root, name, parameters, source):
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Words"]},
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": parameters},
        {"cell_type": "code", "metadata": {}, "source": source.splitlines(keepends=True)},
    ]
    text = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    (root / "notebooks" / f"{name}.ipynb").write_text(text)


def write_profile(root, *steps):
    text = json.dumps({"description": "d", "pipeline": list(steps)})
    (root / "notebooks" / "profiles" / "pieces.yaml").write_text(text)


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A repository of three notebooks that stand for making, training and evaluating."""
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))
    monkeypatch.setattr("modsnr.runs.under_way._current", None)
    (tmp_path / "notebooks" / "profiles").mkdir(parents=True)
    for name, (parameters, source) in NOTEBOOKS.items():
        head = 'name: str = "run"\nnote: str = ""\n'
        write_notebook(tmp_path, name, head + parameters, source)
    write_profile(
        tmp_path,
        {"notebook": "01_making", "name": "frames"},
        {"notebook": "02_training", "name": "model", "parameters": {"epochs": 30}},
        {"notebook": "03_evaluation", "name": "evaluation"},
    )
    return tmp_path


def made():
    """What there is of runs, oldest first."""
    return [(run.name, run.status) for run in reversed(runs.records())]


# --- Plain runs ---------------------------------------------------------------------------------


def test_a_notebook_runs_plainly_to_its_end_with_its_parameters(house):
    heard = []
    record = runs.execute("01_making", parameters={"seed": 5}, plain=True, echo=heard.append)
    assert (record.status, record.error) == ("completed", None)
    assert record.metrics["seed"] == 5
    assert record.parameters["ending"] == "well"
    assert heard == ["made from 5\n"]
    assert (record.folder / "output.txt").read_text() == "made from 5\n"
    assert not (record.folder / ".lock").exists()
    assert record.id in (house / "runs" / "RUNLOG.md").read_text()


@pytest.mark.parametrize(
    ("ending", "status", "error"),
    [
        ("error", "failed", "ValueError: too much | noise"),
        ("after", "failed", "ValueError: after the end"),
        ("mute", "failed", "the notebook ended without run.finish()"),
        ("diverged", "diverged", None),
        ("death", "crashed", "the process died of SIGKILL in cell [2]"),
        ("exit", "crashed", "the process ended with exit code 3 in cell [2]"),
    ],
)
def test_a_plain_run_that_ends_badly_leaves_its_status(house, ending, status, error):
    record = runs.execute("01_making", parameters={"ending": ending}, plain=True)
    assert (record.status, record.error) == (status, error)
    if ending == "error":
        printed = (record.folder / "output.txt").read_text()
        assert 'File "01_making.ipynb [2]", line 8' in printed
        assert 'raise ValueError("too much | noise")' in printed


def test_a_cell_that_is_no_python_is_told_with_its_place(house):
    write_notebook(house, "01_making", "seed: int = 1", "1 +")
    record = runs.execute("01_making", plain=True)
    assert record.status == "failed"
    assert record.error.startswith("SyntaxError: invalid syntax (01_making.ipynb [2], line 1)")


def test_a_misspelt_parameter_of_a_plain_run_is_refused_before_anything_starts(house):
    with pytest.raises(InputError, match="called 'sed'; did you mean 'seed'"):
        runs.execute("01_making", parameters={"sed": 1}, plain=True)
    assert not (house / "runs").exists()


def command(house, *words):
    """Start a command line in the repository."""
    return subprocess.Popen(
        [sys.executable, "-m", "modsnr", *words],
        env=os.environ | {"MODSNR_ROOT": str(house)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)
    return found


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, "interrupted"), (signal.SIGKILL, "crashed")]
)
def test_a_plain_run_ends_with_its_command(house, number, status):
    process = command(house, "run", "01_making", "--plain", "-p", "ending", "sleep")
    outputs = wait_for(
        lambda: [p for p in (house / "runs").glob("*/output.txt") if "made" in p.read_text()]
    )
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == (130 if status == "interrupted" else -9)
    wait_for(lambda: runs.Record.load(outputs[0].parent).status == status)


def test_a_run_is_interrupted_when_its_seconds_are_over(house):
    record = runs.execute("01_making", parameters={"ending": "sleep"}, plain=True, seconds=3.0)
    assert (record.status, record.error) == ("interrupted", "its time was over")
    assert 2 < record.wall_seconds < 50


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """What the smoke pipeline left, less evaluation, where only PyTorch's usual stack is."""
    root = tmp_path_factory.mktemp("bare")
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    profile = root / "notebooks" / "profiles" / "smoke.yaml"
    text = profile.read_text().replace("epochs: 2", "epochs: 1").replace("bins: 32", "bins: 16")
    text = text.replace("frames_per_cell: 40", "frames_per_cell: 10")
    head, _, steps = text.partition("pipeline:\n")
    profile.write_text(f"{head}pipeline:\n" + "\n".join(steps.splitlines()[:2]))
    (root / "sitecustomize.py").write_text(ABSENT)
    paths = os.pathsep.join([str(root), str(ROOT / "lib")])
    environment = os.environ | ONE_THREAD | {"MODSNR_ROOT": str(root), "PYTHONPATH": paths}

    def modsnr(*words):
        return subprocess.run(
            [sys.executable, "-m", "modsnr", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return root, modsnr


def test_without_papermill_a_run_is_refused_and_told_of_plain(bare):
    root, modsnr = bare
    done = modsnr("run", "02_training")
    assert done.returncode == 2
    assert "papermill, which is not here (No module named 'papermill')" in done.stderr
    assert "--plain" in done.stderr
    assert not (root / "runs").exists()


def test_frames_and_training_need_only_pytorchs_usual_stack(bare, monkeypatch):
    root, modsnr = bare
    done = modsnr("reproduce", "--profile", "smoke", "--plain")
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.setenv("MODSNR_ROOT", str(root))
    frames, model = runs.find("frames"), runs.find("constellation")
    assert model.parents == [frames.id]
    assert model.data == frames.data
    assert model.weights.exists()
    assert {"modulation", "predicted_snr_db"} <= set(model.predictions())
    assert len(model.history) == 1
    assert model.figure("learning_curve", "pdf").read_bytes().startswith(b"%PDF")
    assert len(frames.table("cells")) == 16
    assert (frames.folder / "data_card.md").exists()
    assert not list((root / "runs").rglob("notebook.ipynb"))


# --- Pieces -------------------------------------------------------------------------------------


def reproduce(**options):
    return runs.reproduce("pieces", plain=True, **options)


def test_a_pipeline_cut_in_a_training_goes_on_from_its_checkpoint(house):
    for _ in range(2):
        with pytest.raises(runs.OutOfTimeError, match=r"in step 2 of 3: 02_training \(model\)"):
            reproduce(minutes=5)
    reproduce(minutes=5)
    assert made() == [
        ("frames", "completed"),
        ("model", "interrupted"),
        ("model", "interrupted"),
        ("model", "completed"),
        ("evaluation", "completed"),
    ]
    trained = [run for run in runs.records() if run.name == "model"][::-1]
    assert [run.metrics["epochs"] for run in trained] == [10, 20, 30]
    assert [run.parents for run in trained] == [[], [trained[0].id], [trained[1].id]]
    assert all(0 < run.metrics["minutes"] <= 4.5 for run in trained)
    assert trained[0].error == "OutOfTime: 10 of 30 epochs are done"


def test_a_killed_training_goes_on_too_and_without_a_limit_is_told_none(house):
    with pytest.raises(runs.OutOfTimeError):
        reproduce(minutes=5)
    (cut,) = [run for run in runs.records() if run.name == "model"]
    told = json.loads((cut.folder / "run.json").read_text()) | {"status": "running"}
    (cut.folder / "run.json").write_text(json.dumps(told))  # its process is gone: crashed
    _, model, _ = reproduce(resume=True)
    assert model.parents == [cut.id]
    assert model.metrics == {"epochs": 30, "minutes": 0.0}


def test_what_is_done_is_kept_and_a_second_call_does_nothing(house):
    write_profile(house, {"notebook": "01_making"}, {"notebook": "03_evaluation"})
    first = reproduce(resume=True)
    heard = []
    assert reproduce(minutes=5, echo=heard.append) == first
    assert len(runs.records()) == 2
    assert "step 1 of 2: 01_making (run) kept" in heard[0]
    assert not {run.id for run in reproduce()} & {run.id for run in first}


def test_other_parameters_make_their_step_and_all_after_it_anew(house):
    first = reproduce(resume=True)
    write_profile(
        house,
        {"notebook": "01_making", "name": "frames"},
        {"notebook": "02_training", "name": "model", "parameters": {"epochs": 31}},
        {"notebook": "03_evaluation", "name": "evaluation"},
    )
    frames, model, evaluation = reproduce(resume=True)
    assert frames == first[0]
    assert model.metrics["epochs"] == 31
    assert evaluation.started > model.started


@pytest.fixture
def git(house):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", house, *identity, *words], check=True, capture_output=True)

    return git


def test_other_code_makes_all_anew_and_other_words_do_not(house, git):
    (house / ".gitignore").write_text("runs")
    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    write_profile(house, {"notebook": "01_making", "name": "frames"})
    git("commit", "-a", "-m", "one step")
    (first,) = reproduce(resume=True)
    (house / "README.md").write_text("words")
    git("add", ".")
    git("commit", "-m", "words")
    assert reproduce(resume=True) == [first]
    head = 'name: str = "run"\nnote: str = ""  # words\n'
    write_notebook(house, "01_making", head + NOTEBOOKS["01_making"][0], MAKING)
    git("commit", "-a", "-m", "code")
    assert reproduce(resume=True) != [first]


def test_a_step_that_cannot_be_cut_is_interrupted_and_never_begun_in_as_little_time(house):
    write_profile(house, {"notebook": "03_evaluation", "parameters": {"seconds": 60.0}})
    with pytest.raises(runs.OutOfTimeError, match="in step 1 of 1: 03_evaluation"):
        reproduce(minutes=0.05)
    assert made() == [("run", "interrupted")]
    (cut,) = runs.records()
    with pytest.raises(runs.NotCompletedError, match="cannot be cut and was not done after"):
        reproduce(minutes=cut.wall_seconds / 60)
    assert made() == [("run", "interrupted")]


@pytest.mark.parametrize(
    ("left", "complaint"),
    [(60.0, None), (50.0, "50 s are left, too little for it"), (9.0, "over before it")],
)
def test_a_step_is_begun_only_in_more_time_than_it_had_when_it_was_cut(house, left, complaint):
    step = runs.Step(notebook="03_evaluation")
    run = runs.start("03_evaluation", {}).finish("interrupted")
    cut = run.model_copy(update={"wall_seconds": 45.0})
    if complaint is None:
        _enough(left, 100.0, "it", step, [cut])
    else:
        with pytest.raises(runs.OutOfTimeError, match=complaint):
            _enough(left, 100.0, "it", step, [cut])


def test_a_pipeline_that_runs_elsewhere_is_refused(house):
    run = runs.start("01_making", {"name": "frames"})
    told = json.loads((run.folder / "run.json").read_text()) | {"profile": "pieces"}
    (run.folder / "run.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match=f"run {run.id} of this pipeline is running"):
        reproduce(resume=True)


def test_a_failed_step_ends_the_piece_and_names_what_it_printed(house):
    write_profile(
        house,
        {"notebook": "01_making", "name": "frames", "parameters": {"ending": "error"}},
        {"notebook": "03_evaluation", "name": "evaluation"},
    )
    with pytest.raises(runs.NotCompletedError, match=r"too much . noise; see runs/.*/output\.txt"):
        reproduce(minutes=5)
    assert made() == [("frames", "failed")]


def test_the_command_tells_by_exit_code_75_that_it_goes_on(house):
    write_profile(house, {"notebook": "03_evaluation", "parameters": {"seconds": 60.0}})
    words = ["reproduce", "--profile", "pieces", "--plain", "--minutes", "0.05"]
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == 75
    assert "the time is over in step 1 of 1: 03_evaluation (run); the same command" in result.output


@pytest.mark.parametrize("minutes", [-1.0, float("nan"), float("inf")])
def test_minutes_that_are_no_time_are_refused(house, minutes):
    with pytest.raises(InputError, match="minutes must be 0"):
        reproduce(minutes=minutes)


# --- Carried home -------------------------------------------------------------------------------


@pytest.fixture
def three(house):
    """Three runs that ended, with a checkpoint, light weights and heavy weights."""
    ended = []
    for name, weight in (("a", 0), ("b", 1), ("c", 13)):
        run = runs.start("01_making", {"name": name})
        (run.folder / "checkpoint.safetensors").write_bytes(bytes(100))
        if weight:
            (run.folder / "weights.safetensors").write_bytes(bytes(weight * 2**20))
        run.save_metrics({"joint_accuracy": 0.5})
        ended.append(run.finish())
    return ended


def names_in(path):
    with tarfile.open(path) as tar:
        return set(tar.getnames())


def test_a_pack_holds_all_but_checkpoints_and_heavy_weights(three, tmp_path):
    packed = runs.pack(tmp_path / "home.tar")
    names = names_in(tmp_path / "home.tar")
    a, b, c = (run.id for run in three)
    light = {f"{id}/{name}" for id in (a, b, c) for name in ("run.json", "metrics.json")}
    assert names == light | {f"{b}/weights.safetensors"}
    assert packed.left_out == {f"{c}/weights.safetensors": "over 12 MB"}
    with tarfile.open(tmp_path / "home.tar") as tar:
        tar.extractall(tmp_path / "elsewhere", filter="data")
        assert {(m.uid, m.uname) for m in tar} == {(0, "")}
    taken = runs.Record.load(tmp_path / "elsewhere" / b)
    assert taken.metrics == three[1].metrics
    assert taken.model_copy(update={"folder": three[1].folder}) == three[1]


def test_a_pack_begins_where_it_is_told_to_and_leaves_out_what_runs(three, tmp_path):
    running = runs.start("01_making", {"name": "d"})
    packed = runs.pack(tmp_path / "home.tar", since="b")
    assert [run.name for run in packed.runs] == ["c", "b"]
    assert packed.left_out[running.id] == "it is running"
    assert {name.split("/")[0] for name in names_in(tmp_path / "home.tar")} == {
        three[1].id,
        three[2].id,
    }


def test_where_room_is_short_weights_stay_behind_and_then_nothing_is_written(three, tmp_path):
    packed = runs.pack(tmp_path / "home.tar", megabytes=0.5)
    assert packed.left_out[f"{three[1].id}/weights.safetensors"] == "no room"
    assert (tmp_path / "home.tar").stat().st_size < 0.5 * 2**20
    (three[0].folder / "predictions.npz").write_bytes(bytes(2**20))
    with pytest.raises(InputError, match=r"not 0\.5; the largest files are \S+-a/predictions\.npz"):
        runs.pack(tmp_path / "other.tar", megabytes=0.5)
    assert not (tmp_path / "other.tar").exists()


def test_runs_that_are_committed_stay_behind_unless_they_are_asked_for(three, git, tmp_path):
    git("init")
    git("add", "notebooks")
    git("commit", "-m", "no runs")
    assert len(runs.pack(tmp_path / "home.tar").runs) == 3
    git("add", f"runs/{three[0].id}", f"runs/{three[2].id}")
    git("commit", "-m", "two runs")
    git("add", f"runs/{three[1].id}")  # and not committed
    assert runs.pack(tmp_path / "home.tar").runs == [three[1]]
    assert len(runs.pack(tmp_path / "home.tar", since="a").runs) == 3
    git("commit", "-m", "all runs")
    with pytest.raises(InputError, match="no run to pack: all 3 are committed, and --since RUN"):
        runs.pack(tmp_path / "home.tar")


def test_a_pipeline_packs_after_each_step_however_it_ended(house, tmp_path):
    def piece(file):
        words = ["reproduce", "--profile", "pieces", "--plain", "--minutes", "5", "--pack", file]
        return CliRunner().invoke(cli.main, list(map(str, words)))

    result = piece(tmp_path / "home.tar")
    assert result.exit_code == 75
    assert "1 run, " in result.output
    assert "2 runs, " in result.output
    folders = {name.split("/")[0] for name in names_in(tmp_path / "home.tar")}
    assert folders == {run.id for run in runs.records()}
    (runs.records()[0].folder / "huge.bin").write_bytes(bytes(16 * 2**20))
    result = piece(tmp_path / "other.tar")  # goes on all the same
    assert result.exit_code == 75
    assert "not packed: the runs take 16" in result.output


def test_packing_is_told_in_lines(three, tmp_path):
    words = ["runs", "pack", str(tmp_path / "home.tar"), "--since", three[0].id]
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == 0, result.output
    first, last = result.output.splitlines()
    assert first == f"without {three[2].id}/weights.safetensors: over 12 MB"
    assert last.startswith("3 runs, 1.0 MB: ")


def test_without_runs_there_is_nothing_to_pack(house, tmp_path):
    with pytest.raises(InputError, match="there is no run to pack"):
        runs.pack(tmp_path / "home.tar")
