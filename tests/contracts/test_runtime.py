"""Parts of the runtime are made on first use, whichever thread that is."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from shared_lib.runtime import Runtime, part


class Meeting(Runtime):
    """Its part is made until a second thread makes it, too, or for 0.2 s."""

    def __init__(self) -> None:
        self.making = threading.RLock()
        self.both = threading.Barrier(2)

    @part
    def made(self) -> object:
        with suppress(threading.BrokenBarrierError):
            self.both.wait(0.2)
        return object()


def test_a_part_is_made_once_though_two_threads_use_it_first() -> None:
    runtime = Meeting()
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: runtime.made, range(2))

    assert first is second
    assert runtime.made is first
