"""The notebooks as people run them: the smoke pipeline, plain papermill, the README's own lines."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from radioml_files import write_2018

from modsnr import InputError, cli, diagrams, frames, model, runs

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The folder in which `modsnr reproduce --profile smoke` ran, and the lines that it printed.

    Beside its runs are the committed ones that a draft of the paper needs.
    """
    root = tmp_path_factory.mktemp("smoke")
    (root / "runs" / "sweeps").mkdir(parents=True)
    for folder in ("notebooks", "paper"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("build"))
    for run in yaml.safe_load((ROOT / "paper" / "sources.yaml").read_text())["runs"].values():
        if run.get("row"):
            for table in (ROOT / "runs").glob(f"{run['run']}*.*"):
                shutil.copy(table, root / "runs" / "sweeps")
        elif run.get("aside") or run.get("profile"):  # a draft takes the committed one
            shutil.copytree(ROOT / "runs" / run["run"], root / "runs" / run["run"])
    command = [sys.executable, "-m", "modsnr", "reproduce", "--profile", "smoke"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODSNR_ROOT", str(root))
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        yield root, done.stdout.splitlines()


@pytest.fixture(scope="module")
def house(smoke):
    """What the smoke pipeline left, for the tests here to change."""
    return smoke[0]


STEPS = {
    "frames": "01_preprocessing",
    "constellation": "02_training",
    "all-views": "02_training",
    "evaluation": "03_evaluation",
    "explanation": "04_explainability",
}


def test_reproduce_runs_every_notebook_and_ends_with_the_path_of_a_pdf(smoke):
    house, printed = smoke
    pdf = Path(printed[-1])
    assert pdf == house / "paper/build/smoke/PAPER.pdf"
    assert pdf.read_bytes().startswith(b"%PDF")
    steps = [line for line in printed if line.startswith("step ")]
    assert ["joint accuracy" in step for step in steps] == [False, True, True, True, False]
    made = {run.name: run for run in reversed(runs.records()) if run.profile == "smoke"}
    assert {name: run.notebook for name, run in made.items()} == STEPS
    assert {run.status for run in made.values()} == {"completed"}
    assert len({run.data["sha256"] for run in made.values()}) == 1
    assert made["all-views"].parents == [made["frames"].id]
    parents = {made[name].id for name in ("constellation", "all-views")}
    assert set(made["evaluation"].parents) == parents
    for run in made.values():
        assert (run.folder / "notebook.ipynb").exists()
        assert list((run.folder / "figures").glob("*.pdf"))
        page = (run.folder / "README.md").read_text()
        assert page.startswith(f"# {run.notebook}, {run.name}")
    log = (house / "runs" / "RUNLOG.md").read_text()
    places = [log.index(f"]({run.id}/)", log.index("## Other runs")) for run in made.values()]
    assert places == sorted(places, reverse=True)


def test_the_residual_view_improves_the_snr_even_after_seconds(house):
    models = runs.find("evaluation", profile="smoke").metrics["models"]
    better, worse = (models[name]["snr_accuracy"] for name in ("all-views", "constellation"))
    assert better["low"] > worse["high"]


def test_the_draft_paper_leaves_the_committed_paper_alone(house):
    for path in (ROOT / "paper").rglob("*"):
        if path.is_file() and "build" not in path.parts:
            assert (house / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


@pytest.mark.long
def test_models_are_compared_where_frames_differ_in_rounding_and_not_otherwise(house):
    trained = runs.find("constellation", notebook="02_training", profile="smoke")
    record, kept = trained.folder / "run.json", trained.folder / "predictions.npz"
    before, answers = record.read_text(), kept.read_bytes()
    try:
        elsewhere = {"data": trained.data | {"sha256": "elsewhere"}}
        record.write_text(json.dumps(json.loads(before) | elsewhere))
        run = runs.execute("03_evaluation", profile="smoke", name="rounded")
        assert run.status == "completed", run.error
        text = (run.folder / "notebook.ipynb").read_text()
        assert "constellation: trained on these frames as another processor rounds" in text
        assert "all-views: trained on these frames" in text
        others = trained.predictions()
        others["snr_mean_db"] = others["snr_mean_db"][::-1]
        np.savez(kept, **others)
        run = runs.execute("03_evaluation", profile="smoke", name="others")
        assert run.status == "failed"
        assert (
            "constellation was trained on other frames than those of the store: SNRs" in run.error
        )
    finally:
        record.write_text(before)
        kept.write_bytes(answers)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"epochs": 0}, r"epochs .*given 0 \(int\), input should be greater than 0"),
        ({"modulation_share": 1.1}, r"modulation_share .*should be less than or equal to 1"),
        ({"dropout": 1}, r"dropout .*should be less than 1"),
        ({"views": ["constelation"]}, r"views .*given \['constelation'\].*did you mean 'constella"),
        ({"epochs": 2.5}, r"epochs .*should be a valid integer"),
        ({"snr_layer": "bottleneck_32"}, r"snr_layer .*given 'bottleneck_32'.*'bottleneck_64'"),
    ],
)
def test_a_value_that_no_training_can_have_is_refused_before_it_starts(bare, asked, expected):
    with pytest.raises(InputError, match=expected):
        runs.execute("02_training", parameters=asked)
    assert not (bare / "runs").exists()


def trained(house):
    """Put the committed network of all views among the runs of a house."""
    sources = yaml.safe_load((ROOT / "paper" / "sources.yaml").read_text(encoding="utf-8"))
    known = ROOT / "runs" / sources["runs"]["all-views"]["run"]
    return shutil.copytree(known, house / "runs" / known.name)


def frames_of(house, *names):
    """Put empty frame stores into a house."""
    for name in names:
        (house / "data" / name).mkdir(parents=True)
        (house / "data" / name / "frames.h5").touch()


@pytest.mark.parametrize(
    ("notebook", "asked"),
    [
        ("03_evaluation", {"models": ["all-veiws"]}),
        ("04_explainability", {"models": ["all-veiws"]}),
        ("08_generalisation", {"models": [], "left_out": ["all-veiws"]}),
        ("09_attribution", {"network": "all-views", "repeats": ["all-veiws"]}),
        ("10_radio", {"network": "all-veiws"}),
        ("11_classification", {"model": "all-veiws"}),
        ("07_views", {"profile": "", "baseline": "all-views", "whole": "all-veiws"}),
        ("02_training", {"hide": "snr", "hide_by": "all-veiws"}),
    ],
)
def test_a_network_that_is_not_there_is_refused_with_the_nearest(bare, notebook, asked):
    made = trained(bare)
    frames_of(bare, "frames", "compact")
    with pytest.raises(InputError, match=r"called 'all-veiws'; did you mean .*'all-views'"):
        runs.execute(notebook, parameters=asked)
    assert [*(bare / "runs").glob("*_*")] == [made]


@pytest.mark.parametrize("notebook", ["04_explainability", "05_limits", "09_attribution"])
def test_frames_that_a_network_was_trained_on_have_to_be_there_if_they_are_read(bare, notebook):
    """With the command that makes these, and not the notebook's own."""
    made = trained(bare)
    asked = {} if notebook == "09_attribution" else {"models": ["all-views"]}
    with pytest.raises(
        InputError, match=r"at data/compact/frames\.h5: .*run 01_preprocessing --profile compact`"
    ):
        runs.execute(notebook, parameters=asked)
    assert [*(bare / "runs").glob("*_*")] == [made]


@pytest.mark.parametrize(
    ("notebook", "asked"),
    [
        ("08_generalisation", {"models": ["all-views"]}),
        ("09_attribution", {"network": "all-views"}),
        ("10_radio", {"network": "all-views"}),
    ],
)
def test_a_network_that_is_asked_again_has_to_have_its_weights(bare, notebook, asked):
    made = trained(bare)
    (made / "weights.safetensors").unlink()
    with pytest.raises(InputError, match="has no weights here"):
        runs.execute(notebook, parameters=asked)
    assert [*(bare / "runs").glob("*_*")] == [made]


def test_a_notebook_may_be_called_by_its_number():
    assert runs.parameters("02").keys() == runs.parameters("02_training").keys()
    with pytest.raises(InputError, match="no notebook is called '0'"):
        runs.parameters("0")


def test_the_training_notebook_names_every_view_and_every_layer(house):
    declared = runs.parameters("02_training")
    for name, names in {"views": diagrams.VIEWS, "snr_layer": model.SNR_LAYERS}.items():
        assert re.findall(r"'(\w+)'", str(declared[name].annotation)) == list(names)


def test_profiles_name_only_what_the_notebooks_declare(house):
    for path in (house / "notebooks" / "profiles").glob("*.yaml"):
        assert runs.load_profile(path.stem).pipeline


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A copy of the notebooks, without runs and data."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("profile", "asked", "making"),
    [
        ("smoke", {}, " --profile smoke"),
        (
            "shift",
            {"frames": "shift-moderate"},
            " --profile shift -p frames shift-moderate -p channel moderate",
        ),
        (None, {"frames": "quack"}, " -p frames quack"),
    ],
)
def test_a_training_without_its_frames_is_refused_before_it_starts(bare, profile, asked, making):
    with pytest.raises(InputError, match=rf"no frame store at .*run 01_preprocessing{making}`$"):
        runs.execute("02_training", profile=profile, parameters=asked)
    assert not (bare / "runs").exists()


@pytest.mark.parametrize("start", [runs.execute, lambda n, parameters: runs.start(n, parameters)])
def test_a_file_that_is_not_there_is_refused_and_leaves_no_run(bare, start):
    (bare / "capture.wav").touch()
    wanted = {"file": str(bare / "cpature.wav")}
    with pytest.raises(InputError, match=r"no file or folder '.*cpature\.wav'; did you mean 'capt"):
        start("recording", parameters=wanted)
    assert not (bare / "runs").exists()


def test_a_misspelt_frame_store_is_named_with_the_nearest(bare):
    frames_of(bare, "radioml")
    with pytest.raises(InputError, match=r"data/radoiml/frames\.h5 \(did you mean 'radioml'\?\)"):
        runs.execute("02_training", parameters={"frames": "radoiml"})


@pytest.mark.long
def test_the_readmes_command_takes_a_radioml_file_to_a_trained_network(
    house, tmp_path, monkeypatch
):
    block = re.search(
        r"## Your own files.*?```sh\n(.*?)```",
        (ROOT / "notebooks/README.md").read_text(),
        re.S,
    )
    commands = [line.split()[1:] for line in block[1].splitlines()]
    assert [command[1] for command in commands] == ["01_preprocessing", "02_training"]
    monkeypatch.chdir(tmp_path)  # a relative path is the caller's
    write_2018(tmp_path / "GOLD_XYZ_OSC.0001_1024.hdf5", frames_per_cell=10, snrs_db=(-20, 10, 30))
    for command, quick in zip(
        commands, (["-p", "cluster", "here"], ["-p", "bins", "16"]), strict=True
    ):
        result = CliRunner().invoke(cli.main, [*command, *quick])
        assert result.exit_code == 0, result.output
    counts = frames.describe(runs.store("radioml"))["counts"]
    assert counts == {"train": 24 * 16, "validation": 24 * 2, "test": 24 * 2}


@pytest.mark.long
def test_frames_written_anew_are_not_explained_by_models_of_the_old_ones(house):
    """The last test here: it replaces the store that the others read."""
    again = runs.execute("01_preprocessing", profile="smoke", parameters={"seed": 2}, name="again")
    assert again.status == "completed"
    explained = runs.execute("04_explainability", profile="smoke", name="stale")
    assert explained.status == "failed"
    assert "was trained on other frames than those of the store" in (explained.error or "")


RADIO = {"modulations": ["QPSK", "16QAM"], "snrs_db": [0.0, 10.0], "averaged": 4, "steps": 4}
RADIO |= {"turned": ["QPSK", "64QAM"], "from_db": 20.0, "counterfactuals": 8}


@pytest.mark.long
def test_the_way_back_to_the_radio_shows_what_turns_an_answer(house):
    run = runs.execute("10_radio", profile="smoke", parameters=RADIO)
    assert run.status == "completed", run.error
    turned = run.metrics["turned"]
    assert set(turned) == {"SNR lowered (dB)", "carrier turned (degrees)"}  # no APSK, no rings
    for of_change in turned.values():
        for shares in of_change.values():
            values = [share["value"] for share in shares.values()]
            assert values[0] == 0
            assert values == sorted(values)
    for figure in ("maps", "in_time", "counterfactuals"):
        assert (run.folder / "figures" / f"{figure}.pdf").exists()


@pytest.mark.long
def test_a_network_can_be_trained_without_the_pixels_that_a_mask_hides(house):
    asked = {"name": "half", "hide": "brightest", "hide_fraction": 0.5, "epochs": 1}
    run = runs.execute("02_training", profile="smoke", parameters=asked)
    assert run.status == "completed", run.error
    whole = runs.execute("02_training", profile="smoke", parameters={"name": "whole", "epochs": 1})
    seen = [record.predictions()["predicted_snr_db"] for record in (run, whole)]
    assert (seen[0] != seen[1]).any()
