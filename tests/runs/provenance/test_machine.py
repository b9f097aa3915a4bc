"""A run names the commit of the nchl that made it, and whether the sources differed from it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import nchl
from nchl.runs.provenance import machine
from nchl.simulators import SIMULATORS
from nchl.strategies.registry import STRATEGIES

ROOT = Path(nchl.__file__).resolve().parents[2]


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    package = tmp_path / "clone" / "src" / "nchl"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (tmp_path / "clone" / "README.md").write_text("")
    git(tmp_path / "clone", "init", "-q")
    git(tmp_path / "clone", "add", ".")
    git(tmp_path / "clone", "commit", "-qm", "First")
    monkeypatch.setattr(nchl, "__file__", str(package / "__init__.py"))
    return tmp_path / "clone"


def test_the_commit_of_a_checkout_and_whether_it_is_dirty(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    assert machine.commit() == {"nchl_commit": head}
    (checkout / "README.md").write_text("words alone change no run")
    monkeypatch.setenv("GIT_DIR", str(checkout / "nowhere"))  # as inside a hook of git's
    assert machine.commit() == {"nchl_commit": head}
    monkeypatch.delenv("GIT_DIR")
    (checkout / "src" / "nchl" / "new.py").write_text("")
    assert machine.commit() == {"nchl_commit": f"{head} (dirty)"}
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "Second")
    assert machine.commit() == {"nchl_commit": git(checkout, "rev-parse", "HEAD")} != {"nchl_commit": head}
    monkeypatch.setenv("PATH", str(checkout))  # no git there
    assert machine.commit() == {}


def test_the_repository_around_an_environment_is_not_that_of_nchl(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = checkout / ".venv" / "lib" / "site-packages" / "nchl"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    monkeypatch.setattr(nchl, "__file__", str(installed / "__init__.py"))
    assert machine.commit() == {}
    about = installed.parent / "nchl-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: nchl\nVersion: 0.1.0\n")
    (about / "direct_url.json").write_text(json.dumps({"url": "https://x.example", "vcs_info": {"vcs": "git", "commit_id": "abc123"}}))
    monkeypatch.syspath_prepend(str(installed.parent))
    assert machine.commit() == {"nchl_commit": "abc123"}
    for odd in ("{}", "[", '{"vcs_info": 3}'):
        (about / "direct_url.json").write_text(odd)
        assert machine.commit() == {}


def test_an_installed_checkout_has_its_commit_as_long_as_it_lies_there(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages" / "nchl"
    shutil.copytree(checkout / "src" / "nchl", installed)
    (installed / "__pycache__").mkdir()
    monkeypatch.setattr(nchl, "__file__", str(installed / "__init__.py"))
    about = installed.parent / "nchl-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: nchl\nVersion: 0.1.0\n")
    (about / "direct_url.json").write_text(json.dumps({"url": checkout.as_uri(), "dir_info": {}}))
    monkeypatch.syspath_prepend(str(installed.parent))
    head = git(checkout, "rev-parse", "HEAD")
    assert machine.commit() == {"nchl_commit": head}
    for file in (installed, checkout / "src" / "nchl"):  # installed from uncommitted sources
        (file / "more.py").write_text("x = 1\n")
    assert machine.commit() == {"nchl_commit": f"{head} (dirty)"}
    (checkout / "src" / "nchl" / "more.py").write_text("x = 2\n")
    assert machine.commit() == {}
    shutil.rmtree(checkout)
    assert machine.commit() == {}


def test_a_run_records_it(tmp_path: Path) -> None:
    nchl.run("CartPole-v1", tmp_path / "run", hidden=(3,), population=4, generations=1)
    versions = json.loads((tmp_path / "run" / "config.json").read_text())["versions"]
    assert versions["nchl"] == nchl.__version__
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this nchl is no checkout")
    assert versions["nchl_commit"].split()[0] == git(ROOT, "rev-parse", "HEAD")


def test_versions_of_every_simulator_and_strategy_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.importlib.metadata, "version", lambda package: f"version of {package}")
    recorded = machine.versions()
    assert all(package in recorded for entry in SIMULATORS.values() for package in entry.packages)
    assert all(package in recorded for entry in STRATEGIES.values() for package in entry.packages)
    assert {"torch", "evosax", "jax", "ray"} <= set(recorded)
