"""What `make lab` starts, and what notebooks show there: it is told apart from what files keep."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from ipywidgets.widgets.widget import _instances

from modsnr import runs
from modsnr.runs.showing import ShownTable

ROOT = Path(__file__).parents[1]
WIDGET = "application/vnd.jupyter.widget-view+json"


def test_make_lab_starts_jupyterlab_with_the_settings_of_the_repository():
    asked = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "--assume-old=.venv/.ready", "lab"],
        cwd=ROOT,
        env=os.environ | {"VIRTUAL_ENV": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()[-1]
    assert asked == "JUPYTER_CONFIG_PATH=notebooks/lab .venv/bin/jupyter lab"


def test_jupyterlab_opens_on_the_readme_on_this_machine_only_and_asks_for_its_token(tmp_path):
    nobody = {name: str(tmp_path) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    told = subprocess.run(
        [sys.executable, "-m", "jupyterlab", "--show-config-json"],
        cwd=ROOT,
        env=os.environ | nobody | {"JUPYTER_CONFIG_PATH": "notebooks/lab"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    configured = json.loads(told)
    assert configured["ServerApp"]["ip"] == "localhost"
    assert configured["LabApp"]["default_url"] == "/lab/tree/README.md"
    assert "IdentityProvider" not in configured  # hence a token, made anew at each start


def test_the_settings_of_the_repository_are_ones_that_jupyterlab_knows():
    from jupyterlab.commands import get_app_dir

    schemas = Path(get_app_dir()) / "schemas"
    given = json.loads(
        (ROOT / "notebooks/lab/labconfig/default_setting_overrides.json").read_text()
    )
    for plugin, settings in given.items():
        package, _, name = plugin.partition(":")
        known = json.loads((schemas / package / f"{name}.json").read_text())["properties"]
        assert set(settings) <= set(known)
    viewers = given["@jupyterlab/docmanager-extension:plugin"]["defaultViewers"]
    assert viewers == {"markdown": "Markdown Preview"}


@pytest.fixture
def table():
    return pd.DataFrame({"run": [f"<{n}>" for n in range(2000)], "value": 0.123456})


def test_a_shown_table_has_all_rows_as_text_and_html_and_needs_no_code_in_the_notebook(table):
    bundle = ShownTable(table, live=False)._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    assert bundle["text/html"].count("<tr") == 2001
    assert "&lt;1999&gt;" in bundle["text/html"]
    assert "<script" not in bundle["text/html"]
    assert len(str(bundle)) < 2000 * 150


def test_a_watched_table_is_a_widget_with_all_rows_beside_the_same_html(table):
    watched = ShownTable(table, live=True)._repr_mimebundle_()
    unwatched = ShownTable(table, live=False)._repr_mimebundle_()
    assert {name: watched[name] for name in unwatched} == unwatched
    widget = _instances[watched[WIDGET]["model_id"]]
    assert len(json.loads(widget._dt_args["data_json"])) == 2000
    assert len(str(watched)) < len(str(unwatched)) + 500  # its code is not among it


def record(tmp_path):
    folder = tmp_path / "runs" / "20260101T000000Z-02_training-a"
    (tmp_path / "notebooks").mkdir()
    folder.mkdir(parents=True)
    told = {"notebook": "02_training", "name": "a", "status": "completed", "started": "2026"}
    (folder / "run.json").write_text(json.dumps(told))
    return runs.Record.load(folder)


@pytest.mark.parametrize("watched", [True, False])
def test_a_run_links_to_its_folder_from_where_it_is_read(tmp_path, monkeypatch, watched):
    run = record(tmp_path)
    if watched:
        monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/02_training.ipynb")
        here = tmp_path / "notebooks"
    else:
        monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
        here = run.folder  # where an executed copy lies
    monkeypatch.chdir(tmp_path / "notebooks")
    link = run._repr_markdown_().partition("](")[2].partition(")")[0]
    assert (here / link).resolve() == run.folder / "run.json"
