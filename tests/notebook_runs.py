"""Notebooks run as papermill runs them, toy notebooks, and runs without a notebook."""

import time

import nbformat
from pydantic_core import to_json

from modsnr import runs


def done(notebook, name, **parameters):
    """Return the run of a notebook, which must complete."""
    run = runs.execute(notebook, parameters=parameters, name=name)
    assert run.status == "completed", run.error
    return run


def wait_for(condition, seconds=90):
    """Return what a condition returns, once that is true."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)
    return found


def write_notebook(root, name, parameters, *cells):
    """Write notebooks/NAME.ipynb of a parameters cell and further code cells."""
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
    code = [
        nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        *map(nbformat.v4.new_code_cell, cells),
    ]
    (root / "notebooks").mkdir(exist_ok=True)
    notebook = nbformat.v4.new_notebook(cells=code, metadata=metadata)
    nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")


def write_record(root, name, *, notebook="01_work", metrics=None, files=(), **fields):
    """Write the folder of a run that ended, one later than the ones before, and return it."""
    number = len(list((root / "runs").glob("2*")))
    started = f"2024-01-01T00:{number:02d}:00"
    id = f"{started.replace('-', '').replace(':', '')}Z-{notebook}-{name}"
    values = {"status": "completed", "started": f"{started}.000Z"} | fields
    record = runs.Record(id=id, folder=root / "runs" / id, name=name, notebook=notebook, **values)
    record.folder.mkdir(parents=True)
    (record.folder / "run.json").write_text(record.model_dump_json())
    if metrics is not None:
        (record.folder / "metrics.json").write_text(to_json(metrics).decode())
    for file in files:
        (record.folder / file).parent.mkdir(exist_ok=True)
        (record.folder / file).touch()
    return record
