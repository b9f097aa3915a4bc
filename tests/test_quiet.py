"""The filters of warnings belong to the process, and are restored whatever other threads do."""

from __future__ import annotations

import threading
import time
import warnings

from nchl.quiet import quiet_warnings


def test_silence_in_two_threads_ends_with_the_later_one() -> None:
    before, entered = list(warnings.filters), threading.Event()

    def first() -> None:
        with quiet_warnings():
            entered.set()
            time.sleep(0.05)

    def second() -> None:
        entered.wait()
        with quiet_warnings():
            warnings.warn("ignored", stacklevel=1)
            time.sleep(0.1)

    threads = [threading.Thread(target=job) for job in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
