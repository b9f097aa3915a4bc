"""One writer per run folder, as real processes see it."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nchl.errors import RunError
from nchl.runs.files import lock
from nchl.runs.files.lock import locked
from nchl.runs.results.evaluate import evaluate
from nchl.runs.results.load import load
from nchl.runs.session.resume import resume
from nchl.runs.session.run import run
from reference.runs import SMALL, results

pytest.importorskip("fcntl")

HOLD = """
import sys
from pathlib import Path
from nchl.runs.files.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
# The child outlives its parent, with the lock's file still open, as forked workers may; it ends when it is told to.
HOLD_BY_A_CHILD = """
import os, sys, time
from pathlib import Path
from nchl.runs.files.lock import locked
with locked(Path(sys.argv[1])):
    if os.fork() == 0:
        os.close(0), os.close(1), os.close(2)
        deadline = time.monotonic() + 300
        while not (Path(sys.argv[1]) / "end").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os._exit(0)
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(folder: Path, program: str = HOLD) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_second_writer_is_refused_and_readers_are_not(tmp_path: Path) -> None:
    run("CartPole-v1", tmp_path / "a", **SMALL)
    with held_elsewhere(tmp_path / "a") as owner:
        before = results(tmp_path / "a")
        with pytest.raises(RunError, match=f"in use by another process .process {owner.pid}, on '{socket.gethostname()}'"):
            resume(tmp_path / "a", generations=8)
        assert results(tmp_path / "a") == before
        load(tmp_path / "a")
        assert evaluate(tmp_path / "a", episodes=1)["episodes"] == 1
    assert resume(tmp_path / "a", generations=8).generations == 8
    assert not (tmp_path / "a" / lock.NAME).exists()


def test_a_run_that_goes_on_is_locked(tmp_path: Path) -> None:
    def intrude(_: object) -> None:
        with pytest.raises(RunError, match="in use by another process"):
            resume(tmp_path / "a")
        load(tmp_path / "a")

    run("CartPole-v1", tmp_path / "a", **{**SMALL, "generations": 1}, on_generation=lambda _: None)
    resume(tmp_path / "a", generations=2, on_generation=intrude)


def test_the_lock_ends_with_a_killed_owner(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as owner:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert (tmp_path / lock.NAME).exists()
        with locked(tmp_path, patience_s=0) as notes:
            assert notes == []


def test_the_orphans_of_a_killed_owner_are_waited_for(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path, HOLD_BY_A_CHILD) as owner:
        owner.kill()
        owner.wait()
        try:
            with pytest.raises(RunError, match="in use"), locked(tmp_path, patience_s=0):
                pass
        finally:
            (tmp_path / "end").touch()
        with locked(tmp_path, patience_s=60) as notes:
            assert notes == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"pid": "x", "host": 3}', b'{"pid": -1}', b"[" * 2000, b"\xff\xfe"])
def test_the_content_of_the_file_serves_the_message_alone(tmp_path: Path, content: bytes) -> None:
    with held_elsewhere(tmp_path):
        (tmp_path / lock.NAME).write_bytes(content)
        with pytest.raises(RunError, match="in use by another process"), locked(tmp_path, patience_s=0):
            pass
    with locked(tmp_path) as notes:
        assert notes == []


def test_a_file_system_without_locks_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with locked(tmp_path) as notes:
        assert len(notes) == 1
        assert "without locks" in notes[0]


def test_a_link_in_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / lock.NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(RunError, match="symbolic link"), locked(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "precious"


def test_many_at_once_never_hold_it_together(tmp_path: Path) -> None:
    """Each takes and leaves the lock many times; the file comes and goes; a witness says whether two were ever inside."""
    program = """
import sys
from pathlib import Path
from nchl.errors import RunError
from nchl.runs.files.lock import locked
folder, taken = Path(sys.argv[1]), 0
while taken < 100:
    try:
        with locked(folder):
            (folder / "inside").touch(exist_ok=False)
            (folder / "inside").unlink()
            taken += 1
    except RunError:
        pass
"""
    processes = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert list(tmp_path.iterdir()) == []


def test_the_owner_is_written_down(tmp_path: Path) -> None:
    with locked(tmp_path):
        said = json.loads((tmp_path / lock.NAME).read_text())
        assert (said["pid"], said["host"]) == (os.getpid(), socket.gethostname())
