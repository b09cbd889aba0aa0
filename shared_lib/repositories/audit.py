"""The audit log: rows that are only ever inserted, each in the transaction of what it records.

Reconciliation then links them to a chain, where each link has a hash over its row and the link before. Rows are not
linked when they are inserted, or transactions that record something would wait for one another.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from shared_lib.database.connection import Database, Transaction
from shared_lib.domain.audit import GENESIS, Action, Actor, AuditEvent
from shared_lib.domain.principals import ANONYMOUS, NOBODY

OPERATOR, SERVICE = Actor("operator"), Actor("service")
_UNNAMED = frozenset({OPERATOR.principal, SERVICE.principal, ANONYMOUS.name, NOBODY.name})
_actor: ContextVar[Actor] = ContextVar("actor", default=OPERATOR)

_COLUMNS = "id, tenant_id, recorded_at, principal, address, request_id, action, subject, details"
_INSERT = """
    INSERT INTO audit_events (tenant_id, principal, address, request_id, action, subject, details)
    VALUES (coalesce(CAST(:tenant AS text), 'default'), :principal, :address, :request, :action, :subject, :details)
"""
# The database's function names the tenant: the API's role may not read the table.
_LIST = f"SELECT {_COLUMNS} FROM list_audit_events(:before, :action, :subject, :most)"
_LOCK = "SELECT pg_advisory_xact_lock(7226036)"
_LAST_LINK = "SELECT position, hash FROM audit_chain ORDER BY position DESC LIMIT 1"
# The database's own queue. No time decides, because clocks jump, and no record can be inserted past it.
_LIST_UNLINKED = f"""
    SELECT {", ".join(f"e.{name.strip()}" for name in _COLUMNS.split(","))}
    FROM audit_unlinked u JOIN audit_events e ON e.id = u.event_id ORDER BY u.event_id LIMIT :batch
"""
_LINK = """
    INSERT INTO audit_chain (position, event_id, hash)
    SELECT * FROM unnest(CAST(:positions AS bigint[]), CAST(:events AS bigint[]), CAST(:hashes AS bytea[]))
"""
# The last link before the first that stays keeps its hash: the chain then begins with it.
_FIND_LAST_EXPIRED = """
    SELECT max(position) AS position FROM (
        SELECT c.position FROM audit_chain c JOIN audit_events e ON e.id = c.event_id
        WHERE greatest(c.recorded_at, e.recorded_at) < now() - make_interval(days => :days)
        ORDER BY c.position LIMIT :batch) expired
"""
_DELETE_EVENTS = """
    WITH purged AS (
        DELETE FROM audit_events WHERE id IN (SELECT event_id FROM audit_chain WHERE position <= :position) RETURNING 1
    ) SELECT CAST(count(*) AS integer) AS purged FROM purged
"""
_DELETE_LINKS = "DELETE FROM audit_chain WHERE position < :position"
_READ_CHAIN = f"""
    SELECT c.position, c.hash, {", ".join(f"e.{name.strip()}" for name in _COLUMNS.split(","))}
    FROM audit_chain c LEFT JOIN audit_events e ON e.id = c.event_id
    WHERE c.position > :after ORDER BY c.position LIMIT :batch
"""
_LAST_PURGE = "SELECT subject FROM audit_events WHERE action = 'audit_purged' ORDER BY id DESC LIMIT 1"
_LIST_FORGOTTEN = """
    SELECT e.id FROM audit_events e WHERE NOT EXISTS (SELECT FROM audit_chain c WHERE c.event_id = e.id)
    AND NOT EXISTS (SELECT FROM audit_unlinked u WHERE u.event_id = e.id
                    AND u.waiting_since > now() - make_interval(secs => :seconds) AND u.waiting_since < now())
    ORDER BY e.id LIMIT :most
"""
LINKED_WITHIN_SECONDS = 300
"""Reconciliation links each minute. A record that has no link for so long is reported."""
_NAMED = 10
_BATCH = 500
_MAX_TEXT = 300  # characters of what a caller chose, such as a token's subject


@contextmanager
def acting_as(actor: Actor) -> Iterator[None]:
    """Let what is recorded in this block be this actor's doing. Outside, it is the operator's, who runs a command."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def current_caller() -> str | None:
    """Return the API key or the token's subject whose doing this is, if it is one's."""
    name = _actor.get().principal
    return None if name in _UNNAMED else name


def record(tx: Transaction, action: Action, subject: str = "", *, tenant: str | None = None, **details: object) -> None:
    """Record what the transaction does. It costs no round trip, because it travels with the commit.

    Without a tenant it is the transaction's, or the default one if that acts for all.
    """
    actor = _actor.get()
    tx.queue(
        _INSERT,
        **({"tenant": tenant} if tenant else {}),
        principal=actor.principal[:_MAX_TEXT],
        address=actor.address,
        request=actor.request_id,
        action=action.value,
        subject=subject[:_MAX_TEXT],
        details=json.dumps(details, sort_keys=True, default=str),
    )


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain."""

    position: int
    hash: bytes
    event: AuditEvent | None
    """None if its row is gone."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last link. Whoever keeps it elsewhere can tell later whether what it covers is still as it was."""

    position: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.position}:{self.hash.hex()}"


class BrokenChain(Exception):
    """The log is not as it was written. The message names the first place."""


class AuditLog:
    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, action: Action, subject: str = "", **details: object) -> None:
        """Record something that changes nothing else."""
        with self._database.transaction() as tx:
            record(tx, action, subject, tenant=None, **details)

    def list(
        self, limit: int, before: int | None = None, action: str | None = None, subject: str | None = None
    ) -> list[AuditEvent]:
        """Return the tenant's newest records, of those with an ID below `before`."""
        with self._database.transaction() as tx:
            rows = tx.last(_LIST, before=before or sys.maxsize, action=action, subject=subject, most=limit)
        return [AuditEvent(**row) for row in rows]

    def link(self) -> tuple[int, Head]:
        """Link a batch of records to the chain. Return how many, and the new head."""
        with self._database.transaction() as tx:
            tx.queue(_LOCK)
            last = tx.row(_LAST_LINK)
            head = Head(last["position"], bytes(last["hash"])) if last else Head(0, GENESIS)
            links: list[Link] = []
            for event in (AuditEvent(**row) for row in tx.rows(_LIST_UNLINKED, batch=_BATCH)):
                head = Head(head.position + 1, event.digest(head.hash))
                links.append(Link(head.position, head.hash, event))
            if links:
                tx.last(
                    _LINK,
                    positions=[each.position for each in links],
                    events=[each.event.id for each in links if each.event],
                    hashes=[each.hash for each in links],
                )
        return len(links), head

    def purge(self, days: int) -> int:
        """Delete a batch of records older than so many days. Return how many."""
        with self._database.transaction() as tx, acting_as(SERVICE):
            tx.queue(_LOCK)
            position: int | None = tx.rows(_FIND_LAST_EXPIRED, days=days, batch=_BATCH)[0]["position"]
            if position is None:
                return 0
            purged: int = tx.rows(_DELETE_EVENTS, position=position)[0]["purged"]
            tx.rows(_DELETE_LINKS, position=position)
            record(tx, Action.AUDIT_PURGED, f"{position}", days=days)
        return purged

    def verify(self, known: Head | None = None) -> Head:
        """Read the whole chain, and return its head. `known` is an earlier head that it has to contain.

        Raises BrokenChain.
        """
        with self._database.transaction() as tx:
            purged = tx.row(_LAST_PURGE)
            forgotten = tx.rows(_LIST_FORGOTTEN, seconds=LINKED_WITHIN_SECONDS, most=_NAMED)
        head = _begin(next(self._read(0), None), int(purged["subject"]) if purged else 0)
        for link in self._read(head.position):
            _check(link, head)
            head = Head(link.position, link.hash)
            if known and known.position == head.position and known != head:
                raise BrokenChain(f"The link {head.position} is not what it was: someone has written the chain anew")
        if known and known.position > head.position:
            raise BrokenChain(f"The chain ends with the link {head.position}. It had {known.position}")
        if forgotten:
            raise BrokenChain(
                f"Records that have no link after {LINKED_WITHIN_SECONDS // 60} minutes: {_list_ids(forgotten)}. "
                "Reconciliation does not run, or somebody inserted them past the database's rules"
            )
        return head

    def _read(self, after: int) -> Iterator[Link]:
        while True:
            with self._database.transaction() as tx:
                rows = tx.rows(_READ_CHAIN, after=after, batch=_BATCH)
            for link in map(_to_link, rows):
                yield link
                after = link.position
            if len(rows) < _BATCH:
                return


def _list_ids(rows: list[dict[str, Any]]) -> str:
    more = " and more" if len(rows) == _NAMED else ""
    return f"{', '.join(str(row['id']) for row in rows)}{more}"


def _begin(first: Link | None, purged: int) -> Head:
    """Return what the first link follows: the beginning, or the last link whose record was deleted after its time."""
    if first is None or (first.position == 1 and not purged):
        return Head(0, GENESIS)
    if first.position != purged:
        raise BrokenChain(f"The chain begins with the link {first.position}, and everything before it is gone")
    return Head(first.position, first.hash)


def _check(link: Link, head: Head) -> None:
    if link.position != head.position + 1:
        raise BrokenChain(f"The link {head.position + 1} is gone")
    if link.event is None:
        raise BrokenChain(f"The record of the link {link.position} is gone")
    if link.event.digest(head.hash) != link.hash:
        event = link.event
        raise BrokenChain(
            f"The link {link.position} does not fit: the record {event.id} ({event.action}, {event.recorded_at}) or a "
            "link before it was changed"
        )


def _to_link(row: dict[str, Any]) -> Link:
    position, digest = row.pop("position"), bytes(row.pop("hash"))
    return Link(position, digest, None if row["id"] is None else AuditEvent(**row))
