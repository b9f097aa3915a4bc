"""`nchl doctor` reports on the compiler, on every simulator of the registry, and on what is missing."""

from __future__ import annotations

import json
import sys

import pytest

from nchl.cli import checks, main
from nchl.errors import install_command
from nchl.simulators import SIMULATORS


def test_missing_things_are_reported_with_what_to_do(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def said(program: str) -> str | None:
        return "'envpool' is needed here; install it with: pip install 'nchl[sim]'" if "'envpool'" in program else None

    monkeypatch.setattr(checks, "_said_elsewhere", said)
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert main(["doctor", "--json"]) == 0
    findings = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["C++ compiler"]["state"] == "missing"
    assert "install" in findings["C++ compiler"]["do"]
    assert {title: findings[title]["state"] for title in ("EnvPool", "Gymnasium")} == {"EnvPool": "missing", "Gymnasium": "ok"}
    assert findings["EnvPool"]["found"] == SIMULATORS["envpool"].without
    assert "nchl[sim]" in findings["EnvPool"]["do"]
    assert {entry.title for entry in SIMULATORS.values()} <= set(findings)
    assert {"instruction set", "threads", "OpenMP waiting", "libGL", "sim (evolving on simulators)"} <= set(findings)
    assert main(["doctor"]) == 0
    assert "-> 'envpool' is needed here" in capsys.readouterr().out


def test_an_import_that_kills_its_process_is_reported() -> None:
    assert checks._said_elsewhere("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)") == "its import killed the process (signal 11)"
    assert "No module named" in str(checks._said_elsewhere("import nothing_of_this_name"))
    assert checks._said_elsewhere("print()") is None


def test_a_simulator_that_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gymnasium")
    from nchl.simulators import registry

    assert registry.module("gymnasium").problem() is None
    monkeypatch.setitem(sys.modules, "gymnasium", None)  # its import raises ImportError
    assert install_command("sim") in str(registry.module("gymnasium").problem())
