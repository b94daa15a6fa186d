"""Pipelines: nothing that is done is done twice, and a training goes on from its checkpoint."""

import json
import subprocess

import pytest
from notebook_runs import write_notebook

from modsnr import InputError, runs

HEAD = 'name: str = "run"\nnote: str = ""\n'
TRAINING = """\
from typing import Annotated
from modsnr.runs import ChangesNoResult
epochs: int = 3
devices: Annotated[int, ChangesNoResult] = 1
resume: Annotated[str, ChangesNoResult] = ""
"""
MAKING = HEAD + 'seed: int = 1\nending: str = "completed"'
FRAMES = {"notebook": "01_making", "name": "frames"}
EVALUATION = {"notebook": "03_evaluation", "name": "evaluation"}


def model(**parameters):
    return {"notebook": "02_training", "name": "model", "parameters": parameters}


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
    write_notebook(tmp_path, "01_making", MAKING)
    write_notebook(tmp_path, "02_training", HEAD + TRAINING)
    write_notebook(tmp_path, "03_evaluation", HEAD)
    write_profile(tmp_path, FRAMES, model(epochs=30), EVALUATION)

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


def change(run, **content):
    path = run.folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | content))


def test_a_training_that_is_cut_off_or_killed_goes_on_from_its_checkpoint(house):
    with pytest.raises(runs.NotCompletedError, match=r"step 2 of 3: 02_training \(model\) int"):
        resume()
    change(runs.find("model", status=None), status="running")  # its process is gone: crashed
    with pytest.raises(runs.NotCompletedError):
        resume()
    resume()
    *_, first, second, third, evaluation = made = runs.records()[::-1]
    assert [run.name for run in made] == ["frames", "model", "model", "model", "evaluation"]
    assert [run.status for run in (first, second, third)] == ["crashed", "interrupted", "completed"]
    assert [run.metrics["epochs"] for run in (first, second, third)] == [10, 20, 30]
    assert (second.parents, third.parents) == ([first.id], [second.id])
    assert evaluation.status == "completed"


def test_what_is_done_is_kept_and_only_a_resumed_pipeline_keeps_it(house):
    write_profile(house, FRAMES, EVALUATION)
    first = resume()
    heard = []
    assert runs.reproduce("toy", resume=True, echo=heard.append) == first
    assert len(runs.records()) == 2
    assert "step 1 of 2: 01_making (frames) kept" in heard[0]
    assert not {run.id for run in runs.reproduce("toy")} & {run.id for run in first}


@pytest.mark.parametrize(("changed", "kept"), [({"epochs": 9}, False), ({"devices": 2}, True)])
def test_other_parameters_that_count_make_their_step_and_all_after_it_anew(house, changed, kept):
    write_profile(house, FRAMES, model(epochs=10), EVALUATION)
    first = resume()
    write_profile(house, FRAMES, model(**{"epochs": 10} | changed), EVALUATION)
    second = resume()
    assert [run == before for run, before in zip(second, first, strict=True)] == [True, kept, kept]


def test_other_code_makes_all_anew_and_other_words_do_not(house):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", house, *identity, *words], check=True, capture_output=True)

    (house / ".gitignore").write_text("runs")
    write_profile(house, FRAMES)
    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    (first,) = resume()
    (house / "README.md").write_text("words")
    git("add", ".")
    git("commit", "-m", "words")
    assert resume() == [first]
    write_notebook(house, "01_making", MAKING + "  # words")
    git("commit", "-a", "-m", "code")
    assert resume() != [first]


def test_a_pipeline_that_cannot_run_is_refused(house):
    run = runs.start("01_making", {"name": "frames"})
    change(run, profile="toy")
    with pytest.raises(InputError, match=f"run {run.id} of this pipeline is running"):
        resume()
    write_profile(house)
    with pytest.raises(InputError, match="profile toy has no pipeline"):
        resume()


def test_a_failed_step_ends_the_pipeline_and_names_its_notebook(house):
    write_profile(house, FRAMES | {"parameters": {"ending": "failed"}}, EVALUATION)
    with pytest.raises(runs.NotCompletedError, match=r"failed, .*see runs/\S+/notebook\.ipynb"):
        resume()
    assert [(run.name, run.status) for run in runs.records()] == [("frames", "failed")]
