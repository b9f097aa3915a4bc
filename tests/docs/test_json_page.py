"""docs/json.md names the keys that each verb prints."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("envpool")
pytest.importorskip("yaml")
pytest.importorskip("matplotlib")
pytest.importorskip("imageio")

from nchl.cli import VERBS, main
from reference.pages import ROOT

PAGE = (ROOT / "docs" / "json.md").read_text()
RUN = "evolve CartPole-v1 --hidden 3 --population 4 --generations 2 --max-episode-steps 20 --out r"
COMMANDS = {
    "evolve": RUN,
    "resume": "resume r --generations 3",
    "evaluate": "evaluate r --episodes 2 --controls",
    "adapt": "adapt r --perturb lesion:weights=1@5 --episodes 2",
    "film": "film r --seconds 1",
    "report": "report r --episodes 2 --no-film",
    "compare": "compare r",
    "sweep": "sweep sweep.yaml --dry-run",
    "describe": "describe r",
}


def documented(verb: str) -> set[str]:
    """The keys in the table below the heading that names the verb."""
    section = next(part for part in re.split(r"^## ", PAGE, flags=re.M) if verb in part.splitlines()[0].split(", "))
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_the_keys_on_the_page_are_those_of_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.yaml").write_text("task: CartPole-v1\nhidden: [3]\ngrid: {network: [nchl, hl]}\n")
    for verb, words in COMMANDS.items():
        assert main([*words.split(), "--json"]) == 0, verb
        assert set(json.loads(capsys.readouterr().out)) == documented(verb), verb


@pytest.mark.parametrize("verb", ["tasks", "zoo", "presets", pytest.param("doctor", marks=pytest.mark.slow)])
def test_the_keys_of_a_list_are_on_the_page(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{verb}` | "))
    named = set(re.findall(r"`(\w+)`", row)) - {verb}
    assert main([verb, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    inner = next((value[0] for value in shown.values() if isinstance(value, list) and isinstance(value[0], dict)), None)
    found = set(shown) | set(inner) if inner is not None else set(next(iter(shown.values())))
    assert named - {verb} <= found
    if verb != "zoo":  # whose row ends with an ellipsis
        assert found <= named | {verb}


def test_every_verb_is_on_the_page() -> None:
    headings = {word for line in PAGE.splitlines() if line.startswith("## ") for word in line[3:].split(", ")}
    assert set(VERBS) - {"bench"} == headings
    assert "`nchl bench`" in PAGE
