"""Bytes that the process keeps for its clients, and for how long."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Entry:
    """What is kept for one client. Its deadline moves on with every byte, so a steady client is never late."""

    def __init__(self, deadline: asyncio.Timeout, patience: float, least_rate: float) -> None:
        self._deadline = deadline
        self._until = asyncio.get_running_loop().time() + patience
        self._least_rate = least_rate
        self._is_given_up = False
        self.size = 0
        self.advance(0)

    def advance(self, count: int) -> None:
        if not self._is_given_up:
            self._until += count / self._least_rate
            self._deadline.reschedule(self._until)

    def give_up(self) -> None:
        if not self._is_given_up:
            self._is_given_up = True
            self._deadline.reschedule(0)


class Backlog:
    """
    What is kept for all clients, oldest first.

    A client that is slower than `least_rate` (bytes a second, once `patience` seconds are over) runs out of time. Past
    `limit` bytes in all the oldest does so at once: a client of ordinary speed has not been here long.
    """

    def __init__(self, *, limit: int, patience: float, least_rate: float) -> None:
        self._limit = limit
        self._patience = patience
        self._least_rate = least_rate
        self._entries: dict[Entry, None] = {}
        self._size = 0

    @contextmanager
    def enter(self, deadline: asyncio.Timeout) -> Iterator[Entry]:
        entry = Entry(deadline, self._patience, self._least_rate)
        self._entries[entry] = None
        try:
            yield entry
        finally:
            self._size -= entry.size
            del self._entries[entry]

    def keep(self, entry: Entry, count: int) -> None:
        """Keep so many bytes more for this client, or fewer."""
        entry.size += count
        self._size += count
        if self._size > self._limit:
            next(iter(self._entries)).give_up()
