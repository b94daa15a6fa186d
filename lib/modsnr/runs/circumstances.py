"""What a run is made with: package versions, hardware, and the program that started it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

PACKAGES = (
    *("modsnr", "numpy", "scipy", "scikit-learn", "pandas", "h5py", "numba", "torch"),
    *("torchvision", "timm", "lightning", "captum", "matplotlib", "papermill", "ipykernel"),
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that results depend on."""
    installed = {}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            installed[package] = importlib.metadata.version(package)
    return {"python": platform.python_version()} | installed


def hardware() -> dict[str, Any]:
    """Return operating system, processor, cores, memory and, if torch is loaded, the GPUs."""
    info = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:  # only Linux has this file
        system = platform.platform(terse=True)
    found: dict[str, Any] = {
        "system": system,
        "cpu": models[0] if models else platform.processor(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
    }
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        gpus = range(torch.cuda.device_count())
        found["gpus"] = [torch.cuda.get_device_name(number) for number in gpus]
    return found


def is_watched() -> bool:
    """Return whether a person watches, in JupyterLab."""
    return "JPY_SESSION_NAME" in os.environ


def papermill_parameters(executed: Path | None) -> dict[str, Any]:
    """Return what plain papermill was given for the notebook that it writes, if it writes one."""
    if executed is None:
        return {}
    metadata = json.loads(executed.read_text(encoding="utf-8"))["metadata"]
    return metadata.get("papermill", {}).get("parameters", {})


def papermill_output() -> Path | None:
    """Return the notebook that our parent writes, if that is plain papermill; else None.

    Papermill passes it to no kernel, so its command line is read. Its ``--cwd`` moves the process:
    then the path begins in the shell's folder.
    """
    try:
        parent = psutil.Process(os.getppid())
        words, folders = parent.cmdline(), (parent.cwd(), parent.environ().get("PWD", ""))
    except psutil.Error:
        return None
    notebooks = [word for word in words if word.endswith(".ipynb")]
    if len(notebooks) < 2 or "papermill" not in [Path(word).name for word in words]:
        return None
    paths = (Path(folder, notebooks[1]) for folder in folders)
    return next((path for path in paths if path.exists()), None)
