"""A run leaves a folder that tells the truth, whatever becomes of its process."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from notebook_runs import wait_for, write_notebook, write_record

from modsnr import InputError, runs
from modsnr.runs import sweep_tables

PARAMETERS = """\
from typing import Literal
name: str = "run"  # what the run is called
note: str = ""
epochs: int = 2  # passes over the training frames
rate: float = 1e-3  # step of the optimiser
pretrained: bool = False
snr_head: Literal["regression", "classification"] = "regression"
views: list[str] = ["constellation"]
resume: str | None = None
seed: int = 7
split_seed = 11
ending: Literal["well", "error", "mute", "death", "sleep", "diverged"] = "well"
"""
START = 'import os, sys, time\nfrom modsnr import runs\nrun = runs.start("01_work", globals())'
WORK = """\
print("at work", flush=True)
spins = os.environ.get("GOMP_SPINCOUNT")
run.save_metrics({"joint_accuracy": 0.5, "executable": sys.executable, "spins": spins})
if ending == "error":
    raise ValueError("too much | noise")
if ending == "death":
    os.kill(os.getpid(), 9)
if ending == "sleep":
    time.sleep(60)
"""
FINISH = 'if ending != "mute":\n    run.finish("diverged" if ending == "diverged" else "completed")'
PROFILE = "description: small\nnotebooks: {01_work: {rate: 1e-2, epochs: 1}}"


def build(root):
    """Make a repository of one notebook and one profile in ``root``."""
    write_notebook(root, "01_work", PARAMETERS, START, WORK, FINISH)
    (root / "notebooks" / "profiles").mkdir()
    (root / "notebooks" / "profiles" / "small.yaml").write_text(PROFILE)
    return root


@pytest.fixture(autouse=True)
def as_in_a_fresh_kernel(monkeypatch):
    monkeypatch.setattr("modsnr.runs.run._current", None)


@pytest.fixture
def house(tmp_path, monkeypatch):
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))
    return build(tmp_path)


@pytest.fixture(scope="module")
def shared_house(tmp_path_factory):
    """A repository for the runs that need a kernel, with a strange python3 to be put first."""
    root = build(tmp_path_factory.mktemp("house"))
    strange = root / "jupyter" / "kernels" / "python3"
    strange.mkdir(parents=True)
    spec = {"argv": ["/bin/false"], "display_name": "strange", "language": "python"}
    (strange / "kernel.json").write_text(json.dumps(spec))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODSNR_ROOT", str(root))
        yield root


def execute(root, **parameters):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(root / "jupyter"))
        return runs.execute("01_work", parameters=parameters)


def command(root, *words, **options):
    """Start a command line in ``root``'s repository."""
    words = [sys.executable, "-m", *map(str, words)]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    environment = {**os.environ, "MODSNR_ROOT": str(root)}
    return subprocess.Popen(words, env=environment, cwd=root, **quiet, **options)


def begin(root, **scope):
    values = {name: p.default for name, p in runs.parameters("01_work").items()}
    return runs.start("01_work", values | scope)


def sole_record():
    (record,) = runs.records()
    return record


def test_a_cell_run_out_of_order_explains_a_missing_name(house, capsys):
    run = begin(house)
    for error, said in ((NameError("name 'a'"), True), (ValueError("b"), False)):
        run._after_cell(types.SimpleNamespace(error_before_exec=None, error_in_exec=error))
        assert ("run the cells in order, from the top" in capsys.readouterr().out) is said


# --- A run under way ----------------------------------------------------------------------------


def test_a_run_keeps_what_it_saves(house):
    run = begin(house, seed=9, note="why", name="try", rate=0.5)
    run.set_data("frames", "ab12")
    numbers = {"a": np.float32(0.25), "b": np.arange(3), "c": [float("nan"), np.float32("inf")]}
    run.save_metrics(numbers)
    run.save_metrics({"b": 1})
    run.save_history(pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.25]}))
    run.save_table("confusion", pd.DataFrame({"a": [1]}))
    run.save_predictions(label=np.arange(4), name=np.array(["x", "y"]))
    (run.folder / runs.CHECKPOINT).touch()
    record = run.finish()
    assert not (run.folder / runs.CHECKPOINT).exists()
    assert record == runs.Record.load(run.folder)
    assert re.fullmatch(r"\d{8}T\d{6}Z-01_work-try", record.id)
    assert (record.status, record.note, record.profile) == ("completed", "why", None)
    assert record.seeds == {"seed": 9, "split_seed": 11}
    assert record.data == {"name": "frames", "sha256": "ab12"}
    assert record.changed == ["rate", "seed"]
    assert record.command == "modsnr run 01_work --name try --note why -p rate 0.5 -p seed 9"
    assert record.versions["numpy"] == np.__version__
    assert record.hardware["cores"] == os.cpu_count()
    assert record.hardware["system"]
    assert record.metrics == {"a": 0.25, "b": 1, "c": [None, None]}
    assert record.history["loss"].tolist() == [0.5, 0.25]
    assert record.table("confusion")["a"].tolist() == [1]
    assert record.predictions()["label"].tolist() == [0, 1, 2, 3]
    (record.folder / "predictions.npz").unlink()
    with pytest.raises(InputError, match=r"has no predictions here.*`modsnr runs show 2"):
        record.predictions()
    with pytest.raises(InputError, match="has no weights here"):
        _ = record.weights
    assert "| a | 0.25 |" in record._repr_markdown_()


def test_the_record_names_no_folder_of_the_machine(house):
    run = begin(house, resume=str(house / "runs" / "a"), note=str(Path.home() / "b"))
    content = (run.folder / "run.json").read_text()
    assert str(house) not in content
    assert str(Path.home()) not in content
    assert sole_record().parameters["resume"] == "runs/a"


def test_a_figure_is_saved_to_the_same_bytes_and_returned(house):
    run = begin(house)
    figure, axes = plt.subplots(figsize=(2, 1))
    axes.plot([0, 1])
    with mpl.rc_context({"savefig.bbox": "tight"}):
        assert run.save_figure("line", figure) is figure
    first = (run.folder / "figures" / "line.pdf").read_bytes()
    run.save_figure("line", figure)
    assert (run.folder / "figures" / "line.pdf").read_bytes() == first
    assert plt.imread(run.record.figure("line")).shape == (200, 400, 4)
    plt.close(figure)
    with pytest.raises(InputError, match=r"no file of run .* figures/line\.png"):
        run.record.figure("lime", "png")


@pytest.mark.parametrize("watched", ["notebook.ipynb", None])
def test_progress_is_shown_unless_there_is_nothing_to_do(house, monkeypatch, capsys, watched):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    if watched:
        monkeypatch.setenv("JPY_SESSION_NAME", watched)
    run = begin(house)
    for total in (3, 0):
        with run.progress(total, "frames seen", "frames") as bar:
            bar.update(total)
        assert ("frames seen" in "".join(capsys.readouterr())) is (total > 0)


@pytest.mark.parametrize(
    ("save", "complaint"),
    [
        (lambda run: run.save_predictions(a=np.array([{}])), "predictions a hold objects"),
        (lambda run: run.save_table("../a", pd.DataFrame()), "a name has letters"),
        (lambda run: run.finish("running"), "no status of an ended run is called 'running'"),
        (lambda run: run.finish("complete"), "did you mean 'completed'"),
    ],
)
def test_what_cannot_be_kept_is_refused(house, save, complaint):
    run = begin(house)
    with pytest.raises(InputError, match=complaint):
        save(run)


def cell_that_raised(error):
    return types.SimpleNamespace(error_before_exec=None, error_in_exec=error)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("too\nmuch"), "failed", "ValueError: too\nmuch"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
    ],
)
def test_a_cell_that_raises_ends_the_run_until_it_finishes(house, error, status, message):
    run = begin(house)
    run._after_cell(cell_that_raised(None))
    assert sole_record().status == "running"
    run._after_cell(cell_that_raised(error))
    assert (sole_record().status, sole_record().error) == (status, message)
    run.finish()
    assert (sole_record().status, sole_record().error) == ("completed", None)
    run._after_cell(cell_that_raised(error))
    assert sole_record().status == "completed"


def test_starting_anew_in_one_kernel_ends_the_run_before_and_no_cell_touches_it(house):
    first = begin(house, os=os, function=wait_for, In=["x = 1"], Out={}, _private=1)
    second = begin(house, result=0.5)
    assert second.id == first.id + "-2" or second.id > first.id
    first._after_cell(cell_that_raised(ValueError()))
    ended = runs.Record.load(first.folder)
    assert ended.status == "interrupted"
    assert "started anew" in ended.error
    assert runs.Record.load(second.folder).status == "running"


def test_git_commit_and_dirty_code_are_recorded_whoever_owns_the_files(house, monkeypatch):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", house, *identity, *words], check=True, capture_output=True)

    git("init")
    git("add", "notebooks")
    git("commit", "-m", "all")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(subprocess.CalledProcessError):
        git("status")
    (house / "notes.txt").write_text("not code")
    recorded = begin(house).record.git
    assert (len(recorded["commit"]), recorded["dirty"]) == (40, False)
    (house / "lib").mkdir()
    (house / "lib" / "new.py").write_text("")
    assert begin(house).record.git["dirty"] is True


# --- Runs read back -----------------------------------------------------------------------------


def test_a_run_whose_process_is_gone_is_shown_as_crashed(house):
    script = f"from modsnr import runs; runs.start('01_work', dict(ending='well')); {'{}'}"
    lived = subprocess.run(
        [sys.executable, "-c", script.format("print(runs.records()[0].status)")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert lived.stdout == "running\n"
    assert sole_record().status == "crashed"
    assert "without a word" in sole_record().error


def test_half_written_folders_are_crashed_runs_and_never_break_the_list(house):
    whole = begin(house).finish()
    for name, content in [("a", None), ("b", ""), ("c", '{"id": 1}'), ("d", "[]")]:
        folder = house / "runs" / f"20200101T000000Z-02_training-{name}"
        folder.mkdir()
        if content is not None:
            (folder / "run.json").write_text(content)
    (house / "runs" / "other").mkdir()
    first, *rest = runs.write_runlog().runs
    assert first == whole
    assert [(r.name, r.notebook, r.status) for r in rest] == [
        (name, "02_training", "crashed") for name in "dcba"
    ]
    with pytest.raises(InputError, match="other is not the folder of a run"):
        runs.Record.load(house / "runs" / "other")


def test_a_run_is_found_by_id_or_as_the_latest_completed_of_its_name(house):
    old, new = write_record(house, "resnet"), write_record(house, "resnet")
    bad = write_record(house, "resnet", status="diverged")
    assert runs.find("resnet") == new
    assert runs.find(old.id) == old
    assert runs.find("resnet", status=None) == bad
    assert runs.find("resnet", notebook="01_work", status="diverged") == bad
    with pytest.raises(InputError, match=r"did you mean 'resnet'\? known: resnet, 2"):
        runs.find("resent")
    with pytest.raises(InputError, match=f"run {bad.id} is diverged, not completed"):
        runs.find(bad.id)
    with pytest.raises(InputError, match="no run of notebook 02_x is called 'resnet'"):
        runs.find("resnet", notebook="02_x")


def test_a_name_refers_to_the_latest_run_with_weights_and_to_smoke_only_if_no_other_is_there(house):
    trained = write_record(house, "resnet", files=("weights.safetensors",))
    old, new = write_record(house, "resnet"), write_record(house, "resnet")
    smoke = write_record(house, "resnet", profile="smoke", files=("weights.safetensors",))
    assert runs.find("resnet") == trained
    assert runs.find("resnet", profile="smoke") == runs.find("resnet", status=None) == smoke
    for folder, next_best in ((trained.folder, new), (new.folder, old), (old.folder, smoke)):
        shutil.rmtree(folder)
        assert runs.find("resnet") == next_best


def test_the_committed_models_are_found_by_name_with_their_weights(tmp_path, monkeypatch):
    repository = Path(__file__).parents[1]  # which may hold other runs, made here since
    words = ["git", "ls-tree", "--name-only", "HEAD", "runs/"]
    content = subprocess.run(words, cwd=repository, capture_output=True, text=True, check=True)
    (tmp_path / "runs").mkdir()
    for line in content.stdout.splitlines():
        (tmp_path / line).symlink_to(repository / line)
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))
    for name in ("constellation", "all-views", "mixture"):
        found = runs.find(name, notebook="02_training")
        assert (found.profile, found.weights.exists()) == ("compact", True)


def test_an_id_may_be_cut_short_where_it_fits_one_run(house):
    first, second = write_record(house, "a"), write_record(house, "b")
    assert runs.find(first.id[:13]) == first
    meant = f"write on, to {second.id}, {first.id}"
    with pytest.raises(InputError, match=f"2 runs begin with '20240101T': {meant}"):
        runs.find("20240101T", status=None)
    with pytest.raises(InputError, match="no run is called '20230101T'"):
        runs.find("20230101T", status=None)


def log_of(root):
    return (root / "runs" / "RUNLOG.md").read_text()


def rows_of(text):
    """The cells of the log's tables, but for their heads."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0] not in ("began", "---")]


def test_the_log_has_a_line_a_run_that_leads_to_its_folder_and_marks_the_best(house):
    accuracies = {"low": 0.25, "best": {"value": 0.75, "low": 0.7, "high": 0.8}, "worse": 0.9}
    for name, accuracy in accuracies.items():
        run = begin(house, name=name)
        run.set_data("frames", "ab12")
        run.save_metrics({"joint_accuracy": accuracy})
        run.finish("diverged" if name == "worse" else "completed")
    text = log_of(house)
    links = {name: f"[{name}]({runs.find(name, status=None).id}/)" for name in accuracies}
    assert [[row[1], row[2], row[-1]] for row in rows_of(text)] == [
        ["", links["worse"], "diverged; joint accuracy 90.0%"],
        ["★", links["best"], "joint accuracy 75.0%"],
        ["", links["low"], "joint accuracy 25.0%"],
    ]
    assert f"- ★ {links['best']}, 01_work on frames: joint accuracy 75.0%\n" in text
    runs.write_runlog()
    assert log_of(house) == text


def test_the_log_of_committed_runs_stays_the_same_whatever_else_is_run(house):
    def git(*words):
        identity = ("-c", "user.name=n", "-c", "user.email=e@e.invalid")
        subprocess.run(["git", "-C", house, *identity, *words], check=True, capture_output=True)

    for accuracy in (0.25, 0.5):
        run = begin(house, name="shared")
        run.set_data("frames", "ab12")
        run.save_metrics({"joint_accuracy": accuracy})
        run.finish()
    git("init")
    git("add", "--force", "runs")
    git("commit", "-m", "runs")
    runs.write_runlog(readmes=True)
    before = {path: path.read_bytes() for path in (house / "runs").rglob("*.md")}
    assert log_of(house).count("★ [shared]") == 1
    mine = begin(house, name="mine")
    mine.set_data("frames", "ab12")
    mine.save_metrics({"joint_accuracy": 0.75})
    mine.finish()
    runs.write_runlog(readmes=True)
    assert {path: path.read_bytes() for path in before} == before
    local = (house / "runs" / "LOCAL.md").read_text()
    assert f"- ★ [mine]({mine.id}/)" in local
    assert "[shared]" not in local
    shutil.rmtree(mine.folder)
    runs.write_runlog()
    assert not (house / "runs" / "LOCAL.md").exists()


def test_a_runs_readme_has_its_results_command_and_parents(house):
    parent = begin(house, name="parent").finish()
    run = begin(house, name="a", epochs=4, views=["a"], note="a, <i>")
    run.add_parents(parent, "20200101T000000Z-01_work-gone")
    run.save_metrics({"joint_accuracy": 0.75})
    run.finish("diverged")
    text = (run.folder / "README.md").read_text()
    assert text.startswith("# 01_work, a\n\n**diverged**\n\n**joint accuracy 75.0%**\n")
    assert "> a, &lt;i&gt;\n" in text
    assert f"```sh\n{run.record.command}\n```" in text
    assert "| joint_accuracy | 0.75 |" in text
    gone = "`20200101T000000Z-01_work-gone` (not here)"
    assert f"| rests on | [parent](../{parent.id}/), {gone} |" in text
    assert '| `epochs` | `4` |\n| `views` | `["a"]` |\n' in text
    (run.folder / "README.md").unlink()
    runs.write_runlog(readmes=True)
    assert (run.folder / "README.md").read_text() == text


def test_the_log_has_every_run_of_processes_that_end_at_once(house):
    script = (
        "import sys; from modsnr import runs; sys.stdin.readline(); "
        "[runs.start('01_work', dict(name=sys.argv[1])).finish() for _ in range(5)]"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, f"w{n}"], stdin=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.close()
    assert [writer.wait(60) for writer in writers] == [0] * 4
    text = log_of(house)
    for n in range(4):
        assert len(re.findall(rf"^\| .*\[w{n}\]\(2.*\|$", text, re.M)) == 5
    assert "20 runs, newest first (20 completed)" in text
    assert not list((house / "runs").rglob(".*.json.*"))


@pytest.fixture
def swept(house):
    """A run, and a sweep of four trials, one of them killed and done again."""
    trials = [  # again, status, accuracy
        (None, "completed", 0.3),
        (None, "crashed", None),
        (None, "diverged", 0.9),
        (1, "completed", {"value": 0.7, "low": 0.6, "high": 0.8}),
    ]
    own = write_record(house, "own", metrics={"joint_accuracy": 0.5})
    return own, [
        write_record(
            house,
            f"toy-{trial:04d}",
            sweep={"name": "toy", "trial": trial, "again": again},
            status=status,
            metrics={"joint_accuracy": accuracy},
        )
        for trial, (again, status, accuracy) in enumerate(trials)
    ]


def test_the_trials_of_a_sweep_share_a_line_of_the_log_and_the_best_of_all_has_the_star(
    house, swept
):
    own, _ = swept
    runs.write_runlog()
    alone, together = rows_of(log_of(house))
    assert together[1:3] == ["★", "[sweep toy, 3 runs](" + together[2].partition("](")[2]]
    assert together[-1] == "2 completed, 1 diverged; at best joint accuracy 70.0%"
    assert alone[1:3] == ["", f"[own]({own.id}/)"]
    (own.folder / "metrics.json").write_text('{"joint_accuracy": 0.8}')
    runs.write_runlog()
    assert [row[1] for row in rows_of(log_of(house))] == ["★", ""]


def test_a_run_that_rests_on_rows_names_their_sweep_once(house, swept):
    own, trials = swept
    sweep_tables.add("toy", trials, remove=True)
    page = runs.start("01_work", {"name": "all"}, parents=[own, *trials]).finish()
    text = (page.folder / "README.md").read_text()
    assert f"| rests on | [own](../{own.id}/), [sweep toy](../sweeps/toy.csv) |" in text


# --- Kernels ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def completed(shared_house):
    heard = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(shared_house / "jupyter"))
        record = runs.execute(
            "01_work", profile="small", parameters={"seed": 5}, name="mine", echo=heard.append
        )
    return record, "".join(heard)


def test_execute_runs_a_notebook_to_its_end_in_this_interpreter(completed, shared_house):
    record, heard = completed
    assert (record.status, record.name, record.profile) == ("completed", "mine", "small")
    assert record.error is None
    assert record.parameters["rate"] == 0.01
    assert record.command == "modsnr run 01_work --profile small --name mine -p seed 5"
    assert record.wall_seconds > 0
    assert "at work" in heard
    notebook = nbformat.read(record.folder / "notebook.ipynb", 4)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert None not in counts
    assert str(shared_house) not in (record.folder / "notebook.ipynb").read_text()
    assert record.metrics["executable"] == sys.executable  # whatever Jupyter calls python3
    assert record.metrics["spins"] == os.environ.get("GOMP_SPINCOUNT", "10000")


@pytest.mark.parametrize(
    ("ending", "status", "error"),
    [
        ("error", "failed", "ValueError: too much | noise"),
        ("mute", "failed", "the notebook ended without run.finish()"),
        ("death", "crashed", "Kernel died in cell [4]"),
        ("diverged", "diverged", None),
    ],
)
def test_a_notebook_that_ends_badly_leaves_its_status(shared_house, ending, status, error):
    record = execute(shared_house, ending=ending)
    assert (record.status, record.error) == (status, error)
    assert record.metrics["joint_accuracy"] == 0.5
    assert record.id in (shared_house / "runs" / "RUNLOG.md").read_text()


def test_a_run_that_resumes_has_the_name_of_the_one_before_and_its_whole_id(shared_house):
    write_record(shared_house, "cut-off", status="interrupted")
    earlier = runs.find("cut-off", status=None)
    for reference in (earlier.id[:16], f"runs/{earlier.id}"):
        record = execute(shared_house, resume=reference)
        assert (record.name, record.parameters["resume"]) == ("cut-off", earlier.id)


def test_plain_papermill_leaves_the_same_folder(completed, shared_house):
    source = shared_house / "notebooks" / "01_work.ipynb"
    words = ("papermill", source, "out.ipynb", "-p", "name", "plain")
    process = command(shared_house, *words)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 0, printed
    record = runs.find("plain")
    names = {path.name for path in record.folder.iterdir()}
    assert names == {path.name for path in completed[0].folder.iterdir()}
    executed = nbformat.read(record.folder / "notebook.ipynb", 4)
    assert executed.cells[-1].execution_count == 5
    assert any("at work" in str(cell.get("outputs")) for cell in executed.cells)


def test_a_given_value_that_a_cell_overrides_is_warned_of_and_both_are_recorded(shared_house):
    write_notebook(
        shared_house, "02_own", PARAMETERS, "epochs = 5", START.replace("1_work", "2_own")
    )
    ran = runs.execute("02_own", parameters={"epochs": 3, "rate": 0.5}, name="strict")
    source = shared_house / "notebooks" / "02_own.ipynb"
    words = ("papermill", source, "own.ipynb", "-p", "epochs", "3", "-p", "name", "plain-own")
    command(shared_house, *words).communicate(timeout=60)
    plain = runs.find("plain-own", status=None)
    for record in (runs.Record.load(ran.folder), plain):
        assert (record.parameters["epochs"], record.overridden) == (5, {"epochs": 3})
        assert "-p epochs 5" in record.command
        text = (record.folder / "notebook.ipynb").read_text()
        assert "epochs was given as 3, but a cell of the notebook sets it to 5" in text
        assert "| given, not used | epochs 3 |" in (record.folder / "README.md").read_text()
    assert ran.parameters["rate"] == 0.5


def test_plain_papermill_with_a_misspelt_parameter_is_refused(shared_house):
    before = runs.records()
    source = shared_house / "notebooks" / "01_work.ipynb"
    process = command(shared_house, "papermill", source, "out2.ipynb", "-p", "epoch", "3")
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "no parameter of 01_work is called 'epoch'; did you mean 'epochs'?" in printed
    assert runs.records() == before


def sleeper(root, name):
    """Start a run that sleeps and return its process and, once it sleeps, its record."""
    words = ("modsnr", "run", "01_work", "--name", name, "-p", "ending", "sleep")
    process = command(root, *words)
    asleep = wait_for(lambda: list((root / "runs").glob(f"*-{name}/metrics.json")))
    record = runs.Record.load(asleep[0].parent)
    assert record.status == "running"
    return process, record


def test_an_interrupt_of_the_command_ends_its_run_as_interrupted(shared_house):
    process, record = sleeper(shared_house, "stopped")
    process.send_signal(signal.SIGINT)
    printed = process.communicate(timeout=20)[0]
    assert process.returncode == 130, printed
    assert "Traceback" not in printed
    assert f"run {record.id} was interrupted" in printed
    assert runs.Record.load(record.folder).status == "interrupted"
    log = (shared_house / "runs" / "RUNLOG.md").read_text()
    assert re.search(r"\[stopped\]\(\S+ \| 01_work \|  \| .* \| interrupted: ", log)
    assert "KeyboardInterrupt" in (record.folder / "notebook.ipynb").read_text()


def test_a_run_whose_command_is_killed_is_soon_crashed(shared_house):
    process, record = sleeper(shared_house, "killed")
    process.kill()
    process.communicate(timeout=10)
    wait_for(lambda: runs.Record.load(record.folder).status == "crashed", seconds=10)
