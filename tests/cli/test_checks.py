"""`nchl doctor` knows all packages of an extra."""

from __future__ import annotations

import json
import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from nchl.cli import checks
from nchl.errors import install_command

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
FOR_USERS = sorted(set(PROJECT["optional-dependencies"]) - {"docs", "dev", "all", "notebook"})  # no verb needs these


def test_every_extra_for_users_is_looked_at() -> None:
    assert sorted(checks.EXTRAS) == FOR_USERS
    assert PROJECT["optional-dependencies"]["all"] == [f"nchl[{','.join(checks.EXTRAS)}]"]


@pytest.mark.parametrize("extra", FOR_USERS)
def test_every_distribution_of_an_extra_is_looked_at(extra: str) -> None:
    wanted = {re.split(r"[^\w-]", requirement)[0] for requirement in PROJECT["optional-dependencies"][extra]} - {"nchl"}
    assert wanted <= set(checks.EXTRAS[extra][1])


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_version", lambda name: "" if name == "jinja2" else "1.0")
    missing = [finding for finding in checks.packages() if finding.state == checks.ABSENT]
    assert [(finding.name.split()[0], finding.do) for finding in missing] == [("report", install_command("report"))]
    assert "without jinja2" in missing[0].found


ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        ({"dir_info": {"editable": True}, "url": ROOT.as_uri()}, f"pip install -e '{ROOT}[sim]'"),
        ({"dir_info": {}, "url": ROOT.as_uri()}, f"pip install '{ROOT}[sim]'"),
        ({"dir_info": {}, "url": (ROOT / "removed").as_uri()}, "pip install 'nchl[sim]'"),
        ({"archive_info": {}, "url": "https://example.org/nchl.whl"}, "pip install 'nchl[sim]'"),
        (None, "pip install 'nchl[sim]'"),
    ],
)
def test_an_extra_is_installed_from_where_nchl_was(origin: dict[str, Any] | None, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            return None if origin is None else json.dumps(origin)

    monkeypatch.setattr(metadata, "distribution", lambda name: Installed())
    assert install_command("sim") == command
