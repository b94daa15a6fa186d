"""Pipelines: nothing that is done is done twice, and a training goes on from its checkpoint."""

import json
import subprocess

import pytest
from notebook_runs import write_notebook

from modsnr import InputError, runs

HEAD = 'name: str = "run"\nnote: str = ""\n'

NOTEBOOKS = {
    "01_making": 'seed: int = 1\nending: str = "completed"',
    "02_training": "\n".join(
        [
            "from typing import Annotated",
            "from modsnr.runs import ChangesNoResult",
            "epochs: int = 3",
            "devices: Annotated[int, ChangesNoResult] = 1",
            'resume: Annotated[str, ChangesNoResult] = ""',
        ]
    ),
    "03_evaluation": "seconds: float = 0.0",
}


def write_profile(root, *steps):
    text = json.dumps({"description": "d", "pipeline": list(steps)})
    (root / "notebooks" / "profiles" / "toy.yaml").write_text(text)


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A repository whose three notebooks stand for making, training and evaluating.

    ``execute`` runs them in this process: a training does ten epochs, then it is cut off.
    """
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))
    (tmp_path / "notebooks" / "profiles").mkdir(parents=True)
    for name, source in NOTEBOOKS.items():
        write_notebook(tmp_path, name, HEAD + source)
    write_profile(
        tmp_path,
        {"notebook": "01_making", "name": "frames"},
        {"notebook": "02_training", "name": "model", "parameters": {"epochs": 30}},
        {"notebook": "03_evaluation", "name": "evaluation"},
    )

    def execute(notebook, *, profile=None, parameters=None, name=None, **_):
        monkeypatch.setattr("modsnr.runs.run._current", None)
        monkeypatch.setenv("MODSNR_PROFILE", profile or "")
        run = runs.start(notebook, {**parameters, "name": name})
        if notebook != "02_training":
            return run.finish(parameters.get("ending", "completed"))
        run.set_data("frames", "ab12")
        checkpoint = run.folder / runs.CHECKPOINT
        earlier = run.resumes(parameters.get("resume", ""))
        epochs = 10 + (int((earlier / runs.CHECKPOINT).read_text()) if earlier else 0)
        checkpoint.write_text(str(epochs))
        run.save_metrics({"epochs": epochs})
        return run.finish("completed" if epochs >= parameters["epochs"] else "interrupted")

    monkeypatch.setattr("modsnr.runs.pipeline.execute", execute)
    return tmp_path


def resume():
    return runs.reproduce("toy", resume=True)


def made():
    """What there is of runs, oldest first."""
    return [(run.name, run.status) for run in reversed(runs.records())]


def test_a_training_that_is_cut_off_goes_on_from_its_checkpoint(house):
    for _ in range(2):
        with pytest.raises(runs.NotCompletedError, match=r"step 2 of 3: 02_training \(model\) int"):
            resume()
    resume()
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


def test_a_killed_training_goes_on_too(house):
    with pytest.raises(runs.NotCompletedError):
        resume()
    (cut,) = [run for run in runs.records() if run.name == "model"]
    content = json.loads((cut.folder / "run.json").read_text()) | {"status": "running"}
    (cut.folder / "run.json").write_text(json.dumps(content))  # its process is gone: crashed
    with pytest.raises(runs.NotCompletedError):
        resume()
    assert runs.find("model", status=None).parents == [cut.id]


def test_what_is_done_is_kept_and_only_a_resumed_pipeline_keeps_it(house):
    write_profile(house, {"notebook": "01_making"}, {"notebook": "03_evaluation"})
    first = resume()
    heard = []
    assert runs.reproduce("toy", resume=True, echo=heard.append) == first
    assert len(runs.records()) == 2
    assert "step 1 of 2: 01_making (run) kept" in heard[0]
    assert not {run.id for run in runs.reproduce("toy")} & {run.id for run in first}


@pytest.mark.parametrize(
    ("changed", "kept"), [({"epochs": 9}, False), ({"devices": 2}, True), ({}, True)]
)
def test_other_parameters_that_count_make_their_step_and_all_after_it_anew(house, changed, kept):
    training = {"notebook": "02_training", "name": "model", "parameters": {"epochs": 10}}
    rest = {"notebook": "01_making", "name": "frames"}, {"notebook": "03_evaluation"}
    write_profile(house, rest[0], training, rest[1])
    first = resume()
    training["parameters"] |= changed
    write_profile(house, rest[0], training, rest[1])
    frames, *later = resume()
    assert frames == first[0]
    assert (later == first[1:]) is kept
    assert {run.id for run in later} & {run.id for run in first[1:]} == (
        {run.id for run in later} if kept else set()
    )


def test_other_code_makes_all_anew_and_other_words_do_not(house):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", house, *identity, *words], check=True, capture_output=True)

    (house / ".gitignore").write_text("runs")
    write_profile(house, {"notebook": "01_making", "name": "frames"})
    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    (first,) = resume()
    (house / "README.md").write_text("words")
    git("add", ".")
    git("commit", "-m", "words")
    assert resume() == [first]
    write_notebook(house, "01_making", HEAD + NOTEBOOKS["01_making"] + "  # words")
    git("commit", "-a", "-m", "code")
    assert resume() != [first]


def test_a_pipeline_that_runs_elsewhere_is_refused(house):
    run = runs.start("01_making", {"name": "frames"})
    content = json.loads((run.folder / "run.json").read_text()) | {"profile": "toy"}
    (run.folder / "run.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"run {run.id} of this pipeline is running"):
        resume()


def test_a_failed_step_ends_the_pipeline_and_names_its_notebook(house):
    failing = {"notebook": "01_making", "name": "frames", "parameters": {"ending": "failed"}}
    write_profile(house, failing, {"notebook": "03_evaluation"})
    with pytest.raises(runs.NotCompletedError, match=r"failed, .*see runs/\S+/notebook\.ipynb"):
        resume()
    assert made() == [("frames", "failed")]


def test_a_profile_without_a_pipeline_is_refused(house):
    write_profile(house)
    with pytest.raises(InputError, match="profile toy has no pipeline"):
        resume()
