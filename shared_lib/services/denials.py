"""Record denied calls in the audit log: few enough that a flood of them fills nothing."""

import threading
import time
from collections import OrderedDict, deque

from shared_lib.constraints import DEFAULT_TENANT
from shared_lib.database.connection import acting_for
from shared_lib.domain.audit import Action, Actor
from shared_lib.errors import ServiceError
from shared_lib.observability import get_logger, log_failure
from shared_lib.repositories.audit import AuditLog, acting_as

log = get_logger()

SECONDS = 60
MOST = 30
"""Records of one process about a tenant's callers within that time, and as many about strangers."""
WATCHED = 1_000


class Denials:
    """Thread-safe, with no state but counts.

    Each tenant has a budget of its own, and strangers have one. So none uses up the records about the others.
    """

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self._lock = threading.Lock()
        self._budgets: OrderedDict[str, _Budget] = OrderedDict()

    def record(self, actor: Actor, tenant: str, endpoint: str, code: str) -> None:
        """Record that a call was denied, unless an equal one was within a minute, or too many others.

        Without a tenant, nobody knows who the caller is.
        """
        with self._lock:
            budget = self._budgets.setdefault(tenant, _Budget())
            self._budgets.move_to_end(tenant)
            if len(self._budgets) > WATCHED:
                self._budgets.popitem(last=False)
            left_out = budget.take((actor.principal, actor.address, endpoint, code))
        if left_out is None:
            return
        try:
            with acting_for(tenant or DEFAULT_TENANT), acting_as(actor):
                self._audit.record(Action.ACCESS_DENIED, endpoint, code=code, left_out=left_out)
        except ServiceError as error:  # the caller is denied all the same
            log_failure(log, "denial_not_recorded", error)


class _Budget:
    def __init__(self) -> None:
        self._recorded: deque[float] = deque(maxlen=MOST)
        self._recent: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self._left_out = 0

    def take(self, call: tuple[str, ...]) -> int | None:
        """Return how many were left out since the last record, or None to leave out this one."""
        now = time.monotonic()
        is_known = now - self._recent.get(call, float("-inf")) < SECONDS
        is_full = len(self._recorded) == MOST and now - self._recorded[0] < SECONDS
        if is_known or is_full:
            self._left_out += 1
            return None
        self._recorded.append(now)
        self._recent[call] = now
        self._recent.move_to_end(call)
        if len(self._recent) > MOST:
            self._recent.popitem(last=False)
        left_out, self._left_out = self._left_out, 0
        return left_out
