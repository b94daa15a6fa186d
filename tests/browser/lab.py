"""What a person does in JupyterLab, said by conditions that are waited for."""

import re
from pathlib import Path

import nbformat
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from modsnr import runs

DONE = """() => {
    const told = document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status;
    const asked = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
    // A folded cell has a prompt without a number.
    const texts = asked.map(prompt => prompt.textContent.trim()).filter(text => text);
    const failed = document.querySelector('[data-mime-type="application/vnd.jupyter.stderr"]');
    return told === 'idle' && texts.length && !texts.includes('[*]:')
        && (failed || texts.every(text => /^\\[\\d+\\]:$/.test(text)));
}"""
FROM_THE_TOP = """panel => new Promise(painted => {
    panel.scrollTop = 0;
    requestAnimationFrame(() => requestAnimationFrame(painted));
})"""
TALLEST = 9000  # pixels of a screenshot


class Lab:
    """A window of JupyterLab on a house; ``page`` is Playwright's."""

    def __init__(self, page, server, token, house, screenshots):
        self.page, self.house, self._screenshots = page, house, screenshots
        self._server, self._token = server, token

    def open(self, path=""):
        """Open a file of the house, else what JupyterLab opens by itself."""
        tree = f"/lab/tree/{path}?reset&" if path else "/?"
        self.page.goto(f"{self._server}{tree}token={self._token}")
        self.page.locator("#jp-main-dock-panel .lm-TabBar-tab").first.wait_for()

    def open_notebook(self, name, parameters=None):
        """Open a notebook with the smoke profile's parameters, and those given, injected."""
        path = self.house / "notebooks" / f"{name}.ipynb"
        preset = runs.load_profile("smoke").notebooks.get(name, {}) | (parameters or {})
        values = runs.check(name, preset)
        changed = parameterize_notebook(load_notebook_node(str(path)), values)
        nbformat.write(changed, path)
        self.open(f"notebooks/{name}.ipynb")
        self.page.get_by_text("| Idle").wait_for()  # before, all it does is to ask for a kernel

    def run_all(self, seconds=900):
        """Run all cells by the menu; wait until the kernel is idle, and all ran or one failed."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name=re.compile("^Run All Cells")).click()
        self.page.wait_for_function(DONE, timeout=seconds * 1000)

    def shut_down(self):
        """End the kernels, each of which holds a gigabyte."""
        api = {"headers": {"Authorization": f"token {self._token}"}}
        sessions = f"{self._server}/api/sessions"
        for session in self.page.context.request.get(sessions, **api).json():
            self.page.context.request.delete(f"{sessions}/{session['id']}", **api)

    def errors(self):
        """Return what the cells printed of errors and warnings, and widgets that are not there."""
        stderr = '[data-mime-type="application/vnd.jupyter.stderr"]'  # tracebacks too
        # Of cells out of sight there is no inner text, which is that of what is drawn.
        wrong = self.page.locator(stderr).all_text_contents()
        text = self.page.locator(".jp-Notebook").inner_text()
        return wrong + re.findall(".*(?:IProgress not found|Error displaying widget).*", text)

    def pictures(self):
        """Return how many of the pictures shown are whole."""
        return self.page.locator(".jp-OutputArea .jp-RenderedImage img").evaluate_all(
            "images => images.filter(image => image.complete && image.naturalWidth > 0).length"
        )

    def picture(self, name):
        """Keep the whole notebook, or what else is open, as a picture."""
        self._screenshots.mkdir(exist_ok=True)
        inner = self.page.locator(".jp-WindowedPanel-outer:visible")
        if inner.count():
            tall = inner.first.evaluate("panel => panel.scrollHeight")
            self.page.set_viewport_size({"width": 1400, "height": min(TALLEST, tall + 200)})
            inner.first.evaluate(FROM_THE_TOP)
        file = re.sub(r"[^\w-]+", "-", name).strip("-")
        self.page.screenshot(path=self._screenshots / f"{file}.png")


def figures_of(run):
    """Return how many figures a run saved."""
    return len(list(Path(run.folder).glob("figures/*.png")))
