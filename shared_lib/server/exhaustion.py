"""Say in one line, now and then, that this process has no descriptors or memory left for connections.

asyncio logs each failed `accept` with a traceback, and tries 2,000 times a second: a megabyte of log for each.
"""

import errno
import logging
import time

from shared_lib.observability import get_logger

log = get_logger()

SILENT_SECONDS = 10.0
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class AcceptFailures(logging.Filter):
    """A filter for asyncio's log."""

    def __init__(self) -> None:
        super().__init__()
        self._due = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, OSError) or error.errno not in _EXHAUSTED:
            return True
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + SILENT_SECONDS
            log.error("connections_not_accepted", reason=error.strerror)
        return False
