"""Rates of principals and tenants in PostgreSQL, so that all pods count together.

A bucket is one point in time: when it is full again (the generic cell rate algorithm, ITU-T I.371). A request moves it
by one interval, unless it then was more than a minute ahead. A bucket in the past is full, as one that has no row.
"""

from collections.abc import Sequence
from typing import Any

from shared_lib.database.connection import Database, acting_for
from shared_lib.database.driver import Prepared
from shared_lib.domain.principals import Principal
from shared_lib.domain.rates import WINDOW_SECONDS, Rate, Standing

# The row's lock orders concurrent requests, and each reads the clock after it has the lock. A refused one writes
# nothing, and reads the row as it was when the statement began.
_TAKE = Prepared("""
    WITH taken AS (
        INSERT INTO rates AS r (tenant_id, principal, name, full_at)
        VALUES (:tenant, :principal, :name, clock_timestamp() + make_interval(secs => :interval))
        ON CONFLICT (tenant_id, principal, name) DO UPDATE
        SET full_at = greatest(r.full_at, clock_timestamp()) + make_interval(secs => :interval)
        WHERE r.full_at + make_interval(secs => :interval) <= clock_timestamp() + make_interval(secs => :window)
        RETURNING full_at
    )
    SELECT full_at, true AS granted, extract(epoch FROM full_at - clock_timestamp())::float8 AS full_in FROM taken
    UNION ALL
    SELECT full_at, false, extract(epoch FROM full_at - clock_timestamp())::float8 FROM rates
    WHERE tenant_id = :tenant AND principal = :principal AND name = :name AND NOT EXISTS (SELECT FROM taken)
""")
_READ = """
    SELECT full_at, full_at + make_interval(secs => :interval) <= now() + make_interval(secs => :window) AS granted,
           extract(epoch FROM full_at - now())::float8 AS full_in
    FROM rates WHERE tenant_id = :tenant AND principal = :principal AND name = :name
"""
_CHARGE = """
    INSERT INTO rates AS r (tenant_id, principal, name, full_at)
    VALUES (:tenant, :principal, :name, now() + make_interval(secs => :seconds))
    ON CONFLICT (tenant_id, principal, name) DO UPDATE
    SET full_at = greatest(r.full_at, now()) + make_interval(secs => :seconds)
"""
_PURGE = """
    DELETE FROM rates WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM rates WHERE full_at < now() LIMIT :batch FOR UPDATE SKIP LOCKED))
    RETURNING principal
"""
_BATCH = 500


class Rates:
    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, principal: Principal, rates: Sequence[Rate]) -> list[Standing]:
        """Count a request for each of these rates, in one round trip. Those that are charged later are only read.

        If the connection breaks before the answer, the request may count twice.
        """
        asked = [
            {
                "tenant": principal.tenant,
                "principal": _name_owner(rate, principal.name),
                "name": rate.name,
                "interval": rate.interval,
            }
            for rate in rates
        ]
        statements = [_READ if rate.is_charged_later else _TAKE for rate in rates]
        with self._database.transaction(durable=False) as tx:
            found = [
                tx.queue(sql, **each, window=WINDOW_SECONDS)
                for sql, each in zip(statements[:-1], asked[:-1], strict=True)
            ]
            found.append(tx.last(statements[-1], **asked[-1], window=WINDOW_SECONDS))
        return [_judge(rate, rows) for rate, rows in zip(rates, found, strict=True)]

    def charge(self, tenant: str, principal: str, rates: Sequence[Rate], used: float) -> None:
        """Count what was used for each of these rates, although that may be more than is left."""
        with acting_for(tenant), self._database.transaction(durable=False) as tx:
            for rate in rates:
                owner = _name_owner(rate, principal)
                tx.queue(_CHARGE, principal=owner, name=rate.name, seconds=used * rate.interval)

    def purge(self) -> int:
        """Delete a batch of buckets that are full. Return how many."""
        with self._database.transaction(durable=False) as tx:
            return len(tx.rows(_PURGE, batch=_BATCH))


def _name_owner(rate: Rate, principal: str) -> str:
    return "" if rate.of_tenant else principal


def _judge(rate: Rate, rows: list[dict[str, Any]]) -> Standing:
    if not rows and rate.is_charged_later:  # nobody has used any lately
        return Standing(rate, granted=True, full_in=0)
    if not rows:  # refused by the first request of its minute, which this statement does not see yet
        return Standing(rate, granted=False, full_in=WINDOW_SECONDS)
    row = rows[0]
    return Standing(rate, granted=row["granted"], full_in=max(row["full_in"], 0))
