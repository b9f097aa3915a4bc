"""What a worker process does: read a recipe, say what it is, then answer requests until its input ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time

from nchl.child import pipes_to_parent

TITLE = "nchl-worker"
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_SECONDS_BETWEEN_LOOKS = 0.5


def main() -> None:
    """Serve standard input; arguments: the parent's process id, and 1 if its main thread has started us."""
    parent, by_main_thread = int(sys.argv[1]), sys.argv[2] == "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    _end_with(parent, by_main_thread)
    requests, answers = pipes_to_parent()
    with contextlib.suppress(ImportError):
        import setproctitle

        setproctitle.setproctitle(TITLE)
    with contextlib.suppress(EOFError, BrokenPipeError):
        _serve(requests, answers)
    # Threads of simulators may still hold locks; there is nothing to tidy up.
    os._exit(0)


def _serve(requests, answers) -> None:  # type: ignore[no-untyped-def]
    from nchl.wire import Message, receive, send
    from nchl.workers.requests import Servant

    servant, shared = Servant(), Message({}, {})
    recipe, _ = receive(requests)
    send(answers, *servant.hello(recipe))
    while True:
        message, _ = receive(requests)
        if "do" not in message.header:
            shared = message
            continue
        send(answers, *servant.answer(message, shared))


def _end_with(parent: int, by_main_thread: bool) -> None:
    """Die when the parent does, even if it is killed while this process is busy or suspended."""
    if by_main_thread and sys.platform == "linux":  # the signal follows the thread that has started us: only the main one is sure to stay
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)
