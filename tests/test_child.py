"""Child processes: they import what this process imports, answer by messages alone, and their ends are described."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nchl.child import Child

ECHO = """
import os, signal
from nchl.child import pipes_to_parent
from nchl.wire import receive, send

def main():
    requests, answers = pipes_to_parent()
    os.write(1, b"printed, and no message")
    while True:
        try:
            (header, arrays), _ = receive(requests)
        except EOFError:
            os._exit(7)
        if header.get("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        send(answers, {"got": header}, {name: 2 * array for name, array in arrays.items()})
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    (tmp_path / "echo_of_mine.py").write_text(ECHO)
    monkeypatch.syspath_prepend(tmp_path)
    child = Child("echo_of_mine", variables={"OMP_NUM_THREADS": "1"})
    yield child
    child.kill()
    child.reap(10)
    child.close_pipes()


def test_messages_go_both_ways_beside_what_the_child_prints(child: Child) -> None:
    for k in range(2):
        child.send({"k": k}, {"a": np.arange(3, dtype=np.uint8)})
        assert child.answers_within(60)
        (header, arrays), size = child.receive()
        assert header == {"got": {"k": k}}
        np.testing.assert_array_equal(arrays["a"], [0, 2, 4])
        assert size > 3
    assert not child.answers_within(0)


def test_the_end_of_the_input_ends_it(child: Child) -> None:
    child.close_input()
    with pytest.raises(EOFError):
        child.receive()
    assert child.how_it_ended() == "exit status 7"


def test_a_signal_is_named(child: Child) -> None:
    child.send({"die": True})
    with pytest.raises(EOFError):
        child.receive()
    assert child.how_it_ended() == f"killed by signal {int(signal.SIGKILL)}"
