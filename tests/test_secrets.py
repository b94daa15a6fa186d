"""A commit is refused that holds a password or a key, wherever the runs in it were made."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def scan(*paths):
    """Return what the hook of pre-commit prints of files; "" if it lets them pass."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (hook,) = [hook for hook in config["repos"][0]["hooks"] if hook["id"] == "detect-secrets"]
    command, *options = shlex.split(hook["entry"])
    words = [Path(sys.executable).with_name(Path(command).name), *options, *paths]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode == 0) == (done.stdout == ""), done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("run.json", ('{"command": "postgresql://me:', "hush", '@host/db"}')),
        ("notes.md", ("AKIA", "IOSFODNN7", "EXAMPLE")),
        ("conf.yaml", ("api_key: ", "'0a1b2c3d4e5f6a7b8c9d'")),
        ("key.txt", ("-----BEGIN RSA ", "PRIVATE KEY-----")),
        ("token.py", ("token = 'gh", "p_", "a1B2" * 9, "'")),
    ],
)
def test_a_planted_key_is_refused(tmp_path, name, parts):
    (tmp_path / name).write_text("".join(parts) + "\n")
    assert f"{tmp_path / name}:1" in scan(tmp_path / name)


@pytest.mark.long
def test_the_code_and_a_run_of_this_repository_pass():
    texts = ("*.py", "*.md", "*.yaml", "*.toml", ":!runs")
    listed = subprocess.check_output(["git", "ls-files", *texts], cwd=ROOT, text=True).splitlines()
    run = next(ROOT.glob("runs/2*/run.json"))
    assert scan(*listed, run) == ""
