"""What `make lab` starts, and what notebooks show there beside what files keep."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from notebook_runs import write_record

ROOT = Path(__file__).parents[1]


def test_jupyterlab_opens_on_the_readme_on_this_machine_only_and_asks_for_its_token(tmp_path):
    nobody = {name: str(tmp_path) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    assert "JUPYTER_CONFIG_PATH=notebooks/lab $(BIN)/jupyter lab" in (ROOT / "Makefile").read_text()
    printed = subprocess.run(
        [sys.executable, "-m", "jupyterlab", "--show-config-json"],
        cwd=ROOT,
        env=os.environ | nobody | {"JUPYTER_CONFIG_PATH": "notebooks/lab"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    configured = json.loads(printed)
    assert configured["ServerApp"]["ip"] == "localhost"
    assert configured["LabApp"]["default_url"] == "/lab/tree/README.md"
    assert "IdentityProvider" not in configured  # hence a token, made anew at each start


def test_the_settings_of_the_repository_are_ones_that_jupyterlab_knows():
    from jupyterlab.commands import get_app_dir

    schemas = Path(get_app_dir()) / "schemas"
    overrides = ROOT / "notebooks/lab/labconfig/default_setting_overrides.json"
    given = json.loads(overrides.read_text())
    for plugin, settings in given.items():
        package, _, name = plugin.partition(":")
        known = json.loads((schemas / package / f"{name}.json").read_text())["properties"]
        assert set(settings) <= set(known)
    viewers = given["@jupyterlab/docmanager-extension:plugin"]["defaultViewers"]
    assert viewers == {"markdown": "Markdown Preview"}


@pytest.mark.parametrize("watched", [True, False])
def test_a_run_links_to_its_folder_from_where_it_is_read(tmp_path, monkeypatch, watched):
    run = write_record(tmp_path, "a")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    here = run.folder  # where an executed copy lies
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    if watched:
        monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/02_training.ipynb")
        here = tmp_path / "notebooks"
    link = run._repr_markdown_().partition("](")[2].partition(")")[0]
    assert (here / link).resolve() == run.folder / "run.json"
