"""What `make lab` starts, and what notebooks show there beside what files keep."""

import json
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from notebook_runs import write_record

ROOT = Path(__file__).parents[1]


def test_jupyterlab_opens_on_the_readme_on_this_machine_only_and_asks_for_its_token(tmp_path):
    nobody = {name: str(tmp_path) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    assert (
        "JUPYTER_CONFIG_PATH=notebooks/lab $(BIN)/jupyter lab $(ARGS)"
        in (ROOT / "Makefile").read_text()
    )
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


def test_a_saved_notebook_is_modified_by_its_cells_and_not_by_its_outputs(tmp_path):
    def git(*words):
        identity = ("-c", "user.name=n", "-c", "user.email=e@e.invalid")
        command = ["git", "-C", tmp_path, *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    folder, name = tmp_path / "notebooks", "06_runlog.ipynb"
    folder.mkdir()
    for file in (name, ".gitattributes"):
        shutil.copy(ROOT / "notebooks" / file, folder)
    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    made = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True).stdout
    clean = re.search(r"filter\.outputs\.clean '\.venv/bin/(.*)'", made)[1]
    git("config", "filter.outputs.clean", f"{Path(sys.executable).parent}/{clean}")
    settings = types.SimpleNamespace(FileContentsManager=types.SimpleNamespace())
    source = (ROOT / "notebooks/lab/jupyter_server_config.py").read_text()
    exec(source, {"c": settings})
    notebook = nbformat.read(folder / name, 4)
    notebook.metadata.language_info |= {"version": "3.11.7", "file_extension": ".py"}
    for cell in notebook.cells[1:]:
        if cell.cell_type == "code":
            cell.update(execution_count=1, outputs=[nbformat.v4.new_output("stream", text="x")])
            cell.metadata["trusted"] = True
    for added, status in (("", ""), ("\n# more", f" M notebooks/{name}\n")):
        notebook.cells[2].source += added
        nbformat.write(notebook, folder / name)
        settings.FileContentsManager.post_save_hook(os_path=str(folder / name), model={})
        assert git("status", "--porcelain") == status


def test_a_cell_that_runs_first_of_all_is_explained(monkeypatch):
    startup = ROOT / "notebooks" / "lab" / "kernel_startup.py"
    wanted = f"PYTHONSTARTUP='$(CURDIR)/{startup.relative_to(ROOT)}' JUPYTER_CONFIG_PATH="
    assert wanted in (ROOT / "Makefile").read_text()
    monkeypatch.setenv("PYTHONSTARTUP", str(startup))
    cells = [nbformat.v4.new_code_cell(code) for code in ("grid_db", "run = 1", "grid_db")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, allow_errors=True, kernel_name="python3").execute()
    printed = ["from the top" in str(cell.outputs) for cell in notebook.cells[::2]]
    assert printed == [True, False]
    assert all("NameError" in str(cell.outputs) for cell in notebook.cells[::2])


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
