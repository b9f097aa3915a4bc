"""The process of some Gymnasium environments: answers the requests of `gym_processes`.

It loads numpy and Gymnasium, not torch, and does not run the user's main module a second time. When its parent ends, however suddenly,
its input ends and so does the process.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from nchl.child import pipes_to_parent
from nchl.simulators.gym_environments import Environments, Unexpected, advice, in_words
from nchl.wire import receive, send


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer until the input ends, or the parent has closed its end of the answers.

    Requests: `make` with `recipe` and `count`; `reset` with the array `seeds`; `step` with `rows` and `actions`. Answers: the arrays
    that `Environments.reset` and `step` return, in their order, or a header with `unexpected` or with `error` and `traceback`.
    """
    environments: Environments | None = None
    while True:
        try:
            (request, arrays), _ = receive(requests)
        except EOFError:
            break
        header: dict[str, Any] = {}
        found: Sequence[np.ndarray] = ()
        try:
            if request["do"] == "make":
                environments = Environments(request["recipe"], request["count"])
            elif environments is None:
                raise RuntimeError(f"{request['do']!r} before 'make'")
            elif request["do"] == "reset":
                found = environments.reset(arrays["seeds"].tolist())
            else:
                found = environments.step(arrays["rows"].tolist(), arrays["actions"])
        except Unexpected as error:
            header = {"unexpected": str(error)}
        except Exception as error:  # of the user's environment: the parent ends the run with it
            header = {"error": f"{type(error).__name__}: {error}{advice(error)}", "traceback": traceback.format_exc()}
        try:
            send(answers, header, {str(k): array for k, array in enumerate(found)})
        except BrokenPipeError:  # the parent was interrupted in mid-step
            break
    if environments is not None:
        try:
            environments.close()
        except Exception as error:  # the parent has all its answers, and waits for none
            logging.getLogger("nchl").warning("the environment failed when it was closed: %s", in_words(error))


def main() -> None:
    """Serve the parent; what environments print goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent
    serve(*pipes_to_parent())
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # At its exit Python would complain of answers that could not be written.
    os._exit(0)
