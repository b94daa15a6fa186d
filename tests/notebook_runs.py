"""Notebooks run as papermill runs them, for tests of what they leave."""

from modsnr import runs


def done(notebook, name, **parameters):
    """Return the run of a notebook, which must complete."""
    run = runs.execute(notebook, parameters=parameters, name=name)
    assert run.status == "completed", run.error
    return run
