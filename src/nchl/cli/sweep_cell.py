"""One run of a sweep, in a process of its own: `python -m nchl.cli.sweep_cell CORES evolve ...`.

It uses the given cores only, and ends when its input ends, which is the end of its sweep.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time

_GRACE_SECONDS = 20.0


def main(words: list[str]) -> int:
    """Run `nchl` with all words but the first, which names the cores, as in `0,1`."""
    from nchl.cli import main as nchl

    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):  # a core may no longer be available
            os.sched_setaffinity(0, [int(core) for core in words[0].split(",")])
    threading.Thread(target=_end_with_input, daemon=True).start()
    sys.argv = ["nchl", *words[1:]]  # the command in the run's record
    return nchl(words[1:])


def _end_with_input() -> None:
    """Wait for the end of the input, then end the run as a scheduler would: by SIGTERM, and after a while at once."""
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os._exit(143)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
