"""Limit how many requests a function handles at once and how many wait. Refuse the rest at once, to be tried again.

Without this limit, requests would pile up under overload until each waits longer than its client does. Then the
function would work for clients that are gone.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared_lib.server.errors import RequestError

QUEUE_SECONDS = 0.5  # of work that may wait, at the recent speed
MAX_WAIT_SECONDS = 2.0  # for a request that was let in before the work became slower
TYPICAL_SECONDS = 0.05  # of work for a request, until some were measured
RETRY_SECONDS = (1, 5)  # at random, so that refused clients don't come back all at once

SENTENCE = "The service is busy: try again later"


class Limiter:
    """`threads` requests at a time. A limiter that does not `shed` lets the others wait, however many there are."""

    def __init__(self, threads: int, *, shed: bool = True) -> None:
        self.threads = threads
        self._shed = shed
        self._free = asyncio.Semaphore(threads)
        self._waiting = 0
        self._mean_seconds = TYPICAL_SECONDS

    def check(self) -> None:
        """Raise RequestError if a request would have to wait for too long."""
        if self._shed and self._waiting * self._mean_seconds > self.threads * QUEUE_SECONDS:
            raise _refusal()

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Wait for the request's turn, which lasts as long as the block. Raise RequestError if it is refused."""
        self.check()
        await self._take_turn()
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            yield
        finally:
            self._free.release()
            self._mean_seconds += (clock() - began - self._mean_seconds) / 16

    async def _take_turn(self) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS if self._shed else None):
                await self._free.acquire()
        except TimeoutError:
            raise _refusal() from None
        finally:
            self._waiting -= 1


def _refusal() -> RequestError:
    return RequestError(503, SENTENCE, code="busy", retry_after=random.randint(*RETRY_SECONDS))
