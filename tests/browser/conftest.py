"""A house in which JupyterLab runs as `make lab` starts it, and a Chromium that looks at it."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from lab import Lab
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TOKEN = "of-the-browser-tests"


def pytest_sessionstart(session):
    if CHROMIUM is None:
        raise pytest.UsageError(
            "The browser tests need Chromium on the PATH: `apt-get install chromium` as root, or "
            "your system's own package of it."
        )


@pytest.fixture(scope="session")
def house(tmp_path_factory):
    """A copy of what JupyterLab shows, with runs and data of its own."""
    root = tmp_path_factory.mktemp("house")
    for folder in ("notebooks", "paper"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("build"))
    shutil.copy(ROOT / "README.md", root)
    (root / "runs").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODSNR_ROOT", str(root))
        yield root


@pytest.fixture(scope="session")
def server(house, tmp_path_factory):
    """The address of a JupyterLab, its settings those of `make lab`; the smoke profile is asked."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    own = tmp_path_factory.mktemp("jupyter")
    environment = os.environ | {
        "JUPYTER_CONFIG_PATH": "notebooks/lab",
        "JUPYTER_CONFIG_DIR": str(own / "config"),  # not the settings of whoever runs the tests
        "JUPYTER_DATA_DIR": str(own / "data"),
        "JUPYTER_RUNTIME_DIR": str(own / "runtime"),
        "JUPYTER_TOKEN": TOKEN,
        "MODSNR_PROFILE": "smoke",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.port={port}"]
    command += ["--ServerApp.port_retries=0", *(["--allow-root"] if os.getuid() == 0 else [])]
    with open(own / "log", "w+") as log:
        process = subprocess.Popen(command, cwd=house, env=environment, stderr=log)
        try:
            address = f"http://localhost:{port}"
            _wait_for(f"{address}/api/status?token={TOKEN}", process, Path(log.name))
            yield address
        finally:
            process.terminate()  # the kernels end with it
            process.wait(60)


def _wait_for(url, process, log, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url):
                return
        except urllib.error.URLError:
            time.sleep(0.3)
    raise AssertionError(f"JupyterLab did not answer within {seconds} s:\n{log.read_text()}")


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def lab(house, server, browser, request):
    """JupyterLab in a fresh window; what was seen last is kept as a picture."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(60_000)
    screenshots = Path(__file__).parent / "screenshots"
    window = Lab(page, server, TOKEN, house, screenshots)
    yield window
    window.picture(request.node.name.removeprefix("test_"))
    window.shut_down()
    page.close()
