"""Notebooks run as papermill runs them, for tests of what they leave, and toy notebooks."""

import nbformat

from modsnr import runs


def done(notebook, name, **parameters):
    """Return the run of a notebook, which must complete."""
    run = runs.execute(notebook, parameters=parameters, name=name)
    assert run.status == "completed", run.error
    return run


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
