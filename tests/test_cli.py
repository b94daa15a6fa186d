"""The command says in one line what is wrong, and starts fast."""

import json
import re
import subprocess
import sys
import types
from datetime import UTC, datetime
from unittest.mock import Mock

import click
import pytest
from click.testing import CliRunner
from notebook_runs import write_notebook, write_record

import modsnr
from modsnr import cli, runs


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A repository of one notebook, which is never executed, and one profile."""
    monkeypatch.setenv("MODSNR_ROOT", str(tmp_path))
    monkeypatch.setattr("modsnr.runs.run._current", None)
    source = 'name: str = "run"\nnote: str = ""\nepochs: int = 2\nrate: float = 1e-3'
    write_notebook(tmp_path, "01_work", source)
    (tmp_path / "notebooks" / "profiles").mkdir()
    profile = "description: d\npipeline: [{notebook: 01_work}, {notebook: 01_work, name: b}]"
    (tmp_path / "notebooks" / "profiles" / "quick.yaml").write_text(profile)
    return tmp_path


@pytest.fixture
def executed(house, monkeypatch):
    """The calls of ``runs.execute``, and the statuses by which the next runs shall end."""
    asked = []

    def execute(notebook, *, profile=None, parameters=None, name=None, **_):
        asked.append((notebook, profile, parameters, name))
        run = runs.start(notebook, {"name": name or "run"})
        run.save_metrics({"joint_accuracy": 0.5})
        return run.finish(statuses.pop(0) if statuses else "completed")

    statuses = []
    monkeypatch.setattr(runs, "execute", execute)
    monkeypatch.setattr("modsnr.runs.pipeline.execute", execute)
    return types.SimpleNamespace(asked=asked, statuses=statuses)


def call(*words):
    return CliRunner().invoke(cli.main, words)


def test_help_needs_none_of_the_heavy_packages():
    script = (
        "import sys\nfrom modsnr.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'papermill', 'matplotlib', 'pandas', 'numpy', 'IPython', 'nbformat'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "reproduce" in done.stdout


def every_command(group=cli.main, words=()):
    """Yield each command with the words that call it, groups too."""
    yield words, group
    for name, command in getattr(group, "commands", {}).items():
        yield from every_command(command, (*words, name))


COMMANDS = dict(every_command())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_has_a_help_and_none_is_cut_short(words):
    options = [one for one in COMMANDS[words].params if isinstance(one, click.Option)]
    assert [option.name for option in options if not option.help] == []
    page = CliRunner().invoke(cli.main, [*words, "--help"], terminal_width=80).stdout
    _, _, commands = page.partition("Commands:\n")
    assert [line for line in commands.splitlines() if not re.search(r"[^.]\.$", line)] == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("run", "01_wok"), "no notebook is called '01_wok'; did you mean '01_work'?"),
        (("run", "01_work", "-p", "epoch", "1"), "did you mean 'epochs'?"),
        (("run", "01_work", "-p", "epochs", "many"), "given 'many' (str), input should be a"),
        (("run", "01_work", "-p", "epochs", "1", "-p", "epochs", "2"), "is given twice"),
        (("run", "01_work", "--name", "a b"), "a run's name has letters"),
        (("run", "01_work", "--profile", "quik"), "did you mean 'quick'?"),
        (("reproduce", "--profile", "none"), "no profile is called 'none'"),
        (("runs", "show", "x"), "no run is called 'x'; known: none"),
        (("runs", "compare", "x"), "a comparison is of two runs or more"),
    ],
)
def test_input_that_cannot_be_used_is_one_line_and_exit_code_2(house, words, complaint):
    result = call(*words)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (house / "runs").exists()


def test_run_hands_on_typed_values(executed):
    result = call("run", "01_work", "-p", "rate", "-1e-3", "--name", "n", "--note", "why")
    assert result.exit_code == 0, result.output
    assert executed.asked == [("01_work", None, {"rate": -0.001, "note": "why"}, "n")]
    *_, results, last = result.stdout.splitlines()
    assert results == "joint accuracy 50.0%"
    assert last.endswith("01_work-n completed")


@pytest.mark.parametrize(("status", "code"), [("failed", 1), ("interrupted", 130)])
def test_the_exit_code_shows_a_run_that_does_not_complete(executed, status, code, monkeypatch):
    executed.statuses.append(status)
    assert call("run", "01_work").exit_code == code
    monkeypatch.setattr(runs, "execute", Mock(side_effect=KeyboardInterrupt))
    assert call("run", "01_work").exit_code == 130


@pytest.fixture
def paper(monkeypatch, tmp_path):
    """The list of profiles that papers were made of."""
    asked = []

    def build(profile=None):
        asked.append(profile)
        return tmp_path / "PAPER.pdf"

    module = types.ModuleType("modsnr.paper")
    module.build = build
    module.lacks = lambda profile: [] if profile == "quick" else ["all-views"]
    monkeypatch.setitem(sys.modules, "modsnr.paper", module)
    monkeypatch.setattr(modsnr, "paper", module, raising=False)
    return asked


def test_reproduce_runs_the_pipeline_and_ends_with_the_path_of_the_paper(executed, paper, tmp_path):
    result = call("reproduce")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [name for *_, name in executed.asked] == ["run", "b"]
    assert lines[1].startswith("step 2 of 2: 01_work (b) completed, ")
    assert lines[1].endswith("joint accuracy 0.5")
    assert lines[-1] == str(tmp_path / "PAPER.pdf")
    assert paper == ["quick"]


def test_a_profile_without_all_the_papers_runs_makes_no_paper(executed, paper, house):
    profiles = house / "notebooks" / "profiles"
    (profiles / "half.yaml").write_text((profiles / "quick.yaml").read_text())
    result = call("reproduce", "--profile", "half")
    assert result.exit_code == 0, result.output
    assert "makes no paper: it does not make the runs all-views" in result.stdout
    executed.statuses.append("diverged")
    result = call("reproduce")
    assert result.exit_code == 1
    assert "step 1 of 2: 01_work (run) diverged" in result.stderr
    assert len(executed.asked) == 3
    assert paper == []


def test_paper_is_made_of_the_profile_that_is_asked_for(house, paper):
    assert call("paper", "--profile", "smoke").exit_code == 0
    assert not (house / "runs" / "RUNLOG.md").exists()
    assert call("paper").exit_code == 0
    assert (house / "runs" / "RUNLOG.md").exists()  # it marks the paper's runs
    assert paper == ["smoke", None]


def test_runs_are_listed_shown_and_logged(executed):
    call("run", "01_work", "--name", "first")
    listed = call("runs").stdout.splitlines()
    assert listed[0].split()[:3] == ["run", "name", "notebook"]
    record = runs.find("first")
    assert listed[1].startswith(record.id)
    assert listed[1].split()[1:3] == ["first", "01_work"]
    assert listed[1].endswith("joint accuracy 50.0%")
    for called in (record.id, record.id[:16], f"runs/{record.id}", "first"):
        shown = call("runs", "show", called).stdout
        assert shown.startswith("# 01_work, first\n\n**joint accuracy 50.0%**\n")
        content = json.loads(call("runs", "show", "--json", called).stdout)
        assert (content["id"], content["metrics"]) == (record.id, {"joint_accuracy": 0.5})
    assert call("runs", "log").stdout.strip().endswith("runs/RUNLOG.md")


def test_a_sweep_is_one_line_of_the_list_unless_all_runs_are_asked_for(house):
    for trial in range(3):
        sweep = {"name": "toy", "trial": trial, "owner": "x", "again": None}
        write_record(house, f"toy-{trial}", sweep=sweep)
    write_record(house, "own")
    short, long = (call("runs", *words).stdout.splitlines()[1:] for words in ((), ("--all",)))
    assert [re.split("  +", line)[1] for line in short] == ["own", "sweep toy, 3 runs"]
    assert [line.split()[1] for line in long] == ["own", "toy-2", "toy-1", "toy-0"]


@pytest.fixture
def several(house):
    """Four runs, the third of them failed, the last one of a profile, and made just now."""
    write_record(house, "a-1")
    write_record(house, "a-2")
    write_record(house, "b", status="failed")
    write_record(house, "a-3", profile="quick", started=datetime.now(UTC).isoformat())


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), ["a-3", "b", "a-2", "a-1"]),
        (("--name", "a-*", "--notebook", "01"), ["a-3", "a-2", "a-1"]),
        (("--notebook", "02_*"), []),
        (("--profile", "quick"), ["a-3"]),
        (("--status", "failed", "--status", "crashed"), ["b"]),
        (("--since", "2026-01-01"), ["a-3"]),
        (("--limit", "2"), ["a-3", "b"]),
        (("--limit", "1", "--all"), ["a-3", "b", "a-2", "a-1"]),
    ],
)
def test_the_list_is_narrowed_by_notebook_name_profile_status_age_and_number(several, words, names):
    result = call("runs", *words)
    assert result.exit_code == 0, result.output
    assert [line.split()[1] for line in result.stdout.splitlines()[1:]] == names


def test_a_terminal_shows_the_time_of_an_id_and_lines_of_its_width(several, monkeypatch):
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True)
    monkeypatch.setenv("COLUMNS", "40")
    lines = call("runs").stdout.splitlines()
    assert all(len(line) <= 40 for line in lines)
    assert re.match(r"\d{8}T\d{6}Z +a-3", lines[1])


def test_the_list_says_what_it_leaves_out_or_cannot_use(several, house):
    assert call("runs", "--limit", "1").stderr == "3 older ones by --limit 0\n"
    assert call("runs", "--name", "c").stderr == "none of 4 runs is like that\n"
    assert call("runs").stderr == ""
    (house / "notebooks" / "headlines.yaml").write_text("01_work: {result: {}}")
    result = call("runs")
    assert len(result.stdout.splitlines()) == 5
    assert "not used: notebooks/headlines.yaml" in result.stderr
    assert "**Not used:** notebooks/headlines.yaml" in (house / "runs" / "RUNLOG.md").read_text()


def test_compare_puts_runs_side_by_side(several):
    result = call("runs", "compare", "a-1", "a-2")
    assert result.exit_code == 0, result.output
    assert "parameters: the same" in result.stdout
