"""The code blocks of a page of the documentation, read and run as its reader would: in order, in one folder.

Instructions for the runner, in comments that are not rendered, each directly above a block:

- `<!-- not run: REASON -->`: the block is not run (it needs a cluster, hours, ...).
- `<!-- first: COMMAND -->`: a command that must have run before and is not shown on the page. The command
  `small-images FOLDER` makes pictures to learn from.

A block whose first line is a comment with a file's name (`# mine.py`), or whose fence has a `title="mine.py"`, is that file; Python in it
is run as well.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nchl
from nchl.rules.kernels import cache
from nchl.runs.settings import docs_budget

ROOT = Path(__file__).resolve().parents[2]
SHELL, PYTHON, DATA, SHOWN = ("console", "sh", "bash"), ("python",), ("yaml",), ("text",)
LANGUAGES = SHELL + PYTHON + DATA + SHOWN

_FENCE = re.compile(r"^```(\w*)(?: title=\"([^\"]+)\")?$")
_COMMENT = re.compile(r"^<!-- (not run|first): (.*\S) -->$")
_FILE = re.compile(r"^# (\S+\.(?:py|yaml))$")
_SNIPPET = re.compile(r'^--8<-- "([^"]+)"$', re.M)


class BlockFailed(AssertionError):
    """A block of a page does not do what the page says."""


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: file name of the page.
        line: of the opening fence.
        language: one of `LANGUAGES`.
        code: the text between the fences, included files in place.
        file: the name under which it is to be written, or None.
        reason: why it is not run, or None.
        first: commands that must have happened before.
    """

    page: str
    line: int
    language: str
    code: str
    file: str | None
    reason: str | None
    first: tuple[str, ...]

    @property
    def runs(self) -> bool:
        """Whether the runner has something to do: run it, or write it as a file."""
        return self.reason is None and (self.language in SHELL + PYTHON or self.file is not None)

    @property
    def script(self) -> str:
        """The commands of a shell's block, without prompts."""
        return re.sub(r"^\$ ", "", self.code, flags=re.M)


def blocks(path: Path) -> list[Block]:
    """All blocks of a page, in order.

    Raises:
        BlockFailed: a fence that is not closed, an unknown language, or a comment for the runner with no block below it.
    """
    lines = path.read_text().splitlines()
    found, comments, start = [], [], None
    for number, line in enumerate(lines, 1):
        if start is not None:
            if line == "```":
                found.append(_block(path, start, lines[start : number - 1], lines[start - 1], comments))
                comments, start = [], None
        elif line.startswith("```"):
            start = number
        elif _COMMENT.match(line):
            comments.append(line)
        elif comments and line:
            raise BlockFailed(f"{path.name}:{number}: a block must stand directly below {comments[-1]!r}")
    if start is not None or comments:
        raise BlockFailed(f"{path.name}: {'a block' if start else repr(comments[-1])} has no end")
    return found


def _block(path: Path, line: int, body: list[str], fence: str, comments: list[str]) -> Block:
    opened = _FENCE.match(fence)
    if opened is None or opened[1] not in LANGUAGES:
        raise BlockFailed(f"{path.name}:{line}: expected a block of {', '.join(LANGUAGES)}, got {fence!r}")
    code = _SNIPPET.sub(lambda name: (ROOT / name[1]).read_text(), "\n".join(body)) + "\n"
    named = _FILE.match(body[0]) if body else None
    said = [matched.groups() for matched in map(_COMMENT.match, comments) if matched]
    reasons = [text for kind, text in said if kind == "not run"]
    return Block(
        page=path.name,
        line=line,
        language=opened[1],
        code=code,
        file=opened[2] or (named[1] if named else None),
        reason=reasons[0] if reasons else None,
        first=tuple(text for kind, text in said if kind == "first"),
    )


def indented_commands(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of commands that stand in the page without a fence, where nothing would run them."""
    inside = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        inside ^= line.startswith("```")
        if not inside and re.match(r"^(?: {4}|\t)(?:[A-Z_]+=\S* )*(?:nchl|python|pip|pytest|make|tensorboard|from|import) ", line):
            yield number, line.strip()


class Runner:
    """Runs the blocks of one page in a folder that looks like a clone, with small budgets and a home of its own.

    Args:
        folder: an empty folder.
        minutes: a block that takes longer has failed.
    """

    def __init__(self, folder: Path, minutes: float = 15.0) -> None:
        self.clone, self._seconds = folder / "clone", 60 * minutes
        self._names: dict[str, Any] = {"__name__": "page"}
        source = Path(nchl.__file__).parents[1]
        tools = folder / "bin"
        for made in (self.clone, tools, folder / "home"):
            made.mkdir()
        for part in ("examples", "benchmarks"):
            shutil.copytree(ROOT / part, self.clone / part, ignore=shutil.ignore_patterns("__pycache__"))
        (self.clone / "docs" / "images").mkdir(parents=True)
        binaries = Path(sys.executable).parent
        # PYTHONPATH of a page (`PYTHONPATH=. nchl ...`) must not hide the package under test, and `nchl` must not see the folder by itself.
        command = "import sys; del sys.path[0]; from nchl.cli import main; sys.exit(main())"
        before = f'PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}{source}" PYTHONDONTWRITEBYTECODE=1'
        (tools / "nchl").write_text(f'#!/bin/sh\n{before} exec {sys.executable} -c "{command}" "$@"\n')
        (tools / "small-images").write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("small_images.py")} "$@"\n')
        for tool in tools.iterdir():
            tool.chmod(0o755)
        self.environment = {
            "PATH": os.pathsep.join([str(tools), str(binaries), os.environ.get("PATH", "")]),
            "HOME": str(folder / "home"),
            "NCHL_CACHE": str(cache.folder()),  # kernels are compiled once
            "MPLBACKEND": "agg",
            "WANDB_MODE": "offline",
            docs_budget.VARIABLE: "small",
        }

    def run(self, block: Block) -> bool:
        """Write and run one block; False where there is nothing to do.

        Raises:
            BlockFailed: it does not work as it stands; says where, and how it ended.
        """
        if not block.runs:
            return False
        for command in block.first:
            self._shell(command, block)
        if block.file is not None:
            (self.clone / block.file).write_text(block.code)
        if block.language in SHELL:
            self._shell(block.script, block)
        elif block.language in PYTHON:
            self._python(block)
        return True

    def _shell(self, script: str, block: Block) -> None:
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-x", "-c", script],
            cwd=self.clone,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=self._seconds,
            stdin=subprocess.DEVNULL,
        )
        if ended.returncode != 0:
            raise BlockFailed(f"{block.page}:{block.line}: exit code {ended.returncode}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}")

    def _python(self, block: Block) -> None:
        """In this process: blocks of a page go on with the names of those before."""
        before, place = dict(os.environ), Path.cwd()
        os.environ.update(self.environment)
        os.chdir(self.clone)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", docs_budget.BudgetCut)
                exec(compile(block.code, f"{block.page}, block at line {block.line}", "exec"), self._names)
        except Exception as error:
            raise BlockFailed(f"{block.page}:{block.line}: {type(error).__name__}: {error}\n{block.code}") from error
        finally:
            os.chdir(place)
            os.environ.clear()
            os.environ.update(before)
