"""The main loop of a worker process: read a recipe, report the identity, then answer requests until the input ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from nchl.child import end_with_parent, pipes_to_parent

TITLE = "nchl-worker"


def main() -> None:
    """Serve the parent. Arguments: the parent's process id, and 1 if its main thread has started this process."""
    parent, by_main_thread = int(sys.argv[1]), sys.argv[2] == "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent
    end_with_parent(parent, by_main_thread)
    requests, answers = pipes_to_parent()
    with contextlib.suppress(ImportError):
        import setproctitle

        setproctitle.setproctitle(TITLE)
    with contextlib.suppress(EOFError, BrokenPipeError):
        _serve(requests, answers)
    # At a normal exit, threads of simulators that still hold locks could hang the process.
    os._exit(0)


def _serve(requests, answers) -> None:  # type: ignore[no-untyped-def]
    from nchl.wire import Message, receive, send
    from nchl.workers.messages import RequestHandler

    handler, shared = RequestHandler(), Message({}, {})
    recipe, _ = receive(requests)
    send(answers, *handler.hello(recipe))
    while True:
        message, _ = receive(requests)
        if "do" not in message.header:
            shared = message
            continue
        send(answers, *handler.answer(message, shared))
