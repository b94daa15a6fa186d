"""A fit that is mirrored to Weights & Biases stays on this machine, and keeps no secret."""

import importlib
import secrets
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from toy_fits import At
from toy_ranks import fit

from modsnr import InputError


@pytest.fixture(autouse=True)
def nobody(tmp_path, monkeypatch):
    """A person who has no account: no key, no mode, no login, and a home of their own."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()


def test_epochs_are_kept_offline_without_a_key_and_a_resumed_fit_goes_on_with_the_run(
    tmp_path, monkeypatch
):
    key = secrets.token_hex(20)
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_MODE", "offline")
    rows = []
    with pytest.raises(ConnectionError):
        fit(tmp_path / "cut", At("die", 6), wandb="toy", report=rows.append)
    found = fit(tmp_path / "new", resume=tmp_path / "cut", wandb="toy", report=rows.append)
    assert [row["epoch"] for row in rows] == found.history.epoch.tolist() == [1, 2, 3]
    importlib.import_module("wandb").teardown()  # its writer, another process, is behind
    ids = set()
    for folder in ("cut", "new"):
        files = [path for path in (tmp_path / folder).rglob("*") if path.is_file()]
        assert not any(key.encode() in path.read_bytes() for path in files)
        (told,) = (tmp_path / folder).glob(".wandb/offline-run-*/*.wandb")
        assert b"validation_joint_accuracy" in told.read_bytes()
        ids.add(told.stem)
    assert len(ids) == 1
    assert not list((tmp_path / "home").rglob("*key*"))


@pytest.fixture
def asked(monkeypatch):
    """What a wandb that goes nowhere is asked for."""
    calls = []

    class Error(Exception):
        pass

    def init(**options):
        calls.append(options)
        if options["project"] == "forbidden":
            raise Error("permission denied")
        return MagicMock()

    fake = SimpleNamespace(init=init, Settings=dict, errors=SimpleNamespace(Error=Error))
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return calls


def test_epochs_are_sent_only_where_there_is_a_key_and_the_mode_decides(
    tmp_path, asked, monkeypatch
):
    def mode():
        fit(tmp_path, epochs=1, wandb="toy")
        return asked[-1]["mode"]

    assert mode() == "offline"
    (tmp_path / "home" / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    assert mode() == "online"
    (tmp_path / "home" / ".netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert mode() == "offline"


def test_the_recipe_and_the_network_are_what_the_run_is_filed_under(tmp_path, asked):
    fit(tmp_path / "run", epochs=1, wandb="toy")
    assert asked[0]["name"] == "run"
    assert asked[0]["config"]["backbone"] == "test_vit"
    assert asked[0]["config"]["epochs"] == 1
    fit(tmp_path / "unnamed", epochs=1)
    assert len(asked) == 1
    assert not (tmp_path / "unnamed" / ".wandb").exists()


def test_a_service_that_refuses_is_told_before_anything_is_trained(tmp_path, asked):
    with pytest.raises(InputError, match=r"refuses the project 'forbidden': permission denied"):
        fit(tmp_path, wandb="forbidden")
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_package_that_is_missing_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r'install the extra, `pip install "modsnr\[wandb\]"`'):
        fit(tmp_path, wandb="toy")
    assert not list(tmp_path.glob("*.safetensors"))
