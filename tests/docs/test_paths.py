"""Files, names and make targets that the pages for readers and contributors mention exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [ROOT / "README.md", CONTRIBUTING, ROOT / "SECURITY.md", ROOT / "studies" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_PATH = re.compile(r"`((?:src|tests|docs|examples|benchmarks|studies|reproduce|\.ci)/[\w./-]*)")
# "`NAME` in `src/FILE.py`"; more names may stand before the file.
_NAMED = re.compile(r"((?:`\w+`(?: and )?)+) (?:in|of) `(src/[\w/]+\.py)`")


def mentioned(page: Path) -> list[str]:
    """Paths in backticks, without those that hold a placeholder in capitals, such as `studies/NAME/page.py`."""
    found = _PATH.findall(page.read_text())
    return [path for path in found if not any(part.split(".")[0].isupper() and part != "README.md" for part in path.split("/"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_of_a_page_exists(page: Path) -> None:
    assert not [path for path in mentioned(page) if not (ROOT / path).exists()]


def test_contributing_names_what_its_files_define() -> None:
    assert len(mentioned(CONTRIBUTING)) > 25
    named = [(name, file) for names, file in _NAMED.findall(CONTRIBUTING.read_text()) for name in re.findall(r"`(\w+)`", names)]
    assert {"BUILT_IN", "STRATEGIES", "DESCRIBED", "_READERS", "EXAMPLES", "VERBS", "Simulator", "Strategy"} <= {name for name, _ in named}
    missing = [f"{name} in {file}" for name, file in named if not re.search(rf"^(class )?{name}\b", (ROOT / file).read_text(), re.M)]
    assert not missing
    assert re.search(r"^SIMULATORS = ", (ROOT / "src/nchl/simulators/registry.py").read_text(), re.M)


def test_contributing_names_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    called = {word for words in re.findall(r"`make ([a-z ]+)`", CONTRIBUTING.read_text()) for word in words.split()}
    assert {"test", "slow", "lint", "types", "docs", "examples"} <= called <= targets
