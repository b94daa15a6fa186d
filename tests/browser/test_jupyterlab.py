"""Each notebook, top to bottom in JupyterLab: no error, its pictures, and the way to its run."""

import pytest
from lab import figures_of

from modsnr import runs

pytestmark = pytest.mark.long
VIEWS = ["constellation", "synchronised", "aligned", "residual"]
# In the order in which they need one another.
STORY = {
    "frames": ("01_preprocessing", {}),
    "constellation": ("02_training", {"views": VIEWS[:1]}),
    "all-views": ("02_training", {"views": VIEWS}),
    "max": ("02_training", {"views": VIEWS[:1], "normalization": "max"}),
    "classification": ("02_training", {"views": VIEWS[:1], "snr_head": "classification"}),
    "evaluation": ("03_evaluation", {}),
    "explanation": ("04_explainability", {}),
    "limits": ("05_limits", {}),
    "views": ("07_views", {}),
    "generalisation": ("08_generalisation", {}),
    "attribution": ("09_attribution", {}),
    "radio": ("10_radio", {}),
    "recording": ("recording", {}),
}


def run_all_cells(lab, notebook, name, parameters=None):
    """Run a notebook, look at what every notebook shows, and return its run."""
    lab.open_notebook(notebook, {"name": name} | (parameters or {}))
    lab.run_all()
    assert lab.errors() == []
    run = runs.find(name, notebook=notebook)
    assert lab.pictures() == figures_of(run) > 0
    return run


def test_jupyterlab_opens_on_the_readme_whose_links_open_the_notebooks(lab):
    lab.open()
    readme = lab.page.locator(".jp-MarkdownViewer")
    assert readme.locator("img").first.evaluate("image => image.decode().then(() => image.width)")
    readme.get_by_role("link", name="01_preprocessing").click()
    lab.page.locator(".jp-Notebook h1", has_text="Preprocessing").wait_for()
    assert lab.page.locator(".jp-Dialog").count() == 0


def test_a_cell_that_fails_is_seen_to_fail(lab):
    lab.open_notebook("05_limits", {"models": ["nobody"]})
    lab.run_all()
    (error,) = lab.errors()
    assert "of profile smoke is called 'nobody'" in error.replace("\n", " ")


@pytest.mark.parametrize("name", STORY)
def test_every_cell_runs_and_the_pictures_are_there(lab, name):
    run_all_cells(lab, STORY[name][0], name, STORY[name][1])


def test_a_person_changes_a_parameter_in_its_cell_and_runs_the_notebook(lab):
    lab.open("notebooks/06_runlog.ipynb")
    lab.page.get_by_text("| Idle").wait_for()
    editor = lab.page.locator(".jp-CodeCell", has_text="# Change values here").first
    editor.locator(".cm-content").click()
    lab.page.keyboard.press("Control+End")
    lab.page.keyboard.type('\nname = "by-hand"')
    lab.run_all()
    assert lab.errors() == []
    assert runs.find("by-hand").notebook == "06_runlog"


def test_every_cell_of_the_runlog_runs(lab):
    run_all_cells(lab, "06_runlog", "runlog")


def test_the_link_at_the_end_leads_to_the_folder_of_the_run(lab):
    lab.open_notebook("06_runlog", {"name": "linked"})
    lab.run_all()
    lab.page.get_by_role("link", name="its folder").last.click()
    lab.page.locator(".jp-DirListing-item", has_text="metrics.json").wait_for()
    crumbs = lab.page.locator(".jp-BreadCrumbs").inner_text()
    assert runs.find("linked").id in crumbs.replace("\n", "")


LABELS = [
    *("network", "modulation", "SNR (dB)", "carrier (1e-4 cyc/sample)", "frame (seed)"),
    *("view", "hide the pixels", "share hidden (0 to 1)", "attribution of"),
]
NOTE = """image => {
    window.drawn = [image.src];
    new MutationObserver(() => window.drawn.push(image.src))
        .observe(image, {attributeFilter: ['src']});
}"""
FOCUSED = """() => document.activeElement.closest('.widget-hbox > .widget-vbox > *')
    ?.querySelector('label')?.textContent"""


def test_the_explorer_is_used_by_keyboard_alone(lab):
    run_all_cells(lab, "explorer", "explorer")
    panel = lab.page
    panel.locator("img.widget-image").evaluate(NOTE)  # from here on the page notes what it draws
    panel.get_by_label("network").focus()
    visited = [panel.evaluate(FOCUSED)]
    while panel.evaluate(FOCUSED) and len(visited) < 2 * len(LABELS):
        panel.keyboard.press("Tab")
        visited.append(panel.evaluate(FOCUSED))
    # A slider is visited twice: its handle and its number, which can be typed.
    assert list(dict.fromkeys(visited)) == [*LABELS, None]

    panel.locator(".widget-slider", has_text="SNR (dB)").locator(".noUi-handle").focus()
    panel.keyboard.press("ArrowRight")
    panel.get_by_role("status").filter(has_text="where it is 10.5 dB").wait_for()
    panel.wait_for_function("window.drawn.length > 1")
    panel.keyboard.press("Shift+Tab")
    panel.keyboard.press("ArrowDown")
    panel.wait_for_function("window.drawn.length > 2")
    assert panel.get_by_label("modulation", exact=True).input_value() != "16QAM"
    # No arrow key went to the notebook, which would have selected another cell.
    assert panel.locator(".jp-Cell.jp-mod-selected .noUi-handle").count() == 2
