"""A real terminal: Ctrl-C typed into it, and the terminal lost, as when a connection breaks."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nchl.runs.session.resume import resume
from nchl.runs.store.checkpoints import read_newest
from reference.runs import ENDLESS_GENERATION, UNDER_WAY, wait_for

fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))

# Pendulum's lives have 200 steps each, so that generations last a while.
WORDS = ["evolve", "Pendulum-v1", "--hidden", "4", "--population", "16", "--generations", "3000", "--seed", "1"]


def start_in_terminal(words: list[str], before: str = "") -> tuple[subprocess.Popen[bytes], int]:
    """The command line, after what is to be done `before`, as the foreground process of a terminal; gives the process and our end of it."""
    ours, theirs = pty.openpty()
    program = "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from nchl.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", before + program, *words]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    return process, ours


def read_until(process: subprocess.Popen[bytes], terminal: int, enough: Callable[[str], bool], seconds: float = 300) -> str:
    """The text on the terminal, until it is enough or the process ends; line breaks become spaces."""
    shown, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline and not enough(flat := " ".join(shown.decode(errors="replace").split())):
        if not select.select([terminal], [], [], 0.05)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # no process holds the other end any more
            break
        if not data:
            break
        shown += data
    return flat


def has_rows(folder: Path) -> Callable[[str], bool]:
    file = folder / "metrics.csv"
    return lambda _: file.exists() and file.read_bytes().count(b"\n") > 2


def well_ended(folder: Path) -> None:
    checkpoint, problems = read_newest(folder / "checkpoints")
    assert checkpoint is not None
    assert problems == []
    assert checkpoint.generation >= 2
    assert not (folder / ".lock").exists()
    assert not list(folder.rglob("*.tmp"))
    assert resume(folder, generations=checkpoint.generation + 1).generations == checkpoint.generation + 1


def test_ctrl_c_is_typed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process, terminal = start_in_terminal([*WORDS, "--out", str(folder)])
    try:
        read_until(process, terminal, has_rows(folder))
        os.write(terminal, b"\x03")
        shown = read_until(process, terminal, lambda _: False)
        assert process.wait(300) == 130
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert "finishing this generation" in shown
    assert "nchl resume" in shown
    assert "Traceback" not in shown
    well_ended(folder)


@pytest.mark.slow
def test_ctrl_c_is_typed_twice_within_a_generation(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process, terminal = start_in_terminal([*WORDS, "--out", str(folder)], before=ENDLESS_GENERATION)
    try:
        for text in (UNDER_WAY, "finishing this generation"):
            assert text in read_until(process, terminal, lambda shown, text=text: text in shown)  # type: ignore[misc]
            os.write(terminal, b"\x03")
        shown = read_until(process, terminal, lambda _: False)
        assert process.wait(300) == 130
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert "nchl resume" in shown
    assert "Traceback" not in shown
    well_ended(folder)


def test_a_lost_terminal_ends_the_run_cleanly(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process, terminal = start_in_terminal([*WORDS, "--out", str(folder)])
    try:
        read_until(process, terminal, has_rows(folder))
        os.close(terminal)
        assert process.wait(300) == 129
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
    well_ended(folder)


@pytest.mark.slow
def test_nohup_keeps_a_run_going(tmp_path: Path) -> None:
    """A run whose parent ignores the loss of the terminal goes on."""
    folder = tmp_path / "run"
    words = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-m", "nchl", *WORDS, "--max-steps", "9600", "--out", str(folder)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for((folder / "metrics.csv").exists, "metrics.csv")
        os.killpg(process.pid, 1)
        assert process.wait(300) == 0
    finally:
        process.kill()
        process.wait()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["reason"] == "max_steps"
    assert summary["env_steps"] >= 9600
