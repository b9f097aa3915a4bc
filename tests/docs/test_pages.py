"""Every block of README and of the documentation runs as it stands, with small budgets, or says why it does not."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from pathlib import Path

import pytest

from nchl.cli import VERBS
from nchl.cli.parser import Parser, given
from nchl.cli.verbs.bench import BENCHES
from nchl.runs.settings.config import EvolveConfig, options
from nchl.vision.settings import SoftHebbSettings
from nchl.vision.settings import options as softhebb_options
from reference.pages import LANGUAGES, ROOT, SHELL, BlockFailed, Runner, blocks, indented_commands

# docs/cli.md is made from `--help` and has no command of its own.
PAGES = [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").glob("*.md") if page.name != "cli.md")]
# Pages whose Python needs no run of their commands.
PYTHON_ALONE = ("convolution.md", "deployment.md", "networks.md", "rules.md", "softhebb.md", "strategies.md", "tasks.md", "time.md")
COMMANDS = [(block, line) for page in PAGES for block in blocks(page) if block.language in SHELL for line in block.script.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(block.runs for block in blocks(page))], ids=lambda page: page.name)
def test_every_block_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    ran = [block.line for block in blocks(page) if runner.run(block)]
    expected = [block.line for block in blocks(page) if block.reason is None and (block.language in (*SHELL, "python") or block.file)]
    assert ran == expected
    assert ran


@pytest.mark.parametrize("name", PYTHON_ALONE)
def test_python_that_needs_no_command_runs(name: str, tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    assert [runner.run(block) for block in blocks(ROOT / "docs" / name) if block.language == "python"].count(True) >= 2


def functions(code: str) -> dict[str, str]:
    """Name of each function -> what it computes, without its docstring."""
    found = {node.name: node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)}
    return {name: ast.dump(ast.Module([each for each in node.body if not is_text(each)], [])) for name, node in found.items()}


def is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def test_the_rules_on_their_page_are_those_of_the_examples() -> None:
    on_page: dict[str, str] = {}
    for block in blocks(ROOT / "docs" / "rules.md"):
        on_page |= functions(block.code) if block.language == "python" else {}
    for file, names in {"own_rule.py": ("oja", "steered"), "memory_rules.py": ("bcm", "rewarded")}.items():
        in_file = functions((ROOT / "examples" / file).read_text())
        assert {name: on_page[name] for name in names} == {name: in_file[name] for name in names}


def test_the_documentation_has_blocks_to_run() -> None:
    """A change of the fences that hides blocks from the reader of pages would show here."""
    found = [block for page in PAGES for block in blocks(page)]
    assert sum(block.runs for block in found) >= 35
    fences = sum(len(re.findall(r"^```\w", page.read_text(), re.M)) for page in PAGES)
    assert len(found) == fences


def test_what_is_not_run_says_why_and_is_the_smaller_part() -> None:
    marked = [block for page in PAGES for block in blocks(page) if block.reason is not None]
    assert all(len(str(block.reason).split()) >= 2 for block in marked)
    assert not [block for block in marked if block.language not in LANGUAGES or block.language == "text"], (
        "text is never run; it needs no mark"
    )
    assert len(marked) < sum(block.runs for page in PAGES for block in blocks(page))


def test_no_command_stands_where_nothing_runs_it() -> None:
    found = [f"{page.name}:{line}: {text}" for page in PAGES for line, text in indented_commands(page)]
    assert not found, "put these into a fenced block:\n" + "\n".join(found)


@pytest.mark.parametrize(("block", "line"), COMMANDS, ids=[f"{block.page}:{block.line}: {line[:60]}" for block, line in COMMANDS])
def test_every_command_is_understood(block: object, line: str) -> None:
    """Also those that are not run: verbs, options and settings must exist."""
    for part in re.split(r"[;|&]+", line.strip()):
        words = shlex.split(part, comments=True)
        while words and re.match(r"^[A-Z_]+=", words[0]):
            words.pop(0)
        if not words or words[0] != "nchl":
            continue
        understand(words[1], words[2:])


def understand(verb: str, words: list[str]) -> None:
    """Parse the words as `nchl` does, and check the settings of those verbs that have some."""
    import importlib

    assert verb in VERBS
    name = VERBS[verb].module
    if verb == "bench":
        assert words[0] in BENCHES
        name, words = f"{name}.{words[0]}", words[1:]
    module = importlib.import_module(name)
    parser = Parser(f"nchl {verb}", "")
    module.add_arguments(parser)
    parser.add_json()
    args: argparse.Namespace = parser.parse_words(["0" if word.startswith("$") else word for word in words])
    if verb == "evolve":
        EvolveConfig.create(**given(args, options()))
    if verb == "softhebb" and args.resume is None:
        SoftHebbSettings(**given(args, softhebb_options()))


def page(folder: Path, text: str) -> Path:
    (folder / "page.md").write_text(text)
    return folder / "page.md"


def play(path: Path, folder: Path) -> list[int]:
    runner = Runner(folder)
    return [block.line for block in blocks(path) if runner.run(block)]


def test_a_page_goes_on_where_its_blocks_before_have_come(tmp_path: Path) -> None:
    text = """# Page
```python
# mine.py
answer = 41
```

<!-- first: echo 1 > one -->
```console
$ test -f one   # made before
$ grep -q 41 mine.py; test -f examples/sweep.yaml
```
<!-- not run: needs a miracle -->
```sh
false
```
```python
assert answer + 1 == 42
```
```text
no command
```
"""
    (tmp_path / "play").mkdir()
    assert play(page(tmp_path, text), tmp_path / "play") == [2, 8, 16]


@pytest.mark.parametrize(
    ("language", "code", "message"),
    [
        ("console", "$ true\n$ false\n$ true", "exit code 1"),
        ("sh", "nchl evolve CartPole-v1 --hiden 4", "exit code 2(.|\n)*--hidden"),
        ("sh", "nchl --version; echo $NO_SUCH_NAME", "NO_SUCH_NAME"),
        ("python", "import nchl\nnchl.NHCL([4, 2]).forward(observation)", "NameError"),
    ],
)
def test_a_block_that_fails_is_found(language: str, code: str, message: str, tmp_path: Path) -> None:
    path = page(tmp_path, f"Text\n\n```{language}\n{code}\n```\n")
    (tmp_path / "play").mkdir()
    with pytest.raises(BlockFailed, match=f"page.md:3: (.|\n)*{message}"):
        play(path, tmp_path / "play")


@pytest.mark.parametrize(
    "text", ["```ruby\nputs 1\n```\n", "```sh\ntrue\n", "<!-- not run: needs hours -->\nText\n", "<!-- not run: x -->\n"]
)
def test_what_the_runner_would_pass_over_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(BlockFailed):
        blocks(page(tmp_path, text))
