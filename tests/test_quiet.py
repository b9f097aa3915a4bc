"""The filters of warnings belong to the process, and are restored whatever other threads do."""

from __future__ import annotations

import threading
import warnings

from nchl.quiet import quiet_warnings


def test_silence_in_two_threads_ends_with_the_later_one() -> None:
    before = list(warnings.filters)
    entered, begun = threading.Event(), threading.Event()

    def first() -> None:
        with quiet_warnings():
            entered.set()
            assert begun.wait(30)

    def second() -> None:
        assert entered.wait(30)
        begun.set()
        with quiet_warnings():
            warnings.warn("ignored", stacklevel=1)

    threads = [threading.Thread(target=job) for job in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
