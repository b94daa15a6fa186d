"""A file beside the notebooks defines the main results of a run, and which run is best."""

import re
from functools import partial

import pytest
from notebook_runs import write_record

from modsnr import runs
from modsnr.runs.formatting import lasted
from modsnr.runs.overview import Headlines, best_runs, found
from modsnr.runs.pages import runlog

HERE = {"name": "here", "sha256": "here"}


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A repository without a notebook, whose runs ``make`` writes."""
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))
    (tmp_path / "notebooks").mkdir()
    return tmp_path


@pytest.fixture
def make(house):
    return partial(write_record, house)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("joint", {"": 0.5}),
        ("models/*/joint", {"a": 1, "b": 2}),
        ("*/*/snr", {"models a": 3}),
        ("models/c/joint", {}),
        ("joint/a", {}),
    ],
)
def test_a_key_finds_results_by_the_names_that_its_stars_stand_for(key, values):
    metrics = {"joint": 0.5, "models": {"a": {"joint": 1, "snr": 3}, "b": {"joint": 2}}}
    assert found(metrics, key) == values


def test_headlines_print_numbers_intervals_and_words_and_leave_out_what_is_not_there():
    formats = {"joint": "{:.1%}", "frames": "{:,}", "models/*": "{:.0f} dB"}
    keys = ["joint", "frames", "verdict", "models/*", "absent", "null", "list"]
    headlines = Headlines.model_validate(
        {"results": {key: {"key": key, "format": formats.get(key, "{}")} for key in keys}}
    )
    metrics = {
        "joint": {"value": 0.125, "low": 0.1, "high": 0.2},
        "frames": 54400,
        "verdict": "16QAM",
        "models": {name: number for number, name in enumerate("abcdef")},
        "null": None,
        "list": [1],
    }
    models = "models/*: a 0 dB, b 1 dB, c 2 dB, d 3 dB, 2 more"
    assert headlines.line(metrics) == f"joint 12.5%; frames 54,400; verdict 16QAM; {models}"
    assert headlines.line({}) == ""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("01_work: {result: {}}", "Extra inputs are not permitted"),
        ("01_work: {results: {joint: {format: '{:.1%}'}}}", "results.joint.key"),
        ("01_work: {results: {joint: {key: a, format: '{:d}'}}}", "prints no number"),
        ("- 01_work", "should be a valid dictionary"),
        ("a: {", "expected"),
    ],
)
def test_headlines_that_cannot_be_used_are_named(house, text, complaint):
    (house / "notebooks" / "headlines.yaml").write_text(text)
    (fault,) = runs.survey().faults
    assert re.match(f"notebooks/headlines.yaml: .*{complaint}", fault)


def test_the_best_is_the_highest_of_a_notebooks_completed_runs_on_the_same_frames(make):
    there = {"name": "there", "sha256": "there"}
    accuracies = [
        ("low", 0.2, "completed", HERE),
        ("best", {"value": 0.4, "low": 0.3, "high": 0.5}, "completed", HERE),
        ("lost", 0.9, "diverged", HERE),
        ("alone", 0.8, "completed", there),
        ("mute", None, "completed", HERE),
    ]
    speeds = [{"speed": 2}, {"speed": 1}, {}, {}, {}]
    known = [
        make(name, metrics={"joint_accuracy": accuracy} | speed, status=status, data=data)
        for (name, accuracy, status, data), speed in zip(accuracies, speeds, strict=True)
    ]
    assert best_runs(known, {}) == {known[1].id}
    assert best_runs(known, {"01_work": Headlines()}) == set()
    # By another metric that only two have, the order is another.
    assert best_runs(known, {"01_work": Headlines(best="speed")}) == {known[0].id}


def test_runs_that_left_modulations_out_are_compared_with_those_that_left_out_the_same(make):
    left_out = [("old", 0.3, []), ("all", 0.4, []), ("alone", 0.9, ["BPSK"])]
    left_out += [("few", 0.5, ["8PSK", "QPSK"]), ("fewer", 0.6, ["QPSK", "8PSK"])]
    known = [
        make(name, metrics={"joint_accuracy": value}, parameters={"leave_out": names}, data=HERE)
        for name, value, names in left_out
    ]
    best = best_runs(known, {})
    assert [run.name for run in known if run.id in best] == ["all", "fewer"]


def test_each_committed_run_has_a_headline_and_its_notebooks_figure():
    repository = runs.survey()
    assert repository.faults == []
    completed = [run for run in repository.runs if run.status == "completed"]
    assert [run.id for run in completed if not repository.headline(run)] == []
    for run in completed:
        if run.notebook in repository.headlines and (run.folder / "figures").exists():
            assert run.figure(repository.headlines[run.notebook].figure).exists()


def test_the_log_is_one_screen_and_all_its_links_and_those_of_the_runs_lead_somewhere():
    known, folder = runs.survey(), runs.root() / "runs"
    log = runlog(known)
    assert len(log.encode()) <= 25_000
    with_folder = [run for run in known.runs if run.sweep_table is None]
    pages = {folder: log} | {run.folder: runs.readme(known, run) for run in with_folder}
    for place, text in pages.items():
        links = re.findall(r'\]\(([^)]+)\)|(?:href|src)="([^"]+)"', text)
        for link in {markdown or tag for markdown, tag in links}:
            assert (place / link).exists(), (place.name, link)


def test_the_best_run_of_the_log_has_a_page_with_picture_result_and_command():
    log = (runs.root() / "runs" / "RUNLOG.md").read_text(encoding="utf-8")
    best = re.findall(r"^- ★ \[[^]]+\]\(([^)]+)/\), 02_training .*: (joint [\d.]+%)", log, re.M)
    assert best
    for folder, result in best:
        page = (runs.root() / "runs" / folder / "README.md").read_text(encoding="utf-8")
        assert f"**{result}" in page
        picture = re.search(r'<img src="([^"]+)"', page)[1]
        assert (runs.root() / "runs" / folder / picture).exists()
        assert "```sh\nmodsnr run 02_training" in page


def test_a_run_behind_the_paper_is_known_by_its_names_there(house, make):
    run, other = make("a"), make("b")
    (house / "paper").mkdir()
    sources = house / "paper" / "sources.yaml"
    sources.write_text(f"runs:\n  x: {{run: {run.id}}}\n  y: {{run: {run.id}}}\n  z: {{run: null}}")
    known = runs.write_runlog()
    assert (known.mark([run]), known.mark([other])) == ("¶", "")
    log = (house / "runs" / "RUNLOG.md").read_text()
    assert log.index("## In the paper") < log.index(run.id) < log.index("## Other runs")
    assert "| in the paper as | x, y |" in runs.readme(known, run)
    sources.write_text("runs: [x]")
    assert runs.write_runlog().paper == {}
    log = (house / "runs" / "RUNLOG.md").read_text()
    assert "**Not used:** paper/sources.yaml: " in log


def test_the_picture_is_the_figure_that_the_headlines_name_else_the_first(house, make):
    run = make("a", files=("figures/first.png", "figures/second.png"))
    assert '<img src="figures/first.png"' in runs.readme(runs.survey(), run)
    (house / "notebooks" / "headlines.yaml").write_text("01_work: {figure: second}")
    assert '<img src="figures/second.png"' in runs.readme(runs.survey(), run)


def test_the_page_of_a_run_shows_what_made_it_and_the_first_levels_of_its_results(make):
    metrics = {
        "joint_accuracy": {"value": 0.5, "low": 0.4, "high": 0.6},
        "test": {"snr": {"rmse_db": 1.5, "of": {"too": {"deep": 1}}}},
        "at": {"snr": {f"{snr}": snr for snr in range(40)}},
    }
    run = make(
        "model",
        metrics=metrics,
        wall_seconds=90,
        git={"commit": "c" * 40, "dirty": True},
        hardware={"cpu": "x", "cores": 2, "gpus": ["H"]},
        versions={"python": "3.11", "h5py": "3"},
        data={"name": "quick", "sha256": "d" * 64},
    )
    text = runs.readme(runs.survey(), run)
    rows = dict(re.findall(r"^\| (\S+(?: \S+)*) \| (.*) \|$", text, re.M))
    assert rows["took"] == "2 min"
    assert rows["machine"] == "H, x, 2 cores"
    assert rows["frames"] == "quick, dddddddddddd"
    assert rows["commit"] == "cccccccccccc with changes"
    assert rows["versions"] == "python 3.11"
    assert rows["joint_accuracy"] == "0.5 (0.4 to 0.6)"
    assert rows["test/snr/rmse_db"] == "1.5"
    assert "deep" not in text
    assert text.count("\n| at/snr/") == 28
    assert "12 more in [metrics.json](metrics.json)" in text


def test_wall_times_have_the_unit_that_suits_them():
    seconds = {49.4: "49 s", 59.6: "1 min", 1768.7: "29 min", 3599: "1 h 0 min"}
    assert [lasted([one, None]) for one in seconds] == list(seconds.values())
    assert lasted([None]) == ""
