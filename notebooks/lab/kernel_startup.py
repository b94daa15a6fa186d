"""What `make lab` adds to each kernel: a name that is missing before a run begins is explained."""


def explain(result):
    """Print what to do where a cell ran before those above it; later the run itself does."""
    if isinstance(result.error_in_exec, NameError) and "run" not in get_ipython().user_ns:  # noqa: F821
        print("A name is missing that a cell above sets: run the cells in order, from the top.")


get_ipython().events.register("post_run_cell", explain)  # noqa: F821
