"""Limit the bytes that the process keeps for slow clients, and for how long."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Entry:
    """The bytes kept for one client. Every byte moves its deadline on, so a steady client is never late."""

    def __init__(self, deadline: asyncio.Timeout, grace: float, min_rate: float) -> None:
        self._deadline = deadline
        self._until = asyncio.get_running_loop().time() + grace
        self._min_rate = min_rate
        self._is_given_up = False
        self.size = 0
        self.advance(0)

    def advance(self, count: int) -> None:
        if not self._is_given_up:
            self._until += count / self._min_rate
            self._deadline.reschedule(self._until)

    def give_up(self) -> None:
        if not self._is_given_up:
            self._is_given_up = True
            self._deadline.reschedule(0)


class Backlog:
    """The bytes kept for all clients, oldest first.

    A client that is slower than `min_rate`, in bytes a second after the first `grace` seconds, runs out of time. If
    more than `limit` bytes are kept, the oldest client does so at once: one of ordinary speed would have left before.
    """

    def __init__(self, *, limit: int, grace: float, min_rate: float) -> None:
        self._limit = limit
        self._grace = grace
        self._min_rate = min_rate
        self._entries: dict[Entry, None] = {}
        self._size = 0

    @contextmanager
    def enter(self, deadline: asyncio.Timeout) -> Iterator[Entry]:
        entry = Entry(deadline, self._grace, self._min_rate)
        self._entries[entry] = None
        try:
            yield entry
        finally:
            self._size -= entry.size
            del self._entries[entry]

    def keep(self, entry: Entry, count: int) -> None:
        """Count more bytes for this client, or fewer if negative."""
        entry.size += count
        self._size += count
        if self._size > self._limit:
            next(iter(self._entries)).give_up()
