"""A real terminal: Ctrl-C typed into it, and the terminal lost, as when a connection breaks."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nchl.runs.checkpoint import read_newest
from nchl.runs.session import resume

fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))

# Pendulum's lives have 200 steps each, so that generations last a while.
WORDS = ["evolve", "Pendulum-v1", "--hidden", "4", "--population", "16", "--generations", "3000", "--seed", "1"]


def start_in_terminal(words: list[str]) -> tuple[subprocess.Popen[bytes], int]:
    """The command line as the foreground process of a terminal of its own; gives the process and our end of it."""
    ours, theirs = pty.openpty()
    program = "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from nchl.cli import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen([sys.executable, "-c", program, *words], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    return process, ours


def read_until(process: subprocess.Popen[bytes], terminal: int, rows: Path | None = None, seconds: float = 300) -> str:
    """What is shown, until the metrics have rows, or else until the process ends."""
    shown, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        if rows is not None and rows.exists() and rows.read_bytes().count(b"\n") > 2:
            break
        if not select.select([terminal], [], [], 0.05)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # nobody holds the other end any more
            break
        if not data:
            break
        shown += data
    return shown.decode(errors="replace")


def well_ended(folder: Path) -> None:
    checkpoint, problems = read_newest(folder / "checkpoints")
    assert checkpoint is not None
    assert problems == []
    assert checkpoint.generation >= 2
    assert not (folder / ".lock").exists()
    assert not list(folder.rglob("*.tmp"))
    assert resume(folder, generations=checkpoint.generation + 1).generations == checkpoint.generation + 1


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_is_typed(tmp_path: Path, times: int) -> None:
    folder = tmp_path / "run"
    process, terminal = start_in_terminal([*WORDS, "--out", str(folder)])
    try:
        read_until(process, terminal, folder / "metrics.csv")
        for _ in range(times):
            os.write(terminal, b"\x03")
            time.sleep(0.01)
        shown = read_until(process, terminal)
        assert process.wait(300) == 130
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    # The terminal breaks lines where it is 80 columns wide.
    flat = " ".join(shown.split())
    assert "finishing this generation" in flat
    assert "nchl resume" in flat
    assert "Traceback" not in flat
    well_ended(folder)


def test_a_lost_terminal_ends_the_run_cleanly(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process, terminal = start_in_terminal([*WORDS, "--out", str(folder)])
    try:
        read_until(process, terminal, folder / "metrics.csv")
        os.close(terminal)
        assert process.wait(300) == 129
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
    well_ended(folder)


@pytest.mark.slow
def test_nohup_keeps_a_run_going(tmp_path: Path) -> None:
    """Whoever ignores the loss of the terminal wants the run to go on."""
    folder = tmp_path / "run"
    words = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-m", "nchl", *WORDS, "--max-steps", "9600", "--out", str(folder)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 300
        while not (folder / "metrics.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, 1)
        assert process.wait(300) == 0
    finally:
        process.kill()
        process.wait()
    assert (folder / "summary.json").exists()
