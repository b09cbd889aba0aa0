"""Look for what another process makes, ever more rarely."""

import time

_FIRST_SECONDS, _LONGEST_SECONDS = 0.05, 0.5
_GROWTH = 1.5


class Backoff:
    """Pauses between looks: 0.05 s at first, each half as long again, and at most 0.5 s."""

    def __init__(self, until: float) -> None:
        """`until` is a time of the monotonic clock."""
        self._until = until
        self._pause = _FIRST_SECONDS

    def sleep(self) -> bool:
        """Pause, and return True. Return False at once if time is up."""
        if time.monotonic() > self._until:
            return False
        time.sleep(self._pause)
        self._pause = min(self._pause * _GROWTH, _LONGEST_SECONDS)
        return True
